import { StageOptions } from '../recompute/index.ts';
import type { Build } from './graphs.ts';

/** What several plans of one request share that differ in other things than the model, its programs and their batches. */
export class PlanCache {
  /** By program and number of microbatches. */
  readonly graphs = new Map<string, Build>();
  /** What may be computed again, by the shape of a stage. */
  readonly recompute = new StageOptions();
}

import { type Blocks, blocksOf } from './blocks.ts';
import { BackwardTable, type ForwardPlan, forwardPlans, type RecomputeChain } from './chain.ts';
import type { StageRecompute } from './choice.ts';
import type { StageForward } from './stage-forward.ts';

/** Units that the bytes of a stage are counted in. */
const UNITS = 160;
/** Sizes of the backward pass's memory that are tried. */
const SIZES = 40;

/** What the dynamic programme finds for a stage as a chain. */
export interface ChainWays {
  /** Bytes of a unit. */
  readonly unit: number;
  readonly plans: readonly ForwardPlan[];
  readonly choiceOf: (plan: ForwardPlan) => StageRecompute;
}

/** `worth`: names of the values that are kept where all of a block is; default: all that are read going back. */
export function chainWays(forward: StageForward, worth?: ReadonlySet<string>): ChainWays {
  const blocks = blocksOf(forward, worth);
  const unit = Math.max(1, Math.ceil((1.25 * blocksOf(forward).bytes) / UNITS));
  const chain = blocks.chain(unit);
  const table = new BackwardTable(chain, UNITS);
  const sizes = Array.from({ length: SIZES }, (_, i) => Math.ceil(((i + 1) * UNITS) / SIZES));
  return {
    unit,
    plans: sizes.flatMap((size) => forwardPlans(chain, table, size)).filter((p) => Number.isFinite(p.seconds)),
    choiceOf: (plan) => recomputeOf(blocks, chain, table, plan),
  };
}

/**
 * A plan of the dynamic programme as names: what the forward pass keeps, and what is there when each block is gone back
 * through.
 */
function recomputeOf(blocks: Blocks, chain: RecomputeChain, table: BackwardTable, plan: ForwardPlan): StageRecompute {
  const kept = new Set<string>();
  const retained: Set<string>[] = Array.from({ length: blocks.count }, () => new Set());
  const keep = (names: readonly string[]): void => {
    for (const name of names) kept.add(name);
  };
  /** Back through [s, t] with what `there` names. */
  const back = (s: number, t: number, units: number, there: ReadonlySet<string>): void => {
    if (s === t) {
      retained[s] = new Set(there);
      return;
    }
    const step = table.step(s, t, units);
    if (step.kind === 'all') {
      const more = new Set([...there, ...blocks.kept(s)]);
      back(s + 1, t, units - chain.saved(s), more);
      retained[s] = more;
    } else {
      back(step.at, t, units - chain.checkpoint(s, step.at), new Set([...there, ...blocks.passing(step.at)]));
      back(s, step.at - 1, units, there);
    }
  };
  let [s, used] = [0, 0];
  for (const step of plan.steps) {
    const left = plan.units - used;
    if (step.kind === 'all') {
      keep(blocks.kept(s));
      used += chain.saved(s);
      s++;
    } else {
      const end = step.kind === 'end' ? blocks.count : step.at;
      // What the forward pass keeps needs no clone.
      back(s, end - 1, left, new Set());
      if (step.kind === 'checkpoint') {
        keep(blocks.passing(step.at));
        used += chain.checkpoint(s, step.at);
      }
      s = end;
    }
  }
  return { kept, blockOf: blocks.blockOf, retained };
}

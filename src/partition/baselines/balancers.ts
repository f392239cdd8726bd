import { requireKinds } from '../../core/options.ts';
import { cutChain } from '../chain.ts';
import { topological } from '../ideals.ts';
import { readLayerProfile } from '../read-layer-profile.ts';
import { blockCuts } from './block-partition.ts';

/** Bottlenecks of other systems' balancers over the least bottleneck of the same layers in the same order. */
export interface BalancerRatios {
  /** torchgpipe's `balance_by_time`: layers as they stand in the file, without inputs. */
  readonly blocks: number;
  /** DeepSpeed's `partition_method="parameters"`: layers in depth-first topological order, inputs among them. */
  readonly parameters: number;
}

/**
 * How far the balancers of torchgpipe and DeepSpeed are from the best they could do on a layer profile: both see a sequence
 * of layers, so each is held against the best cut of its own sequence, by forward and backward time, transfers free.
 */
export function balancerRatios(profile: string, where: string, stages: number): BalancerRatios {
  requireKinds('balancerRatios', { profile: ['text', profile], where: ['text', where], stages: ['count', stages] });
  const layers = readLayerProfile(profile, where).problem.parts;
  const whole = readLayerProfile(profile, where, { keepInputs: true }).problem;
  const order = topological(whole.parts.length, whole.edges).order.map((p) => whole.parts[p]!);
  const work = layers.map((layer) => layer.work);
  const bytes = order.map((layer) => layer.bytes);
  return {
    blocks: ratio(work, blockCuts(work, stages), stages),
    parameters: ratio(
      order.map((layer) => layer.work),
      cutChain({ weight: bytes }, { exactly: stages }).cuts,
      stages,
    ),
  };
}

const ratio = (work: readonly number[], cuts: readonly number[], stages: number): number =>
  bottleneck(work, cuts) / bottleneck(work, cutChain({ weight: work }, { exactly: stages }).cuts);

function bottleneck(work: readonly number[], cuts: readonly number[]): number {
  const ends = [...cuts, work.length];
  return Math.max(...ends.map((end, s) => work.slice(ends[s - 1] ?? 0, end).reduce((a, b) => a + b, 0)));
}

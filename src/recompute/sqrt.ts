import { blocksOf } from './blocks.ts';
import type { StageRecompute } from './choice.ts';
import type { StageForward } from './stage-forward.ts';

/**
 * Chen et al., "Training Deep Nets with Sublinear Memory Cost" (2016): a checkpoint in front of every ⌈√n⌉-th of n blocks, and
 * each part between two of them computed again once. A baseline to compare `optimal` with.
 */
export function sqrtRecompute(forward: StageForward): StageRecompute {
  const { count, passing } = blocksOf(forward);
  const every = Math.ceil(Math.sqrt(count));
  const kept = new Set<string>();
  for (let block = every; block < count; block += every) for (const name of passing(block)) kept.add(name);
  return { kept };
}

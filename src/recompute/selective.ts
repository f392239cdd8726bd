import { byteSize } from '../core/types.ts';
import type { StageRecompute } from './choice.ts';
import { cutRecompute } from './cut.ts';
import type { StageForward } from './stage-forward.ts';

/**
 * Computes the cheap again and keeps what is dear, such that the fewest bytes are kept.
 *
 * A node is cheap where a byte of its results takes less time than the mean of the stage's forward pass: elementwise ops,
 * normalisations, softmax, dropout and the scores of attention, as in selective recomputation (Korthikanti et al.,
 * "Reducing Activation Recomputation in Large Transformer Models", MLSys 2023), but found by cost and not by name.
 */
export function selectiveRecompute(forward: StageForward): StageRecompute {
  const { nodes, seconds } = forward;
  const bytesOf = ({ op, outputs }: (typeof nodes)[number]): number =>
    op!.alias ? 0 : outputs.reduce((sum, t) => sum + byteSize(t.type), 0);
  const total = nodes.reduce((sum, n) => sum + bytesOf(n), 0);
  const mean = total > 0 ? nodes.reduce((sum, n) => sum + seconds(n), 0) / total : 0;
  return cutRecompute(forward, (node) => (seconds(node) < mean * bytesOf(node) ? 0 : Number.POSITIVE_INFINITY));
}

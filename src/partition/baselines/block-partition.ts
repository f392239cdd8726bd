import { alongOrder, orderedWork } from './along-order.ts';

/**
 * Block partitions of sequences (Bárány and Grinberg 2013, theorem 1) as torchgpipe balances by time: blocks whose sums
 * differ by no more than the largest element. Elements are scaled to [0, 1] by their least and largest first, as there.
 */
export const blockPartition = alongOrder(
  'blocks',
  "blocks of work that differ by one part at most (torchgpipe's balance)",
  (problem, order, stages) => blockCuts(orderedWork(problem, order), stages),
);

/** First elements of blocks 1, 2, … */
export function blockCuts(sequence: readonly number[], blocks: number): number[] {
  const n = sequence.length;
  const least = Math.min(...sequence);
  const range = Math.max(...sequence) - least;
  const scaled = sequence.map((x) => (range === 0 ? 0 : (x - least) / range));
  const ends = Array.from({ length: blocks }, (_, b) => (b === blocks - 1 ? n : Math.floor(n / blocks) * (b + 1)));
  const size = (b: number): number => {
    let sum = 0;
    for (let i = b === 0 ? 0 : ends[b - 1]!; i < ends[b]!; i++) sum += scaled[i]!;
    return sum;
  };
  for (;;) {
    // A maximal block stays in view until it shrinks; meanwhile the minimal ones grow towards it.
    const sizes = ends.map((_, b) => size(b));
    const largest = Math.max(...sizes);
    const p = sizes.lastIndexOf(largest);
    for (;;) {
      const now = ends.map((_, b) => size(b));
      const smallest = Math.min(...now);
      if (largest <= smallest + 1) return ends.slice(0, -1);
      const q = now.indexOf(smallest);
      const giver = p < q ? q - 1 : q + 1;
      if (p < q) ends[giver]!--;
      else ends[q]!++;
      if (giver === p) break;
    }
  }
}

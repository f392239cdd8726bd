/** What the exact search of layouts is given: blocks of memory by sections of time. */

/** Blocks as arrays: alive in the sections [from[i], to[i]) of time, `sizes[i]` high. */
export interface PackingProblem {
  readonly sizes: Float64Array;
  readonly from: Int32Array;
  readonly to: Int32Array;
  readonly sections: number;
}

/** Blocks with inclusive instants as a problem whose sections are the stretches in which the same blocks are alive. */
export function packingProblem(
  blocks: readonly { readonly first: number; readonly last: number; readonly bytes: number }[],
  unit: number,
): PackingProblem {
  const instants = [...new Set(blocks.flatMap((b) => [b.first, b.last + 1]))].sort((a, b) => a - b);
  const index = new Map(instants.map((t, i) => [t, i]));
  return {
    sizes: Float64Array.from(blocks, (b) => Math.ceil(b.bytes / unit)),
    from: Int32Array.from(blocks, (b) => index.get(b.first)!),
    to: Int32Array.from(blocks, (b) => index.get(b.last + 1)!),
    sections: Math.max(0, instants.length - 1),
  };
}

/**
 * The blocks that overlap each one in time, by the beginning of their lives: those of block i from `first[i]` on. `byTime`: all
 * blocks by that. Pairs are millions, so that they are counted before there is a place for them.
 */
export function besideEach(
  { from, to }: PackingProblem,
  byTime: Int32Array,
): { beside: Int32Array; first: Int32Array } {
  const begins = byTime.map((j) => from[j]!);
  const ends = byTime.map((j) => to[j]!);
  const first = new Int32Array(byTime.length + 1);
  for (let k = 0; k < byTime.length; k++) {
    for (let m = k + 1; m < byTime.length && begins[m]! < ends[k]!; m++) {
      first[byTime[k]! + 1]!++;
      first[byTime[m]! + 1]!++;
    }
  }
  for (let i = 0; i < byTime.length; i++) first[i + 1]! += first[i]!;
  const beside = new Int32Array(first[byTime.length]!);
  const next = first.slice();
  for (let m = 0; m < byTime.length; m++) {
    // Each is told to all that are beside it, so that every one hears of them by their beginnings.
    for (let k = 0; k < byTime.length && begins[k]! < ends[m]!; k++) {
      if (k !== m && ends[k]! > begins[m]!) beside[next[byTime[k]!]!++] = byTime[m]!;
    }
  }
  return { beside, first };
}

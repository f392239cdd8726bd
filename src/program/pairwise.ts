/**
 * Pairwise summation as a stream (Higham 2002, §4.1): a binary counter over the samples. Sample s joins the partial sums
 * that the trailing ones of s name, so that the tree of additions is fixed by the samples' places in the batch alone,
 * wherever the batch is cut:
 *
 *     sample      0       1        2         3            4 …
 *     slots     [0]    [0+1]   [0+1, 2]   [(0+1)+(2+3)]   …
 *
 * What is left at the end is added from the latest to the earliest. At most ⌈log₂ n⌉ partial sums of n samples are alive.
 */
export class PairwiseSum {
  /** How many samples each slot's sum holds, as a power of two. */
  readonly #levels: number[] = [];

  /** Partial sums that are alive. */
  get depth(): number {
    return this.#levels.length;
  }

  /** Takes the next sample: what to do with it, in order. */
  push(): Addition[] {
    const levels = this.#levels;
    if (levels.at(-1) !== 0) return [{ from: 'sample', to: levels.push(0) - 1, first: true }];
    const additions: Addition[] = [{ from: 'sample', to: levels.length - 1, first: false }];
    levels[levels.length - 1]!++;
    while (levels.length > 1 && levels.at(-1) === levels.at(-2)) {
      levels.pop();
      levels[levels.length - 1]!++;
      additions.push({ from: levels.length, to: levels.length - 1, first: false });
    }
    return additions;
  }

  /** Behind the last sample: leaves the whole sum in slot 0. */
  finish(): Addition[] {
    const additions: Addition[] = [];
    while (this.#levels.length > 1) {
      this.#levels.pop();
      additions.push({ from: this.#levels.length, to: this.#levels.length - 1, first: false });
    }
    return additions;
  }
}

/** Slot `to` takes (`first`) or adds the sample or another slot. */
export interface Addition {
  readonly from: 'sample' | number;
  readonly to: number;
  readonly first: boolean;
}

import { requireArgument, requireKinds } from '../core/options.ts';

/**
 * What to keep of a chain of blocks whose backward pass leaves them from the last to the first, within a memory.
 *
 * The dynamic programme of Beaumont et al., "Optimal memory-aware backpropagation of deep join networks" (Phil. Trans. A, 2020)
 * and rotor: a part [s, t] of the chain whose input is there is gone back through in the least time within m units by
 *
 *     keeping all of s        [s] + back through [s+1, t] with saved(s) units less
 *     a checkpoint in front   [s … c−1] + back through [c, t] with checkpoint(s, c) units less, and then, with all m units,
 *     of some c in (s, t]     back through [s, c−1]
 *
 * where [i … j] is the time of a forward pass. On a homogeneous chain whose blocks are larger than what passes between them
 * these are Revolve's binomial counts (Griewank & Walther, 2000). Among the orders that keep a checkpoint until it is of no
 * more use the result is optimal.
 */
export interface RecomputeChain {
  /** Seconds of each block's forward pass. */
  readonly seconds: readonly number[];
  /** Units that are there behind a forward pass from s to the boundary in front of block c, beside what was there at s. */
  readonly checkpoint: (s: number, c: number) => number;
  /** The same where all that the backward pass of block s reads is kept too. */
  readonly saved: (s: number) => number;
  /** Units of what the backward pass of a block itself reads, and the block makes. */
  readonly inner: (s: number) => number;
}

function requireChain(what: string, chain: RecomputeChain, units: number): void {
  requireKinds(what, { chain: ['record', chain], units: ['index', units] });
  const { seconds, checkpoint, saved, inner } = chain;
  requireKinds(what, { 'chain.seconds': ['numbers', seconds], 'chain.checkpoint': ['function', checkpoint] });
  requireKinds(what, { 'chain.saved': ['function', saved], 'chain.inner': ['function', inner] });
}

/** What happens to a part of the chain; the parts that follow from it are asked for again. */
export type Step = { readonly kind: 'all' } | { readonly kind: 'checkpoint'; readonly at: number };

/** Back through any part of a chain in the least time. */
export class BackwardTable {
  readonly #chain: RecomputeChain;
  readonly #blocks: number;
  readonly #units: number;
  readonly #seconds: Float64Array;
  /** −1: all of the first block; else the block with the checkpoint in front. */
  readonly #choice: Int16Array;
  readonly #prefix: readonly number[];

  constructor(chain: RecomputeChain, units: number) {
    requireChain('BackwardTable', chain, units);
    const n = chain.seconds.length;
    this.#chain = chain;
    this.#blocks = n;
    this.#units = units;
    this.#seconds = new Float64Array(n * n * (units + 1)).fill(Number.POSITIVE_INFINITY);
    this.#choice = new Int16Array(n * n * (units + 1)).fill(-1);
    const prefix = [0];
    for (const s of chain.seconds) prefix.push(prefix.at(-1)! + s);
    this.#prefix = prefix;
    for (let length = 1; length <= n; length++) for (let s = 0; s + length <= n; s++) this.#fill(s, s + length - 1);
  }

  #row = (s: number, t: number): number => (s * this.#blocks + t) * (this.#units + 1);

  #fill(s: number, t: number): void {
    const { seconds, saved, inner, checkpoint } = this.#chain;
    const row = this.#row(s, t);
    const best = this.#seconds;
    if (s === t) {
      for (let m = inner(s); m <= this.#units; m++) best[row + m] = seconds[s]!;
      return;
    }
    const all = saved(s);
    for (let m = all; m <= this.#units; m++) best[row + m] = seconds[s]! + best[this.#row(s + 1, t) + m - all]!;
    for (let c = s + 1; c <= t; c++) {
      const bytes = checkpoint(s, c);
      const forward = this.#prefix[c]! - this.#prefix[s]!;
      const [right, left] = [this.#row(c, t) - bytes, this.#row(s, c - 1)];
      for (let m = bytes; m <= this.#units; m++) {
        const time = forward + best[right + m]! + best[left + m]!;
        if (time >= best[row + m]!) continue;
        best[row + m] = time;
        this.#choice[row + m] = c;
      }
    }
  }

  /** Seconds of the forward passes that going back through [s, t] takes; Infinity where the memory does not suffice. */
  seconds(s: number, t: number, units: number): number {
    return units < 0 ? Number.POSITIVE_INFINITY : this.#seconds[this.#row(s, t) + Math.min(units, this.#units)]!;
  }

  step(s: number, t: number, units: number): Step {
    const at = this.#choice[this.#row(s, t) + Math.min(units, this.#units)]!;
    return at < 0 ? { kind: 'all' } : { kind: 'checkpoint', at };
  }
}

/** A part of the forward pass: the steps in their order, each up to the next; `end`: nothing more is kept. */
export type ForwardStep = Step | { readonly kind: 'end' };

/** What the forward pass keeps, what going back takes within it. */
export interface ForwardPlan {
  /** Units kept of each microbatch. */
  readonly kept: number;
  /** Units of the microbatch that is gone back through, what is kept of it included. */
  readonly units: number;
  readonly seconds: number;
  readonly steps: readonly ForwardStep[];
}

/**
 * The plans that nothing else beats in units kept and time, for a backward pass within so many units. The forward pass runs
 * in any case and its own time does not count; several microbatches may be in flight, so what it keeps is told apart.
 */
export function forwardPlans(chain: RecomputeChain, table: BackwardTable, units: number): ForwardPlan[] {
  requireChain('forwardPlans', chain, units);
  requireArgument(
    'forwardPlans',
    table instanceof BackwardTable,
    'a table of the chain',
    table,
    'new BackwardTable(chain, units)',
  );
  const n = chain.seconds.length;
  const width = units + 1;
  const best = new Float64Array((n + 1) * width).fill(Number.POSITIVE_INFINITY);
  const from = new Int32Array((n + 1) * width).fill(-1);
  const kinds = new Int16Array((n + 1) * width);
  const offer = (state: number, seconds: number, before: number, kind: number): void => {
    if (seconds >= best[state]!) return;
    best[state] = seconds;
    from[state] = before;
    kinds[state] = kind;
  };
  best[0] = 0;
  for (let s = 0; s < n; s++) {
    for (let kept = 0; kept <= units; kept++) {
      const state = s * width + kept;
      const before = best[state]!;
      if (before === Number.POSITIVE_INFINITY) continue;
      const all = kept + chain.saved(s);
      if (all <= units) offer((s + 1) * width + all, before, state, ALL);
      for (let c = s + 1; c < n; c++) {
        const more = kept + chain.checkpoint(s, c);
        if (more <= units) offer(c * width + more, before + table.seconds(s, c - 1, units - kept), state, c);
      }
      offer(n * width + kept, before + table.seconds(s, n - 1, units - kept), state, END);
    }
  }
  const plans: ForwardPlan[] = [];
  let fastest = Number.POSITIVE_INFINITY;
  for (let kept = 0; kept <= units; kept++) {
    let state = n * width + kept;
    if (best[state]! >= fastest) continue;
    fastest = best[state]!;
    const steps: ForwardStep[] = [];
    for (; from[state]! >= 0; state = from[state]!) {
      const kind = kinds[state]!;
      steps.push(kind === ALL ? { kind: 'all' } : kind === END ? { kind: 'end' } : { kind: 'checkpoint', at: kind });
    }
    plans.push({ kept, units, seconds: fastest, steps: steps.reverse() });
  }
  return plans;
}

const ALL = -1;
const END = -2;

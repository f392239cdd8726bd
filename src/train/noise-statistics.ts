/**
 * The gradient noise scale of a batch from the gradients of its examples (McCandlish, Kaplan, Amodei et al., "An Empirical
 * Model of Large-Batch Training", 2018), all sums in f64.
 *
 *     G = mean gᵢ     tr Σ = Σ|gᵢ − G|² / (n − 1)     B_simple = tr Σ / |G|²        (section 2.2, equation 2.9)
 *
 * The gradient of a batch of B examples has E|G_B|² = |G|² + tr Σ / B, so that two batch sizes b < B give both parts
 * (appendix A.1):
 *
 *     |G|² ≈ (B·|G_B|² − b·|G_b|²) / (B − b)          S = tr Σ ≈ (|G_b|² − |G_B|²) / (1/b − 1/B)
 *
 * Estimates are not clamped: where noise hides the gradient, |G|² may come out negative.
 */

import { UsageError } from '../core/errors.ts';
import { requireKinds, shown } from '../core/options.ts';

export interface NoiseEstimate {
  /** |G|² of the true gradient. */
  readonly g2: number;
  /** tr Σ of one example's gradient. */
  readonly s: number;
  /** s / g2: the batch size at which noise and gradient are equally large. */
  readonly bSimple: number;
}

/** From the mean squared norms of the gradients of two batch sizes, small < big. */
export function estimateFromPair(small: number, normSqSmall: number, big: number, normSqBig: number): NoiseEstimate {
  requireKinds('estimateFromPair', { small: ['figure', small], normSqSmall: ['figure', normSqSmall] });
  requireKinds('estimateFromPair', { big: ['figure', big], normSqBig: ['figure', normSqBig] });
  const g2 = (big * normSqBig - small * normSqSmall) / (big - small);
  const s = (normSqSmall - normSqBig) / (1 / small - 1 / big);
  return { g2, s, bSimple: s / g2 };
}

export interface PairEstimate extends NoiseEstimate {
  readonly normSqSmall: number;
  readonly normSqBig: number;
}

export interface NoisePair {
  readonly small: number;
  readonly big: number;
  /** With |G_B|² averaged over all whole consecutive chunks of B examples. */
  readonly all: PairEstimate;
  /** With only the first chunk of either size. */
  readonly first: PairEstimate;
}

export interface NoiseStatistics {
  readonly examples: number;
  /** |gᵢ| */
  readonly norms: Float64Array;
  /** G, elements in the order in which they were given. */
  readonly mean: Float64Array;
  readonly meanGradNormSq: number;
  readonly trSigma: number;
  readonly bSimple: number;
  /** With 1/n in place of 1/(n − 1). */
  readonly trSigmaBiased: number;
  readonly bSimpleBiasedSigma: number;
  /** |G|² − tr Σ / n: without what the noise of n examples adds to |G|². */
  readonly g2Unbiased: number;
  readonly bSimpleUnbiased: number;
  readonly pairs: readonly NoisePair[];
}

export type SizePair = readonly [small: number, big: number];

/**
 * Pairs of sizes for n examples: every power of two below n with n, and three that leave n out, a quarter of it and halves,
 * whose estimates average over several chunks on both sides.
 */
export function defaultPairs(examples: number): SizePair[] {
  const pairs: SizePair[] = [];
  for (let small = 1; small < examples; small *= 2) pairs.push([small, examples]);
  const top = 2 ** Math.floor(Math.log2(examples));
  for (const [small, big] of [
    [top / 32, top / 4],
    [top / 16, top / 2],
    [top / 8, top / 2],
  ] as const) {
    if (small >= 1 && big < examples) pairs.push([small, big]);
  }
  return pairs;
}

/** Throws UsageError naming the first pair that these examples cannot give. */
export function checkPairs(pairs: readonly SizePair[], examples: number): void {
  const isRight = (pair: unknown) => {
    if (!Array.isArray(pair) || !pair.every(Number.isInteger)) return false;
    const [small, big] = pair as number[];
    return small! >= 1 && small! < big! && big! <= examples;
  };
  const at = pairs.findIndex((pair) => !isRight(pair));
  if (at < 0) return;
  const bad: unknown = pairs[at];
  const told = Array.isArray(bad) ? bad.map(shown).join(':') : shown(bad);
  throw new UsageError(
    'noise-pairs',
    `the pair of sizes ${told} must be two whole numbers, the smaller first and both of 1 to ${examples}, the examples there are`,
    { fields: { pair: bad, examples }, remedy: `1:${examples}` },
  );
}

/** Sums of consecutive examples: one size, and the larger ones that are filled from it. */
class Chunks {
  readonly size: number;
  readonly #sum: Float64Array;
  readonly #feeds: Chunks[] = [];
  #filled = 0;
  #count = 0;
  #total = 0;
  #first = Number.NaN;

  constructor(size: number, elements: number) {
    this.size = size;
    this.#sum = new Float64Array(elements);
  }

  feed(larger: Chunks): void {
    this.#feeds.push(larger);
  }

  add(sum: Float64Array, examples: number): void {
    const own = this.#sum;
    if (this.#filled === 0) own.set(sum);
    else for (let i = 0; i < own.length; i++) own[i] = own[i]! + sum[i]!;
    this.#filled += examples;
    if (this.#filled < this.size) return;
    this.#filled = 0;
    const square = sumOfSquares(own) / this.size ** 2;
    if (this.#count++ === 0) this.#first = square;
    this.#total += square;
    for (const larger of this.#feeds) larger.add(own, this.size);
  }

  /** Mean of |G_B|² over the chunks, and that of the first; NaN where there is none. */
  get normSq(): { readonly all: number; readonly first: number } {
    return { all: this.#total / this.#count, first: this.#first };
  }

  /** The latest whole chunk's mean. */
  mean(): Float64Array {
    return this.#sum.map((v) => v / this.size);
  }
}

function sumOfSquares(values: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]! * values[i]!;
  return sum;
}

/**
 * Takes the examples one after another and holds none of them: 8 bytes an element of the gradient for every size of chunk
 * that a pair names, and for the mean. A chunk is filled from the chunks of the largest size that divides its own, so that
 * all sizes together cost about two additions an element and example.
 */
export class NoiseAccumulator {
  readonly #examples: number;
  readonly #pairs: readonly SizePair[];
  readonly #chunks: ReadonlyMap<number, Chunks>;
  readonly #norms: Float64Array;
  #taken = 0;

  constructor(options: {
    readonly elements: number;
    readonly examples: number;
    readonly pairs?: readonly SizePair[] | undefined;
  }) {
    const { elements, examples } = options;
    if (examples < 2) {
      throw new UsageError(
        'noise-examples',
        `the noise of a gradient shows in two examples or more, not in ${examples}`,
        {
          fields: { examples },
          remedy: 'give a larger batch',
        },
      );
    }
    this.#examples = examples;
    this.#pairs = options.pairs ?? defaultPairs(examples);
    checkPairs(this.#pairs, examples);
    this.#norms = new Float64Array(examples);
    const sizes = [...new Set([1, examples, ...this.#pairs.flat()])].sort((a, b) => a - b);
    this.#chunks = new Map(sizes.map((size) => [size, new Chunks(size, elements)]));
    for (const size of sizes.slice(1)) {
      const divisor = sizes.findLast((d) => d < size && size % d === 0)!;
      this.#chunks.get(divisor)!.feed(this.#chunks.get(size)!);
    }
  }

  /** The next example's gradient. */
  add(gradient: Float64Array): void {
    this.#norms[this.#taken++] = Math.sqrt(sumOfSquares(gradient));
    this.#chunks.get(1)!.add(gradient, 1);
  }

  /** Of all examples; to be asked for when each has been given. */
  finish(): NoiseStatistics {
    const n = this.#examples;
    if (this.#taken !== n) throw new Error(`${this.#taken} of ${n} examples were given`);
    const whole = this.#chunks.get(n)!;
    const meanGradNormSq = whole.normSq.all;
    const squares = this.#chunks.get(1)!.normSq.all;
    // In f64 the difference loses less than the f32 gradients have lost already.
    const trSigmaBiased = squares - meanGradNormSq;
    const trSigma = (trSigmaBiased * n) / (n - 1);
    const g2Unbiased = meanGradNormSq - trSigma / n;
    return {
      examples: n,
      norms: this.#norms,
      mean: whole.mean(),
      meanGradNormSq,
      trSigma,
      bSimple: trSigma / meanGradNormSq,
      trSigmaBiased,
      bSimpleBiasedSigma: trSigmaBiased / meanGradNormSq,
      g2Unbiased,
      bSimpleUnbiased: trSigma / g2Unbiased,
      pairs: this.#pairs.map(([small, big]) => ({
        small,
        big,
        all: this.#pair(small, big, 'all'),
        first: this.#pair(small, big, 'first'),
      })),
    };
  }

  #pair(small: number, big: number, which: 'all' | 'first'): PairEstimate {
    const normSqSmall = this.#chunks.get(small)!.normSq[which];
    const normSqBig = this.#chunks.get(big)!.normSq[which];
    return { normSqSmall, normSqBig, ...estimateFromPair(small, normSqSmall, big, normSqBig) };
  }
}

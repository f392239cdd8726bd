/**
 * The gradient noise scale while a model trains, from what a step with microbatches computes anyway: the gradient of each
 * microbatch is one of a small batch, their sum that of the large one.
 *
 * With chunks of b₁ … b_M samples, Σ b_m = B, the share that microbatch m adds to the gradient is c_m = (b_m / B)·g_m, where
 * g_m is the mean gradient of its samples, E|g_m|² = |G|² + tr Σ / b_m. Weighted by their samples,
 *
 *     A = Σ (b_m / B)·|g_m|² = Σ (B / b_m)·|c_m|²          E A = |G|² + tr Σ · M / B
 *
 * so that A is the squared norm of a batch of B / M samples whether or not M divides B, and the estimates for two batch
 * sizes (McCandlish et al. 2018, appendix A.1; `noise-statistics.ts`) with b = B / M become
 *
 *     S = (A − |g_B|²) · B / (M − 1)          |G|² ≈ |g_B|² − S / B
 *
 * S is never negative: it is the variance between the chunks. A penalty of parameters adds the same to every gradient: it
 * is left out of A and of the |g_B|² in S, and is part of the |g_B|² in |G|².
 *
 * A single step says little. As the paper does, |G|² and S are averaged by themselves, exponentially, and their ratio taken.
 */

import { UsageError } from '../core/errors.ts';
import { checkOptions } from '../core/options.ts';
import type { HostTensor } from '../core/types.ts';

/** What one step tells, without bias. */
export interface StepNoise {
  /** Estimate of |G|²; negative where noise hides the gradient. */
  readonly g2: number;
  /** Estimate of tr Σ of one sample's gradient. */
  readonly s: number;
}

export interface NoiseRecord extends StepNoise {
  /** Exponential moving averages up to this step, without the bias of their start. */
  readonly g2Average: number;
  readonly sAverage: number;
  /** sAverage / g2Average: the gradient noise scale B_simple, in samples. */
  readonly bSimple: number;
}

export interface MicrobatchNorms {
  /** Samples of each microbatch. */
  readonly sizes: readonly number[];
  /** |c_m|² of each. */
  readonly shares: readonly number[];
  /** |g_B|² without penalties, and with them. */
  readonly data: number;
  readonly whole: number;
}

/** The estimate of one step of two microbatches or more. */
export function noiseOfStep(norms: MicrobatchNorms): StepNoise {
  checkOptions('noiseOfStep', norms, {
    sizes: 'required numbers',
    shares: 'required list',
    data: 'required figure',
    whole: 'required figure',
  });
  const { sizes, shares, data, whole } = norms;
  const samples = sizes.reduce((a, b) => a + b, 0);
  const small = shares.reduce((sum, square, m) => sum + (samples / sizes[m]!) * square, 0);
  const s = ((small - data) * samples) / (sizes.length - 1);
  return { s, g2: whole - s / samples };
}

/**
 * The same from a step's results; undefined where its program does not compute the norms. Where samples are computed singly
 * (`invariant`) there is a norm for each of them, whatever the microbatches.
 */
export function noiseOfResults(
  results: ReadonlyMap<string, HostTensor>,
  chunks: readonly number[],
): StepNoise | undefined {
  const found = [...results].filter(([name]) => name.startsWith('micro_square/')).map(([, t]) => t.data);
  if (found.length === 0) return undefined;
  const parts = found[0]!.length;
  const sizes = parts === chunks.length ? chunks : new Array<number>(parts).fill(1);
  const shares = sizes.map((_, m) => found.reduce((sum, squares) => sum + squares[m]!, 0));
  let data = 0;
  let whole = 0;
  for (const [name, { data: square }] of results) {
    if (!name.startsWith('grad_square/')) continue;
    whole += square[0]!;
    data += (results.get(`data_square/${name.slice('grad_square/'.length)}`)?.data ?? square)[0]!;
  }
  return noiseOfStep({ sizes, shares, data, whole });
}

export const defaultNoiseDecay = 0.95;

export interface NoiseAverageOptions {
  /** Weight that the averages keep at each step, 0 ≤ decay < 1; default 0.95. */
  readonly decay?: number | undefined;
}

/** Averages the estimates of steps. */
export class NoiseTracker {
  readonly #decay: number;
  #steps = 0;
  #g2 = 0;
  #s = 0;

  /** `past`: the estimates that an earlier tracker was given; this one goes on from there, with the same bits. */
  constructor(options: NoiseAverageOptions = {}, past: Iterable<StepNoise> = []) {
    checkOptions('NoiseTracker', options, { decay: 'figure' });
    const { decay = defaultNoiseDecay } = options;
    if (!(decay >= 0 && decay < 1)) {
      throw new UsageError(
        'noise-decay',
        `the decay of the noise averages must be at least 0 and below 1, not ${decay}`,
        {
          fields: { decay },
          remedy: `decay: ${defaultNoiseDecay}`,
        },
      );
    }
    this.#decay = decay;
    for (const step of past) this.add(step);
  }

  add({ g2, s }: StepNoise): NoiseRecord {
    const keep = this.#decay;
    this.#steps++;
    this.#g2 = keep * this.#g2 + (1 - keep) * g2;
    this.#s = keep * this.#s + (1 - keep) * s;
    // As Adam's moments: the averages start at 0, which weighs decayᵗ.
    const weight = 1 - keep ** this.#steps;
    const g2Average = this.#g2 / weight;
    const sAverage = this.#s / weight;
    return { g2, s, g2Average, sAverage, bSimple: sAverage / g2Average };
  }
}

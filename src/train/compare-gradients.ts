/**
 * Two sets of gradients beside each other, exactly: bits, units in the last place, and, where both are the same sums in
 * another order, the most that rounding can make of it.
 *
 *     const [four] = await compareMicrobatches({ model, data: { x, y }, microbatches: [4] });
 *     for (const { parameter, maxDifference, bound, within } of four.rows) …
 */

import { UsageError } from '../core/errors.ts';
import { allocate, elementCount, type HostTensor, sameShape, type TensorData } from '../core/types.ts';
import { withBatchNorm } from '../optim/batch-norm.ts';
import {
  type GradientTerms,
  gradientTermsModel,
  gradientTermsOf,
  type TermFactor,
  termFactorsModel,
} from '../optim/gradient-terms.ts';
import { chunkSizes } from '../plan/chunks.ts';
import { makePlan, type PlanRequest } from '../plan/plan.ts';
import { requireHostTensor, requireTensorMap } from './check-session.ts';
import {
  checkDerivative,
  type DerivativeOptions,
  derivativeNames,
  gradientRequest,
  sessionPart,
} from './derivatives.ts';
import { Session, type SessionOptions } from './session.ts';

type Tensors = ReadonlyMap<string, HostTensor>;

/** How two f32 tensors of one shape differ. */
export interface TensorDifference {
  readonly equalBits: boolean;
  /**
   * Most f32 values that lie between two elements, ends counted once: 0 equal (+0 and −0 too), 1 neighbours; Infinity where
   * one is NaN.
   */
  readonly maxUlps: number;
  /** Largest |a − b|; NaN where one of the two is. */
  readonly maxDifference: number;
  /** ‖a − b‖ / ‖a‖ over all elements, 0 where both are 0. */
  readonly relative: number;
}

/** How far two tensors lie apart. Throws UsageError where their shapes differ. */
export function compareTensors(a: HostTensor, b: HostTensor, name = 'the tensors'): TensorDifference {
  for (const [side, tensor] of Object.entries({ a, b })) requireHostTensor('compareTensors', side, tensor);
  if (a.type.dtype !== 'f32' || b.type.dtype !== 'f32' || !sameShape(a.type.shape, b.type.shape)) {
    throw new UsageError(
      'compare-type',
      `${name}: ${a.type.dtype}[${a.type.shape.join(', ')}] and ${b.type.dtype}[${b.type.shape.join(', ')}] cannot be compared`,
      { fields: { tensor: name, shapes: [a.type.shape, b.type.shape] }, remedy: 'give two f32 tensors of one shape' },
    );
  }
  const [bitsA, bitsB] = [bitsOf(a), bitsOf(b)];
  let equalBits = true;
  let maxUlps = 0;
  let maxDifference = 0;
  let squares = 0;
  let own = 0;
  for (let i = 0; i < bitsA.length; i++) {
    const [x, y] = [a.data[i]!, b.data[i]!];
    own += x * x;
    if (bitsA[i] === bitsB[i]) continue;
    equalBits = false;
    const difference = Math.abs(x - y);
    squares += difference * difference;
    // Math.max keeps NaN.
    maxDifference = Math.max(maxDifference, difference);
    const ulps = Math.abs(rank(bitsA[i]!) - rank(bitsB[i]!));
    maxUlps = Math.max(maxUlps, Number.isNaN(x) || Number.isNaN(y) ? Number.POSITIVE_INFINITY : ulps);
  }
  return { equalBits, maxUlps, maxDifference, relative: squares === 0 ? 0 : Math.sqrt(squares / own) };
}

/** By name, for all tensors of `a`. Throws UsageError where `b` lacks one. */
export function compareGradients(a: Tensors, b: Tensors): Map<string, TensorDifference> {
  for (const tensors of [a, b]) requireTensorMap('compareGradients', tensors);
  return new Map(
    [...a].map(([name, tensor]) => {
      const other = b.get(name);
      if (!other) {
        throw new UsageError('compare-missing', `the second set of gradients lacks ${name}`, {
          fields: { tensor: name, given: [...b.keys()] },
          remedy: 'compare gradients of one model',
        });
      }
      return [name, compareTensors(tensor, other, name)];
    }),
  );
}

const bitsOf = ({ data: { buffer, byteOffset, length } }: HostTensor): Int32Array =>
  new Int32Array(buffer as ArrayBuffer, byteOffset, length);

/** Place among the f32 values in ascending order, 0 for both zeros. */
const rank = (bits: number): number => (bits < 0 ? -(bits & 0x7fffffff) : bits);

/** The gradient of one parameter by M microbatches against that of the whole batch at once. */
export interface GradientComparison extends TensorDifference {
  readonly parameter: string;
  /** Largest bound of any element on |whole − microbatches|; null where none is known, and `why` says why. */
  readonly bound: number | null;
  /** Whether every element keeps its own bound; null where there is no bound. */
  readonly within: boolean | null;
  /** Largest |difference| / bound of any element: how much of the bound is used. null where there is no bound. */
  readonly boundUsed: number | null;
  /** Terms of the sum: samples, times the positions in each, over all uses of the parameter. */
  readonly terms: number;
  /** Whether the tensors that the terms are made of have the same bits either way: what the bound builds on. */
  readonly sameTerms: boolean;
  readonly why?: string;
}

export interface MicrobatchComparison {
  readonly microbatches: number;
  /** Loss of the whole batch at once, and by microbatches. */
  readonly losses: readonly [whole: number, microbatches: number];
  /** In the order of the parameters in the model. */
  readonly rows: readonly GradientComparison[];
}

export interface CompareOptions extends Omit<DerivativeOptions, 'microbatches'> {
  /** Numbers of microbatches to compare with the whole batch. */
  readonly microbatches: readonly number[];
}

/**
 * Gradients of a batch at once against those by microbatches, tensor by tensor: bits, ulps, difference, and a bound on what
 * another order of the same additions can change. Both are Σ terms·(1 + θ) with |θ| ≤ γ_k, so they differ by at most
 *
 *     (γ_k + γ_{k+M−1}) · Σ|terms|      γ_k = k·u / (1 − k·u), u = 2⁻²⁴
 *
 * element by element, with k roundings of a term and M − 1 additions of microbatches (`optim/gradient-terms.ts`; Higham,
 * "Accuracy and Stability of Numerical Algorithms", 2nd ed., section 4.2). Σ|terms| is computed beside the gradient, in
 * f32, and enlarged by what its own roundings may have taken from it; a product that underflows may miss 2⁻¹⁴⁹.
 *
 * The bound holds for the same terms, so their factors are compared too (`sameTerms`). It is no bound where they differ, as
 * they do where a layer looks at its whole microbatch. In invariant mode the order is the same too, and the bound 0. The
 * whole batch has to fit on the devices.
 */
export async function compareMicrobatches(options: CompareOptions): Promise<MicrobatchComparison[]> {
  checkDerivative('compareMicrobatches', options, { ...derivativeNames, microbatches: 'required list' });
  return compareMicrobatchesOf(gradientRequest({ ...options, microbatches: 1 }), options);
}

/** The same for the request of a gradient; its own number of microbatches does not matter. */
export async function compareMicrobatchesOf(
  request: PlanRequest,
  options: Pick<CompareOptions, 'data' | 'microbatches' | 'signal'> & SessionOptions,
): Promise<MicrobatchComparison[]> {
  const { batch } = Object.values(request.programs)[0]!;
  const bare: PlanRequest = {
    ...request,
    programs: { gradients: { batch, mode: 'gradients' } },
    optimizer: undefined,
    clip: undefined,
    inputGradients: false,
    // Settled in the model, so that its terms are those of the mode.
    batchNorm: undefined,
  };
  const base = withBatchNorm(request.model, request.batchNorm ?? 'micro');
  const run = async (model: PlanRequest['model'], microbatches: number) => {
    // A schedule from a file is one for its own number of microbatches.
    const { schedule: asked } = request;
    const schedule = typeof asked === 'object' && asked.microbatches !== microbatches ? undefined : asked;
    await using session = await Session.open(
      makePlan({ ...bare, model, microbatches, schedule }),
      sessionPart(options),
    );
    const { loss, results } = await session.run('gradients', options.data, { signal: options.signal });
    return { loss, results, parameters: await session.parameters() };
  };
  // In invariant mode the additions are the same in the same order: no gradient may differ by a bit.
  const { invariant = false } = request;
  let terms = invariant ? gradientTermsOf(base, batch) : [];
  const whole = await run(
    invariant
      ? base
      : gradientTermsModel(base, (found) => {
          terms = found;
        }),
    1,
  );
  const factors = invariant
    ? []
    : [...new Map(terms.flatMap((t) => t.factors.map((f) => [f.name, f] as const))).values()];
  const comparisons: MicrobatchComparison[] = [];
  for (const microbatches of options.microbatches) {
    const parts = await run(termFactorsModel(base, factors), microbatches);
    const sizes = chunkSizes(batch, microbatches);
    const moved = new Set(
      factors.filter((f) => !sameFactor(f, whole.results, parts.results, sizes)).map((f) => f.name),
    );
    comparisons.push({
      microbatches,
      losses: [whole.loss, parts.loss],
      rows: terms.map((t) =>
        invariant ? compareBits(t, whole, parts) : compare(t, moved, microbatches, { whole, parts, l2: request.l2 }),
      ),
    });
  }
  return comparisons;
}

/** Whether a factor has the same bits, joined from chunks of these sizes, as in one. */
function sameFactor(
  { name, batchAxis }: TermFactor,
  whole: Tensors,
  parts: Tensors,
  sizes: readonly number[],
): boolean {
  const [a, b] = [whole.get(`term/${name}`)!, parts.get(`term/${name}`)];
  if (!b || a.type.dtype !== b.type.dtype || !sameShape(a.type.shape, b.type.shape)) return false;
  return sameBytes(a.data, b.data) || sameBytes(a.data, positionsFirst(b, batchAxis, sizes));
}

const sameBytes = (a: TensorData, b: TensorData): boolean =>
  Buffer.from(a.buffer, a.byteOffset, a.byteLength).equals(Buffer.from(b.buffer, b.byteOffset, b.byteLength));

/**
 * The values in the order of the whole batch where the batch's axis holds several positions of each sample, position after
 * position (time · batch): each chunk has its own samples at each of them.
 */
function positionsFirst({ type, data }: HostTensor, axis: number, sizes: readonly number[]): TensorData {
  const samples = sizes.reduce((a, b) => a + b, 0);
  const positions = type.shape[axis]! / samples;
  const inner = elementCount(type.shape.slice(axis + 1));
  const length = type.shape[axis]! * inner;
  const ordered = allocate(type);
  for (let outer = 0; outer < data.length; outer += length) {
    let from = outer;
    let first = 0;
    for (const size of sizes) {
      for (let p = 0; p < positions; p++, from += size * inner) {
        ordered.set(data.subarray(from, from + size * inner), outer + (p * samples + first) * inner);
      }
      first += size;
    }
  }
  return ordered;
}

interface Results {
  readonly results: Tensors;
}

interface Sides {
  readonly whole: Results & { readonly parameters: Tensors };
  readonly parts: Results;
  readonly l2: PlanRequest['l2'];
}

const unitRoundoff = 2 ** -24;
const smallest = 2 ** -149;
const gamma = (k: number): number => (k * unitRoundoff) / (1 - k * unitRoundoff);

function compareBits({ parameter, count }: GradientTerms, whole: Results, parts: Results): GradientComparison {
  const name = `grad/${parameter}`;
  const difference = compareTensors(whole.results.get(name)!, parts.results.get(name)!, parameter);
  const { equalBits } = difference;
  const boundUsed = equalBits ? 0 : Number.POSITIVE_INFINITY;
  return { parameter, ...difference, terms: count, bound: 0, within: equalBits, boundUsed, sameTerms: equalBits };
}

function compare(
  { parameter, count, roundings, unknown, factors }: GradientTerms,
  moved: ReadonlySet<string>,
  microbatches: number,
  { whole, parts, l2 }: Sides,
): GradientComparison {
  const [a, b] = [whole.results.get(`grad/${parameter}`)!, parts.results.get(`grad/${parameter}`)!];
  const difference = { parameter, ...compareTensors(a, b, parameter), terms: count };
  const differing = factors.filter((f) => moved.has(f.name)).map((f) => f.name);
  const sameTerms = unknown === undefined && differing.length === 0;
  if (!sameTerms) {
    const why = unknown ?? `the terms themselves differ: ${differing.join(', ')}`;
    return { ...difference, bound: null, within: null, boundUsed: null, sameTerms, why };
  }
  // A penalty is one more addition, of the same λw either way.
  const lambda = l2?.parameters.includes(parameter) ? l2.lambda : 0;
  const weights = whole.parameters.get(parameter)!.data;
  const own = roundings + (lambda > 0 ? 1 : 0);
  const magnitudes = whole.results.get(`terms/${parameter}`)?.data;
  const factor = gamma(own) + gamma(own + microbatches - 1);
  let bound = 0;
  let boundUsed = 0;
  a.data.forEach((x, i) => {
    const sum = (magnitudes?.[i] ?? 0) / (1 - gamma(roundings)) + lambda * Math.abs(weights[i]!);
    const most = factor * sum + (sum > 0 ? count * smallest : 0);
    const apart = Math.abs(x - b.data[i]!);
    bound = Math.max(bound, most);
    boundUsed = Math.max(boundUsed, apart === 0 ? 0 : apart / most);
  });
  return { ...difference, bound, within: boundUsed <= 1, boundUsed, sameTerms };
}

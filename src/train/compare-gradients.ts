/**
 * Two sets of gradients beside each other, exactly: bits, units in the last place, and, where both are the same sums in
 * another order, the most that rounding can make of it.
 *
 *     const [four] = await compareMicrobatches({ model, data: { x, y }, microbatches: [4] });
 *     for (const { parameter, maxDifference, bound, within } of four.rows) …
 */
import { UsageError } from '../core/errors.ts';
import { type HostTensor, sameShape } from '../core/types.ts';
import { type GradientTerms, gradientTermsModel, type TermFactor, termFactorsModel } from '../optim/gradient-terms.ts';
import { makePlan, type PlanRequest } from '../plan/plan.ts';
import { type DerivativeOptions, gradientRequest } from './derivatives.ts';
import { Session, type SessionOptions } from './session.ts';

type Tensors = ReadonlyMap<string, HostTensor>;

/** How two f32 tensors of one shape differ. */
export interface TensorDifference {
  readonly equalBits: boolean;
  /** Most f32 values that lie between two elements, ends counted once: 0 equal (+0 and −0 too), 1 neighbours; Infinity where one is NaN. */
  readonly maxUlps: number;
  /** Largest |a − b|; NaN where one of the two is. */
  readonly maxDifference: number;
  /** ‖a − b‖ / ‖a‖ over all elements, 0 where both are 0. */
  readonly relative: number;
}

/** How far two tensors lie apart. Throws UsageError where their shapes differ. */
export function compareTensors(a: HostTensor, b: HostTensor, name = 'the tensors'): TensorDifference {
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
 * they do where a layer looks at its whole microbatch. The whole batch has to fit on the devices.
 */
export function compareMicrobatches(options: CompareOptions): Promise<MicrobatchComparison[]> {
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
    inputGradients: false,
  };
  const run = async (model: PlanRequest['model'], microbatches: number) => {
    const fits = typeof request.schedule === 'string' || request.schedule.microbatches === microbatches;
    const schedule = fits ? request.schedule : '1f1b';
    await using session = await Session.open(makePlan({ ...bare, model, microbatches, schedule }), options);
    const { loss, results } = await session.run('gradients', options.data, { signal: options.signal });
    return { loss, results, parameters: await session.parameters() };
  };
  let terms: readonly GradientTerms[] = [];
  const whole = await run(
    gradientTermsModel(request.model, (found) => {
      terms = found;
    }),
    1,
  );
  const factors = [...new Map(terms.flatMap((t) => t.factors.map((f) => [f.name, f] as const))).values()];
  const comparisons: MicrobatchComparison[] = [];
  for (const microbatches of options.microbatches) {
    const parts = await run(termFactorsModel(request.model, factors), microbatches);
    const moved = new Set(factors.filter((f) => !sameFactor(f, whole.results, parts.results)).map((f) => f.name));
    comparisons.push({
      microbatches,
      losses: [whole.loss, parts.loss],
      rows: terms.map((t) => compare(t, moved, microbatches, { whole, parts, l2: request.l2 })),
    });
  }
  return comparisons;
}

const sameFactor = ({ name }: TermFactor, whole: Tensors, parts: Tensors): boolean => {
  const [a, b] = [whole.get(`term/${name}`)!, parts.get(`term/${name}`)];
  if (!b || !sameShape(a.type.shape, b.type.shape)) return false;
  const bytes = ({ data: d }: HostTensor) => Buffer.from(d.buffer, d.byteOffset, d.byteLength);
  return bytes(a).equals(bytes(b));
};

interface Sides {
  readonly whole: { readonly results: Tensors; readonly parameters: Tensors };
  readonly parts: { readonly results: Tensors };
  readonly l2: PlanRequest['l2'];
}

const unitRoundoff = 2 ** -24;
const smallest = 2 ** -149;
const gamma = (k: number): number => (k * unitRoundoff) / (1 - k * unitRoundoff);

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

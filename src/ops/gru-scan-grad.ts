/** Backpropagation through time of a GRU, fused: the derivative of `gruScan` (see there for names and formulas). */
import type { TensorType } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import { type RefTensor, require, type Sample } from '../graph/op-record.ts';
import { mul, sub } from './binary.ts';
import { elementwiseBytes } from './cost.ts';
import { defineOp } from './define.ts';
import { type GruGates, gruBlocks } from './gates.ts';
import { matmul } from './matmul.ts';
import {
  addAll,
  addProduct,
  atTime,
  blocks,
  columns,
  requireScan,
  stack,
  stateBefore,
  timeBefore,
  timesOf,
  unstack,
  zerosLike,
} from './scan.ts';
import { concat, slice } from './shape.ts';
import { requireFloats, requireShape } from './type-rules.ts';
import { sigmoidGrad, tanhGrad } from './unary-grad.ts';

/** Where the reset gate acts: on the state before its product, or on the product (PyTorch, ONNX linear_before_reset). */
export type GruReset = 'before' | 'after';
export type GruScanAttrs = { readonly gates: GruGates; readonly reset: GruReset; readonly reverse: boolean };

/** Outputs of the scan whose cotangents may be given, in this order. */
const differentiated = ['h', 'gates', 'product'] as const;
export type GruCotangent = (typeof differentiated)[number];
export type GruScanGradAttrs = GruScanAttrs & { readonly cotangents: readonly GruCotangent[] };

const f32 = (...shape: number[]): TensorType => ({ dtype: 'f32', shape });

/** Products of all steps, and about 40 operations a cell for the gates. */
export const gruFlops = ([steps, batch, size]: readonly number[]): number => steps! * batch! * size! * (6 * size! + 40);

/** The inputs of a backward scan by name. */
export function gruGradInputs<T>(
  inputs: readonly T[],
  { reset, cotangents }: GruScanGradAttrs,
): { readonly h: T; readonly gates: T; readonly h0: T; readonly r: T; readonly product?: T } & {
  readonly cotangent: Partial<Record<GruCotangent, T>>;
} {
  const [h, gates, h0, r] = inputs as [T, T, T, T];
  const first = reset === 'after' ? 5 : 4;
  const cotangent = Object.fromEntries(cotangents.map((output, i) => [output, inputs[first + i]!]));
  return { h, gates, h0, r, ...(reset === 'after' ? { product: inputs[4]! } : {}), cotangent };
}

export const gruScanGradOp = defineOp<GruScanGradAttrs>({
  name: 'gruScanGrad',
  doc: 'The cotangents of gruScan’s x and h₀ from those of its outputs, by backpropagation through time; where the reset gate acts behind the product, those of the products too. h [T, N, H] and gates [T, N, 3H] as gruScan left them, h₀ [N, H], R [3H, H], the products [T, N, H] where it has them, then the cotangents that `cotangents` names: of h and product [T, N, H], of gates [T, N, 3H]; what is not named is 0.',
  infer: (inputs, attrs) => {
    const { reset, cotangents } = attrs;
    require(cotangents.length > 0, 'needs the cotangent of at least one output');
    const ordered = differentiated.filter((output) => cotangents.includes(output));
    require(ordered.join() ===
      cotangents.join(), `cotangents must name ${differentiated.join(', ')} or some of them in this order, got ${cotangents.join(', ')}`);
    require(reset === 'after' || !cotangents.includes('product'), 'has products only where the reset gate acts after');
    requireFloats(inputs, [
      ...['h', 'gates', 'h0', 'R', ...(reset === 'after' ? ['product'] : [])],
      ...cotangents.map((output) => `d${output}`),
    ]);
    const { h, gates, h0, r, product, cotangent } = gruGradInputs(inputs, attrs);
    const { steps, batch, size } = requireScan('gates', gates.shape, r.shape, 3);
    requireShape('h', h.shape, [steps, batch, size]);
    requireShape('h0', h0.shape, [batch, size]);
    if (product) requireShape('product', product.shape, h.shape);
    if (cotangent.h) requireShape('dh', cotangent.h.shape, h.shape);
    if (cotangent.gates) requireShape('dgates', cotangent.gates.shape, gates.shape);
    if (cotangent.product) requireShape('dproduct', cotangent.product.shape, h.shape);
    return [gates, h0, ...(product ? [product] : [])];
  },
  reference: (inputs, attrs) => {
    const { h, gates, h0, r, product, cotangent } = gruGradInputs(inputs, attrs);
    const sizes = requireScan('gates', gates.type.shape, r.type.shape, 3);
    const { steps, batch, size } = sizes;
    const block = gruBlocks[attrs.gates];
    const dX = new Float64Array(gates.data.length);
    const dProduct = new Float64Array(h.data.length);
    const dH = new Float64Array(batch * size);
    const candidate = r.data.subarray(2 * size * size);
    const given = (of: RefTensor | undefined, t: number, i: number): number => (of ? atTime(of.data, t, steps)[i]! : 0);
    for (const t of timesOf(steps, !attrs.reverse)) {
      const [now, dNow, dq] = [atTime(gates.data, t, steps), atTime(dX, t, steps), atTime(dProduct, t, steps)];
      const before = stateBefore(h.data, h0.data, t, sizes, attrs.reverse);
      const each = (visit: (at: number, place: (b: number) => number) => void): void => {
        for (let at = 0; at < batch * size; at++) {
          visit(at, (b) => (3 * Math.floor(at / size) + b) * size + (at % size));
        }
      };
      const own = (place: number): number => given(cotangent.gates, t, place);
      each((at, place) => {
        const [z, n] = [now[place(block.z)]!, now[place(block.n)]!];
        const dh = dH[at]! + given(cotangent.h, t, at);
        dNow[place(block.z)] = (dh * (before[at]! - n) + own(place(block.z))) * z * (1 - z);
        dNow[place(block.n)] = (dh * (1 - z) + own(place(block.n))) * (1 - n * n);
        dH[at] = dh * z;
      });
      // du: what the reset gate's product with the state gets back, before the product.
      const du = new Float64Array(batch * size);
      if (!product) addProduct(columns(du, size), columns(dNow, 3 * size, 2 * size, size), candidate, false);
      each((at, place) => {
        const gate = now[place(block.r)]!;
        const dn = dNow[place(block.n)]!;
        const dr = product ? dn * atTime(product.data, t, steps)[at]! : du[at]! * before[at]!;
        dNow[place(block.r)] = (dr + own(place(block.r))) * gate * (1 - gate);
        if (product) dq[at] = dn * gate + given(cotangent.product, t, at);
        else dH[at] = dH[at]! + du[at]! * gate;
      });
      addProduct(columns(dH, size), columns(dNow, 3 * size, 0, 2 * size), r.data, false);
      if (product) addProduct(columns(dH, size), columns(dq, size), candidate, false);
    }
    return [dX, dH, ...(product ? [dProduct] : [])];
  },
  gradient: { kind: 'decompose', build: (inputs, attrs) => unrollGradient(inputs, attrs) },
  cost: (inputs, outputs) => ({ flops: gruFlops(inputs[0]!.shape), bytes: elementwiseBytes(inputs, outputs) }),
  samples: [
    gradSample('one step, one sample, one unit', [1, 1, 1], { reset: 'before' }, ['h']),
    gradSample('one step, one unit, reset after', [1, 2, 1], { reset: 'after' }, ['h']),
    gradSample('odd sizes', [3, 2, 5], { reset: 'before' }, ['h']),
    gradSample('odd sizes, reset after', [3, 2, 5], { reset: 'after' }, ['h']),
    gradSample('all cotangents, reverse', [3, 2, 3], { reset: 'before', gates: 'rzn', reverse: true }, ['h', 'gates']),
    gradSample('all cotangents, reverse, reset after', [3, 1, 3], { reset: 'after', gates: 'rzn', reverse: true }, [
      'h',
      'gates',
      'product',
    ]),
    gradSample('of the gates only', [2, 3, 2], { reset: 'before' }, ['gates']),
    gradSample('of the products only', [2, 3, 2], { reset: 'after' }, ['product']),
  ],
  badSamples: [
    {
      inputs: [f32(2, 3, 2), f32(2, 3, 6), f32(3, 2), f32(6, 2), f32(2, 3, 6), f32(2, 3, 2)],
      attrs: { gates: 'zrh', reset: 'before', reverse: false, cotangents: ['gates', 'h'] },
      message: 'cotangents must name h, gates, product or some of them in this order, got gates, h',
    },
    {
      inputs: [f32(2, 3, 2), f32(2, 3, 6), f32(3, 2), f32(6, 2)],
      attrs: { gates: 'zrh', reset: 'before', reverse: false, cotangents: [] },
      message: 'needs the cotangent of at least one output',
    },
    {
      inputs: [f32(2, 3, 2), f32(2, 3, 6), f32(3, 2), f32(6, 2), f32(2, 3, 2)],
      attrs: { gates: 'zrh', reset: 'before', reverse: false, cotangents: ['product'] },
      message: 'has products only where the reset gate acts after',
    },
    {
      inputs: [f32(2, 3, 2), f32(2, 3, 6), f32(3, 2), f32(6, 2), f32(2, 3, 6), f32(2, 3, 2)],
      attrs: { gates: 'zrh', reset: 'after', reverse: false, cotangents: ['h'] },
      message: 'product must have the shape [2, 3, 2], got [2, 3, 6]',
    },
  ],
});

function gradSample(
  name: string,
  [t, n, h]: [number, number, number],
  options: Partial<GruScanAttrs> & Pick<GruScanAttrs, 'reset'>,
  cotangents: readonly GruCotangent[],
): Sample<GruScanGradAttrs> {
  const { gates = 'zrh', reset, reverse = false } = options;
  const wide = { h, gates: 3 * h, product: h };
  return {
    name,
    inputs: [
      { shape: [t, n, h] },
      { shape: [t, n, 3 * h], low: 0.1, high: 0.9 },
      { shape: [n, h] },
      { shape: [3 * h, h] },
      ...(reset === 'after' ? [{ shape: [t, n, h] }] : []),
      ...cotangents.map((output) => ({ shape: [t, n, wide[output]] })),
    ],
    attrs: { gates, reset, reverse, cotangents },
  };
}

/** The backward scan as ordinary ops, step by step: what its own derivatives are taken of. */
function unrollGradient(inputs: readonly Tensor[], attrs: GruScanGradAttrs): readonly Tensor[] {
  const named = gruGradInputs(inputs, attrs);
  const { h0, r } = named;
  const [steps, , size] = named.h.shape as [number, number, number];
  const block = gruBlocks[attrs.gates];
  const [states, gates] = [unstack(named.h), unstack(named.gates)];
  const products = named.product && unstack(named.product);
  const cotangent = (output: GruCotangent) => (named.cotangent[output] ? unstack(named.cotangent[output]) : []);
  const [ofH, ofGates, ofProduct] = [cotangent('h'), cotangent('gates'), cotangent('product')];
  const [gateWeight, candidate] = [slice(r, { 0: [0, 2 * size] }), slice(r, { 0: [2 * size, null] })];
  const [dX, dProduct] = [new Array<Tensor>(steps), new Array<Tensor>(steps)];
  let dH = zerosLike(h0);
  for (const t of timesOf(steps, !attrs.reverse)) {
    const now = blocks(gates[t]!, 3);
    const [z, reset, n] = [now[block.z]!, now[block.r]!, now[block.n]!];
    const own = ofGates[t] ? blocks(ofGates[t], 3) : [];
    const at = timeBefore(t, steps, attrs.reverse);
    const before = at === undefined ? h0 : states[at]!;
    const dh = addAll(dH, ofH[t])!;
    const dZ = sigmoidGrad(z, addAll(mul(dh, sub(before, n)), own[block.z])!);
    const dN = tanhGrad(n, addAll(mul(dh, sub(1, z)), own[block.n])!);
    const du = products ? undefined : matmul(dN, candidate);
    const dR = sigmoidGrad(reset, addAll(du ? mul(du, before) : mul(dN, products![t]!), own[block.r])!);
    const dq = products && addAll(mul(dN, reset), ofProduct[t])!;
    const pair = new Array<Tensor>(2);
    pair[block.z] = dZ;
    pair[block.r] = dR;
    const dGates = concat(pair, { axis: 1 });
    dX[t] = concat([dGates, dN], { axis: 1 });
    dH = addAll(mul(dh, z), du ? mul(du, reset) : undefined, matmul(dGates, gateWeight), dq && matmul(dq, candidate))!;
    if (dq) dProduct[t] = dq;
  }
  return [stack(dX), dH, ...(products ? [stack(dProduct)] : [])];
}

/** Gradient of `gruScan` by x, the initial state and the products, from the cotangents of its outputs. */
export function gruScanGrad(
  saved: {
    readonly h: Tensor;
    readonly gates: Tensor;
    readonly h0: Tensor;
    readonly r: Tensor;
    readonly product: Tensor | undefined;
  },
  cotangents: Readonly<Record<GruCotangent, Tensor | undefined>>,
  { gates, reset, reverse }: GruScanAttrs,
): { readonly dX: Tensor; readonly dH0: Tensor; readonly dProduct: Tensor | undefined } {
  const given = differentiated.filter((output) => cotangents[output]);
  const [dX, dH0, dProduct] = saved.h.graph.add(
    gruScanGradOp,
    [
      ...[saved.h, saved.gates, saved.h0, saved.r],
      ...(saved.product ? [saved.product] : []),
      ...given.map((output) => cotangents[output]!),
    ],
    { gates, reset, reverse, cotangents: given },
  ) as readonly [Tensor, Tensor, Tensor?];
  return { dX, dH0, dProduct };
}

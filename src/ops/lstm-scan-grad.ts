/** Backpropagation through time of an LSTM, fused: the derivative of `lstmScan` (see there for names and formulas). */
import type { TensorType } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import { type RefTensor, require, type Sample } from '../graph/op-record.ts';
import { mul } from './binary.ts';
import { elementwiseBytes } from './cost.ts';
import { defineOp } from './define.ts';
import { type LstmGates, lstmBlocks } from './gates.ts';
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
import { concat } from './shape.ts';
import { requireFloats, requireShape } from './type-rules.ts';
import { tanh } from './unary.ts';
import { sigmoidGrad, tanhGrad } from './unary-grad.ts';

export type LstmScanAttrs = { readonly gates: LstmGates; readonly reverse: boolean };

/** Outputs of the scan whose cotangents may be given, in this order. */
const differentiated = ['h', 'c', 'gates'] as const;
export type LstmCotangent = (typeof differentiated)[number];
export type LstmScanGradAttrs = LstmScanAttrs & {
  readonly peepholes: boolean;
  readonly cotangents: readonly LstmCotangent[];
};

const f32 = (...shape: number[]): TensorType => ({ dtype: 'f32', shape });

/** Products of all steps, and about 50 operations a cell for the gates. */
export const lstmFlops = ([steps, batch, size]: readonly number[]): number =>
  steps! * batch! * size! * (8 * size! + 50);

/** What the backward scan takes besides cotangents. */
const gradNames = ({ peepholes, cotangents }: LstmScanGradAttrs): string[] => [
  ...['gates', 'c', 'c0', 'R'],
  ...(peepholes ? ['peepholes'] : []),
  ...cotangents.map((output) => `d${output}`),
];

/** The inputs of a backward scan by name. */
export function lstmGradInputs<T>(
  inputs: readonly T[],
  { peepholes, cotangents }: LstmScanGradAttrs,
): { readonly gates: T; readonly c: T; readonly c0: T; readonly r: T; readonly p?: T } & {
  readonly cotangent: Partial<Record<LstmCotangent, T>>;
} {
  const [gates, c, c0, r] = inputs as [T, T, T, T];
  const first = peepholes ? 5 : 4;
  const cotangent = Object.fromEntries(cotangents.map((output, i) => [output, inputs[first + i]!]));
  return { gates, c, c0, r, ...(peepholes ? { p: inputs[4]! } : {}), cotangent };
}

export const lstmScanGradOp = defineOp<LstmScanGradAttrs>({
  name: 'lstmScanGrad',
  doc: 'The cotangents of lstmScan’s x, h₀ and c₀ from those of its outputs, by backpropagation through time. gates [T, N, 4H] and c [T, N, H] as lstmScan left them, c₀ [N, H], R [4H, H], peepholes [3H] where it has them, then the cotangents that `cotangents` names: of h and c [T, N, H], of gates [T, N, 4H]; what is not named is 0.',
  infer: (inputs, attrs) => {
    const { cotangents } = attrs;
    require(cotangents.length > 0, 'needs the cotangent of at least one output');
    const ordered = differentiated.filter((output) => cotangents.includes(output));
    require(ordered.join() ===
      cotangents.join(), `cotangents must name ${differentiated.join(', ')} or some of them in this order, got ${cotangents.join(', ')}`);
    requireFloats(inputs, gradNames(attrs));
    const { gates, c, c0, r, p, cotangent } = lstmGradInputs(inputs, attrs);
    const { steps, batch, size } = requireScan('gates', gates.shape, r.shape, 4);
    requireShape('c', c.shape, [steps, batch, size]);
    requireShape('c0', c0.shape, [batch, size]);
    if (p) requireShape('peepholes', p.shape, [3 * size]);
    if (cotangent.h) requireShape('dh', cotangent.h.shape, c.shape);
    if (cotangent.c) requireShape('dc', cotangent.c.shape, c.shape);
    if (cotangent.gates) requireShape('dgates', cotangent.gates.shape, gates.shape);
    return [gates, c0, c0];
  },
  reference: (inputs, attrs) => {
    const { gates, c, c0, r, p, cotangent } = lstmGradInputs(inputs, attrs);
    const sizes = requireScan('gates', gates.type.shape, r.type.shape, 4);
    const { steps, batch, size } = sizes;
    const block = lstmBlocks[attrs.gates];
    const dX = new Float64Array(gates.data.length);
    let dH = new Float64Array(batch * size);
    const dC = new Float64Array(batch * size);
    const given = (of: RefTensor | undefined, t: number, i: number): number => (of ? atTime(of.data, t, steps)[i]! : 0);
    const peephole = (i: number): number => p?.data[i] ?? 0;
    for (const t of timesOf(steps, !attrs.reverse)) {
      const [now, cNow, dNow] = [atTime(gates.data, t, steps), atTime(c.data, t, steps), atTime(dX, t, steps)];
      const before = stateBefore(c.data, c0.data, t, sizes, attrs.reverse);
      for (let n = 0; n < batch; n++) {
        for (let j = 0; j < size; j++) {
          const at = n * size + j;
          const place = (b: number): number => (4 * n + b) * size + j;
          const [i, o, f, g] = [block.i, block.o, block.f, block.g].map((b) => now[place(b)]!) as [
            number,
            number,
            number,
            number,
          ];
          const own = (b: number): number => given(cotangent.gates, t, place(b));
          const squashed = Math.tanh(cNow[at]!);
          const dh = dH[at]! + given(cotangent.h, t, at);
          const dO = (dh * squashed + own(block.o)) * o * (1 - o);
          const dc = dC[at]! + given(cotangent.c, t, at) + dh * o * (1 - squashed * squashed) + dO * peephole(size + j);
          const dI = (dc * g + own(block.i)) * i * (1 - i);
          const dF = (dc * before[at]! + own(block.f)) * f * (1 - f);
          dNow[place(block.i)] = dI;
          dNow[place(block.o)] = dO;
          dNow[place(block.f)] = dF;
          dNow[place(block.g)] = (dc * i + own(block.g)) * (1 - g * g);
          dC[at] = dc * f + dI * peephole(j) + dF * peephole(2 * size + j);
        }
      }
      dH = new Float64Array(batch * size);
      addProduct(columns(dH, size), columns(dNow, 4 * size), r.data, false);
    }
    return [dX, dH, dC];
  },
  gradient: { kind: 'decompose', build: (inputs, attrs) => unrollGradient(inputs, attrs) },
  cost: (inputs, outputs) => ({ flops: lstmFlops(inputs[1]!.shape), bytes: elementwiseBytes(inputs, outputs) }),
  samples: [
    gradSample('one step, one sample, one unit', [1, 1, 1], { gates: 'ifgo' }, ['h']),
    gradSample('odd sizes', [3, 2, 5], { gates: 'iofc' }, ['h']),
    gradSample('all cotangents, reverse', [4, 2, 3], { gates: 'ifgo', reverse: true }, ['h', 'c', 'gates']),
    gradSample('of the cell only', [2, 3, 2], { gates: 'iofc' }, ['c']),
    gradSample('of the gates only, peepholes', [2, 2, 3], { gates: 'iofc', peepholes: true }, ['gates']),
    gradSample('all, peepholes', [3, 2, 3], { gates: 'iofc', peepholes: true }, ['h', 'c', 'gates']),
    gradSample('peepholes, reverse', [3, 1, 5], { gates: 'ifgo', reverse: true, peepholes: true }, ['h', 'c']),
  ],
  badSamples: [
    {
      inputs: [f32(2, 3, 8), f32(2, 3, 2), f32(3, 2), f32(8, 2), f32(2, 3, 2), f32(2, 3, 2)],
      attrs: { gates: 'iofc', reverse: false, peepholes: false, cotangents: ['c', 'h'] },
      message: 'cotangents must name h, c, gates or some of them in this order, got c, h',
    },
    {
      inputs: [f32(2, 3, 8), f32(2, 3, 2), f32(3, 2), f32(8, 2)],
      attrs: { gates: 'iofc', reverse: false, peepholes: false, cotangents: [] },
      message: 'needs the cotangent of at least one output',
    },
    {
      inputs: [f32(2, 3, 8), f32(2, 3, 2), f32(3, 2), f32(8, 2), f32(2, 3, 2)],
      attrs: { gates: 'iofc', reverse: false, peepholes: false, cotangents: ['gates'] },
      message: 'dgates must have the shape [2, 3, 8], got [2, 3, 2]',
    },
    {
      inputs: [f32(2, 3, 8), f32(2, 3, 4), f32(3, 2), f32(8, 2), f32(2, 3, 2)],
      attrs: { gates: 'iofc', reverse: false, peepholes: false, cotangents: ['h'] },
      message: 'c must have the shape [2, 3, 2], got [2, 3, 4]',
    },
  ],
});

function gradSample(
  name: string,
  [t, n, h]: [number, number, number],
  options: Partial<LstmScanAttrs> & { readonly peepholes?: true },
  cotangents: readonly LstmCotangent[],
): Sample<LstmScanGradAttrs> {
  const { gates = 'iofc', reverse = false, peepholes = false } = options;
  const wide = { h, c: h, gates: 4 * h };
  return {
    name,
    inputs: [
      { shape: [t, n, 4 * h], low: 0.1, high: 0.9 },
      { shape: [t, n, h] },
      { shape: [n, h] },
      { shape: [4 * h, h] },
      ...(peepholes ? [{ shape: [3 * h] }] : []),
      ...cotangents.map((output) => ({ shape: [t, n, wide[output]] })),
    ],
    attrs: { gates, reverse, peepholes, cotangents },
  };
}

/** The backward scan as ordinary ops, step by step: what its own derivatives are taken of. */
function unrollGradient(inputs: readonly Tensor[], attrs: LstmScanGradAttrs): readonly Tensor[] {
  const named = lstmGradInputs(inputs, attrs);
  const { c0, r } = named;
  const steps = named.gates.shape[0]!;
  const block = lstmBlocks[attrs.gates];
  const [gates, cells] = [unstack(named.gates), unstack(named.c)];
  const cotangent = (output: LstmCotangent) => (named.cotangent[output] ? unstack(named.cotangent[output]) : []);
  const [ofH, ofC, ofGates] = [cotangent('h'), cotangent('c'), cotangent('gates')];
  const [pI, pO, pF] = named.p ? blocks(named.p, 3) : [];
  const seen = (d: Tensor, p: Tensor | undefined): Tensor | undefined => p && mul(d, p);
  const dX = new Array<Tensor>(steps);
  let [dH, dC] = [zerosLike(c0), zerosLike(c0)];
  for (const t of timesOf(steps, !attrs.reverse)) {
    const now = blocks(gates[t]!, 4);
    const [i, o, f, g] = [now[block.i]!, now[block.o]!, now[block.f]!, now[block.g]!];
    const own = ofGates[t] ? blocks(ofGates[t], 4) : [];
    const before = timeBefore(t, steps, attrs.reverse);
    const cBefore = before === undefined ? c0 : cells[before]!;
    const squashed = tanh(cells[t]!);
    const dh = addAll(dH, ofH[t])!;
    const dO = sigmoidGrad(o, addAll(mul(dh, squashed), own[block.o])!);
    const dc = addAll(dC, ofC[t], tanhGrad(squashed, mul(dh, o)), seen(dO, pO))!;
    const dI = sigmoidGrad(i, addAll(mul(dc, g), own[block.i])!);
    const dF = sigmoidGrad(f, addAll(mul(dc, cBefore), own[block.f])!);
    const parts = new Array<Tensor>(4);
    parts[block.i] = dI;
    parts[block.o] = dO;
    parts[block.f] = dF;
    parts[block.g] = tanhGrad(g, addAll(mul(dc, i), own[block.g])!);
    dX[t] = concat(parts, { axis: 1 });
    dC = addAll(mul(dc, f), seen(dI, pI), seen(dF, pF))!;
    dH = matmul(dX[t], r);
  }
  return [stack(dX), dH, dC];
}

/** Gradient of `lstmScan` by x and the initial states, from the cotangents of its outputs. */
export function lstmScanGrad(
  saved: {
    readonly gates: Tensor;
    readonly c: Tensor;
    readonly c0: Tensor;
    readonly r: Tensor;
    readonly peepholes: Tensor | undefined;
  },
  cotangents: Readonly<Record<LstmCotangent, Tensor | undefined>>,
  { gates, reverse }: LstmScanAttrs,
): { readonly dX: Tensor; readonly dH0: Tensor; readonly dC0: Tensor } {
  const given = differentiated.filter((output) => cotangents[output]);
  const [dX, dH0, dC0] = saved.c.graph.add(
    lstmScanGradOp,
    [
      ...[saved.gates, saved.c, saved.c0, saved.r],
      ...(saved.peepholes ? [saved.peepholes] : []),
      ...given.map((output) => cotangents[output]!),
    ],
    { gates, reverse, peepholes: saved.peepholes !== undefined, cotangents: given },
  ) as readonly [Tensor, Tensor, Tensor];
  return { dX, dH0, dC0 };
}

/** Functions that are constant between their jumps: their gradient is zero, as PyTorch's. */
import type { Tensor } from '../graph/graph.ts';
import type { OpRecord, Sample } from '../graph/op-record.ts';
import { unary } from './unary-record.ts';

const betweenIntegers = { low: -4, high: 4, awayFrom: [-4, -3, -2, -1, 0, 1, 2, 3, 4], distinct: 0.02 };

const special: Sample = {
  name: 'halves, large and special values',
  inputs: [
    {
      shape: [16],
      values: [
        -2.5,
        -1.5,
        -0.5,
        0.5,
        1.5,
        2.5,
        3.5,
        -0,
        0,
        8388607.5,
        -8388609,
        3e9,
        1e30,
        Infinity,
        -Infinity,
        Number.NaN,
      ],
    },
  ],
  attrs: {},
};

const jumps = 'it is constant between its jumps';

export const floorOp = unary({
  name: 'floor',
  doc: 'y = ⌊x⌋. ONNX Floor, torch.floor.',
  f: Math.floor,
  gradient: jumps,
  range: betweenIntegers,
  more: [special],
});

export const ceilOp = unary({
  name: 'ceil',
  doc: 'y = ⌈x⌉. ONNX Ceil, torch.ceil.',
  f: Math.ceil,
  gradient: jumps,
  range: betweenIntegers,
  more: [special],
});

/** Math.round takes halves up; here they go to the even neighbour. */
function roundHalfToEven(x: number): number {
  const below = Math.floor(x);
  const rest = x - below;
  if (rest !== 0.5) return Math.round(x);
  return below % 2 === 0 ? below : below + 1;
}

export const roundOp = unary({
  name: 'round',
  doc: 'y = the integer nearest x, halves to the even one. ONNX Round, torch.round.',
  f: roundHalfToEven,
  gradient: jumps,
  range: betweenIntegers,
  more: [special],
});

export const signOp = unary({
  name: 'sign',
  doc: 'y = −1, 0 or 1; NaN for NaN. ONNX Sign, torch.sign.',
  f: Math.sign,
  integers: Math.sign,
  gradient: jumps,
  range: { awayFrom: [0], distinct: 0.02 },
  more: [
    special,
    { name: 'i32', inputs: [{ shape: [5], dtype: 'i32', values: [0, 3, -3, 2147483647, -2147483648] }], attrs: {} },
  ],
});

const build =
  (op: OpRecord) =>
  (x: Tensor): Tensor =>
    x.graph.add(op, [x], {})[0]!;

/** ⌊x⌋ */
export const floor = build(floorOp);
/** ⌈x⌉ */
export const ceil = build(ceilOp);
/** The nearest integer, halves to the even one. */
export const round = build(roundOp);
/** −1, 0 or 1. */
export const sign = build(signOp);

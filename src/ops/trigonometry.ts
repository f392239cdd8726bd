import type { Tensor } from '../graph/graph.ts';
import type { OpRecord, Sample } from '../graph/op-record.ts';
import { add, mul } from './binary.ts';
import { neg } from './unary.ts';
import { unary } from './unary-record.ts';

/** Arguments of many turns, up to the largest f32, and what has no sine. */
const large: Sample = {
  name: 'large and special values',
  inputs: [{ shape: [9], values: [-100, 1e5, -1234567, 3e8, 1e20, -3.4e38, Infinity, -Infinity, Number.NaN] }],
  attrs: {},
  gradientOf: [],
};

const range = { low: -4, high: 4 };

export const sinOp = unary({
  name: 'sin',
  doc: 'y = sin x, x in radians. ONNX Sin, torch.sin.',
  f: Math.sin,
  gradient: (x, _y, dy) => mul(dy, cos(x)),
  flops: 30,
  range,
  more: [large],
});

export const cosOp = unary({
  name: 'cos',
  doc: 'y = cos x, x in radians. ONNX Cos, torch.cos.',
  f: Math.cos,
  gradient: (x, _y, dy) => neg(mul(dy, sin(x))),
  flops: 30,
  range,
  more: [large],
});

export const tanOp = unary({
  name: 'tan',
  doc: 'y = tan x, x in radians. ONNX Tan, torch.tan.',
  f: Math.tan,
  gradient: (_x, y, dy) => mul(dy, add(mul(y, y), 1)),
  flops: 35,
  range: { low: -1.2, high: 1.2 },
  more: [large],
});

const build =
  (op: OpRecord) =>
  (x: Tensor): Tensor =>
    x.graph.add(op, [x], {})[0]!;

/** Sine of radians. */
export const sin = build(sinOp);
/** Cosine of radians. */
export const cos = build(cosOp);
/** Tangent of radians. */
export const tan = build(tanOp);

/** Functions element by element. In ONNX all of two operands broadcast as in a graph. */
import type { DType, HostTensor } from '../../../core/types.ts';
import type { Tensor } from '../../../graph/graph.ts';
import { and, less, notEqual, where, xor } from '../../../ops/compare.ts';
import { add, fmod } from '../../../ops/elementwise.ts';
import { onnxDTypes } from '../model.ts';
import { choice, type ExportTable, nodes, parts, same } from './exporter.ts';

/** Element types of a Cast. */
const castTo: Readonly<Record<DType, number>> = { f32: onnxDTypes.FLOAT, i32: onnxDTypes.INT32, bool: onnxDTypes.BOOL };

/** A number as an f32 or i32 scalar. */
export const scalar = (value: number, dtype: 'f32' | 'i32' = 'f32'): HostTensor => ({
  type: { dtype, shape: [] },
  data: dtype === 'f32' ? Float32Array.of(value) : Int32Array.of(value),
});

/** ONNX defines Mod without fmod for integers only: the remainder of floats moves by b where its sign is not b's. */
function floorMod(a: Tensor, b: Tensor): Tensor {
  const r = fmod(a, b);
  return where(and(notEqual(r, 0), xor(less(r, 0), less(b, 0))), add(r, b), r);
}

export const elementwiseExporters = {
  abs: same('Abs'),
  acos: same('Acos'),
  acosh: same('Acosh'),
  add: same('Add'),
  and: same('And'),
  asin: same('Asin'),
  asinh: same('Asinh'),
  atan: same('Atan'),
  atanh: same('Atanh'),
  cast: nodes(({ emit, inputs }, { to }) => [emit('Cast', inputs, { to: castTo[to] })]),
  ceil: same('Ceil'),
  cos: same('Cos'),
  cosh: same('Cosh'),
  div: same('Div'),
  equal: same('Equal'),
  erf: same('Erf'),
  exp: same('Exp'),
  floor: same('Floor'),
  fmod: nodes(({ emit, inputs }) => [emit('Mod', inputs, { fmod: 1 })]),
  greater: same('Greater'),
  greaterEqual: same('GreaterOrEqual'),
  less: same('Less'),
  lessEqual: same('LessOrEqual'),
  log: same('Log'),
  maximum: same('Max'),
  minimum: same('Min'),
  mod: choice(({ inputTypes: [a] }) => (a!.dtype === 'i32' ? same('Mod') : parts(([x, y]) => [floorMod(x!, y!)]))),
  mul: same('Mul'),
  neg: same('Neg'),
  not: same('Not'),
  notEqual: nodes(({ emit, inputs }) => [emit('Not', [emit('Equal', inputs)])]),
  or: same('Or'),
  pow: same('Pow'),
  reciprocal: same('Reciprocal'),
  round: same('Round'),
  sign: same('Sign'),
  sin: same('Sin'),
  sinh: same('Sinh'),
  sqrt: same('Sqrt'),
  sub: same('Sub'),
  tan: same('Tan'),
  where: same('Where'),
  xor: same('Xor'),
} satisfies Partial<ExportTable>;

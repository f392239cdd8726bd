/** Activations, and their slopes as the formulas of the records say them. */
import { broadcastShapes, sameShape } from '../../../core/types.ts';
import type { Tensor } from '../../../graph/graph.ts';
import type { Attrs } from '../../../graph/op-record.ts';
import { and, greater, greaterEqual, less, lessEqual, where } from '../../../ops/compare.ts';
import { abs, add, div, elu, erf, exp, mul, sigmoid, sub, tanh } from '../../../ops/elementwise.ts';
import { scalar } from './elementwise.ts';
import { choice, type Exporter, type ExportTable, nodes, parts, same } from './exporter.ts';

/** √(2/π) and the cubic's share of the argument of GELU by tanh. */
const [root, cubic] = [Math.sqrt(2 / Math.PI), 0.044715];
/** Density of the standard normal distribution at 0. */
const phi0 = 1 / Math.sqrt(2 * Math.PI);

const square = (x: Tensor): Tensor => mul(x, x);
/** 1 + erf(x/√2) = 2·Φ(x) */
const twiceCdf = (x: Tensor): Tensor => add(erf(mul(x, Math.SQRT1_2)), 1);

const gelu = (x: Tensor): Tensor => mul(mul(x, 0.5), twiceCdf(x));
const geluTanh = (x: Tensor): Tensor =>
  mul(mul(x, 0.5), add(tanh(mul(add(x, mul(mul(square(x), x), cubic)), root)), 1));

/** x·σ(v), v = 2√(2/π)·(x + 0.044715 x³), differentiated. */
function geluTanhSlope(x: Tensor): Tensor {
  const s = sigmoid(mul(mul(x, add(mul(square(x), cubic), 1)), 2 * root));
  const v = mul(add(mul(square(x), 3 * cubic), 1), 2 * root);
  return add(s, mul(mul(mul(x, s), sub(1, s)), v));
}

/** dx = dy·f′(saved), whatever the attributes. */
const slope = <A extends Attrs>(f: (saved: Tensor, dy: Tensor) => Tensor): Exporter<A> =>
  parts(([saved, dy]) => [f(saved!, dy!)]);

type Elu = { readonly alpha: number; readonly scale: number; readonly inputScale: number };

/** ONNX has three of the four cases; inputScale of its own is elu of the scaled input. */
const eluExporter = choice<Elu>((_, { alpha, scale, inputScale }) => {
  const one = (opType: string, attributes: Record<string, number>): Exporter<Elu> =>
    nodes(({ emit, inputs }) => [
      emit(opType, inputs, Object.fromEntries(Object.entries(attributes).map(([k, float]) => [k, { float }]))),
    ]);
  if (inputScale === 1) return scale === 1 ? one('Elu', { alpha }) : one('Selu', { alpha, gamma: scale });
  if (scale === 1 && alpha * inputScale === 1) return one('Celu', { alpha });
  return parts(([x]) => [where(greater(x!, 0), mul(x!, scale), mul(elu(mul(x!, inputScale)), alpha * scale))]);
});

export const activationExporters = {
  clip: nodes(({ emit, inputs: [x], inputTypes, constant }, { low, high }) => {
    const bound = (value: number | null) =>
      value === null ? undefined : constant(scalar(value, inputTypes[0]!.dtype === 'i32' ? 'i32' : 'f32'));
    return [emit('Clip', [x, bound(low), bound(high)])];
  }),
  clipGrad: parts(([x, dy], { low, high }) => [
    where(and(greaterEqual(x!, low ?? -Infinity), lessEqual(x!, high ?? Infinity)), dy!, 0),
  ]),
  elu: eluExporter,
  eluGrad: parts(([x, dy], { alpha, scale, inputScale }) => [
    mul(dy!, where(greater(x!, 0), scale, mul(exp(mul(x!, inputScale)), scale * alpha * inputScale))),
  ]),
  gelu: { kind: 'function', name: 'Gelu', build: ([x]) => [gelu(x!)] },
  geluGrad: slope((x, dy) => mul(dy, add(mul(twiceCdf(x), 0.5), mul(mul(x, phi0), exp(mul(square(x), -0.5)))))),
  geluTanh: { kind: 'function', name: 'GeluTanh', build: ([x]) => [geluTanh(x!)] },
  geluTanhGrad: slope((x, dy) => mul(dy, geluTanhSlope(x))),
  hardSigmoid: nodes(({ emit, inputs }, { alpha, beta }) => [
    emit('HardSigmoid', inputs, { alpha: { float: alpha }, beta: { float: beta } }),
  ]),
  hardSigmoidGrad: parts(([x, dy], { alpha, beta }) => {
    const ramp = add(mul(x!, alpha), beta);
    return [where(and(greater(ramp, 0), less(ramp, 1)), mul(dy!, alpha), 0)];
  }),
  hardSwish: same('HardSwish'),
  hardSwishGrad: slope((x, dy) =>
    where(lessEqual(x, -3), 0, where(greaterEqual(x, 3), dy, mul(dy, add(mul(x, 1 / 3), 0.5)))),
  ),
  leakyRelu: nodes(({ emit, inputs }, { slope: alpha }) => [emit('LeakyRelu', inputs, { alpha: { float: alpha } })]),
  leakyReluGrad: parts(([x, dy], { slope: alpha }) => [where(greater(x!, 0), dy!, mul(dy!, alpha))]),
  // ONNX repeats the slope to x's shape, never x to the slope's.
  prelu: choice(({ inputTypes: [x, by] }) => {
    const shape = broadcastShapes(x!.shape, by!.shape)!;
    return sameShape(shape, x!.shape)
      ? same('PRelu')
      : parts(([v, alpha]) => [where(greater(v!, 0), v!, mul(v!, alpha!))]);
  }),
  relu: same('Relu'),
  reluGrad: slope((y, dy) => where(greater(y, 0), dy, 0)),
  sigmoid: same('Sigmoid'),
  sigmoidGrad: slope((y, dy) => mul(mul(dy, y), sub(1, y))),
  softplus: same('Softplus'),
  softsign: same('Softsign'),
  softsignGrad: slope((x, dy) => div(dy, square(add(abs(x), 1)))),
  tanh: same('Tanh'),
  tanhGrad: slope((y, dy) => mul(dy, sub(1, square(y)))),
  thresholdedRelu: nodes(({ emit, inputs }, { alpha }) => [
    emit('ThresholdedRelu', inputs, { alpha: { float: alpha } }),
  ]),
  thresholdedReluGrad: parts(([x, dy], { alpha }) => [where(lessEqual(x!, alpha), 0, dy!)]),
} satisfies Partial<ExportTable>;

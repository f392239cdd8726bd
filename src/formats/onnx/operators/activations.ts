/** Activation functions of ONNX. */
import { broadcastShapes, sameShape } from '../../../core/types.ts';
import type { Tensor } from '../../../graph/graph.ts';
import { cast, greater, less, where } from '../../../ops/compare.ts';
import {
  add,
  celu,
  clip,
  elu,
  gelu,
  geluTanh,
  hardSigmoid,
  hardSwish,
  leakyRelu,
  mish,
  mul,
  prelu,
  relu,
  sigmoid,
  softplus,
  softsign,
  sub,
  thresholdedRelu,
} from '../../../ops/elementwise.ts';
import { reshape } from '../../../ops/shape.ts';
import type { OperatorContext, OperatorRule, OperatorTable } from '../operator.ts';

/** A function of input 0 and the node's attributes. */
const activation =
  (f: (x: Tensor, context: OperatorContext) => Tensor): OperatorRule =>
  (context) => [f(context.tensor(0), context)];

function geluOf(x: Tensor, context: OperatorContext): Tensor {
  const approximate = context.string('approximate', 'none');
  if (approximate === 'tanh') return geluTanh(x);
  return approximate === 'none'
    ? gelu(x)
    : context.invalid(`approximate is "${approximate}": none or tanh belong there`);
}

/**
 * The slope is repeated to x's shape, never x to the slope's; before opset 7 it is one number or one a channel. Of integers
 * from opset 9 on.
 */
function preluOf(x: Tensor, context: OperatorContext): Tensor {
  const given = context.tensor(1);
  const byChannel = context.opset < 7 && given.rank === 1 && x.rank > 2;
  const slope = byChannel ? reshape(given, [...given.shape, ...x.shape.slice(2).map(() => 1)]) : given;
  const shape = broadcastShapes(x.shape, slope.shape);
  if (!shape || !sameShape(shape, x.shape)) {
    context.invalid(`the slope's shape [${slope.shape.join(', ')}] does not broadcast to x's, [${x.shape.join(', ')}]`);
  }
  return x.dtype === 'f32' ? prelu(x, slope) : where(greater(x, 0), x, mul(x, slope));
}

/** x + bias below −lambd, x − bias above lambd, 0 between. Integers are computed in f32, as both attributes are floats. */
function shrink(x: Tensor, context: OperatorContext): Tensor {
  const [bias, lambda] = [context.floatAttr('bias', 0), context.floatAttr('lambd', 0.5)];
  const v = cast(x, 'f32');
  return cast(where(less(v, -lambda), add(v, bias), where(greater(v, lambda), sub(v, bias), 0)), x.dtype);
}

/** Selu's constants as the operator’s schema gives them, in f32. */
const selu = { alpha: 1.6732631921768188, gamma: 1.0507010221481323 };

export const activations: OperatorTable = {
  Celu: activation((x, { floatAttr }) => celu(x, { alpha: floatAttr('alpha', 1) })),
  Elu: activation((x, { floatAttr }) => elu(x, { alpha: floatAttr('alpha', 1) })),
  Gelu: activation(geluOf),
  HardSigmoid: activation((x, { floatAttr }) =>
    hardSigmoid(x, { alpha: floatAttr('alpha', 0.2), beta: floatAttr('beta', 0.5) }),
  ),
  HardSwish: activation(hardSwish),
  LeakyRelu: activation((x, { floatAttr }) => leakyRelu(x, { slope: floatAttr('alpha', 0.01) })),
  Mish: activation(mish),
  PRelu: activation(preluOf),
  // Of integers from opset 14 on.
  Relu: activation((x) => (x.dtype === 'i32' ? clip(x, { low: 0 }) : relu(x))),
  Selu: activation((x, { floatAttr }) =>
    elu(x, { alpha: floatAttr('alpha', selu.alpha), scale: floatAttr('gamma', selu.gamma) }),
  ),
  Shrink: activation(shrink),
  Sigmoid: activation(sigmoid),
  Softplus: activation(softplus),
  Softsign: activation(softsign),
  ThresholdedRelu: activation((x, { floatAttr }) => thresholdedRelu(x, { alpha: floatAttr('alpha', 1) })),
};

/** Functions of the exporter's own domain. */
export const ownActivations: OperatorTable = { Gelu: activation(gelu), GeluTanh: activation(geluTanh) };

/** Operators of the domain `ai.onnx.preview.training` that compute derivatives. */
import { gradients } from '../../../autodiff/backward.ts';
import { allocate } from '../../../core/types.ts';
import { broadcastTo } from '../../../ops/shape.ts';
import type { OperatorContext, OperatorTable } from '../operator.ts';

/**
 * Gradient: dy/dx for each x of `xs`, y summed where it has several elements; 0 where y does not depend on x. `zs` are held
 * constant. Differentiating somewhere else than at the values the attributes name (other inputs than those) would take
 * another copy of the graph, and is not supported.
 */
function gradient(context: OperatorContext) {
  const named = [...context.strings('xs'), ...context.strings('zs', [])];
  named.forEach((name, i) => {
    if (context.input(i) !== context.valueOf(name))
      context.unsupported(`a gradient at another value than that of "${name}"`);
  });
  const xs = context.strings('xs').map((_, i) => context.tensor(i));
  const y = context.lift(context.valueOf(context.string('y')));
  const ones = broadcastTo(context.graph.scalar(1), y.shape);
  const found = gradients([{ tensor: y, cotangent: ones }], xs);
  return xs.map((x, i) => found[i] ?? context.graph.constant({ type: x.type, data: allocate(x.type) }, 'zeros'));
}

export const training: OperatorTable = { Gradient: gradient };

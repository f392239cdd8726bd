/**
 * Optimizers of the domain `ai.onnx.preview.training`, as ordinary nodes: inputs are the rate R, the number of updates so
 * far T, then all tensors, all gradients, and all of each kind of state; outputs all new tensors, then all new states.
 */
import type { Tensor } from '../../../graph/graph.ts';
import { cast, greater, where } from '../../../ops/compare.ts';
import { add, div, mul, pow, sqrt, sub } from '../../../ops/elementwise.ts';
import { reshape } from '../../../ops/shape.ts';
import type { OperatorContext, OperatorRule, OperatorTable } from '../operator.ts';

/** What one tensor's update sees. */
interface Update {
  readonly x: Tensor;
  /** The gradient, with the L2 term norm_coefficient·x. */
  readonly g: Tensor;
  readonly states: readonly Tensor[];
  /** R and T as f32 scalars. */
  readonly rate: Tensor;
  readonly updates: Tensor;
}

/** An optimizer of `states` states a tensor; its update gives the new tensor and the new states. */
const optimizer =
  (states: number, prepare: (context: OperatorContext) => (update: Update) => readonly Tensor[]): OperatorRule =>
  (context) => {
    const tensors = (context.inputCount - 2) / (2 + states);
    if (!Number.isInteger(tensors) || tensors < 1) {
      context.invalid(
        `takes R, T and ${2 + states} inputs a tensor (itself, gradient, state), got ${context.inputCount}`,
      );
    }
    const update = prepare(context);
    const decay = context.floatAttr('norm_coefficient', 0);
    const [rate, updates] = [reshape(context.float(0), []), reshape(cast(context.tensor(1), 'f32'), [])];
    const results = Array.from({ length: tensors }, (_, i) => {
      const [x, gradient, ...own] = Array.from({ length: 2 + states }, (__, kind) =>
        context.float(2 + kind * tensors + i),
      ) as [Tensor, Tensor, ...Tensor[]];
      return update({ x, g: decay === 0 ? gradient : add(mul(x, decay), gradient), states: own, rate, updates });
    });
    // All tensors, then all of the first state, …
    return Array.from({ length: 1 + states }, (_, kind) => results.map((result) => result[kind])).flat();
  };

/** R·√(1 − beta^T)/(1 − alpha^T), R itself at T = 0; X' = (1 − norm_coefficient_post)·(X − R·V'/(√H' + epsilon)). */
const adam = optimizer(2, (context) => {
  const [alpha, beta] = [context.floatAttr('alpha', 0.9), context.floatAttr('beta', 0.999)];
  const epsilon = context.floatAttr('epsilon', 1e-6);
  const kept = 1 - context.floatAttr('norm_coefficient_post', 0);
  return ({ x, g, states, rate, updates }) => {
    const [v, h] = states as [Tensor, Tensor];
    const newV = add(mul(v, alpha), mul(g, 1 - alpha));
    const newH = add(mul(h, beta), mul(mul(g, g), 1 - beta));
    const correction = div(sqrt(sub(1, pow(beta, updates))), sub(1, pow(alpha, updates)));
    const adjusted = where(greater(updates, 0), mul(rate, correction), rate);
    const moved = sub(x, div(mul(adjusted, newV), add(sqrt(newH), epsilon)));
    return [kept === 1 ? moved : mul(moved, kept), newV, newH];
  };
});

/** X' = X − R/(1 + T·decay_factor)·G/(√H' + epsilon), H' = H + G². */
const adagrad = optimizer(1, (context) => {
  const decay = context.floatAttr('decay_factor', 0);
  const epsilon = context.floatAttr('epsilon', 1e-6);
  return ({ x, g, states, rate, updates }) => {
    const newH = add(states[0]!, mul(g, g));
    const decayed = decay === 0 ? rate : div(rate, add(mul(updates, decay), 1));
    return [sub(x, div(mul(decayed, g), add(sqrt(newH), epsilon))), newH];
  };
});

/** V' = alpha·V + beta·G (beta 1 at T = 0); X' = X − R·V', with Nesterov's X' = X − R·(G + alpha·V'). */
const momentum = optimizer(1, (context) => {
  const [alpha, beta] = [context.floatAttr('alpha'), context.floatAttr('beta')];
  const mode = context.string('mode');
  if (mode !== 'standard' && mode !== 'nesterov') context.invalid(`mode must be standard or nesterov, got ${mode}`);
  return ({ x, g, states, rate, updates }) => {
    const adjusted = where(greater(updates, 0), beta, 1);
    const newV = add(mul(states[0]!, alpha), mul(g, adjusted));
    return [sub(x, mul(rate, mode === 'nesterov' ? add(g, mul(newV, alpha)) : newV)), newV];
  };
});

export const optimizerOperators: OperatorTable = { Adagrad: adagrad, Adam: adam, Momentum: momentum };

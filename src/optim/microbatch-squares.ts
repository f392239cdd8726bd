import type { Contribution } from '../autodiff/backward.ts';
import type { Tensor } from '../graph/graph.ts';
import { add } from '../ops/elementwise.ts';
import { sumOfSquares } from '../ops/reduce.ts';
import { reshape } from '../ops/shape.ts';

export interface ParameterUses {
  readonly parameter: Tensor;
  readonly uses: readonly Contribution[];
  /** Of the whole batch. */
  readonly gradient: Tensor;
  /** Whether a penalty of the parameter is part of its gradient, which no microbatch has a share in. */
  readonly penalised: boolean;
}

/**
 * Declares what the gradient noise is estimated from (`train/noise-tracker.ts`), in squared norms of every parameter:
 *
 * - `micro_square/PARAMETER` [M]: of each microbatch's share of its gradient, all uses added first;
 * - `data_square/PARAMETER` []: of the whole batch's gradient without the penalty, where there is one.
 *
 * Uses on several stages meet at the earliest of them, which the backward pass reaches last: a tied weight's gradient is
 * sent there once more, at every microbatch.
 */
export function declareMicrobatchSquares(parameters: readonly ParameterUses[]): void {
  for (const { parameter, uses, gradient, penalised } of parameters) {
    if (uses.length === 0) continue;
    const { graph } = parameter;
    const [first] = uses;
    const origin = first!.use ?? first!.cotangent.node;
    const square = graph.joiningDerivatives(origin, () => {
      const share = uses.map((u) => u.cotangent).reduce((a, b) => add(a, b));
      return reshape(sumOfSquares(share), [1]);
    });
    graph.outputPerMicrobatch(`micro_square/${parameter.name}`, square);
    if (!penalised) continue;
    // The penalty is what was added last.
    const [total] = gradient.node.inputs;
    const data = graph.inStep(parameter.node, () => sumOfSquares(total!));
    graph.output(`data_square/${parameter.name}`, data, { batchAxis: null });
  }
}

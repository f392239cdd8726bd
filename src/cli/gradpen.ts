import { UsageError } from '../core/errors.ts';
import { gradientPenaltyRequest } from '../train/derivatives.ts';
import { asVector, inGraphOrder, runDerivation } from './derivative.ts';
import { type Invocation, textOf } from './invocation.ts';

export function run(invocation: Invocation): Promise<number> {
  const at = textOf(invocation, 'at');
  if (at === undefined) {
    throw new UsageError('command-line', 'gradpen needs the tensor by which the objective is differentiated', {
      remedy: '--at x: an input, or any tensor of the model (partita graph lists them)',
    });
  }
  return runDerivation(invocation, {
    request: (gradients) => gradientPenaltyRequest(gradients, at),
    compute: async ({ plan, session, data }) => {
      const { loss, results, seconds, reports } = await session.run('gradients', data, { signal: invocation.signal });
      const penalty = results.get('penalty')!;
      const tensors = inGraphOrder(plan, results, ['penalty']).flatMap(([name, t]) =>
        name === 'loss' || name.startsWith('buffer/') ? [] : [[name, name === 'penalty' ? asVector(t) : t] as const],
      );
      return { tensors, scalars: { loss, penalty: penalty.data[0]! }, seconds, reports };
    },
  });
}

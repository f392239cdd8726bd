import { inGraphOrder, runDerivation } from './derivative.ts';
import type { Invocation } from './invocation.ts';

export const run = (invocation: Invocation): Promise<number> =>
  runDerivation(invocation, {
    request: (gradients) => gradients,
    compute: async ({ plan, session, data }) => {
      const { loss, results, seconds, reports } = await session.run('gradients', data, { signal: invocation.signal });
      return { tensors: inGraphOrder(plan, results, ['loss']), scalars: { loss }, seconds, reports };
    },
  });

import { searchChain, solveByIdeals } from './ideal-method.ts';
import type { PlacementMethod } from './placement-method.ts';
import { workBound } from './work-bound.ts';

/** The exact search where the graph is small enough for it, else the best that the others find. */
export const autoMethod: PlacementMethod = {
  name: 'auto',
  doc: 'by the size of the graph (default)',
  finds: 'contiguous',
  solve: async (problem, options) => {
    const exact = solveByIdeals(problem, options);
    if (exact !== 'too many') return exact && { ...exact, method: 'ideals' };
    const chain = searchChain(problem, { deadline: options.deadline });
    if (chain.kind !== 'found') return undefined;
    return { deviceOf: chain.deviceOf, lowerBound: workBound(problem), method: 'chain' };
  },
};

import { UsageError } from '../core/errors.ts';
import { comparisonSummary, comparisonTable } from '../report/gradient-comparison.ts';
import { compareMicrobatchesOf, type MicrobatchComparison } from '../train/compare-gradients.ts';
import { type DerivativeRun, inGraphOrder, runDerivation } from './derivative.ts';
import type { Invocation } from './invocation.ts';

export const run = (invocation: Invocation): Promise<number> =>
  runDerivation(invocation, {
    request: (gradients) => {
      if (invocation.own.compareFullBatch === true && gradients.microbatches === 1) {
        throw new UsageError('command-line', '--compare-full-batch: one microbatch is the full batch', {
          fields: { flag: 'compare-full-batch', microbatches: 1 },
          remedy: '--microbatches 4',
        });
      }
      return gradients;
    },
    compute: async (run) => {
      const { plan, session, data } = run;
      const { loss, results, seconds, reports } = await session.run('gradients', data, { signal: invocation.signal });
      const computed = { tensors: inGraphOrder(plan, results, ['loss']), scalars: { loss }, seconds, reports };
      if (invocation.own.compareFullBatch !== true) return computed;
      const comparison = await compare(run, invocation);
      return {
        ...computed,
        table: comparisonTable(comparison),
        summary: comparisonSummary(comparison),
        fields: { comparison },
      };
    },
  });

async function compare({ plan, options, data }: DerivativeRun, { signal }: Invocation): Promise<MicrobatchComparison> {
  const microbatches = [plan.request.microbatches];
  const [comparison] = await compareMicrobatchesOf(plan.request, { ...options, data, microbatches, signal });
  return comparison!;
}

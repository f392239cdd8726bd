/** The gradient of a batch in one piece against the same batch in M microbatches, as rows (`train/compare-gradients.ts`). */
import { compareMicrobatchesOf, type GradientComparison } from '../train/compare-gradients.ts';
import { type PreparedExperiment, planRequestOf, prepareExperiment } from '../train/experiment/prepare.ts';
import { onOneDevice } from './one-device.ts';

export interface GradientDifference
  extends Pick<
    GradientComparison,
    'parameter' | 'equalBits' | 'maxUlps' | 'maxDifference' | 'relative' | 'bound' | 'boundUsed' | 'within'
  > {
  readonly microbatches: number;
}

/** Compares each count of microbatches with one piece: the first batch of the data, first values by the seed. */
export async function compareGradients(
  { experiment }: PreparedExperiment,
  counts: readonly number[],
  signal?: AbortSignal,
): Promise<GradientDifference[]> {
  const prepared = prepareExperiment({ ...onOneDevice(experiment), microbatches: 1 }, { where: 'gradients' });
  const compared = await compareMicrobatchesOf(planRequestOf(prepared, 'gradients'), {
    data: prepared.source!.batchAt(0).tensors,
    microbatches: counts,
    seed: experiment.seed,
    transport: 'local',
    audit: false,
    signal,
  });
  return compared.flatMap(({ microbatches, rows }) =>
    rows.map(({ parameter, equalBits, maxUlps, maxDifference, relative, bound, boundUsed, within }) => ({
      microbatches,
      parameter,
      equalBits,
      maxUlps,
      maxDifference,
      relative,
      bound,
      boundUsed,
      within,
    })),
  );
}

/** The gradient noise scale (`train/noise.ts`) at a point of a training, from a sample of its data. */
import type { HostTensor } from '../core/types.ts';
import { makePlan } from '../plan/plan.ts';
import { type PreparedExperiment, planRequestOf, prepareExperiment } from '../train/experiment/prepare.ts';
import { gradientNoiseOf, noiseRequest } from '../train/noise.ts';
import { Session } from '../train/session.ts';
import { onOneDevice } from './one-device.ts';

export interface NoiseEstimate {
  /** Updates behind which it was taken. */
  readonly step: number;
  readonly samples: number;
  /** tr Σ, with Σ over n − 1. */
  readonly traceSigma: number;
  /** ‖ḡ‖² − tr Σ / n, without the bias of the noise. Can be negative where noise hides the gradient; it is not clamped. */
  readonly gradNormSquared: number;
  /** tr Σ / ‖G‖²; null where the estimate of ‖G‖² is not positive. */
  readonly noiseScale: number | null;
}

/** Bytes of single samples' gradients that a run returns at once. */
const chunkBytes = 2 ** 25;

/** Estimates with these values of parameters and buffers; of data sets from so many samples, of a file from its batch. */
export async function noiseAt(
  { experiment, model }: PreparedExperiment,
  values: ReadonlyMap<string, HostTensor>,
  { step, samples: wanted, signal }: { readonly step: number; readonly samples: number; readonly signal?: AbortSignal },
): Promise<NoiseEstimate> {
  const { data } = experiment;
  const sampled =
    data !== undefined && data.mode === 'epochs'
      ? { ...experiment, data: { ...data, batchSize: wanted }, steps: 1, epochs: undefined }
      : experiment;
  const prepared = prepareExperiment({ ...onOneDevice(sampled), microbatches: 1 }, { where: 'noise' });
  const scalars = model.build(1).graph.parameters.reduce((sum, p) => sum + p.shape.reduce((a, b) => a * b, 1), 0);
  const atOnce = Math.max(1, Math.min(32, prepared.batch, Math.floor(chunkBytes / (4 * scalars))));
  const request = { ...planRequestOf(prepared, 'gradients'), microbatches: atOnce };
  await using session = await Session.open(makePlan(noiseRequest(request)), {
    seed: experiment.seed,
    parameters: values,
    transport: 'local',
    audit: false,
  });
  const noise = await gradientNoiseOf(session, prepared.source!.batchAt(0).tensors, {
    pairs: [],
    l2: experiment.l2,
    signal,
  });
  return {
    step,
    samples: noise.examples,
    traceSigma: noise.trSigma,
    gradNormSquared: noise.g2Unbiased,
    noiseScale: noise.g2Unbiased > 0 ? noise.bSimpleUnbiased : null,
  };
}

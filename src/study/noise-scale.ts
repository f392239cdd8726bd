/**
 * The gradient noise scale of McCandlish et al. 2018 ("An Empirical Model of Large-Batch Training", eq. 2.9):
 * B_simple = tr Σ / ‖G‖², with Σ the covariance of single samples' gradients and G their mean. It predicts the batch size
 * beyond which more samples a step stop saving steps in proportion.
 */
import { setImmediate } from 'node:timers/promises';
import type { HostTensor } from '../core/types.ts';
import { makePlan } from '../plan/plan.ts';
import { perExampleRequest } from '../train/derivatives.ts';
import { type PreparedExperiment, planRequestOf, prepareExperiment } from '../train/experiment/prepare.ts';
import { Session } from '../train/session.ts';
import { onOneDevice } from './one-device.ts';

export interface NoiseEstimate {
  /** Updates behind which it was taken. */
  readonly step: number;
  readonly samples: number;
  /** Unbiased: Σ over samples ‖gᵢ − ḡ‖² / (n − 1). */
  readonly traceSigma: number;
  /** Unbiased estimate of ‖G‖²: ‖ḡ‖² − tr Σ / n. Can be negative where noise hides the gradient; it is not clamped. */
  readonly gradNormSquared: number;
  /** tr Σ / ‖G‖²; null where the estimate of ‖G‖² is not positive. */
  readonly noiseScale: number | null;
}

/** Bytes of single samples' gradients held at once. */
const chunkBytes = 2 ** 25;

/**
 * Estimates with these values of parameters and buffers, from samples of the training data. The samples come in chunks
 * whose gradients fit a memory of tens of megabytes; sums are taken in f64.
 */
export async function noiseAt(
  { experiment, model }: PreparedExperiment,
  values: ReadonlyMap<string, HostTensor>,
  { step, samples: wanted, signal }: { readonly step: number; readonly samples: number; readonly signal?: AbortSignal },
): Promise<NoiseEstimate> {
  const parameters = model.build(1).graph.parameters.filter((p) => !p.node.source!.frozen);
  const bytes = parameters.reduce((sum, p) => sum + 4 * p.shape.reduce((a, b) => a * b, 1), 0);
  const chunk = Math.max(1, Math.min(32, wanted, Math.floor(chunkBytes / bytes)));
  const { data } = experiment;
  const epochs = data !== undefined && data.mode === 'epochs';
  const sampled = epochs ? { ...experiment, data: { ...data, batchSize: chunk } } : experiment;
  const prepared = prepareExperiment(
    { ...onOneDevice(sampled), microbatches: 1, steps: 1, epochs: undefined },
    { where: 'noise' },
  );
  const source = prepared.source!;
  const chunks = epochs ? Math.max(1, Math.min(Math.floor(wanted / chunk), source.stepsPerEpoch - 1)) : 1;

  const request = perExampleRequest(planRequestOf(prepared, 'gradients'));
  await using session = await Session.open(makePlan(request), {
    seed: experiment.seed,
    parameters: values,
    transport: 'local',
    audit: false,
  });
  const mean = new Map(parameters.map((p) => [p.name, new Float64Array(p.shape.reduce((a, b) => a * b, 1))]));
  let squares = 0;
  let n = 0;
  for (let c = 0; c < chunks; c++) {
    const { results } = await session.run('gradients', source.batchAt(c).tensors, { signal });
    for (const [name, sum] of mean) {
      const { data: values } = results.get(`output/per_example_grad/${name}`)!;
      for (let i = 0; i < values.length; i++) {
        const g = values[i]!;
        squares += g * g;
        sum[i % sum.length]! += g;
      }
    }
    n += prepared.batch;
    await setImmediate();
    signal?.throwIfAborted();
  }
  let meanSquared = 0;
  for (const sum of mean.values()) for (const s of sum) meanSquared += (s / n) ** 2;
  return { step, ...scaleOf({ samples: n, squares, meanSquared }) };
}

/** From Σ‖gᵢ‖² and ‖ḡ‖² of n samples. */
export function scaleOf({
  samples: n,
  squares,
  meanSquared,
}: {
  readonly samples: number;
  readonly squares: number;
  readonly meanSquared: number;
}): Omit<NoiseEstimate, 'step'> {
  const traceSigma = (squares - n * meanSquared) / (n - 1);
  const gradNormSquared = meanSquared - traceSigma / n;
  return {
    samples: n,
    traceSigma,
    gradNormSquared,
    noiseScale: gradNormSquared > 0 ? traceSigma / gradNormSquared : null,
  };
}

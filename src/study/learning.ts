/**
 * One training as a study takes it: the curve of its losses at some steps, and on request the gradient noise at some. It
 * runs on one device in the calling thread: losses are the same bits on every layout, and times are measured elsewhere.
 */
import { setImmediate } from 'node:timers/promises';
import { makePlan } from '../plan/plan.ts';
import { planRequestOf, prepareExperiment } from '../train/experiment/prepare.ts';
import type { Experiment } from '../train/experiment/schema.ts';
import { Session } from '../train/session.ts';
import { train } from '../train/trainer.ts';
import { type NoiseEstimate, noiseAt } from './noise-scale.ts';
import { onOneDevice } from './one-device.ts';

export interface LearningTask {
  /** Complete: with its batch size, rate, seed and steps. */
  readonly experiment: Experiment;
  readonly where: string;
  /** Steps behind which a point of the curve lies, counted from 1, ascending. */
  readonly points: readonly number[];
  /** Estimates the gradient noise behind these many steps (0: with the first values), each from so many samples. */
  readonly noise?: { readonly steps: readonly number[]; readonly samples: number };
}

export interface CurvePoint {
  /** Updates so far. */
  readonly step: number;
  /** Samples seen so far. */
  readonly samples: number;
  /** Mean training loss of the steps since the point before. */
  readonly loss: number;
  /** Of the held-out samples, with the parameters behind this step. */
  readonly heldOut?: { readonly loss: number; readonly accuracy?: number; readonly perplexity?: number };
}

export interface LearningCurve {
  readonly points: readonly CurvePoint[];
  readonly noise: readonly NoiseEstimate[];
  /** The loss stopped being a number, and the training with it. */
  readonly diverged: boolean;
}

/** How long the event loop may wait: an interrupt must be seen. */
const turnMilliseconds = 100;

export async function learn(
  { experiment, where, points, noise }: LearningTask,
  signal?: AbortSignal,
): Promise<LearningCurve> {
  const prepared = prepareExperiment(onOneDevice(experiment), { where });
  const { source, heldOut, evaluation, batch, tail, steps } = prepared;
  const plan = makePlan(planRequestOf(prepared, 'train'));
  await using session = await Session.open(plan, { seed: experiment.seed, transport: 'local', audit: false });
  const due = new Set(points);
  const noisy = new Set(noise?.steps);
  const estimates: NoiseEstimate[] = [];
  const estimate = async (step: number): Promise<void> => {
    const values = new Map([...(await session.parameters()), ...(await session.buffers())]);
    estimates.push(await noiseAt(prepared, values, { step, samples: noise!.samples, signal }));
  };
  if (noisy.has(0)) await estimate(0);

  const curve: CurvePoint[] = [];
  let samples = 0;
  let sum = 0;
  let count = 0;
  let turn = performance.now();
  for await (const record of train({ session, data: source!, steps, learningRate: prepared.learningRate, signal })) {
    const step = record.step + 1;
    samples += tail !== undefined && step % source!.stepsPerEpoch === 0 ? tail : batch;
    sum += record.loss;
    count++;
    if (!Number.isFinite(record.loss)) return { points: curve, noise: estimates, diverged: true };
    if (due.has(step)) {
      const held = heldOut && evaluation ? await evaluation.evaluate(session, signal) : undefined;
      curve.push({ step, samples, loss: sum / count, ...(held ? { heldOut: scoresOf(held) } : {}) });
      [sum, count] = [0, 0];
    }
    if (noisy.has(step)) await estimate(step);
    if (performance.now() - turn > turnMilliseconds) {
      await setImmediate();
      signal?.throwIfAborted();
      turn = performance.now();
    }
  }
  return { points: curve, noise: estimates, diverged: false };
}

const scoresOf = ({ loss, accuracy, perplexity }: NonNullable<CurvePoint['heldOut']>) => ({
  loss,
  ...(accuracy === undefined ? {} : { accuracy }),
  ...(perplexity === undefined ? {} : { perplexity }),
});

/** Steps 1 … `steps` at about equal distances on a logarithmic axis, the first and the last among them. */
export function logarithmicSteps(steps: number, ratio = 1.12): number[] {
  const chosen: number[] = [];
  for (let at = 1; at < steps; at = Math.max(at + 1, Math.round(at * ratio))) chosen.push(at);
  return [...chosen, steps];
}

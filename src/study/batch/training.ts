/** Trainings of all batch sizes by every rule, and of the largest batch cut into M: did they learn the same? */
import { prepareExperiment } from '../../train/experiment/prepare.ts';
import type { Experiment } from '../../train/experiment/schema.ts';
import type { Executor } from '../executor.ts';
import { type CurvePoint, type LearningCurve, type LearningTask, logarithmicSteps } from '../learning.ts';
import { median, quantile } from '../statistics.ts';
import {
  fitTradeOff,
  goodFit,
  metricAt,
  reachableLoss,
  stepsTo,
  type Target,
  type TradeOff,
} from '../steps-to-target.ts';
import { type BatchStudyDesign, trainingOf, type Variant } from './design.ts';
import type { BatchStudyOptions, RateRule } from './options.ts';
import { ruleFactor, searchRate, withRate } from './rates.ts';
import type { Recorder } from './recorder.ts';
import type { CutTrainingRow, TargetRow } from './tables.ts';

/** The trainings of one batch size by one rule, a seed each. */
export interface TrainedGroup {
  readonly variant: string;
  readonly batch: number;
  readonly rule: RateRule;
  readonly lr: number;
  readonly curves: readonly LearningCurve[];
  /** Of a retuned rate: whether better ones may lie outside of what was tried. */
  readonly atEdge: boolean;
}

export interface TrainingRunner {
  readonly design: BatchStudyDesign;
  readonly options: BatchStudyOptions;
  readonly recorder: Recorder;
  readonly executor: Executor;
}

/** Steps of a training. */
export const stepsOf = (experiment: Experiment): number => prepareExperiment(experiment, { where: 'study' }).steps;

/** Runs one training, or takes it from the journal. */
export function runTask({ recorder, executor }: TrainingRunner, task: LearningTask): Promise<LearningCurve> {
  const { experiment, points, noise } = task;
  return recorder.journal.once({ learning: experiment, points, noise }, () => executor.run(task));
}

/** The step time that was measured for a batch size of a variant: at the sweet spot of the variant's first series. */
export type SecondsOf = (variant: string, batch: number) => number | null;

/** Trains every batch size by every rule. */
export async function trainAll(runner: TrainingRunner, secondsOf: SecondsOf): Promise<TrainedGroup[]> {
  const { design, options, recorder } = runner;
  const jobs = design.variants.flatMap((variant) =>
    design.batchSizes.flatMap((batch) => options.rules.map((rule) => ({ variant, batch, rule }))),
  );
  let done = 0;
  const groups = await Promise.all(
    jobs.map(async ({ variant, batch, rule }): Promise<TrainedGroup> => {
      const group = await trainGroup(runner, variant, batch, rule);
      const seconds = secondsOf(variant.name, batch);
      group.curves.forEach((curve, i) => {
        for (const point of curve.points) {
          recorder.add('curves', {
            variant: variant.name,
            batch,
            rule,
            lr: group.lr,
            seed: design.base.seed + i,
            step: point.step,
            samples: point.samples,
            seconds: seconds === null ? null : seconds * point.step,
            loss: point.loss,
            ...scores(point),
          });
        }
      });
      recorder.progress('learning', ++done, jobs.length, `batch ${batch}, ${rule}`);
      return group;
    }),
  );
  return groups;
}

async function trainGroup(
  runner: TrainingRunner,
  variant: Variant,
  batch: number,
  rule: RateRule,
): Promise<TrainedGroup> {
  const { design, options, recorder } = runner;
  const experiment = trainingOf(design, variant, batch);
  const steps = stepsOf(experiment);
  const points = logarithmicSteps(steps);
  // With a length in epochs a batch of B takes B₀/B of the steps of B₀.
  const stepRatio =
    design.base.epochs === undefined ? 1 : steps / stepsOf(trainingOf(design, variant, design.baseBatch));
  const train = (factor: number, seed: number) =>
    runTask(runner, {
      experiment: { ...withRate(experiment, factor, stepRatio), seed: design.base.seed + seed },
      where: `batch ${batch}`,
      points,
    });
  let atEdge = false;
  let factor: number;
  if (rule === 'retuned') {
    const tuned = await searchRate(ruleFactor('sqrt', batch, design.baseBatch), async (f) =>
      scoreOf(await train(f, 0)),
    );
    for (const trial of tuned.trials) {
      recorder.add('tuning', {
        variant: variant.name,
        batch,
        lr: experiment.optimizer.lr * trial.factor,
        score: Number.isFinite(trial.score) ? trial.score : null,
        best: trial === tuned.best,
      });
    }
    factor = tuned.best.factor;
    atEdge = !tuned.inside;
  } else factor = ruleFactor(rule, batch, design.baseBatch);
  const curves = await Promise.all(Array.from({ length: options.seeds }, (_, seed) => train(factor, seed)));
  return { variant: variant.name, batch, rule, lr: experiment.optimizer.lr * factor, curves, atEdge };
}

/** What a rate is chosen by: the held-out loss at the end where there is one, else the training loss there. */
function scoreOf({ points, diverged }: LearningCurve): number {
  const last = points.at(-1);
  const score = last === undefined || diverged ? Number.NaN : (last.heldOut?.loss ?? last.loss);
  return Number.isFinite(score) ? score : Number.POSITIVE_INFINITY;
}

const scores = ({ heldOut }: CurvePoint) => ({
  heldOutLoss: heldOut?.loss ?? null,
  accuracy: heldOut?.accuracy ?? null,
});

/** Trains the largest batch in one piece and cut into each M, all else equal. */
export async function trainCut(runner: TrainingRunner): Promise<CutTrainingRow[]> {
  const { design } = runner;
  const batch = design.batchSizes.at(-1)!;
  const counts = [...new Set([1, ...design.microbatches])].filter((m) => m <= batch);
  if (counts.length === 1) return [];
  const rows = await Promise.all(
    design.variants.map(async (variant) => {
      const experiment = trainingOf(design, variant, batch);
      const steps = stepsOf(experiment);
      const points = steps <= 400 ? Array.from({ length: steps }, (_, i) => i + 1) : logarithmicSteps(steps, 1.03);
      const curves = await Promise.all(
        counts.map((microbatches) =>
          runTask(runner, { experiment: { ...experiment, microbatches }, where: `M ${microbatches}`, points }),
        ),
      );
      const whole = new Map(curves[0]!.points.map((p) => [p.step, p.loss]));
      return counts.flatMap((microbatches, i) =>
        curves[i]!.points.flatMap(({ step, loss, heldOut }): CutTrainingRow[] =>
          whole.has(step)
            ? [
                {
                  variant: variant.name,
                  batch,
                  microbatches,
                  step,
                  loss,
                  difference: Math.abs(loss - whole.get(step)!),
                  heldOutLoss: heldOut?.loss ?? null,
                  accuracy: heldOut?.accuracy ?? null,
                },
              ]
            : [],
        ),
      );
    }),
  );
  return rows.flat();
}

/** The given target, or a loss that every batch size reaches with its best rule. Undefined where no training got anywhere. */
export function targetOf(groups: readonly TrainedGroup[], given: BatchStudyOptions['target']): Target | undefined {
  const heldOut = groups.every((g) => g.curves.every((c) => c.points.every((p) => p.heldOut !== undefined)));
  const metric = given?.metric === 'accuracy' ? 'accuracy' : heldOut ? 'heldOutLoss' : 'loss';
  if (given) return { metric, value: given.value, chosen: 'given' };
  const bestOf = ({ curves }: TrainedGroup): number =>
    median(curves.map(({ points }) => Math.min(...points.map((p) => metricAt(p, metric)).filter(Number.isFinite))));
  const keys = [...new Set(groups.map((g) => `${g.variant} ${g.batch}`))];
  const best = keys.map((key) => Math.min(...groups.filter((g) => `${g.variant} ${g.batch}` === key).map(bestOf)));
  const value = reachableLoss(best);
  return Number.isFinite(value) ? { metric, value, chosen: 'by the study' } : undefined;
}

/** Steps, samples and time of every batch size and rule to the target. */
export function targetRows(
  groups: readonly TrainedGroup[],
  target: Target | undefined,
  secondsOf: SecondsOf,
): TargetRow[] {
  return groups.map(({ variant, batch, rule, lr, curves }) => {
    const steps = target ? curves.map((curve) => stepsTo(curve, target)) : [];
    const finite = (value: number): number | null => (Number.isFinite(value) ? value : null);
    const middle = finite(median(steps));
    const seconds = secondsOf(variant, batch);
    const last = (of: (p: CurvePoint) => number | undefined): number | null =>
      finite(
        median(curves.map(({ points, diverged }) => (diverged ? Number.NaN : (of(points.at(-1)!) ?? Number.NaN)))),
      );
    return {
      variant,
      batch,
      rule,
      lr,
      seeds: curves.length,
      reached: steps.filter(Number.isFinite).length,
      diverged: curves.filter((c) => c.diverged).length,
      steps: middle,
      stepsLow: finite(quantile(steps, 0.25)),
      stepsHigh: finite(quantile(steps, 0.75)),
      samples: middle === null ? null : middle * batch,
      seconds: middle === null || seconds === null ? null : middle * seconds,
      finalLoss: last((p) => p.loss),
      finalHeldOutLoss: last((p) => p.heldOut?.loss),
      finalAccuracy: last((p) => p.heldOut?.accuracy),
    };
  });
}

/** Of each batch size of a variant, the rule that needs fewest steps. */
export function bestOfBatch(rows: readonly TargetRow[], variant: string): TargetRow[] {
  const best = new Map<number, TargetRow>();
  for (const row of rows) {
    if (row.variant !== variant || row.steps === null) continue;
    const before = best.get(row.batch);
    if (!before || row.steps < before.steps!) best.set(row.batch, row);
  }
  return [...best.values()].sort((a, b) => a.batch - b.batch);
}

export interface NamedTradeOff extends TradeOff {
  readonly variant: string;
}

/** The measured trade-off of every variant whose steps follow one. */
export const tradeOffs = (rows: readonly TargetRow[], variants: readonly string[]): NamedTradeOff[] =>
  variants.flatMap((variant) => {
    const fit = fitTradeOff(bestOfBatch(rows, variant).map(({ batch, steps }) => ({ batch, steps: steps! })));
    return fit && fit.error <= goodFit ? [{ variant, ...fit }] : [];
  });

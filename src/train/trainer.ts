import { PartitaError, UsageError } from '../core/errors.ts';
import { checkOptions, type OptionNames, requireArgument, requireKinds, shown } from '../core/options.ts';
import { sameType } from '../core/types.ts';
import { refuseNullDevices } from '../plan/null-devices.ts';
import type { Plan } from '../plan/plan.ts';
import { bubbleOf } from './bubble.ts';
import type { StoredCheckpoint } from './checkpoint/folder.ts';
import type { CheckpointOptions } from './checkpoint/resume.ts';
import type { ContentVisitor } from './data/dataset.ts';
import type { BatchSource, SourceBatch } from './data/source.ts';
import type { EvaluationRecord, Evaluator } from './evaluate.ts';
import type { LearningRate } from './learning-rate.ts';
import { type NoiseAverageOptions, type NoiseRecord, NoiseTracker } from './noise-tracker.ts';
import { Session, type StagedBatch } from './session.ts';

export interface TrainOptions {
  readonly session: Session;
  readonly data: BatchSource;
  readonly steps: number;
  /** Rate of the update at step k, from 0; default the optimizer's own. */
  readonly learningRate?: LearningRate;
  /** Momentum (of Adam: beta1) of the update at step k; default the optimizer's own (`makeMomentum`). */
  readonly momentum?: LearningRate;
  /** How the gradient noise is averaged, where the plan computes it (`gradientNoise`). */
  readonly noise?: NoiseAverageOptions | undefined;
  readonly evaluation?: {
    readonly evaluate: Evaluator;
    /** Behind every so many steps, and behind the last. */
    readonly every: number;
    /** The held-out samples, by which a checkpoint knows them again (see `Dataset`). */
    readonly contents?: ((visit: ContentVisitor) => void) | undefined;
  };
  /** Writes checkpoints on the way. */
  readonly checkpoint?: CheckpointOptions | undefined;
  /**
   * Goes on from a checkpoint, whose parameters, buffers and optimizer state the session is given: a folder of checkpoints
   * (the newest), a checkpoint's own folder, or what `readCheckpoint` read. The plan may be any for the same model,
   * microbatches, optimizer, seed and data: the bits are those of a training that was never interrupted.
   */
  readonly resume?: string | StoredCheckpoint | undefined;
  /** Ends the step under way; the iterator then throws and the session is failed. */
  readonly signal?: AbortSignal;
}

const trainNames: OptionNames<TrainOptions> = {
  session: 'required',
  data: 'required',
  steps: 'required',
  learningRate: true,
  momentum: true,
  noise: 'record',
  evaluation: true,
  checkpoint: true,
  resume: true,
  signal: 'signal',
};
const checkpointNames: OptionNames<CheckpointOptions> = {
  dir: 'required text',
  every: true,
  keep: true,
  experiment: true,
};
const evaluationNames: OptionNames<NonNullable<TrainOptions['evaluation']>> = {
  evaluate: 'required function',
  every: 'required',
  contents: 'function',
};

/** One update. */
export interface StepRecord {
  /** From 0. */
  readonly step: number;
  readonly epoch: number;
  /** Objective of the whole batch before the update. */
  readonly loss: number;
  readonly lr: number;
  /** Where a rule sets it. */
  readonly momentum?: number;
  /** Global 2-norm of the gradient before it is clipped; null where the plan does not compute it. */
  readonly gradNorm: number | null;
  /** Where the plan computes it and the step has two microbatches or more. */
  readonly noise?: NoiseRecord;
  /** Wall time of the step. */
  readonly seconds: number;
  /** Seconds each device did not wait for others. */
  readonly busySeconds: readonly number[];
  /** 1 − Σ busy / (devices · seconds). */
  readonly bubbleFraction: number;
  /** With the parameters behind this step's update. */
  readonly evaluation?: EvaluationRecord;
}

/**
 * Trains: one record a step, made when it is asked for.
 *
 *     await using session = await Session.open(plan);
 *     for await (const { step, loss } of train({ session, data, steps: 100 })) console.log(step, loss);
 *
 * The next step's batch is read while the devices compute. Leaving the loop early leaves the session as it is behind the last
 * record. A resumed training yields the steps behind its checkpoint only; those before are the checkpoint's `records`.
 */
export async function* train(options: TrainOptions): AsyncGenerator<StepRecord, void, undefined> {
  checkTraining(options);
  const { session, data, steps, evaluation, signal } = options;
  const rate = options.learningRate ?? (() => session.plan.request.optimizer?.defaultRate ?? 0);
  const { recorder, resumed, lock } = await beginning(options, rate);
  using _held = lock;
  // The averages are functions of the steps' estimates, which the checkpoint's records hold.
  const tracker = new NoiseTracker(
    options.noise,
    resumed?.records.flatMap((r) => r.noise ?? []),
  );
  const isDue = (step: number): boolean =>
    evaluation !== undefined && ((step + 1) % evaluation.every === 0 || step + 1 === steps);
  const load = (step: number): Loaded | undefined => {
    if (step >= steps) return undefined;
    const batch = data.batchAt(step);
    refuseNoBatch(batch, data.name, step);
    // An evaluation behind the step before would be in its way.
    const ahead = !isDue(step - 1);
    const staged = session.stage(programFor(session.plan, 'train', batch), batch.tensors, { step, ahead });
    return { epoch: batch.epoch, staged };
  };
  const first = resumed?.step ?? 0;
  let next = attempt(() => load(first));
  for (let step = first; step < steps; step++) {
    const { epoch, staged } = next()!;
    const lr = finite('learningRate', rate(step), step);
    const momentum = options.momentum && finite('momentum', options.momentum(step), step);
    const { loss, gradNorm, noise, seconds, reports } = await session.runStaged(staged, {
      lr,
      momentum,
      signal,
      // What fails here is the next step's.
      meanwhile: () => {
        next = attempt(() => load(step + 1));
      },
    });
    const busySeconds = reports.map((r) => r.busySeconds);
    const record: StepRecord = {
      step,
      epoch,
      loss,
      lr,
      ...(momentum === undefined ? {} : { momentum }),
      gradNorm,
      ...(noise ? { noise: tracker.add(noise) } : {}),
      seconds,
      busySeconds,
      bubbleFraction: bubbleOf(busySeconds, seconds),
      ...(evaluation && isDue(step) ? { evaluation: await evaluated(evaluation, session, signal) } : {}),
    };
    await recorder?.record(record, step + 1 === steps);
    yield record;
  }
}

/** Throws PartitaError for a training that cannot be begun, or not ended. */
function checkTraining(options: TrainOptions): void {
  checkOptions('train', options, trainNames);
  if (options.checkpoint !== undefined) checkOptions('train', options.checkpoint, checkpointNames, 'checkpoint');
  if (options.evaluation !== undefined) checkOptions('train', options.evaluation, evaluationNames, 'evaluation');
  const { session, data, steps, evaluation } = options;
  requireArgument('train', session instanceof Session, 'a session', session, 'await Session.open(plan)');
  refuseNoSource(data);
  for (const rule of ['learningRate', 'momentum'] as const) {
    const given: unknown = options[rule];
    if (given === undefined || typeof given === 'function') continue;
    throw new UsageError(
      'options-invalid',
      `train: option ${rule} must be a function of the step, and is ${shown(given)}`,
      {
        fields: { option: rule },
        remedy: `${rule}: () => ${typeof given === 'number' ? given : 0.1}`,
      },
    );
  }
  if (!Number.isInteger(steps) || steps < 0) {
    throw new UsageError('steps-range', `train: steps must be a whole number of at least 0, not ${shown(steps)}`, {
      fields: { steps },
      remedy: 'steps: Math.ceil(epochs * data.stepsPerEpoch)',
    });
  }
  if (steps > data.steps) {
    throw new PartitaError('data-exhausted', `${data.name} holds ${data.steps} steps, and ${steps} are asked for`, {
      fields: { steps: data.steps, asked: steps },
      remedy: `--steps ${data.steps}`,
    });
  }
  if (evaluation && (!Number.isInteger(evaluation.every) || evaluation.every < 1)) {
    throw new UsageError(
      'evaluation-every',
      `train: evaluation.every must be an integer ≥ 1, not ${shown(evaluation.every)}`,
      {
        fields: { every: evaluation.every },
        remedy: 'every: data.stepsPerEpoch',
      },
    );
  }
  refuseNoOptimizer(session.plan);
  refuseOfNullDevices(options);
}

/** An evaluator of one's own may return anything; checkpoints go by its loss. */
async function evaluated(
  evaluation: NonNullable<TrainOptions['evaluation']>,
  session: Session,
  signal: AbortSignal | undefined,
): Promise<EvaluationRecord> {
  const record = await evaluation.evaluate(session, signal);
  if (typeof record?.loss === 'number') return record;
  throw new UsageError(
    'evaluation-record',
    `train: evaluation.evaluate must return a record with a loss, and returned ${shown(record)}`,
    { fields: { option: 'evaluation.evaluate' }, remedy: 'return { samples, loss }, or let makeEvaluator make it' },
  );
}

/** A step's batch, where the devices find it. */
interface Loaded {
  readonly epoch: number;
  readonly staged: StagedBatch;
}

/** Calls now, and gives or throws what came of it when it is asked. */
function attempt<T>(call: () => T): () => T {
  try {
    const value = call();
    return () => value;
  } catch (error) {
    return () => {
      throw error;
    };
  }
}

/** A rule of one's own may run out of its list, and one step by nothing makes every parameter NaN. */
function finite(rule: 'learningRate' | 'momentum', value: number, step: number): number {
  if (Number.isFinite(value)) return value;
  throw new UsageError('rate-not-finite', `${rule}(${step}) is ${value}, and a step needs a finite number`, {
    fields: { rule, step, value: String(value) },
    remedy: `let ${rule} return a number for every step`,
  });
}

/** A data set is no source yet: it says neither the batches nor their order. */
function refuseNoSource(data: BatchSource): void {
  if (typeof data?.batchAt === 'function') return;
  const isSet = typeof (data as { batch?: unknown } | null)?.batch === 'function';
  const what = isSet ? 'a data set, which has no batches' : Array.isArray(data) ? 'a list' : `${data}`;
  throw new UsageError('options-invalid', `train: option data must be a source of batches, and is ${what}`, {
    fields: { option: 'data' },
    remedy: 'data: epochsOf(dataset, { batchSize: 32, seed: 0 })',
  });
}

/** A source of one's own may be none: a reader that answers later is the usual one. */
function refuseNoBatch(batch: unknown, source: string, step: number): asserts batch is SourceBatch {
  const { tensors, then } = (batch ?? {}) as { tensors?: unknown; then?: unknown };
  if (typeof tensors === 'object' && tensors !== null) return;
  const got = typeof then === 'function' ? 'a promise' : batch === null ? 'null' : `${typeof batch} without tensors`;
  throw new UsageError(
    'source-batch',
    `${source}: batchAt(${step}) must return {tensors, epoch}, and returned ${got}`,
    {
      fields: { source, step },
      remedy: 'read what batchAt returns before the training asks for it',
    },
  );
}

/** A program that trains is planned without an optimizer too, for its gradients and its cost; its steps change nothing. */
function refuseNoOptimizer({ request, programs }: Plan): void {
  const training = Object.keys(programs).find((name) => request.programs[name]!.mode === 'train');
  if (request.optimizer || training === undefined) return;
  throw new UsageError(
    'train-without-optimizer',
    `train: the plan's program ${training} has no optimizer to update the parameters`,
    {
      fields: { program: training },
      remedy: "makePlan({ …, optimizer: makeOptimizer({ kind: 'sgd', lr: 0.1 }) })",
    },
  );
}

/** What a training on null devices, which learns nothing, cannot be asked for. */
function refuseOfNullDevices({ session, evaluation, noise, checkpoint, resume }: TrainOptions): void {
  const { devices } = session.plan.request;
  if (evaluation) refuseNullDevices(devices, 'there is nothing to evaluate', 'leave the evaluation out');
  if (noise) refuseNullDevices(devices, 'there are no gradients to be noisy', 'leave the noise out');
  if (checkpoint || resume !== undefined) {
    refuseNullDevices(devices, 'there is nothing that checkpoints could keep', 'leave checkpoint and resume out');
  }
}

/** Loads the checkpoint that is resumed into the session, once it is known to be this training's. */
async function beginning(options: TrainOptions, learningRate: LearningRate) {
  const { session, data, steps, evaluation, checkpoint, resume } = options;
  if (!checkpoint && resume === undefined) return {};
  // Checkpoints lie on a disk: a training without them needs none, nor the modules that read one.
  const [{ takeUp }, { CheckpointRecorder }] = await Promise.all([
    import('./checkpoint/resume.ts'),
    import('./checkpoint/recorder.ts'),
  ]);
  const { plan, seed } = session;
  const { momentum, noise } = options;
  const begun = await takeUp({
    plan,
    seed,
    data,
    steps,
    learningRate,
    momentum,
    noise,
    evaluation,
    checkpoint,
    resume,
    hold: true,
  });
  const { resumed, lock } = begun;
  try {
    const recorder =
      checkpoint &&
      new CheckpointRecorder(session, begun, { ...checkpoint, every: checkpoint.every ?? data.stepsPerEpoch });
    if (resumed) {
      await session.write(new Map([...resumed.parameters, ...resumed.buffers, ...resumed.optimizerState]));
    }
    return { recorder, resumed, lock };
  } catch (error) {
    lock?.[Symbol.dispose]();
    throw error;
  }
}

/**
 * The plan's program of this mode that was built for the batch's shapes. Where there is none the mode's first: its
 * session then names the tensor that does not fit.
 */
export function programFor(plan: Plan, mode: 'train' | 'gradients' | 'forward', batch: SourceBatch): string {
  requireKinds('programFor', { programs: ['object', plan?.programs], request: ['object', plan?.request] });
  requireKinds('programFor', { mode: ['text', mode], batch: ['object', batch], tensors: ['object', batch?.tensors] });
  const { tensors } = batch;
  const names = Object.keys(plan.programs).filter((name) => plan.request.programs[name]!.mode === mode);
  const fitting = names.find((name) =>
    plan.programs[name]!.feeds.every(
      ({ name: feed, type }) => !tensors[feed]?.type || sameType(tensors[feed].type, type),
    ),
  );
  const found = fitting ?? names[0];
  if (found === undefined) {
    throw new PartitaError('no-program', `the plan has no program with mode ${mode}`, {
      fields: { programs: plan.request.programs },
      remedy: `programs: { ${mode}: { batch: 32, mode: '${mode}' } }`,
    });
  }
  return found;
}

/** Whether a training can go on from a checkpoint, told before anything of the session changes. */
import { joinProblems, UsageError } from '../../core/errors.ts';
import { formatType, sameType } from '../../core/types.ts';
import type { FolderLock } from '../../formats/folder-lock.ts';
import type { Plan } from '../../plan/plan.ts';
import type { LearningRate } from '../learning-rate.ts';
import type { StepRecord } from '../trainer.ts';
import { openCheckpointFolder, readCheckpoint, type StoredCheckpoint } from './folder.ts';
import { differencesOf, type IdentityOptions, type TrainingIdentity, trainingIdentity } from './identity.ts';

export interface CheckpointOptions {
  /** Folder of the checkpoints; made where it is missing. */
  readonly dir: string;
  /** Steps between two; default: an epoch. There is always one behind the last step. */
  readonly every?: number | undefined;
  /** How many of the newest are kept; default 2. */
  readonly keep?: number | undefined;
  /** Stored with them, for whoever resumes: JSON. */
  readonly experiment?: unknown;
}

export interface TakeUpOptions extends IdentityOptions {
  readonly steps: number;
  readonly learningRate: LearningRate;
  readonly momentum?: LearningRate | undefined;
  readonly checkpoint?: CheckpointOptions | undefined;
  /** A folder of checkpoints, a checkpoint's own folder, or what `readCheckpoint` read. */
  readonly resume?: string | StoredCheckpoint | undefined;
  /** Keeps the folder of the checkpoints from other trainings. Default false: it is only looked at. */
  readonly hold?: boolean;
}

/** How a training begins: with which identity, and behind which checkpoint. */
export interface Beginning {
  readonly identity: TrainingIdentity;
  readonly resumed: StoredCheckpoint | undefined;
  /** Of the folder of the checkpoints, where it is to be held. */
  readonly lock: FolderLock | undefined;
}

/**
 * Reads and checks what a training with checkpoints begins with; no session is touched. Throws where the checkpoint is
 * another training's, where it is behind the last step, or where the folder is not free.
 */
export async function takeUp(options: TakeUpOptions): Promise<Beginning> {
  const { plan, resume, checkpoint, hold = false } = options;
  const resumed = typeof resume === 'string' ? readCheckpoint(resume) : resume;
  const identity = trainingIdentity(options);
  if (resumed) {
    refuseOther(resumed, identity);
    refuseOtherTensors(resumed, plan);
    refuseOtherSteps(resumed, options);
  }
  const lock = checkpoint && (await openCheckpointFolder(checkpoint.dir, resumed, hold));
  return { identity, resumed, lock };
}

function refuseOther(checkpoint: StoredCheckpoint, here: TrainingIdentity): void {
  const differences = differencesOf(checkpoint.identity, here);
  if (differences.length === 0) return;
  refuse(
    checkpoint,
    differences.map(({ text }) => text),
    { differences },
    differences.some(({ key }) => key.startsWith('model.parameters')) ? undefined : firstValues(checkpoint),
  );
}

const firstValues = ({ folder }: StoredCheckpoint): string =>
  `to begin a new training with its parameters: --params ${folder}/params.safetensors`;

function refuse(
  { folder, step }: StoredCheckpoint,
  problems: readonly string[],
  fields: Record<string, unknown>,
  instead: string | undefined,
): never {
  throw new UsageError(
    'checkpoint-mismatch',
    `the checkpoint of step ${step} in ${folder} is of another training: ${joinProblems(problems)}`,
    {
      fields: { folder, step, ...fields },
      remedy: [`give what the checkpoint was made with (partita train --resume ${folder} does)`, instead]
        .filter(Boolean)
        .join('; '),
    },
  );
}

/** Every tensor that the plan keeps from step to step must be there, and no other. */
function refuseOtherTensors(checkpoint: StoredCheckpoint, plan: Plan): void {
  const problems = (['parameter', 'buffer', 'state'] as const).flatMap((kind) => {
    const saved =
      checkpoint[{ parameter: 'parameters', buffer: 'buffers', state: 'optimizerState' }[kind] as 'buffers'];
    const graphs = Object.values(plan.graphs);
    const wanted = new Map(graphs.flatMap((g) => g.sources(kind)).map((t) => [t.node.source!.name, t.type]));
    const foreign = [...saved.keys()].filter((name) => !wanted.has(name));
    return [
      ...[...wanted].flatMap(([name, type]) => {
        const got = saved.get(name)?.type;
        if (!got) return [`${name} is missing`];
        return sameType(got, type)
          ? []
          : [`${name} is ${formatType(got)} in the checkpoint and ${formatType(type)} here`];
      }),
      ...foreign.map((name) => `${name} is none of this training's tensors`),
    ];
  });
  if (problems.length > 0) refuse(checkpoint, problems, { problems }, undefined);
}

/** Fewer steps than are done cannot be; rate and momentum of those that are done must be the ones of this training. */
function refuseOtherSteps(checkpoint: StoredCheckpoint, options: TakeUpOptions): void {
  const { steps, learningRate, momentum, data } = options;
  const { step, records, folder } = checkpoint;
  if (step > steps) {
    throw new UsageError(
      'checkpoint-steps',
      `the checkpoint in ${folder} is of step ${step}, and ${steps} steps are asked for`,
      { fields: { folder, step, steps }, remedy: `--steps ${step} or more, or the folder of an earlier checkpoint` },
    );
  }
  const rules = [
    { name: 'rate', was: (r: StepRecord) => r.lr, is: learningRate },
    { name: 'momentum', was: (r: StepRecord) => r.momentum, is: (k: number) => momentum?.(k) },
  ];
  for (const { name, was, is } of rules) {
    const other = records.find((r) => !Object.is(was(r), is(r.step)));
    if (!other) continue;
    const text = `the ${name} of step ${other.step} was ${was(other) ?? 'not set'} and is ${is(other.step) ?? 'not set'} here`;
    refuse(checkpoint, [text], { differences: [{ key: 'learningRate', text }] }, firstValues(checkpoint));
  }
  const last = records.at(-1);
  if (last && last.epoch !== data.batchAt(last.step).epoch) {
    const text = `step ${last.step} was of epoch ${last.epoch} and is of epoch ${data.batchAt(last.step).epoch} here`;
    refuse(checkpoint, [text], { differences: [{ key: 'data', text }] }, firstValues(checkpoint));
  }
}

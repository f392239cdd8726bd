import { FormatError } from '../core/errors.ts';

/**
 * F: forward. B: backward for activations. W: backward for weights. BW: both in one.
 * The update U has no place to choose: every device runs it once a step, when all have their gradients. The program
 * builder puts it there and grids print it as the last column (`updates`).
 */
export type TaskKind = 'F' | 'B' | 'W' | 'BW';

/** What a device does at a time. A plain immutable value; `taskKey` is its identity wherever one is needed. */
export interface Task {
  readonly kind: TaskKind;
  readonly stage: number;
  readonly microbatch: number;
}

export const task = (kind: TaskKind, stage: number, microbatch: number): Task => ({ kind, stage, microbatch });

/** `2F0`, `2B0`, `2W0`, `2BW0`: stage, kind, microbatch. Unlike CSV cells, a key tells B from BW by itself. */
export const taskKey = (t: Task): string => `${t.stage}${t.kind}${t.microbatch}`;

const pattern = /^(\d+)(F|BW|B|W)(\d+)$/;

export const isTaskKey = (key: string): boolean => pattern.test(key);

export function parseTaskKey(key: string): Task {
  const match = pattern.exec(key);
  if (match === null) {
    throw new FormatError('task-key', `"${key}" is not a task: expected stage, kind (F, B, W, BW), microbatch`, {
      fields: { key },
      remedy: 'Write the task as 2F0, 2B0, 2W0 or 2BW0.',
    });
  }
  return task(match[2] as TaskKind, Number(match[1]), Number(match[3]));
}

export const sameTask = (a: Task, b: Task): boolean =>
  a.kind === b.kind && a.stage === b.stage && a.microbatch === b.microbatch;

/** B and BW give the activation gradient that the stages before wait for. */
export const givesActivationGradient = (t: Task): boolean => t.kind === 'B' || t.kind === 'BW';

/** W and BW add to the stage's weight gradients, and are the last readers of the microbatch's saved activations. */
export const givesWeightGradient = (t: Task): boolean => t.kind === 'W' || t.kind === 'BW';

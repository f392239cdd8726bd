import { PlanError } from '../core/errors.ts';
import { type Task, type TaskKind, taskKey } from '../schedule/task.ts';
import type { Action, ActionSource } from './actions.ts';

/** A pipeline of which only times and sizes are known: one action a task, one message a stage boundary and microbatch. */
export interface PipelineOptions {
  readonly stages: number;
  readonly microbatches: number;
  readonly devices: number;
  /** Device of each stage. */
  readonly placement: readonly number[];
  /** The tasks of a device in their order, made anew at each call: a schedule's row, or a rule that yields it. */
  readonly row: (device: number) => Iterable<Task>;
  /** Seconds of a task on a device of speed 1. */
  readonly seconds: (task: Task) => number;
  /** Factor on the speed of a device. Default 1. */
  readonly speed?: (device: number) => number;
  /** Bytes that pass from a stage to its neighbour: activations forward, their gradients back. */
  readonly messageBytes: (from: number, to: number) => number;
  /** Tasks by which receivers are ready before they need a message. Default: all from the step's start. */
  readonly postAhead?: number;
  /** Seconds of a device's update behind the barrier that ends the step. Default: neither. */
  readonly updateSeconds?: (device: number) => number;
}

const receiver: { readonly [K in TaskKind]: -1 | 0 | 1 } = { F: 1, B: -1, BW: -1, W: 0 };

/**
 * Actions of a pipeline of stages 0→1→2→…, made as they are read: neither instructions nor schedule exist as a whole, only
 * the numbers of the messages (8 bytes a stage and microbatch).
 */
export function pipelineProgram(options: PipelineOptions): ActionSource {
  const { stages, microbatches, devices, placement, row, seconds, messageBytes } = options;
  const speed = options.speed ?? (() => 1);
  const ahead = options.postAhead ?? Number.POSITIVE_INFINITY;
  const numbers = numberMessages(options);
  /** The stage that a task waits for, and the one that it sends to, where they are on other devices. */
  const peers = ({ kind, stage }: Task): { source: number | undefined; target: number | undefined } => {
    const elsewhere = (s: number) => (s >= 0 && s < stages && placement[s] !== placement[stage] ? s : undefined);
    const step = receiver[kind];
    return step === 0
      ? { source: undefined, target: undefined }
      : { source: elsewhere(stage - step), target: elsewhere(stage + step) };
  };
  const messageOf = (source: number, target: number, microbatch: number): number => {
    const direction = source < target ? 'forward' : 'back';
    const number = numbers[direction][Math.min(source, target) * microbatches + microbatch]!;
    if (number < 0) throw missingTask(direction === 'forward' ? 'F' : 'B', source, microbatch, target);
    return number;
  };

  function* actions(device: number): Generator<Action> {
    /** Messages posted so far, by sender. */
    const posted = new Map<number, number>();
    function* post(t: Task): Generator<Action> {
      const { source } = peers(t);
      if (source === undefined) return;
      const from = placement[source]!;
      const message = messageOf(source, t.stage, t.microbatch);
      // In the order of the numbers: a message that is sent before this one is posted before it.
      for (let next = posted.get(from) ?? 0; next <= message; next++) {
        yield { kind: 'post', from, message: next };
        posted.set(from, next + 1);
      }
    }
    const scout = row(device)[Symbol.iterator]();
    let scouted = 0;
    let index = 0;
    for (const t of row(device)) {
      for (; scouted <= index + ahead; scouted++) {
        const next = scout.next();
        if (next.done) break;
        yield* post(next.value);
      }
      const { source, target } = peers(t);
      if (source !== undefined) {
        yield {
          kind: 'receive',
          from: placement[source]!,
          message: messageOf(source, t.stage, t.microbatch),
        };
      }
      yield { kind: 'work', seconds: seconds(t) / speed(device), computes: true };
      if (target !== undefined) {
        yield {
          kind: 'send',
          to: placement[target]!,
          message: messageOf(t.stage, target, t.microbatch),
          bytes: messageBytes(t.stage, target),
        };
      }
      index++;
    }
    if (options.updateSeconds) {
      yield { kind: 'barrier' };
      yield { kind: 'work', seconds: options.updateSeconds(device) / speed(device), computes: true };
    }
  }

  return { devices, actions, ...namesOf(options, actions) };
}

/** Numbers of the messages over each boundary, by lower stage and microbatch. */
function numberMessages({ stages, microbatches, devices, placement, row }: PipelineOptions) {
  const size = Math.max(0, stages - 1) * microbatches;
  const numbers = { forward: new Int32Array(size).fill(-1), back: new Int32Array(size).fill(-1) };
  for (let device = 0; device < devices; device++) {
    const counts = new Map<number, number>();
    for (const t of row(device)) {
      refuseStranger(t, device, { stages, microbatches, placement });
      const target = t.stage + receiver[t.kind];
      if (target === t.stage || target < 0 || target >= stages || placement[target] === device) continue;
      const to = placement[target]!;
      const n = counts.get(to) ?? 0;
      counts.set(to, n + 1);
      numbers[target > t.stage ? 'forward' : 'back'][Math.min(t.stage, target) * microbatches + t.microbatch] = n;
    }
  }
  return numbers;
}

function refuseStranger(
  t: Task,
  device: number,
  { stages, microbatches, placement }: Pick<PipelineOptions, 'stages' | 'microbatches' | 'placement'>,
): void {
  const isKnown = t.stage >= 0 && t.stage < stages && t.microbatch >= 0 && t.microbatch < microbatches;
  if (isKnown && placement[t.stage] === device) return;
  throw new PlanError(
    'pipeline-task',
    isKnown
      ? `${taskKey(t)} stands in the row of device ${device}, and stage ${t.stage} is on device ${placement[t.stage]}`
      : `${taskKey(t)} in the row of device ${device} is not of the ${stages} stages and ${microbatches} microbatches`,
    { fields: { task: taskKey(t), device }, remedy: 'correct the rows, or the placement of the stages' },
  );
}

function missingTask(kind: TaskKind, stage: number, microbatch: number, target: number): PlanError {
  const key = taskKey({ kind, stage, microbatch });
  return new PlanError('pipeline-task', `stage ${target} waits for ${key}, and no row has it`, {
    fields: { task: key, stage: target, microbatch },
    remedy: `add ${key} to the row of its device`,
  });
}

/** Words for single actions, found by making the device's actions again. */
function namesOf({ row }: PipelineOptions, actions: (device: number) => Generator<Action>) {
  const find = (device: number, index: number): { action: Action | undefined; task: string | null } => {
    const tasks = row(device)[Symbol.iterator]();
    let at = 0;
    for (const action of actions(device)) {
      const computes = action.kind === 'work';
      if (at++ === index) {
        const next = computes ? tasks.next() : undefined;
        return { action, task: next === undefined ? null : next.done ? 'U' : taskKey(next.value) };
      }
      if (computes) tasks.next();
    }
    return { action: undefined, task: null };
  };
  return {
    task: (device: number, index: number) => find(device, index).task,
    describe: (device: number, index: number) => {
      const { action, task } = find(device, index);
      if (action === undefined) return 'nothing';
      switch (action.kind) {
        case 'work':
          return task!;
        case 'send':
          return `send message ${action.message} to device ${action.to}`;
        case 'barrier':
          return 'barrier';
        default:
          return `${action.kind} message ${action.message} of device ${action.from}`;
      }
    },
  };
}

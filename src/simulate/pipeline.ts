import { PlanError } from '../core/errors.ts';
import { type Task, type TaskKind, taskKey } from '../schedule/task.ts';
import { type Action, type ActionSource, action } from './actions.ts';

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

/** Where a task's result goes, and from the other side what it needs comes. */
const sendsTo: { readonly [K in TaskKind]: -1 | 0 | 1 } = { F: 1, B: -1, BW: -1, W: 0 };

/**
 * Actions of a pipeline of stages 0→1→2→…, made as they are read: neither instructions nor schedule exist as a whole, only
 * the numbers of the messages (8 bytes a stage and microbatch).
 */
export function pipelineProgram(options: PipelineOptions): ActionSource {
  const messages = numberMessages(options);
  const actions = (device: number): Iterator<Action> => new PipelineActions(options, messages, device);
  return { devices: options.devices, actions, ...namesOf(options, actions) };
}

/** Posts made at once. */
const DUE = 32;

/** The actions of one device, task by task. An iterator by hand: a generator takes twice its time. */
class PipelineActions implements Iterator<Action> {
  readonly #options: PipelineOptions;
  readonly #numbers: MessageNumbers;
  readonly #device: number;
  readonly #speed: number;
  readonly #tasks: Iterator<Task>;
  /** Goes ahead of the tasks and posts what they will receive. */
  readonly #scout: Iterator<Task>;
  /** Tasks that the scout is ahead; less than it may be where the row ends. */
  #ahead = -1;
  /** Messages posted so far, by sender. */
  readonly #posted = new Map<number, number>();
  /** What is to come of the task at hand. */
  #due: Action[] = [];
  #at = 0;
  #hasEnded = false;

  constructor(options: PipelineOptions, numbers: MessageNumbers, device: number) {
    this.#options = options;
    this.#numbers = numbers;
    this.#device = device;
    this.#speed = options.speed?.(device) ?? 1;
    this.#tasks = options.row(device)[Symbol.iterator]();
    this.#scout = options.row(device)[Symbol.iterator]();
  }

  next(): IteratorResult<Action, undefined> {
    if (this.#at === this.#due.length) {
      this.#at = 0;
      this.#due.length = 0;
      this.#refill();
      if (this.#due.length === 0) return { value: undefined, done: true };
    }
    return { value: this.#due[this.#at++]!, done: false };
  }

  #refill(): void {
    const { seconds, messageBytes, placement, postAhead = Number.POSITIVE_INFINITY, updateSeconds } = this.#options;
    for (; this.#ahead < postAhead; this.#ahead++) {
      const next = this.#scout.next();
      if (next.done) break;
      this.#post(next.value);
      if (this.#due.length < DUE) continue;
      this.#ahead++;
      return;
    }
    const { value: t, done } = this.#tasks.next();
    if (done) {
      if (updateSeconds && !this.#hasEnded) {
        this.#due.push(action.barrier(), action.compute(updateSeconds(this.#device) / this.#speed));
      }
      this.#hasEnded = true;
      return;
    }
    this.#ahead--;
    const source = sourceOf(t, this.#options);
    const target = targetOf(t, this.#options);
    if (source >= 0) this.#due.push(action.receive(placement[source]!, this.#messageOf(source, t)));
    this.#due.push(action.compute(seconds(t) / this.#speed));
    if (target >= 0) {
      const number = numberOf(this.#numbers, this.#options.microbatches, t.stage, target, t.microbatch);
      this.#due.push(action.send(placement[target]!, number, messageBytes(t.stage, target)));
    }
  }

  /** In the order of the numbers: a message that is sent before another is posted before it. */
  #post(t: Task): void {
    const source = sourceOf(t, this.#options);
    if (source < 0) return;
    const from = this.#options.placement[source]!;
    const message = this.#messageOf(source, t);
    let next = this.#posted.get(from) ?? 0;
    if (next > message) return;
    for (; next <= message; next++) this.#due.push(action.post(from, next));
    this.#posted.set(from, next);
  }

  #messageOf(source: number, { stage, microbatch }: Task): number {
    const number = numberOf(this.#numbers, this.#options.microbatches, source, stage, microbatch);
    if (number < 0) throw missingTask(source < stage ? 'F' : 'B', source, microbatch, stage);
    return number;
  }
}

/** The stage whose value a task receives from another device; −1: none. */
const sourceOf = (t: Task, shape: Pick<PipelineOptions, 'stages' | 'placement'>): number =>
  elsewhere(t.stage, -sendsTo[t.kind], shape);

/** The stage on another device to which it sends; −1: none. */
const targetOf = (t: Task, shape: Pick<PipelineOptions, 'stages' | 'placement'>): number =>
  elsewhere(t.stage, sendsTo[t.kind], shape);

function elsewhere(
  stage: number,
  step: number,
  { stages, placement }: Pick<PipelineOptions, 'stages' | 'placement'>,
): number {
  const other = stage + step;
  return other >= 0 && other < stages && placement[other] !== placement[stage] ? other : -1;
}

/** By lower stage and microbatch; −1: never sent. */
interface MessageNumbers {
  readonly forward: Int32Array;
  readonly back: Int32Array;
}

const numberOf = (
  numbers: MessageNumbers,
  microbatches: number,
  from: number,
  to: number,
  microbatch: number,
): number =>
  from < to ? numbers.forward[from * microbatches + microbatch]! : numbers.back[to * microbatches + microbatch]!;

/** Numbers of the messages over each boundary. */
function numberMessages({ stages, microbatches, devices, placement, row }: PipelineOptions): MessageNumbers {
  const shape = { stages, microbatches, placement };
  const size = Math.max(0, stages - 1) * microbatches;
  const numbers = { forward: new Int32Array(size).fill(-1), back: new Int32Array(size).fill(-1) };
  for (let device = 0; device < devices; device++) {
    const counts = new Map<number, number>();
    for (const t of row(device)) {
      refuseStranger(t, device, shape);
      const target = targetOf(t, shape);
      if (target < 0) continue;
      const to = placement[target]!;
      const n = counts.get(to) ?? 0;
      counts.set(to, n + 1);
      const direction = target > t.stage ? numbers.forward : numbers.back;
      direction[Math.min(t.stage, target) * microbatches + t.microbatch] = n;
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
function namesOf({ row }: PipelineOptions, actions: (device: number) => Iterator<Action>) {
  const find = (device: number, index: number): { found: Action | undefined; task: string | null } => {
    const tasks = row(device)[Symbol.iterator]();
    let at = 0;
    const all = actions(device);
    for (let next = all.next(); !next.done; next = all.next()) {
      const found = next.value;
      const computes = found.kind === 'compute';
      const task = computes ? tasks.next() : undefined;
      if (at++ === index) return { found, task: task === undefined ? null : task.done ? 'U' : taskKey(task.value) };
    }
    return { found: undefined, task: null };
  };
  return {
    task: (device: number, index: number) => find(device, index).task,
    describe: (device: number, index: number) => {
      const { found, task } = find(device, index);
      if (found === undefined) return 'nothing';
      const { kind, peer, message } = found;
      if (kind === 'compute') return task!;
      if (kind === 'barrier') return kind;
      return `${kind} message ${message} ${kind === 'send' ? 'to' : 'of'} device ${peer}`;
    },
  };
}

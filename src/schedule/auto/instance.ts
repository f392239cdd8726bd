import { PlanError } from '../../core/errors.ts';
import type { Durations } from '../clock.ts';
import { chainEdges, type StageEdge } from '../dependencies.ts';
import type { Task, TaskKind } from '../task.ts';

/** What the stages of a device may hold, in bytes or any other unit. */
export interface ScheduleMemory {
  /** What stage s holds of a microbatch from its F to its B. */
  readonly perMicrobatch: readonly number[];
  /** What is left of that from B to W. Default: all. */
  readonly perWeightGradient?: readonly number[];
  /** The most that device d may hold; Infinity where there is no limit. */
  readonly budget: readonly number[];
}

/** Kinds as numbers: rows and times are typed arrays here. */
export const F = 0;
export const B = 1;
export const W = 2;
export const BW = 3;
export const kindNames: readonly TaskKind[] = ['F', 'B', 'W', 'BW'];

/** Another stage, and the time that a value takes from it, and to it. */
export interface Neighbour {
  readonly stage: number;
  readonly arrives: number;
  readonly leaves: number;
}

/** The scheduling problem as arrays. A slot is a stage's microbatch: s · microbatches + m. */
export interface Instance {
  readonly stages: number;
  readonly microbatches: number;
  readonly devices: number;
  readonly placement: readonly number[];
  readonly stagesOf: readonly (readonly number[])[];
  /** Stages in an order of the dependencies. */
  readonly order: readonly number[];
  /** Stages whose F an F waits for, and stages whose B a B waits for. */
  readonly before: readonly (readonly Neighbour[])[];
  readonly after: readonly (readonly Neighbour[])[];
  /** Of kind · slots + slot. */
  readonly time: Float64Array;
  readonly slots: number;
  /** Backwards may be split; BW is always allowed. */
  readonly split: boolean;
  /** Held from F to B, from B to W, and the device's budget. Without limits: zeros and Infinity. */
  readonly hold: readonly number[];
  readonly keep: readonly number[];
  readonly budget: readonly number[];
}

export interface InstanceOptions {
  readonly durations?: Durations | ((t: Task) => number);
  readonly dependencies?: readonly StageEdge[];
  readonly link?: number | ((fromStage: number, toStage: number) => number);
  readonly memory?: ScheduleMemory;
  readonly splitBackward?: boolean;
}

interface Placed {
  readonly stages: number;
  readonly microbatches: number;
  readonly devices: number;
  readonly placement: readonly number[];
}

export function compileInstance(placed: Placed, options: InstanceOptions): Instance {
  const { stages, microbatches, devices, placement } = placed;
  const edges = distinctEdges(options.dependencies ?? chainEdges(stages), stages);
  const before: Neighbour[][] = Array.from({ length: stages }, () => []);
  const after: Neighbour[][] = Array.from({ length: stages }, () => []);
  for (const [from, to] of edges) {
    const [there, back] = [delayOf(options.link, from, to), delayOf(options.link, to, from)];
    before[to]!.push({ stage: from, arrives: there, leaves: back });
    after[from]!.push({ stage: to, arrives: back, leaves: there });
  }
  const stagesOf: number[][] = Array.from({ length: devices }, () => []);
  placement.forEach((device, stage) => {
    stagesOf[device]!.push(stage);
  });
  return {
    ...placed,
    stagesOf,
    order: topologicalOrder(before, after),
    before,
    after,
    time: times(placed, options.durations),
    slots: stages * microbatches,
    split: options.splitBackward ?? true,
    ...memoryOf(options.memory, stages, devices),
  };
}

function distinctEdges(edges: readonly StageEdge[], stages: number): StageEdge[] {
  const seen = new Map<string, StageEdge>();
  for (const edge of edges) {
    const exists = edge.every((s) => Number.isInteger(s) && s >= 0 && s < stages);
    if (!exists || edge[0] === edge[1]) {
      throw new PlanError(
        'schedule-dependencies',
        `dependency ${edge.join(' → ')} does not join two of the ${stages} stages`,
        { fields: { dependency: [...edge], stages }, remedy: `Name two different stages in 0..${stages - 1}.` },
      );
    }
    seen.set(edge.join(' '), edge);
  }
  return [...seen.values()];
}

function topologicalOrder(before: readonly Neighbour[][], after: readonly Neighbour[][]): number[] {
  const missing = before.map((list) => list.length);
  const order = missing.flatMap((count, s) => (count === 0 ? [s] : []));
  for (let i = 0; i < order.length; i++) {
    for (const { stage } of after[order[i]!]!) if (--missing[stage]! === 0) order.push(stage);
  }
  if (order.length < before.length) {
    const stuck = missing.flatMap((count, s) => (count > 0 ? [s] : []));
    throw new PlanError('schedule-dependencies', `the stages ${stuck.join(', ')} wait for each other`, {
      fields: { stages: stuck },
      remedy: 'Remove a dependency of the circle: the stages of a pipeline form an acyclic graph.',
    });
  }
  return order;
}

function times({ stages, microbatches }: Placed, durations: InstanceOptions['durations']): Float64Array {
  const table: Record<TaskKind, number> =
    durations === undefined || typeof durations === 'function'
      ? { F: 1, B: 1, W: 1, BW: 1 }
      : { BW: durations.B + durations.W, ...durations };
  const slots = stages * microbatches;
  const result = new Float64Array(4 * slots);
  kindNames.forEach((kind, k) => {
    for (let slot = 0; slot < slots; slot++) {
      const t: Task = { kind, stage: Math.floor(slot / microbatches), microbatch: slot % microbatches };
      const value = typeof durations === 'function' ? durations(t) : table[kind];
      if (!(value >= 0 && value < Infinity)) {
        const name = `${t.stage}${kind}${t.microbatch}`;
        throw new PlanError('schedule-duration', `${name} takes ${value}; a duration is a finite number from 0`, {
          fields: { task: name, stage: t.stage, microbatch: t.microbatch },
          remedy: 'Correct the times of F, B and W.',
        });
      }
      result[k * slots + slot] = value;
    }
  });
  return result;
}

function delayOf(link: InstanceOptions['link'], from: number, to: number): number {
  const value = typeof link === 'function' ? link(from, to) : (link ?? 0);
  if (value >= 0 && value < Infinity) return value;
  throw new PlanError('schedule-link', `the link from stage ${from} to stage ${to} takes ${value}`, {
    fields: { from, to },
    remedy: 'Give links a finite time from 0.',
  });
}

function memoryOf(
  memory: ScheduleMemory | undefined,
  stages: number,
  devices: number,
): Pick<Instance, 'hold' | 'keep' | 'budget'> {
  if (memory === undefined) {
    const none = new Array<number>(stages).fill(0);
    return { hold: none, keep: none, budget: new Array<number>(devices).fill(Infinity) };
  }
  const { perMicrobatch, perWeightGradient = perMicrobatch, budget } = memory;
  const checked = (name: keyof ScheduleMemory, list: readonly number[], count: number, of: string): void => {
    const wrong = list.findIndex((x) => !(x >= 0) || (name !== 'budget' && x === Infinity));
    if (list.length === count && wrong < 0) return;
    const what =
      list.length === count
        ? `memory.${name}[${wrong}] is ${list[wrong]}`
        : `memory.${name} has ${list.length} entries for ${count} ${of}`;
    throw new PlanError('schedule-memory', what, {
      fields: { name, [of]: count },
      remedy: `Give one number from 0 for each of the ${count} ${of}.`,
    });
  };
  checked('perMicrobatch', perMicrobatch, stages, 'stages');
  checked('perWeightGradient', perWeightGradient, stages, 'stages');
  checked('budget', budget, devices, 'devices');
  return { hold: perMicrobatch, keep: perWeightGradient, budget };
}

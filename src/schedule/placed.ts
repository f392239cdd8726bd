import { PlanError } from '../core/errors.ts';
import { shown } from '../core/options.ts';
import { timesUntilStuck } from './clock.ts';
import { requiredPlaces } from './dependencies.ts';
import { layStages, type PlacementRule, renaming } from './placement.ts';
import { requireShape, type Schedule, type ScheduleShape } from './schedule.ts';
import { givesActivationGradient, type Task } from './task.ts';
import { TaskIndex } from './task-index.ts';

/** The rows of a rule on the devices that it is made for. */
export interface OwnRows {
  readonly rows: readonly (readonly Task[])[];
  readonly overlaps?: readonly (readonly number[])[];
}

export interface Rule {
  readonly name: string;
  readonly placement: PlacementRule;
  /** How many devices `stages` stages are spread over where nothing says it: that many, each with this many stages. */
  readonly stagesPerDevice: number;
  /** The rule is made for exactly `stagesPerDevice`; others can do with any number, and straight ones be looped. */
  readonly fixed?: true;
  /**
   * Rows of `devices` devices that own `stages / devices` stages each, a whole number, laid by the placement rule.
   * Device r is the one that owns stage r.
   */
  readonly rows: (stages: number, devices: number, microbatches: number) => OwnRows;
}

/**
 * The rule's schedule under any placement. Under its own, and under one that only names the devices differently, the rows
 * are the rule's. Where every device owns a block of neighbouring stages, the block is one stage to it
 * (`joinNeighbours`). Under another placement each stage keeps its own order of tasks, hence its bits and its memory, and
 * devices interleave their stages' rows (`mergeStageRows`). A last round of stages that is not whole is a whole one without
 * its last stages: what is left of a schedule when the end of its chain is taken away can still be played.
 */
export function scheduleBy(rule: Rule, shape: ScheduleShape): Schedule {
  requireShape('a schedule', shape);
  const { stages, microbatches } = shape;
  const { placement, devices } = checkShape(shape, () => usualPlacement(rule, shape));
  const joined = joinNeighbours(rule, placement);
  if (joined) {
    const { homes } = joined;
    const blocks = scheduleBy(rule, { stages: homes.length, microbatches, placement: homes, devices });
    return { name: rule.name, stages, microbatches, devices, placement, rows: unfold(blocks, joined) };
  }
  const p = ownDevices(rule, placement);
  const whole = p * stagesOfEach(rule, stages, p);
  const made = rule.rows(whole, p, microbatches);
  const cut = whole === stages ? made : keepTasks(made, (t) => t.stage < stages);
  const own: Schedule = {
    name: rule.name,
    stages,
    microbatches,
    devices: p,
    placement: layStages(rule.placement === 'v' ? 'v' : 'looped', stages, p),
    ...cut,
  };
  const names = renaming(own.placement, placement);
  if (names === undefined) {
    const { overlaps: _, ...alone } = own;
    return { ...alone, devices, placement, rows: mergeStageRows(own, placement, devices) };
  }
  const moved = <T>(lists: readonly (readonly T[])[]): (readonly T[])[] => {
    const rows: (readonly T[])[] = Array.from({ length: devices }, () => []);
    for (const [from, to] of names) rows[to] = lists[from]!;
    return rows;
  };
  const overlaps = own.overlaps?.some((cells) => cells.length > 0) ? { overlaps: moved(own.overlaps) } : {};
  return { name: rule.name, stages, microbatches, devices, placement, rows: moved(own.rows), ...overlaps };
}

/** Stages that stand side by side on a device that has no others. */
export interface Blocks {
  readonly blockOf: readonly number[];
  /** Device of each block. */
  readonly homes: readonly number[];
}

/**
 * The blocks of a placement that has nothing else: 0 0 1 1. A pipeline of so many devices is what it is, and as one it holds
 * less than stage by stage, and does not stumble over stages that are not equal.
 */
export function joinNeighbours(rule: Rule, placement: readonly number[]): Blocks | undefined {
  const stages = placement.length;
  const own = layStages(rule.placement === 'v' ? 'v' : 'looped', stages, ownDevices(rule, placement));
  if (renaming(own, placement) !== undefined) return undefined;
  const homes: number[] = [];
  const blockOf = placement.map((device, s) => {
    if (s === 0 || placement[s - 1] !== device) homes.push(device);
    return homes.length - 1;
  });
  return homes.length < stages && new Set(homes).size === homes.length ? { blockOf, homes } : undefined;
}

/** A block's task as those of its stages: forward from the first to the last, backward from the last to the first. */
function unfold({ rows }: Schedule, { blockOf, homes }: Blocks): Task[][] {
  const members: number[][] = homes.map(() => []);
  for (const [stage, block] of blockOf.entries()) members[block]!.push(stage);
  return rows.map((row) =>
    row.flatMap((t) => {
      const stages = members[t.stage]!;
      return (t.kind === 'F' ? stages : stages.toReversed()).map((stage) => ({ ...t, stage }));
    }),
  );
}

/** Devices of the rule's own layout that stands behind a placement. */
export function ownDevices(rule: Rule, placement: readonly number[]): number {
  const stages = placement.length;
  if (rule.placement === 'straight') {
    // A straight rule that can be looped is, where the placement is.
    const used = new Set(placement).size;
    return rule.fixed || renaming(layStages('looped', stages, used), placement) === undefined ? stages : used;
  }
  return rule.fixed ? Math.ceil(stages / rule.stagesPerDevice) : new Set(placement).size;
}

/** Stages that each of the own layout's devices has before the last round is cut. */
export const stagesOfEach = ({ fixed, stagesPerDevice }: Rule, stages: number, p: number): number =>
  fixed ? stagesPerDevice : Math.ceil(stages / p);

/** The placement of a shape that says none. */
export function usualPlacement(rule: Rule, { stages, devices }: ScheduleShape): number[] {
  const usual = Math.ceil(stages / rule.stagesPerDevice);
  const used = rule.placement === 'straight' || rule.fixed || devices === undefined ? usual : Math.min(devices, stages);
  return layStages(rule.placement, stages, used);
}

/** Rows without some tasks; a cell that loses one of its two is none any more. */
export function keepTasks({ rows, overlaps }: OwnRows, keep: (t: Task) => boolean): OwnRows {
  const cells: number[][] = [];
  const kept = rows.map((row, device) => {
    const firsts = new Set(overlaps?.[device]);
    const left: Task[] = [];
    cells.push([]);
    row.forEach((t, i) => {
      if (!keep(t)) return;
      if (firsts.has(i) && keep(row[i + 1]!)) cells[device]!.push(left.length);
      left.push(t);
    });
    return left;
  });
  return overlaps === undefined ? { rows: kept } : { rows: kept, overlaps: cells };
}

/**
 * Merges the rows of stages that share a device by playing them: at each clock a device takes, of its stages' next
 * tasks that are ready, the one that runs earliest in the schedule's own layout (ties: backward first, which frees
 * memory and has others waiting; then the later stage, whose users wait longest). The merged rows cannot deadlock: they
 * are the record of a run that ended, and some task is ready at every clock because the own schedule can be played.
 */
function mergeStageRows(own: Schedule, placement: readonly number[], devices: number): Task[][] {
  const index = new TaskIndex(own);
  const { tasks } = index;
  const { starts } = timesUntilStuck({ ...own, overlaps: undefined });
  const required = requiredPlaces(index, own.stages, undefined);
  const ofStage: number[][] = Array.from({ length: own.stages }, () => []);
  for (const [place, t] of tasks.entries()) ofStage[t.stage]!.push(place);
  const next = new Int32Array(own.stages);
  const doneAt = new Float64Array(tasks.length).fill(Infinity);
  const places: number[] = [];
  const isReady = (place: number, clock: number): boolean => {
    const n = required(tasks[place]!, places);
    for (let k = 0; k < n; k++) if (doneAt[places[k]!]! > clock) return false;
    return true;
  };
  const sooner = (a: number, b: number): number =>
    starts[a]! - starts[b]! ||
    Number(givesActivationGradient(tasks[b]!)) - Number(givesActivationGradient(tasks[a]!)) ||
    tasks[b]!.stage - tasks[a]!.stage;

  const rows: Task[][] = Array.from({ length: devices }, () => []);
  const chosen = new Int32Array(devices);
  for (let left = tasks.length, clock = 0; left > 0; clock++) {
    chosen.fill(-1);
    for (let stage = 0; stage < own.stages; stage++) {
      const candidate = ofStage[stage]![next[stage]!];
      if (candidate === undefined || !isReady(candidate, clock)) continue;
      const rival = chosen[placement[stage]!]!;
      if (rival < 0 || sooner(candidate, rival) < 0) chosen[placement[stage]!] = candidate;
    }
    chosen.forEach((place, device) => {
      if (place < 0) return;
      rows[device]!.push(tasks[place]!);
      next[tasks[place]!.stage]!++;
      doneAt[place] = clock + 1;
      left--;
    });
  }
  return rows;
}

/** Stages times microbatches: each task is an object of a list. */
const MOST_TASKS = 2 ** 24;

/** Placement and devices of what is asked for, `usual` where no placement is. Throws PlanError. */
export function checkShape(
  shape: ScheduleShape,
  usual: () => readonly number[] = () => Array.from({ length: shape.stages }, (_, s) => s),
): { placement: readonly number[]; devices: number } {
  requireShape('a schedule', shape);
  for (const key of ['stages', 'microbatches'] as const) {
    const value = shape[key];
    if (Number.isInteger(value) && value >= 1) continue;
    throw new PlanError('schedule-shape', `a schedule needs at least one of ${key}, got ${shown(value)}`, {
      fields: { [key]: value },
      remedy: `Give ${key} as a whole number from 1.`,
    });
  }
  if (shape.stages * shape.microbatches > MOST_TASKS) {
    const what = `${shape.stages} stages of ${shape.microbatches} microbatches`;
    throw new PlanError('schedule-size', `${what} are more tasks than a schedule lists, ${MOST_TASKS} a kind`, {
      fields: { stages: shape.stages, microbatches: shape.microbatches, most: MOST_TASKS },
      remedy: 'pipelineProgram plays rows that are made as they are read (docs/simulator.md)',
    });
  }
  const placement = shape.placement ?? usual();
  const devices = shape.devices ?? placement.reduce((most, d) => Math.max(most, d), 0) + 1;
  const outside = placement.findIndex((d) => !(Number.isInteger(d) && d >= 0 && d < devices));
  if (placement.length !== shape.stages || outside >= 0) {
    const what =
      placement.length !== shape.stages
        ? `the placement names ${placement.length} stages, the schedule has ${shape.stages}`
        : `the placement puts stage ${outside} on device ${placement[outside]}, which is none of the ${devices}`;
    throw new PlanError('schedule-placement', what, {
      fields: { placement, stages: shape.stages, devices },
      remedy: `Give one device in 0..${Math.max(0, devices - 1)} for each of the ${shape.stages} stages.`,
    });
  }
  return { placement, devices };
}

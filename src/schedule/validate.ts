import { requireKinds } from '../core/options.ts';
import { clockUntilStuck, timesUntilStuck } from './clock.ts';
import type { StageEdge } from './dependencies.ts';
import { walkInFlight } from './in-flight.ts';
import { deadlockError } from './play.ts';
import { gridError, listedProblems, type Problem, rowsError, type ScheduleProblemCode } from './problem.ts';
import { requireSchedule, type Schedule } from './schedule.ts';
import { givesActivationGradient, givesWeightGradient, type Task, type TaskKind, task, taskKey } from './task.ts';
import { isIndex, TaskIndex } from './task-index.ts';

export interface ValidateOptions {
  /** Which stages feed which; default the chain 0→1→2→… */
  readonly dependencies?: readonly StageEdge[];
  /** Microbatches that stage s may hold at once. */
  readonly inFlightBound?: readonly number[];
  /** Microbatches that device d may hold at once, one for every stage that holds it. */
  readonly deviceInFlightBound?: readonly number[];
  /** `training` (default): every F has its backward. `forward`: there are only F. */
  readonly passes?: 'training' | 'forward';
  /** `ordered`: the F of a stage run in microbatch order too, as running statistics need. Default `free`. */
  readonly forwards?: 'free' | 'ordered';
}

const kinds: readonly TaskKind[] = ['F', 'B', 'W', 'BW'];

/**
 * A schedule that passes runs every task once, on the device of its stage, and cannot deadlock; its weight gradients
 * accumulate in microbatch order. Three rounds, each on the ground the one before made firm; a round reports all it finds.
 */
export function validateSchedule(schedule: Schedule, options: ValidateOptions = {}): void {
  requireSchedule(schedule);
  requireKinds('validateSchedule', { options: ['record', options] });
  const shape = shapeProblems(schedule, options);
  if (shape.length > 0) throw rowsError(schedule, shape);

  const index = new TaskIndex(schedule);
  const incomplete = [...completenessProblems(schedule, index, options), ...overlapProblems(schedule)];
  if (incomplete.length > 0) throw gridError(schedule, incomplete, options.dependencies);
  const unordered = [...orderProblems(schedule, options), ...inFlightProblems(schedule, index, options)];
  if (unordered.length > 0) throw gridError(schedule, unordered, options.dependencies);
  if (timesUntilStuck(schedule, options, index).waiting.length > 0) {
    throw deadlockError(schedule, clockUntilStuck(schedule, options));
  }
}

function shapeProblems(
  schedule: Schedule,
  { dependencies = [], inFlightBound, deviceInFlightBound }: ValidateOptions,
): Problem[] {
  const { stages, devices, placement, rows, overlaps } = schedule;
  const problems: Problem[] = [];
  const wrong = (what: string, remedy: string): number =>
    problems.push({ code: 'schedule-placement', what, device: -1, remedy });
  if (rows.length !== devices) wrong(`${rows.length} rows for ${devices} devices`, 'Give one row a device.');
  if (placement.length !== stages) {
    wrong(`a placement of ${placement.length} stages where there are ${stages}`, 'Give one device a stage.');
  }
  placement.forEach((device, stage) => {
    if (isIndex(device, devices)) return;
    wrong(`stage ${stage} is placed on device ${device} of ${devices}`, 'Place every stage on a device that exists.');
  });
  for (const edge of dependencies) {
    if (edge.every((s) => isIndex(s, stages)) && edge[0] !== edge[1]) continue;
    wrong(`dependency ${edge.join(' → ')} does not join two of the ${stages} stages`, 'Correct the dependency.');
  }
  // A schedule may come from a JSON file; all that follows relies on the four kinds.
  rows.forEach((row, device) => {
    row.forEach((t, index) => {
      if (kinds.includes(t.kind)) return;
      const what = `${taskKey(t)} is none of the kinds ${kinds.join(', ')}`;
      const remedy = `Use one of ${kinds.join(', ')}; updates are not scheduled.`;
      problems.push({ code: 'schedule-unknown-kind', what, device, index, task: t, remedy });
    });
  });
  if (inFlightBound !== undefined && inFlightBound.length !== stages) {
    wrong(`${inFlightBound.length} in-flight bounds for ${stages} stages`, 'Give one bound a stage.');
  }
  if (deviceInFlightBound !== undefined && deviceInFlightBound.length !== devices) {
    wrong(`${deviceInFlightBound.length} in-flight bounds for ${devices} devices`, 'Give one bound a device.');
  }
  if (overlaps !== undefined && overlaps.length !== rows.length) {
    wrong(`overlap cells of ${overlaps.length} rows where there are ${rows.length}`, 'Give one list of cells a row.');
  }
  return problems;
}

/** Every task of the step once, on its device, in one form; and nothing else. */
function completenessProblems(schedule: Schedule, tasks: TaskIndex, { passes }: ValidateOptions): Problem[] {
  const { stages, microbatches, placement } = schedule;
  const problems: Problem[] = [];
  schedule.rows.forEach((row, device) => {
    row.forEach((t, index) => {
      const isFirst = tasks.placeOf(t.kind, t.stage, t.microbatch) === tasks.rowStarts[device]! + index;
      const isWhole =
        t.kind !== 'BW' ||
        (tasks.placeOf('B', t.stage, t.microbatch) < 0 && tasks.placeOf('W', t.stage, t.microbatch) < 0);
      if (isFirst && isWhole && placement[t.stage] === device && (passes !== 'forward' || t.kind === 'F')) return;

      const key = taskKey(t);
      const problem = (code: ScheduleProblemCode, what: string, remedy: string, fields = {}): number =>
        problems.push({ code, what, remedy, device, index, task: t, fields });
      if (!tasks.has(t.stage, t.microbatch)) {
        const range = `stages 0..${stages - 1} and microbatches 0..${microbatches - 1}`;
        problem('schedule-out-of-range', `${key} is outside ${range}`, `Use ${range}.`);
        return;
      }
      if (placement[t.stage] !== device) {
        const home = placement[t.stage]!;
        const remedy = `Move ${key} to the row of device ${home}, or change the placement.`;
        problem('schedule-foreign-stage', `${key}: stage ${t.stage} lives on device ${home}`, remedy, {
          expectedDevice: home,
        });
      }
      if (passes === 'forward' && t.kind !== 'F') {
        problem('schedule-unexpected-task', `${key} in a forward-only schedule`, `Remove ${key}.`);
      }
      if (!isFirst) {
        const there = tasks.positionOf(tasks.placeOf(t.kind, t.stage, t.microbatch));
        const what = `${key} already stands on device ${there.device}, place ${there.index}`;
        problem('schedule-duplicate-task', what, `Remove one of the two ${key}.`, { first: there });
      } else if (!isWhole) {
        const parts = partsOf(t, tasks);
        const what = `${key} does the whole backward, but ${parts.join(' and ')} do it in parts`;
        problem('schedule-mixed-backward', what, `Remove ${key}, or ${parts.join(' and ')}.`, { parts });
      }
    });
  });
  for (const missing of missingTasks(schedule, tasks, passes)) {
    const device = placement[missing.stage]!;
    const key = taskKey(missing);
    const remedy = `Add ${key} to the row of device ${device}.`;
    problems.push({ code: 'schedule-missing-task', what: `${key} is missing`, remedy, device, task: missing });
    if (problems.length > listedProblems) break;
  }
  return problems;
}

/** Keys of the B and W that stand beside a BW. */
const partsOf = (t: Task, tasks: TaskIndex): string[] =>
  (['B', 'W'] as const)
    .filter((kind) => tasks.placeOf(kind, t.stage, t.microbatch) >= 0)
    .map((kind) => taskKey({ ...t, kind }));

function* missingTasks(
  { stages, microbatches }: Schedule,
  tasks: TaskIndex,
  passes: ValidateOptions['passes'],
): Generator<Task> {
  for (let stage = 0; stage < stages; stage++) {
    for (let m = 0; m < microbatches; m++) {
      const has = (kind: TaskKind): boolean => tasks.placeOf(kind, stage, m) >= 0;
      if (!has('F')) yield task('F', stage, m);
      if (passes === 'forward' || has('BW')) continue;
      if (!has('B') && !has('W')) yield task('BW', stage, m);
      else if (!has('B')) yield task('B', stage, m);
      else if (!has('W')) yield task('W', stage, m);
    }
  }
}

/** A cell is a forward and a backward, next to each other in the row, of which neither can need the other. */
function overlapProblems({ overlaps, rows }: Schedule): Problem[] {
  const problems: Problem[] = [];
  overlaps?.forEach((cells, device) => {
    const row = rows[device]!;
    let free = 0;
    for (const index of cells) {
      const pair = Number.isInteger(index) && index >= 0 ? row.slice(index, index + 2) : [];
      const [a, b] = pair;
      const problem = (what: string, remedy: string): number =>
        problems.push({
          code: 'schedule-overlap',
          what,
          remedy,
          device,
          ...(a === undefined ? {} : { index, task: a }),
          fields: { cell: pair.map(taskKey) },
        });
      if (a === undefined || b === undefined) {
        problem(`an overlap cell at place ${index}, where there are not two tasks`, 'Remove the cell.');
        continue;
      }
      const name = `(${taskKey(a)};${taskKey(b)})`;
      if (index < free)
        problem(
          `the overlap cell ${name} shares a task with the one before, or is out of order`,
          'Give the cells of a row in order, each with two tasks of its own.',
        );
      else if (
        [a, b].filter((t) => t.kind === 'F').length !== 1 ||
        [a, b].filter(givesActivationGradient).length !== 1
      ) {
        problem(`the overlap cell ${name} is not one forward and one backward`, 'Overlap an F with a B or BW.');
      } else if (a.stage === b.stage && a.microbatch === b.microbatch) {
        problem(
          `the overlap cell ${name} holds a forward and its own backward`,
          `Take the two apart: ${taskKey(b)} reads what ${taskKey(a)} computes.`,
        );
      }
      free = index + 2;
    }
  });
  return problems;
}

/** A stage stands in one row, so its order can be read off there. */
function orderProblems({ stages, microbatches, rows }: Schedule, { forwards }: ValidateOptions): Problem[] {
  const problems: Problem[] = [];
  const hasBackward = new Uint8Array(stages * microbatches);
  const lastGradient = new Array<Task | undefined>(stages);
  const lastForward = new Array<Task | undefined>(stages);
  const inOrder = (
    last: (Task | undefined)[],
    t: Task,
    device: number,
    index: number,
    code: 'schedule-gradient-order' | 'schedule-forward-order',
  ): void => {
    const before = last[t.stage];
    if (before === undefined || before.microbatch < t.microbatch) {
      last[t.stage] = t;
      return;
    }
    const key = taskKey(t);
    const why = code === 'schedule-gradient-order' ? 'weight gradients add up' : 'running statistics are kept';
    const what = `${key} comes after ${taskKey(before)}, but ${why} in microbatch order (it fixes the bits)`;
    problems.push({ code, what, remedy: `Move ${key} before ${taskKey(before)}.`, device, index, task: t });
  };
  rows.forEach((row, device) => {
    row.forEach((t, index) => {
      const slot = t.stage * microbatches + t.microbatch;
      if (t.kind === 'W' && hasBackward[slot] === 0) {
        const key = taskKey(t);
        const own = taskKey({ ...t, kind: 'B' });
        const remedy = `Move ${key} behind ${own}.`;
        const what = `${key} comes before ${own}, whose gradients it reads`;
        problems.push({ code: 'schedule-weight-before-backward', what, remedy, device, index, task: t });
      }
      if (t.kind === 'B') hasBackward[slot] = 1;
      if (givesWeightGradient(t)) inOrder(lastGradient, t, device, index, 'schedule-gradient-order');
      else if (t.kind === 'F' && forwards === 'ordered')
        inOrder(lastForward, t, device, index, 'schedule-forward-order');
    });
  });
  return problems;
}

function inFlightProblems(schedule: Schedule, tasks: TaskIndex, options: ValidateOptions): Problem[] {
  const { inFlightBound: ofStages, deviceInFlightBound: ofDevices } = options;
  if (ofStages === undefined && ofDevices === undefined) return [];
  const problems: Problem[] = [];
  const above = (device: number, index: number, t: Task, inFlight: number, bound: number, holder: string): void => {
    const key = taskKey(t);
    const what = `${key} makes ${inFlight} microbatches in flight on ${holder}, the bound is ${bound}`;
    const remedy = `Run a backward of ${holder} before ${key}, or raise its bound to ${inFlight}.`;
    problems.push({ code: 'schedule-in-flight', what, remedy, device, index, task: t, fields: { inFlight, bound } });
  };
  walkInFlight(
    schedule,
    (device, index, t, ofStage, ofDevice) => {
      if (t.kind !== 'F') return;
      const [stageBound, deviceBound] = [ofStages?.[t.stage] ?? Infinity, ofDevices?.[device] ?? Infinity];
      if (ofStage > stageBound) above(device, index, t, ofStage, stageBound, `stage ${t.stage}`);
      if (ofDevice > deviceBound) above(device, index, t, ofDevice, deviceBound, `device ${device}`);
    },
    tasks,
  );
  return problems;
}

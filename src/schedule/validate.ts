import { clockUntilStuck } from './clock.ts';
import type { StageEdge } from './dependencies.ts';
import { inFlightPoints } from './in-flight.ts';
import { deadlockError } from './play.ts';
import { gridError, listedProblems, type Problem, rowsError, type ScheduleProblemCode } from './problem.ts';
import type { Schedule } from './schedule.ts';
import { givesActivationGradient, givesWeightGradient, type Task, type TaskKind, task, taskKey } from './task.ts';

export interface ValidateOptions {
  /** Which stages feed which; default the chain 0→1→2→… */
  readonly dependencies?: readonly StageEdge[];
  /** Microbatches that stage s may hold at once. */
  readonly inFlightBound?: readonly number[];
  /** `training` (default): every F has its backward. `forward`: there are only F. */
  readonly passes?: 'training' | 'forward';
  /** `ordered`: the F of a stage run in microbatch order too, as running statistics need. Default `free`. */
  readonly forwards?: 'free' | 'ordered';
}

/** A task where it stands. */
interface Place {
  readonly device: number;
  readonly index: number;
  readonly task: Task;
}

const kinds: readonly TaskKind[] = ['F', 'B', 'W', 'BW'];

/**
 * A schedule that passes runs every task once, on the device of its stage, and cannot deadlock; its weight gradients
 * accumulate in microbatch order. Three rounds, each on the ground the one before made firm; a round reports all it finds.
 */
export function validateSchedule(schedule: Schedule, options: ValidateOptions = {}): void {
  const shape = shapeProblems(schedule, options);
  if (shape.length > 0) throw rowsError(schedule, shape);
  const places = schedule.rows.flatMap((row, device) => row.map((t, index): Place => ({ device, index, task: t })));

  const incomplete = completenessProblems(schedule, places, options);
  if (incomplete.length > 0) throw gridError(schedule, incomplete, options.dependencies);
  const unordered = [...orderProblems(places, options), ...inFlightProblems(schedule, options)];
  if (unordered.length > 0) throw gridError(schedule, unordered, options.dependencies);
  const clock = clockUntilStuck(schedule, options);
  if (clock.waiting.length > 0) throw deadlockError(schedule, clock);
}

function shapeProblems(schedule: Schedule, { dependencies = [], inFlightBound }: ValidateOptions): Problem[] {
  const { stages, devices, placement, rows } = schedule;
  const problems: Problem[] = [];
  const wrong = (what: string, remedy: string): number =>
    problems.push({ code: 'schedule-placement', what, device: -1, remedy });
  if (rows.length !== devices) wrong(`${rows.length} rows for ${devices} devices`, 'Give one row a device.');
  if (placement.length !== stages) {
    wrong(`a placement of ${placement.length} stages where there are ${stages}`, 'Give one device a stage.');
  }
  placement.forEach((device, stage) => {
    if (within(device, devices)) return;
    wrong(`stage ${stage} is placed on device ${device} of ${devices}`, 'Place every stage on a device that exists.');
  });
  for (const edge of dependencies) {
    if (edge.every((s) => within(s, stages)) && edge[0] !== edge[1]) continue;
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
  return problems;
}

/** Every task of the step once, on its device, in one form; and nothing else. */
function completenessProblems(schedule: Schedule, places: readonly Place[], { passes }: ValidateOptions): Problem[] {
  const { stages, microbatches, placement } = schedule;
  const problems: Problem[] = [];
  const firsts = new Map<string, Place>();
  for (const place of places) {
    const { device, index, task: t } = place;
    const key = taskKey(t);
    const first = firsts.get(key);
    const problem = (code: ScheduleProblemCode, what: string, remedy: string, fields = {}): number =>
      problems.push({ code, what, remedy, device, index, task: t, fields });
    if (!within(t.stage, stages) || !within(t.microbatch, microbatches)) {
      const range = `stages 0..${stages - 1} and microbatches 0..${microbatches - 1}`;
      problem('schedule-out-of-range', `${key} is outside ${range}`, `Use ${range}.`);
      continue;
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
    if (first !== undefined) {
      const there = { device: first.device, index: first.index };
      const what = `${key} already stands on device ${first.device}, place ${first.index}`;
      problem('schedule-duplicate-task', what, `Remove one of the two ${key}.`, { first: there });
      continue;
    }
    firsts.set(key, place);
  }
  for (const { device, index, task: t } of firsts.values()) {
    const parts = (['B', 'W'] as const).map((k) => taskKey({ ...t, kind: k })).filter((k) => firsts.has(k));
    if (t.kind !== 'BW' || parts.length === 0) continue;
    const what = `${taskKey(t)} does the whole backward, but ${parts.join(' and ')} do it in parts`;
    const remedy = `Remove ${taskKey(t)}, or ${parts.join(' and ')}.`;
    problems.push({ code: 'schedule-mixed-backward', what, remedy, device, index, task: t, fields: { parts } });
  }
  for (const missing of missingTasks(schedule, firsts, passes)) {
    const device = placement[missing.stage]!;
    const remedy = `Add ${taskKey(missing)} to the row of device ${device}.`;
    problems.push({
      code: 'schedule-missing-task',
      what: `${taskKey(missing)} is missing`,
      remedy,
      device,
      task: missing,
    });
    if (problems.length > listedProblems) break;
  }
  return problems;
}

function* missingTasks(
  { stages, microbatches }: Schedule,
  present: ReadonlyMap<string, Place>,
  passes: ValidateOptions['passes'],
): Generator<Task> {
  for (let stage = 0; stage < stages; stage++) {
    for (let m = 0; m < microbatches; m++) {
      const has = (kind: TaskKind): boolean => present.has(taskKey(task(kind, stage, m)));
      if (!has('F')) yield task('F', stage, m);
      if (passes === 'forward' || has('BW')) continue;
      if (!has('B') && !has('W')) yield task('BW', stage, m);
      else if (!has('B')) yield task('B', stage, m);
      else if (!has('W')) yield task('W', stage, m);
    }
  }
}

/** A stage stands in one row, so its order can be read off there. */
function orderProblems(places: readonly Place[], { forwards }: ValidateOptions): Problem[] {
  const problems: Problem[] = [];
  const backwards = new Set<string>();
  const lastGradient = new Map<number, Task>();
  const lastForward = new Map<number, Task>();
  for (const { device, index, task: t } of places) {
    const key = taskKey(t);
    if (t.kind === 'W' && !backwards.has(taskKey({ ...t, kind: 'B' }))) {
      const own = taskKey({ ...t, kind: 'B' });
      const remedy = `Move ${key} behind ${own}.`;
      const what = `${key} comes before ${own}, whose gradients it reads`;
      problems.push({ code: 'schedule-weight-before-backward', what, remedy, device, index, task: t });
    }
    if (givesActivationGradient(t)) backwards.add(key);
    const checks = [
      [givesWeightGradient(t), lastGradient, 'schedule-gradient-order', 'weight gradients add up'],
      [forwards === 'ordered' && t.kind === 'F', lastForward, 'schedule-forward-order', 'running statistics are kept'],
    ] as const;
    for (const [applies, last, code, why] of checks) {
      if (!applies) continue;
      const before = last.get(t.stage);
      if (before !== undefined && before.microbatch > t.microbatch) {
        const what = `${key} comes after ${taskKey(before)}, but ${why} in microbatch order (it fixes the bits)`;
        problems.push({ code, what, remedy: `Move ${key} before ${taskKey(before)}.`, device, index, task: t });
      } else last.set(t.stage, t);
    }
  }
  return problems;
}

function inFlightProblems(schedule: Schedule, { inFlightBound }: ValidateOptions): Problem[] {
  if (inFlightBound === undefined) return [];
  return inFlightPoints(schedule).flatMap(({ device, index, task: t, ofStage }): Problem[] => {
    const bound = inFlightBound[t.stage]!;
    if (t.kind !== 'F' || ofStage <= bound) return [];
    const what = `${taskKey(t)} makes ${ofStage} microbatches in flight on stage ${t.stage}, the bound is ${bound}`;
    const remedy = `Run a backward of stage ${t.stage} before ${taskKey(t)}, or raise its bound to ${ofStage}.`;
    return [{ code: 'schedule-in-flight', what, remedy, device, index, task: t, fields: { inFlight: ofStage, bound } }];
  });
}

const within = (n: number, count: number): boolean => Number.isInteger(n) && n >= 0 && n < count;

import { PlanError } from '../core/errors.ts';
import { requirementsOf } from './dependencies.ts';
import { playClock } from './play.ts';
import type { Schedule, ScheduleShape } from './schedule.ts';
import { type Task, taskKey } from './task.ts';

/** A rule that orders each stage by itself: the tasks of stage s of p, for M microbatches. */
export type StageRule = (s: number, p: number, M: number) => Task[];

/** The schedule of such a rule under any placement. Devices that own several stages interleave their rows. */
export function fromStageRule(name: string, shape: ScheduleShape, rule: StageRule): Schedule {
  const { stages, microbatches } = shape;
  const { placement, devices } = checkShape(shape);
  const own: Schedule = {
    name,
    stages,
    microbatches,
    devices: stages,
    placement: placement.map((_, s) => s),
    rows: placement.map((_, s) => rule(s, stages, microbatches)),
  };
  return { ...own, devices, placement, rows: mergeStageRows(own, placement, devices) };
}

/**
 * Merges the rows of stages that share a device by playing them: at each clock a device takes, of its stages' next
 * tasks that are ready, the one that runs earliest when every stage has a device of its own (ties: backward first,
 * which frees memory; then the later stage, whose users wait longest). Each stage keeps its own order, hence its
 * in-flight bound and its bits. The merged rows cannot deadlock: they are the record of a run that ended, and some
 * task is ready at every clock because the rows of the stages alone can be played.
 */
export function mergeStageRows(own: Schedule, placement: readonly number[], devices: number): Task[][] {
  const alone = playClock(own);
  const requires = requirementsOf(own);
  const done = new Set<string>();
  const next = own.rows.map(() => 0);
  const rows: Task[][] = Array.from({ length: devices }, () => []);
  const total = own.rows.reduce((n, row) => n + row.length, 0);
  const sooner = (a: number, b: number): number => {
    const [ta, tb] = [alone.rows[a]![next[a]!]!, alone.rows[b]![next[b]!]!];
    return ta.start - tb.start || Number(ta.task.kind === 'F') - Number(tb.task.kind === 'F') || b - a;
  };
  while (done.size < total) {
    const chosen = new Map<number, number>();
    own.rows.forEach((row, stage) => {
      const candidate = row[next[stage]!];
      if (candidate === undefined || !requires(candidate).every((t) => done.has(taskKey(t)))) return;
      const device = placement[stage]!;
      const rival = chosen.get(device);
      if (rival === undefined || sooner(stage, rival) < 0) chosen.set(device, stage);
    });
    // Only now: a task that ends at this clock is of use from the next on.
    for (const [device, stage] of chosen) {
      const taken = own.rows[stage]![next[stage]!++]!;
      rows[device]!.push(taken);
      done.add(taskKey(taken));
    }
  }
  return rows;
}

export function checkShape(shape: ScheduleShape): { placement: readonly number[]; devices: number } {
  for (const key of ['stages', 'microbatches'] as const) {
    const value = shape[key];
    if (Number.isInteger(value) && value >= 1) continue;
    throw new PlanError('schedule-shape', `a schedule needs at least one of ${key}, got ${value}`, {
      fields: { [key]: value },
      remedy: `Give ${key} as a whole number from 1.`,
    });
  }
  const placement = shape.placement ?? Array.from({ length: shape.stages }, (_, s) => s);
  const devices = shape.devices ?? Math.max(...placement) + 1;
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

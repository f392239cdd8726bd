import type { Plan } from '../../src/plan/plan.ts';
import type { Schedule, StageEdge } from '../../src/schedule/index.ts';
import { type Task, task, taskKey } from '../../src/schedule/task.ts';
import { Choices } from './random-model.ts';

export interface RandomScheduleShape {
  readonly microbatches: number;
  readonly placement: readonly number[];
  readonly devices: number;
  readonly edges: readonly StageEdge[];
  /** Forwards of a stage in microbatch order, as running statistics need. Default: any order. */
  readonly ordered?: boolean;
}

/**
 * A random valid schedule of a training step: a random linear extension of what the tasks need, cut into the devices' rows.
 * Whether a backward is split is drawn for every stage and microbatch by itself; only weight gradients keep their order.
 */
export function randomSchedule(shape: RandomScheduleShape, seed: number): Schedule {
  const { microbatches, placement, devices, edges, ordered } = shape;
  const choices = new Choices(seed);
  const stages = placement.length;
  const isSplit = placement.map(() => Array.from({ length: microbatches }, () => choices.below(3) > 0));
  const gives = (s: number, m: number): Task => task(isSplit[s]![m] ? 'B' : 'BW', s, m);
  const adds = (s: number, m: number): Task => task(isSplit[s]![m] ? 'W' : 'BW', s, m);
  const needs = ({ kind, stage: s, microbatch: m }: Task): Task[] => [
    ...(kind === 'F' ? edges.flatMap(([from, to]) => (to === s ? [task('F', from, m)] : [])) : []),
    ...(kind === 'F' && ordered && m > 0 ? [task('F', s, m - 1)] : []),
    ...(kind === 'B' || kind === 'BW' ? [task('F', s, m)] : []),
    ...(kind === 'B' || kind === 'BW' ? edges.flatMap(([from, to]) => (from === s ? [gives(to, m)] : [])) : []),
    ...(kind === 'W' ? [task('B', s, m)] : []),
    ...((kind === 'W' || kind === 'BW') && m > 0 ? [adds(s, m - 1)] : []),
  ];
  let left: Task[] = placement.flatMap((_, s) =>
    Array.from({ length: microbatches }, (_, m) => [
      task('F', s, m),
      gives(s, m),
      ...(isSplit[s]![m] ? [adds(s, m)] : []),
    ]).flat(),
  );
  const done = new Set<string>();
  const rows: Task[][] = Array.from({ length: devices }, () => []);
  while (left.length > 0) {
    const ready = left.filter((t) => needs(t).every((n) => done.has(taskKey(n))));
    const next = choices.pick(ready);
    done.add(taskKey(next));
    rows[placement[next.stage]!]!.push(next);
    left = left.filter((t) => t !== next);
  }
  return { name: `random ${seed}`, stages, devices, microbatches, placement, rows };
}

/** One for a plan's first program. */
export function randomScheduleFor(plan: Plan, seed: number): Schedule {
  const [main] = Object.keys(plan.programs);
  const { placement, devices, microbatches } = plan.schedules[main!]!;
  const ordered = plan.graphs[main!]!.nodes.some((n) => n.op?.accumulates && n.pass === 0);
  return randomSchedule({ microbatches, placement, devices, edges: plan.stageEdges, ordered }, seed);
}

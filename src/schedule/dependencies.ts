import type { Schedule } from './schedule.ts';
import { type Task, task } from './task.ts';
import { TaskIndex } from './task-index.ts';

/** Activations flow from one stage into another (and gradients back). */
export type StageEdge = readonly [from: number, to: number];

/** 0→1→2→…: what a sequential model needs; every edge from a lower to a higher stage is implied by it. */
export const chainEdges = (stages: number): StageEdge[] =>
  Array.from({ length: Math.max(0, stages - 1) }, (_, s) => [s, s + 1] as const);

/**
 * What each task waits for:
 *   F(s)      the F of every stage before s
 *   B, BW(s)  its own F (saved activations), and the B or BW of every stage after s
 *   W(s)      its own B
 * all of the same microbatch.
 */
export function requirementsOf(
  schedule: Schedule,
  edges: readonly StageEdge[] = chainEdges(schedule.stages),
): (t: Task) => Task[] {
  const { before, after } = neighbours(edges);
  const index = new TaskIndex(schedule);
  // Split or not is a choice per stage and microbatch, so the form in which a gradient comes is looked up.
  const backward = (stage: number, m: number): Task => task(index.placeOf('BW', stage, m) >= 0 ? 'BW' : 'B', stage, m);
  return ({ kind, stage, microbatch }) => {
    switch (kind) {
      case 'F':
        return (before.get(stage) ?? []).map((s) => task('F', s, microbatch));
      case 'B':
      case 'BW':
        return [task('F', stage, microbatch), ...(after.get(stage) ?? []).map((s) => backward(s, microbatch))];
      case 'W':
        return [backward(stage, microbatch)];
    }
  };
}

/** Where a task's requirements stand, for loops over millions: fills `places` and returns how many there are. */
export type RequiredPlaces = (t: Task, places: number[]) => number;

/** The same rules as `requirementsOf` gives, as places of the index; −1 for a task that stands nowhere. */
export function requiredPlaces(
  index: TaskIndex,
  stages: number,
  edges: readonly StageEdge[] | undefined,
): RequiredPlaces {
  const { before, after } = neighbours(edges ?? chainEdges(stages));
  return ({ kind, stage, microbatch }, places) => {
    // A task outside the schedule needs nothing: it is the validator's to report, and grids show it where it stands.
    if (!index.has(stage, microbatch)) return 0;
    let n = 0;
    if (kind === 'F') for (const s of before.get(stage) ?? []) places[n++] = index.placeOf('F', s, microbatch);
    else if (kind === 'W') places[n++] = index.backwardPlaceOf(stage, microbatch);
    else {
      places[n++] = index.placeOf('F', stage, microbatch);
      for (const s of after.get(stage) ?? []) places[n++] = index.backwardPlaceOf(s, microbatch);
    }
    return n;
  };
}

interface Neighbours {
  readonly before: ReadonlyMap<number, readonly number[]>;
  readonly after: ReadonlyMap<number, readonly number[]>;
}

function neighbours(edges: readonly StageEdge[]): Neighbours {
  const before = new Map<number, number[]>();
  const after = new Map<number, number[]>();
  const add = (map: Map<number, number[]>, key: number, value: number): void => {
    const list = map.get(key);
    if (list === undefined) map.set(key, [value]);
    else list.push(value);
  };
  for (const [from, to] of edges) {
    add(before, to, from);
    add(after, from, to);
  }
  return { before, after };
}

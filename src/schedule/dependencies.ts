import type { Schedule } from './schedule.ts';
import { givesActivationGradient, type Task, task, taskKey } from './task.ts';

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
  const before = new Map<number, number[]>();
  const after = new Map<number, number[]>();
  for (const [from, to] of edges) {
    before.set(to, [...(before.get(to) ?? []), from]);
    after.set(from, [...(after.get(from) ?? []), to]);
  }
  const present = new Set(schedule.rows.flat().filter(givesActivationGradient).map(taskKey));
  // Split or not is a choice per stage and microbatch, so the form in which a gradient comes is looked up.
  const backward = (stage: number, microbatch: number): Task => {
    const both = task('BW', stage, microbatch);
    return present.has(taskKey(both)) ? both : task('B', stage, microbatch);
  };
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

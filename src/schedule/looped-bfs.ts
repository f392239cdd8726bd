import type { Rule } from './placed.ts';
import { type Task, task } from './task.ts';

/**
 * Breadth first (Lamy-Poirier, Breadth-First Pipeline Parallelism, 2023, §4): gpipe with v stages a device, looped. A
 * device runs all microbatches through its first stage, then all through its second; backwards the same from the last. A
 * v-th of gpipe's bubble, and all M microbatches in memory. As in gpipe, backwards run in microbatch order.
 *
 *     device 0  0F0
 */
export const loopedBfs: Rule = {
  name: 'looped-bfs',
  placement: 'looped',
  stagesPerDevice: 2,
  rows: (stages, devices, M) => ({
    rows: Array.from({ length: devices }, (_, r) => {
      const own = Array.from({ length: stages / devices }, (_, c) => c * devices + r);
      const all = (kind: Task['kind'], s: number): Task[] => Array.from({ length: M }, (_, m) => task(kind, s, m));
      return [...own.flatMap((s) => all('F', s)), ...own.reverse().flatMap((s) => all('BW', s))];
    }),
  }),
};

import type { Rule } from './placed.ts';
import { type Task, task } from './task.ts';

/**
 * Breadth first (Lamy-Poirier, Breadth-First Pipeline Parallelism, 2023, §4): gpipe with v stages a device, looped. A
 * device runs all microbatches through its first stage, then all through its second; backwards the same from the last. A
 * v-th of gpipe's bubble, and all M microbatches in memory. As in gpipe, backwards run in microbatch order.
 *
 *     device 0  0F0 0F1 0F2 3F0 3F1 3F2 ..  ..  ..  ..  3B0 3B1 3B2 0B0 0B1 0B2
 *     device 1  ..  1F0 1F1 1F2 4F0 4F1 4F2 ..  ..  4B0 4B1 4B2 1B0 1B1 1B2 ..
 *     device 2  ..  ..  2F0 2F1 2F2 5F0 5F1 5F2 5B0 5B1 5B2 2B0 2B1 2B2 ..  ..
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

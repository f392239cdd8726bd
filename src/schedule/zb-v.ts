import { keepTasks, type Rule } from './placed.ts';
import { type Task, task } from './task.ts';

/**
 * ZB-V (Qi et al., ICLR 2024, §6): two stages a device, laid out and back, so that a device that begins a microbatch also
 * ends it. No bubble between a device's first and last task where F = B = W, and never more than p microbatches of a whole
 * device in memory (2p of single stages), as 1F1B's first device has.
 *
 *     device 0  0F0
 */
export const zbV: Rule = {
  name: 'zb-v',
  placement: 'v',
  stagesPerDevice: 2,
  fixed: true,
  // The rule needs 2p − 1 microbatches; those that are not there leave gaps.
  rows: (_stages, p, M) => {
    const n = Math.max(M, 2 * p - 1);
    const rows = Array.from({ length: p }, (_, r) => zbVRow(r, p, n));
    return keepTasks({ rows }, (t) => t.microbatch < M);
  },
};

/** Device r of p: `out` is its stage on the way out, `back` the one on the way back. */
function zbVRow(r: number, p: number, n: number): Task[] {
  const [out, back] = [r, 2 * p - 1 - r];
  const row: Task[] = [];
  const count = { F: [0, 0], B: [0, 0], W: [0, 0] };
  const take = (kind: 'F' | 'B' | 'W', stage: number): void => {
    const counts = count[kind];
    row.push(task(kind, stage, counts[stage === out ? 0 : 1]!++));
  };
  const repeat = (times: number, ...tasks: (readonly ['F' | 'B' | 'W', number])[]): void => {
    for (let i = 0; i < times; i++) for (const t of tasks) take(...t);
  };
  // Warm-up: fill the way out, then take what comes back, then end what came back.
  repeat(2 * (p - r) - 1, ['F', out]);
  repeat(r, ['F', back], ['F', out]);
  repeat(p - r, ['F', back], ['B', back], ['W', back]);
  // Steady: a microbatch out, one back.
  repeat(n - 2 * p + r + 1, ['F', out], ['B', out], ['W', out], ['F', back], ['B', back], ['W', back]);
  repeat(p - 1 - r, ['B', out], ['W', out], ['F', back], ['B', back], ['W', back]);
  // Cool-down: gradients that others wait for first, weights in the gaps.
  repeat(r, ['B', out], ['B', back]);
  repeat(p - r, ['B', out], ['W', out]);
  repeat(r, ['W', back]);
  repeat(r, ['W', out]);
  return row;
}

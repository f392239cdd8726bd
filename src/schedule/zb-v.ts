import { keepTasks, type Rule } from './placed.ts';
import { type Task, task } from './task.ts';

/**
 * ZB-V (Qi et al., ICLR 2024, §6): two stages a device, laid out and back, so that a device that begins a microbatch also
 * ends it. No bubble between a device's first and last task where F = B = W, and never more than p microbatches of a whole
 * device in memory (2p of single stages), as 1F1B's first device has.
 *
 *     device 0  0F0 0F1 0F2 3F0 3B0 3W0 3F1 3B1 3W1 0F3 0B0 0W0 3F2 3B2 3W2 0B1 0W1 3F3 3B3 3W3 0B2 0W2 0B3 0W3 ..
 *     device 1  ..  1F0 2F0 1F1 2F1 2B0 2W0 1F2 1B0 1W0 2F2 2B1 2W1 1F3 1B1 1W1 2F3 2B2 2W2 1B2 2B3 1B3 1W2 2W3 1W3
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

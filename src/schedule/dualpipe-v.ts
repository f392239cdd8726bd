import { keepTasks, type Rule } from './placed.ts';
import { type Task, type TaskKind, task } from './task.ts';

/**
 * DualPipe-V: the bidirectional pipeline of DeepSeek-V3 (DeepSeek-AI, 2024, §3.2.1) cut in half, as its authors publish it
 * (DualPipeV). Two stages a device, laid out and back; in the steady state a forward of one stage and a backward of the
 * other are one overlap cell, on devices that can communicate for the one while they compute the other. Only the first
 * and last backwards are split. A device holds 2p + 1 microbatches of single stages.
 *
 *     device 0  0F0 0F1 0F2 3F0 3B0 3W0 3F1 0F3+3B1 3F2+0B0 0F4+3B2 3F3+0B1 3B3 ..  3F4+0B2 3B4 0B3 0W3 0B4 0W4
 *     device 1  ..  1F0 2F0 1F1 2F1 1F2 2B0 2F2+1B0 1F3+2B1 2F3+1B1 1F4+2B2 2F4+1B2 2B3 1B3 ..  2B4 1B4 2W4 1W4
 */
export const dualpipeV: Rule = {
  name: 'dualpipe-v',
  placement: 'v',
  stagesPerDevice: 2,
  fixed: true,
  // The rule needs 2p microbatches; those that are not there leave gaps, and their cells are plain tasks.
  rows: (_stages, p, M) => {
    const made = Array.from({ length: p }, (_, r) => dualpipeVRow(r, p, Math.max(M, 2 * p)));
    const whole = { rows: made.map(({ row }) => row), overlaps: made.map(({ cells }) => cells) };
    return keepTasks(whole, (t) => t.microbatch < M);
  },
};

/** Device r of p: `out` is its stage on the way out, `back` the one on the way back. */
function dualpipeVRow(r: number, p: number, n: number): { row: Task[]; cells: number[] } {
  const [out, back] = [r, 2 * p - 1 - r];
  const row: Task[] = [];
  const cells: number[] = [];
  const forwards = [0, 0];
  const backwards = [0, 0];
  const pending: Task[] = [];
  const side = (stage: number): number => (stage === out ? 0 : 1);
  const forward = (stage: number): number => row.push(task('F', stage, forwards[side(stage)]!++));
  const backward = (stage: number, kind: TaskKind = 'BW'): void => {
    const m = backwards[side(stage)]!++;
    row.push(task(kind, stage, m));
    if (kind === 'B') pending.push(task('W', stage, m));
  };
  const weights = (): number => row.push(pending.shift()!);
  const cell = (f: number, b: number): void => {
    cells.push(row.length);
    forward(f);
    backward(b);
  };
  const repeat = (times: number, body: (i: number) => void): void => {
    for (let i = 0; i < times; i++) body(i);
  };
  const behind = p - 1 - r;

  repeat(2 * behind, () => forward(out));
  repeat(r + 1, () => {
    forward(out);
    forward(back);
  });
  repeat(behind, () => {
    backward(back, 'B');
    weights();
    forward(back);
  });
  repeat(n - 2 * p + r + 1, (i) => {
    if (i > 0 || behind > 0) cell(out, back);
    else {
      // The last device has nobody to wait for yet: begun at once, its first backward is out earlier.
      forward(out);
      backward(back);
    }
    cell(back, out);
  });
  repeat(behind, () => {
    backward(back);
    cell(back, out);
  });
  // The second half of what is left is split: weights fill the gaps of the cool-down.
  repeat(2 * (r + 1), (i) => backward(i % 2 === 0 ? back : out, i > r ? 'B' : 'BW'));
  repeat(behind, () => {
    weights();
    backward(out, 'B');
  });
  repeat(r + 1, weights);
  return { row, cells };
}

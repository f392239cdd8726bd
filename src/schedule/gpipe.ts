import { type StageRule, stageRule } from './stage-rows.ts';
import { type Task, task } from './task.ts';

/**
 * All forwards, then all backwards (Huang et al., GPipe, 2019). Every stage holds M microbatches at its peak.
 * Backwards run in microbatch order too, where the paper reverses them: the order of accumulation fixes the bits.
 *
 *     device 0  F0 F1 F2 F3 .. .. .. .. B0 B1 B2 B3
 *     device 1  .. F0 F1 F2 F3 .. .. B0 B1 B2 B3 ..
 *     device 2  .. .. F0 F1 F2 F3 B0 B1 B2 B3 .. ..
 */
const gpipeRow: StageRule = (s, _p, M) => {
  const row: Task[] = [];
  for (let m = 0; m < M; m++) row.push(task('F', s, m));
  for (let m = 0; m < M; m++) row.push(task('BW', s, m));
  return row;
};

export const gpipe = stageRule('gpipe', gpipeRow);

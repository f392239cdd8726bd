import { type StageRule, stageRule } from './stage-rows.ts';
import { type Task, task } from './task.ts';

/**
 * Stage s runs w = min(p − s, M) forwards, then a backward before every further forward (Narayanan et al.,
 * PipeDream-Flush, 2021, §2.2). As fast as gpipe, but no stage ever holds more than its w microbatches.
 *
 *     device 0  F0 F1 F2 F3 .. .. .. B0 F4 B1 F5 B2 .. B3 .. B4 .. B5
 *     device 1  .. F0 F1 F2 .. .. B0 F3 B1 F4 B2 F5 B3 .. B4 .. B5 ..
 *     device 2  .. .. F0 F1 .. B0 F2 B1 F3 B2 F4 B3 F5 B4 .. B5 .. ..
 *     device 3  .. .. .. F0 B0 F1 B1 F2 B2 F3 B3 F4 B4 F5 B5 .. .. ..
 */
const oneFOneBRow: StageRule = (s, p, M) => {
  const w = Math.min(p - s, M);
  const row: Task[] = [];
  for (let m = 0; m < M + w; m++) {
    if (m >= w) row.push(task('BW', s, m - w));
    if (m < M) row.push(task('F', s, m));
  }
  return row;
};

export const oneFOneB = stageRule('1f1b', oneFOneBRow);

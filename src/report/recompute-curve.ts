/** Memory against time of a plan's ways to compute again, as people read it. */
import { formatBytes, formatFlops, formatPercent, formatSeconds } from '../core/format.ts';
import type { CurvePoint } from '../plan/recompute-curve.ts';
import { table } from './table.ts';

export function printRecomputeCurve(points: readonly CurvePoint[]): string {
  const body = table(
    ['recompute', 'capacity', 'largest peak', 'step', 'more time', 'FLOPs again a step'],
    points.map((p) => [
      p.mode === 'sqrt' ? '√n checkpoints' : p.mode,
      p.budgetBytes === null ? 'as needed' : formatBytes(p.budgetBytes),
      formatBytes(p.peakBytes),
      formatSeconds(p.stepSeconds),
      formatPercent(p.overhead),
      formatFlops(p.flopsAgain),
    ]),
    { align: ['left', 'right', 'right', 'right', 'right', 'right'] },
  );
  return `Recompute on one partition, step time against the capacity of every device:\n${body}`;
}

/** Memory against time of a plan's ways to compute again, as people read it. */
import { formatBytes, formatFlops, formatPercent, formatSeconds } from '../core/format.ts';
import type { CurvePoint } from '../plan/recompute-curve.ts';
import { table } from './table.ts';

/** `capacities`: those that the devices have; the fastest way within the least of them is told. */
export function printRecomputeCurve(points: readonly CurvePoint[], capacities: readonly number[] = []): string {
  const body = table(
    ['recompute', 'capacity', 'largest peak', 'step', 'more time', 'FLOPs again a step'],
    points.map((p) => [
      nameOf(p),
      p.budgetBytes === null ? 'as needed' : formatBytes(p.budgetBytes),
      formatBytes(p.peakBytes),
      formatSeconds(p.stepSeconds),
      formatPercent(p.overhead),
      formatFlops(p.flopsAgain),
    ]),
    { align: ['left', 'right', 'right', 'right', 'right', 'right'] },
  );
  const lines = ['Recompute on one partition, step time against the capacity of every device:', body];
  const [whole] = points;
  if (points.every((p) => p.peakBytes >= whole!.peakBytes))
    lines.push(
      'No way needs less than keeping everything: the largest peak holds nothing that could be computed again',
    );
  if (capacities.length > 0) lines.push(withinLine(points, Math.min(...capacities)));
  return lines.join('\n');
}

const nameOf = ({ mode }: CurvePoint): string => (mode === 'sqrt' ? '√n checkpoints' : mode);

function withinLine(points: readonly CurvePoint[], capacity: number): string {
  const within = points.filter((p) => p.peakBytes <= capacity);
  if (within.length === 0) return `Within ${formatBytes(capacity)} a device: none of these, on this partition`;
  const best = within.reduce((a, b) => (b.stepSeconds < a.stepSeconds ? b : a));
  return `Within ${formatBytes(capacity)} a device: ${nameOf(best)}, ${formatPercent(best.overhead)} more time`;
}

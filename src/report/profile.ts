/** A profile as people read it. */
import { formatPercent, formatSeconds } from '../core/format.ts';
import type { MachineCosts } from '../cost/machine.ts';
import type { ProfileBreakdown, ProfileRow } from '../profile/breakdown.ts';
import type { RecordedSteps } from '../profile/record.ts';
import { table } from './table.ts';

const rate = (perSecond: number): string => (perSecond / 1e9).toFixed(perSecond < 1e10 ? 2 : 1);

/** `rows`: how many shapes are listed, the largest first. */
export function printProfile(
  { stepSeconds, overheadShare, devices, ops, kernels, shapes }: ProfileBreakdown,
  { counted }: RecordedSteps,
  machine: MachineCosts,
  { rows = 20 }: { rows?: number } = {},
): string {
  const columns = ['runs', 'a step', 'share', 'GFLOP/s', 'GB/s', 'of roofline'];
  const cells = (row: ProfileRow) => [
    row.name,
    row.runs,
    formatSeconds(row.seconds),
    formatPercent(row.share),
    rate(row.flopsPerSecond),
    rate(row.bytesPerSecond),
    formatPercent(row.roofline, 0),
  ];
  const list = (what: string, of: readonly ProfileRow[]) => table([what, ...columns], of.map(cells));
  const { flopsPerSecond, bytesPerSecond, secondsPerKernel } = machine.device;
  const disturbed = counted.undisturbed ? '' : ', the least disturbed ones: the machine was busy';
  return [
    `A step: ${formatSeconds(stepSeconds)} (median; ${counted.steps} of ${counted.of} steps counted${disturbed})`,
    table(
      ['device', 'backend', 'busy', 'kernels', 'copies', 'exchange and waiting', 'overhead'],
      devices.map((d) => [
        d.device,
        d.backend,
        formatSeconds(d.busySeconds),
        formatSeconds(d.computeSeconds),
        formatSeconds(d.copySeconds),
        formatSeconds(d.exchangeSeconds),
        formatSeconds(d.overheadSeconds),
      ]),
    ),
    `Overhead, between instructions: ${formatPercent(overheadShare)} of the devices' work`,
    list('op', ops),
    list('kernels', kernels),
    list(shapes.length > rows ? `shape (${rows} of ${shapes.length})` : 'shape', shapes.slice(0, rows)),
    `Roofline of this machine: ${rate(flopsPerSecond)} GFLOP/s, ${rate(bytesPerSecond)} GB/s, ${formatSeconds(secondsPerKernel)} a kernel`,
  ].join('\n\n');
}

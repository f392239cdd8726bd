/** A profile as people read it. */
import { formatPercent, formatSeconds } from '../core/format.ts';
import type { MachineCosts } from '../cost/machine.ts';
import type { ProfileBreakdown, ProfileRow } from '../profile/breakdown.ts';
import type { RecordedSteps } from '../profile/record.ts';
import { table } from './table.ts';

const rate = (perSecond: number): string => (perSecond / 1e9).toFixed(perSecond < 1e10 ? 2 : 1);

const orNull = (value: number | null, form: (value: number) => string) => (value === null ? null : form(value));

/** Beside times of devices that do not add up. */
export const notAddingUp =
  'The machine was busy: busy times are medians, those of instructions lower quartiles, so that a row need not add up.';

/** Beside shares of the roofline. */
export const countedWork =
  "FLOPs and bytes are the op's own count, a convolution's padding included; what neither computes nor moves anything has none.";

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
    orNull(row.flopsPerSecond, rate),
    orNull(row.bytesPerSecond, rate),
    orNull(row.roofline, (v) => formatPercent(v, 0)),
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
    ...(counted.undisturbed ? [] : [notAddingUp]),
    `Overhead, between instructions: ${formatPercent(overheadShare)} of the devices' work`,
    list('op', ops),
    list('kernels', kernels),
    list(shapes.length > rows ? `shape (${rows} of ${shapes.length})` : 'shape', shapes.slice(0, rows)),
    `Roofline of this machine: ${rate(flopsPerSecond)} GFLOP/s (of our own products), ${rate(bytesPerSecond)} GB/s, ${formatSeconds(secondsPerKernel)} a kernel\n${countedWork}`,
  ].join('\n\n');
}

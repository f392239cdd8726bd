/** A placement as people read it. */
import { formatBytes, formatPercent, formatSeconds, formatValue } from '../core/format.ts';
import { PlacementState } from '../partition/placement-load.ts';
import { gapOfPlacement, type Placement, type PlacementProblem } from '../partition/problem.ts';
import { type Cell, table } from './table.ts';

/** A method's result beside the one that is shown; null: what it finds does not fit, or cannot run. */
export interface ComparedMethod {
  readonly method: string;
  readonly doc: string;
  readonly objective: number | null;
  readonly seconds: number;
}

/** `0`, `1`, … for accelerators, `cpu0`, … for CPUs. */
export function deviceNames({ devices }: PlacementProblem): (number | string)[] {
  let [accelerators, cpus] = [0, 0];
  return devices.map((d) => (d.kind === 'cpu' ? `cpu${cpus++}` : accelerators++));
}

export function printPlacement(
  title: string,
  problem: PlacementProblem,
  placement: Placement,
  compared: readonly ComparedMethod[],
): string {
  const { objective, lowerBound, method, seconds } = placement;
  const gap = gapOfPlacement(placement);
  const time = (x: number): string => withUnit(x, problem.unit);
  const quality = gap <= 1e-9 ? 'optimal' : `bound ${time(lowerBound)}, gap ${formatPercent(gap, 2)}`;
  return [
    `${title}\nlargest load ${time(objective)} (${quality}) by ${method} in ${formatSeconds(seconds)}`,
    deviceTable(problem, placement),
    ...(compared.length > 0 ? [compareTable(placement, compared, time)] : []),
  ].join('\n\n');
}

const barWidth = 30;

function deviceTable(problem: PlacementProblem, { deviceOf, loads, objective }: Placement): string {
  const state = new PlacementState(problem, deviceOf);
  const names = deviceNames(problem);
  const rows = problem.devices.map(({ capacity, linkSpeed }, d): Cell[] => {
    const { incoming, outgoing } = state.transfers(d);
    const blocks = objective > 0 ? Math.round((barWidth * loads[d]!) / objective) : 0;
    const bytes = formatBytes(Math.round(state.bytes(d)));
    return [
      typeof names[d] === 'number' ? `device ${names[d]}` : names[d]!,
      deviceOf.filter((of) => of === d).length,
      withUnit(loads[d]!, problem.unit),
      '█'.repeat(blocks).padEnd(barWidth, '░'),
      withUnit(state.work(d), problem.unit),
      withUnit(incoming / linkSpeed, problem.unit),
      withUnit(outgoing / linkSpeed, problem.unit),
      Number.isFinite(capacity) ? `${bytes} of ${formatBytes(Math.floor(capacity))}` : bytes,
    ];
  });
  return table(['', 'parts', 'load', '', 'work', 'in', 'out', 'memory'], rows, {
    align: ['left', 'right', 'right', 'left', 'right', 'right', 'right', 'right'],
  });
}

function compareTable(placement: Placement, compared: readonly ComparedMethod[], time: (x: number) => string): string {
  const rows = [
    { method: placement.method, doc: 'this placement', objective: placement.objective, seconds: placement.seconds },
    ...compared,
  ].map(({ method, doc, objective, seconds }): Cell[] => [
    method,
    objective === null ? 'not possible' : time(objective),
    objective === null ? '' : formatValue(objective / placement.objective, 4),
    formatSeconds(seconds),
    doc,
  ]);
  return table(['method', 'largest load', 'ratio', 'time', ''], rows, {
    align: ['left', 'right', 'right', 'right', 'left'],
  });
}

const withUnit = (x: number, unit: string): string =>
  unit === 's' ? formatSeconds(x) : `${formatValue(x)}${unit && ` ${unit}`}`;

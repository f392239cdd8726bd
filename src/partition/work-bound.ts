import { workOn } from './placement-load.ts';
import type { Part, PlacementProblem } from './problem.ts';

/**
 * Parts in units that any device works off at a fixed rate at most: `units[p] ≤ rate[d] · work of p on d` for all p and d.
 * The units of some parts over the rates of some devices are a bound for the largest load among these devices.
 */
export interface WorkUnits {
  readonly units: Float64Array;
  readonly rates: Float64Array;
}

/**
 * Units are the times on an accelerator of speed 1, or where a part cannot run there, those on the CPU at the rate of the
 * part that gains most from it.
 */
export function workUnits({ parts, devices }: PlacementProblem): WorkUnits {
  const finite = (x: number): boolean => x < Number.POSITIVE_INFINITY;
  const cpuWork = parts.map((p) => p.cpuWork ?? p.work);
  const hasCpu = devices.some((d) => d.kind === 'cpu');
  const hasAccelerator = devices.some((d) => d.kind === 'accelerator');
  const both = parts.map((_, p) => p).filter((p) => finite(parts[p]!.work) && finite(cpuWork[p]!) && cpuWork[p]! > 0);
  const gain = hasCpu && hasAccelerator ? both.reduce((most, p) => Math.max(most, parts[p]!.work / cpuWork[p]!), 0) : 1;
  const units = Float64Array.from(parts, ({ work }, p) => {
    if (!hasCpu) return work;
    if (!hasAccelerator) return cpuWork[p]!;
    if (cpuWork[p] === 0) return 0;
    return finite(work) ? work : cpuWork[p]! * gain;
  });
  const rates = Float64Array.from(devices, (d) => (d.kind === 'cpu' ? gain : 1) * d.speed);
  return { units, rates };
}

/** For any placement: all work shared by all devices without transfers, and the part that takes longest wherever it lies. */
export function workBound(problem: PlacementProblem): number {
  const { units, rates } = workUnits(problem);
  const sum = (xs: Float64Array): number => xs.reduce((a, b) => a + b, 0);
  const shortest = (part: Part): number =>
    problem.devices.reduce((least, d) => Math.min(least, workOn(part, d)), Number.POSITIVE_INFINITY);
  const longest = problem.parts.reduce((most, part) => Math.max(most, shortest(part)), 0);
  const shared = sum(rates) > 0 ? sum(units) / sum(rates) : 0;
  return Math.max(shared, longest) * (1 - 1e-12); // sums round
}

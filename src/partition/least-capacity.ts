import { searchable } from './ideal-method.ts';
import { searchIdeals } from './ideal-search.ts';
import { bytesOn, evaluatePlacement, workOn } from './placement-load.ts';
import type { PlacementDevice, PlacementProblem } from './problem.ts';

export interface CapacityFactor {
  readonly factor: number;
  /** No smaller factor has a contiguous placement. */
  readonly isLeast: boolean;
}

/**
 * What the capacities must be multiplied by for a contiguous placement to fit: the least such factor, or where the graph
 * has too many cuts one that suffices. Undefined: none was found in time, or no capacity would do.
 */
export function leastCapacityFactor(problem: PlacementProblem, deadline: number): CapacityFactor | undefined {
  const { isWhole, ...searched } = searchable(problem, deadline);
  const answer = searchIdeals({ ...searched, measure: 'fill', deadline });
  if (answer.kind !== 'found') return undefined;
  const { bytes } = evaluatePlacement(problem, answer.deviceOf);
  const factor = Math.max(...bytes.map((b, d) => (b === 0 ? 0 : b / problem.devices[d]!.capacity)));
  return { factor, isLeast: isWhole };
}

/** Whether no placement of any kind fits: there are more bytes than capacity, or a part is too large for all that can run it. */
export function exceedsAllCapacity({ parts, devices }: PlacementProblem): boolean {
  const capacity = devices.reduce((sum, d) => sum + d.capacity, 0) * (1 + 1e-9);
  const classOf = (d: PlacementDevice) => `${d.kind} ${d.speed} ${d.capacity} ${d.inFlight}`;
  const classes = [...new Map(devices.map((d) => [classOf(d), d])).values()];
  let bytes = 0;
  for (const part of parts) {
    let least = Number.POSITIVE_INFINITY;
    let fits = false;
    for (const device of classes) {
      if (workOn(part, device) === Number.POSITIVE_INFINITY) continue;
      const own = bytesOn(part, device);
      least = Math.min(least, own);
      fits ||= own <= device.capacity * (1 + 1e-9);
    }
    if (!fits) return true;
    bytes += least;
  }
  return bytes > capacity;
}

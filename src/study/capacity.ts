/** The largest batch that fits devices of a given capacity: found by planning, nothing runs. */
import { draftPlan, type PlanRequest, shortages } from '../plan/plan.ts';

export interface LargestBatch {
  readonly microbatches: number;
  /** Bytes of each device. */
  readonly capacityBytes: number;
  /** Samples; 0 where not even one a microbatch fits. */
  readonly batch: number;
  /** Whether the search ended at its limit and not at the capacity. */
  readonly atLimit: boolean;
  /** Highest planned peak of a device at this batch; of the smallest possible one where none fits. */
  readonly peakBytes: number;
}

/** Samples beyond which the search stops. */
const largestSearched = 2 ** 20;

/**
 * Doubles the batch until a plan does not fit, then bisects. The need grows with the batch but for the packing of buffers,
 * which can save a few bytes where a batch is larger: the result is a batch that fits while the next size tried does not.
 */
export function largestBatch(
  request: PlanRequest,
  microbatches: number,
  capacityBytes: number,
  limit = largestSearched,
): LargestBatch {
  const [name, spec] = Object.entries(request.programs)[0]!;
  const devices = request.devices.map((device) => ({ ...device, memory: capacityBytes }));
  const attempt = (batch: number): { fits: boolean; peakBytes: number } => {
    const plan = draftPlan({ ...request, devices, microbatches, programs: { [name]: { ...spec, batch } } });
    return {
      fits: shortages(plan).length === 0,
      peakBytes: Math.max(...plan.memory.map((m) => m.peakBytes)),
    };
  };
  let fitting = 0;
  let peakBytes = 0;
  let failing: number | undefined;
  for (let batch = microbatches; failing === undefined; batch = Math.min(2 * batch, limit)) {
    const tried = attempt(batch);
    if (tried.fits) [fitting, peakBytes] = [batch, tried.peakBytes];
    else if (fitting === 0)
      return { microbatches, capacityBytes, batch: 0, atLimit: false, peakBytes: tried.peakBytes };
    else failing = batch;
    if (tried.fits && batch >= limit) return { microbatches, capacityBytes, batch, atLimit: true, peakBytes };
  }
  while (failing - fitting > 1) {
    const middle = Math.floor((fitting + failing) / 2);
    const tried = attempt(middle);
    if (tried.fits) [fitting, peakBytes] = [middle, tried.peakBytes];
    else failing = middle;
  }
  return { microbatches, capacityBytes, batch: fitting, atLimit: false, peakBytes };
}

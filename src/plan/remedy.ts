/** What a refused request could be changed to. */
import { formatBytes } from '../core/format.ts';
import { PlanCache } from './cache.ts';
import { ADDRESSABLE_BYTES, limitOf } from './capacity.ts';
import { instructionsOf } from './compiled.ts';
import { roughPlan } from './draft.ts';
import { keptBytes } from './kept-bytes.ts';
import { hasNullDevices } from './null-devices.ts';
import type { Plan } from './plan.ts';
import type { PlanRequest } from './request.ts';
import { shortages } from './shortage.ts';

/**
 * A refusal must come soon: no further plans are tried for a remedy once those tried have so many instructions. A second or
 * two, but counted in work, so that the same request has the same remedy on a busy machine.
 */
const REMEDY_INSTRUCTIONS = 25_000;

/** Of plans with more, none is tried: every remedy is several plans of their size. */
const MOST_REMEDIED = 200_000;

/**
 * A change that was tried and fits: computing again, more devices of the same capacity, more microbatches, or the memory that is
 * needed.
 */
export function remedyFor(refused: Plan): string {
  const { request, memory: planned } = refused;
  const cache = new PlanCache();
  const least = instructionsOf(refused);
  const kept = keptBytes(refused);
  let tried = 0;
  const fits = (change: Partial<PlanRequest>): boolean => {
    // Whether it fits has nothing to do with where it is played.
    const changed = { ...request, cluster: undefined, ...change };
    // What no change takes away need not be compiled to be known.
    if (changed.devices.reduce((room, d) => room + limitOf(d), 0) < kept) return false;
    if (tried > REMEDY_INSTRUCTIONS || least > MOST_REMEDIED) return false;
    tried += least;
    try {
      const plan = roughPlan(changed, cache, 'fits');
      tried += Math.max(0, instructionsOf(plan) - least);
      return shortages(plan).length === 0;
    } catch {
      return false;
    }
  };
  if (request.recompute !== 'optimal' && fits({ recompute: 'optimal' })) return '--recompute optimal';
  const mayMoveStages =
    request.placement === undefined && (typeof request.partition === 'string' || 'balance' in request.partition);
  // `--devices k` means wasm devices of speed 1, as `blas` has them: for others it would be another experiment.
  const own = request.blas ? 'blas' : 'wasm';
  const isSimulated = request.devices.some((d) => d.simulated);
  const areAlike = !isSimulated && request.devices.every(({ backend, speed }) => backend === own && speed === 1);
  if (mayMoveStages && areAlike && typeof request.schedule === 'string') {
    const smallest = request.devices.reduce((a, b) =>
      (b.memory ?? Number.POSITIVE_INFINITY) < (a.memory ?? Number.POSITIVE_INFINITY) ? b : a,
    );
    for (let k = request.devices.length + 1; k <= Math.max(4, 2 * request.devices.length); k++) {
      const devices = Array.from({ length: k }, () => smallest);
      const memory = memoryFlag(devices.map((d) => d.memory!));
      if (fits({ devices })) return `--devices ${k} ${memory}`;
      if (fits({ devices, partition: { balance: 'memory' } }))
        return `--devices ${k} ${memory} --partition.balance memory`;
    }
  }
  const batch = Object.values(request.programs)[0]!.batch;
  for (let m = request.microbatches * 2; m <= Math.min(batch, 64) && typeof request.schedule === 'string'; m *= 2) {
    if (fits({ microbatches: m })) return `--microbatches ${m}`;
  }
  const need = planned.map((m) => m.peakBytes);
  // Of a large plan that computes nothing again, what is likely to help is told untried.
  const { recompute = 'none' } = request;
  const untried = least > MOST_REMEDIED && recompute === 'none' ? '; or try --recompute stage' : '';
  if (isSimulated) {
    return `give the devices of the cluster ${formatBytes(Math.max(...need))}, or more of them${untried}`;
  }
  return need.some((bytes) => bytes > ADDRESSABLE_BYTES) && !hasNullDevices(request.devices)
    ? `a device addresses at most 4 GiB: use more devices, more microbatches or a smaller batch${untried}`
    : `${memoryFlag(need)}${untried}`;
}

/** Sizes rounded up to pages, as people write them: `--memory 896KiB,2MiB`; one for all where they are equal. */
function memoryFlag(bytes: readonly number[]): string {
  const all = bytes.map((b) => Math.ceil(b / 65536) * 64);
  const sizes = new Set(all).size === 1 ? all.slice(0, 1) : all;
  return `--memory ${sizes.map((kib) => (kib % 1024 === 0 ? `${kib / 1024}MiB` : `${kib}KiB`)).join(',')}`;
}

/** Costs for a request: from a profile, from the cache, or measured now. */
import { availableParallelism } from 'node:os';
import { checkOptions, type OptionNames, requireArgument, requireKinds } from '../core/options.ts';
import { type MachineCosts, measuredCosts, threadLink } from '../cost/machine.ts';
import { analyticCosts, type CostModel, type KernelRun, withLinks } from '../cost/model.ts';
import { mergeProfiles, missingKeys, type Profile, profiledCosts } from '../cost/profile.ts';
import { defaultFusion } from '../fusion/modes.ts';
import { type ComputingBackend, kernelsOf } from '../lower/kernel-call.ts';
import { checkRequestKeys } from '../plan/check-request.ts';
import { makePlan, type PlanRequest } from '../plan/plan.ts';
import { MeasurementCache } from './cache.ts';
import { onOneDevice, PROFILE_SECONDS, type ProfileOptions, profileModels, profileNames } from './kernels.ts';
import { measureMachine } from './machine.ts';
import type { Feed } from './record.ts';
import { watchRunDelay } from './run-delay.ts';

export interface MeasuringOptions extends ProfileOptions {
  readonly cache: MeasurementCache;
  /** Numbers of microbatches whose kernels are wanted. Default: the request's. */
  readonly microbatches?: readonly number[];
  /** Told before something is measured. */
  readonly announce?: (what: string) => void;
}

const measuringNames: OptionNames<MeasuringOptions> = {
  ...profileNames,
  cache: 'required',
  microbatches: 'counts',
  announce: 'function',
};

function checkMeasuring(what: string, options: MeasuringOptions): void {
  checkOptions(what, options, measuringNames);
  const { cache } = options;
  const isCache = cache instanceof MeasurementCache;
  requireArgument(what, isCache, 'a cache of measurements', cache, 'new MeasurementCache(undefined, console.warn)');
}

/** The constants of this machine, from the cache or measured. */
export async function machineCosts(options: MeasuringOptions): Promise<MachineCosts> {
  checkMeasuring('machineCosts', options);
  const { cache, announce, signal } = options;
  const known = cache.machine();
  if (known) return known;
  announce?.('measuring this machine');
  const machine = await watched(cache, () => measureMachine({ signal, simd: cache.simd }));
  await cache.keepMachine(machine);
  return machine;
}

/**
 * More of a measurement's time than this in which threads had to wait for cores, and its figures are those of a busy
 * machine.
 */
const BUSY_SHARE = 0.1;

/** Tells where others have taken the cores meanwhile: what is kept stays until it is deleted. */
async function watched<T>(cache: MeasurementCache, measure: () => Promise<T>): Promise<T> {
  const [delay, begin] = [watchRunDelay(), performance.now()];
  const result = await measure();
  const seconds = (performance.now() - begin) / 1000;
  if (delay() > BUSY_SHARE * seconds) {
    const again = cache.folder === undefined ? '' : `; to measure again when it is idle, delete ${cache.folder}`;
    cache.warn(`the machine was busy while it was measured, so times may be too long${again}`);
  }
  return result;
}

/** A profile that has every kernel of a request: what the cache lacks is timed, and kept there. */
export async function profileFor(request: PlanRequest, feed: () => Feed, options: MeasuringOptions): Promise<Profile> {
  checkRequestKeys(request);
  checkMeasuring('profileFor', options);
  requireKinds('profileFor', { feed: ['function', feed] });
  const { cache, announce, microbatches = [request.microbatches], ...profiling } = options;
  const busyDevices = options.busyDevices ?? Math.min(request.devices.length, availableParallelism());
  const known = cache.profile(busyDevices, request.blas);
  // A partition weighs ops by themselves, and what is fused on one device is not where a cut lies between.
  const fusions = [...new Set([request.fusion ?? defaultFusion, 'off'] as const)];
  const wanted = microbatches.flatMap((count) =>
    fusions.map((fusion) => ({ ...request, microbatches: count, fusion })),
  );
  const lacking = wanted.filter((r) => !known || missingKeys(known, kernelRuns(r)).length > 0);
  if (known && lacking.length === 0) return known;
  const machine = await machineCosts(options);
  const { timeLimitSeconds = PROFILE_SECONDS } = options;
  announce?.(`timing the kernels of ${request.model.name}, ${timeLimitSeconds} s at most`);
  const measured = await watched(cache, () =>
    profileModels(lacking, feed(), machine, { ...profiling, timeLimitSeconds, busyDevices }),
  );
  // What another process has kept meanwhile stays.
  const latest = cache.profile(busyDevices, request.blas) ?? known;
  const profile = latest ? mergeProfiles(latest, measured) : measured;
  await cache.keepProfile(profile, request.blas);
  return profile;
}

/** Every kernel that the first program of a request runs, with the backends that may run it. */
export function kernelRuns(request: PlanRequest): (readonly [KernelRun, ComputingBackend])[] {
  return [...new Set(request.devices.map((d) => kernelsOf(d.backend)))].flatMap((backend) => {
    const plan = makePlan(onOneDevice(request, backend));
    const [program] = Object.values(plan.programs);
    return program!.devices.flatMap(({ instructions }) =>
      instructions.flatMap((i) => (i.kind === 'compute' ? i.parts.map((part) => [part, backend] as const) : [])),
    );
  });
}

/** A profile's costs with the links that a request has of its own. */
export const costsOfProfile = (profile: Profile, { costs }: PlanRequest): CostModel => {
  const measured = profiledCosts(profile, measuredCosts(profile.machine));
  return costs ? withLinks(measured, costs.link) : measured;
};

/**
 * Where a request says nothing of links, those between this process's threads as the cache has them; where it has none,
 * the defaults. Nothing is measured.
 */
export function withMeasuredLinks(request: PlanRequest, cache: MeasurementCache): PlanRequest {
  if (request.costs || request.devices.length < 2) return request;
  const machine = cache.machine();
  return machine ? { ...request, costs: analyticCosts({ link: threadLink(machine) }) } : request;
}

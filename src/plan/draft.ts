/** Plans for devices whose memories may not suffice: an automatic partition is cut anew until it fits, or lacks least. */
import { predict } from '../simulate/predict.ts';
import { PlanCache } from './cache.ts';
import { capacityOf } from './capacity.ts';
import { checkRequestKeys } from './check-request.ts';
import { type CompileOptions, compilePlan, type SeenPlans } from './compile.ts';
import { instructionsOf } from './compiled.ts';
import type { Plan } from './plan.ts';
import type { FitGoal } from './recompute.ts';
import { clusterOf, type PlanRequest } from './request.ts';
import { withFinalLayouts } from './short-lifetimes.ts';
import { lackingBytes } from './shortage.ts';
import type { Room } from './stages.ts';

/** Cuts that are tried where the first, fastest one exceeds a device's memory. */
const CUTS = 4;

/** No third cut is tried once those tried have so many instructions: half a minute, but counted in work. */
const CUT_INSTRUCTIONS = 500_000;

/** The plan without the check against capacities. */
export const draftPlan = (asked: PlanRequest, cache?: PlanCache, goal?: FitGoal): Plan =>
  laidOutThoroughly(roughPlan(asked, cache, goal));

/** The plan with its final programs and layouts, where a rough one's have gaps to speak of. No peak rises by it. */
export function laidOutThoroughly(rough: Plan): Plan {
  const found = withFinalLayouts(rough);
  if (found === rough) return rough;
  const { devices, costs, media } = clusterOf(rough.request);
  const main = found.programs[Object.keys(rough.request.programs)[0]!]!;
  const isSame = found.programs === rough.programs;
  return { ...rough, ...found, prediction: isSame ? rough.prediction : predict(main, devices, costs, media) };
}

/**
 * A plan among many that are weighed: its layouts are those that take no time to speak of, and those of the answer, which
 * `laidOutThoroughly` makes, are as low or lower. An automatic partition is the fastest whose stages have room by what they
 * keep and hold in flight. What counts are the planned bytes, which are more: where they exceed a capacity, the room is
 * lowered by as much and the stages are cut again. Where nothing fits, it is the plan that lacks the fewest bytes.
 *
 * Stages that compute again hold less: they are cut as if one microbatch were in flight. With `optimal` they need not, so both
 * are tried, and the faster is taken; with the goal `fits` the first that fits.
 */
export function roughPlan(asked: PlanRequest, cache: PlanCache = new PlanCache(), goal: FitGoal = 'best'): Plan {
  checkRequestKeys(asked);
  const capacities = asked.devices.map((d) => capacityOf(d) ?? Number.POSITIVE_INFINITY);
  const isLimited = capacities.some(Number.isFinite);
  if (asked.partition !== 'auto' || !isLimited) return compilePlan(asked, { cache, goal });
  const { recompute = 'none' } = asked;
  const options = { cache, goal, seen: new Map() satisfies SeenPlans };
  let best: Plan | undefined;
  if (recompute === 'none' || recompute === 'optimal') best = cutWithin(asked, options, { bytes: capacities });
  if (recompute === 'none' || (goal === 'fits' && best && lackingBytes(best) === 0)) return best!;
  const lean = cutWithin(asked, options, { bytes: capacities, inFlight: 1 });
  return best && isBetter(best, lean) ? best : lean;
}

/** Lacks fewer bytes, or as few and is no slower. */
function isBetter(a: Plan, b: Plan): boolean {
  const [lackingA, lackingB] = [lackingBytes(a), lackingBytes(b)];
  return lackingA < lackingB || (lackingA === lackingB && a.prediction.stepSeconds <= b.prediction.stepSeconds);
}

function cutWithin(asked: PlanRequest, options: CompileOptions & { readonly seen: SeenPlans }, all: Room): Plan {
  const { seen } = options;
  let room = all;
  let best = compilePlan(asked, { ...options, room });
  let plan = best;
  let tried = instructionsOf(plan);
  for (let cuts = 1; lackingBytes(best) > 0 && cuts < CUTS; cuts++) {
    if (cuts > 1 && tried > CUT_INSTRUCTIONS) break;
    const peakBytes = plan.memory.map((m) => m.peakBytes);
    room = {
      ...room,
      bytes: room.bytes.map((b, d) => b * Math.min(1, (0.99 * all.bytes[d]!) / peakBytes[d]! || 1)),
    };
    const before = seen.size;
    plan = compilePlan(asked, { ...options, room });
    tried += instructionsOf(plan);
    if (lackingBytes(plan) < lackingBytes(best)) best = plan;
    if (seen.size === before) break;
  }
  return best;
}

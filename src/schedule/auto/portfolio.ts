import { B, BW, F, type Instance, W } from './instance.ts';
import type { Policy } from './list.ts';

/**
 * The policies that are tried. Their order is by the sum of the places of their parts in the lists below, where what does
 * well on most problems comes first: a search that may spend little begins with it. What they vary:
 * which of F and B goes first, how many microbatches a stage may have in flight (its round trip over the time of the
 * busiest device: what keeps it busy, and multiples of that), and how W gives way.
 *
 * A gap of less than half an F that is left before the first B keeps the B of the stages before in time, and W fill what
 * gaps they can: with these two the memory of 2p microbatches gives the zero bubble of Qi et al. (ICLR 2024, §3).
 */
export function portfolio(instance: Instance, rank: Float64Array): Policy[] {
  const cycle = cycleOf(instance);
  const trip = roundTrips(instance);
  const all = (x: number): number[] => new Array<number>(instance.devices).fill(x);
  const limits: Partial<Policy>[] = [
    {},
    { warmUp: trip.map((x) => 2 * x - 1) },
    { cap: trip },
    { cap: trip.map((x) => 2 * x - 1) },
    { cap: trip.map((x) => x + 1) },
    { pace: cycle },
    { pace: 1.2 * cycle },
  ];
  const waits: Pick<Policy, 'waitW' | 'waitF' | 'even'>[] = [
    [0, 0.5],
    [0.2, 0.5],
    [0.5, 0.5],
    [0, 0],
    [1, 0],
    [1, 1],
    [0, 1],
  ].flatMap(([w, f]) => {
    const wait = { waitW: all(w!), waitF: all(f!) };
    return w! + f! > 0 ? [wait, { ...wait, even: true }] : [wait];
  });
  const firsts: Pick<Policy, 'first' | 'recycle'>[] = [
    { first: 'alternate' },
    { first: 'alternate', recycle: true },
    { first: 'B' },
    { first: 'rank' },
    { first: 'F', recycle: true },
    { first: 'F' },
  ];
  const severalStages = instance.stagesOf.some((own) => own.length > 1);
  const amongs: Policy['among'][] = severalStages ? ['deep', 'old', 'rank'] : ['deep'];
  const lags = instance.split ? [Infinity, 0] : [Infinity];
  const ranked: { policy: Policy; places: number }[] = [];
  for (const [a, wait] of waits.entries()) {
    for (const [b, first] of firsts.entries()) {
      for (const [c, limit] of limits.entries()) {
        for (const [d, lag] of lags.entries()) {
          for (const [e, among] of amongs.entries()) {
            const policy = { split: true, among, lag, rank, ...first, ...limit, ...wait };
            ranked.push({ policy, places: a + b + c + 2 * d + e });
          }
        }
      }
    }
  }
  const policies = ranked.sort((x, y) => x.places - y.places).map((x) => x.policy);
  // Without a split, W decides nothing.
  const whole = policies
    .filter((p) => p.lag === Infinity && p.waitW[0] === 0 && p.recycle === undefined)
    .map((p): Policy => ({ ...p, split: false }));
  if (!instance.split) return whole;
  return splitCosts(instance) ? interleave(policies, whole) : policies;
}

/** Microbatches that a stage has in flight when it is never kept waiting. */
function roundTrips(instance: Instance): number[] {
  const { stages, order, after, split } = instance;
  const trips = new Array<number>(stages).fill(0);
  for (const s of order.toReversed()) {
    const beyond = after[s]!.reduce((most, n) => Math.max(most, trips[n.stage]! + n.arrives + n.leaves), 0);
    trips[s] = mean(instance, F, s) + beyond + mean(instance, split ? B : BW, s);
  }
  const cycle = cycleOf(instance);
  return trips.map((trip) => (cycle > 0 ? Math.max(1, Math.ceil(trip / cycle - 1e-9)) : 1));
}

/** The busiest device's time for a microbatch: no schedule's steady state is faster. */
function cycleOf(instance: Instance): number {
  const kinds = instance.split ? [F, B, W] : [F, BW];
  const works = instance.stagesOf.map((own) =>
    own.reduce((sum, s) => sum + kinds.reduce((all, kind) => all + mean(instance, kind, s), 0), 0),
  );
  return Math.max(...works);
}

function mean({ microbatches: M, slots, time }: Instance, kind: number, s: number): number {
  let sum = 0;
  for (let m = 0; m < M; m++) sum += time[kind * slots + s * M + m]!;
  return sum / M;
}

/** Somewhere BW is shorter than its B and W. */
export const splitCosts = ({ slots, time }: Instance): boolean =>
  time.subarray(BW * slots).some((whole, i) => whole < time[B * slots + i]! + time[W * slots + i]!);

/** The policy with one number of one device changed: what `Search.tune` tries. */
export function mutated(policy: Policy, instance: Instance, random: Uint32Array): Policy {
  const device = random[0]! % instance.devices;
  const shares = [0, 0.2, 0.5, 0.8, 1];
  const share = shares[random[2]! % shares.length]!;
  switch (random[1]! % (policy.split ? 4 : 3)) {
    case 0:
      return { ...policy, waitF: policy.waitF.with(device, share) };
    case 1: {
      const M = instance.microbatches;
      const stage = random[3]! % instance.stages;
      const limit = policy.warmUp ?? new Array<number>(instance.stages).fill(M);
      // From "no limit" the first step is to the stage's round trip, where a limit begins to matter.
      const from = limit[stage]! === M ? 2 * roundTrips(instance)[stage]! : limit[stage]!;
      return { ...policy, warmUp: limit.with(stage, Math.min(M, Math.max(1, from + (random[2]! % 5) - 2))) };
    }
    case 2: {
      // Steps of a twentieth, from none to twice the cycle.
      const from = policy.pace ?? 0;
      const step = (cycleOf(instance) / 20) * ((random[3]! % 5) - 2);
      return { ...policy, pace: from === 0 && step > 0 ? cycleOf(instance) : Math.max(0, from + step) };
    }
    default:
      return { ...policy, waitW: policy.waitW.with(device, share) };
  }
}

/** One of the shorter list behind every second of the longer. */
function interleave<T>(longer: readonly T[], shorter: readonly T[]): T[] {
  const rest = [...shorter];
  return [...longer.flatMap((x, i) => (i % 2 === 0 && rest.length > 0 ? [x, rest.shift()!] : [x])), ...rest];
}

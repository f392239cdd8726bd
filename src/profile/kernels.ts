import { availableParallelism } from 'node:os';
import { type OptionNames, requireArgument, requireKinds, requireWords } from '../core/options.ts';
import { mean, median, medianError } from '../core/statistics.ts';
import { costSeconds } from '../cost/analytic.ts';
import type { MachineCosts } from '../cost/machine.ts';
import type { KernelRun } from '../cost/model.ts';
import {
  kernelKey,
  mergeProfiles,
  newProfile,
  type Profile,
  type ProfileEntry,
  profileEntry,
} from '../cost/profile.ts';
import { type ComputingBackend, kernelsOf } from '../lower/kernel-call.ts';
import { checkRequestKeys } from '../plan/check-request.ts';
import { makePlan, type Plan, type PlanRequest } from '../plan/plan.ts';
import {
  type Feed,
  type RecordedSteps,
  type RecordedWindow,
  type RecordOptions,
  recordTogether,
  refuseSteps,
  type Statistic,
  StepRecorder,
  statistics,
} from './record.ts';
import { recordNames, requireMachine, requireRecorded, requireRecording } from './require-measured.ts';

/** How far the sum of recorded instructions may lie from steps that were not recorded, before it is the machine's noise. */
const LARGEST_CORRECTION = 1.1;

/**
 * The kernels of recorded steps: an entry's seconds are those of all runs of its key in a step over their number, so that
 * the step's kernels sum to what they took. An instruction of several nodes (samples computed one by one) is shared out by
 * their rooflines. All times are multiplied by `factor`.
 */
export function profileOf(recorded: RecordedSteps, machine: MachineCosts, factor = 1): Profile {
  requireRecorded('profileOf', recorded);
  requireMachine('profileOf', machine);
  const { plan, program } = recorded;
  const found = new Map<string, KernelSum>();
  plan.programs[program]!.devices.forEach(({ instructions }, device) => {
    const { backend: own, speed } = plan.request.devices[device]!;
    const backend = kernelsOf(own);
    const scale = factor * speed * correction(recorded, device);
    instructions.forEach((instruction, i) => {
      if (instruction.kind !== 'compute') return;
      const time = recorded.instructions[device]![i]!;
      const weights = instruction.parts.map((part) => part.repeat * costSeconds(part));
      const whole = weights.reduce((a, b) => a + b, 0);
      instruction.parts.forEach((part, p) => {
        const share = (scale * weights[p]!) / whole;
        const key = kernelKey(part.signature, backend);
        const sum = found.get(key) ?? { run: part, backend, seconds: 0, runs: 0, mads: [], samples: 0 };
        sum.seconds += time.seconds * share;
        sum.runs += part.repeat;
        sum.mads.push((time.mad * share) / part.repeat);
        sum.samples += time.samples;
        found.set(key, sum);
      });
    });
  });
  const entries: Record<string, ProfileEntry> = {};
  for (const [key, { run, backend, seconds, runs, mads, samples }] of found) {
    entries[key] = profileEntry(run, backend, { seconds: seconds / runs, samples, mad: median(mads) });
  }
  return newProfile(machine, recorded.busyDevices, entries);
}

/** All runs of one key in a step. */
interface KernelSum {
  readonly run: KernelRun;
  readonly backend: ComputingBackend;
  seconds: number;
  runs: number;
  readonly mads: number[];
  samples: number;
}

/**
 * Medians add up to less than the median of sums, and recording disturbs a little: the recorded times of a device that
 * waits for nobody are scaled so that they sum to its steps without recording.
 */
function correction(recorded: RecordedSteps, device: number): number {
  if (recorded.plan.request.devices.length > 1) return 1;
  const times = recorded.instructions[device]!;
  const sum = times.reduce((total, t) => total + t.seconds, 0);
  const plain = recorded.deviceSeconds[device]! - times.length * recorded.secondsBetween;
  return Math.min(LARGEST_CORRECTION, Math.max(1 / LARGEST_CORRECTION, plain / sum));
}

/** Steps that a plan records before another has its turn: machines that others share change their speed within 100 ms. */
const TURN = 1;

/** Seconds for which kernels are timed, unless the caller says otherwise. */
export const PROFILE_SECONDS = 20;

/** Of the time limit, what may go into steps before those that count. */
const WARM_UP_SHARE = 0.2;

/** Steps whose times compare to this share are known well enough, after so many turns at least. */
const PRECISE = 0.01;
const LEAST_TURNS = 6;

/**
 * Times every kernel of a request's first program, for every size of its microbatches, by running its steps on a single
 * device of each backend: what a kernel finds in the caches is what the step left there. As many devices run at once as the
 * request has, up to the machine's cores.
 */
export const profileModel = (
  request: PlanRequest,
  feed: Feed,
  machine: MachineCosts,
  options: ProfileOptions = {},
): Promise<Profile> => profileModels([request], feed, machine, options);

export interface ProfileOptions extends RecordOptions {
  /** What of many runs counts. Default `median`. */
  readonly statistic?: Statistic;
  /** No further turn is begun after this time; every plan has one turn at least. Default 20. */
  readonly timeLimitSeconds?: number;
  /** Told at the end of how many of the turns asked for each plan had, and whether the time limit ended them. */
  readonly onTimed?: (told: { readonly turns: number; readonly of: number; readonly isLate: boolean }) => void;
}

export const profileNames: OptionNames<ProfileOptions> = {
  ...recordNames,
  statistic: 'text',
  timeLimitSeconds: 'notNegative',
  onTimed: 'function',
};

/** A plan among those that are timed. */
interface Timing {
  readonly plan: Plan;
  /** Devices that have it: more than one where there are fewer plans than devices that are to be busy. */
  readonly recorders: StepRecorder[];
  /** By turn. */
  readonly windows: RecordedWindow[][];
}

/**
 * The kernels of several requests for the same data, in one profile: of other numbers of microbatches. They are timed in
 * turns, and scaled by how their steps compare within each round of turns, so that one is not measured at a better moment of
 * the machine than another, and preferred for it. Who keeps the other cores busy meanwhile is measured as well: each turn
 * deals the plans anew to the devices that run at once, one device a plan. Turns end when the plans compare well enough,
 * or with the time.
 */
export async function profileModels(
  requests: readonly PlanRequest[],
  feed: Feed,
  machine: MachineCosts,
  options: ProfileOptions = {},
): Promise<Profile> {
  checkProfiling(requests, feed, machine, options);
  const { steps = 20, warmUp = 5, statistic, progress, timeLimitSeconds = PROFILE_SECONDS, ...rest } = options;
  const { onTimed, busyDevices: asked, ...recording } = rest;
  refuseSteps(steps, warmUp);
  const [{ devices }] = requests as [PlanRequest];
  const busyDevices = asked ?? Math.min(devices.length, availableParallelism());
  const begin = performance.now();
  const hasTime = (share: number): boolean => performance.now() - begin < 1000 * share * timeLimitSeconds;
  const timings = [...new Set(devices.map((d) => kernelsOf(d.backend)))].flatMap((backend) =>
    requests.map((request): Timing => ({ plan: makePlan(onOneDevice(request, backend)), recorders: [], windows: [] })),
  );
  const seats = Array.from({ length: Math.max(timings.length, busyDevices) }, (_, i) => timings[i % timings.length]!);
  const teamsOf = (turn: number): StepRecorder[][] =>
    teams(
      timings.flatMap((t) => t.recorders),
      busyDevices,
      turn,
    );
  try {
    for (const { plan, recorders } of seats)
      recorders.push(await StepRecorder.open(plan, feed, { ...recording, busyDevices: 1 }));
    for (let step = 0; step < warmUp && (step === 0 || hasTime(WARM_UP_SHARE)); step++)
      for (const team of teamsOf(step)) await Promise.all(team.map((r) => r.begin(false)));
    let turns = 0;
    while (turns * TURN < steps && (turns === 0 || (hasTime(1) && !isPrecise(timings)))) {
      const count = Math.min(TURN, steps - turns * TURN);
      for (const { windows } of timings) windows.push([]);
      for (const team of teamsOf(turns)) {
        // The first step of a turn finds another plan's data in the caches.
        const found = await recordTogether(team, count, timings.length > 1 ? 1 : 0);
        for (const [i, recorder] of team.entries()) {
          const { windows } = timings.find((t) => t.recorders.includes(recorder))!;
          windows.at(-1)!.push(found[i]!);
        }
      }
      turns++;
      progress?.(Math.min(steps, turns * TURN), steps);
    }
    onTimed?.({ turns, of: Math.ceil(steps / TURN), isLate: turns * TURN < steps && !hasTime(1) });
    const recorded: RecordedSteps[] = [];
    for (const { recorders, windows } of timings)
      recorded.push({ ...(await recorders[0]!.summary(windows.flat(), statistic)), busyDevices });
    const factors = comparable(recorded.map(kernelSeconds), roundsOf(timings));
    return recorded.map((r, i) => profileOf(r, machine, factors[i])).reduce(mergeProfiles);
  } finally {
    await Promise.all(timings.flatMap((t) => t.recorders.map((r) => r.close())));
  }
}

function checkProfiling(
  requests: readonly PlanRequest[],
  feed: Feed,
  machine: MachineCosts,
  options: ProfileOptions,
): void {
  const what = 'profileModels';
  requireKinds(what, { requests: ['list', requests] });
  requireArgument(what, requests.length > 0, 'at least one request', requests, `${what}([request], feed, machine)`);
  for (const request of requests) checkRequestKeys(request);
  requireMachine(what, machine);
  requireRecording(what, feed, options, profileNames);
  requireWords(what, 'statistic', statistics, options.statistic);
}

/**
 * All in teams of `size`, other ones every turn: a seat stays, the others go round it (as in a tournament's table). The last
 * team is filled up with those who have had their turn.
 */
export function teams<T>(all: readonly T[], size: number, turn: number): T[][] {
  const [first, ...others] = all;
  const gone = others.length > 0 ? turn % others.length : 0;
  const order = [first!, ...others.slice(gone), ...others.slice(0, gone)];
  // Opposite ends are a pair, so that everybody meets everybody.
  const dealt = order.map((_, i) => order[i % 2 === 0 ? i / 2 : order.length - (i + 1) / 2]!);
  const list: T[][] = [];
  for (let i = 0; i < dealt.length; i += size) {
    const team = dealt.slice(i, i + size);
    list.push([...team, ...dealt.filter((one) => !team.includes(one)).slice(0, size - team.length)]);
  }
  return list;
}

/** A device's step by turn and plan, the mean of all within the turn: seconds. */
const roundsOf = (timings: readonly Timing[]): number[][] =>
  timings[0]!.windows.map((_, turn) => timings.map(({ windows }) => mean(windows[turn]!.map(windowSeconds))));

/** Whether what plans take of each other's time, or a single one by itself, would hardly move with further turns. */
function isPrecise(timings: readonly Timing[]): boolean {
  const rounds = roundsOf(timings);
  if (rounds.length < LEAST_TURNS) return false;
  const logs = rounds.map((round) => {
    const own = round.map(Math.log);
    const middle = own.length > 1 ? mean(own) : 0;
    return own.map((l) => l - middle);
  });
  return timings.every((_, p) => medianError(logs.map((l) => l[p]!)) < PRECISE);
}

/**
 * Factors on `totals`, each a plan's seconds as it was measured by itself, after which they compare as the plans did within
 * rounds, by the median; `rounds` are seconds by round and plan. Their geometric mean stays. Where a machine has two speeds,
 * the median of a few steps of one plan falls on either, and of another plan on the other: within a round that is noise on
 * both sides, between totals it looks like a difference.
 */
export function comparable(totals: readonly number[], rounds: readonly (readonly number[])[]): number[] {
  const logs = rounds.map((round) => {
    const own = round.map(Math.log);
    const middle = mean(own);
    return own.map((l) => l - middle);
  });
  const wanted = totals.map((total, p) => median(logs.map((round) => round[p]!)) - Math.log(total));
  const middle = mean(wanted);
  return wanted.map((w) => Math.exp(w - middle));
}

/** A device's step within a window: the mean of all. */
const windowSeconds = ({ copies }: RecordedWindow): number =>
  mean(copies.flatMap((c) => [...c.recorded, ...c.plain].flatMap((run) => run.reports.map((r) => r.seconds))));

/** All that the instructions of a plan on one device take. */
const kernelSeconds = (recorded: RecordedSteps): number =>
  correction(recorded, 0) * recorded.instructions[0]!.reduce((sum, { seconds }) => sum + seconds, 0);

/**
 * The same step on one device: the whole model in one stage, as much memory as needed. Each op by itself, as a partition weighs
 * them: what shortens lifetimes joins products and sums, and does so elsewhere on several devices.
 */
export function onOneDevice(request: PlanRequest, backend: ComputingBackend): PlanRequest {
  const { placement: _placement, schedule: _schedule, ...rest } = request;
  const [name, spec] = Object.entries(request.programs)[0]!;
  return {
    ...rest,
    programs: { [name]: spec },
    devices: [{ backend, memory: null, speed: 1 }],
    partition: 'auto',
    lifetimes: 'plain',
  };
}

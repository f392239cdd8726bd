import { availableParallelism } from 'node:os';
import { mean, median } from '../core/statistics.ts';
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
import { makePlan, type PlanRequest } from '../plan/plan.ts';
import {
  type Feed,
  type RecordedSteps,
  type RecordedWindow,
  type RecordOptions,
  refuseSteps,
  type Statistic,
  StepRecorder,
} from './record.ts';

/** How far the sum of recorded instructions may lie from steps that were not recorded, before it is the machine's noise. */
const LARGEST_CORRECTION = 1.1;

/**
 * The kernels of recorded steps: an entry's seconds are those of all runs of its key in a step over their number, so that
 * the step's kernels sum to what they took. An instruction of several nodes (samples computed one by one) is shared out by
 * their rooflines. All times are multiplied by `factor`.
 */
export function profileOf(recorded: RecordedSteps, machine: MachineCosts, factor = 1): Profile {
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
  if (recorded.plan.request.devices.length > 1 || !recorded.counted.undisturbed) return 1;
  const times = recorded.instructions[device]!;
  const sum = times.reduce((total, t) => total + t.seconds, 0);
  const plain = recorded.deviceSeconds[device]! - times.length * recorded.secondsBetween;
  return Math.min(LARGEST_CORRECTION, Math.max(1 / LARGEST_CORRECTION, plain / sum));
}

/** Steps that a plan records before another has its turn: machines that others share change their speed within 100 ms. */
const TURN = 1;

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
}

/**
 * The kernels of several requests for the same data, in one profile: of other numbers of microbatches. They are timed in
 * turns, and scaled by how their steps compare within each round of turns, so that one is not measured at a better moment of
 * the machine than another, and preferred for it.
 */
export async function profileModels(
  requests: readonly PlanRequest[],
  feed: Feed,
  machine: MachineCosts,
  options: ProfileOptions = {},
): Promise<Profile> {
  const { steps = 20, warmUp = 5, statistic, progress, ...rest } = options;
  refuseSteps(steps, warmUp);
  const [{ devices }] = requests as [PlanRequest];
  const { busyDevices = Math.min(devices.length, availableParallelism()) } = rest;
  const runs: { readonly recorder: StepRecorder; readonly windows: RecordedWindow[] }[] = [];
  const plans = [...new Set(devices.map((d) => kernelsOf(d.backend)))].flatMap((backend) =>
    requests.map((request) => makePlan(onOneDevice(request, backend))),
  );
  let done = 0;
  const counted = () => progress?.(++done, 2 * steps * busyDevices * plans.length);
  try {
    for (const plan of plans) {
      const recorder = await StepRecorder.open(plan, feed, { ...rest, busyDevices, progress: counted });
      runs.push({ recorder, windows: [] });
    }
    for (let recorded = 0; recorded < steps; recorded += TURN) {
      for (const { recorder, windows } of runs) {
        // The first step of a turn finds another plan's data in the caches.
        const settling = recorded === 0 ? warmUp : plans.length > 1 ? 1 : 0;
        windows.push(await recorder.run(Math.min(TURN, steps - recorded), settling));
      }
    }
    const recorded: RecordedSteps[] = [];
    for (const { recorder, windows } of runs) recorded.push(await recorder.summary(windows, statistic));
    const rounds = runs[0]!.windows.map((_, round) => runs.map(({ windows }) => windowSeconds(windows[round]!)));
    const factors = comparable(recorded.map(kernelSeconds), rounds);
    return recorded.map((r, i) => profileOf(r, machine, factors[i])).reduce(mergeProfiles);
  } finally {
    await Promise.all(runs.map(({ recorder }) => recorder.close()));
  }
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

/** The same step on one device: the whole model in one stage, as much memory as needed. */
export function onOneDevice(request: PlanRequest, backend: ComputingBackend): PlanRequest {
  const { placement: _placement, schedule: _schedule, ...rest } = request;
  const [name, spec] = Object.entries(request.programs)[0]!;
  return {
    ...rest,
    programs: { [name]: spec },
    devices: [{ backend, memory: null, speed: 1 }],
    partition: 'auto',
  };
}

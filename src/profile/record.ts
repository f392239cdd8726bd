import { UsageError } from '../core/errors.ts';
import { mean, median, medianDeviation, quantile } from '../core/statistics.ts';
import type { HostTensor } from '../core/types.ts';
import type { Plan } from '../plan/plan.ts';
import { requirePlan } from '../plan/require-plan.ts';
import type { StepReport } from '../runtime/device-image.ts';
import { Session } from '../train/session.ts';
import { recordNames, requireRecording } from './require-measured.ts';
import { isUndisturbed, leastDisturbed, type Timed, watchRunDelay } from './run-delay.ts';

/** What steps take: the batch of each, and what else a step is told. */
export interface Feed {
  readonly tensorsAt: (step: number) => Readonly<Record<string, HostTensor>>;
  readonly rateAt?: (step: number) => number;
  readonly momentumAt?: (step: number) => number;
}

export interface RecordOptions {
  /** Steps that count with a record of every instruction; as many without it lie between them. Default 20. */
  readonly steps?: number;
  /** Steps before them: code is compiled, memory touched. Default 5. */
  readonly warmUp?: number;
  /** How many devices compute at once: further ones run the same beside those that are recorded. Default the plan's own. */
  readonly busyDevices?: number;
  readonly seed?: number;
  readonly parameters?: ReadonlyMap<string, HostTensor>;
  readonly signal?: AbortSignal;
  readonly progress?: (done: number, total: number) => void;
}

/**
 * One instruction's time, from start to end, waiting included, without the recorder's own: seconds. By `Statistic`; in place
 * of the median the lower quartile where every step was disturbed.
 */
export interface InstructionTime {
  readonly seconds: number;
  /** First decile: what nothing has held up. */
  readonly low: number;
  readonly mad: number;
  readonly samples: number;
}

/** Steps of a plan's first program as its devices ran them. */
export interface RecordedSteps {
  readonly plan: Plan;
  readonly program: string;
  /** By device and instruction. */
  readonly instructions: readonly (readonly InstructionTime[])[];
  /** What a device spends between two instructions. */
  readonly secondsBetween: number;
  /** Of steps that were not recorded, as recording costs: medians. */
  readonly stepSeconds: number;
  readonly busySeconds: readonly number[];
  /**
   * By device: what the recorded steps would have taken without the record. A step that is not recorded lies beside each of
   * them; how the two compare is the same at every speed of the machine.
   */
  readonly deviceSeconds: readonly number[];
  /** Of all steps that ran, those whose times count, and whether those that were not recorded ran undisturbed. */
  readonly counted: { readonly steps: number; readonly of: number; readonly undisturbed: boolean };
  readonly busyDevices: number;
  readonly peaks: { readonly planned: readonly number[]; readonly measured: readonly number[] };
}

interface Run extends Timed {
  readonly reports: readonly StepReport[];
}

/** What copies of a plan ran side by side: each its steps with a record of every instruction, and those without. */
export interface RecordedWindow {
  readonly copies: readonly { readonly recorded: readonly Run[]; readonly plain: readonly Run[] }[];
}

export interface RecorderOptions extends Pick<RecordOptions, 'busyDevices' | 'seed' | 'parameters' | 'signal'> {
  /** Told of every step that counts. */
  readonly progress?: () => void;
}

/**
 * A plan's devices, opened once and recorded again and again: between two windows other plans may run, so that on a machine
 * whose speed changes within seconds what is compared has seen the same.
 */
export class StepRecorder {
  readonly plan: Plan;
  readonly program: string;
  readonly busyDevices: number;
  readonly #sessions: readonly Session[];
  readonly #feed: Feed;
  readonly #options: RecorderOptions;
  #step = 0;

  private constructor(plan: Plan, sessions: readonly Session[], feed: Feed, options: RecorderOptions) {
    this.plan = plan;
    [this.program] = Object.keys(plan.programs) as [string];
    this.busyDevices = sessions.length * plan.request.devices.length;
    this.#sessions = sessions;
    this.#feed = feed;
    this.#options = options;
  }

  get copies(): number {
    return this.#sessions.length;
  }

  static async open(plan: Plan, feed: Feed, options: RecorderOptions = {}): Promise<StepRecorder> {
    const { busyDevices = plan.request.devices.length, seed, parameters, signal } = options;
    const copies = Math.max(1, Math.floor(busyDevices / plan.request.devices.length));
    const sessions: Session[] = [];
    try {
      for (let i = 0; i < copies; i++) {
        sessions.push(await Session.open(plan, { seed, parameters, audit: false, signal }));
      }
    } catch (error) {
      await Promise.all(sessions.map((s) => s.close()));
      throw error;
    }
    return new StepRecorder(plan, sessions, feed, options);
  }

  /** As `recordTogether`, with nobody beside it. */
  async run(steps: number, warmUp = 0): Promise<RecordedWindow> {
    return (await recordTogether([this], steps, warmUp))[0]!;
  }

  /** One step of each copy, all at once. */
  begin(profile: boolean): Promise<readonly Omit<Run, 'delaySeconds'>[]> {
    const step = this.#step++;
    const tensors = this.#feed.tensorsAt(step);
    const { signal } = this.#options;
    const [lr, momentum] = [this.#feed.rateAt?.(step), this.#feed.momentumAt?.(step)];
    return Promise.all(
      this.#sessions.map((s) => s.run(this.program, tensors, { step, lr, momentum, profile, signal })),
    );
  }

  /** A step of each copy counts. */
  tell(): void {
    for (const _ of this.#sessions) this.#options.progress?.();
  }

  async summary(windows: readonly RecordedWindow[], statistic: Statistic = 'median'): Promise<RecordedSteps> {
    const peaks = { planned: this.#sessions[0]!.plannedPeaks(), measured: await this.#sessions[0]!.measuredPeaks() };
    const summary = summarize(this.plan, this.program, windows, statistic);
    return { ...summary, busyDevices: this.busyDevices, peaks };
  }

  async close(): Promise<void> {
    await Promise.all(this.#sessions.map((s) => s.close()));
  }
}

/**
 * Every copy of each plan runs `warmUp` steps, then twice `steps`: every second one recorded instruction by instruction. All
 * begin a step together, so that all compute at once and the host sleeps meanwhile: it would take a core from them.
 */
export async function recordTogether(
  recorders: readonly StepRecorder[],
  steps: number,
  warmUp = 0,
): Promise<RecordedWindow[]> {
  const windows = recorders.map(({ copies }) => ({
    copies: Array.from({ length: copies }, () => ({ recorded: [] as Run[], plain: [] as Run[] })),
  }));
  for (let step = 0; step < warmUp + 2 * steps; step++) {
    const profile = step >= warmUp && (step - warmUp) % 2 === 0;
    const delay = watchRunDelay();
    const runs = await Promise.all(recorders.map((r) => r.begin(profile)));
    const delaySeconds = delay();
    if (step < warmUp) continue;
    runs.forEach((copies, r) => {
      copies.forEach(({ seconds, reports }, i) => {
        windows[r]!.copies[i]![profile ? 'recorded' : 'plain'].push({ seconds, delaySeconds, reports });
      });
      recorders[r]!.tell();
    });
  }
  return windows;
}

export function refuseSteps(steps: number, warmUp: number): void {
  if (!Number.isInteger(steps) || steps < 1 || !Number.isInteger(warmUp) || warmUp < 0) {
    throw new UsageError(
      'profile-steps',
      `a profile needs at least one step behind 0 or more, not ${steps} behind ${warmUp}`,
      {
        fields: { steps, warmUp },
        remedy: '--steps 20 --warm-up 5',
      },
    );
  }
}

/**
 * Runs a plan's first program on devices, every second step recorded instruction by instruction. Steps that other
 * processes have disturbed do not count, where the system tells.
 */
export async function recordSteps(plan: Plan, feed: Feed, options: RecordOptions = {}): Promise<RecordedSteps> {
  requirePlan('recordSteps', plan);
  requireRecording('recordSteps', feed, options, recordNames);
  const { steps = 20, warmUp = 5, progress, ...rest } = options;
  refuseSteps(steps, warmUp);
  let done = 0;
  const recorder = await StepRecorder.open(plan, feed, {
    ...rest,
    progress: () => progress?.(++done, (recorder.busyDevices / plan.request.devices.length) * 2 * steps),
  });
  try {
    return await recorder.summary([await recorder.run(steps, warmUp)]);
  } finally {
    await recorder.close();
  }
}

/**
 * What counts of many runs: their median, which one disturbed run does not move; or their mean, which adds up: of a
 * machine whose speed changes all the time, the mean step is made of mean kernels.
 */
export type Statistic = (typeof statistics)[number];
export const statistics = ['median', 'mean'] as const;

export function summarize(plan: Plan, program: string, windows: readonly RecordedWindow[], statistic: Statistic) {
  const all = windows.flatMap((w) => w.copies);
  const [recorded, plain] = [all.flatMap((c) => c.recorded), all.flatMap((c) => c.plain)];
  const [quiet, quietPlain] = [leastDisturbed(recorded), leastDisturbed(plain)];
  const clock = clockSeconds();
  const of = statistic === 'mean' ? mean : median;
  // What disturbs a step only ever lengthens it: where all were disturbed, the lower quartile is nearer to the truth.
  const isLow = statistic === 'median' && !quiet.every(isUndisturbed);
  const typical = (values: readonly number[]): number => (isLow ? quantile(values, 0.25) : of(values));
  const gaps: number[] = [];
  const instructions = plan.programs[program]!.devices.map(({ instructions: list }, device) => {
    // Milliseconds of the devices' clock: start and end of each instruction.
    const runs = quiet.map(({ reports }) => reports[device]!.times!);
    return list.map((_, i): InstructionTime => {
      const times = runs.map((t) => (t[2 * i + 1]! - t[2 * i]!) / 1000);
      if (i > 0) gaps.push(of(runs.map((t) => (t[2 * i]! - t[2 * i - 1]!) / 1000)));
      const own = (seconds: number) => Math.max(0, seconds - clock);
      return {
        seconds: own(typical(times)),
        low: own(quantile(times, 0.1)),
        mad: medianDeviation(times),
        samples: times.length,
      };
    });
  });
  const secondsOf = (d: number) => (run: Run) => run.reports[d]!.seconds;
  const withoutRecord = (d: number): number =>
    median(recorded.map((run, i) => secondsOf(d)(plain[i]!) / secondsOf(d)(run))) * typical(quiet.map(secondsOf(d)));
  return {
    plan,
    program,
    instructions,
    secondsBetween: gaps.length > 0 ? Math.max(0, median(gaps) - clock) : 0,
    stepSeconds: of(quietPlain.map((run) => run.seconds)),
    busySeconds: plan.request.devices.map((_, d) => of(quietPlain.map(({ reports }) => reports[d]!.busySeconds))),
    deviceSeconds: plan.request.devices.map((_, d) => withoutRecord(d)),
    counted: {
      steps: quiet.length + quietPlain.length,
      of: recorded.length + plain.length,
      undisturbed: quietPlain.every(isUndisturbed),
    },
  };
}

let clockCost: number | undefined;

/**
 * What looking at the clock costs, as a device does before and behind each recorded instruction: half of each look falls
 * within it. The least of many runs of a thousand.
 */
function clockSeconds(): number {
  if (clockCost !== undefined) return clockCost;
  let least = Number.POSITIVE_INFINITY;
  for (let run = 0; run < 60; run++) {
    const begin = performance.now();
    for (let i = 0; i < 1000; i++) Number(process.hrtime.bigint());
    least = Math.min(least, performance.now() - begin);
  }
  return (clockCost = least / 1e6);
}

import { UsageError } from '../core/errors.ts';
import { median, medianDeviation, quantile } from '../core/statistics.ts';
import type { HostTensor } from '../core/types.ts';
import type { Plan } from '../plan/plan.ts';
import type { StepReport } from '../runtime/device-image.ts';
import { Session } from '../train/session.ts';
import { isUndisturbed, leastDisturbed, runDelaySeconds, type Timed } from './run-delay.ts';

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
 * One instruction's time, from start to end, waiting included, without the recorder's own: seconds. Median, or the lower
 * quartile where every step was disturbed.
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
  readonly deviceSeconds: readonly number[];
  readonly busySeconds: readonly number[];
  /** Of all steps that ran, those whose times count, and whether those that were not recorded ran undisturbed. */
  readonly counted: { readonly steps: number; readonly of: number; readonly undisturbed: boolean };
  readonly busyDevices: number;
  readonly peaks: { readonly planned: readonly number[]; readonly measured: readonly number[] };
}

interface Run extends Timed {
  readonly reports: readonly StepReport[];
}

/**
 * Runs a plan's first program on devices, every second step recorded instruction by instruction. Steps that other
 * processes have disturbed do not count, where the system tells.
 */
export async function recordSteps(plan: Plan, feed: Feed, options: RecordOptions = {}): Promise<RecordedSteps> {
  const { steps = 20, warmUp = 5, busyDevices = plan.request.devices.length, seed, parameters, signal } = options;
  const own = plan.request.devices.length;
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
  const [program] = Object.keys(plan.programs) as [string];
  const copies = Math.max(1, Math.floor(busyDevices / own));
  const sessions: Session[] = [];
  const recorded: Run[] = [];
  const plain: Run[] = [];
  let [done, running] = [0, copies];
  const total = warmUp + 2 * steps;
  const play = async (session: Session): Promise<void> => {
    // Who is through first goes on until the last is, so that as many are busy for all steps that count.
    for (let step = 0; step < total || running > 0; step++) {
      const profile = step >= warmUp && (step - warmUp) % 2 === 0;
      const before = runDelaySeconds() ?? 0;
      const { seconds, reports } = await session.run(program, feed.tensorsAt(step % total), {
        step: step % total,
        lr: feed.rateAt?.(step % total),
        momentum: feed.momentumAt?.(step % total),
        profile,
        signal,
      });
      const delaySeconds = (runDelaySeconds() ?? 0) - before;
      if (step < warmUp || step >= total) continue;
      (profile ? recorded : plain).push({ seconds, delaySeconds, reports });
      options.progress?.(++done, copies * 2 * steps);
      if (step === total - 1) running--;
    }
  };
  try {
    for (let i = 0; i < copies; i++) sessions.push(await Session.open(plan, { seed, parameters, audit: false }));
    await Promise.all(sessions.map(play));
    const peaks = { planned: sessions[0]!.plannedPeaks(), measured: await sessions[0]!.measuredPeaks() };
    return { ...summarize(plan, program, recorded, plain), busyDevices: copies * own, peaks };
  } finally {
    await Promise.all(sessions.map((s) => s.close()));
  }
}

function summarize(plan: Plan, program: string, recorded: readonly Run[], plain: readonly Run[]) {
  const [quiet, quietPlain] = [leastDisturbed(recorded), leastDisturbed(plain)];
  const clock = clockSeconds();
  // What disturbs a step only ever lengthens it: where all were disturbed, the lower quartile is nearer to the truth.
  const middle = quiet.every(isUndisturbed) ? 0.5 : 0.25;
  const gaps: number[] = [];
  const instructions = plan.programs[program]!.devices.map(({ instructions: list }, device) => {
    // Milliseconds of the devices' clock: start and end of each instruction.
    const runs = quiet.map(({ reports }) => reports[device]!.times!);
    return list.map((_, i): InstructionTime => {
      const times = runs.map((t) => (t[2 * i + 1]! - t[2 * i]!) / 1000);
      if (i > 0) gaps.push(median(runs.map((t) => (t[2 * i]! - t[2 * i - 1]!) / 1000)));
      const own = (q: number) => Math.max(0, quantile(times, q) - clock);
      return { seconds: own(middle), low: own(0.1), mad: medianDeviation(times), samples: times.length };
    });
  });
  const perDevice = (of: (report: StepReport) => number) =>
    plan.request.devices.map((_, d) => median(quietPlain.map(({ reports }) => of(reports[d]!))));
  return {
    plan,
    program,
    instructions,
    secondsBetween: gaps.length > 0 ? Math.max(0, median(gaps) - clock) : 0,
    stepSeconds: median(quietPlain.map((run) => run.seconds)),
    deviceSeconds: perDevice((r) => r.seconds),
    busySeconds: perDevice((r) => r.busySeconds),
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

import { freemem } from 'node:os';
import { setTimeout } from 'node:timers/promises';
import { UsageError } from '../core/errors.ts';
import { type OptionNames, requireKinds } from '../core/options.ts';
import { median, medianDeviation } from '../core/statistics.ts';
import type { HostTensor } from '../core/types.ts';
import { LOOK_FOR_WORK_SECONDS } from '../cost/analytic.ts';
import type { Plan, StepTime } from '../plan/index.ts';
import { requirePlan } from '../plan/require-plan.ts';
import { THREAD_BYTES } from '../runtime/device-threads.ts';
import { Session, type StagedBatch } from '../train/session.ts';
import type { Feed } from './record.ts';
import { requireRecording } from './require-measured.ts';

export interface TrialOptions {
  /** No further turn is begun after this time; every plan has one turn at least. Default 10. */
  readonly timeLimitSeconds?: number;
  /** Of all plans that are open at once, threads and staged batches among them. Default half of what the machine has free. */
  readonly memoryBytes?: number;
  readonly seed?: number;
  readonly parameters?: ReadonlyMap<string, HostTensor>;
  /** Ends it with what is known by then, behind the step under way. */
  readonly signal?: AbortSignal | undefined;
}

const trialNames: OptionNames<TrialOptions> = {
  timeLimitSeconds: 'figure',
  memoryBytes: 'notNegative',
  seed: 'index',
  parameters: true,
  signal: 'signal',
};

export const TRIAL_SECONDS = 10;

/** Seconds that the steps of a turn take about, and how many there are at most. */
const TURN_SECONDS = 0.06;
const MOST_STEPS = 50;

/** Steps of a turn that do not count, unless they take long: they find another plan's data in the caches. */
const LEADING = 2;
const LONG_SECONDS = 0.25;

/** Behind a turn its devices look on for the next step, and the next plan's would compete with them. */
const PAUSE_MS = 1500 * LOOK_FOR_WORK_SECONDS;

/**
 * What steps of each plan take on this machine, one behind another as in a training, so that the best of them can be chosen.
 * Plans take turns of some steps, in an order that goes round; the slower half leaves after each part of the time (successive
 * halving: Jamieson & Talwalkar 2016), so that those which are hardest to tell apart have the most turns. What a plan is told to
 * take is the fastest one's median times how the two compared in the turns that both had, as a machine changes its speed.
 * undefined for plans that were not tried: those that do not fit into the memory beside the ones in front of them, all where
 * fewer than two do, and all where the signal came before each had a turn.
 *
 * Throws what opening or running a plan throws.
 */
export async function timePlans(
  plans: readonly Plan[],
  feed: Feed,
  options: TrialOptions = {},
): Promise<(StepTime | undefined)[]> {
  requireKinds('timePlans', { plans: ['list', plans] });
  for (const plan of plans) requirePlan('timePlans', plan);
  requireRecording('timePlans', feed, options, trialNames);
  const { timeLimitSeconds = TRIAL_SECONDS, memoryBytes = freeBytes() / 2, seed, parameters, signal } = options;
  if (!(timeLimitSeconds > 0 && timeLimitSeconds < Number.POSITIVE_INFINITY)) {
    throw new UsageError('trial-time', `a trial takes some time and ends, and has ${timeLimitSeconds} s`, {
      fields: { timeLimitSeconds },
      remedy: 'timeLimitSeconds: 10',
    });
  }
  const end = performance.now() + 1000 * timeLimitSeconds;
  const fitting = fittingTogether(plans, memoryBytes);
  const none = plans.map(() => undefined);
  if (fitting.length < 2) return none;
  const runners: Runner[] = [];
  try {
    for (const plan of fitting) {
      if (signal?.aborted) return none;
      runners.push(new Runner(await Session.open(plan, { seed, parameters, audit: false }), feed, signal));
    }
    // Code is compiled, memory touched: the first turn tells how many steps the others have.
    for (const runner of runners) await runner.warmUp();
    const best = await halve(runners, end, signal);
    if (runners.some((r) => r.turns.length === 0)) return none;
    return plans.map((_, i) => runners[i] && timeBeside(best.turns, runners[i].turns));
  } finally {
    await Promise.all(runners.map((r) => r.close()));
  }
}

/** Turns until `end`; the fastest. A plan has the turns of the passes before it left, and no others. */
async function halve(runners: readonly Runner[], end: number, signal: AbortSignal | undefined): Promise<Runner> {
  const rounds = Math.ceil(Math.log2(runners.length));
  const begin = performance.now();
  let alive = [...runners];
  for (let round = 1; round <= rounds && !signal?.aborted; round++) {
    const until = begin + (round / rounds) * Math.max(0, end - begin);
    let pass = 0;
    do {
      const first = pass++ % alive.length;
      for (const runner of [...alive.slice(first), ...alive.slice(0, first)]) await runner.turn();
    } while (performance.now() < until && !signal?.aborted);
    alive.sort((a, b) => median(a.turns) - median(b.turns));
    alive = alive.slice(0, Math.ceil(alive.length / 2));
  }
  return alive[0]!;
}

function timeBeside(best: readonly number[], own: readonly number[]): StepTime {
  if (own === best) return { stepSeconds: median(own), mad: medianDeviation(own), turns: own.length };
  const [seconds, ratios] = [median(best), own.slice(0, best.length).map((t, pass) => t / best[pass]!)];
  return { stepSeconds: seconds * median(ratios), mad: seconds * medianDeviation(ratios), turns: own.length };
}

/** A container may have less than its machine. */
const freeBytes = (): number => Math.min(freemem(), process.availableMemory?.() ?? Number.POSITIVE_INFINITY);

/** Those in front whose devices may be open at the same time. */
function fittingTogether(plans: readonly Plan[], memoryBytes: number): Plan[] {
  let left = memoryBytes;
  const fitting: Plan[] = [];
  for (const plan of plans) {
    left -= sessionBytes(plan);
    if (left < 0) break;
    fitting.push(plan);
  }
  return fitting;
}

/** What a plan takes that is open: its devices' peaks, their threads, two batches and results at the host. */
export function sessionBytes({ memory, programs }: Plan): number {
  const most = (of: (program: Plan['programs'][string]) => number) => Math.max(...Object.values(programs).map(of));
  return (
    memory.reduce((sum, { peakBytes }) => sum + peakBytes + THREAD_BYTES, 0) +
    2 * (most((p) => p.feedBytes) + most((p) => p.resultBytes))
  );
}

/** A plan whose devices are up, and what its turns took, seconds a step. */
class Runner {
  readonly turns: number[] = [];
  readonly #session: Session;
  readonly #feed: Feed;
  readonly #signal: AbortSignal | undefined;
  readonly #program: string;
  #leading = 1;
  #steps = 1;
  #next = 0;

  constructor(session: Session, feed: Feed, signal: AbortSignal | undefined) {
    this.#session = session;
    this.#feed = feed;
    this.#signal = signal;
    [this.#program] = Object.keys(session.plan.programs) as [string];
  }

  async warmUp(): Promise<void> {
    const seconds = await this.#run(1, 1);
    if (seconds === undefined || seconds > LONG_SECONDS) return;
    this.#leading = LEADING;
    const warm = await this.#run(LEADING, 3);
    if (warm !== undefined) this.#steps = Math.min(MOST_STEPS, Math.max(1, Math.round(TURN_SECONDS / warm)));
  }

  /** A turn that the signal ends does not count. */
  async turn(): Promise<void> {
    await setTimeout(PAUSE_MS);
    const seconds = await this.#run(this.#leading, this.#steps);
    if (seconds !== undefined) this.turns.push(seconds);
  }

  /** Seconds of a step of a training: each staged while the one before it runs. undefined where the signal ends it. */
  async #run(leading: number, steps: number): Promise<number | undefined> {
    const count = leading + steps;
    let begin = 0;
    let staged: StagedBatch | undefined = this.#stage(false);
    for (let i = 0; i < count; i++) {
      if (this.#signal?.aborted) return undefined;
      if (i === leading) begin = performance.now();
      const [step, current]: [number, StagedBatch] = [this.#next - 1, staged!];
      const [lr, momentum] = [this.#feed.rateAt?.(step), this.#feed.momentumAt?.(step)];
      const meanwhile = () => {
        staged = i + 1 < count ? this.#stage(true) : undefined;
      };
      await this.#session.runStaged(current, { lr, momentum, meanwhile });
    }
    return (performance.now() - begin) / 1000 / steps;
  }

  #stage(ahead: boolean): StagedBatch {
    const step = this.#next++;
    return this.#session.stage(this.#program, this.#feed.tensorsAt(step), { step, ahead });
  }

  close(): Promise<void> {
    return this.#session.close();
  }
}

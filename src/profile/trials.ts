import { freemem } from 'node:os';
import { UsageError } from '../core/errors.ts';
import { median, medianDeviation } from '../core/statistics.ts';
import type { HostTensor } from '../core/types.ts';
import type { Plan, StepTime } from '../plan/index.ts';
import { Session, type StagedBatch } from '../train/session.ts';
import type { Feed } from './record.ts';

export interface TrialOptions {
  /** No further turn is begun after this time; every plan has one turn at least. Default 10. */
  readonly timeLimitSeconds?: number;
  /** Of all plans that are open at once, by their planned peaks. Default half of what the machine has free. */
  readonly memoryBytes?: number;
  readonly seed?: number;
  readonly parameters?: ReadonlyMap<string, HostTensor>;
  /** Ends it with what is known by then. */
  readonly signal?: AbortSignal | undefined;
}

export const TRIAL_SECONDS = 10;

/** Seconds that the steps of a turn take about, and how many there are at least and at most. */
const TURN_SECONDS = 0.06;
const [FEWEST, MOST] = [3, 50];

/** Steps of a turn that do not count: they find another plan's data in the caches, and devices that sleep. */
const LEADING = 2;

/**
 * What steps of each plan take on this machine, one behind another as in a training, so that the best of them can be chosen.
 * Plans take turns of some steps, in an order that goes round; the slower half leaves after each part of the time (successive
 * halving: Jamieson & Talwalkar 2016), so that those which are hardest to tell apart have the most turns. undefined for plans
 * that were not tried: those that do not fit into the memory beside the ones in front of them, and all where the signal came
 * before each had a turn.
 *
 * Throws what opening or running a plan throws.
 */
export async function timePlans(
  plans: readonly Plan[],
  feed: Feed,
  options: TrialOptions = {},
): Promise<(StepTime | undefined)[]> {
  const { timeLimitSeconds = TRIAL_SECONDS, memoryBytes = freemem() / 2, seed, parameters, signal } = options;
  if (!(timeLimitSeconds > 0)) {
    throw new UsageError('trial-time', `a trial takes time, and has ${timeLimitSeconds} s`, {
      fields: { timeLimitSeconds },
      remedy: 'timeLimitSeconds: 10',
    });
  }
  const begin = performance.now();
  const runners: Runner[] = [];
  try {
    for (const plan of fittingTogether(plans, memoryBytes)) {
      const session = await Session.open(plan, { seed, parameters, audit: false });
      runners.push(new Runner(session, feed, signal));
    }
    // Code is compiled, memory touched: the first turn tells how many steps the others have.
    for (const runner of runners) await runner.turn();
    const rounds = Math.max(1, Math.ceil(Math.log2(runners.length)));
    const warm = performance.now();
    const perRound = Math.max(0, begin + 1000 * timeLimitSeconds - warm) / rounds;
    let alive = runners;
    for (let round = 0; round < rounds && !signal?.aborted; round++) {
      const end = warm + (round + 1) * perRound;
      let turn = 0;
      do {
        const first = turn++ % alive.length;
        for (const runner of [...alive.slice(first), ...alive.slice(0, first)]) await runner.turn();
      } while (performance.now() < end && !signal?.aborted);
      alive = [...alive].sort((a, b) => a.seconds - b.seconds).slice(0, Math.max(2, Math.ceil(alive.length / 2)));
    }
    const isWhole = runners.every((r) => r.time !== undefined);
    return plans.map((_, i) => (isWhole ? runners[i]?.time : undefined));
  } finally {
    await Promise.all(runners.map((r) => r.close()));
  }
}

/** Those in front whose devices may be open at the same time. */
function fittingTogether(plans: readonly Plan[], memoryBytes: number): Plan[] {
  let left = memoryBytes;
  const fitting: Plan[] = [];
  for (const plan of plans) {
    left -= plan.memory.reduce((sum, { peakBytes }) => sum + peakBytes, 0);
    if (left < 0) break;
    fitting.push(plan);
  }
  return fitting;
}

/** A plan whose devices are up, and what its turns took. */
class Runner {
  readonly #session: Session;
  readonly #feed: Feed;
  readonly #signal: AbortSignal | undefined;
  readonly #program: string;
  #turns: number[] = [];
  #isWarm = false;
  #steps = FEWEST;
  #next = 0;

  constructor(session: Session, feed: Feed, signal: AbortSignal | undefined) {
    this.#session = session;
    this.#feed = feed;
    this.#signal = signal;
    [this.#program] = Object.keys(session.plan.programs) as [string];
  }

  get seconds(): number {
    return median(this.#turns);
  }

  get time(): StepTime | undefined {
    const turns = this.#turns.length;
    return turns === 0 ? undefined : { stepSeconds: this.seconds, mad: medianDeviation(this.#turns), turns };
  }

  /** Steps of a training, each staged while the one before it runs. A turn that the signal ends does not count. */
  async turn(): Promise<void> {
    const count = LEADING + this.#steps;
    let begin = 0;
    let staged: StagedBatch | undefined = this.#stage(false);
    for (let i = 0; i < count; i++) {
      if (this.#signal?.aborted) return;
      if (i === LEADING) begin = performance.now();
      const [step, current]: [number, StagedBatch] = [this.#next - 1, staged!];
      const [lr, momentum] = [this.#feed.rateAt?.(step), this.#feed.momentumAt?.(step)];
      const meanwhile = () => {
        staged = i + 1 < count ? this.#stage(true) : undefined;
      };
      await this.#session.runStaged(current, { lr, momentum, meanwhile });
    }
    const seconds = (performance.now() - begin) / 1000 / this.#steps;
    if (this.#isWarm) this.#turns.push(seconds);
    else this.#steps = Math.min(MOST, Math.max(FEWEST, Math.round(TURN_SECONDS / seconds)));
    this.#isWarm = true;
  }

  #stage(ahead: boolean): StagedBatch {
    const step = this.#next++;
    return this.#session.stage(this.#program, this.#feed.tensorsAt(step), { step, ahead });
  }

  close(): Promise<void> {
    return this.#session.close();
  }
}

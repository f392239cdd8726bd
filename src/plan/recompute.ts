/** What each stage of a plan computes again: by a rule, or as little as the devices' memories allow. */
import { nearest, UsageError } from '../core/errors.ts';
import type { Graph, Node } from '../graph/graph.ts';
import {
  type RecomputeChoice,
  type RecomputeMode,
  type StageForward,
  type StageOption,
  StageOptions,
  type StageRecompute,
  selectiveRecompute,
  stageForwards,
} from '../recompute/index.ts';
import { peakInFlight, type Schedule } from '../schedule/index.ts';

export interface RecomputeContext {
  readonly graph: Graph;
  readonly stageOf: (node: Node) => number;
  /** Device of each stage of the schedule. */
  readonly placement: readonly number[];
  /** Bytes of each device; Infinity: as much as needed. */
  readonly limits: readonly number[];
  /** What was found for stages of other plans. */
  readonly options?: StageOptions;
}

/** `best`: the least time within the limits; `fits`: whether anything is within them, so the first that is. */
export type FitGoal = 'best' | 'fits';

/** What is computed again by a rule that no capacity changes. `schedule` is absent where it is made for the choice. */
export function recomputeByRule(
  mode: Exclude<RecomputeMode, 'optimal'>,
  { graph, stageOf }: Pick<RecomputeContext, 'graph' | 'stageOf'>,
  schedule: Schedule | undefined,
): RecomputeChoice {
  const choice = new Map<number, StageRecompute>();
  if (mode === 'none') return choice;
  for (const [stage, forward] of stageForwards(graph, stageOf)) {
    if (mode === 'stage' && schedule && !holds(schedule, stage)) continue;
    choice.set(stage, mode === 'stage' ? { kept: new Set() } : selectiveRecompute(forward));
  }
  return choice;
}

/** A choice by hand names stages and values that there are: another name would have everything computed again, unsaid. */
export function checkChoice(choice: RecomputeChoice, graph: Graph, stages: number): void {
  const names = new Set(graph.nodes.flatMap((n) => n.outputs.map((t) => t.name)));
  for (const [stage, { kept }] of choice) {
    if (!Number.isSafeInteger(stage) || stage < 0 || stage >= stages) {
      throw new UsageError('recompute-stage', `recompute: stage ${stage} of a plan with ${stages}`, {
        fields: { stage, stages },
        remedy: `stages are numbered from 0 to ${stages - 1}`,
      });
    }
    for (const name of kept) {
      if (names.has(name)) continue;
      const near = nearest(name, [...names]);
      throw new UsageError(
        'recompute-value',
        `recompute: stage ${stage} keeps ${name}, which the graph does not have`,
        {
          fields: { stage, name, ...(near ? { nearest: near } : {}) },
          remedy: near ? `did you mean ${near}?` : 'partita graph lists the values of a model',
        },
      );
    }
  }
}

/**
 * Whether anything runs between a stage's forward and the backward of the same microbatch: else nothing is held, and
 * nothing gained.
 */
function holds({ rows, placement }: Schedule, stage: number): boolean {
  const row = rows[placement[stage]!]!;
  return row.some((task, i) => {
    if (task.kind !== 'F' || task.stage !== stage) return false;
    const next = row[i + 1];
    return next?.stage !== stage || next.kind === 'F' || next.microbatch !== task.microbatch;
  });
}

interface FitOptions<P> {
  readonly scheduleOf: (plan: P) => Schedule;
  /** Predicted, of a step. */
  readonly secondsOf: (plan: P) => number;
  /** Default `best`. */
  readonly goal?: FitGoal;
}

/** What `fitRecompute` needs to know of a compiled plan. */
interface Sized {
  readonly memory: readonly { readonly peakBytes: number; readonly maxLive: number }[];
}

/**
 * The least time of computing again with which each device's planned bytes are within its limit. The options of a device's
 * stages are ordered from keeping everything to needing least, a step each where a byte costs least time; what counts is
 * the compiled plan, so the first option that fits is searched for between those that do not and those that do, on all
 * devices at once. A device on which nothing fits has the option that needs least, or keeps everything where that needs no
 * more. Stages' own times leave out who waits for whom: of all plans tried that fit, the answer is the one whose step is
 * the shortest.
 *
 * `compile` is asked for `quick` plans, whose peaks only say whether they are within the limits, until the choice is made.
 */
export function fitRecompute<P extends Sized>(
  context: RecomputeContext,
  compile: (choice: RecomputeChoice, quick: boolean) => P,
  options: FitOptions<P>,
): P {
  const first = compile(new Map(), false);
  if (!context.limits.some((limit, d) => first.memory[d]!.peakBytes > limit)) return first;
  const fit = new Fit(context, compile, first, options);
  if (options.goal === 'fits') return fit.leastNeed.plan;
  return compile(fit.choiceOf(fit.byRules(fit.byPaths())), false);
}

/** A plan with the place of each device on its path. */
interface Placed<P> {
  readonly plan: P;
  readonly at: readonly number[];
}

class Fit<P extends Sized> {
  /** Every device has the option that needs least. */
  readonly leastNeed: Placed<P>;
  readonly #limits: readonly number[];
  readonly #compile: (choice: RecomputeChoice, quick: boolean) => P;
  readonly #first: P;
  readonly #secondsOf: (plan: P) => number;
  readonly #options: StageOptions;
  /** Forward values of the stages that have any, on each device. */
  readonly #forwardsOn: readonly ReadonlyMap<number, StageForward>[];
  /** Options of each device, from keeping everything to needing least. */
  readonly #paths: readonly (readonly PathStep[])[];
  /** Devices on which nothing fits. */
  readonly #hopeless: readonly boolean[];
  readonly #choices = new Map<P, RecomputeChoice>();
  readonly #known = new Map<string, P>();

  constructor(
    { graph, stageOf, placement, limits, options = new StageOptions() }: RecomputeContext,
    compile: (choice: RecomputeChoice, quick: boolean) => P,
    first: P,
    { scheduleOf, secondsOf }: FitOptions<P>,
  ) {
    this.#limits = limits;
    this.#compile = compile;
    this.#first = first;
    this.#secondsOf = secondsOf;
    this.#options = options;
    const inFlight = peakInFlight(scheduleOf(first));
    const forwards = stageForwards(graph, stageOf);
    this.#forwardsOn = limits.map(
      (_, d) =>
        new Map(
          placement.flatMap((device, stage) => {
            const forward = device === d ? forwards.get(stage) : undefined;
            return forward ? [[stage, forward] as const] : [];
          }),
        ),
    );
    this.#paths = this.#forwardsOn.map((own, d) =>
      this.#isOver(first, d)
        ? pathOf(new Map([...own].map(([s, forward]) => [s, options.of(forward, Math.max(1, inFlight[s]!))])))
        : [{ bytes: 0, seconds: 0, choice: new Map() }],
    );
    this.leastNeed = this.#at(this.#paths.map((path) => path.length - 1));
    this.#hopeless = limits.map((_, d) => this.#isOver(this.leastNeed.plan, d));
  }

  choiceOf(plan: P): RecomputeChoice {
    return this.#choices.get(plan)!;
  }

  /** The first options that fit, searched for on all devices at once. */
  byPaths(): Placed<P> {
    const paths = this.#paths;
    const hopeless = this.#hopeless;
    // Of each device the last option known not to fit, and the first that is taken to.
    const low = paths.map(() => 0);
    const high = paths.map((path, d) => (this.#isInVain(d) ? 0 : path.length - 1));
    let fitting = this.#at(high);
    let at: readonly number[] = paths.map((_, d) =>
      hopeless[d] || high[d]! === 0 ? high[d]! : this.#next(this.#first, d, 0, low[d]!, high[d]!),
    );
    for (let round = 0; round < ROUNDS && at.some((i, d) => low[d]! < i && i < high[d]!); round++) {
      const tried = this.#at(at);
      if (this.#fits(tried.plan)) fitting = tried;
      at = at.map((i, d) => {
        if (i <= low[d]! || i >= high[d]!) return high[d]!;
        if (this.#isOver(tried.plan, d)) low[d] = i;
        else high[d] = i;
        return high[d]! - low[d]! > 1 ? this.#next(tried.plan, d, i, low[d]!, high[d]!) : high[d]!;
      });
    }
    const last = this.#at(high);
    // What one device keeps may move the messages of another.
    return this.#fits(last.plan) ? last : fitting;
  }

  /**
   * The best of what was found, and of the rules. Options are ordered by their own bytes and times, which are not the whole
   * program's: a rule may fit and take less.
   */
  byRules(found: Placed<P>): P {
    let best = found.plan;
    const taken = found.at.map((i, d) => this.#paths[d]![i]!);
    for (let rule = 0; rule < RULES; rule++) {
      const ruled = taken.map((step, d) => this.#ruleOn(d, rule, step.seconds));
      for (let round = 0; round < 2 && ruled.some(Boolean); round++) {
        const plan = this.#weigh(new Map(taken.flatMap((step, d) => [...(ruled[d] ?? step).choice])));
        if (this.#fits(plan)) {
          if (this.#secondsOf(plan) >= this.#secondsOf(best)) break;
          best = plan;
          for (const [d, step] of ruled.entries()) if (step) taken[d] = step;
          break;
        }
        // Where it fits it may stay, if that makes the others fit.
        for (const d of ruled.keys()) if (this.#isOver(plan, d)) ruled[d] = undefined;
      }
    }
    return best;
  }

  /** A rule on all stages of a device that has a choice; undefined where it takes far longer than what is taken there. */
  #ruleOn(d: number, rule: number, takenSeconds: number): PathStep | undefined {
    if (this.#paths[d]!.length === 1 || this.#hopeless[d]) return undefined;
    const stages = [...this.#forwardsOn[d]!].flatMap(([s, forward]) => {
      const own = this.#options.rules(forward)[rule];
      return own ? [[s, own] as const] : [];
    });
    const seconds = stages.reduce((sum, [, own]) => sum + own.seconds, 0);
    if (seconds >= NEAR * takenSeconds) return undefined;
    return { bytes: 0, seconds, choice: new Map(stages.map(([s, { recompute }]) => [s, recompute])) };
  }

  /** Nothing fits, and computing again does not help: an option needs least by its own bytes, not by the whole program's. */
  #isInVain(d: number): boolean {
    return this.#hopeless[d]! && this.leastNeed.plan.memory[d]!.maxLive >= this.#first.memory[d]!.maxLive;
  }

  /**
   * The next option to try: by the stages' own bytes the first that saves what is lacking, or the last for which there is
   * room.
   */
  #next(plan: P, d: number, i: number, low: number, high: number): number {
    const path = this.#paths[d]!;
    const wanted = path[i]!.bytes - (plan.memory[d]!.peakBytes - this.#limits[d]!);
    const first = path.findIndex(({ bytes }) => bytes <= wanted);
    return Math.min(high - 1, Math.max(low + 1, first < 0 ? high : first));
  }

  #isOver(plan: P, d: number): boolean {
    return plan.memory[d]!.peakBytes > this.#limits[d]!;
  }

  #fits(plan: P): boolean {
    return this.#limits.every((_, d) => this.#hopeless[d] || !this.#isOver(plan, d));
  }

  #at(at: readonly number[]): Placed<P> {
    const key = at.join();
    let plan = this.#known.get(key);
    if (!plan) {
      plan = this.#weigh(new Map(at.flatMap((i, d) => [...this.#paths[d]![i]!.choice])));
      this.#known.set(key, plan);
    }
    return { plan, at: [...at] };
  }

  #weigh(choice: RecomputeChoice): P {
    const plan = this.#compile(choice, true);
    this.#choices.set(plan, choice);
    return plan;
  }
}

/**
 * A rule that takes less than so many times what was found may make the step shorter all the same: it computes again while the
 * device waits for a gradient, where a chain of blocks does so in between.
 */
const NEAR = 1.5;

/** Those of `StageOptions.rules`. */
const RULES = 3;

/** Compilations at most, on the way to the first options that fit. */
const ROUNDS = 6;

interface PathStep {
  readonly bytes: number;
  /** Of what a microbatch computes again. */
  readonly seconds: number;
  readonly choice: RecomputeChoice;
}

/** From keeping everything to needing least: next is the stage that gives a byte for the least time. */
function pathOf(options: ReadonlyMap<number, readonly StageOption[]>): PathStep[] {
  const at = new Map([...options.keys()].map((stage) => [stage, 0]));
  const path: PathStep[] = [];
  for (;;) {
    let [bytes, seconds] = [0, 0];
    const choice = new Map<number, StageRecompute>();
    for (const [stage, i] of at) {
      const { bytes: own, seconds: time, recompute } = options.get(stage)![i]!;
      bytes += own;
      seconds += time;
      if (recompute) choice.set(stage, recompute);
    }
    path.push({ bytes, seconds, choice });
    let next: number | undefined;
    let least = Number.POSITIVE_INFINITY;
    for (const [stage, i] of at) {
      const [here, behind] = [options.get(stage)![i]!, options.get(stage)![i + 1]];
      if (!behind) continue;
      const rate = (behind.seconds - here.seconds) / (here.bytes - behind.bytes);
      if (rate < least) [least, next] = [rate, stage];
    }
    if (next === undefined) return path;
    at.set(next, at.get(next)! + 1);
  }
}

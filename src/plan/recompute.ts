/** What each stage of a plan computes again: by a rule, or as little as the devices' memories allow. */
import { nearest, UsageError } from '../core/errors.ts';
import type { Graph, Node } from '../graph/graph.ts';
import {
  type RecomputeChoice,
  type RecomputeMode,
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
  { graph, stageOf, placement, limits, options = new StageOptions() }: RecomputeContext,
  compile: (choice: RecomputeChoice, quick: boolean) => P,
  { scheduleOf, secondsOf, goal = 'best' }: FitOptions<P>,
): P {
  const first = compile(new Map(), false);
  const isOver = (plan: P, d: number): boolean => plan.memory[d]!.peakBytes > limits[d]!;
  if (!limits.some((_, d) => isOver(first, d))) return first;
  const inFlight = peakInFlight(scheduleOf(first));
  const forwards = stageForwards(graph, stageOf);
  const stagesOn = (d: number): number[] =>
    placement.flatMap((device, stage) => (device === d && forwards.has(stage) ? [stage] : []));
  const paths = limits.map((_, d) => {
    if (!isOver(first, d)) return [{ bytes: 0, seconds: 0, choice: new Map() }];
    const own = stagesOn(d);
    return pathOf(new Map(own.map((s) => [s, options.of(forwards.get(s)!, Math.max(1, inFlight[s]!))])));
  });
  const choices = new Map<P, RecomputeChoice>();
  const weighed = (choice: RecomputeChoice): P => {
    const plan = compile(choice, true);
    choices.set(plan, choice);
    return plan;
  };
  const known = new Map<string, P>();
  const compiledAt = (at: readonly number[]): P => {
    let plan = known.get(at.join());
    if (!plan) known.set(at.join(), (plan = weighed(new Map(at.flatMap((i, d) => [...paths[d]![i]!.choice])))));
    return plan;
  };
  // Of each device the last option known not to fit, and the first that is taken to.
  const low = paths.map(() => 0);
  const high = paths.map((path) => path.length - 1);
  let fitting = compiledAt(high);
  let fittingAt: readonly number[] = [...high];
  const hopeless = limits.map((_, d) => isOver(fitting, d));
  if (goal === 'fits') return fitting;
  // By its own bytes an option needs least; of the whole program that is no promise.
  const inVain = hopeless.map((is, d) => is && fitting.memory[d]!.maxLive >= first.memory[d]!.maxLive);
  if (inVain.includes(true)) {
    for (const [d, is] of inVain.entries()) if (is) high[d] = 0;
    fitting = compiledAt(high);
    fittingAt = [...high];
  }
  const fits = (plan: P): boolean => limits.every((_, d) => hopeless[d] || !isOver(plan, d));
  /**
   * The next option to try: by the stages' own bytes the first that saves what is lacking, or the last for which there is
   * room.
   */
  const next = (plan: P, d: number, i: number): number => {
    const wanted = paths[d]![i]!.bytes - (plan.memory[d]!.peakBytes - limits[d]!);
    const first = paths[d]!.findIndex(({ bytes }) => bytes <= wanted);
    return Math.min(high[d]! - 1, Math.max(low[d]! + 1, first < 0 ? high[d]! : first));
  };
  let at = paths.map((_, d) => (hopeless[d] || high[d]! === 0 ? high[d]! : next(first, d, 0)));
  for (let round = 0; round < ROUNDS && at.some((i, d) => low[d]! < i && i < high[d]!); round++) {
    const plan = compiledAt(at);
    if (fits(plan)) [fitting, fittingAt] = [plan, at];
    at = at.map((i, d) => {
      if (i <= low[d]! || i >= high[d]!) return high[d]!;
      if (isOver(plan, d)) low[d] = i;
      else high[d] = i;
      return high[d]! - low[d]! > 1 ? next(plan, d, i) : high[d]!;
    });
  }
  const last = compiledAt(high);
  // What one device keeps may move the messages of another.
  const found = fits(last) ? { plan: last, at: high } : { plan: fitting, at: fittingAt };
  // Options are ordered by their own bytes and times, which are not the whole program's: a rule may fit and take less than
  // what was found.
  let { plan: best } = found;
  const taken = found.at.map((i, d) => paths[d]![i]!);
  for (let rule = 0; rule < RULES; rule++) {
    const ruled = paths.map((path, d): PathStep | undefined => {
      if (path.length === 1 || hopeless[d]) return undefined;
      const stages = stagesOn(d).flatMap((s) => {
        const own = options.rules(forwards.get(s)!)[rule];
        return own ? [[s, own] as const] : [];
      });
      const seconds = stages.reduce((sum, [, own]) => sum + own.seconds, 0);
      if (seconds >= NEAR * taken[d]!.seconds) return undefined;
      return { bytes: 0, seconds, choice: new Map(stages.map(([s, { recompute }]) => [s, recompute])) };
    });
    for (let round = 0; round < 2 && ruled.some(Boolean); round++) {
      const plan = weighed(new Map(taken.flatMap((step, d) => [...(ruled[d] ?? step).choice])));
      if (fits(plan)) {
        if (secondsOf(plan) >= secondsOf(best)) break;
        best = plan;
        for (const [d, step] of ruled.entries()) if (step) taken[d] = step;
        break;
      }
      // Where it fits it may stay, if that makes the others fit.
      for (const d of ruled.keys()) if (isOver(plan, d)) ruled[d] = undefined;
    }
  }
  return compile(choices.get(best)!, false);
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

import { PartitaError, PlanError } from '../core/errors.ts';
import { requireKinds } from '../core/options.ts';
import { Bounds } from './auto/bound.ts';
import { type Drain, drainsOf } from './auto/drain.ts';
import { compileInstance, type InstanceOptions } from './auto/instance.ts';
import type { Policy } from './auto/list.ts';
import { portfolio } from './auto/portfolio.ts';
import { rowsOf, tasksOf } from './auto/rows.ts';
import { better, type Found, type Objective, Search } from './auto/search.ts';
import { timesUntilStuck } from './clock.ts';
import { makeSchedule, namedSchedules, type ScheduleName, scheduleNames } from './named.ts';
import { checkShape } from './placed.ts';
import { layStages, type PlacementRule, placementOver, renaming } from './placement.ts';
import { requireShape, type Schedule, type ScheduleShape } from './schedule.ts';
import { task } from './task.ts';

export type { ScheduleMemory } from './auto/instance.ts';
export type { Objective as ScheduleObjective } from './auto/search.ts';

export interface AutoScheduleOptions extends InstanceOptions {
  /**
   * `makespan` (default): the end of the last task. `span`: the largest over devices of (last end − own first start),
   * the length of a step in a stream of steps whose devices do not wait for each other between them.
   */
  readonly objective?: Objective;
  /** Tasks that the search may place, over all its tries. Default 3 million: a few seconds. */
  readonly effort?: number;
}

const DEFAULT_EFFORT = 3_000_000;

export interface AutoSchedule {
  readonly schedule: Schedule;
  readonly makespan: number;
  readonly span: number;
  /** Of the objective: no schedule that runs each stage in microbatch order is below it. */
  readonly lowerBound: number;
  /** (objective − lowerBound) / objective: 0 where the schedule is proved to be the best. */
  readonly gap: number;
  /** The most that each device holds, in the units of `memory`; zeros without. */
  readonly held: readonly number[];
  /** The best named schedule that obeys the same limits; undefined where none does. */
  readonly against: NamedAgainst | undefined;
  readonly searched: Searched;
}

/** What the search did. */
export interface Searched {
  /** Named schedules that were tried and obey the limits. */
  readonly named: readonly ScheduleName[];
  /** Orders that were played to their end. */
  readonly orders: number;
  /** Where no placement was given for stages that share devices: those that were tried and have room. */
  readonly placements: readonly PlacementRule[];
  /** So many tasks that not all named schedules were tried, nor more orders than the effort is good for. */
  readonly isLarge: boolean;
}

export interface NamedAgainst {
  readonly name: ScheduleName;
  readonly makespan: number;
  readonly span: number;
}

/**
 * The schedule `auto`: list scheduling by many policies, and by the order of every named schedule that obeys the limits,
 * then changes to the best of these, then moves on the critical way; few tasks are solved to the optimum. Any acyclic graph
 * of stages, any placement, times, links and memory for which a schedule exists; never worse than the best of the named
 * (of those that were tried: `searched`). Each stage runs its F, its B and its W in microbatch order. Where there are more
 * stages than devices and no placement, each of the placements by rule that differ has its share of the effort, and the
 * best schedule its place.
 */
export function autoSchedule(shape: ScheduleShape, options: AutoScheduleOptions = {}): AutoSchedule {
  requireShape('autoSchedule', shape);
  requireKinds('autoSchedule', { options: ['record', options] });
  const { objective = 'makespan', effort = DEFAULT_EFFORT } = options;
  checkSearch(objective, effort);
  const rules = rulesOf(shape);
  let best: AutoSchedule | undefined;
  let refused: unknown;
  const placements: PlacementRule[] = [];
  for (const rule of rules) {
    const { stages, devices = stages } = shape;
    const own = rule ? { ...shape, placement: placementOver(rule, stages, devices) } : shape;
    try {
      const found = placedSchedule(own, { ...options, objective, effort: effort / rules.length });
      if (rule) placements.push(rule);
      const isBetter =
        best === undefined ||
        found[objective] < best[objective] ||
        (found[objective] === best[objective] && found.makespan + found.span < best.makespan + best.span);
      if (isBetter) best = found;
    } catch (error) {
      // Memory that is too little for one placement may do for another.
      if (!(error instanceof PlanError && error.code === 'schedule-memory-budget')) throw error;
      refused ??= error;
    }
  }
  if (best === undefined) throw refused;
  return { ...best, searched: { ...best.searched, placements } };
}

/** Placements to try; undefined stands for the one that is given, or one stage a device. */
function rulesOf({ stages, devices = stages, placement }: ScheduleShape): readonly (PlacementRule | undefined)[] {
  if (placement !== undefined || !(devices < stages)) return [undefined];
  // On a single device all are the same.
  return devices > 1 ? ['looped', 'v', 'straight'] : ['looped'];
}

function placedSchedule(shape: ScheduleShape, options: AutoScheduleOptions): AutoSchedule {
  const { objective = 'makespan', effort = DEFAULT_EFFORT } = options;
  const { stages, microbatches } = shape;
  const placed = { stages, microbatches, ...checkShape(shape, () => oneEach(shape)) };
  const instance = compileInstance(placed, options);
  const drains = drainsOf(instance);
  const bounds = new Bounds(instance);
  const lowerBound = bounds[objective]();
  const search = new Search(instance, objective, lowerBound, effort);

  const isLarge = 3 * instance.slots > LARGE;
  const { against, named } = bestNamed(search, placed, options, isLarge);
  const found: Found[] = search.best === undefined ? [] : [search.best];
  const drainFor = (policy: Policy | undefined): Drain =>
    policy?.split === false ? drains.whole : (drains.split ?? drains.whole);
  const policies = portfolio(drains.split ? instance : { ...instance, split: false }, bounds.ranks());
  let exact = false;
  let seed = 0;
  let tuning = 0;
  // Rounds, each as long as all before it: they are the same whatever effort is allowed, which only ends them. So more
  // effort never gives a worse schedule. Up to a quarter of what is spent so far goes to the portfolio, three eighths to
  // its best members changed a little, the rest to moves of tasks.
  for (let until = FIRST_ROUND, listed = 0; ; until *= 2) {
    while (policies.length > 0 && (found.length === 0 || (!search.done && listed < until / 4))) {
      const before = search.spent;
      const policy = policies.shift()!;
      found.push(search.list(drainFor(policy), policy));
      listed += search.spent - before;
    }
    if (search.done) break;
    if (objective === 'makespan' && (exact = search.exact(bounds, until / 2))) break;
    found.sort((a, b) => (better(a, b) ? -1 : better(b, a) ? 1 : 0));
    found.length = Math.min(found.length, LEADERS);
    const [tuneFrom, share] = [search.spent, (until * 3) / 16 / found.length];
    found.push(
      ...found.map((f, i) => {
        const end = tuneFrom + (i + 1) * share;
        const leader = search.relist(drainFor(f.policy), f, 8, end);
        return search.tune(drainFor(leader.policy), leader, end, tuning++);
      }),
    );
    for (let k = 0; k < 64 && !search.done && search.spent < until; k++) search.improve(search.best!, seed++, until);
    if (search.done || until >= effort) break;
  }

  const { rows } = search.best!;
  const { makespan, span } = search.lengths(rows);
  const value = objective === 'span' ? span : makespan;
  const schedule: Schedule = { name: 'auto', ...placed, rows: tasksOf(rows, instance) };
  // The bound adds the same times in another order, so one that is reached may stand a rounding above it.
  const bound = exact || Math.abs(value - lowerBound) <= 1e-12 * value ? value : lowerBound;
  const gap = value > 0 ? (value - bound) / value : 0;
  const searched = { named, orders: search.played, placements: [], isLarge };
  return { schedule, makespan, span, lowerBound: bound, gap, held: search.peaks(rows), against, searched };
}

/** Where the rounds begin: the default effort ends with a whole one. */
const FIRST_ROUND = DEFAULT_EFFORT / 2 ** 12;
/** Schedules that are tuned in a round. */
const LEADERS = 4;

/**
 * Tasks from which making and playing one order takes a second: of the named schedules only those of this very placement are
 * tried then, and like everything else only while effort is left.
 */
const LARGE = 500_000;

function checkSearch(objective: Objective, effort: number): void {
  if (objective !== 'makespan' && objective !== 'span') {
    throw new PlanError('schedule-objective', `there is no objective "${String(objective)}"`, {
      fields: { objective },
      remedy: 'Use "makespan" or "span".',
    });
  }
  if (!(effort >= 0)) {
    throw new PlanError('schedule-effort', `an effort of ${effort} is no number of tasks`, {
      fields: { effort },
      remedy: 'Give a number from 0; with 0 a single policy is tried beside the named schedules.',
    });
  }
}

const oneEach = ({ stages }: ScheduleShape): number[] => layStages('straight', stages, stages);

/** Tries every named schedule as it is and, where it may be, with its backwards split; of a large problem see `LARGE`. */
function bestNamed(
  search: Search,
  placed: ScheduleShape,
  options: AutoScheduleOptions,
  isLarge: boolean,
): { against: NamedAgainst | undefined; named: ScheduleName[] } {
  const { instance } = search;
  const objective = options.objective ?? 'makespan';
  let best: NamedAgainst | undefined;
  const tried: ScheduleName[] = [];
  for (const name of isLarge ? namesOf(placed) : scheduleNames) {
    if (isLarge && search.done) break;
    const schedule = named(name, placed);
    if (schedule === undefined || !inOrder(schedule)) continue;
    const splits = schedule.rows.some((row) => row.some((t) => t.kind === 'B' || t.kind === 'W'));
    if (splits && !instance.split) continue;
    if (instance.split && !isLarge) search.try(rowsOf(withSplitBackward(schedule), instance));
    if (search.try(rowsOf(schedule, instance)) === undefined) continue;
    tried.push(name);
    const lengths = lengthsOf(schedule, options);
    if (best === undefined || lengths[objective] < best[objective]) best = { name, ...lengths };
  }
  return { against: best, named: tried };
}

/** Names whose own placement this is, those with split backwards first: they have the shorter steps. */
function namesOf({ stages, placement }: ScheduleShape): ScheduleName[] {
  const devices = new Set(placement).size;
  const own = scheduleNames.filter((name) => {
    const rule = namedSchedules[name].placement;
    if (stages === devices) return rule === 'straight';
    return renaming(layStages(rule, stages, devices), placement!) !== undefined;
  });
  const splits = (name: ScheduleName): boolean => name.startsWith('zb-') || name === 'dualpipe-v';
  return [...own.filter(splits), ...own.filter((name) => !splits(name))];
}

/** By the clock, which knows overlap cells; rows without them take no longer. */
function lengthsOf(schedule: Schedule, options: AutoScheduleOptions): { makespan: number; span: number } {
  const { rowStarts, starts, ends, makespan } = timesUntilStuck(schedule, options);
  const spans = schedule.rows.flatMap((row, d) =>
    row.length > 0 ? [ends[rowStarts[d + 1]! - 1]! - starts[rowStarts[d]!]!] : [],
  );
  return { makespan, span: Math.max(0, ...spans) };
}

/** Undefined where the rule does not know this number of stages or this placement. */
function named(name: ScheduleName, shape: ScheduleShape): Schedule | undefined {
  try {
    return makeSchedule(name, shape);
  } catch (error) {
    if (error instanceof PartitaError) return undefined;
    throw error;
  }
}

const withSplitBackward = (schedule: Schedule): Schedule => ({
  ...schedule,
  rows: schedule.rows.map((row) =>
    row.flatMap((t) => (t.kind === 'BW' ? [task('B', t.stage, t.microbatch), task('W', t.stage, t.microbatch)] : [t])),
  ),
});

/** Rows are kept as counts (see rows.ts), so a schedule that runs a stage out of order would become another. */
function inOrder({ rows, stages }: Schedule): boolean {
  return rows.every((row) => {
    const next = new Map<number, number>();
    return row.every((t) => {
      const line = (t.kind === 'F' ? 0 : t.kind === 'W' ? 2 : 1) * stages + t.stage;
      const expected = next.get(line) ?? 0;
      next.set(line, expected + 1);
      if (t.kind === 'BW') next.set(2 * stages + t.stage, expected + 1);
      return t.microbatch === expected;
    });
  });
}

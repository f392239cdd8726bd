/**
 * The search for a good plan: partition, placement, schedule and number of microbatches together, for the least predicted
 * step time within the devices' memories.
 *
 * Every combination is weighed on paper first (`estimate`: the schedule's clock over the costs of the stages, the bytes of
 * what is in flight); the most promising, and those that promise to need little memory, are compiled, laid out and
 * simulated like any plan. What is reported of a plan is always the latter.
 */
import { PlanError, UsageError } from '../core/errors.ts';
import { analyticCosts } from '../cost/model.ts';
import { normalizesByWholeBatch } from '../optim/batch-norm.ts';
import { pauses } from '../partition/pause.ts';
import type { RecomputeMode } from '../recompute/index.ts';
import { scheduleNames } from '../schedule/index.ts';
import { capacityOf } from './capacity.ts';
import { tooManyInstructions } from './graphs.ts';
import { draftPlan, graphsOf, type Plan, PlanCache, type PlanRequest, shortages } from './plan.ts';
import { forwardsFirst } from './schedules.ts';
import type { EvaluatedCandidate, SearchOptions, Trial } from './search/candidate.ts';
import { checkSearch } from './search/check-search.ts';
import { Evaluations } from './search/evaluations.ts';
import { breathe, layoutsOf } from './search/layouts.ts';
import { largest, paretoFront } from './search/order.ts';
import { candidatesToTry } from './search/trials.ts';
import { type Weighed, weigh } from './search/weigh.ts';
import { stepBoundOf } from './step-bound.ts';

export {
  type Candidate,
  type EvaluatedCandidate,
  type PartitionWay,
  partitionWays,
  type SearchOptions,
  type StepTime,
  type Trial,
  type Trials,
} from './search/candidate.ts';
export { checkSearch } from './search/check-search.ts';

export interface SearchResult {
  /** The fastest plan that fits: by its trial where there were trials, else by its prediction. */
  readonly plan: Plan;
  readonly best: EvaluatedCandidate;
  /** All that were simulated, the fastest first. */
  readonly evaluated: readonly EvaluatedCandidate[];
  /** Those that fit and that no other beats in both step time and largest peak, the fastest first. */
  readonly pareto: readonly EvaluatedCandidate[];
  /** Those whose steps were run, the fastest first. Absent where that was not asked for, or fewer than two could be run. */
  readonly trials?: readonly Trial[];
  /** No plan with any of the numbers of microbatches tried is faster under these costs. Seconds. */
  readonly lowerBound: number;
  readonly gap: number;
  /** Combinations weighed on paper. */
  readonly considered: number;
  /** The signal ended it before its time. */
  readonly interrupted: boolean;
  readonly seconds: number;
}

/** Throws PlanError where nothing that was tried fits the devices, UsageError where there is nothing to try. */
export async function searchPlan(
  request: PlanRequest,
  options: SearchOptions = {},
  cache: PlanCache = new PlanCache(),
): Promise<SearchResult> {
  checkSearch(request, options);
  const begin = performance.now();
  const { evaluations = 40, timeLimitSeconds = 60, signal } = options;
  const pause = pauses();
  const recompute = options.recompute ?? recomputeAskedFor(request);
  /** Half of the time goes into partitions at most. */
  const paper = await weighAll(request, options, cache, { recompute, cutBy: begin + 500 * timeLimitSeconds });
  const limits = { evaluations, deadline: begin + 1000 * timeLimitSeconds };
  const plans = new Evaluations(request, recompute, options, cache, limits);
  await plans.run(paper.weighed, options.schedules === undefined && !paper.byWholeBatch, pause);
  const evaluated = plans.sorted;

  // The programs for a smaller last batch and for evaluation must fit too.
  const drafted = new Map<EvaluatedCandidate, Plan | undefined>();
  const wholePlan = async (candidate: EvaluatedCandidate): Promise<Plan | undefined> => {
    if (!candidate.fits) return undefined;
    if (drafted.has(candidate)) return drafted.get(candidate);
    await pause();
    const plan = draftPlan(plans.requestOf(candidate), cache);
    const whole = shortages(plan).length === 0 ? plan : undefined;
    drafted.set(candidate, whole);
    return whole;
  };
  const trials = await tried(evaluated, options, wholePlan);
  for (const best of trials.length > 0 ? trials.map((t) => t.candidate) : evaluated) {
    const plan = await wholePlan(best);
    if (!plan) continue;
    return {
      plan,
      best,
      evaluated,
      pareto: paretoFront(evaluated.filter((c) => c.fits)),
      ...(trials.length > 0 ? { trials } : {}),
      lowerBound: Math.min(paper.lowerBound, best.stepSeconds),
      gap: Math.max(0, 1 - paper.lowerBound / best.stepSeconds),
      considered: paper.weighed.length,
      interrupted: signal?.aborted ?? false,
      seconds: (performance.now() - begin) / 1000,
    };
  }
  signal?.throwIfAborted();
  throw nothingFits(request, evaluated);
}

/** All combinations on paper. */
async function weighAll(
  request: PlanRequest,
  options: SearchOptions,
  cache: PlanCache,
  { recompute, cutBy }: { readonly recompute: RecomputeMode; readonly cutBy: number },
) {
  const pause = pauses();
  const costs = request.costs ?? analyticCosts();
  const [mainName] = Object.keys(request.programs) as [string];
  const counts = searchedMicrobatches(request, options);
  const byWholeBatch = normalizesByWholeBatch(
    graphsOf({ ...request, microbatches: counts[0]! }, mainName, cache).largest,
  );
  const schedules = (options.schedules ?? scheduleNames).filter(
    (name) => !byWholeBatch || forwardsFirst.includes(name),
  );
  const weighed: Weighed[] = [];
  let lowerBound = Number.POSITIVE_INFINITY;
  let refusal: PlanError | undefined;
  for (const microbatches of counts) {
    const build = graphsOf({ ...request, microbatches }, mainName, cache);
    const tooMany = tooManyInstructions(build);
    if (tooMany) {
      refusal ??= tooMany;
      continue;
    }
    const { chunks, graphs, largest: graph } = build;
    lowerBound = Math.min(lowerBound, stepBoundOf(graph, request, chunks, graphs));
    for (const layout of await layoutsOf(request, graph, microbatches, costs, options, cutBy)) {
      await breathe(pause, options.signal);
      weighed.push(...weigh(layout, graph, request, costs, schedules, recompute));
    }
  }
  if (weighed.length > 0) return { weighed, lowerBound, byWholeBatch };
  if (refusal) throw refusal;
  throw new UsageError('search-empty', 'there is no combination of partition, schedule and microbatches to try', {
    fields: { microbatches: counts, schedules },
    remedy: 'allow more schedules or numbers of microbatches',
  });
}

/** Real steps of the best, the fastest first; none where they are not asked for, or where less than two could have them. */
async function tried(
  evaluated: readonly EvaluatedCandidate[],
  { trials, signal }: SearchOptions,
  wholePlan: (candidate: EvaluatedCandidate) => Promise<Plan | undefined>,
): Promise<Trial[]> {
  const fitting = evaluated.filter((c) => c.fits);
  if (trials === undefined || fitting.length < 2) return [];
  const candidates: EvaluatedCandidate[] = [];
  const plans: Plan[] = [];
  for (const candidate of candidatesToTry(fitting)) {
    if (signal?.aborted) return [];
    const plan = await wholePlan(candidate);
    if (!plan) continue;
    candidates.push(candidate);
    if (plans.push(plan) === trials.plans) break;
  }
  if (plans.length < 2) return [];
  const times = await trials.time(plans);
  const found = candidates.flatMap((candidate, i): Trial[] => {
    const time = times[i];
    return time && time.stepSeconds > 0 && Number.isFinite(time.stepSeconds) ? [{ candidate, ...time }] : [];
  });
  return found.length < 2 ? [] : found.sort((a, b) => a.stepSeconds - b.stepSeconds);
}

/** Where all memories are as large as needed nothing is gained by computing again. */
function recomputeAskedFor({ recompute, devices }: PlanRequest): RecomputeMode {
  if (typeof recompute === 'string' && recompute !== 'none') return recompute;
  return devices.some((d) => capacityOf(d) !== null) ? 'optimal' : 'none';
}

/** Numbers of microbatches that a search tries. */
export function searchedMicrobatches(
  request: PlanRequest,
  { microbatches }: Pick<SearchOptions, 'microbatches'> = {},
): readonly number[] {
  if (microbatches) return microbatches;
  const { batch } = Object.values(request.programs)[0]!;
  const asked = request.microbatches;
  const counts = new Set([Math.min(asked, batch)]);
  for (let m = 1; m <= Math.min(batch, 32); m *= 2) counts.add(m);
  return [...counts].sort((a, b) => a - b);
}

function nothingFits({ devices }: PlanRequest, evaluated: readonly EvaluatedCandidate[]): PlanError {
  const smallest = evaluated.reduce((a, b) => (largest(b) < largest(a) ? b : a));
  const need = Math.ceil(largest(smallest) / 65536) * 65536;
  return new PlanError(
    'search-nothing-fits',
    `none of ${evaluated.length} plans fits the devices; the smallest needs ${need} bytes on its fullest device`,
    {
      fields: { capacities: devices.map((d) => d.memory), smallest: { ...smallest } },
      remedy: `--memory ${need / 1024}KiB`,
    },
  );
}

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
import { draftPlan, graphsOf, type Plan, PlanCache, type PlanRequest, roughPlan, shortages } from './plan.ts';
import { forwardsFirst } from './schedules.ts';
import type { EvaluatedCandidate, SearchOptions } from './search/candidate.ts';
import { breathe, type Layout, layoutsOf } from './search/layouts.ts';
import { inOrderOfPromise, largest, paretoFront } from './search/order.ts';
import { type Weighed, weigh } from './search/weigh.ts';
import { stepBoundOf } from './step-bound.ts';

export {
  type Candidate,
  type EvaluatedCandidate,
  type PartitionWay,
  partitionWays,
  type SearchOptions,
} from './search/candidate.ts';

export interface SearchResult {
  /** The fastest plan that fits. */
  readonly plan: Plan;
  readonly best: EvaluatedCandidate;
  /** All that were simulated, the fastest first. */
  readonly evaluated: readonly EvaluatedCandidate[];
  /** Those that fit and that no other beats in both step time and largest peak, the fastest first. */
  readonly pareto: readonly EvaluatedCandidate[];
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
  const begin = performance.now();
  const { evaluations = 40, timeLimitSeconds = 60, signal } = options;
  const pause = pauses();
  const deadline = begin + 1000 * timeLimitSeconds;
  const costs = request.costs ?? analyticCosts();
  const [mainName, main] = Object.entries(request.programs)[0]!;
  const recompute = options.recompute ?? recomputeAskedFor(request);
  const counts = searchedMicrobatches(request, options);
  const byWholeBatch = normalizesByWholeBatch(
    graphsOf({ ...request, microbatches: counts[0]! }, mainName, cache).largest,
  );
  const schedules = (options.schedules ?? scheduleNames).filter(
    (name) => !byWholeBatch || forwardsFirst.includes(name),
  );

  /** Half of the time goes into partitions at most. */
  const cutBy = begin + 500 * timeLimitSeconds;
  const weighed: Weighed[] = [];
  let lowerBound = Number.POSITIVE_INFINITY;
  for (const microbatches of counts) {
    const { chunks, graphs, largest: graph } = graphsOf({ ...request, microbatches }, mainName, cache);
    lowerBound = Math.min(lowerBound, stepBoundOf(graph, request, chunks, graphs));
    for (const layout of await layoutsOf(request, graph, microbatches, costs, options, cutBy)) {
      await breathe(pause, signal);
      weighed.push(...weigh(layout, graph, request, costs, schedules, recompute));
    }
  }
  if (weighed.length === 0) {
    throw new UsageError('search-empty', 'there is no combination of partition, schedule and microbatches to try', {
      fields: { microbatches: counts, schedules },
      remedy: 'allow more schedules or numbers of microbatches',
    });
  }

  const evaluated: EvaluatedCandidate[] = [];
  const plans = new Map<EvaluatedCandidate, PlanRequest>();
  const evaluate = ({ layout, ...rest }: Weighed): void => {
    const candidate = rest;
    const asked: PlanRequest = {
      ...request,
      microbatches: candidate.microbatches,
      schedule: candidate.schedule,
      partition: { ready: layout.partition },
      placement: layout.placement,
      stagesPerDevice: undefined,
      recompute,
    };
    const plan = roughPlan({ ...asked, programs: { [mainName]: main } }, cache);
    const found: EvaluatedCandidate = {
      ...rest,
      recompute: plan.recompute.size > 0 ? recompute : 'none',
      stepSeconds: plan.prediction.stepSeconds,
      bubbleFraction: plan.prediction.bubbleFraction,
      peakBytes: plan.memory.map((m) => m.peakBytes),
      fits: shortages(plan).length === 0,
    };
    evaluated.push(found);
    plans.set(found, asked);
    options.onEvaluated?.(found, evaluated.length);
  };
  const isOver = (): boolean =>
    signal?.aborted === true ||
    evaluated.length >= evaluations ||
    (evaluated.length > 0 && performance.now() > deadline);
  const bySpeed = (a: EvaluatedCandidate, b: EvaluatedCandidate) =>
    a.stepSeconds - b.stepSeconds || largest(a) - largest(b);
  const byPlan = new Map<EvaluatedCandidate, Weighed>();
  const listed = options.schedules === undefined && !byWholeBatch ? Math.min(LISTED, Math.floor(evaluations / 4)) : 0;
  const promising = inOrderOfPromise(weighed);
  const evaluateUpTo = async (count: number): Promise<void> => {
    while (!isOver() && evaluated.length < count) {
      const { value: candidate, done } = promising.next();
      if (done) return;
      await pause();
      evaluate(candidate);
      byPlan.set(evaluated.at(-1)!, candidate);
    }
  };
  await evaluateUpTo(evaluations - listed);
  const best = new Map<Layout, Weighed>();
  for (const found of [...evaluated].sort(bySpeed)) {
    const candidate = byPlan.get(found)!;
    if (found.fits && found.microbatches > 1 && !best.has(candidate.layout)) best.set(candidate.layout, candidate);
  }
  for (const candidate of [...best.values()].slice(0, listed)) {
    await pause();
    if (!isOver()) evaluate({ ...candidate, schedule: 'auto' });
  }
  // What was kept for such schedules, where there were fewer cuts to make them for.
  await evaluateUpTo(evaluations);
  evaluated.sort(bySpeed);

  // The programs for a smaller last batch and for evaluation must fit too.
  for (const best of evaluated) {
    if (!best.fits) continue;
    await pause();
    const plan = draftPlan(plans.get(best)!, cache);
    if (shortages(plan).length > 0) continue;
    return {
      plan,
      best,
      evaluated,
      pareto: paretoFront(evaluated.filter((c) => c.fits)),
      lowerBound: Math.min(lowerBound, best.stepSeconds),
      gap: Math.max(0, 1 - lowerBound / best.stepSeconds),
      considered: weighed.length,
      interrupted: signal?.aborted ?? false,
      seconds: (performance.now() - begin) / 1000,
    };
  }
  signal?.throwIfAborted();
  throw nothingFits(request, evaluated);
}

/** Cuts of the best plans for which the schedule `auto` is made. */
const LISTED = 3;

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

/** What a search is asked for by a program in JavaScript, which may ask for anything. */
import { UsageError } from '../../core/errors.ts';
import { checkOptions, type OptionNames, requireWords } from '../../core/options.ts';
import { recomputeModes } from '../../recompute/choice.ts';
import { scheduleNames } from '../../schedule/index.ts';
import { checkRequestKeys } from '../check-request.ts';
import type { PlanRequest } from '../plan.ts';
import { partitionWays, type SearchOptions } from './candidate.ts';

const searchNames: OptionNames<SearchOptions> = {
  microbatches: 'counts',
  schedules: 'texts',
  stagesPerDevice: 'counts',
  partitions: 'texts',
  recompute: 'text',
  fewerDevices: 'flag',
  evaluations: 'count',
  timeLimitSeconds: 'notNegative',
  signal: 'signal',
  onEvaluated: 'function',
  trials: 'record',
};

/** Throws UsageError for a request or options of a search that it has not, or of another kind. */
export function checkSearch(request: PlanRequest, options: SearchOptions): void {
  checkOptions('searchPlan', options, searchNames);
  requireWords('searchPlan', 'schedules', [...scheduleNames, 'auto'], options.schedules);
  requireWords('searchPlan', 'partitions', [...partitionWays, 'given'], options.partitions);
  requireWords('searchPlan', 'recompute', recomputeModes, options.recompute);
  checkTrials(options);
  checkRequestKeys(request, 'searchPlan');
}

function checkTrials({ trials }: SearchOptions): void {
  if (trials === undefined) return;
  if (typeof trials.time !== 'function') {
    throw new UsageError('search-trials', 'trials.time: there is nothing that tells what steps take', {
      fields: { got: typeof trials.time },
      remedy: 'trials: { plans: 6, time: (plans) => profile.timePlans(plans, feed) }',
    });
  }
  if (Number.isSafeInteger(trials.plans) && trials.plans >= 2) return;
  throw new UsageError('search-trials', `trials.plans: expected a whole number of at least 2, got ${trials.plans}`, {
    fields: { got: trials.plans },
    remedy: 'leave out trials: one plan alone has nothing to be compared with',
  });
}

/** `partita plan --search`: its flags, and its progress. */
import { UsageError } from '../core/errors.ts';
import { formatSeconds } from '../core/format.ts';
import type { PlanRequest, ScheduleWord } from '../plan/plan.ts';
import { type EvaluatedCandidate, type SearchResult, searchedMicrobatches } from '../plan/search.ts';
import { scheduleNames } from '../schedule/named.ts';
import type { AskedPlan } from './cluster.ts';
import { type Invocation, listOf, numberOf, textOf, wholeNumberOf } from './invocation.ts';
import { plansOf } from './measuring.ts';
import { tellUntried } from './trials.ts';

/** Of these, `--search` makes its own. */
const flagsOfLeastMemory = [
  ['searchDevices', 'search-devices'],
  ['searchRecompute', 'search-recompute'],
] as const;
/** Of these, `--least-memory` makes none. */
const flagsOfTrials = [
  ['trials', 'trials'],
  ['trialTime', 'trial-time'],
] as const;
const flagsOfSearch = [
  ...flagsOfLeastMemory,
  ['searchMicrobatches', 'search-microbatches'],
  ['searchSchedules', 'search-schedules'],
  ['evaluations', 'evaluations'],
  ['timeLimit', 'time-limit'],
  ...flagsOfTrials,
] as const;

/** Flags that only a search obeys, for a plan or for the least memory: before anything is measured for it. */
export function refuseSearchFlags(invocation: Invocation): void {
  const { own } = invocation;
  if (own.search === true || own.leastMemory === true) return;
  const asked = flagsOfSearch.find(([name]) => textOf(invocation, name) !== undefined);
  if (!asked) return;
  const isOf = (flags: readonly (readonly [string, string])[]) => flags.some(([name]) => name === asked[0]);
  throw new UsageError('command-line', `--${asked[1]} is of a search, and there is none`, {
    fields: { flag: asked[1] },
    remedy: isOf(flagsOfLeastMemory)
      ? '--least-memory'
      : isOf(flagsOfTrials)
        ? '--search'
        : '--search, or --least-memory',
  });
}

/** Searches what the experiment leaves open: keys that it gives are kept. */
export async function searchOf(
  asked: AskedPlan,
  invocation: Invocation,
): Promise<{ readonly found: SearchResult; readonly cached: boolean }> {
  const { request, given, trials } = asked;
  const { schedule, stagesPerDevice, recompute = 'none' } = request;
  const other = flagsOfLeastMemory.find(([name]) => textOf(invocation, name) !== undefined);
  if (other) {
    const own = other[0] === 'searchDevices' ? '--devices' : '--recompute';
    throw new UsageError('command-line', `--${other[1]} is of --least-memory, and --search does not obey it`, {
      fields: { flag: other[1] },
      remedy: `${own} with --search, or --least-memory`,
    });
  }
  if (typeof schedule === 'object') {
    throw new UsageError('search-schedule-file', '--search: a schedule from a file leaves nothing to choose', {
      fields: { key: 'schedule' },
      remedy: 'leave out schedule, or --search',
    });
  }
  const schedules = schedulesToTry(invocation) ?? (schedule ? [schedule] : undefined);
  const microbatches = countsOfSearch(request, given, invocation);
  const { evaluations, timeLimitSeconds } = limitsOf(invocation);
  const searched = await plansOf(invocation).search(request, {
    ...(schedules ? { schedules } : {}),
    microbatches,
    ...(given.has('partition') && request.partition !== 'auto' ? { partitions: ['given'] } : {}),
    ...(given.has('stagesPerDevice') && stagesPerDevice ? { stagesPerDevice: [stagesPerDevice] } : {}),
    ...(given.has('recompute') && typeof recompute === 'string' ? { recompute } : {}),
    ...(evaluations ? { evaluations } : {}),
    ...(timeLimitSeconds ? { timeLimitSeconds } : {}),
    ...(trials ? { trials } : {}),
    signal: invocation.signal,
    ...(invocation.quiet || invocation.json ? {} : { onEvaluated: progress() }),
  });
  tellUntried(invocation, trials, searched.found);
  return searched;
}

/** Numbers of microbatches that a search tries: those of the flag, the experiment's, or the search's own. */
export const countsOfSearch = (
  request: PlanRequest,
  given: ReadonlySet<string>,
  invocation: Invocation,
): readonly number[] =>
  microbatchesToTry(invocation, request) ??
  (given.has('microbatches') ? [request.microbatches] : searchedMicrobatches(request));

export const schedulesToTry = (invocation: Invocation): ScheduleWord[] | undefined =>
  listOf(invocation, 'searchSchedules', 'search-schedules', [...scheduleNames, 'auto']);

/** How much work a search may take. */
export function limitsOf(invocation: Invocation) {
  return {
    evaluations: wholeNumberOf(invocation, 'evaluations', 'evaluations', 1),
    timeLimitSeconds: numberOf(invocation, 'timeLimit', 'time-limit', { example: 10 }),
  };
}

export function microbatchesToTry(invocation: Invocation, { programs }: PlanRequest): number[] | undefined {
  const text = textOf(invocation, 'searchMicrobatches');
  if (text === undefined) return undefined;
  const { batch } = Object.values(programs)[0]!;
  const counts = [...new Set(text.split(',').map(Number))];
  if (counts.every((n) => Number.isSafeInteger(n) && n >= 1 && n <= batch)) return counts;
  throw new UsageError(
    'command-line',
    `--search-microbatches: expected whole numbers from 1 to the batch of ${batch}, got ${JSON.stringify(text)}`,
    { fields: { flag: 'search-microbatches', got: text, batch }, remedy: '--search-microbatches 1,2,4' },
  );
}

/** The best so far, every few seconds. */
function progress(): (candidate: EvaluatedCandidate, count: number) => void {
  let best: EvaluatedCandidate | undefined;
  let next = performance.now() + 2000;
  return (candidate, count) => {
    if (candidate.fits && (!best || candidate.stepSeconds < best.stepSeconds)) best = candidate;
    if (performance.now() < next) return;
    next = performance.now() + 2000;
    const text = best
      ? `best ${formatSeconds(best.stepSeconds)} a step (${best.schedule}, M ${best.microbatches})`
      : 'none fits yet';
    process.stderr.write(`searched ${count} plans  ${text}\n`);
  };
}

/** `partita plan --search --trials`: real steps that decide between the plans which the search predicts to be fastest. */
import { UsageError } from '../core/errors.ts';
import { refuseNullDevices } from '../plan/null-devices.ts';
import type { PlanRequest } from '../plan/plan.ts';
import type { SearchResult, Trials } from '../plan/search.ts';
import { feedOf } from '../profile/feed.ts';
import { TRIAL_SECONDS, timePlans } from '../profile/trials.ts';
import type { PreparedExperiment } from '../train/experiment/prepare.ts';
import { type Invocation, numberOf, pathOf, wholeNumberOf } from './invocation.ts';
import { announcer } from './measuring.ts';

const LONGEST_SECONDS = 1e6;

/** What `--trials` is asked of. */
export interface Tried {
  readonly request: PlanRequest;
  readonly prepared: PreparedExperiment;
  /** Keys that the experiment or a flag gives. */
  readonly given: ReadonlySet<string>;
}

/** Throws UsageError where steps on this machine would not be those that the plan is for. */
export function trialsOf(invocation: Invocation, { request, prepared, given }: Tried): Trials | undefined {
  const plans = wholeNumberOf(invocation, 'trials', 'trials', 2);
  const seconds = numberOf(invocation, 'trialTime', 'trial-time', { example: 10, max: LONGEST_SECONDS });
  if (plans === undefined) {
    if (seconds === undefined) return undefined;
    throw new UsageError('command-line', `--trial-time ${seconds}: no plans are tried`, {
      fields: { flag: 'trial-time', got: seconds },
      remedy: `--trials 6 --trial-time ${seconds}`,
    });
  }
  refuseElsewhere(invocation, request, given);
  refuseNullDevices(request.devices, '--trials runs real steps');
  const feed = feedOf(prepared);
  const timeLimitSeconds = seconds ?? TRIAL_SECONDS;
  return {
    plans,
    time: (tried) => {
      announcer(invocation)(`running steps of ${tried.length} plans, about ${timeLimitSeconds} s`);
      return timePlans(tried, feed, { timeLimitSeconds, seed: prepared.experiment.seed, signal: invocation.signal });
    },
  };
}

/** Where fewer plans than asked for have had trials, and nobody has stopped them, that is told. */
export function tellUntried(invocation: Invocation, trials: Trials | undefined, found: SearchResult): void {
  if (trials === undefined || found.interrupted || invocation.quiet) return;
  const tried = found.trials?.length ?? 0;
  if (tried >= trials.plans) return;
  const why = 'others do not fit, are far behind, or have no room beside those in front';
  process.stderr.write(
    tried === 0
      ? `partita: fewer than two plans could be tried, and the prediction decides: ${why}\n`
      : `partita: tried ${tried} plans of ${trials.plans}: ${why}\n`,
  );
}

function refuseElsewhere(invocation: Invocation, { devices }: PlanRequest, given: ReadonlySet<string>): void {
  const slow = devices.findIndex((d) => d.speed !== 1);
  const why =
    pathOf(invocation, 'cluster') !== undefined
      ? 'the devices are those of --cluster'
      : given.has('links')
        ? 'the experiment says how fast its links are'
        : slow >= 0
          ? `device ${slow} has a speed of ${devices[slow]!.speed}`
          : undefined;
  if (why === undefined) return;
  throw new UsageError('trials-elsewhere', `--trials runs steps on this machine, and ${why}`, {
    fields: { flag: 'trials' },
    remedy: 'leave out --trials: the search then goes by predictions',
  });
}

/** `partita plan --search --trials`: real steps that decide between the plans which the search predicts to be fastest. */
import { UsageError } from '../core/errors.ts';
import { refuseNullDevices } from '../plan/null-devices.ts';
import type { Trials } from '../plan/search.ts';
import { feedOf } from '../profile/feed.ts';
import { TRIAL_SECONDS, timePlans } from '../profile/trials.ts';
import type { AskedPlan } from './cluster.ts';
import { type Invocation, numberOf, pathOf, wholeNumberOf } from './invocation.ts';
import { announcer } from './measuring.ts';

/** Throws UsageError where steps on this machine would not be those that the plan is for. */
export function trialsOf(invocation: Invocation, asked: AskedPlan): Trials | undefined {
  const plans = wholeNumberOf(invocation, 'trials', 'trials', 2);
  const seconds = numberOf(invocation, 'trialTime', 'trial-time', 0, Number.POSITIVE_INFINITY);
  if (plans === undefined) {
    if (seconds === undefined) return undefined;
    throw new UsageError('command-line', `--trial-time ${seconds}: no plans are tried`, {
      fields: { flag: 'trial-time', got: seconds },
      remedy: `--trials 6 --trial-time ${seconds}`,
    });
  }
  refuseElsewhere(invocation, asked);
  const { prepared, request } = asked;
  refuseNullDevices(request.devices, '--trials runs real steps');
  const feed = feedOf(prepared);
  const timeLimitSeconds = seconds ?? TRIAL_SECONDS;
  return {
    plans,
    time: (tried) => {
      announcer(invocation)(`running steps of ${tried.length} plans, ${timeLimitSeconds} s`);
      return timePlans(tried, feed, { timeLimitSeconds, seed: prepared.experiment.seed, signal: invocation.signal });
    },
  };
}

function refuseElsewhere(invocation: Invocation, { given, request }: AskedPlan): void {
  const cluster = pathOf(invocation, 'cluster');
  const slow = request.devices.findIndex((d) => d.speed !== 1);
  const why =
    cluster !== undefined
      ? 'the devices are those of --cluster'
      : given.has('links')
        ? 'the experiment says how fast its links are'
        : slow >= 0
          ? `device ${slow} has a speed of ${request.devices[slow]!.speed}`
          : undefined;
  if (why === undefined) return;
  throw new UsageError('trials-elsewhere', `--trials runs steps on this machine, and ${why}`, {
    fields: { flag: 'trials' },
    remedy: 'leave out --trials: the search then goes by predictions',
  });
}

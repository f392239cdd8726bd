/** What commands take from measurements and from earlier runs: the flags --profile and --no-cache. */
import { cacheFolder } from '../core/cache-folder.ts';
import { UsageError } from '../core/errors.ts';
import { readProfile } from '../cost/profile.ts';
import { readText } from '../formats/read-file.ts';
import type { PlanRequest } from '../plan/plan.ts';
import { MeasurementCache } from '../profile/cache.ts';
import { costsOfProfile, profileFor, withMeasuredLinks } from '../profile/costs.ts';
import { feedOf } from '../profile/feed.ts';
import { PROFILE_SECONDS } from '../profile/kernels.ts';
import { PlanStore } from '../profile/plan-store.ts';
import type { PreparedExperiment } from '../train/experiment/prepare.ts';
import type { Experiment } from '../train/experiment/schema.ts';
import { hearSignals } from './hear-signals.ts';
import { type Invocation, numberOf } from './invocation.ts';

const MAKE_IT = 'make it with: partita profile experiment.json --out profile.json';

const folderOf = ({ own }: Invocation): string | undefined => (own.cache === false ? undefined : cacheFolder());

const warn = (message: string): void => {
  process.stderr.write(`partita: ${message}\n`);
};

/** The user's cache of the experiment's kernels, or none with --no-cache; warnings go to standard error. */
export const cacheOf = (invocation: Invocation, { simd }: Pick<Experiment, 'simd'>): MeasurementCache =>
  new MeasurementCache(folderOf(invocation), warn, simd);

/** The user's plans, or none with --no-cache. */
export const plansOf = (invocation: Invocation): PlanStore =>
  new PlanStore(folderOf(invocation), { warn, computing: (compute) => endedAtOnce(invocation, compute) });

/**
 * What `compute` returns, a long computation of this thread that would lose nothing: while it runs, signals end the process at
 * once. One that has come before, while the thread was at work, is heard first.
 */
export async function endedAtOnce<T>(
  { signal, endAtOnce }: Pick<Invocation, 'signal' | 'endAtOnce'>,
  compute: () => T,
): Promise<T> {
  if (!endAtOnce) return compute();
  await hearSignals();
  signal.throwIfAborted();
  const heard = endAtOnce();
  try {
    return compute();
  } finally {
    heard();
  }
}

export const announcer =
  (invocation: Invocation) =>
  (what: string): void => {
    if (!invocation.quiet) process.stderr.write(`partita: ${what} …\n`);
  };

/**
 * The request with costs by --profile: of a file, or measured where the cache lacks them, for each number of microbatches
 * that may be chosen. Without the flag the machine's
 * links, where the cache has them.
 */
export async function withCosts(
  request: PlanRequest,
  prepared: PreparedExperiment,
  invocation: Invocation,
  microbatches: readonly number[] = [request.microbatches],
): Promise<PlanRequest> {
  const { profile } = invocation.own;
  const seconds = profileSecondsOf(invocation);
  const cache = cacheOf(invocation, prepared.experiment);
  if (profile === undefined) return withMeasuredLinks(request, cache);
  const costs =
    typeof profile === 'string'
      ? readProfile(readText(profile, { remedy: MAKE_IT }), profile)
      : await profileFor(request, () => feedOf(prepared), {
          cache,
          microbatches,
          announce: announcer(invocation),
          ...(seconds === undefined ? {} : { timeLimitSeconds: seconds }),
          onTimed: ({ turns, of, isLate }) => {
            if (isLate && !invocation.quiet)
              warn(
                `timed ${turns} of ${of} turns of steps; --profile-time gives them more than ${seconds ?? PROFILE_SECONDS} s`,
              );
          },
          seed: prepared.experiment.seed,
          signal: invocation.signal,
        });
  return { ...request, costs: costsOfProfile(costs, request) };
}

/** Of kernels that are timed for `--profile` without a file: nothing else takes time for them. */
function profileSecondsOf(invocation: Invocation): number | undefined {
  const seconds = numberOf(invocation, 'profileTime', 'profile-time', { example: 20 });
  if (seconds === undefined || invocation.own.profile === true) return seconds;
  throw new UsageError('command-line', `--profile-time ${seconds}: no kernels are timed`, {
    fields: { flag: 'profile-time', got: seconds },
    remedy: `--profile without a file, --profile-time ${seconds}`,
  });
}

/** `--profile experiment.json` takes the experiment for the profile. */
export function refuseSwallowedExperiment({ own, file, keys, command }: Invocation): void {
  const { profile } = own;
  if (typeof profile !== 'string' || file !== undefined || keys.length > 0) return;
  throw new UsageError('command-line', `--profile ${profile}: there is no experiment beside the profile`, {
    fields: { flag: 'profile', got: profile },
    remedy: `partita ${command} ${profile} --profile, or: partita ${command} experiment.json --profile ${profile}`,
  });
}

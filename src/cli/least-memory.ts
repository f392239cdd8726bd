/** `partita plan --least-memory`: its flags, and the table of numbers of devices and microbatches, and of ways to recompute. */
import { PlanError, UsageError } from '../core/errors.ts';
import { type LeastMemory, leastMemory } from '../plan/least-memory.ts';
import { PlanCache, type PlanRequest } from '../plan/plan.ts';
import { recomputeModes } from '../recompute/index.ts';
import type { LeastMemoryEntry } from '../report/least-memory.ts';
import { type Invocation, listOf, textOf } from './invocation.ts';
import { limitsOf, microbatchesToTry, schedulesToTry } from './plan-search.ts';

/**
 * One entry for each number of devices and microbatches and way to recompute: of the schedules to try, the one that needs
 * least.
 */
export async function leastMemoryOf(request: PlanRequest, invocation: Invocation): Promise<LeastMemoryEntry[]> {
  refuseContradictions(invocation, request);
  const counts = devicesToTry(invocation, request);
  const microbatches = microbatchesToTry(invocation, request) ?? [request.microbatches];
  const schedules = schedulesToTry(invocation) ?? [request.schedule];
  const modes = listOf(invocation, 'searchRecompute', 'search-recompute', recomputeModes) ?? [
    request.recompute ?? 'none',
  ];
  const { evaluations, timeLimitSeconds = 60 } = limitsOf(invocation);
  const deadline = performance.now() + 1000 * timeLimitSeconds;
  const cache = new PlanCache();
  const { signal } = invocation;

  const entries: LeastMemoryEntry[] = [];
  let refusal: unknown;
  const rows = counts.flatMap((devices) =>
    microbatches.flatMap((m) => modes.map((recompute) => ({ devices, microbatches: m, recompute }))),
  );
  for (const row of rows) {
    let found: LeastMemory | undefined;
    for (const schedule of schedules) {
      const left = Math.max(0, deadline - performance.now()) / 1000;
      const { devices, ...own } = row;
      try {
        const asked = { ...request, ...own, ...(schedule ? { schedule } : {}) };
        const one = await leastMemory(asked, { devices, cache, signal, timeLimitSeconds: left, evaluations });
        if (!found || one.capacityBytes < found.capacityBytes) found = one;
      } catch (error) {
        // Some schedules have rules that not all numbers of devices and microbatches keep.
        const isOneOfMany = rows.length * schedules.length > 1;
        if (!isOneOfMany || !(error instanceof PlanError || error instanceof UsageError)) throw error;
        refusal ??= error;
      }
    }
    entries.push({ ...row, found });
  }
  if (entries.every(({ found }) => !found)) throw refusal;
  return entries;
}

function refuseContradictions({ own, memory, command }: Invocation, request: PlanRequest): void {
  const refuse = (flag: string, reason: string, remedy: string): never => {
    throw new UsageError('command-line', `--least-memory: ${reason}`, { fields: { command, flag }, remedy });
  };
  if (own.search === true) refuse('search', '--search looks for the fastest plan instead', 'leave out one of the two');
  if (memory !== undefined) refuse('memory', 'it looks for what --memory says', 'leave out --memory');
  const trial = own.trials !== undefined ? 'trials' : own.trialTime !== undefined ? 'trial-time' : undefined;
  if (trial)
    refuse(trial, `--${trial} is of plans whose steps are compared, and it looks for memory`, `leave out --${trial}`);
  if (own.searchDevices === undefined) return;
  if (request.cluster) {
    refuse(
      'search-devices',
      '--search-devices makes devices, and --cluster has its own',
      '--devices 2, with --cluster',
    );
  }
  if (request.placement)
    refuse('search-devices', 'the placement names the devices there are', 'leave out the placement');
}

function devicesToTry(invocation: Invocation, { devices }: PlanRequest): number[] {
  const text = textOf(invocation, 'searchDevices');
  if (text === undefined) return [devices.length];
  const counts = [...new Set(text.split(',').map(Number))];
  if (counts.every((n) => Number.isSafeInteger(n) && n >= 1 && n <= 4096)) return counts;
  throw new UsageError(
    'command-line',
    `--search-devices: expected whole numbers from 1 to 4096, got ${JSON.stringify(text)}`,
    { fields: { flag: 'search-devices', got: text }, remedy: '--search-devices 1,2,4' },
  );
}

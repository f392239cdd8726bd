/** Smallest equal capacities as people read them, and as JSON. */
import { formatBytes, formatSeconds } from '../core/format.ts';
import { categoryName } from '../memory/categories.ts';
import { bindingOf } from '../plan/binding.ts';
import type { LeastMemory } from '../plan/least-memory.ts';
import type { PlanRequest } from '../plan/plan.ts';
import { table } from './table.ts';

export interface LeastMemoryEntry {
  readonly devices: number;
  readonly microbatches: number;
  readonly recompute: NonNullable<PlanRequest['recompute']>;
  /** Undefined: no plan. */
  readonly found: LeastMemory | undefined;
}

export function printLeastMemory(entries: readonly LeastMemoryEntry[]): string {
  const body = table(
    ['devices', 'M', 'recompute', 'each', 'together', 'none below', 'schedule', 'step', 'binds'],
    entries.map(({ devices, microbatches, recompute, found }) =>
      found
        ? [
            devices,
            microbatches,
            modeOf(recompute),
            `${formatBytes(found.capacityBytes)}${found.complete ? '' : ' or less'}`,
            formatBytes(found.devices * found.capacityBytes),
            formatBytes(Math.ceil(found.lowerBound)),
            scheduleOf(found),
            formatSeconds(found.plan.prediction.stepSeconds),
            bindingWords(found),
          ]
        : [devices, microbatches, modeOf(recompute), 'no plan', null, null, null, null, null],
    ),
    { align: ['right', 'right', 'left', 'right', 'right', 'right', 'left', 'right', 'left'] },
  );
  const found = entries.flatMap((e) => e.found ?? []);
  const best = found.reduce((a, b) => (b.capacityBytes < a.capacityBytes ? b : a));
  const plans = found.reduce((sum, { evaluated }) => sum + evaluated, 0);
  return [
    'Smallest equal capacity of the devices, in pages of 64 KiB:',
    body,
    `${plans} plans made. Each capacity has a plan that fits it; smaller ones were refused as far as they were tried, and need`,
    'not all be: partitions and schedules are made for the capacity. "none below": parameters, gradients and optimizer state, shared out evenly.',
    `${found.length > 1 ? 'The smallest' : 'This one'}: ${flagsOf(best)}`,
  ].join('\n');
}

export const jsonOfLeastMemory = (entries: readonly LeastMemoryEntry[]) =>
  entries.map(({ devices, microbatches, recompute, found }) => ({
    devices,
    microbatches,
    recompute: modeOf(recompute),
    capacityBytes: found?.capacityBytes ?? null,
    ...(found
      ? {
          peakBytes: found.plan.memory.map((m) => m.peakBytes),
          lowerBound: found.lowerBound,
          refused: found.refused ?? null,
          complete: found.complete,
          evaluated: found.evaluated,
          schedule: scheduleOf(found),
          partition: found.plan.partition.method,
          stepSeconds: found.plan.prediction.stepSeconds,
          binding: bindingOf(found.plan) ?? null,
          flags: flagsOf(found),
        }
      : {}),
  }));

/** `given`: stage by stage, by hand. */
const modeOf = (recompute: LeastMemoryEntry['recompute']): string =>
  typeof recompute === 'string' ? recompute : 'given';

const scheduleOf = ({ plan }: LeastMemory): string => Object.values(plan.schedules)[0]!.name;

function bindingWords({ plan }: LeastMemory): string {
  const binding = bindingOf(plan)!;
  return `device ${binding.device}: ${categoryName(binding.categories[0]!.category)}`;
}

/** What makes this plan of the experiment. */
function flagsOf({ plan: { request }, devices, capacityBytes }: LeastMemory): string {
  const kib = capacityBytes / 1024;
  const balance = typeof request.partition === 'object' && 'balance' in request.partition && request.partition.balance;
  return [
    ...(request.cluster ? [] : [`--devices ${devices}`]),
    `--microbatches ${request.microbatches}`,
    ...(typeof request.schedule === 'string' ? [`--schedule ${request.schedule}`] : []),
    ...(typeof request.recompute === 'string' && request.recompute !== 'none'
      ? [`--recompute ${request.recompute}`]
      : []),
    ...(balance ? [`--partition.balance ${balance}`] : []),
    request.devices[0]!.simulated
      ? `with "memory": "${kib}KiB" in the cluster`
      : `--memory ${kib % 1024 === 0 ? `${kib / 1024}MiB` : `${kib}KiB`}`,
  ].join(' ');
}

/** The order of tasks of each program of a plan. */
import { UsageError } from '../core/errors.ts';
import {
  deviceInFlightBounds,
  forwardOnly,
  inFlightBounds,
  isScheduleName,
  makeSchedule,
  type Schedule,
  type ScheduleShape,
  type StageEdge,
  validateSchedule,
} from '../schedule/index.ts';
import type { PlanRequest, ProgramSpec, ScheduleChoice, ScheduledRequest } from './request.ts';

/** The stages as a schedule sees them: where the model holds gradients of itself, the partition's folded over its devices. */
export interface StageChain {
  readonly stages: number;
  readonly placement: readonly number[];
  /** Stages of the model itself. */
  readonly modelStages: number;
  readonly edges: readonly StageEdge[];
  /** Values are averaged over microbatches on the way forward, so forwards must run in their order. */
  readonly ordered: boolean;
  /** It normalises by statistics of the whole batch, so all forwards run before all backwards. */
  readonly byWholeBatch: boolean;
}

/** Names whose rows have all forwards before all backwards, whatever the stages and microbatches. */
export const forwardsFirst: readonly string[] = ['gpipe', 'looped-bfs'];

/** The schedule asked for, or the default. Throws UsageError where the model's batch normalisation does not go with it. */
export function scheduleAskedFor({ schedule }: PlanRequest, byWholeBatch: boolean): ScheduleChoice {
  if (!byWholeBatch) return schedule ?? '1f1b';
  // Whether one from a file has all forwards before all backwards, the program's builder sees.
  if (typeof schedule !== 'string' || forwardsFirst.includes(schedule)) return schedule ?? 'gpipe';
  const known = forwardsFirst.filter(isScheduleName);
  throw new UsageError(
    'batch-norm-schedule',
    `schedule: with batchNorm exact all microbatches wait for each other at every batch normalisation, which only ${known.join(' and ')} ${known.length > 1 ? 'let' : 'lets'} them, and ${schedule} is asked for`,
    { fields: { key: 'schedule', schedule, expected: known }, remedy: '--schedule gpipe, or --batchNorm micro' },
  );
}

/** The order of one program's tasks; `list` makes it where it is `auto`, and must be there then. */
export function scheduleFor(
  request: ScheduledRequest,
  program: string,
  chain: StageChain,
  microbatches: number,
  list: ((shape: ScheduleShape) => Schedule) | undefined,
): Schedule {
  const isMain = program === Object.keys(request.programs)[0];
  const { stages, placement } = chain;
  const shape = { stages, microbatches, placement, devices: request.devices.length };
  if (request.programs[program]!.mode === 'forward') return forwardOnly(shape);
  const decided = request.decided?.[program];
  if (decided?.microbatches === microbatches) return decided;
  if (request.schedule === 'auto') return list!(shape);
  if (typeof request.schedule === 'string') return makeSchedule(request.schedule, shape);
  const given = request.schedule;
  const fits =
    given.stages === stages &&
    given.microbatches === microbatches &&
    given.placement.every((d, s) => d === placement[s]);
  // A smaller last batch may have fewer microbatches than the file's grid.
  if (!fits && !isMain && microbatches !== given.microbatches) {
    return makeSchedule(chain.byWholeBatch ? 'gpipe' : '1f1b', shape);
  }
  if (!fits) throw mismatch(given, chain, microbatches);
  const surplus = Array.from({ length: Math.max(0, shape.devices - given.devices) }, () => []);
  return {
    ...given,
    devices: shape.devices,
    rows: [...given.rows, ...surplus],
    ...(given.overlaps ? { overlaps: [...given.overlaps, ...surplus] } : {}),
  };
}

function mismatch(given: Schedule, { stages, modelStages, placement }: StageChain, microbatches: number): UsageError {
  if (stages > modelStages && given.stages === modelStages && given.microbatches === microbatches) {
    return new UsageError(
      'schedule-mismatch',
      `the schedule is for the ${modelStages} stages of the model; with gradients of itself it is a chain of ${stages} stages on devices ${placement.join(', ')}`,
      {
        fields: { schedule: given.name, stages, placement },
        remedy: `a schedule of ${stages} stages (docs/derivatives.md shows one), or --schedule 1f1b`,
      },
    );
  }
  return new UsageError(
    'schedule-mismatch',
    `the schedule is for ${given.stages} stages on devices ${given.placement.join(', ')} and ${given.microbatches} microbatches; the experiment has ${stages} stages on ${placement.join(', ')} and ${microbatches}`,
    { fields: { schedule: given.name }, remedy: `--microbatches ${given.microbatches} --devices ${given.devices}` },
  );
}

/** The validator's word on a program's schedule; of a named one its bound of memory too. */
export function checkSchedule(schedule: Schedule, spec: ProgramSpec, { edges, ordered }: StageChain): void {
  const { name, stages, microbatches, placement } = schedule;
  validateSchedule(schedule, {
    dependencies: edges,
    passes: spec.mode === 'forward' ? 'forward' : 'training',
    forwards: ordered ? 'ordered' : 'free',
    ...(isScheduleName(name) && spec.mode !== 'forward'
      ? {
          inFlightBound: inFlightBounds(name, stages, microbatches, placement),
          deviceInFlightBound: deviceInFlightBounds(name, schedule),
        }
      : {}),
  });
}

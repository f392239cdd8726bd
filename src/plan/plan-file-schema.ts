/** What a plan's file holds, and what of it contradicts itself. */

import { amount } from '../core/quantities.ts';
import {
  any,
  choice,
  type Infer,
  integer,
  list,
  nullable,
  object,
  optional,
  type Problem,
  record,
  string,
} from '../core/schema.ts';
import { fusionModes } from '../fusion/modes.ts';
import { simdVariants } from '../lower/kernel-call.ts';
import { isTaskKey } from '../schedule/task.ts';

export const planFileSchema = object({
  format: choice(['partita-plan']),
  version: integer({ min: 1 }),
  /** As the command line understands it: that it has names is all that is looked at here. */
  experiment: nullable(record(any())),
  partition: object({ stages: integer({ min: 1 }), method: string(), assignment: record(integer({ min: 0 })) }),
  placement: list(integer({ min: 0 })),
  microbatches: integer({ min: 1 }),
  schedule: object({
    name: string(),
    named: choice(['yes', 'no']),
    rows: list(list(string())),
    /** Overlap cells of each device, by their first task's place in its row. */
    overlaps: optional(list(list(integer({ min: 0 })))),
    /** Of programs behind the first that are no named schedule either: the smaller last batch's. */
    others: optional(
      record(
        object({
          microbatches: integer({ min: 1 }),
          rows: list(list(string())),
          overlaps: optional(list(list(integer({ min: 0 })))),
        }),
      ),
    ),
    /** Where the model holds gradients of itself: its chain of stages, folded over the devices of the partition's. */
    placement: optional(list(integer({ min: 0 }))),
    /** Seconds of F, B and W of each stage, by which messages got their places. */
    seconds: optional(list(list(amount()))),
  }),
  /** What stages compute again, by stage; absent: nothing. */
  recompute: optional(
    record(
      object({
        kept: list(string()),
        blocks: optional(record(integer({ min: 0 }))),
        retained: optional(list(list(string()))),
      }),
    ),
  ),
  /** The kernels of its WebAssembly devices; absent: `strict`. */
  simd: optional(choice(simdVariants)),
  /** Whether elementwise nodes are fused; absent: `off`. */
  fusion: optional(choice(fusionModes)),
  /** The library of devices with the backend `blas`: their bits depend on it. */
  blas: optional(object({ file: string(), version: string() })),
  /** What the planned bytes are of: a training of fewer steps may do without the smaller last batch, or an evaluation. */
  programs: optional(list(string())),
  devices: list(
    object({
      backend: choice(['wasm', 'blas', 'reference', 'null']),
      capacityBytes: optional(integer({ min: 0 })),
      plannedBytes: integer({ min: 0 }),
    }),
    { minLength: 1 },
  ),
});

export type PlanFile = Infer<typeof planFileSchema>;

/**
 * What single keys cannot tell: stages, devices, tasks and programs that others of the file do not have. What the model and the
 * schedule make of the rest, the plan that is made again says.
 */
export function planFileProblems(file: PlanFile): Problem[] {
  return [...placementProblems(file), ...scheduleProblems(file), ...recomputeProblems(file), ...programProblems(file)];
}

const below = (count: number): string => `an integer from 0 to ${count - 1}`;

/** The entries that are no index of a list of `count`. */
const outside = (key: string, indices: readonly (readonly [string | number, number])[], count: number): Problem[] =>
  indices.flatMap(([name, index]) =>
    index < count ? [] : [{ key: `${key}.${name}`, expected: below(count), got: `${index}` }],
  );

const lengthProblem = (key: string, expected: string, count: number, got: number): Problem[] =>
  got === count ? [] : [{ key, expected: `${count} entries, ${expected}`, got: `${got}` }];

/** Stages of the schedule: where the model holds gradients of itself, more than the partition's. */
const stagesOfSchedule = ({ schedule, placement }: PlanFile): readonly number[] => schedule.placement ?? placement;

function placementProblems({ partition, placement, schedule, devices }: PlanFile): Problem[] {
  return [
    ...lengthProblem('placement', 'one a stage of the partition', partition.stages, placement.length),
    ...outside('placement', [...placement.entries()], devices.length),
    ...outside('schedule.placement', [...(schedule.placement ?? []).entries()], devices.length),
    ...outside('partition.assignment', Object.entries(partition.assignment), partition.stages),
  ];
}

function scheduleProblems(file: PlanFile): Problem[] {
  const { schedule, devices } = file;
  const { seconds = [], others = {} } = schedule;
  const { length: stages } = stagesOfSchedule(file);
  const grids = [
    ['schedule', schedule] as const,
    ...Object.entries(others).map(([n, s]) => [`schedule.others.${n}`, s] as const),
  ];
  return [
    ...grids.flatMap(([key, grid]) => gridProblems(key, grid, devices.length)),
    ...(seconds.length > 0 ? lengthProblem('schedule.seconds', 'one a stage', stages, seconds.length) : []),
    ...seconds.flatMap((times, s) => lengthProblem(`schedule.seconds.${s}`, 'those of F, B and W', 3, times.length)),
  ];
}

/** Tasks and overlaps of a schedule; that it is whole and can run, the validator of schedules says. */
function gridProblems(
  key: string,
  { rows, overlaps }: Pick<PlanFile['schedule'], 'rows' | 'overlaps'>,
  devices: number,
): Problem[] {
  const tasks = rows.flatMap((row, d) =>
    row.flatMap((text, i) =>
      isTaskKey(text)
        ? []
        : [
            {
              key: `${key}.rows.${d}.${i}`,
              expected: 'a task such as 2F0, 2B0, 2W0 or 2BW0',
              got: JSON.stringify(text),
            },
          ],
    ),
  );
  return [
    ...lengthProblem(`${key}.rows`, 'one a device', devices, rows.length),
    ...tasks,
    ...(overlaps ? lengthProblem(`${key}.overlaps`, 'one a device', devices, overlaps.length) : []),
    ...(overlaps ?? []).flatMap((cells, d) =>
      outside(`${key}.overlaps.${d}`, [...cells.entries()], (rows[d] ?? []).length),
    ),
  ];
}

function recomputeProblems(file: PlanFile): Problem[] {
  const { length: stages } = stagesOfSchedule(file);
  return Object.entries(file.recompute ?? {}).flatMap(([stage, { blocks, retained }]) => {
    const key = `recompute.${stage}`;
    const isStage = /^(0|[1-9]\d*)$/.test(stage) && Number(stage) < stages;
    return [
      ...(isStage ? [] : [{ key, expected: `a stage from 0 to ${stages - 1}`, got: stage }]),
      ...((blocks === undefined) === (retained === undefined)
        ? []
        : [{ key, expected: 'blocks and retained together', got: blocks ? 'blocks alone' : 'retained alone' }]),
      ...(blocks && retained ? outside(`${key}.blocks`, Object.entries(blocks), retained.length) : []),
    ];
  });
}

function programProblems({ programs, schedule }: PlanFile): Problem[] {
  if (programs === undefined) return [];
  const strange = Object.keys(schedule.others ?? {}).filter((name) => !programs.includes(name));
  return [
    ...(programs.length > 0 ? [] : [{ key: 'programs', expected: 'at least one name', got: 'none' }]),
    ...strange.map((name) => ({
      key: `schedule.others.${name}`,
      expected: `one of ${programs.join(', ')}`,
      got: name,
    })),
  ];
}

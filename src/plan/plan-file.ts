/**
 * A plan as a file: the experiment and every decision that was made for it. Reading it makes the same plan again by
 * compiling; the planned bytes of every device must come out the same.
 */
import { FormatError, PlanError } from '../core/errors.ts';
import { any, choice, type Infer, integer, list, object, optional, parse, record, string } from '../core/schema.ts';
import { isScheduleName } from '../schedule/named.ts';
import type { Schedule } from '../schedule/schedule.ts';
import { parseTaskKey, taskKey } from '../schedule/task.ts';
import type { Plan, PlanRequest } from './plan.ts';

const VERSION = 1;

const schema = object({
  format: choice(['partita-plan']),
  version: integer({ min: 1 }),
  /** As the command line understands it; this module only carries it. */
  experiment: any(),
  partition: object({ stages: integer({ min: 1 }), method: string(), assignment: record(integer({ min: 0 })) }),
  placement: list(integer({ min: 0 })),
  microbatches: integer({ min: 1 }),
  schedule: object({
    name: string(),
    named: choice(['yes', 'no']),
    rows: list(list(string())),
    /** Overlap cells of each device, by their first task's place in its row. */
    overlaps: optional(list(list(integer({ min: 0 })))),
    /** Where the model holds gradients of itself: its chain of stages, folded over the devices of the partition's. */
    placement: optional(list(integer({ min: 0 }))),
  }),
  devices: list(
    object({
      backend: choice(['wasm', 'reference']),
      capacityBytes: optional(integer({ min: 0 })),
      plannedBytes: integer({ min: 0 }),
    }),
    { minLength: 1 },
  ),
});

export type PlanFile = Infer<typeof schema>;

export function planFileOf(plan: Plan, experiment: unknown): PlanFile {
  const main = plan.schedules[Object.keys(plan.programs)[0]!]!;
  return {
    format: 'partita-plan',
    version: VERSION,
    experiment,
    partition: {
      stages: plan.partition.stages,
      method: plan.partition.method,
      assignment: { ...plan.partition.assignment },
    },
    placement: [...plan.placement],
    microbatches: plan.request.microbatches,
    schedule: {
      name: main.name,
      named: typeof plan.request.schedule === 'string' ? 'yes' : 'no',
      rows: main.rows.map((row) => row.map(taskKey)),
      overlaps: main.overlaps?.map((cells) => [...cells]),
      placement: main.stages === plan.partition.stages ? undefined : [...main.placement],
    },
    devices: plan.memory.map((m, d) => ({
      backend: plan.request.devices[d]!.backend,
      capacityBytes: plan.request.devices[d]!.memory ?? undefined,
      plannedBytes: m.peakBytes,
    })),
  };
}

export const writePlanFile = (plan: Plan, experiment: unknown): string =>
  `${JSON.stringify(planFileOf(plan, experiment), null, 2)}\n`;

/** Throws FormatError where the text is not a plan of this version. */
export function readPlanFile(text: string, where: string): PlanFile {
  const foreign = (what: string, cause?: unknown) =>
    new FormatError('plan-file', `${where}: ${what}`, {
      fields: { file: where },
      remedy: 'make it with: partita plan experiment.json --plan-out plan.json',
      cause,
    });
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw foreign(`not a plan: not JSON: ${(cause as Error).message}`, cause);
  }
  const { format, version } = (json ?? {}) as { format?: unknown; version?: unknown };
  if (format !== 'partita-plan') throw foreign('not a plan: it has no "format": "partita-plan"');
  if (version !== VERSION)
    throw foreign(`a plan of version ${String(version)}; this version of Partita reads ${VERSION}`);
  try {
    return parse(schema, json, where);
  } catch (cause) {
    throw foreign(`a damaged plan: ${(cause as Error).message.replace(`${where}: `, '')}`, cause);
  }
}

/** The request with the file's decisions in place of its own. */
export function withDecisions(request: PlanRequest, file: PlanFile): PlanRequest {
  return {
    ...request,
    microbatches: file.microbatches,
    devices: file.devices.map((d, i) => ({
      backend: d.backend,
      memory: d.capacityBytes ?? null,
      speed: request.devices[i]?.speed ?? 1,
    })),
    partition: { ready: file.partition },
    placement: file.placement,
    // The placement says it.
    stagesPerDevice: undefined,
    schedule: scheduleOf(file),
  };
}

function scheduleOf({ schedule, placement: own, microbatches, devices }: PlanFile): PlanRequest['schedule'] {
  const { name, named, rows, overlaps, placement = own } = schedule;
  if (named === 'yes' && isScheduleName(name)) return name;
  const read: Schedule = {
    name,
    stages: placement.length,
    devices: devices.length,
    microbatches,
    placement,
    rows: rows.map((row) => row.map(parseTaskKey)),
    ...(overlaps ? { overlaps } : {}),
  };
  return read;
}

/** Whether the plan made again is the stored one: the same assignment, order of tasks and bytes. Throws PlanError. */
export function checkSamePlan(plan: Plan, file: PlanFile, where: string): void {
  const differences: string[] = [];
  const again = planFileOf(plan, null);
  const nodes = new Set([...Object.keys(file.partition.assignment), ...Object.keys(again.partition.assignment)]);
  const moved = [...nodes].filter((n) => file.partition.assignment[n] !== again.partition.assignment[n]);
  if (moved.length > 0) differences.push(`${moved.length} nodes are on other stages, first ${moved[0]}`);
  if (JSON.stringify(file.schedule.rows) !== JSON.stringify(again.schedule.rows))
    differences.push('the schedule differs');
  file.devices.forEach((d, i) => {
    const planned = again.devices[i]?.plannedBytes;
    if (planned !== d.plannedBytes) {
      differences.push(`device ${i} is planned with ${planned} bytes, stored are ${d.plannedBytes}`);
    }
  });
  if (differences.length === 0) return;
  throw new PlanError('plan-differs', `${where} is not the plan of this experiment: ${differences.join('; ')}`, {
    fields: { file: where, differences },
    remedy: `make it again: partita plan experiment.json --plan-out ${where}`,
  });
}

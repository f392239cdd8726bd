/**
 * A plan as a file: the experiment and every decision that was made for it. Reading it makes the same plan again by
 * compiling; the planned bytes of every device must come out the same.
 */

import { FormatError, joinProblems, PartitaError, PlanError } from '../core/errors.ts';
import { JsonError, parseJson, versionText } from '../core/json.ts';
import { isRecord } from '../core/kinds.ts';
import { requireArgument, requireKinds } from '../core/options.ts';
import { parse, sentence } from '../core/schema.ts';
import { defaultFusion } from '../fusion/modes.ts';
import type { Partition } from '../partition/partition.ts';
import { forwardNodes } from '../partition/stage-of.ts';
import type { RecomputeChoice } from '../recompute/index.ts';
import { isScheduleName, makeSchedule, scheduleNames } from '../schedule/named.ts';
import type { Schedule } from '../schedule/schedule.ts';
import { parseTaskKey, taskKey } from '../schedule/task.ts';
import { checkRequestKeys } from './check-request.ts';
import type { Plan, PlanRequest } from './plan.ts';
import { type PlanFile, planFileProblems, planFileSchema } from './plan-file-schema.ts';
import { requirePlan } from './require-plan.ts';

export type { PlanFile } from './plan-file-schema.ts';

const VERSION = 1;

/** `experiment`: as the command line understands it, or null; it is only carried. */
export function planFileOf(plan: Plan, experiment: object | null): PlanFile {
  requirePlan('planFileOf', plan);
  const isCarried = experiment === null || isRecord(experiment);
  requireArgument('planFileOf', isCarried, 'null, or an experiment as an object', experiment, 'planFileOf(plan, null)');
  const [mainName, ...others] = Object.keys(plan.programs);
  const main = plan.schedules[mainName!]!;
  const { schedule } = plan.request;
  // Programs that only run forward have a schedule of their own, whatever is asked for.
  const isNamed = typeof schedule === 'string' && isScheduleName(schedule) && main.name === schedule;
  const trained = others.filter((name) => plan.request.programs[name]!.mode !== 'forward');
  const rowsOf = ({ rows, overlaps }: Schedule) => ({
    rows: rows.map((row) => row.map(taskKey)),
    overlaps: overlaps?.map((cells) => [...cells]),
  });
  return {
    format: 'partita-plan',
    version: VERSION,
    experiment: experiment as PlanFile['experiment'],
    partition: {
      stages: plan.partition.stages,
      method: plan.partition.method,
      assignment: assignmentOf(plan),
    },
    placement: [...plan.placement],
    microbatches: plan.request.microbatches,
    schedule: {
      name: main.name,
      named: isNamed ? 'yes' : 'no',
      ...rowsOf(main),
      others:
        isNamed || trained.length === 0
          ? undefined
          : Object.fromEntries(
              trained.map((name) => {
                const own = plan.schedules[name]!;
                return [name, { microbatches: own.microbatches, ...rowsOf(own) }];
              }),
            ),
      placement: main.stages === plan.partition.stages ? undefined : [...main.placement],
      seconds: plan.stageSeconds.map(({ F, B, W }) => [F, B, W]),
    },
    recompute:
      plan.recompute.size === 0
        ? undefined
        : Object.fromEntries(
            [...plan.recompute].map(([stage, { kept, blockOf, retained }]) => [
              stage,
              {
                kept: [...kept],
                blocks: blockOf && Object.fromEntries(blockOf),
                retained: blockOf && retainedLists(blockOf, retained),
              },
            ]),
          ),
    simd: plan.request.simd === 'relaxed' ? 'relaxed' : undefined,
    fusion: (plan.request.fusion ?? defaultFusion) === 'on' ? 'on' : undefined,
    blas: plan.request.blas && { ...plan.request.blas },
    programs: Object.keys(plan.programs),
    devices: plan.memory.map((m, d) => ({
      backend: plan.request.devices[d]!.backend,
      capacityBytes: plan.request.devices[d]!.memory ?? undefined,
      plannedBytes: m.peakBytes,
    })),
  };
}

/** One for each block: of blocks that a choice says nothing about, nothing is retained. */
function retainedLists(
  blockOf: ReadonlyMap<string, number>,
  retained: readonly ReadonlySet<string>[] = [],
): string[][] {
  const blocks = [...blockOf.values()].reduce((most, block) => Math.max(most, block + 1), retained.length);
  return Array.from({ length: blocks }, (_, block) => [...(retained[block] ?? [])]);
}

export const writePlanFile = (plan: Plan, experiment: object | null): string =>
  `${JSON.stringify(planFileOf(plan, experiment), null, 2)}\n`;

/** Throws FormatError where the text is not a plan of this version. */
export function readPlanFile(text: string, where: string): PlanFile {
  requireKinds('readPlanFile', { text: ['text', text], where: ['text', where] });
  const foreign = (what: string, cause?: unknown, problems?: unknown) =>
    new FormatError('plan-file', `${where}: ${what}`, {
      fields: {
        file: where,
        ...(cause instanceof JsonError ? cause.twice : {}),
        ...(problems === undefined ? {} : { problems }),
      },
      remedy: 'make it with: partita plan experiment.json --plan-out plan.json',
      cause,
    });
  let json: unknown;
  try {
    json = parseJson(text);
  } catch (cause) {
    if (!(cause instanceof JsonError)) throw cause;
    throw foreign(`${cause.twice ? 'a damaged' : 'not a'} plan: it ${cause.message}`, cause);
  }
  const { format, version } = (json ?? {}) as { format?: unknown; version?: unknown };
  if (format !== 'partita-plan') throw foreign('not a plan: it has no "format": "partita-plan"');
  if (version !== VERSION) throw foreign(`a plan of ${versionText(version)}; this version of Partita reads ${VERSION}`);
  let file: PlanFile;
  try {
    file = parse(planFileSchema, json, where);
  } catch (cause) {
    if (!(cause instanceof PartitaError)) throw cause;
    throw foreign(`a damaged plan: ${cause.message.replace(`${where}: `, '')}`, cause, cause.fields.problems);
  }
  const problems = planFileProblems(file);
  if (problems.length > 0)
    throw foreign(`a damaged plan: ${joinProblems(problems.map(sentence))}`, undefined, problems);
  const { name, named } = file.schedule;
  if (named === 'yes' && !isScheduleName(name)) {
    throw foreign(
      `a damaged plan: schedule.name: there is no schedule "${name}"; there are ${scheduleNames.join(', ')}`,
    );
  }
  return file;
}

/** The request with the file's decisions in place of its own. Throws PlanError where only one of them has a native BLAS. */
export function withDecisions(request: PlanRequest, file: PlanFile): PlanRequest {
  checkRequestKeys(request);
  requireKinds('withDecisions', { file: ['record', file] });
  if ((request.blas === undefined) !== (file.blas === undefined)) {
    const stored = file.blas ? `made with ${file.blas.version}` : 'made without a native BLAS';
    throw new PlanError(
      'plan-differs',
      `the plan was ${stored}, and the experiment has ${request.blas?.version ?? 'none'}`,
      {
        fields: { stored: file.blas ?? null, here: request.blas ?? null },
        remedy: file.blas ? '--blas auto' : '--blas off',
      },
    );
  }
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
    simd: file.simd ?? 'strict',
    fusion: file.fusion ?? 'off',
    // The placement says it.
    stagesPerDevice: undefined,
    recompute: recomputeOf(file),
    stageSeconds: file.schedule.seconds?.map(([F = 0, B = 0, W = 0]) => ({ F, B, W })),
    ...schedulesOf(file),
  };
}

const recomputeOf = ({ recompute = {} }: PlanFile): RecomputeChoice =>
  new Map(
    Object.entries(recompute).map(([stage, { kept, blocks, retained }]) => [
      Number(stage),
      {
        kept: new Set(kept),
        ...(blocks && retained
          ? { blockOf: new Map(Object.entries(blocks)), retained: retained.map((names) => new Set(names)) }
          : {}),
      },
    ]),
  );

function schedulesOf(file: PlanFile): Pick<PlanRequest, 'schedule' | 'decided'> {
  const { schedule, placement: own, microbatches, devices } = file;
  const { name, named, others = {}, placement = own } = schedule;
  if (named === 'yes' && isScheduleName(name)) return { schedule: name, decided: undefined };
  const read = (M: number, { rows, overlaps }: Pick<PlanFile['schedule'], 'rows' | 'overlaps'>): Schedule => ({
    name,
    stages: placement.length,
    devices: devices.length,
    microbatches: M,
    placement,
    rows: rows.map((row) => row.map(parseTaskKey)),
    ...(overlaps ? { overlaps } : {}),
  });
  return {
    schedule: read(microbatches, schedule),
    decided: Object.fromEntries(Object.entries(others).map(([key, own]) => [key, read(own.microbatches, own)])),
  };
}

/** Whether the name of a file's schedule is true: what bears the name of a rule is that rule's; others are free. */
function isNameOf({ schedule: { name, rows } }: PlanFile, plan: Plan): boolean {
  if (!isScheduleName(name)) return true;
  const own = plan.schedules[Object.keys(plan.programs)[0]!]!;
  const { stages, devices, microbatches, placement } = own;
  const rule = makeSchedule(name, { stages, devices, microbatches, placement });
  return own.name === name && JSON.stringify(rule.rows.map((row) => row.map(taskKey))) === JSON.stringify(rows);
}

/**
 * Names that no graph of the plan has as a forward node. What only runs forward may have fewer than the training that the
 * partition was made for.
 */
function namesWithoutNode({ request, graphs }: Plan, assignment: Partition['assignment']): string[] {
  if (Object.values(request.programs)[0]!.mode === 'forward') return [];
  const names = new Set(Object.values(graphs).flatMap((graph) => forwardNodes(graph).map((n) => n.name)));
  return Object.keys(assignment).filter((name) => !names.has(name));
}

/** Stages of the plan's own nodes; a partition made for another graph may have further names. */
function assignmentOf(plan: Plan): Record<string, number> {
  const others = new Set(namesWithoutNode(plan, plan.partition.assignment));
  return Object.fromEntries(Object.entries(plan.partition.assignment).filter(([name]) => !others.has(name)));
}

/**
 * Whether the plan made again is the stored one: the same assignment, order of tasks and bytes; where flags have changed what
 * programs there are, of those that both have, and without the bytes, which are of all programs together. Throws PlanError.
 */
export function checkSamePlan(plan: Plan, file: PlanFile, where: string): void {
  requirePlan('checkSamePlan', plan);
  const differences: string[] = [];
  const again = planFileOf(plan, null);
  const nodes = new Set([...Object.keys(file.partition.assignment), ...Object.keys(again.partition.assignment)]);
  const gone = new Set(namesWithoutNode(plan, file.partition.assignment));
  const moved = [...nodes].filter(
    (n) => !gone.has(n) && file.partition.assignment[n] !== again.partition.assignment[n],
  );
  if (moved.length > 0) differences.push(`${moved.length} nodes are on other stages, first ${moved[0]}`);
  if (gone.size > 0) differences.push(`${gone.size} of its nodes are none of the model's, first ${[...gone][0]}`);
  const isBoth = (name: string): boolean =>
    [file, again].every(({ programs }) => programs === undefined || programs.includes(name));
  const order = ({ schedule: { rows, overlaps, others = {} } }: PlanFile) =>
    JSON.stringify([rows, overlaps, Object.entries(others).filter(([name]) => isBoth(name))]);
  if (order(file) !== order(again)) differences.push('the schedule differs');
  else if (!isNameOf(file, plan)) differences.push(`its schedule is not "${file.schedule.name}"`);
  const isSame = file.programs === undefined || file.programs.join() === again.programs!.join();
  if (file.devices.length !== again.devices.length) differences.push('the number of devices differs');
  else if (isSame)
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

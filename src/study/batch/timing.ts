/** Times and memory of all layouts. */

import { PlanError, UsageError } from '../../core/errors.ts';
import { normalizesByWholeBatch } from '../../optim/batch-norm.ts';
import type { Plan } from '../../plan/plan.ts';
import { capacityOf } from '../../plan/plan.ts';
import { closedFormBubble } from '../../schedule/bubble.ts';
import { isScheduleName } from '../../schedule/named.ts';
import { prepareExperiment } from '../../train/experiment/prepare.ts';
import { type PlannedLayout, planLayout, type TimedSteps } from '../layout.ts';
import { breathing } from '../recorder.ts';
import { spreadOf } from '../statistics.ts';
import { experimentWith, invalidCombinations } from '../sweep.ts';
import { timeInTurns } from '../turns.ts';
import type { BatchStudyDesign, Layout } from './design.ts';
import type { BatchStudyOptions } from './options.ts';
import type { Recorder } from './recorder.ts';
import type { MemoryRow, TimingRow } from './tables.ts';

export interface PlannedRun extends PlannedLayout {
  readonly layout: Layout;
}

/**
 * Plans every layout; what does not fit is kept, with its need. Rejects with one UsageError for all that cannot be planned, and
 * with the signal's reason once that is aborted.
 */
export async function planLayouts({ layouts, where }: BatchStudyDesign, signal?: AbortSignal): Promise<PlannedRun[]> {
  const problems: { label: string; message: string; remedy?: string }[] = [];
  const planned: PlannedRun[] = [];
  const breathe = breathing(signal);
  for (const layout of layouts) {
    await breathe();
    try {
      planned.push({ layout, ...planLayout(layout.prepared) });
    } catch (error) {
      if (!(error instanceof UsageError || error instanceof PlanError)) throw error;
      const { label } = layout.combination;
      problems.push({ label, message: `${label}: ${error.message}`, remedy: error.remedy });
    }
  }
  if (problems.length > 0) throw invalidCombinations(problems, where);
  return planned;
}

/** The steps of a layout in all its sessions. */
export type TimedLayouts = ReadonlyMap<PlannedRun, TimedSteps>;

/**
 * Times every layout that fits, and each batch on one device in one piece as the measure of efficiency. Sessions take turns:
 * each repeat goes through all layouts, every other one backwards, so that a machine that slows down slows all of them.
 */
export async function timeLayouts(
  design: BatchStudyDesign,
  planned: readonly PlannedRun[],
  { repeats, timedSteps }: BatchStudyOptions,
  { journal, add, progress, signal }: Recorder,
): Promise<{ timed: TimedLayouts; references: ReadonlyMap<string, TimedSteps> }> {
  const references = new Map(referencesOf(design).map((run) => [referenceKey(run.layout), run]));
  const fitting = planned.filter((run) => run.shortages.length === 0);
  const runs = [...references.values(), ...fitting].filter((run) => run.shortages.length === 0);
  const timed = await timeInTurns(
    runs.map((run) => ({ ...run, prepared: run.layout.prepared, run })),
    {
      repeats,
      timedSteps,
      task: ({ layout }) => ({ timing: layout.prepared.experiment }),
      text: ({ layout }) => layoutText(layout),
      onSession: ({ layout: { series, batch, microbatches } }, repeat, session) =>
        add('runs', { series, batch, microbatches, repeat, ...session }),
    },
    { journal, progress, signal },
  );
  const byRun = new Map([...timed].map(([{ run }, steps]) => [run, steps]));
  return {
    timed: byRun,
    references: new Map([...references].flatMap(([key, run]) => (byRun.has(run) ? [[key, byRun.get(run)!]] : []))),
  };
}

/** The same training on one device, in one piece. */
const oneDeviceName = 'reference: one device';

/** A reference for every batch and training: layouts that differ only in how they compute share one. */
function referencesOf({ layouts, base }: BatchStudyDesign): PlannedRun[] {
  const found = new Map<string, PlannedRun>();
  for (const layout of layouts) {
    const key = referenceKey(layout);
    if (found.has(key)) continue;
    const { experiment } = layout.prepared;
    const backend = typeof experiment.devices === 'number' ? 'wasm' : experiment.devices[0]!.backend;
    const values = {
      ...layout.combination.values,
      microbatches: 1,
      devices: [{ backend }],
      partition: 'auto',
    };
    const reference = experimentWith(
      { ...base, links: undefined, schedule: undefined, stagesPerDevice: undefined },
      keysOfTraining(values),
    );
    const prepared = prepareExperiment(reference, { where: oneDeviceName });
    found.set(key, {
      layout: {
        series: oneDeviceName,
        variant: layout.variant,
        batch: layout.batch,
        microbatches: 1,
        combination: { ...layout.combination, experiment: reference },
        prepared,
      },
      ...planLayout(prepared),
    });
  }
  return [...found.values()];
}

/** Without schedules, and without places within a list that is replaced as a whole. */
const keysOfTraining = (values: Readonly<Record<string, unknown>>): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(values).filter(([key]) => !/^((devices|partition)\.|links|schedule|stagesPerDevice)/.test(key)),
  );

/** What the arithmetic of a step depends on. */
const referenceKey = ({ prepared: { experiment }, batch }: Layout): string => {
  const { devices, links, schedule, stagesPerDevice, partition, microbatches, ...what } = experiment;
  return `${batch} ${JSON.stringify(what)}`;
};

const layoutText = ({ series, batch, microbatches }: Layout): string =>
  `batch ${batch}, M ${microbatches}${series === '' ? '' : `, ${series}`}`;

/** A row a device, measured where the layout ran. */
export function memoryRows(
  { layout, plan, shortages }: PlannedRun,
  measured: readonly number[] | undefined,
): MemoryRow[] {
  return plan.memory.map(({ device, peakBytes, byCategory }) => ({
    series: layout.series,
    batch: layout.batch,
    microbatches: layout.microbatches,
    device,
    fits: !shortages.some((s) => s.device === device),
    peakBytesPlanned: peakBytes,
    peakBytesMeasured: measured?.[device] ?? null,
    capacityBytes: capacityOf(plan.request.devices[device]!),
    ...byCategory,
  }));
}

/** A row a layout. */
export function timingRows(
  planned: readonly PlannedRun[],
  timed: TimedLayouts,
  references: ReadonlyMap<string, TimedSteps>,
): TimingRow[] {
  const rows = planned.map((run): TimingRow => {
    const { layout, plan, shortages } = run;
    const steps = timed.get(run);
    const seconds = steps && spreadOf(steps.seconds);
    const bubble = steps && spreadOf(steps.bubbles);
    const reference = references.get(referenceKey(layout));
    const devices = plan.request.devices.length;
    return {
      series: layout.series,
      batch: layout.batch,
      microbatches: layout.microbatches,
      schedule: Object.values(plan.schedules)[0]!.name,
      devices,
      fits: shortages.length === 0,
      stepSeconds: seconds?.median ?? null,
      stepSecondsLow: seconds?.low ?? null,
      stepSecondsHigh: seconds?.high ?? null,
      samplesPerSecond: seconds ? layout.batch / seconds.median : null,
      bubble: bubble?.median ?? null,
      bubbleLow: bubble?.low ?? null,
      bubbleHigh: bubble?.high ?? null,
      bubbleClosedForm: closedForm(plan),
      bubblePredicted: plan.prediction.bubbleFraction,
      efficiency: seconds && reference ? spreadOf(reference.seconds).median / (devices * seconds.median) : null,
      sweetSpot: false,
    };
  });
  const best = sweetSpots(rows, (row) => peakOf(planned[rows.indexOf(row)]!.plan));
  return rows.map((row) => ({ ...row, sweetSpot: best.includes(row) }));
}

/** Step times up to this many times the shortest are called as fast, where its spread allows it. */
const asFast = 1.05;

const peakOf = (plan: Plan): number => Math.max(...plan.memory.map((m) => m.peakBytes));

/** The bubble of equal stages; null where the pipeline is none of those that it is known for, barriers within it included. */
function closedForm({ request, partition, placement, surplus, graphs }: Plan): number | null {
  const { schedule } = request;
  if (normalizesByWholeBatch(Object.values(graphs)[0]!)) return null;
  if (typeof schedule !== 'string' || !isScheduleName(schedule) || surplus.length > 0) return null;
  if (partition.stages !== request.devices.length || placement.some((d, s) => d !== s)) return null;
  return closedFormBubble(schedule, partition.stages, request.microbatches, { stagesPerDevice: 1 });
}

/**
 * Of each batch and series the layout with the shortest step; where others are as fast (their median is neither above its
 * upper quartile nor more than 5 % longer), the one of them that needs least memory, and of those the one with fewest
 * microbatches.
 */
export function sweetSpots<R extends TimingRow>(rows: readonly R[], peakBytes: (row: R) => number): R[] {
  const groups = new Map<string, R[]>();
  for (const row of rows) {
    if (row.stepSeconds === null) continue;
    const key = `${row.series} ${row.batch}`;
    groups.set(key, [...(groups.get(key) ?? []), row]);
  }
  return [...groups.values()].map((group) => {
    const fastest = group.reduce((a, b) => (b.stepSeconds! < a.stepSeconds! ? b : a));
    return group
      .filter(({ stepSeconds: s }) => s! <= fastest.stepSecondsHigh! && s! <= asFast * fastest.stepSeconds!)
      .sort((a, b) => peakBytes(a) - peakBytes(b) || a.microbatches - b.microbatches)[0]!;
  });
}

/** A plan as people read it. */

import { formatBytes, formatCount, formatFlops, formatPercent, formatSeconds, wrap } from '../core/format.ts';
import { checkOptions } from '../core/options.ts';
import { formatType } from '../core/types.ts';
import { categoryName, peakCategories } from '../memory/categories.ts';
import type { PartitionObjective } from '../partition/partition.ts';
import { type Binding, wordsOfShares } from '../plan/binding.ts';
import type { Plan } from '../plan/plan.ts';
import { requirePlan } from '../plan/require-plan.ts';
import { type DeviceSummary, type PlanSummary, summarizePlan } from '../plan/summary.ts';
import { printGrid } from '../schedule/grid.ts';
import type { figuresOf } from './figures.ts';
import { type Cell, table } from './table.ts';

/** Stages, clock grid, memory and prediction. `elsewhere`: where the columns of a grid can be seen that is too long for `width`. */
export function printPlan(plan: Plan, options: { width?: number; elsewhere?: string } = {}): string {
  requirePlan('printPlan', plan);
  checkOptions('printPlan', options, { width: 'positive', elsewhere: 'text' });
  const { width = 100 } = options;
  const summary = summarizePlan(plan);
  const [main] = Object.keys(plan.programs);
  const parts = [
    heading(summary, plan),
    stageTable(summary),
    ...recomputeLines(summary),
    ...foldedStagesLine(plan, main!),
    `Schedule ${summary.schedule}${summary.barriers?.nodes.length ? ' (batchNorm exact)' : ''}, one column a task:\n${printGrid(
      plan.schedules[main!]!,
      {
        dependencies: plan.stageEdges,
        updates: plan.request.programs[main!]!.mode === 'train',
        width,
        elsewhere: options.elsewhere ?? "printGrid with width 'whole' prints them",
      },
    )}`,
    ...barrierLines(summary, width),
    memoryTable(summary, width),
    ...(summary.binding ? [bindingLine(summary.binding)] : []),
    `Predicted: ${formatSeconds(summary.stepSecondsPredicted)} a step, bubble ${formatPercent(summary.bubbleFractionPredicted)}; no plan of ${countOf(summary)} below ${formatSeconds(summary.stepSecondsLowerBound)} (gap ${formatPercent(gapOf({ value: summary.stepSecondsPredicted, lowerBound: summary.stepSecondsLowerBound }))})`,
  ];
  if (summary.surplus.length > 0) {
    parts.push(`Surplus: ${rangesOf(summary.surplus)} without a stage; fewer devices are as fast`);
  }
  return parts.join('\n\n');
}

/** `device 2, devices 5 to 9`, of numbers that rise. */
export function rangesOf(devices: readonly number[]): string {
  const runs: [first: number, last: number][] = [];
  for (const device of devices) {
    const run = runs.at(-1);
    if (run && run[1] === device - 1) run[1] = device;
    else runs.push([device, device]);
  }
  return runs.map(([first, last]) => (first === last ? `device ${first}` : `devices ${first} to ${last}`)).join(', ');
}

const countOf = ({ programs: [main] }: PlanSummary): string =>
  main!.microbatches === 1 ? 'one microbatch' : `${main!.microbatches} microbatches`;

/** Where the model holds gradients of itself, the grid has stages that the table has not. */
function foldedStagesLine(plan: Plan, program: string): string[] {
  const { stages } = plan.partition;
  const all = plan.schedules[program]!.stages;
  if (all === stages) return [];
  return [
    `The model holds gradients of itself: stages ${stages} to ${all - 1} of the grid hold them, folded back over the devices of stages ${stages - 1} to 0`,
  ];
}

/** The grid has a task a microbatch; with barriers it runs in parts, all microbatches' first parts first. */
function barrierLines({ barriers }: PlanSummary, width: number): string[] {
  if (!barriers) return [];
  const { forward, backward, nodes } = barriers;
  const head = `Barriers: ${forward} forward, ${backward} backward, at each of which all microbatches wait for each other; tasks run in parts between them`;
  return [nodes.length > 0 ? `${head}:\n${wrap(nodes.join(', '), '  ', width)}` : head];
}

function heading({ model, programs, fusion }: PlanSummary, plan: Plan): string {
  const [first] = programs;
  const { objective, method } = plan.partition;
  const quality = objective ? qualityOf(objective) : '';
  const chunks = `batch ${first!.batch} in ${first!.microbatches} microbatch${first!.microbatches === 1 ? '' : 'es'}`;
  const invariant = plan.request.invariant ? ', invariant: sample by sample, the same bits for any number of them' : '';
  const { blas, simd } = plan.request;
  const fused = fusion === 'on' ? ', elementwise chains fused' : '';
  const relaxed = simd === 'relaxed' ? ', relaxed SIMD' : '';
  const products = blas ? `\nProducts by ${blas.version}, ${blas.file}` : '';
  return `Model ${model}, ${chunks}${invariant}${fused}${relaxed}${products}\nPartition ${method}${quality}`;
}

function qualityOf(objective: PartitionObjective): string {
  const { kind, value, lowerBound, deviceLoads } = objective;
  const format = kind === 'time' ? formatSeconds : formatBytes;
  const bound = `bound ${format(lowerBound)}, gap ${formatPercent(gapOf(objective))}`;
  if (!deviceLoads) return `: largest ${format(value)}, ${bound}`;
  const device = `: largest device ${format(Math.max(...deviceLoads))}`;
  return kind === 'time' ? `${device}, with filling and draining ${format(value)}, ${bound}` : `${device}, ${bound}`;
}

export const gapOf = ({ value, lowerBound }: { value: number; lowerBound: number }): number =>
  value > 0 ? (value - lowerBound) / value : 0;

function stageTable({ stages }: PlanSummary): string {
  return table(
    ['stage', 'device', 'from', 'to', 'nodes', 'parameters', 'FLOPs a step'],
    stages.map((s) => [s.stage, s.device, s.from, s.to, s.nodes, formatCount(s.parameters), formatFlops(s.flops)]),
  );
}

/** What stages compute again, with its price and what it frees. */
function recomputeLines({ recompute: { mode, stages }, stages: all }: PlanSummary): string[] {
  if (mode === 'none' || (mode === 'given' && stages.length === 0)) return [];
  if (stages.length === 0) {
    const why =
      mode === 'optimal'
        ? 'everything that the backward pass reads fits, and is kept'
        : 'no stage holds what it could compute again';
    return [`Recompute ${mode}: ${why}`];
  }
  const total = all.reduce((sum, s) => sum + s.flops, 0);
  const again = stages.reduce((sum, s) => sum + s.flops, 0);
  const body = table(
    ['stage', 'nodes again', 'FLOPs again a step', 'kept a microbatch', 'instead of'],
    stages.map((s) => [s.stage, s.nodes, formatFlops(s.flops), formatBytes(s.keptBytes), formatBytes(s.fullBytes)]),
  );
  return [`Recompute ${mode}, ${formatPercent(total > 0 ? again / total : 0)} of all FLOPs:\n${body}`];
}

function memoryTable({ devices }: PlanSummary, width: number): string {
  const rows = (of: (d: DeviceSummary) => Cell) => devices.map(of);
  const bytes = (of: (d: DeviceSummary) => number) => rows((d) => formatBytes(of(d)));
  const lines: [string, Cell[]][] = [
    ...peakCategories.map((c): [string, Cell[]] => [`  ${categoryName(c)}`, bytes((d) => d.byCategory[c])]),
    ['peak', bytes((d) => d.peakBytesPlanned)],
    ['capacity', rows((d) => (d.capacityBytes === null ? 'as needed' : formatBytes(d.capacityBytes)))],
    ['most alive at once', bytes((d) => d.maxLiveBytes)],
    ["  in the graph's order", bytes((d) => d.order.graphOrderBytes)],
    ['peak / most alive', rows((d) => d.layoutRatio.toFixed(3))],
    ['sum without reuse', bytes((d) => d.naiveSumBytes)],
  ];
  const head = ['memory', ...devices.map((d) => `device ${d.device}`)];
  const align = head.map((_, i) => (i === 0 ? ('left' as const) : ('right' as const)));
  const body = table(
    head,
    lines.map(([name, cells]) => [name, ...cells]),
    { align },
  );
  const text = `${[body, ...gapLines(devices)].join('\n')}\n\nThe peak, and what holds it:\n${devices
    .filter((d) => d.peakBytesPlanned > 0)
    .map(holdersOf)
    .join('\n')}`;
  return [text, ...orderLines(devices, width)].join('\n');
}

/** Tensors of each device's peak that the printed plan shows. */
const SHOWN = 4;

/** `layer.1.relu@2  f32[16, 64]  4.00 KiB  saved activations  until 1BW2`: the task of its last use. */
function holdersOf({ device, peakAt, peakProgram, holders, otherHolders }: DeviceSummary): string {
  const rest = holders.slice(SHOWN);
  const rows = holders.slice(0, SHOWN).map((h) => {
    const until = h.to === null ? 'always' : `until ${h.to.split(' ', 1)[0]}`;
    return [h.name, h.type ? formatType(h.type) : '', formatBytes(h.bytes), categoryName(h.category), until];
  });
  const tensors = rest.length + otherHolders.tensors;
  const bytes = rest.reduce((sum, h) => sum + h.bytes, otherHolders.bytes);
  if (tensors > 0) rows.push([`${tensors} more`, '', formatBytes(bytes), '', '']);
  const align = ['left', 'left', 'right', 'left', 'left'] as const;
  const lines = table([], rows, { align, indent: 4 })
    .split('\n')
    .filter((l) => l !== '');
  return `  device ${device}: at ${peakAt} of ${peakProgram}\n${lines.join('\n')}`;
}

/** Before → after, where another order of a task's nodes lowers a device's peak. */
function orderLines(devices: readonly DeviceSummary[], width: number): string[] {
  const changed = devices.filter((d) => d.order.tasks.length > 0);
  if (changed.length === 0) return [];
  const lines = changed.map(({ device, maxLiveBytes, order }) => {
    const proof = order.exact ? ', and no order of its highest task is lower' : '';
    const tasks = wrap(order.tasks.join(', '), '    ', width);
    return `  device ${device}: ${formatBytes(order.graphOrderBytes)} → ${formatBytes(maxLiveBytes)} alive at once${proof}, in\n${tasks}`;
  });
  return ["Nodes run in another order than the graph's:", ...lines];
}

/** Where the layout takes more than what is alive at once, how much. */
function gapLines(devices: readonly DeviceSummary[]): string[] {
  const gaps = devices
    .filter((d) => d.peakBytesPlanned > d.maxLiveBytes)
    .map((d) => `device ${d.device} ${formatCount(d.peakBytesPlanned - d.maxLiveBytes)} B`);
  return gaps.length > 0 ? [`The layout wastes: ${gaps.join(', ')}`] : [];
}

/** Which device has the least room, how much, and what fills it; its tensors stand above. */
function bindingLine({ device, peakBytes, capacityBytes, categories }: Binding): string {
  const room = capacityBytes - peakBytes;
  const said = room < 0 ? `${formatBytes(-room)} too few` : `${formatBytes(room)} to spare`;
  return `Binds: device ${device}, ${formatBytes(peakBytes)} of ${formatBytes(capacityBytes)}, ${said}: ${wordsOfShares(categories)}`;
}

/** The closing table of a run: planned against measured. */
export function printFigures({ devices }: ReturnType<typeof figuresOf>): string {
  return table(
    ['device', 'planned peak', 'measured peak', '', 'capacity', 'busy a step', 'bubble'],
    devices.map((d) => [
      d.device,
      `${formatCount(d.peakBytesPlanned)} B`,
      d.peakBytesMeasured === null ? null : `${formatCount(d.peakBytesMeasured)} B`,
      d.peakBytesMeasured === null ? '' : d.peakBytesMeasured === d.peakBytesPlanned ? 'equal' : 'DIFFERENT',
      d.capacityBytes === null ? 'as needed' : formatBytes(d.capacityBytes),
      formatSeconds(d.busySeconds),
      formatPercent(d.bubbleFraction),
    ]),
    { align: ['right', 'right', 'right', 'left', 'right', 'right', 'right'] },
  );
}

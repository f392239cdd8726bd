/** A plan as people read it. */
import { formatBytes, formatCount, formatPercent, formatSeconds, wrap } from '../core/format.ts';
import type { PartitionObjective } from '../partition/partition.ts';
import { type Binding, categoryName, wordsOfShares } from '../plan/binding.ts';
import type { Plan } from '../plan/plan.ts';
import { type DeviceSummary, type PlanSummary, summarizePlan } from '../plan/summary.ts';
import { memoryCategories } from '../program/instruction.ts';
import { printGrid } from '../schedule/grid.ts';
import type { figuresOf } from './figures.ts';
import { type Cell, table } from './table.ts';

/** Stages, clock grid, memory and prediction. */
export function printPlan(plan: Plan, options: { width?: number } = {}): string {
  const { width = 100 } = options;
  const summary = summarizePlan(plan);
  const [main] = Object.keys(plan.programs);
  const parts = [
    heading(summary, plan),
    stageTable(summary),
    ...foldedStagesLine(plan, main!),
    `Schedule ${summary.schedule}${summary.barriers?.nodes.length ? ' (batchNorm exact)' : ''}, one column a task:\n${printGrid(
      plan.schedules[main!]!,
      {
        dependencies: plan.stageEdges,
        updates: plan.request.programs[main!]!.mode === 'train',
        width,
      },
    )}`,
    ...barrierLines(summary, width),
    memoryTable(summary, width),
    ...(summary.binding ? [bindingLine(summary.binding)] : []),
    `Predicted: ${formatSeconds(summary.stepSecondsPredicted)} a step, bubble ${formatPercent(summary.bubbleFractionPredicted)}; no plan of ${countOf(summary)} below ${formatSeconds(summary.stepSecondsLowerBound)} (gap ${formatPercent(gapOf({ value: summary.stepSecondsPredicted, lowerBound: summary.stepSecondsLowerBound }))})`,
  ];
  if (summary.surplus.length > 0) {
    parts.push(
      `Surplus: ${summary.surplus.map((d) => `device ${d}`).join(', ')} without a stage; fewer devices are as fast`,
    );
  }
  return parts.join('\n\n');
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

function heading({ model, programs }: PlanSummary, plan: Plan): string {
  const [first] = programs;
  const { objective, method } = plan.partition;
  const quality = objective ? qualityOf(objective) : '';
  const chunks = `batch ${first!.batch} in ${first!.microbatches} microbatch${first!.microbatches === 1 ? '' : 'es'}`;
  const invariant = plan.request.invariant ? ', invariant: sample by sample, the same bits for any number of them' : '';
  return `Model ${model}, ${chunks}${invariant}\nPartition ${method}${quality}`;
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

function formatFlops(flops: number): string {
  const units = ['', 'K', 'M', 'G', 'T', 'P'];
  let unit = 0;
  while (flops >= 1000 && unit < units.length - 1) {
    flops /= 1000;
    unit++;
  }
  return `${unit === 0 ? flops : flops.toFixed(1)} ${units[unit]}`.trimEnd();
}

function memoryTable({ devices }: PlanSummary, width: number): string {
  const rows = (of: (d: DeviceSummary) => Cell) => devices.map(of);
  const bytes = (of: (d: DeviceSummary) => number) => rows((d) => formatBytes(of(d)));
  const lines: [string, Cell[]][] = [
    ...[...memoryCategories, 'padding' as const].map((c): [string, Cell[]] => [
      `  ${categoryName(c)}`,
      bytes((d) => d.byCategory[c]),
    ]),
    ['peak', bytes((d) => d.peakBytesPlanned)],
    ['capacity', rows((d) => (d.capacityBytes === null ? 'as needed' : formatBytes(d.capacityBytes)))],
    ['most alive at once', bytes((d) => d.maxLiveBytes)],
    ['sum without reuse', bytes((d) => d.naiveSumBytes)],
  ];
  const holders = devices.map((d) => {
    const place = `  device ${d.device}: at ${d.peakAt} of ${d.peakProgram}`;
    const held = d.largest.map((t) => `${t.name} ${formatBytes(t.bytes)}`);
    return `${place}\n${wrap(held.length > 0 ? held.join(', ') : 'nothing', '    ', width)}`;
  });
  const head = ['memory', ...devices.map((d) => `device ${d.device}`)];
  const align = head.map((_, i) => (i === 0 ? ('left' as const) : ('right' as const)));
  const body = table(
    head,
    lines.map(([name, cells]) => [name, ...cells]),
    { align },
  );
  return `${body}\nThe peak, and what holds it:\n${holders.join('\n')}`;
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

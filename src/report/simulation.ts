/** A simulated step, as tables and as JSON. */
import { formatBytes, formatCount, formatPercent, formatSeconds } from '../core/format.ts';
import { quantile } from '../core/statistics.ts';
import type { Plan } from '../plan/plan.ts';
import type {
  CriticalPath,
  IdleCause,
  IdleReason,
  PathKind,
  Prediction,
  RootKind,
  Simulation,
  Wait,
  WaitKind,
} from '../simulate/index.ts';
import { figuresOf } from './figures.ts';
import { table } from './table.ts';

export interface SimulatedStep {
  readonly plan: Plan;
  readonly simulation: Simulation;
  /** The step of a training under way; null where steps cannot begin ahead. */
  readonly steady: Prediction | null;
  readonly path: CriticalPath;
  readonly causes: readonly IdleCause[];
  /** Seconds of steps drawn with jitter; null: there is none. */
  readonly steps: readonly number[] | null;
}

/** The fields that `plan`, `grad` and `train` have, and those of a simulation. */
export function simulationFigures({ plan, simulation, steady, path, causes, steps }: SimulatedStep) {
  const { stepSeconds, hostSeconds, messages, messageBytes } = simulation;
  const { devices, ...figures } = figuresOf(plan, {
    peaks: [],
    busySeconds: simulation.devices.map((d) => d.busySeconds),
    stepSeconds,
  });
  return {
    ...figures,
    basis: 'simulated',
    model: plan.request.model.name,
    schedule: Object.values(plan.schedules)[0]!.name,
    microbatches: plan.request.microbatches,
    hostSeconds,
    steadyStepSeconds: steady?.stepSeconds ?? null,
    messages,
    messageBytes,
    devices: devices.map((d, i) => {
      const { computeSeconds, sendSeconds, contentionSeconds, otherSeconds, waiting } = simulation.devices[i]!;
      return { ...d, computeSeconds, sendSeconds, contentionSeconds, otherSeconds, waitingSeconds: waiting };
    }),
    criticalPath: {
      seconds: path.seconds,
      secondsByKind: path.secondsByKind,
      secondsByDevice: path.secondsByDevice,
      hops: path.hops,
      segments: path.segments.length,
    },
    idleCauses: causes,
    steps: steps && spreadOf(steps),
  };
}

function spreadOf(steps: readonly number[]) {
  const at = (share: number) => quantile(steps, share);
  return {
    draws: steps.length,
    mean: steps.reduce((a, b) => a + b, 0) / steps.length,
    p5: at(0.05),
    median: at(0.5),
    p95: at(0.95),
  };
}

const pathNames: Readonly<Record<PathKind, string>> = {
  compute: 'computing',
  send: 'sending',
  contention: "sending, slower for others' transfers",
  latency: 'latency of links',
  other: 'inputs, outputs, copies, and instructions as such',
  host: 'the host',
};

export function printSimulation(step: SimulatedStep, show: { readonly causes: boolean }): string {
  const { plan, simulation, steady, path, causes, steps } = step;
  const { stepSeconds, bubbleFraction, messages, messageBytes } = simulation;
  const sent = `${formatCount(messages)} message${messages === 1 ? '' : 's'}, ${formatBytes(messageBytes)}`;
  const [schedule] = Object.values(plan.schedules);
  const parts = [
    `Model ${plan.request.model.name}, ${plan.request.microbatches} microbatches, ${schedule!.name}, ${sent}\nStep ${formatSeconds(stepSeconds)}, bubble ${formatPercent(bubbleFraction)}${steadyText(steady)}`,
    deviceTable(step),
    pathTable(path),
  ];
  if (steps) {
    const { draws, mean, p5, median, p95 } = spreadOf(steps);
    parts.push(
      `${formatCount(draws)} steps drawn: mean ${formatSeconds(mean)}, median ${formatSeconds(median)}, 90 % within ${formatSeconds(p5)} and ${formatSeconds(p95)}`,
    );
  }
  if (show.causes) parts.push(causeTable(causes));
  return parts.join('\n\n');
}

const steadyText = (steady: Prediction | null): string =>
  steady === null
    ? ''
    : `\nIn a training, whose steps are begun ahead: ${formatSeconds(steady.stepSeconds)} from barrier to barrier, bubble ${formatPercent(steady.bubbleFraction)}`;

function deviceTable({ plan, simulation }: SimulatedStep): string {
  const { devices } = figuresOf(plan);
  // Only measured hosts keep devices waiting for their word.
  const hasStarts = simulation.devices.some((d) => d.waiting.start > 0);
  const waits = ([...(hasStarts ? ['start'] : []), 'post', 'receive', 'barrier', 'end'] as WaitKind[]).map(
    (kind, i) => ({ kind, title: i === 0 ? `waits: ${kind}` : kind }),
  );
  const titles = [
    'device',
    'compute',
    'send',
    'other',
    ...waits.map((w) => w.title),
    'bubble',
    'planned peak',
    'capacity',
  ];
  return table(
    titles,
    simulation.devices.map((d, i) => [
      i,
      formatSeconds(d.computeSeconds),
      formatSeconds(d.sendSeconds),
      formatSeconds(d.otherSeconds),
      ...waits.map((w) => formatSeconds(d.waiting[w.kind])),
      formatPercent(d.bubbleFraction),
      formatBytes(devices[i]!.peakBytesPlanned),
      devices[i]!.capacityBytes === null ? 'as needed' : formatBytes(devices[i]!.capacityBytes),
    ]),
    { align: titles.map(() => 'right' as const) },
  );
}

/** What the step's time goes to along the chain that determines it. */
function pathTable({ seconds, secondsByKind, secondsByDevice, hops }: CriticalPath): string {
  const share = (part: number) => [formatSeconds(part), formatPercent(seconds > 0 ? part / seconds : 0)];
  const kinds = (Object.keys(pathNames) as PathKind[]).filter((kind) => secondsByKind[kind] > 0);
  const rows = kinds.map((kind) => [pathNames[kind], ...share(secondsByKind[kind])]);
  const most = secondsByDevice.map((part, device) => ({ part, device })).sort((a, b) => b.part - a.part);
  const shown = most.filter(({ part }) => part > 0).slice(0, DEVICES_SHOWN);
  const devices = shown.map(({ part, device }) => `device ${device} ${share(part)[1]}`).join(', ');
  const passes = `${formatCount(hops)} time${hops === 1 ? '' : 's'}`;
  return `${table(['critical path', 'seconds', 'share'], rows, { align: ['left', 'right', 'right'] })}\nIt passes from one device to another ${passes}; ${devices}`;
}

const DEVICES_SHOWN = 8;
const CAUSES_SHOWN = 20;

const waitNames: Readonly<Record<WaitKind, string>> = {
  start: "for the host's word to begin",
  post: 'for a place to send to',
  receive: 'for a value',
  barrier: 'for all, at a barrier',
  end: 'for the end of the step',
};

const rootName = (kind: RootKind, device: number | null): string =>
  ({
    compute: `device ${device} computes`,
    send: `device ${device} sends`,
    contention: `device ${device} sends, slower for others' transfers`,
    latency: `what device ${device} has done is on its way`,
    other: `device ${device} is at inputs, outputs, copies, or an instruction as such`,
    host: 'the host is at work',
  })[kind];

function causeTable(causes: readonly IdleCause[]): string {
  const idle = causes.reduce((sum, c) => sum + c.seconds, 0);
  if (idle === 0) return 'No device is idle.';
  const rows = causes
    .slice(0, CAUSES_SHOWN)
    .map((c) => [
      waitNames[c.wait],
      rootName(c.kind, c.device),
      formatSeconds(c.seconds),
      formatPercent(c.seconds / idle),
    ]);
  const rest = causes.slice(CAUSES_SHOWN);
  if (rest.length > 0) {
    const seconds = rest.reduce((sum, c) => sum + c.seconds, 0);
    rows.push([`${rest.length} more causes`, '', formatSeconds(seconds), formatPercent(seconds / idle)]);
  }
  return table(['idle: waits', 'while in truth', 'device seconds', 'share'], rows, {
    align: ['left', 'left', 'right', 'right'],
  });
}

/** The chain of waits at a time. */
export function printWhy(
  { source, stepSeconds }: Simulation,
  { device, seconds }: { readonly device: number; readonly seconds: number },
  reason: IdleReason | null,
): string {
  const at = `device ${device} at ${formatSeconds(seconds)}`;
  if (seconds >= stepSeconds) return `The step has ended at ${formatSeconds(stepSeconds)}.`;
  if (reason === null) return `${capitalised(at)} is busy.`;
  const action = (d: number, index: number) => source.describe(d, index);
  const line = (w: Wait): string =>
    w.index === null
      ? `  device ${w.device} is done, and the step is not: it waits for device ${w.for}`
      : `  device ${w.device} waits ${waitNames[w.kind]} (${action(w.device, w.index)}), for device ${w.for}`;
  const { kind, device: root, index } = reason.root;
  const last = root === null ? '' : ` (${action(root, index!)})`;
  return [
    `${capitalised(at)} is idle, for this reason from ${formatSeconds(reason.begin)} to ${formatSeconds(reason.end)}:`,
    ...reason.chain.map(line),
    `  and ${rootName(kind, root)}${last}`,
  ].join('\n');
}

const capitalised = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

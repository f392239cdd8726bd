/** `partita simulate` of stages whose times are given: no model, no experiment. */

import { nearest, PlanError, UsageError } from '../core/errors.ts';
import { formatCount, formatPercent, formatValue } from '../core/format.ts';
import { writeFileAtomic } from '../formats/atomic.ts';
import { readText } from '../formats/read-file.ts';
import { table } from '../report/table.ts';
import {
  type AutoSchedule,
  autoSchedule,
  type ClockOptions,
  isScheduleName,
  makeSchedule,
  namedSchedules,
  peakHeldOfDevices,
  placementOver,
  printGrid,
  readScheduleCsv,
  type Schedule,
  type ScheduleObjective,
  type StageFigures,
  scheduleNames,
  stageFigures,
  type Task,
  validateSchedule,
  writeScheduleCsv,
} from '../schedule/index.ts';
import {
  choiceOf,
  type Invocation,
  numbersOf,
  pathOf,
  refuseOverwriting,
  refuseUnwritable,
  wholeNumberOf,
} from './invocation.ts';
import { costsOf, type StageTimes } from './stage-costs.ts';

interface Asked {
  readonly schedule: string;
  readonly microbatches: number | undefined;
  readonly devices: number | undefined;
  readonly stagesPerDevice: number | undefined;
  /** Device of each stage. */
  readonly placement: readonly number[] | undefined;
  /** What `auto` shortens; undefined where nothing is said. */
  readonly minimize: ScheduleObjective | undefined;
}

/** What devices may hold, in microbatches of one stage. */
interface Room {
  /** Of one device after the other, or a single one for all. */
  readonly inFlight: readonly number[];
  /** What is left of a microbatch from its B to its W. */
  readonly keptForWeights: number;
}

type Figures = Omit<StageFigures, 'devices'> & {
  readonly devices: readonly (StageFigures['devices'][number] & {
    readonly peakHeld?: number;
    readonly mayHold?: number;
  })[];
};

export async function run(invocation: Invocation): Promise<number> {
  if (invocation.file !== undefined) {
    throw new UsageError(
      'command-line',
      `simulate plays either ${invocation.file} or stages with times given by flags`,
      {
        fields: { file: invocation.file },
        remedy: 'leave out the experiment, or --stages, --times, --costs and --link',
      },
    );
  }
  const out = pathOf(invocation, 'scheduleOut');
  refuseUnwritable('schedule-out', out);
  const asked = askedFor(invocation);
  refuseOverwriting('schedule-out', out, [
    { what: '--schedule', path: asked.schedule },
    { what: '--costs', path: pathOf(invocation, 'costs') },
  ]);
  const fromFile = asked.schedule.endsWith('.csv')
    ? readScheduleCsv(readText(asked.schedule), { name: asked.schedule })
    : undefined;
  const stages = stagesAsked(invocation, asked, fromFile);
  refuseHuge(asked, stages ?? 1);
  const { times, link, dependencies } = costsOf(invocation, stages, fromFile && asked.schedule);
  const options: ClockOptions = { durations: (t) => durationOf(times[t.stage]!, t), link, dependencies };

  const room = roomAsked(invocation);
  const { schedule, auto } = fromFile === undefined ? scheduleOf(asked, times, options, room) : { schedule: fromFile };
  if (fromFile !== undefined) refuseOthers(asked, fromFile);
  validateSchedule(schedule, { dependencies });
  const figures = withHeld(stageFigures(schedule, options), schedule, room);
  if (out !== undefined) await writeFileAtomic(out, writeScheduleCsv(schedule));

  if (invocation.json) {
    const bound = auto && {
      minimize: asked.minimize ?? 'makespan',
      lowerBound: auto.lowerBound,
      gap: auto.gap,
      searched: auto.searched,
    };
    const { name, stages, microbatches, placement } = schedule;
    process.stdout.write(
      `${JSON.stringify({ version: 1, schedule: name, stages, microbatches, placement, ...figures, ...bound })}\n`,
    );
  } else if (!invocation.quiet) {
    process.stdout.write(`${print(schedule, figures, auto, asked, options)}\n`);
  }
  return 0;
}

/** The keys of an experiment that say something of stages alone. */
function askedFor(invocation: Invocation): Asked {
  const counts = ['microbatches', 'devices', 'stagesPerDevice'] as const;
  const texts = new Map(invocation.keys);
  const other =
    invocation.memory === undefined
      ? [...texts.keys()].find((key) => !['schedule', 'schedule.file', 'partition.placement', ...counts].includes(key))
      : 'memory';
  if (other !== undefined) {
    throw new UsageError('command-line', `--${other} says nothing about stages whose times are given`, {
      fields: { flag: other },
      remedy: `leave out --${other}, or simulate an experiment: partita simulate experiment.json`,
    });
  }
  const [microbatches, devices, stagesPerDevice] = counts.map((key) => {
    const text = texts.get(key);
    return text === undefined ? undefined : wholeNumberOf({ ...invocation, own: { count: text } }, 'count', key, 1);
  });
  return {
    schedule: texts.get('schedule.file') ?? texts.get('schedule') ?? '1f1b',
    microbatches,
    devices,
    stagesPerDevice,
    placement: texts.get('partition.placement')?.split(',').map(deviceNumber),
    minimize: minimizeAsked(invocation, texts.get('schedule')),
  };
}

function minimizeAsked(invocation: Invocation, schedule: string | undefined): ScheduleObjective | undefined {
  const asked = choiceOf(invocation, 'minimize', ['makespan', 'span']);
  if (asked === undefined || schedule === 'auto') return asked;
  throw new UsageError('command-line', `--minimize is of the schedule auto, not of ${schedule ?? '1f1b'}`, {
    fields: { flag: 'minimize', schedule: schedule ?? '1f1b' },
    remedy: `--schedule auto --minimize ${asked}`,
  });
}

function roomAsked(invocation: Invocation): Room | undefined {
  const inFlight = numbersOf(invocation, 'inFlight', 'in-flight', '16');
  const shares = numbersOf(invocation, 'keptForWeights', 'kept-for-weights', '0.5');
  if (shares === undefined) return inFlight && { inFlight, keptForWeights: 1 };
  const [keptForWeights] = shares;
  if (shares.length > 1 || keptForWeights! > 1) {
    throw new UsageError('command-line', `--kept-for-weights: expected one number from 0 to 1, got ${shares}`, {
      fields: { flag: 'kept-for-weights', got: shares },
      remedy: '--kept-for-weights 0.5',
    });
  }
  if (inFlight !== undefined) return { inFlight, keptForWeights: keptForWeights! };
  throw new UsageError(
    'command-line',
    '--kept-for-weights is of --in-flight: without it, nothing limits what is held',
    {
      fields: { flag: 'kept-for-weights' },
      remedy: `--in-flight 16 --kept-for-weights ${keptForWeights}`,
    },
  );
}

/** A budget for every device. */
function budgetsOf({ inFlight }: Room, devices: number): readonly number[] {
  if (inFlight.length === 1) return new Array<number>(devices).fill(inFlight[0]!);
  if (inFlight.length === devices) return inFlight;
  throw new UsageError('command-line', `--in-flight: ${inFlight.length} numbers for ${devices} devices`, {
    fields: { flag: 'in-flight', got: inFlight.length, devices },
    remedy: `--in-flight ${Math.max(...inFlight)}`,
  });
}

/** What each device holds beside what it may; refuses a schedule that holds more. */
function withHeld(figures: StageFigures, schedule: Schedule, room: Room | undefined): Figures {
  if (room === undefined) return figures;
  const budgets = budgetsOf(room, schedule.devices);
  const held = peakHeldOfDevices(schedule, room.keptForWeights);
  const device = held.findIndex((h, d) => h > budgets[d]!);
  if (device >= 0) {
    const [need, budget] = [held[device]!, budgets[device]!];
    throw new PlanError(
      'schedule-memory-budget',
      `${schedule.name} holds ${formatValue(need)} microbatches on device ${device}, where ${formatValue(budget)} may be in flight`,
      {
        fields: { schedule: schedule.name, device, budget, need, held },
        remedy: `--schedule auto, or --in-flight ${Math.max(...held)}`,
      },
    );
  }
  const devices = figures.devices.map((d, i) => ({ ...d, peakHeld: held[i]!, mayHold: budgets[i]! }));
  return { ...figures, devices };
}

function deviceNumber(text: string): number {
  if (/^\s*\d{1,9}\s*$/.test(text)) return Number(text);
  throw new UsageError(
    'command-line',
    `--partition.placement: expected numbers of devices, got ${JSON.stringify(text)}`,
    {
      fields: { flag: 'partition.placement', got: text },
      remedy: '--partition.placement 0,1,0,1',
    },
  );
}

/** How many stages the flags and the schedule's file speak of; undefined where only a file of costs says it. */
function stagesAsked(invocation: Invocation, asked: Asked, fromFile: Schedule | undefined): number | undefined {
  const { devices, stagesPerDevice, placement } = asked;
  const said = [
    ['--stages', wholeNumberOf(invocation, 'stages', 'stages', 1)],
    ['--devices and --stagesPerDevice', devices && stagesPerDevice && devices * stagesPerDevice],
    ['--partition.placement', placement?.length],
    [asked.schedule, fromFile?.stages],
  ] as const;
  const [first, ...others] = said.filter(([, n]) => n !== undefined);
  const contrary = others.find(([, n]) => n !== first![1]);
  if (contrary !== undefined) {
    throw new UsageError(
      'command-line',
      `${contrary[0]}: ${contrary[1]} stages, where ${first![0]} says ${first![1]}`,
      {
        fields: { stages: first![1], other: contrary[1] },
        remedy: `--stages ${contrary[1]}`,
      },
    );
  }
  return first?.[1];
}

const durationOf = ({ F, B, W }: StageTimes, { kind }: Task): number =>
  kind === 'F' ? F : kind === 'B' ? B : kind === 'W' ? W : B + W;

function scheduleOf(
  asked: Asked,
  times: readonly StageTimes[],
  options: ClockOptions,
  room: Room | undefined,
): { schedule: Schedule; auto?: AutoSchedule } {
  const { schedule: name, microbatches = 1, devices, stagesPerDevice, placement, minimize } = asked;
  const stages = times.length;
  refuseHuge(asked, stages);
  const known = [...scheduleNames, 'auto'];
  if (name !== 'auto' && !isScheduleName(name)) {
    const near = nearest(name, known);
    throw new UsageError(
      'unknown-schedule',
      `--schedule: expected ${known.join(', ')} or a file s.csv, got ${JSON.stringify(name)}`,
      {
        fields: { schedule: name, known },
        remedy: `--schedule ${near ?? '1f1b'}`,
      },
    );
  }
  const each = stagesPerDevice ?? (name === 'auto' ? 1 : namedSchedules[name].stagesPerDevice);
  const count = devices ?? (placement === undefined ? Math.ceil(stages / each) : Math.max(...placement) + 1);
  if (name !== 'auto') {
    const own = placement ?? placementOver(namedSchedules[name].placement, stages, count);
    return { schedule: makeSchedule(name, { stages, microbatches, devices: count, placement: own }) };
  }
  const ofEach = (x: number): number[] => new Array<number>(stages).fill(x);
  const memory = room && {
    perMicrobatch: ofEach(1),
    perWeightGradient: ofEach(room.keptForWeights),
    budget: budgetsOf(room, count),
  };
  const shape = { stages, microbatches, devices: count, ...(placement ? { placement } : {}) };
  const auto = autoSchedule(shape, { ...options, memory, objective: minimize });
  return { schedule: auto.schedule, auto };
}

/** All tasks of a schedule are in memory at once. */
const most = { cells: 2 ** 22, devices: 2 ** 20 };

function refuseHuge({ microbatches = 1, devices = 1, placement = [] }: Asked, stages: number): void {
  const count = placement.reduce((max, d) => Math.max(max, d + 1), devices);
  const tooMany = stages * microbatches > most.cells;
  if (!tooMany && count <= most.devices) return;
  const [what, limit] = tooMany
    ? [
        `${formatCount(stages)} stages with ${formatCount(microbatches)} microbatches: stages · microbatches`,
        most.cells,
      ]
    : [`${formatCount(count)} devices: they`, most.devices];
  throw new UsageError(
    'schedule-size',
    `${what} may be at most ${formatCount(limit)} here, for the tasks to fit in memory`,
    {
      fields: { stages, microbatches, devices: count, limit },
      remedy: 'pipelineProgram of the API makes tasks as they are played, of any number (docs/simulator.md)',
    },
  );
}

/** A schedule's file says all but the times. */
function refuseOthers({ schedule, devices, microbatches, placement }: Asked, file: Schedule): void {
  for (const [key, asked, given] of [
    ['devices', devices, file.devices],
    ['microbatches', microbatches, file.microbatches],
    ['partition.placement', placement?.join(), file.placement.join()],
  ] as const) {
    if (asked === undefined || asked === given) continue;
    throw new UsageError('command-line', `--${key} ${asked}, where ${schedule} has ${given}`, {
      fields: { flag: key, got: asked, expected: given },
      remedy: `leave out --${key}`,
    });
  }
}

/** Devices and tasks up to which the grid is drawn, and rows of the table. */
const drawn = { devices: 64, tasks: 100_000, rows: 32 };

/** What `auto` looked at: of many tasks not all that it knows. */
function searchLine({ named, orders, placements, isLarge }: AutoSchedule['searched']): string {
  const tried = [
    `${formatCount(orders)} order${orders === 1 ? '' : 's'}`,
    ...(named.length > 0 ? [`those of ${named.join(', ')} among them`] : []),
    ...(placements.length > 1 ? [`placements ${placements.join(', ')}`] : []),
  ];
  return `searched: ${tried.join('; ')}${isLarge ? '; short, for so many tasks' : ''}`;
}

function print(
  schedule: Schedule,
  figures: Figures,
  auto: AutoSchedule | undefined,
  { minimize = 'makespan' }: Asked,
  options: ClockOptions,
): string {
  const { name, stages, devices, microbatches, rows } = schedule;
  const count = (n: number, what: string): string => `${formatCount(n)} ${what}${n === 1 ? '' : 's'}`;
  const title = `${name}: ${count(stages, 'stage')} on ${count(devices, 'device')}, ${count(microbatches, 'microbatch').replace(/hs$/, 'hes')}`;
  const tasks = rows.reduce((sum, row) => sum + row.length, 0);
  const grid =
    devices <= drawn.devices && tasks <= drawn.tasks
      ? printGrid(schedule, {
          ...options,
          width: process.stdout.columns || 120,
          elsewhere: '--schedule-out FILE.csv writes them',
        })
      : `(${count(devices, 'device')} with ${formatCount(tasks)} tasks are not drawn)`;
  const shown = figures.devices.slice(0, drawn.rows);
  const isLimited = shown.some(({ mayHold }) => mayHold !== undefined);
  const lines = table(
    ['device', 'busy', 'idle', 'idle share', 'in flight', ...(isLimited ? ['held', 'may hold'] : [])],
    shown.map(({ busy, idle, peakInFlight, peakHeld, mayHold }, d) => [
      d,
      formatValue(busy),
      formatValue(idle),
      formatPercent(figures.makespan > 0 ? idle / figures.makespan : 0),
      peakInFlight,
      ...(isLimited ? [formatValue(peakHeld!), formatValue(mayHold!)] : []),
    ]),
  );
  const more = devices > shown.length ? [`and ${count(devices - shown.length, 'more device')}; --json has all`] : [];
  const proof = auto && [
    `${minimize}: lower bound ${formatValue(auto.lowerBound)}, gap ${formatPercent(auto.gap)}`,
    ...(auto.against
      ? [`best named schedule: ${auto.against.name}, ${minimize} ${formatValue(auto.against[minimize])}`]
      : []),
    searchLine(auto.searched),
  ];
  return [
    title,
    grid,
    '',
    `makespan ${formatValue(figures.makespan)}; bubble ${formatPercent(figures.bubbleFraction, 2)}, with the waits until all devices begin and end ${formatPercent(figures.bubbleFractionMakespan, 2)}`,
    ...(proof ?? []),
    lines,
    ...more,
  ].join('\n');
}

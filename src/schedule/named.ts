import { nearest, UsageError } from '../core/errors.ts';
import { requireKinds, shown } from '../core/options.ts';
import type { Durations } from './clock.ts';
import { dualpipeV } from './dualpipe-v.ts';
import { gpipe } from './gpipe.ts';
import { type Interleaving, interleavedDeviceBound, interleavedStageBound } from './interleave.ts';
import { interleaved1f1b, interleaving1f1b } from './interleaved-1f1b.ts';
import { loopedBfs } from './looped-bfs.ts';
import { oneFOneB } from './one-f-one-b.ts';
import { joinNeighbours, ownDevices, type Rule, scheduleBy, stagesOfEach, usualPlacement } from './placed.ts';
import { layStages, type PlacementRule, placementBy, renaming } from './placement.ts';
import { requireShape, type Schedule, type ScheduleShape } from './schedule.ts';
import { interleavingH1, zbH1 } from './zb-h1.ts';
import { interleavingH2, zbH2 } from './zb-h2.ts';
import { zbV } from './zb-v.ts';

export type ScheduleName =
  | 'gpipe'
  | '1f1b'
  | 'interleaved-1f1b'
  | 'looped-bfs'
  | 'zb-h1'
  | 'zb-h2'
  | 'zb-v'
  | 'dualpipe-v';

/** A schedule's own layout: p devices with v stages each, M microbatches. */
export interface Layout {
  readonly p: number;
  readonly v: number;
  readonly M: number;
}

/** All that is known of a schedule by its name. Adding one is a rule's file and a record here. */
export interface NamedSchedule {
  readonly build: (shape: ScheduleShape) => Schedule;
  /** Where the stages lie unless a placement is written by hand, and how many of them each device owns by default. */
  readonly placement: PlacementRule;
  readonly stagesPerDevice: number;
  /** The most microbatches that stage s ever holds. */
  readonly inFlight: (s: number, layout: Layout) => number;
  /** The most that device r ever holds, one for every stage that holds it. */
  readonly inFlightOfDevice: (r: number, layout: Layout) => number;
  /**
   * Idle share of the devices' time for equal stages on the own layout, links free. Some hold whatever F, B and W take,
   * others need them. Null where no closed form is known.
   */
  readonly bubble: (layout: Layout, durations: Durations | undefined) => number | null;
}

/** The pipeline fills and drains once a step; with fewer microbatches than devices also once a loop. */
const fillAndDrain = ({ p, v, M }: Layout): number => {
  const slots = (v - 1) * Math.max(M, p) + M + p - 1;
  return (slots - v * M) / slots;
};

const onlyOneStage =
  (bubble: NamedSchedule['bubble']): NamedSchedule['bubble'] =>
  (layout, durations) =>
    layout.v === 1 ? bubble(layout, durations) : null;

/** `idle`: a device's time without work, where there are at least `least` microbatches. */
const splitBubble =
  (least: (p: number) => number, idle: (p: number, d: Durations) => number | null): NamedSchedule['bubble'] =>
  ({ p, v, M }, durations) => {
    if (durations === undefined || M < least(p)) return null;
    const lost = idle(p, durations);
    const work = v * M * (durations.F + durations.B + durations.W);
    return lost === null || work + lost === 0 ? null : lost / (work + lost);
  };

const looped = (rule: Rule, interleaving: Interleaving, bubble: NamedSchedule['bubble']): NamedSchedule => ({
  ...of(rule),
  inFlight: (s, { p, v, M }) => interleavedStageBound(s, p, v, M, interleaving),
  inFlightOfDevice: (r, { p, v, M }) => interleavedDeviceBound(r, p, v, M, interleaving),
  bubble,
});

const of = (rule: Rule): Pick<NamedSchedule, 'build' | 'placement' | 'stagesPerDevice'> => ({
  build: (shape) => scheduleBy(rule, shape),
  placement: rule.placement,
  stagesPerDevice: rule.stagesPerDevice,
});

const rules: { readonly [name in ScheduleName]: Rule } = {
  gpipe,
  '1f1b': oneFOneB,
  'interleaved-1f1b': interleaved1f1b,
  'looped-bfs': loopedBfs,
  'zb-h1': zbH1,
  'zb-h2': zbH2,
  'zb-v': zbV,
  'dualpipe-v': dualpipeV,
};

export const namedSchedules: { readonly [name in ScheduleName]: NamedSchedule } = {
  gpipe: {
    ...of(gpipe),
    inFlight: (_s, { M }) => M,
    inFlightOfDevice: (_r, { v, M }) => v * M,
    bubble: onlyOneStage(fillAndDrain),
  },
  '1f1b': {
    ...of(oneFOneB),
    inFlight: (s, { p, M }) => Math.min(p - s, M),
    inFlightOfDevice: (r, { p, M }) => Math.min(p - r, M),
    bubble: onlyOneStage(fillAndDrain),
  },
  'interleaved-1f1b': looped(interleaved1f1b, interleaving1f1b, fillAndDrain),
  'looped-bfs': {
    ...of(loopedBfs),
    inFlight: (_s, { M }) => M,
    inFlightOfDevice: (_r, { v, M }) => v * M,
    bubble: fillAndDrain,
  },
  // Qi et al. give (p−1)(F+B−W) and (p−1)(F+B−2W), between a device's first and last task. Until the last device ends at
  // least the way out is idle too, and W longer than F or B fills no more than these leave open.
  'zb-h1': looped(
    zbH1,
    interleavingH1,
    onlyOneStage(
      splitBubble(
        (p) => p,
        (p, { F, B, W }) => (p - 1) * (F + B - Math.min(F, B, W)),
      ),
    ),
  ),
  'zb-h2': looped(
    zbH2,
    interleavingH2,
    onlyOneStage(
      splitBubble(
        (p) => 2 * p - 1,
        (p, { F, B, W }) => (p - 1) * Math.max(F + B - 2 * W, F, B - F),
      ),
    ),
  ),
  'zb-v': {
    ...of(zbV),
    inFlight: (s, { p, M }) => Math.min(2 * p - s, M),
    inFlightOfDevice: (_r, { p, M }) => Math.min(2 * p, 2 * M),
    // Only the way out to the last device.
    bubble: splitBubble(
      (p) => 2 * p - 1,
      (p, { F, B, W }) => (F === B && B === W ? (p - 1) * F : null),
    ),
  },
  'dualpipe-v': {
    ...of(dualpipeV),
    inFlight: (s, { p, M }) => Math.min(2 * p - s, M),
    inFlightOfDevice: (_r, { p, M }) => Math.min(2 * p + 1, 2 * M),
    bubble: () => null,
  },
};

export const scheduleNames = Object.keys(namedSchedules) as ScheduleName[];

export const isScheduleName = (name: string): name is ScheduleName => Object.hasOwn(namedSchedules, name);

export function makeSchedule(name: ScheduleName, shape: ScheduleShape): Schedule {
  const { build } = recordOf(name);
  requireShape('makeSchedule', shape);
  return build(shape);
}

/**
 * Microbatches that each stage may hold at once: what `validateSchedule` takes as `inFlightBound`. Without a placement,
 * those of the schedule's own.
 */
export function inFlightBounds(
  name: ScheduleName,
  stages: number,
  microbatches: number,
  placement?: readonly number[],
): number[] {
  const record = recordOf(name);
  requireKinds('inFlightBounds', { stages: ['count', stages], microbatches: ['count', microbatches] });
  const joined = placement && joinNeighbours(rules[name], placement);
  if (joined) {
    const blocks = inFlightBounds(name, joined.homes.length, microbatches, joined.homes);
    return joined.blockOf.map((block) => blocks[block]!);
  }
  const layout = layoutOf(name, stages, microbatches, placement);
  return Array.from({ length: stages }, (_, s) => record.inFlight(s, layout));
}

/** Microbatches that each device may hold at once, one for every stage that holds it: `deviceInFlightBound`. */
export function deviceInFlightBounds(name: ScheduleName, shape: ScheduleShape): number[] {
  recordOf(name);
  requireShape('deviceInFlightBounds', shape);
  const { stages, microbatches, devices } = shape;
  requireKinds('deviceInFlightBounds', { stages: ['count', stages], microbatches: ['count', microbatches] });
  const { placement = usualPlacement(rules[name], { stages, microbatches }) } = shape;
  const layout = layoutOf(name, stages, microbatches, placement);
  const rule = rules[name].placement === 'v' ? 'v' : 'looped';
  const names = renaming(layStages(rule, stages, layout.p), placement);
  const bounds = new Array<number>(devices ?? placement.reduce((most, d) => Math.max(most, d), 0) + 1).fill(0);
  // Where stages share a device as the rule does not foresee, nothing is known but what each may hold.
  inFlightBounds(name, stages, microbatches, placement).forEach((bound, s) => {
    bounds[placement[s]!]! += bound;
  });
  names?.forEach((device, r) => {
    bounds[device] = Math.min(bounds[device]!, recordOf(name).inFlightOfDevice(r, layout));
  });
  return bounds;
}

function layoutOf(name: ScheduleName, stages: number, M: number, placement?: readonly number[]): Layout {
  recordOf(name);
  const rule = rules[name];
  const p = ownDevices(rule, placement ?? usualPlacement(rule, { stages, microbatches: M }));
  return { p, v: stagesOfEach(rule, stages, p), M };
}

/** Device of each stage where every device owns `stagesPerDevice` (default: the schedule's) of them. */
export function schedulePlacement(name: ScheduleName, devices: number, stagesPerDevice?: number): number[] {
  const record = recordOf(name);
  requireKinds('schedulePlacement', { devices: ['count', devices] });
  if (stagesPerDevice !== undefined) requireKinds('schedulePlacement', { stagesPerDevice: ['count', stagesPerDevice] });
  return placementBy(record.placement, devices, stagesPerDevice ?? record.stagesPerDevice);
}

/** Names come from experiment files too, so the type alone is no guard. */
export function recordOf(name: ScheduleName): NamedSchedule {
  if (!isScheduleName(name)) throw unknownSchedule(name);
  return namedSchedules[name];
}

function unknownSchedule(name: string): UsageError {
  const near = nearest(name, scheduleNames);
  return new UsageError(
    'unknown-schedule',
    `there is no schedule ${typeof name === 'string' ? `"${name}"` : shown(name)}; there are ${scheduleNames.join(', ')}`,
    {
      fields: { schedule: name, known: scheduleNames },
      remedy: near === undefined ? `Use one of ${scheduleNames.join(', ')}.` : `Did you mean "${near}"?`,
    },
  );
}

import { type DeviceProgram, type MemoryCategory, memoryCategories, type StepProgram } from '../program/instruction.ts';
import { ALIGNMENT, hasWideGap, type LayoutGoal, layOut, layoutOf } from './layout.ts';
import { type Interval, liveIntervals, tenancies } from './liveness.ts';
import { MOST_BLOCKS } from './pack-blocks.ts';

export type CategoryBytes = Readonly<Record<MemoryCategory, number>>;

/** Where everything lies in one device's memory while one program runs, and what that costs. */
export interface DeviceLayout {
  /** Offset of every buffer of the program, by id; −1 for one that is never alive. */
  readonly offsets: readonly number[];
  readonly intervals: readonly Interval[];
  readonly height: number;
  readonly maxLive: number;
  /** A better layout may be lower, by enough to be worth its time. */
  readonly mayShrink: boolean;
  /** The instruction at which the live bytes are most. */
  readonly peakAt: number;
  readonly atPeak: CategoryBytes;
  /** What the sum of all buffers would be without reuse. */
  readonly naiveSum: number;
}

/** One device's memory for all its programs: parameters and state lie at the same offsets in each. */
export interface DeviceMemoryPlan {
  readonly device: number;
  readonly persistent: readonly PersistentBuffer[];
  /** By program name. */
  readonly layouts: Readonly<Record<string, DeviceLayout>>;
  /** End of the highest payload over all programs: the planned peak. */
  readonly peakBytes: number;
  readonly maxLive: number;
  /** Categories at the peak of the program that has it; with `padding` they sum to `peakBytes`. */
  readonly byCategory: CategoryBytes & { readonly padding: number };
  readonly largest: readonly { readonly name: string; readonly bytes: number; readonly category: MemoryCategory }[];
}

/** A layout that was found before: what moves, in the order of `tenancies`. */
export interface KnownLayout {
  readonly offsets: readonly number[];
  readonly mayShrink: boolean;
}

export interface PersistentBuffer {
  readonly name: string;
  readonly offset: number;
  readonly bytes: number;
  readonly category: MemoryCategory;
}

/**
 * Lays out one device over several programs (training, a smaller last batch, evaluation). With a `limit` the peak only says
 * whether the lowest one is within it (`layOut`). With layouts that are `known` nothing is looked for.
 */
export function planDeviceMemory(
  device: number,
  programs: Readonly<Record<string, StepProgram>>,
  goal: LayoutGoal = {},
  known?: Readonly<Record<string, KnownLayout>>,
): DeviceMemoryPlan {
  const own = Object.entries(programs).map(([name, p]) => [name, p.devices[device]!] as const);
  const persistent = placePersistent(own.map(([, p]) => p));
  const base = Math.max(0, ...persistent.map((p) => p.offset + p.bytes));
  const fixed = new Map(persistent.map((p) => [p.name, p.offset]));
  const layouts: Record<string, DeviceLayout> = {};
  for (const [name, program] of own) {
    layouts[name] = layOutProgram(program, { fixed, base, persistent, goal, known: known?.[name] });
  }

  const ranked = Object.entries(layouts).sort((a, b) => b[1].height - a[1].height);
  const [topName, top] = ranked[0]!;
  const maxLive = Math.max(...Object.values(layouts).map((l) => l.maxLive));
  const live = memoryCategories.reduce((sum, c) => sum + top.atPeak[c], 0);
  return {
    device,
    persistent,
    layouts,
    peakBytes: top.height,
    maxLive,
    byCategory: { ...top.atPeak, padding: top.height - live },
    largest: largestAtPeak(programs[topName]!.devices[device]!, top),
  };
}

function placePersistent(programs: readonly DeviceProgram[]): PersistentBuffer[] {
  const seen = new Map<string, PersistentBuffer>();
  let offset = 0;
  for (const buffer of programs.flatMap((p) => p.buffers)) {
    if (buffer.persistent === null || seen.has(buffer.persistent)) continue;
    offset = Math.ceil(offset / ALIGNMENT) * ALIGNMENT;
    seen.set(buffer.persistent, {
      name: buffer.persistent,
      offset,
      bytes: buffer.bytes,
      category: buffer.category,
    });
    offset += buffer.bytes;
  }
  return [...seen.values()];
}

/** What is the same for all programs of a device. */
interface Surroundings {
  /** Offsets of persistent buffers by name, all below `base`. */
  readonly fixed: ReadonlyMap<string, number>;
  readonly base: number;
  readonly persistent: readonly PersistentBuffer[];
  readonly goal: LayoutGoal;
  readonly known: KnownLayout | undefined;
}

function layOutProgram(program: DeviceProgram, { fixed, base, persistent, goal, known }: Surroundings): DeviceLayout {
  const intervals = liveIntervals(program);
  const moving = intervals.filter((i) => program.buffers[i.buffer]!.persistent === null);
  const blocks = tenancies(program, moving);
  const persistentBytes = persistent.reduce((sum, p) => sum + p.bytes, 0);
  const laid = known
    ? layoutOf(blocks, base, known.offsets)
    : blocks.length > 0
      ? layOut(blocks, base, goal)
      : { offsets: [], height: base, maxLive: base };
  const offsets = program.buffers.map((b) => (b.persistent === null ? -1 : fixed.get(b.persistent)!));
  blocks.forEach(({ buffers }, k) => {
    for (const id of buffers) offsets[id] = laid.offsets[k]!;
  });
  for (const { id, view } of program.buffers) if (view) offsets[id] = offsets[view.of]! + view.plus;
  const { peakAt, atPeak } = peakOf(program, moving, persistent);
  return {
    offsets,
    intervals,
    height: laid.height,
    mayShrink: known?.mayShrink ?? (goal.effort !== 'thorough' && blocks.length <= MOST_BLOCKS && hasWideGap(laid)),
    maxLive: laid.maxLive - base + persistentBytes,
    peakAt,
    atPeak,
    naiveSum: persistentBytes + moving.reduce((sum, i) => sum + program.buffers[i.buffer]!.bytes, 0),
  };
}

/** Of a program's layouts, what `planDeviceMemory` needs to make them again. */
export function knownLayouts(
  { device, layouts }: DeviceMemoryPlan,
  programs: Readonly<Record<string, StepProgram>>,
): Record<string, KnownLayout> {
  return Object.fromEntries(
    Object.entries(layouts).map(([name, { offsets, intervals, mayShrink }]) => {
      const blocks = tenancies(programs[name]!.devices[device]!, intervals);
      return [name, { offsets: blocks.map(({ buffers }) => offsets[buffers[0]!]!), mayShrink }];
    }),
  );
}

/** Live bytes by category over the instructions of a program; parameters and state of other programs count too. */
export function liveBytesOverTime(
  program: DeviceProgram,
  intervals: readonly Interval[],
  persistent: readonly PersistentBuffer[],
): CategoryBytes[] {
  const zero = () => Object.fromEntries(memoryCategories.map((c) => [c, 0])) as Record<MemoryCategory, number>;
  const change = Array.from({ length: program.instructions.length + 1 }, zero);
  for (const { buffer, first, last } of intervals) {
    const { category, bytes, persistent: name } = program.buffers[buffer]!;
    if (name !== null) continue;
    change[first]![category] += bytes;
    change[last + 1]![category] -= bytes;
  }
  const live = zero();
  for (const p of persistent) live[p.category] += p.bytes;
  return program.instructions.map((_, at) => {
    for (const c of memoryCategories) live[c] += change[at]![c];
    return { ...live };
  });
}

/** The first instruction with the most live bytes, and those by category. */
function peakOf(
  program: DeviceProgram,
  moving: readonly Interval[],
  persistent: readonly PersistentBuffer[],
): { peakAt: number; atPeak: CategoryBytes } {
  const change = new Float64Array(program.instructions.length + 1);
  for (const { buffer, first, last } of moving) {
    const { bytes } = program.buffers[buffer]!;
    change[first]! += bytes;
    change[last + 1]! -= bytes;
  }
  let peakAt = 0;
  let most = Number.NEGATIVE_INFINITY;
  let live = 0;
  for (let at = 0; at < program.instructions.length; at++) {
    live += change[at]!;
    if (live > most) [peakAt, most] = [at, live];
  }
  const atPeak = Object.fromEntries(memoryCategories.map((c) => [c, 0])) as Record<MemoryCategory, number>;
  for (const p of persistent) atPeak[p.category] += p.bytes;
  for (const { buffer, first, last } of moving) {
    const { category, bytes } = program.buffers[buffer]!;
    if (first <= peakAt && last >= peakAt) atPeak[category] += bytes;
  }
  return { peakAt, atPeak };
}

function largestAtPeak(program: DeviceProgram, layout: DeviceLayout) {
  return layout.intervals
    .filter((i) => i.first <= layout.peakAt && i.last >= layout.peakAt)
    .map((i) => program.buffers[i.buffer]!)
    .sort((a, b) => b.bytes - a.bytes)
    .slice(0, 5)
    .map((b) => ({ name: b.name, bytes: b.bytes, category: b.category }));
}

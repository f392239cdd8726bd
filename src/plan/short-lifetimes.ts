/**
 * Shorter lifetimes lower the most bytes alive at once. Where the layout leaves gaps above them the peak may rise all the
 * same, so each device has the lifetimes with the lowest peak: further ones are compiled where there are such gaps.
 */
import { planDeviceMemory } from '../memory/device-memory.ts';
import { hasWideGap, type LayoutEffort } from '../memory/layout.ts';
import type { Lifetimes } from '../program/context.ts';
import { type Compiled, instructionsOf } from './compiled.ts';

/** By device. */
type Levels = readonly Lifetimes[];

/** Above the most bytes alive at once, by so much of them, a layout's gaps are worth a second compilation. */
const GAP = 0.002;

/** Programs of more instructions are compiled once: it takes long enough. */
const MOST_INSTRUCTIONS = 100_000;

/** How programs were compiled whose lifetimes may still be chosen anew, by better layouts. */
const origins = new WeakMap<Compiled['programs'], { readonly compile: (levels: Levels) => Compiled; levels: Levels }>();

/**
 * With layouts that take no time to speak of: `plain` where they make the peak lower than short lifetimes. With `limits`, where
 * peaks only say whether they are within them, those are doubtful whose live bytes are and whose peak is not.
 */
export function withLowerPeaks(
  compile: (levels: Levels) => Compiled,
  devices: number,
  limits?: readonly number[],
): Compiled {
  const seen = new Map<string, Compiled>();
  const compileOnce = (levels: Levels): Compiled => {
    const known = seen.get(levels.join()) ?? compile(levels);
    seen.set(levels.join(), known);
    return known;
  };
  const levels = Array.from({ length: devices }, (): Lifetimes => 'short');
  const short = { levels, compiled: compileOnce(levels) };
  if (instructionsOf(short.compiled) > MOST_INSTRUCTIONS) return short.compiled;
  const hasGaps = ({ device, peakBytes, maxLive }: Compiled['memory'][number]): boolean =>
    limits ? peakBytes > limits[device]! && maxLive <= limits[device]! : peakBytes > (1 + GAP) * maxLive;
  const found = lowest(short, ['plain'], compileOnce, hasGaps);
  if (!limits) origins.set(found.compiled.programs, { compile: compileOnce, levels: found.levels });
  return found.compiled;
}

/**
 * With thorough layouts, by which short lifetimes mostly come near the most bytes alive; where they do not, the others are
 * tried too. No device's peak is higher than it was; the same object where nothing is lower.
 */
export function withFinalLayouts(rough: Compiled): Compiled {
  const origin = origins.get(rough.programs);
  const hasGaps = rough.memory.some(({ layouts }) => Object.values(layouts).some((l) => l.mayShrink));
  if (!hasGaps && (origin?.levels.every((level) => level === 'short') ?? true)) return rough;
  const start = laidOut(rough, 'fair');
  if (!origin) return laidOut(start, 'thorough');
  origins.delete(rough.programs);
  const chosen = (from: Candidate, effort: LayoutEffort): Candidate =>
    lowest(
      { ...from, compiled: laidOut(from.compiled, effort) },
      ['short', 'unshared', 'unordered', 'plain'],
      (levels) => laidOut(origin.compile(levels), effort),
      ({ peakBytes, maxLive }) => hasWideGap({ height: peakBytes, maxLive }),
    );
  // The work of thorough layouts is for devices whose gaps a fair one does not close.
  const found = chosen(chosen({ levels: origin.levels, compiled: start }, 'fair'), 'thorough');
  const isLower = found.compiled.memory.every((m, d) => m.peakBytes <= start.memory[d]!.peakBytes);
  return isLower ? found.compiled : laidOut(start, 'thorough');
}

/** The final layouts where nothing but gaps of the rough ones keeps a device from having room. */
export function withLayoutsThatFit(rough: Compiled, limits: readonly number[]): Compiled {
  const levels = origins.get(rough.programs)?.levels;
  // Of lifetimes that are not short, fewer bytes may be alive.
  const mayFit = ({ device, maxLive }: Compiled['memory'][number]): boolean =>
    maxLive <= limits[device]! || (levels !== undefined && levels[device] !== 'short');
  return rough.memory.some((m) => m.peakBytes > limits[m.device]! && mayFit(m)) ? withFinalLayouts(rough) : rough;
}

/** The same programs in better layouts, where those may be lower. */
function laidOut(compiled: Compiled, effort: LayoutEffort): Compiled {
  const memory = compiled.memory.map((rough) =>
    Object.values(rough.layouts).some(({ height, mayShrink }) => mayShrink && height > rough.maxLive)
      ? planDeviceMemory(rough.device, compiled.programs, { effort })
      : rough,
  );
  return memory.some((m, d) => m !== compiled.memory[d]) ? { ...compiled, memory } : compiled;
}

interface Candidate {
  readonly levels: Levels;
  readonly compiled: Compiled;
}

/** Each device at the level whose peak is the lowest. `short` is tried wherever it is not, others where there is doubt. */
function lowest(
  start: Candidate,
  further: readonly Lifetimes[],
  compile: (levels: Levels) => Compiled,
  isDoubtful: (memory: Compiled['memory'][number]) => boolean,
): Candidate {
  let best = start;
  for (const level of further) {
    const { levels, compiled } = best;
    const tries = compiled.memory.filter(
      (m) =>
        levels[m.device] !== level &&
        (level === 'short' || (isDoubtful(m) && (levels[m.device] !== 'short' || differs(compiled, m.device, level)))),
    );
    const at = (devices: typeof tries): Levels =>
      levels.map((l, d) => (devices.some((m) => m.device === d) ? level : l));
    if (tries.length === 0) continue;
    const tried = compile(at(tries));
    const lower = tries.filter((m) => tried.memory[m.device]!.peakBytes < m.peakBytes);
    if (lower.length === tries.length) best = { levels: at(tries), compiled: tried };
    else if (lower.length > 0) best = { levels: at(lower), compiled: compile(at(lower)) };
  }
  return best;
}

/** Whether a device's programs have what they would not have at this level. */
const differs = ({ programs }: Compiled, device: number, level: Lifetimes): boolean =>
  Object.values(programs).some(({ orders, devices }) => {
    const { buffers, instructions } = devices[device]!;
    if (level !== 'unordered' && buffers.some((b) => b.view)) return true;
    if (level !== 'unshared' && orders[device]!.tasks.length > 0) return true;
    return level === 'plain' && instructions.some((i) => i.kind === 'compute' && i.overwrites !== null);
  });

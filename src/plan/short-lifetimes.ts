import type { Compiled } from './compile.ts';

/** Above the most bytes alive at once, by so much of them, a layout's gaps are worth a second compilation. */
const GAP = 0.002;

/** Programs of more instructions are compiled once: it takes long enough. */
const MOST_INSTRUCTIONS = 100_000;

/**
 * Shorter lifetimes lower the most bytes alive at once. Where the layout leaves gaps above them, the peak may rise all the
 * same: such devices are compiled with plain lifetimes too, and keep what has the lower peak. With `limits`, where peaks only say
 * whether they are within them, those are doubtful whose live bytes are and whose peak is not.
 */
export function withLowerPeaks(
  compile: (plainOn: ReadonlySet<number>) => Compiled,
  limits?: readonly number[],
): Compiled {
  const short = compile(new Set());
  if (instructionsOf(short) > MOST_INSTRUCTIONS) return short;
  const hasGaps = ({ device, peakBytes, maxLive }: Compiled['memory'][number]): boolean =>
    limits ? peakBytes > limits[device]! && maxLive <= limits[device]! : peakBytes > (1 + GAP) * maxLive;
  const doubtful = short.memory.filter((m) => hasGaps(m) && isShortened(short, m.device));
  if (doubtful.length === 0) return short;
  const plain = compile(new Set(doubtful.map((m) => m.device)));
  const higher = doubtful.filter((m) => m.peakBytes > plain.memory[m.device]!.peakBytes);
  if (higher.length === 0) return short;
  return higher.length === doubtful.length ? plain : compile(new Set(higher.map((m) => m.device)));
}

const isShortened = ({ programs }: Compiled, device: number): boolean =>
  Object.values(programs).some(
    ({ orders, devices }) =>
      orders[device]!.tasks.length > 0 ||
      devices[device]!.buffers.some((b) => b.view) ||
      devices[device]!.instructions.some((i) => i.kind === 'compute' && i.overwrites !== null),
  );

const instructionsOf = ({ programs }: Compiled): number =>
  Object.values(programs).reduce((n, { devices }) => devices.reduce((m, d) => m + d.instructions.length, n), 0);

import { elementCount } from '../../core/types.ts';
import type { ConvAttrs, ConvGeometry } from '../../ops/conv.ts';
import { begins } from '../../ops/window.ts';

/** How a convolution goes that has no samples for lanes: the input's gradient back from columns, by turned filters or by pixels. */
export type MatrixWay = 'plain' | 'outputs' | 'columns' | 'turned' | 'pixels';

const mostBytes = 1 << 20;
const bytesOfReach = 32;
const bytesOfTiles = 512;

/** Samples that go by pairs. */
const few = 4;
/** Samples a group: sixteen, or eight, two or one if that holds them all; pairs of a few. */
const lanesOf = (samples: number): number => (samples > 8 ? 16 : samples > few ? 8 : Math.min(samples, 2));
const roundUp = (n: number, to: number): number => Math.ceil(n / to) * to;

/** Results of a group and the channels that they are summed from, each with its pixels. */
function sidesOf({ c, o, size, out }: ConvGeometry, { groups }: ConvAttrs, way: MatrixWay, isGradient: boolean) {
  const [channels, outputs] = [c / groups, o / groups];
  const [volume, pixels] = [elementCount(size), elementCount(out)];
  const columns = roundUp(way === 'turned' ? volume : pixels, 8);
  return isGradient
    ? { rows: channels, from: outputs, results: volume, source: pixels, columns }
    : { rows: outputs, from: channels, results: pixels, source: volume, columns };
}

/**
 * Whether outputs or the input's gradient have samples for lanes, by what that takes beside `way`. The same numbers as in
 * `workers/kernels/conv.ts` and `convBySamples.ts`, where they are explained.
 */
export function isBySamples(g: ConvGeometry, attrs: ConvAttrs, way: MatrixWay, isGradient: boolean): boolean {
  const { stride, dilation } = attrs;
  if (dilation.at(-1) !== 1) return false;
  if (isGradient && stride.some((s) => s !== 1) && dilation.some((d) => d !== 1)) return false;
  const { rows, from, results, source, columns } = sidesOf(g, attrs, way, isGradient);
  if (source * from * 64 > mostBytes || results * bytesOfReach > mostBytes) return false;
  const before = begins(attrs);
  const reach = g.size.reduce(
    (n, size, a) => n * reached(size, g.out[a]!, g.kernel[a]!, stride[a]!, before[a]!, dilation[a]!),
    1,
  );
  const work = 10 * roundUp(rows, 2) * (reach * from + 12 * results) + 40 * source * from;
  const columnWork = elementCount(g.kernel) * columns;
  const packing = stride.at(-1)! > 1 ? 10 : (isGradient ? g.size : g.out).at(-1)! % 16 === 0 ? 0 : 25;
  const byPanels = columnWork * from * (10 * rows + packing) + 70 * results * rows + 10000;
  const others = {
    plain: 8 * columns * rows * from + 50 * results * rows + 6000,
    outputs: byPanels,
    columns: 10 * columnWork * rows * (from + 8) + 10000,
    turned: byPanels,
    pixels: 13 * reach * rows * from + 120 * results * rows + 10000,
  };
  return 10 * work < 9 * others[way];
}

/** Taps of all outputs along an axis that reach the image. */
function reached(
  size: number,
  outputs: number,
  taps: number,
  stride: number,
  before: number,
  dilation: number,
): number {
  let n = 0;
  for (let tap = 0; tap < taps; tap++) {
    const first = Math.max(0, Math.ceil((before - tap * dilation) / stride));
    const behind = Math.min(outputs, Math.floor((size - 1 + before - tap * dilation) / stride) + 1);
    n += Math.max(0, behind - first);
  }
  return n;
}

/** `[tiles of some pixels][reach of each pixel][filters of a group in pairs, or sixteens][a group of samples, a pair or one]`. */
export function samplesBytes(g: ConvGeometry, attrs: ConvAttrs, isGradient: boolean): number {
  const { rows, from, results, source } = sidesOf(g, attrs, 'outputs', isGradient);
  const filters = roundUp(roundUp(rows, g.n > few ? 2 : 16) * from * elementCount(g.kernel) * 4, 16);
  return bytesOfTiles + results * bytesOfReach + filters + source * from * lanesOf(g.n) * 4;
}

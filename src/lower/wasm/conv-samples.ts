import { elementCount } from '../../core/types.ts';
import type { ConvAttrs, ConvGeometry } from '../../ops/conv.ts';
import { begins, tapsAlong } from '../../ops/window.ts';

/** How a convolution goes that has no samples for lanes: the input's gradient back from columns, by turned filters or by pixels. */
export type MatrixWay = 'plain' | 'outputs' | 'columns' | 'turned' | 'pixels';

const mostBytes = 1 << 20;
const bytesOfReach = 32;
const bytesOfTiles = 512;

/** Samples a group: sixteen, or eight if that holds them all. */
const lanesOf = (samples: number): number => (samples > 8 ? 16 : 8);
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
  if (g.n < (way === 'plain' ? 8 : 4) || dilation.at(-1) !== 1) return false;
  if (isGradient && stride.some((s) => s !== 1) && dilation.some((d) => d !== 1)) return false;
  const { rows, from, results, source, columns } = sidesOf(g, attrs, way, isGradient);
  const lanes = lanesOf(g.n);
  if (source * from * lanes * 4 > mostBytes || results * bytesOfReach > mostBytes) return false;
  const reach = g.size.reduce(
    (n, size, a) => n * tapsAlong(size, g.out[a]!, g.kernel[a]!, stride[a]!, begins(attrs)[a]!, dilation[a]!).length,
    1,
  );
  const rest = ((g.n - 1) % 16) + 1;
  const samples = g.n - rest + lanesOf(rest);
  const tiled = roundUp(rows, g.n > 8 ? 2 : 4);
  const work = samples * (10 * tiled * (reach * from + 12 * results) + 40 * source * from);
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
  return 10 * work < 9 * g.n * others[way];
}

/** `[tiles of some pixels][reach of each pixel][filters of a group in pairs][a group of samples]`. */
export function samplesBytes(g: ConvGeometry, attrs: ConvAttrs, isGradient: boolean): number {
  const { rows, from, results, source } = sidesOf(g, attrs, 'outputs', isGradient);
  const filters = roundUp(roundUp(rows, 2) * from * elementCount(g.kernel) * 4, 16);
  return bytesOfTiles + results * bytesOfReach + filters + source * from * lanesOf(g.n) * 4;
}

/**
 * GridSample of images: y[n, c, p] = x[n, c] at the position grid[n, p] = (column, row), where −1 and 1 are the image's ends
 * (the centres of its outer pixels with `align_corners`, else their edges). torch.nn.functional.grid_sample.
 *
 * A position lies among 1 (nearest), 2×2 (linear) or 4×4 (cubic) taps; each is a gather along the image's pixels, weighted by
 * a polynomial of the distance, so that derivatives by image and grid are those of ordinary ops. Positions are [N, 1, P].
 */
import type { Tensor } from '../../../graph/graph.ts';
import { and, cast, greaterEqual, lessEqual, where } from '../../../ops/compare.ts';
import { abs, add, clip, floor, fmod, mul, round, sub } from '../../../ops/elementwise.ts';
import { gatherElements } from '../../../ops/gather-elements.ts';
import { broadcastTo, reshape, slice } from '../../../ops/shape.ts';
import type { OperatorContext, OperatorTable } from '../operator.ts';
import { named } from './named.ts';

type Mode = 'nearest' | 'linear' | 'cubic';
type Padding = 'zeros' | 'border' | 'reflection';

/** Names before version 20, and since. */
const modes: Readonly<Record<string, Mode>> = {
  nearest: 'nearest',
  bilinear: 'linear',
  linear: 'linear',
  bicubic: 'cubic',
  cubic: 'cubic',
};
const paddings: Readonly<Record<string, Padding>> = { zeros: 'zeros', border: 'border', reflection: 'reflection' };

/** One axis of the image: its size, and where positions beyond its ends go. */
interface Axis {
  readonly size: number;
  readonly alignCorners: boolean;
  readonly padding: Padding;
}

/** [−1, 1] to pixels: pixel i has its centre at i. */
const toPixels = (g: Tensor, { size, alignCorners }: Axis): Tensor =>
  alignCorners ? mul(add(g, 1), (size - 1) / 2) : mul(sub(mul(add(g, 1), size), 1), 0.5);

/** A position beyond the image's ends, taken back into it; zeros stay where they are, and no pixel is there. */
function inside(position: Tensor, axis: Axis): Tensor {
  const last = axis.size - 1;
  if (axis.padding === 'zeros') return position;
  if (axis.padding === 'border') return clip(position, { low: 0, high: last });
  // Mirrors at the outer pixels' centres or edges: a triangle wave of this period.
  const [mirror, span] = axis.alignCorners ? [0, last] : [-0.5, axis.size];
  if (span === 0) return mul(position, 0);
  const along = fmod(abs(sub(position, mirror)), 2 * span);
  const folded = where(lessEqual(along, span), along, sub(2 * span, along));
  return clip(add(folded, mirror), { low: 0, high: last });
}

/** A tap along one axis: the pixel (whole numbers in f32), and its weight. */
interface Tap {
  readonly pixel: Tensor;
  /** undefined: 1 */
  readonly weight: Tensor | undefined;
}

/** Keys' cubic convolution (1981) with a = −0.75, as ONNX and PyTorch have it. */
const cubicA = -0.75;

/** Weight of a tap at a distance d ≤ 1: (a + 2)d³ − (a + 3)d² + 1. */
const near = (d: Tensor): Tensor => add(mul(mul(sub(mul(d, cubicA + 2), cubicA + 3), d), d), 1);

/** Weight of a tap at a distance 1 < d ≤ 2: a(d³ − 5d² + 8d − 4). */
const far = (d: Tensor): Tensor => mul(sub(mul(add(mul(sub(d, 5), d), 8), d), 4), cubicA);

function tapsOf(position: Tensor, mode: Mode, axis: Axis): Tap[] {
  if (mode === 'nearest') return [{ pixel: round(inside(position, axis)), weight: undefined }];
  if (mode === 'linear') {
    const at = inside(position, axis);
    const first = floor(at);
    const t = sub(at, first);
    return [
      { pixel: first, weight: sub(1, t) },
      { pixel: add(first, 1), weight: t },
    ];
  }
  // Taps of cubics reach beyond the image from within it, so each is taken back by itself.
  const first = floor(position);
  const t = sub(position, first);
  const weights = [far(add(t, 1)), near(t), near(sub(1, t)), far(sub(2, t))];
  return weights.map((weight, i) => ({ pixel: inside(add(first, i - 1), axis), weight }));
}

function gridSample(context: OperatorContext): Tensor {
  const [x, grid] = [context.float(0), context.float(1)];
  if (x.rank !== 4) context.unsupported(`x of rank ${x.rank}: images [N, C, H, W] are`);
  const [n, c, h, w] = x.shape as [number, number, number, number];
  if (grid.rank !== 4 || grid.shape[0] !== n || grid.shape[3] !== 2) {
    context.invalid(`the grid of [${x.shape.join(', ')}] must be [${n}, H, W, 2], and is [${grid.shape.join(', ')}]`);
  }
  const [, rows, columns] = grid.shape as [number, number, number];
  const count = rows * columns;
  const mode = named(context, 'mode', 'bilinear', modes);
  const padding = named(context, 'padding_mode', 'zeros', paddings);
  const alignCorners = context.int('align_corners', 0) !== 0;
  const [taps, rowTaps] = [w, h].map((size, i) => {
    const axis: Axis = { size, alignCorners, padding };
    return tapsOf(toPixels(reshape(slice(grid, { 3: [i, i + 1] }), [n, 1, count]), axis), mode, axis);
  }) as [Tap[], Tap[]];
  const pixels = reshape(x, [n, c, h * w]);
  const terms = rowTaps.flatMap((row) =>
    taps.map((column) => weighted(valueAt(pixels, row.pixel, column.pixel, h, w), row, column)),
  );
  return reshape(terms.reduce(add), [n, c, rows, columns]);
}

/** Pixels at whole positions, 0 where there is none. */
function valueAt(pixels: Tensor, row: Tensor, column: Tensor, h: number, w: number): Tensor {
  const within = (p: Tensor, size: number): Tensor => and(greaterEqual(p, 0), lessEqual(p, size - 1));
  const index = (p: Tensor, size: number): Tensor => cast(clip(p, { low: 0, high: size - 1 }), 'i32');
  const [n, c] = pixels.shape as [number, number];
  const place = add(mul(index(row, h), w), index(column, w));
  const value = gatherElements(pixels, broadcastTo(place, [n, c, place.shape[2]!]), { axis: 2 });
  return where(and(within(row, h), within(column, w)), value, 0);
}

function weighted(value: Tensor, { weight: a }: Tap, { weight: b }: Tap): Tensor {
  return a && b ? mul(value, mul(a, b)) : value;
}

export const gridSampleOperators: OperatorTable = { GridSample: (context) => [gridSample(context)] };

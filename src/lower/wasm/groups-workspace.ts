import { elementCount } from '../../core/types.ts';
import type { ConvAttrs, ConvGeometry } from '../../ops/conv.ts';
import { begins, toThree } from '../../ops/window.ts';

/** Most vectors of a frame of a band, in `workers/kernels/groupFrames.ts`. */
const LARGEST = 1280;

/**
 * Exact scratch bytes of a convolution by lanes of groups: outputs and the input's gradient (`back`) `[frame of a band][weights]
 * [biases][places of taps and weights][first taps of phases][outputs of a band]`, the weights' gradient `[frame][dy of a band][places
 * of rows of taps][sums]`, where each part is a multiple of 16.
 */
export function groupsWorkspace(
  kind: 'conv' | 'convInputGrad' | 'convWeightGrad',
  g: ConvGeometry,
  attrs: ConvAttrs,
): number {
  const back = kind === 'convInputGrad';
  const [c, o] = back ? [g.o / attrs.groups, g.c / attrs.groups] : [g.c / attrs.groups, g.o / attrs.groups];
  const [kd, kh, kw] = toThree(g.kernel, 1);
  const [sd, sh, sw] = toThree(attrs.stride, 1);
  const [, ph, pw] = toThree(begins(attrs), 0);
  const [, dh, dw] = toThree(attrs.dilation, 1);
  const [, height, width] = toThree(back ? g.size : g.out, 1);
  const along = {
    y: { back, n: height, taps: kh, stride: sh, before: ph, dilation: dh, unit: back ? sh : 1 },
    x: { back, n: width, taps: kw, stride: sw, before: pw, dilation: dw, unit: back ? 8 * sw : 8 },
  };
  const lines = c * kd;
  const columns = bandOf(along.x, Math.floor(LARGEST / (lines * reached(along.y, 1))));
  const frameWidth = reached(along.x, columns);
  const rows = bandOf(along.y, Math.floor(LARGEST / (lines * frameWidth)));
  const frame = lines * reached(along.y, rows) * frameWidth;
  const taps = elementCount(g.kernel);
  if (kind === 'convWeightGrad') return 16 * (frame + rows * columns + o * c * taps) + aligned(lines * kh);
  const phases = back ? sd * sh * sw : 1;
  return 16 * (frame + o * c * taps + o + rows * columns) + aligned(2 * c * taps) + aligned(phases + 1);
}

/** How windows lie along one axis of n outputs; bands of them are whole units. */
interface Axis {
  readonly back: boolean;
  readonly n: number;
  readonly taps: number;
  readonly stride: number;
  readonly before: number;
  readonly dilation: number;
  readonly unit: number;
}

/** Positions of a frame that the first n outputs reach. */
function reached({ back, taps, stride, before, dilation }: Axis, n: number): number {
  const far = (taps - 1) * dilation;
  return back
    ? Math.floor((n - 1 + before) / stride) - Math.floor((before - far) / stride) + 1
    : (n - 1) * stride + far + 1;
}

/** Outputs of a band, as even as whole units: at most `room` positions of the frame, but no fewer than a window reaches over. */
function bandOf({ back, n, taps, stride, before, dilation, unit }: Axis, room: number): number {
  const far = (taps - 1) * dilation;
  const inRoom = back
    ? (room + Math.floor((before - far) / stride)) * stride - before
    : Math.floor((room - far - 1) / stride) + 1;
  const most = Math.max(inRoom, back ? far : Math.floor(far / stride));
  if (n <= most) return n;
  const bands = Math.ceil(n / Math.max(unit, most - (most % unit)));
  return Math.min(n, Math.ceil(Math.ceil(n / bands) / unit) * unit);
}

/** Bytes of i32 elements up to where the next part begins. */
const aligned = (elements: number): number => Math.ceil(elements / 4) * 16;

import type { Shape } from '../core/types.ts';
import { require } from '../graph/op-record.ts';

/** A number for every spatial axis, or one number an axis. */
export type PerAxis = number | readonly number[];
/** A number for all sides, one an axis (for both its sides), or [begins…, ends…]. */
export type PaddingOption = number | readonly number[];

/** How a window slides over one to three spatial axes; all lists are complete in a node's attributes. */
export interface Sliding {
  readonly kernel: readonly number[];
  readonly stride: readonly number[];
  /** [begins…, ends…]: for two axes [top, left, bottom, right]. */
  readonly padding: readonly number[];
  readonly dilation: readonly number[];
  /** Also keep a last window that is not full (ONNX `ceil_mode`, PyTorch). */
  readonly ceilMode?: boolean;
}

const axisNames: readonly (readonly string[])[] = [[], ['length'], ['height', 'width'], ['depth', 'height', 'width']];
const axisLetters = ['', 'L', 'H, W', 'D, H, W'];

/** What a spatial axis is called: `width`. */
export const axisName = (axis: number, rank: number): string => axisNames[rank]![axis]!;

/** Fills an option's short forms; what does not fit is left for the type rule to refuse. */
export const perAxis = (option: PerAxis, rank: number): readonly number[] =>
  typeof option === 'number' ? new Array<number>(rank).fill(option) : option;

export function sides(option: PaddingOption, rank: number): readonly number[] {
  if (typeof option === 'number') return new Array<number>(2 * rank).fill(option);
  return option.length === rank ? [...option, ...option] : option;
}

/** The same list for three spatial axes, those in front of size `filler`: what kernels and references walk. */
export const toThree = (list: readonly number[], filler: number): [number, number, number] =>
  [...new Array<number>(3 - list.length).fill(filler), ...list] as [number, number, number];

/** Padding before the input, by axis. */
export const begins = ({ padding }: Pick<Sliding, 'padding'>): readonly number[] =>
  padding.slice(0, padding.length / 2);

/** How many spatial axes a list of strides or kernel sizes speaks of. Throws TypeRuleError. */
export function spatialRank(list: readonly number[]): number {
  require(list.length >= 1 && list.length <= 3, `takes one to three spatial axes, got ${list.length}`);
  return list.length;
}

/** Output sizes of a window over an input of these spatial sizes. Throws TypeRuleError. */
export function slide(size: readonly number[], by: Sliding): number[] {
  const rank = size.length;
  checkList('kernel', by.kernel, rank, 1);
  checkList('stride', by.stride, rank, 1);
  checkList('dilation', by.dilation, rank, 1);
  checkList('padding', by.padding, 2 * rank, 0);
  return size.map((_, axis) => slideAxis(axis, size, by));
}

/** Elements from the first to the last tap of a window along one axis. */
export const spanOf = (kernel: number, dilation: number): number => dilation * (kernel - 1) + 1;

function slideAxis(axis: number, sizes: readonly number[], by: Sliding): number {
  const size = sizes[axis]!;
  const before = by.padding[axis]!;
  const after = by.padding[axis + sizes.length]!;
  const stride = by.stride[axis]!;
  const span = spanOf(by.kernel[axis]!, by.dilation[axis]!);
  const room = size + before + after - span;
  const what = axisName(axis, sizes.length);
  require(room >= 0, `the window's ${what} ${span} exceeds the padded input's ${what} ${size + before + after}`);
  if (!by.ceilMode) return Math.floor(room / stride) + 1;
  const out = Math.ceil(room / stride) + 1;
  // A window that would begin in the padding behind the input is dropped, as PyTorch does.
  return (out - 1) * stride >= size + before ? out - 1 : out;
}

function checkList(name: string, list: readonly number[], length: number, least: number): void {
  require(list.length === length &&
    list.every(
      (v) => Number.isInteger(v) && v >= least,
    ), `${name} must be ${length} integer${length === 1 ? '' : 's'} of at least ${least}, got [${list.join(', ')}]`);
}

/** Checks that a shape has the axes of a batch of images: [N, C] and `rank` spatial ones. */
export function requireImage(what: string, shape: Shape, rank: number): void {
  require(shape.length ===
    rank +
      2, `${what} must have the axes [N, C, ${axisLetters[rank]}], got ${shape.length} ${shape.length === 1 ? 'axis' : 'axes'}`);
}

/** Where one tap of a window meets the input along one axis. */
export interface Tap {
  /** Index into the kernel, the output and the input. */
  readonly tap: number;
  readonly out: number;
  readonly at: number;
}

/** All taps along one of three axes that lie inside the input, by tap, then by output position. */
export function tapsAlong(size: number, out: number, kernel: number, stride: number, before: number, dilation: number) {
  const taps: Tap[] = [];
  for (let tap = 0; tap < kernel; tap++) {
    for (let o = 0; o < out; o++) {
      const at = o * stride + tap * dilation - before;
      if (at >= 0 && at < size) taps.push({ tap, out: o, at });
    }
  }
  return taps;
}

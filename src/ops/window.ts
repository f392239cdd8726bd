import type { Shape } from '../core/types.ts';
import { require } from '../graph/op-record.ts';

/** A number for both axes, or [height, width]. */
export type PairOption = number | readonly number[];
/** A number for all sides, [height, width], or [top, left, bottom, right]. */
export type PaddingOption = number | readonly number[];

/** How a window slides over [height, width]; all lists are complete in a node's attributes. */
export interface Sliding {
  readonly kernel: readonly number[];
  readonly stride: readonly number[];
  /** [top, left, bottom, right] */
  readonly padding: readonly number[];
  readonly dilation: readonly number[];
  /** Also keep a last window that is not full (ONNX `ceil_mode`, PyTorch). */
  readonly ceilMode?: boolean;
}

/** Fills an option's short forms; what does not fit is left for the type rule to refuse. */
export const pair = (option: PairOption): readonly number[] => (typeof option === 'number' ? [option, option] : option);

export function sides(option: PaddingOption): readonly number[] {
  if (typeof option === 'number') return [option, option, option, option];
  return option.length === 2 ? [...option, ...option] : option;
}

/** Output [height, width] of a window over an input of [height, width]. Throws TypeRuleError. */
export function slide(size: readonly number[], by: Sliding): [number, number] {
  checkList('kernel', by.kernel, 2, 1);
  checkList('stride', by.stride, 2, 1);
  checkList('dilation', by.dilation, 2, 1);
  checkList('padding', by.padding, 4, 0);
  return [slideAxis(0, size, by), slideAxis(1, size, by)];
}

function slideAxis(axis: 0 | 1, sizes: readonly number[], by: Sliding): number {
  const size = sizes[axis]!;
  const before = by.padding[axis]!;
  const after = by.padding[axis + 2]!;
  const stride = by.stride[axis]!;
  const span = by.dilation[axis]! * (by.kernel[axis]! - 1) + 1;
  const room = size + before + after - span;
  const what = axis === 0 ? 'height' : 'width';
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
    ), `${name} must be ${length} integers of at least ${least}, got [${list.join(', ')}]`);
}

/** Checks that a shape has the four axes [N, C, H, W]. */
export function requireImage(what: string, shape: Shape): void {
  require(shape.length ===
    4, `${what} must have the axes [N, C, H, W], got ${shape.length} ${shape.length === 1 ? 'axis' : 'axes'}`);
}

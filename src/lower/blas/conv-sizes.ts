/** Sizes of a convolution as its kernels take them (`workers/kernels/conv.ts`), three spatial axes each. */
export interface ConvSizes {
  readonly samples: number;
  readonly channels: number;
  readonly size: readonly number[];
  readonly outputs: number;
  readonly kernel: readonly number[];
  readonly stride: readonly number[];
  readonly before: readonly number[];
  readonly dilation: readonly number[];
  readonly groups: number;
  readonly out: readonly number[];
}

/** How many numbers come before the operands. */
export const convSizeArgs = 22;

export function readConvSizes(args: readonly number[]): ConvSizes {
  const three = (at: number) => args.slice(at, at + 3);
  return {
    samples: args[0]!,
    channels: args[1]!,
    size: three(2),
    outputs: args[5]!,
    kernel: three(6),
    stride: three(9),
    before: three(12),
    dilation: three(15),
    groups: args[18]!,
    out: three(19),
  };
}

const volume = (sizes: readonly number[]): number => sizes.reduce((n, size) => n * size, 1);

/** The product of one sample and group: weights [outputs, depth] by columns [depth, pixels]. */
export const productOf = ({ channels, outputs, kernel, groups, out }: ConvSizes) => ({
  outputs: outputs / groups,
  depth: (channels / groups) * volume(kernel),
  pixels: volume(out),
});

/** Windows of one element, stride 1, no padding: the input is its own columns. */
export const isPlain = ({ kernel, stride, before, size, out }: ConvSizes): boolean =>
  [...kernel, ...stride].every((v) => v === 1) &&
  before.every((v) => v === 0) &&
  size.every((v, axis) => v === out[axis]);

/** Of one sample and group. */
export function columnBytes(sizes: ConvSizes): number {
  const { depth, pixels } = productOf(sizes);
  return isPlain(sizes) ? 0 : 4 * depth * pixels;
}

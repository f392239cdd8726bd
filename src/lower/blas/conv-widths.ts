/**
 * Convolutions by windows along the last axis alone (Cho, Brand: "MEC: Memory-efficient Convolution for Deep Neural Network",
 * 2017), of several samples side by side. `windows` has a row for each (row of the image h, channel c, tap along the width r) and a
 * column for each (sample, output along the width): the windows of all outputs of a row y are the rows from h = y·stride − padding
 * on, as many as there are rows of taps, so that one product gives that row of outputs of all these samples. Beside columns
 * (`im2col`), as many times less is copied as the kernel is high, rows of taps outside the image are left out, and products are
 * as wide as samples are many.
 */
import { type ConvSizes, isPlain } from './conv-sizes.ts';

/** Of what `windows` may hold at a time: with the filters and a row of outputs in a second-level cache. */
const mostBytes = 512 * 1024;
/** Fewer samples side by side make products as narrow as a sample's own. */
const leastSamples = 4;
/** Outputs that share the copying of the filters, which are put in order once a call. */
const leastShared = 128;

export interface Widths {
  /** Side by side in a product, but for the last ones. */
  readonly samples: number;
  /** Rows of the image, and rows of `windows` for each of them, (c, r). */
  readonly height: number;
  readonly rows: number;
  /** Bytes from where the workspace begins, each part aligned to 16. */
  readonly windowsAt: number;
  readonly outputsAt: number;
  readonly end: number;
}

/**
 * undefined: where columns are as good. The workspace is `[filters, or their gradient, as (output, tap row, channel, tap)][windows]
 * [a row of outputs of these samples]`, of one group.
 */
export function widthsOf(sizes: ConvSizes): Widths | undefined {
  const { samples: all, channels, size, outputs, kernel, before, dilation, groups, out } = sizes;
  const flat = size[0] === 1 && kernel[0] === 1 && before[0] === 0 && out[0] === 1 && dilation[1] === 1;
  if (!flat || isPlain(sizes)) return undefined;
  const rows = (channels / groups) * kernel[2]!;
  const perSample = 4 * size[1]! * rows * out[2]!;
  const samples = Math.min(all, Math.floor(mostBytes / perSample));
  if (samples < leastSamples || all * out[1]! * out[2]! < leastShared) return undefined;
  const o = outputs / groups;
  const windowsAt = aligned(4 * o * kernel[1]! * rows);
  const outputsAt = windowsAt + aligned(samples * perSample);
  return { samples, height: size[1]!, rows, windowsAt, outputsAt, end: outputsAt + 4 * o * samples * out[2]! };
}

const aligned = (bytes: number): number => Math.ceil(bytes / 16) * 16;

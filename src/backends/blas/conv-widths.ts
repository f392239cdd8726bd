/** Convolutions by windows along the width of several samples side by side, a product for each row of outputs. */
import { convSizeArgs, productOf, readConvSizes } from '../../lower/blas/conv-sizes.ts';
import type { Widths } from '../../lower/blas/conv-widths.ts';
import type { Blas } from './library.ts';
import type { BindNative } from './products.ts';

type Export = (...args: number[]) => void;

/** What they take of the WebAssembly kernels. */
export interface WidthExports {
  readonly widths: Export;
  readonly fromWidths: Export;
  readonly copy32: Export;
  readonly copyInto32: Export;
  /** Where memory is shared, a view's own `fill` goes byte by byte. */
  readonly fill32: Export;
}

type BindWidths = (args: readonly number[], widths: Widths) => ReturnType<BindNative>;

export function widthConvolutions(
  { sgemm }: Pick<Blas, 'sgemm'>,
  base: number,
  exports: WidthExports,
): Readonly<Record<'conv' | 'convInputGrad' | 'convWeightGrad', BindWidths>> {
  /** y[n] of a row = w·windows + bias */
  const conv: BindWidths = (args, widths) => {
    const { o, depth, rows, chunks, lines, operands, filters, windows, store } = walkOf(args, widths, exports);
    const [x, w, bias, y, scratch] = operands;
    const [at, line] = [scratch + widths.windowsAt, scratch + widths.outputsAt];
    return () => {
      for (const chunk of chunks) {
        const { columns } = chunk;
        if (chunk.isFirst) filters(w + chunk.weight, scratch);
        windows(chunk, x, at);
        for (const { row, tap, taps, y: result } of lines) {
          if (bias < 0) exports.fill32(o * columns, 0, line);
          else exports.copy32(1, 1, 1, 1, o, columns, 0, 0, 0, 0, 1, 0, bias + chunk.bias, line);
          if (taps > 0) {
            const [a, b] = [scratch + 4 * tap * rows, at + 4 * row * rows * columns];
            sgemm(0, 0, o, columns, taps * rows, base + a, depth, base + b, columns, 1, base + line, columns);
          }
          store(chunk, result, line, y);
        }
      }
    };
  };

  /** windows of a row += wᵀ·dy[n], and dx[n] = windows⁻¹ */
  const convInputGrad: BindWidths = (args, widths) => {
    const { o, depth, rows, chunks, lines, operands, images, filters, fromWindows, load } = walkOf(
      args,
      widths,
      exports,
    );
    const [dy, w, dx, scratch] = operands;
    const [at, line] = [scratch + widths.windowsAt, scratch + widths.outputsAt];
    return () => {
      exports.fill32(images, 0, dx);
      for (const chunk of chunks) {
        const { columns } = chunk;
        if (chunk.isFirst) filters(w + chunk.weight, scratch);
        exports.fill32(widths.height * rows * columns, 0, at);
        for (const { row, tap, taps, y } of lines) {
          load(chunk, y, dy, line);
          if (taps === 0) continue;
          const [a, c] = [scratch + 4 * tap * rows, at + 4 * row * rows * columns];
          sgemm(1, 0, taps * rows, columns, o, base + a, depth, base + line, columns, 1, base + c, columns);
        }
        fromWindows(chunk, at, dx);
      }
    };
  };

  /** dw += dy[n] of a row · windowsᵀ, chunks of samples, and the rows of each, in ascending order */
  const convWeightGrad: BindWidths = (args, widths) => {
    const { o, depth, rows, chunks, lines, operands, windows, load, fromFilters } = walkOf(args, widths, exports);
    const [x, dy, dw, scratch] = operands;
    const [at, line] = [scratch + widths.windowsAt, scratch + widths.outputsAt];
    return () => {
      for (const chunk of chunks) {
        const { columns } = chunk;
        if (chunk.isFirst) exports.fill32(o * depth, 0, scratch);
        windows(chunk, x, at);
        for (const { row, tap, taps, y } of lines) {
          load(chunk, y, dy, line);
          if (taps === 0) continue;
          const [b, c] = [at + 4 * row * rows * columns, scratch + 4 * tap * rows];
          sgemm(0, 1, o, taps * rows, columns, base + line, columns, base + b, columns, 1, base + c, depth);
        }
        if (chunk.isLast) fromFilters(scratch, dw + chunk.weight);
      }
    };
  };
  return { conv, convInputGrad, convWeightGrad };
}

/** Samples of one group side by side; offsets in bytes. */
interface Chunk {
  readonly samples: number;
  readonly columns: number;
  readonly isFirst: boolean;
  readonly isLast: boolean;
  readonly image: number;
  readonly result: number;
  readonly weight: number;
  readonly bias: number;
}

/** What is the same for all three: chunks, rows of outputs, and what lies where. */
function walkOf(args: readonly number[], widths: Widths, exports: WidthExports) {
  const sizes = readConvSizes(args);
  const { samples: all, channels, outputs, groups } = sizes;
  const [, height, width] = sizes.size as readonly [number, number, number];
  const [, kh, kw] = sizes.kernel as readonly [number, number, number];
  const [, outHeight, outWidth] = sizes.out as readonly [number, number, number];
  const { outputs: o, depth, pixels } = productOf(sizes);
  const c = channels / groups;
  const chunks: Chunk[] = [];
  for (let g = 0; g < groups; g++) {
    for (let n = 0; n < all; n += widths.samples) {
      const samples = Math.min(widths.samples, all - n);
      chunks.push({
        ...{ samples, columns: samples * outWidth, isFirst: n === 0, isLast: n + samples === all },
        image: 4 * (n * channels + g * c) * height * width,
        result: 4 * (n * outputs + g * o) * pixels,
        weight: 4 * g * o * depth,
        bias: 4 * g * o,
      });
    }
  }
  // Of the rows of taps of a row of outputs, those inside the image, and the image's row that the first of them lies at.
  const lines = Array.from({ length: outHeight }, (_, y) => {
    const above = y * sizes.stride[1]! - sizes.before[1]!;
    const tap = Math.min(kh, Math.max(0, -above));
    return { y: 4 * y * outWidth, tap, taps: Math.max(0, Math.min(kh, height - above) - tap), row: above + tap };
  });
  const image = channels * height * width;
  const window = [
    image,
    c,
    height,
    width,
    kw,
    sizes.stride[2]!,
    sizes.before[2]!,
    sizes.dilation[2]!,
    outWidth,
  ] as const;
  const ordered = [1, 1, o, kh, c, kw, 0, 0, depth, kw, kh * kw, 1] as const;
  const back = [1, 1, o, c, kh, kw, 0, 0, depth, kw, c * kw, 1] as const;
  const line = (count: number) => [1, 1, 1, o, count, outWidth, 0, 0, 0, pixels, outputs * pixels, 1] as const;
  return {
    ...{ o, depth, rows: widths.rows, chunks, lines, images: all * image },
    operands: args.slice(convSizeArgs) as unknown as readonly [number, number, number, number, number],
    filters: (from: number, to: number) => exports.copy32(...ordered, from, to),
    fromFilters: (from: number, to: number) => exports.copy32(...back, from, to),
    windows: (chunk: Chunk, x: number, to: number) => exports.widths(chunk.samples, ...window, x + chunk.image, to),
    fromWindows: (chunk: Chunk, from: number, x: number) =>
      exports.fromWidths(chunk.samples, ...window, from, x + chunk.image),
    load: (chunk: Chunk, y: number, from: number, to: number) =>
      exports.copy32(...line(chunk.samples), from + chunk.result + y, to),
    store: (chunk: Chunk, y: number, from: number, to: number) =>
      exports.copyInto32(...line(chunk.samples), from, to + chunk.result + y),
  };
}

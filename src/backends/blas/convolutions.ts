/** Convolutions as products of the columns of their windows, a sample and a group at a time, or of several samples by widths. */
import { columnBytes, convSizeArgs, productOf, readConvSizes } from '../../lower/blas/conv-sizes.ts';
import { widthsOf } from '../../lower/blas/conv-widths.ts';
import { type WidthExports, widthConvolutions } from './conv-widths.ts';
import type { Blas } from './library.ts';
import type { BindNative } from './products.ts';

type Export = (...args: number[]) => void;

/** What convolutions take of the WebAssembly kernels. */
export interface ConvExports extends WidthExports {
  readonly columns: Export;
  readonly fromColumns: Export;
  readonly addIntoRow: Export;
}

export function nativeConvolutions(
  { sgemm }: Blas,
  memory: WebAssembly.Memory,
  base: number,
  exports: ConvExports,
): Readonly<Record<'sgemmConv' | 'sgemmConvInputGrad' | 'sgemmConvWeightGrad', BindNative>> {
  const values = new Float32Array(memory.buffer);
  const byWidths = widthConvolutions({ sgemm }, base, exports);

  /** y[n, g] = w[g]·cols(x[n, g]) + bias[g] */
  const sgemmConv: BindNative = (args) => {
    const widths = widthsOf(readConvSizes(args));
    if (widths) return byWidths.conv(args, widths);
    const { o, depth, pixels, isPlain, operands, columns, each } = walkOf(args, exports);
    const [x, w, bias, y, scratch] = operands;
    return () =>
      each((_, g, image, result, weight) => {
        if (!isPlain) columns(x + image, scratch);
        const cols = isPlain ? x + image : scratch;
        sgemm(0, 0, o, pixels, depth, base + w + weight, depth, base + cols, pixels, 0, base + y + result, pixels);
        if (bias < 0) return;
        for (let i = 0; i < o; i++)
          exports.addIntoRow(pixels, y + result + 4 * i * pixels, values[bias / 4 + g * o + i]!);
      });
  };

  /** dx[n, g] = cols⁻¹(w[g]ᵀ·dy[n, g]) */
  const sgemmConvInputGrad: BindNative = (args) => {
    const widths = widthsOf(readConvSizes(args));
    if (widths) return byWidths.convInputGrad(args, widths);
    const { o, depth, pixels, isPlain, operands, imageElements, fromColumns, each } = walkOf(args, exports);
    const [dy, w, dx, scratch] = operands;
    return () => {
      if (!isPlain) exports.fill32(imageElements, 0, dx);
      each((_n, _g, image, result, weight) => {
        const cols = isPlain ? dx + image : scratch;
        sgemm(1, 0, depth, pixels, o, base + w + weight, depth, base + dy + result, pixels, 0, base + cols, pixels);
        if (!isPlain) fromColumns(scratch, dx + image);
      });
    };
  };

  /** dw[g] += dy[n, g]·cols(x[n, g])ᵀ, samples in ascending order */
  const sgemmConvWeightGrad: BindNative = (args) => {
    const widths = widthsOf(readConvSizes(args));
    if (widths) return byWidths.convWeightGrad(args, widths);
    const { o, depth, pixels, isPlain, operands, columns, each } = walkOf(args, exports);
    const [x, dy, dw, scratch] = operands;
    return () =>
      each((n, _g, image, result, weight) => {
        if (!isPlain) columns(x + image, scratch);
        const cols = isPlain ? x + image : scratch;
        const beta = n > 0 ? 1 : 0;
        sgemm(0, 1, o, depth, pixels, base + dy + result, pixels, base + cols, pixels, beta, base + dw + weight, depth);
      });
  };
  return { sgemmConv, sgemmConvInputGrad, sgemmConvWeightGrad };
}

/** The product of a convolution and the walk over its samples and groups, the same for all three; offsets in bytes. */
function walkOf(args: readonly number[], exports: ConvExports) {
  const sizes = readConvSizes(args);
  const { samples, channels, size, kernel, stride, before, dilation, groups, out } = sizes;
  const { outputs: o, depth, pixels } = productOf(sizes);
  const perGroup = channels / groups;
  const image = 4 * perGroup * size.reduce((n, s) => n * s, 1);
  const window = [perGroup, ...size, ...kernel, ...stride, ...before, ...dilation, ...out];
  return {
    ...{ o, depth, pixels, isPlain: columnBytes(sizes) === 0 },
    operands: args.slice(convSizeArgs) as unknown as readonly [number, number, number, number, number],
    imageElements: (samples * groups * image) / 4,
    columns: (x: number, to: number) => exports.columns(...window, x, to),
    fromColumns: (from: number, x: number) => exports.fromColumns(...window, from, x),
    each: (visit: (sample: number, group: number, image: number, result: number, weight: number) => void) => {
      for (let n = 0; n < samples; n++) {
        for (let g = 0; g < groups; g++) {
          const at = n * groups + g;
          visit(n, g, at * image, at * 4 * o * pixels, g * 4 * o * depth);
        }
      }
    },
  };
}

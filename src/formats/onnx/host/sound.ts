/** Constants of signal processing, out of sizes that are known. */
import { known, storedAs } from '../known.ts';
import type { OnnxDType } from '../model.ts';
import type { OperatorContext } from '../operator.ts';
import { onnxDTypeOf } from '../tensor-bytes.ts';
import { type HostRule, maxHostElements } from './host.ts';

/** The element type that `output_datatype` names; FLOAT where it does not. */
function outputType(context: OperatorContext): OnnxDType {
  const number = context.int('output_datatype', 1);
  return onnxDTypeOf(number) ?? context.unsupported(`output_datatype ${number}`);
}

function stored(context: OperatorContext, shape: readonly number[], data: Float64Array) {
  const dtype = outputType(context);
  return [known(dtype, shape, data.map(storedAs(dtype)))];
}

function count(context: OperatorContext, i: number, what: string): number {
  const n = context.integer(i, what);
  if (n < 1 || n > maxHostElements) context.invalid(`${what} is ${n}`);
  return n;
}

/** Σ ±aₖ·cos(2πki/N), N the size (periodic) or one less (symmetric). */
const window =
  (...terms: readonly number[]): HostRule =>
  (context) => {
    const size = count(context, 0, 'the size');
    const period = context.int('periodic', 1) !== 0 ? size : Math.max(1, size - 1);
    const at = (i: number): number =>
      terms.reduce((sum, a, k) => sum + (k % 2 === 0 ? a : -a) * Math.cos((2 * Math.PI * k * i) / period), 0);
    return stored(
      context,
      [size],
      Float64Array.from({ length: size }, (_, i) => at(i)),
    );
  };

const mel = (hertz: number): number => 2595 * Math.log10(1 + hertz / 700);
const hertzOf = (m: number): number => 700 * (10 ** (m / 2595) - 1);

/** More than any f32, which the edges are by ONNX. */
const maxHertz = 2 ** 128;

/** Triangles on the mel scale, [bins of the spectrum, bands]: each rises from the centre before to 1, and falls to the next. */
const melWeights: HostRule = (context) => {
  const [bands, length] = [count(context, 0, 'num_mel_bins'), count(context, 1, 'dft_length')];
  const rate = context.integer(2, 'sample_rate');
  if (rate < 1) context.invalid(`sample_rate is ${rate}`);
  const edges = [context.scalar(3, 'lower_edge_hertz'), context.scalar(4, 'upper_edge_hertz')] as const;
  if (!(edges[0] >= 0 && edges[0] < edges[1] && edges[1] < maxHertz)) {
    context.invalid(`the edges are ${edges[0]} and ${edges[1]} Hz: they must rise from 0 or more`);
  }
  const [low, high] = [mel(edges[0]), mel(edges[1])];
  const rows = Math.floor(length / 2) + 1;
  if (rows * bands > maxHostElements) context.unsupported(`a matrix of ${rows} × ${bands}`);
  // Edges and centres as bins of the spectrum.
  const step = (high - low) / (bands + 2);
  const bins = Array.from({ length: bands + 2 }, (_, i) => Math.floor(((length + 1) * hertzOf(low + i * step)) / rate));
  const data = new Float64Array(rows * bands);
  for (let band = 0; band < bands; band++) {
    const [from, centre, to] = bins.slice(band) as [number, number, number];
    const put = (row: number, value: number): void => {
      data[row * bands + band] = value;
    };
    // Edges may lie far behind the end of the spectrum.
    for (let row = from; row < Math.min(centre, rows); row++) put(row, (row - from) / (centre - from));
    if (centre < rows) put(centre, 1);
    for (let row = centre + 1; row < Math.min(to, rows); row++) put(row, (to - row) / (to - centre));
  }
  return stored(context, [rows, bands], data);
};

export const sound: Readonly<Record<string, HostRule>> = {
  BlackmanWindow: window(0.42, 0.5, 0.08),
  HammingWindow: window(25 / 46, 21 / 46),
  HannWindow: window(0.5, 0.5),
  MelWeightMatrix: melWeights,
};

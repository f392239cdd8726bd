/**
 * Interpolation along one axis as taps and weights: the formulas of ONNX Resize (and with them those of PyTorch's
 * interpolate), evaluated once when the graph is built.
 */
import type { Taps } from './resample.ts';

/** Where an output position lies on the input's axis; ONNX's `coordinate_transformation_mode`. */
export type CoordinateTransformation =
  | 'halfPixel'
  | 'halfPixelSymmetric'
  | 'pytorchHalfPixel'
  | 'alignCorners'
  | 'asymmetric'
  | 'tfHalfPixelForNn'
  | 'tfCropAndResize';
export type NearestMode = 'roundPreferFloor' | 'roundPreferCeil' | 'floor' | 'ceil';
export type Interpolation = 'nearest' | 'linear' | 'cubic';

/** Everything that decides the taps of an axis. */
export interface AxisResize {
  readonly mode: Interpolation;
  readonly coordinates: CoordinateTransformation;
  readonly nearestMode: NearestMode;
  /** Keys' coefficient of the cubic kernel. */
  readonly cubicCoeffA: number;
  /** Taps outside the input get no weight, and the others are divided by their sum; else the edge stands for them. */
  readonly excludeOutside: boolean;
  /** Widens the kernel by 1 / scale where the axis shrinks. */
  readonly antialias: boolean;
  readonly from: number;
  readonly to: number;
  /** undefined: to / from exactly. */
  readonly scale?: number;
  /** Of tfCropAndResize: the part of the axis that is resized, as shares of its last position. */
  readonly roi: readonly [start: number, end: number];
}

/** Position on the input's axis of output position i. */
function coordinate(i: number, r: AxisResize): number {
  // i·from / to is exact where it is an integer or half of one, so that nearest modes see ties as ties.
  const back = (v: number) => (r.scale === undefined ? (v * r.from) / r.to : v / r.scale);
  const width = r.scale === undefined ? r.to : r.scale * r.from;
  switch (r.coordinates) {
    case 'halfPixel':
      return back(i + 0.5) - 0.5;
    case 'halfPixelSymmetric':
      return (r.from / 2) * (1 - r.to / width) + back(i + 0.5) - 0.5;
    case 'pytorchHalfPixel':
      return r.to > 1 ? back(i + 0.5) - 0.5 : 0;
    case 'alignCorners':
      // ONNX divides by the exact width, which a scale need not make whole.
      return width === 1 ? 0 : (i * (r.from - 1)) / (width - 1);
    case 'asymmetric':
      return back(i);
    case 'tfHalfPixelForNn':
      return back(i + 0.5);
    case 'tfCropAndResize': {
      const [start, end] = r.roi;
      if (r.to === 1) return 0.5 * (start + end) * (r.from - 1);
      return start * (r.from - 1) + (i * (end - start) * (r.from - 1)) / (width - 1);
    }
  }
}

const nearest: Readonly<Record<NearestMode, (x: number) => number>> = {
  roundPreferFloor: (x) => Math.ceil(x - 0.5),
  roundPreferCeil: (x) => Math.floor(x + 0.5),
  floor: Math.floor,
  ceil: Math.ceil,
};

/** Keys, "Cubic convolution interpolation for digital image processing" (1981); support [−2, 2]. */
function cubic(distance: number, a: number): number {
  const d = Math.abs(distance);
  if (d <= 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
  return d < 2 ? ((a * d - 5 * a) * d + 8 * a) * d - 4 * a : 0;
}

const triangle = (distance: number): number => Math.max(0, 1 - Math.abs(distance));

/** The taps of output position i before the edge stands for those outside. */
function kernelTaps(i: number, r: AxisResize): { place: number; weight: number }[] {
  const x = coordinate(i, r);
  if (r.mode === 'nearest') return [{ place: nearest[r.nearestMode](x), weight: 1 }];
  const scale = r.antialias ? Math.min(1, r.scale ?? r.to / r.from) : 1;
  const radius = Math.ceil((r.mode === 'linear' ? 1 : 2) / scale);
  const first = Math.floor(x) - radius + 1;
  return Array.from({ length: 2 * radius }, (_, k) => {
    const distance = (first + k - x) * scale;
    return { place: first + k, weight: r.mode === 'linear' ? triangle(distance) : cubic(distance, r.cubicCoeffA) };
  });
}

export interface AxisTaps extends Taps {
  /** Output positions that lie outside the input under tfCropAndResize: all their weights are 0. */
  readonly outside: readonly boolean[];
}

/** The tables of one axis. */
export function resizeTaps(r: AxisResize): AxisTaps {
  const index: number[][] = [];
  const weight: number[][] = [];
  const outside: boolean[] = [];
  for (let i = 0; i < r.to; i++) {
    const taps = kernelTaps(i, r);
    const x = coordinate(i, r);
    const beyond = r.coordinates === 'tfCropAndResize' && (x < 0 || x > r.from - 1);
    const weights = taps.map((t) => (r.excludeOutside && (t.place < 0 || t.place >= r.from) ? 0 : t.weight));
    // Widened kernels do not sum to 1 by themselves.
    const total = r.excludeOutside || r.antialias ? weights.reduce((sum, w) => sum + w, 0) : 1;
    index.push(taps.map((t) => Math.min(Math.max(t.place, 0), r.from - 1)));
    weight.push(weights.map((w) => (beyond ? 0 : w / total)));
    outside.push(beyond);
  }
  return { index, weight, outside };
}

/** Whether every output position is the same input position, whatever the input. */
export function isIdentity({ index, weight }: Taps, from: number): boolean {
  if (index.length !== from) return false;
  return index.every((row, i) => {
    // Several taps may lie at one place: the edge stands for those outside.
    const own = row.reduce((sum, place, k) => (place === i ? sum + weight[i]![k]! : sum), 0);
    return own === 1 && row.every((place, k) => place === i || weight[i]![k] === 0);
  });
}

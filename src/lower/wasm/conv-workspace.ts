import { elementCount, sameShape } from '../../core/types.ts';
import type { ConvAttrs, ConvGeometry } from '../../ops/conv.ts';
import { begins } from '../../ops/window.ts';
import { isBySamples, samplesBytes } from './conv-samples.ts';
import { groupsWorkspace } from './groups-workspace.ts';
import { depthBlock, gemmWorkspace, packedWorkspace } from './workspace.ts';

/** The order of `kind` in the module's export `convWorkspace`. */
export const convKinds = ['conv', 'convInputGrad', 'convWeightGrad'] as const;
export type ConvKind = (typeof convKinds)[number];

/**
 * Exact scratch bytes of a convolution kernel. Outputs and weights' gradients: `[frame of zeros around an image, if windows hang
 * over][places of taps][places of outputs][gemm's workspace]`; the input's gradient, where it goes pixel by pixel, `[four
 * pixels][frame of dy][places of taps][filters of sixteen channels]`, where it is a convolution of dy with the filters turned around,
 * as outputs, and otherwise `[columns][gemm's workspace]`; both, where samples are lanes, as in `conv-samples.ts`; weights' gradients
 * of several samples at once `[tiles and plan of taps][dy of sixteen outputs][x]`, narrow ones `[frame][places of taps][places of
 * quads]` or `[columns]`; groups of one or a few channels go by four (`groupsWorkspace`). Each part but the last
 * is rounded up to 16.
 * The same formula as the WebAssembly module's export (`workers/kernels/conv.ts`), written again because lowering is pure: a test
 * holds it to the export.
 */
export function convWorkspace(kind: ConvKind, g: ConvGeometry, attrs: ConvAttrs): number {
  if (isByGroups(kind, g, attrs)) return groupsWorkspace(kind, g, attrs);
  const outputs = g.o / attrs.groups;
  const depth = (g.c / attrs.groups) * elementCount(g.kernel);
  const pixels = elementCount(g.out);
  const plain = isPlain(g, attrs);
  if (kind === 'convInputGrad') {
    const turnable = !plain && isTurned(g, attrs);
    const byPixels = isByPixels(g, attrs, turnable);
    const way = plain ? 'plain' : byPixels ? 'pixels' : turnable ? 'turned' : 'columns';
    if (isBySamples(g, attrs, way, true)) return samplesBytes(g, attrs, true);
    if (byPixels) return pixelsBytes(g, attrs);
    if (turnable)
      return packedOnce(turned(g), { ...attrs, padding: [...turnedBegins(g, attrs), ...turnedBegins(g, attrs)] });
    return (plain ? 0 : aligned(depth * pixels)) + gemmWorkspace(depth, pixels, outputs);
  }
  if (kind === 'convWeightGrad' && areWeightsByPixels(g, attrs)) return weightPixelsBytes(g, attrs);
  // Dot products of rows, read where they lie if each has whole quads of outputs: too narrow for gemm's tiles, or of few outputs.
  const areQuads = !plain && attrs.stride.at(-1) === 1 && g.out.at(-1)! % 4 === 0;
  const isNarrow = outputs < 8 || depth < 16 || (areQuads && outputs <= 32 && pixels >= 128);
  if (kind === 'convWeightGrad' && isNarrow) {
    if (plain) return 0;
    return areQuads ? frameBytes(g, attrs) + aligned(depth) + pixels : 4 * depth * pixels;
  }
  if (kind === 'conv' && isBySamples(g, attrs, plain ? 'plain' : 'outputs', false))
    return samplesBytes(g, attrs, false);
  if (plain) return kind === 'conv' ? gemmWorkspace(outputs, pixels, depth) : gemmWorkspace(outputs, depth, pixels);
  if (kind === 'conv') return packedOnce(g, attrs);
  return frameBytes(g, attrs) + aligned(depth) + aligned(pixels) + gemmWorkspace(outputs, depth, pixels);
}

/** Whether groups, of one channel or few, go by four; `workers/kernels/groupFrames.ts` says when that pays. */
function isByGroups(kind: ConvKind, g: ConvGeometry, attrs: ConvAttrs): boolean {
  const { groups, stride } = attrs;
  const [c, o] = [g.c / groups, g.o / groups];
  if (groups === 1) return false;
  if (c === 1 && (kind === 'conv' || (kind === 'convInputGrad' && o <= 4))) return true;
  if (c > 4 || o > 4 || isPlain(g, attrs) || (c > 1 && groups < 4)) return false;
  const isLarge = elementCount(g.out) >= 128 && stride.at(-1) === 1;
  if (kind === 'conv') return c < 4 || !isLarge;
  if (kind === 'convInputGrad' || !isLarge || g.out.at(-1)! % 4 > 0) return true;
  return c < 4 && elementCount(g.kernel) >= 5 && groups > 2;
}

/** Outputs by places, with a block of the filters packed once for all samples. */
function packedOnce(g: ConvGeometry, attrs: ConvAttrs): number {
  const depth = (g.c / attrs.groups) * elementCount(g.kernel);
  const pixels = elementCount(g.out);
  const product = packedWorkspace(g.o / attrs.groups, pixels, depth);
  return frameBytes(g, attrs) + aligned(depth) + aligned(pixels) + product;
}

/** Whether the input's gradient is a convolution of dy that takes hardly more operations, as with "same" padding. */
function isTurned(g: ConvGeometry, attrs: ConvAttrs): boolean {
  return (
    attrs.stride.every((s) => s === 1) &&
    turnedBegins(g, attrs).every((p) => p >= 0) &&
    g.c / attrs.groups >= 8 &&
    4 * elementCount(g.size) <= 5 * elementCount(g.out)
  );
}

/** Whether an input gradient goes pixel by pixel, given whether it could be turned around. */
function isByPixels({ c, kernel }: ConvGeometry, { groups, stride, dilation }: ConvAttrs, turnable: boolean): boolean {
  const [channels, taps] = [c / groups, elementCount(kernel)];
  return (
    stride.at(-1)! <= 2 &&
    dilation.every((d) => d === 1) &&
    channels <= 64 &&
    channels % 16 === 0 &&
    taps >= 2 * elementCount(stride) &&
    taps >= (turnable ? 16 : 8)
  );
}

/** Pixel by pixel, dy lies with a zero between its rows, and in front and behind. */
function pixelsBytes({ o, kernel, out }: ConvGeometry, { groups }: ConvAttrs): number {
  const taps = (o / groups) * elementCount(kernel);
  const rows = (o / groups) * elementCount(out.slice(0, -1));
  return 256 + aligned(rows * (out.at(-1)! + 1) + 1) + aligned(taps) + 64 * taps;
}

/** Whether a weights' gradient takes several samples at once: outputs by sixteens, and enough channels, taps and pixels or samples. */
function areWeightsByPixels({ n, c, o, kernel, out }: ConvGeometry, { groups }: ConvAttrs): boolean {
  const pixels = elementCount(out);
  const isWide = (o / groups) % 16 === 0 && c / groups >= 6 && elementCount(kernel) >= 8;
  return isWide && pixels <= 1024 && out.at(-1)! <= depthBlock && (n > 1 || pixels >= 32);
}

/** Bytes of samples of x that are packed together, of more than one. */
const MOST_PACKED = 2 ** 21;

/** Of several samples at once: tiles of all taps and their plan, dy of sixteen outputs, and x, channels in pairs. */
function weightPixelsBytes({ n, c, size, kernel, out }: ConvGeometry, { groups }: ConvAttrs): number {
  const plane = elementCount(out.slice(-2));
  const x = 8 * Math.ceil(c / groups / 2) * elementCount(size);
  const samples = Math.max(1, Math.min(n, Math.floor(depthBlock / plane), Math.floor(MOST_PACKED / x)));
  return 144 * elementCount(kernel) + samples * (64 * elementCount(out) + x);
}

/** Where dy begins in its frame. */
const turnedBegins = (g: ConvGeometry, attrs: ConvAttrs): number[] =>
  begins(attrs).map((p, axis) => (g.kernel[axis]! - 1) * attrs.dilation[axis]! - p);

/** That convolution: of dy, with channels for outputs. */
const turned = (g: ConvGeometry): ConvGeometry => ({ ...g, c: g.o, o: g.c, size: g.out, out: g.size });

/** Bytes of f32 or i32 elements up to where the next part of a workspace begins. */
const aligned = (elements: number): number => Math.ceil(elements / 4) * 16;

/** Windows of one element, stride 1, no padding: the input is its own columns. */
const isPlain = (g: ConvGeometry, attrs: ConvAttrs): boolean =>
  [...g.kernel, ...attrs.stride].every((v) => v === 1) &&
  begins(attrs).every((p) => p === 0) &&
  sameShape(g.out, g.size);

/** Elements along each axis that the taps of all outputs reach. */
const reaches = (g: ConvGeometry, { stride, dilation }: ConvAttrs): number[] =>
  g.out.map((n, axis) => (n - 1) * stride[axis]! + (g.kernel[axis]! - 1) * dilation[axis]! + 1);

/** Of a group's image in zeros; nothing where no window hangs over an edge. */
function frameBytes(g: ConvGeometry, attrs: ConvAttrs): number {
  const reach = reaches(g, attrs);
  const isInside = begins(attrs).every((p) => p === 0) && reach.every((n, axis) => n <= g.size[axis]!);
  return isInside ? 0 : aligned((g.c / attrs.groups) * elementCount(reach));
}

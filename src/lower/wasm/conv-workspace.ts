import { elementCount, sameShape } from '../../core/types.ts';
import type { ConvAttrs, ConvGeometry } from '../../ops/conv.ts';
import { begins } from '../../ops/window.ts';
import { gemmWorkspace } from './workspace.ts';

/** The order of `kind` in the module's export `convWorkspace`. */
export const convKinds = ['conv', 'convInputGrad', 'convWeightGrad'] as const;
export type ConvKind = (typeof convKinds)[number];

/**
 * Exact scratch bytes of a convolution kernel: `[columns, rounded up to 16][gemm's workspace]`; of narrow weight gradients
 * `[columns]`; of groups of one channel that are added tap by tap `[a frame of zeros around a plane]`. The same formula as the
 * WebAssembly module's export (`workers/kernels/conv.ts`), written again because lowering is pure: a test holds it to
 * the export.
 */
export function convWorkspace(kind: ConvKind, g: ConvGeometry, attrs: ConvAttrs): number {
  const frame = frameElements(kind, g, attrs);
  if (frame !== undefined) return 4 * frame;
  const outputs = g.o / attrs.groups;
  const depth = (g.c / attrs.groups) * elementCount(g.kernel);
  const pixels = elementCount(g.out);
  const columns = isPlain(g, attrs) ? 0 : Math.ceil((4 * depth * pixels) / 16) * 16;
  switch (kind) {
    case 'conv':
      return columns + gemmWorkspace(outputs, pixels, depth);
    case 'convInputGrad':
      return columns + gemmWorkspace(depth, pixels, outputs);
    case 'convWeightGrad':
      // Too narrow for gemm's tiles: dot products of rows.
      if (outputs < 8 || depth < 16) return isPlain(g, attrs) ? 0 : 4 * depth * pixels;
      return columns + gemmWorkspace(outputs, depth, pixels);
  }
}

/** Windows of one element, stride 1, no padding: the input is its own columns. */
const isPlain = (g: ConvGeometry, attrs: ConvAttrs): boolean =>
  [...g.kernel, ...attrs.stride].every((v) => v === 1) &&
  begins(attrs).every((p) => p === 0) &&
  sameShape(g.out, g.size);

/** Elements of the frame around a plane where groups have one channel each and are added tap by tap; undefined where not. */
function frameElements(kind: ConvKind, g: ConvGeometry, { groups, stride, dilation, padding }: ConvAttrs) {
  if (g.c !== groups || groups === 1 || kind === 'convWeightGrad') return undefined;
  const span = g.kernel.map((taps, axis) => (taps - 1) * dilation[axis]!);
  if (kind === 'conv') return elementCount(g.out.map((n, axis) => (n - 1) * stride[axis]! + span[axis]! + 1));
  const framed =
    g.o === groups && stride.every((s) => s === 1) && begins({ padding }).every((p, axis) => p <= span[axis]!);
  return framed ? elementCount(g.size.map((n, axis) => n + span[axis]!)) : undefined;
}

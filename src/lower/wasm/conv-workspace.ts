import type { ConvAttrs, ConvGeometry } from '../../ops/conv.ts';
import { gemmWorkspace } from './workspace.ts';

/** The order of `kind` in the module's export `conv2dWorkspace`. */
export const convKinds = ['conv2d', 'conv2dInputGrad', 'conv2dWeightGrad'] as const;
export type ConvKind = (typeof convKinds)[number];

/**
 * Exact scratch bytes of a convolution kernel: `[columns, rounded up to 16][gemm's workspace]`. The same formula as the
 * WebAssembly module's export (`workers/kernels/conv.ts`), written again because lowering is pure: a test holds it to
 * the export.
 */
export function convWorkspace(kind: ConvKind, g: ConvGeometry, attrs: ConvAttrs): number {
  const outputs = g.o / attrs.groups;
  const depth = (g.c / attrs.groups) * g.kh * g.kw;
  const pixels = g.oh * g.ow;
  const columns = isPlain(g, attrs) ? 0 : Math.ceil((4 * depth * pixels) / 16) * 16;
  switch (kind) {
    case 'conv2d':
      return columns + gemmWorkspace(outputs, pixels, depth);
    case 'conv2dInputGrad':
      return columns + gemmWorkspace(depth, pixels, outputs);
    case 'conv2dWeightGrad':
      return columns + gemmWorkspace(outputs, depth, pixels);
  }
}

/** 1 × 1, stride 1, no padding: the input is its own columns. */
const isPlain = (g: ConvGeometry, { stride, padding }: ConvAttrs): boolean =>
  [g.kh, g.kw, ...stride].every((v) => v === 1) && padding[0] === 0 && padding[1] === 0 && g.oh === g.h && g.ow === g.w;

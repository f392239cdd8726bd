import { shown } from '../core/options.ts';
import type { Tensor } from '../graph/graph.ts';
import { type ResizeOptions, resize, scaledSize } from '../ops/resize.ts';
import { type PerAxis, perAxis } from '../ops/window.ts';
import { refuse } from './refuse.ts';
import { checkOptions } from './scope.ts';

export type UpsampleMode = 'nearest' | 'nearestExact' | 'linear' | 'bilinear' | 'bicubic' | 'trilinear';

export interface UpsampleOptions {
  /** Spatial sizes of the result … */
  readonly size?: PerAxis;
  /** … or factors. One of the two. */
  readonly scaleFactor?: PerAxis;
  /** default nearest */
  readonly mode?: UpsampleMode;
  /** With the interpolating modes: the corners' centres stay where they are; default false. */
  readonly alignCorners?: boolean;
}

/** Spatial axes a mode is for, and how `resize` says it. */
const modes: Readonly<Record<UpsampleMode, { readonly axes?: number } & Pick<ResizeOptions, 'mode'>>> = {
  nearest: { mode: 'nearest' },
  nearestExact: { mode: 'nearest' },
  linear: { mode: 'linear', axes: 1 },
  bilinear: { mode: 'linear', axes: 2 },
  bicubic: { mode: 'cubic', axes: 2 },
  trilinear: { mode: 'linear', axes: 3 },
};

/**
 * The spatial axes of [N, C, …] at other sizes, larger or smaller (PyTorch Upsample and interpolate). A factor that is the
 * ratio of two sizes gives that size: 0.29 of 100 is 29, where PyTorch rounds 28.999… down.
 */
export function upsample(x: Tensor, options: UpsampleOptions): Tensor {
  checkOptions('upsample', x, options, { size: true, scaleFactor: true, mode: true, alignCorners: true });
  const { size, scaleFactor, mode = 'nearest', alignCorners = false } = options;
  const rank = x.rank - 2;
  if (rank < 1 || rank > 3) refuse('upsample', x, 'takes [N, C] and one to three spatial axes');
  const how = Object.hasOwn(modes, mode)
    ? modes[mode]
    : refuse('upsample', x, `mode must be one of ${Object.keys(modes).join(', ')}, got ${shown(mode)}`);
  if (how.axes !== undefined && how.axes !== rank) {
    refuse('upsample', x, `mode ${mode} is for ${how.axes} spatial ${how.axes === 1 ? 'axis' : 'axes'}, x has ${rank}`);
  }
  if (alignCorners && how.mode === 'nearest') refuse('upsample', x, `mode ${mode} has no corners to align`);
  if ((size === undefined) === (scaleFactor === undefined)) refuse('upsample', x, 'takes one of size and scaleFactor');
  const by = perAxis((size ?? scaleFactor)!, rank);
  const nearest: ResizeOptions =
    mode === 'nearest'
      ? { coordinateTransformation: 'asymmetric', nearestMode: 'floor' }
      : { coordinateTransformation: 'halfPixel', nearestMode: 'roundPreferCeil' };
  // Between aligned corners PyTorch knows the sizes only, where ONNX has a scale that need not make a whole size.
  const sizes = alignCorners && size === undefined ? by.map((factor, i) => scaledSize(x.shape[i + 2]!, factor)) : by;
  return resize(x, {
    axes: Array.from({ length: rank }, (_, i) => i + 2),
    ...(size === undefined && !alignCorners ? { scales: by } : { sizes }),
    mode: how.mode,
    ...(how.mode === 'nearest' ? nearest : { coordinateTransformation: alignCorners ? 'alignCorners' : 'halfPixel' }),
  });
}

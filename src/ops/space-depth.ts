/** Channels as small squares of pixels, and back: only moves, by reshapes and transposes. */
import { GraphError } from '../core/errors.ts';
import type { Tensor } from '../graph/graph.ts';
import { callerLine } from '../graph/source-line.ts';
import { requireWord, wordsOf } from './options.ts';
import { reshape, transpose } from './shape.ts';

/** Which channel a pixel of a block comes from: block first (`DCR`) or channel first (`CRD`). */
export type DepthOrder = 'DCR' | 'CRD';
const orders = wordsOf<DepthOrder>({ DCR: true, CRD: true });

/** [N, C, H, W], checked. */
function image(what: string, x: Tensor, fits: (c: number, h: number, w: number) => boolean) {
  const [n, c, h, w] = x.shape as [number, number, number, number];
  if (x.rank === 4 && fits(c, h, w)) return [n, c, h, w] as const;
  throw new GraphError('block-size', `${what} of ${x}: takes [N, C, H, W] that divides into blocks${callerLine()}`, {
    fields: { shape: x.shape },
    remedy: 'a block size that divides the channels (depthToSpace: its square does) or height and width (spaceToDepth)',
  });
}

const isBlock = (b: number): boolean => Number.isInteger(b) && b >= 1;

/** [N, C·b², H, W] → [N, C, H·b, W·b] (ONNX DepthToSpace, default order DCR). */
export function depthToSpace(x: Tensor, options: { readonly blockSize: number; readonly order?: DepthOrder }): Tensor {
  const { blockSize: b, order = 'DCR' } = options;
  requireWord('depthToSpace', x, 'order', order, orders);
  const [n, c, h, w] = image('depthToSpace', x, (channels) => isBlock(b) && channels % (b * b) === 0);
  const depth = c / (b * b);
  const split =
    order === 'DCR'
      ? transpose(reshape(x, [n, b, b, depth, h, w]), [0, 3, 4, 1, 5, 2])
      : transpose(reshape(x, [n, depth, b, b, h, w]), [0, 1, 4, 2, 5, 3]);
  return reshape(split, [n, depth, h * b, w * b]);
}

/** [N, C, H·b, W·b] → [N, C·b², H, W], the inverse of `depthToSpace` (ONNX SpaceToDepth: order DCR). */
export function spaceToDepth(x: Tensor, options: { readonly blockSize: number; readonly order?: DepthOrder }): Tensor {
  const { blockSize: b, order = 'DCR' } = options;
  requireWord('spaceToDepth', x, 'order', order, orders);
  const [n, c, h, w] = image(
    'spaceToDepth',
    x,
    (_, height, width) => isBlock(b) && height % b === 0 && width % b === 0,
  );
  const blocks = reshape(x, [n, c, h / b, b, w / b, b]);
  return reshape(transpose(blocks, order === 'DCR' ? [0, 3, 5, 1, 2, 4] : [0, 1, 3, 5, 2, 4]), [
    n,
    c * b * b,
    h / b,
    w / b,
  ]);
}

/** PyTorch's `pixel_shuffle`: [N, C·r², H, W] → [N, C, H·r, W·r]. */
export const pixelShuffle = (x: Tensor, upscaleFactor: number): Tensor =>
  depthToSpace(x, { blockSize: upscaleFactor, order: 'CRD' });

/** PyTorch's `pixel_unshuffle`, its inverse. */
export const pixelUnshuffle = (x: Tensor, downscaleFactor: number): Tensor =>
  spaceToDepth(x, { blockSize: downscaleFactor, order: 'CRD' });

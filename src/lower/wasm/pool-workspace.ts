import { elementCount, type Shape } from '../../core/types.ts';
import { begins, type Sliding, toThree } from '../../ops/window.ts';

/** Larger frames do not pay. */
const largestFrame = 1280;
/** Four outputs of four planes, and their places. */
const pendingBytes = 128;

/**
 * Exact scratch bytes of pooling and its transpose for spatial sizes x → y: `[outputs not yet written][frame of four planes with
 * all that windows reach]`; none where the frame is too large or (`largest`) windows are 2 × 2 side by side; where those overlap,
 * `[a row with what windows reach][maxima along the rows of a window, and their places]`. The same formula as
 * the WebAssembly module's export (`workers/kernels/windows.ts`), written again because lowering is pure: a test holds it to the
 * export.
 */
export function poolWorkspace(kind: 'largest' | 'mean', x: Shape, y: Shape, by: Sliding): number {
  if (kind === 'largest' && areSquares(x, y, by)) return 0;
  if (kind === 'largest' && areLines(x, y, by)) return linesBytes(y.at(-1)!, by);
  const before = begins(by);
  const frame = elementCount(
    x.map((size, axis) => {
      const reach = (y[axis]! - 1) * by.stride[axis]! + (by.kernel[axis]! - 1) * by.dilation[axis]! + 1;
      return Math.max(before[axis]! + size, reach);
    }),
  );
  return frame <= largestFrame ? pendingBytes + 16 * frame : 0;
}

/** 2 × 2 by steps of 2 over the last two axes, nothing over an edge, rows of at least four outputs. */
function areSquares(x: Shape, y: Shape, by: Sliding): boolean {
  const planar = x.length - 2;
  return (
    planar >= 0 &&
    begins(by).every((p) => p === 0) &&
    x.every((size, axis) => {
      const n = axis < planar ? 1 : 2;
      const isStep = by.kernel[axis] === n && by.stride[axis] === n && (n === 1 || by.dilation[axis] === 1);
      return isStep && (n === 1 ? y[axis] === size : 2 * y[axis]! <= size);
    }) &&
    y.at(-1)! >= 4
  );
}

/** Windows over single slices that overlap from row to row, by steps of one or two along rows of 8 to 4096 outputs. */
function areLines(x: Shape, y: Shape, by: Sliding): boolean {
  const [kd, kh, kw] = toThree(by.kernel, 1);
  const [sd, sh, sw] = toThree(by.stride, 1);
  const [, dh, dw] = toThree(by.dilation, 1);
  const [od, , ow] = toThree(y, 1);
  const inSlices = kd === 1 && sd === 1 && toThree(begins(by), 0)[0] === 0 && od === toThree(x, 1)[0];
  const overlap = dh === 1 && dw === 1 && kh > sh && kh <= 16 && kw > 1 && sw <= 2;
  return inSlices && overlap && ow >= 8 && ow <= 4096;
}

/** A row between what padding stands for, and of each row of a window as many maxima and places as outputs, in whole vectors. */
function linesBytes(outputs: number, by: Sliding): number {
  const whole = (n: number) => 4 * Math.ceil(n / 4);
  const [, kh, kw] = toThree(by.kernel, 1);
  const row = whole(outputs);
  return 4 * whole((row - 1) * by.stride.at(-1)! + kw) + 8 * kh * row;
}

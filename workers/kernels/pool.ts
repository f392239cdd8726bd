// Pooling over volumes ([N·C] of D×H×W; fewer spatial axes have leading sizes, kernels, strides and dilations of 1 and no
// padding there). Windows may hang over any edge; the padding behind an axis follows from its output size.
//
// The part of a window inside the volume is a box of taps. Windows that follow each other along a row and lose no tap to
// the padding have equal boxes, so a row of outputs is one run of these and single windows before and behind it. A helper
// does a run against one slice of the boxes: it knows nothing of edges, and its few values fit the registers.
import { everySecond, gather4 } from './lanes';

/** First kernel tap whose position first + tap·step is ≥ 0. */
@inline
function firstTap(first: i32, step: i32): i32 {
  return first >= 0 ? 0 : (step - 1 - first) / step;
}

/** One past the last of `taps` kernel taps whose position is < size. */
@inline
function endTap(first: i32, step: i32, size: i32, taps: i32): i32 {
  if (first + (taps - 1) * step < size) return taps; // nearly always, and without a division
  return first >= size ? 0 : (size - 1 - first) / step + 1;
}

/** How many windows from the one at `left` on, at most `most`, hold all their taps; 1 where that one itself does not. */
@inline
function runOf(left: i32, stride: i32, reach: i32, size: i32, most: i32): i32 {
  const room = size - 1 - reach - left;
  return left < 0 || room < 0 ? 1 : min(most, room / stride + 1);
}

/** Four elements of x `stride` elements apart, the first at k; nothing behind the fourth is read. */
@inline
function everyStride(x: usize, k: i32, stride: i32): v128 {
  const p = x + <usize>k * 4;
  if (stride == 1) return v128.load(p);
  if (stride == 2) return everySecond(p);
  return gather4(p, <usize>stride * 4, 4);
}

/** Where v is to take best's place: not v ≤ best (larger, or one of them NaN), and no NaN in best. */
@inline
function isBetter(v: v128, best: v128): v128 {
  return v128.andnot(f32x4.eq(best, best), f32x4.le(v, best));
}

/** Four whole windows of 2 × 2 side by side, two elements apart: no two share an element, so two loads a row serve all taps. */
@inline
function maxFourSquares(at: i32, rowStep: i32, x: usize, y: usize, idx: usize): void {
  const p = x + <usize>at * 4;
  const q = p + <usize>rowStep * 4;
  const low = v128.load(p);
  const high = v128.load(p, 16);
  const under = v128.load(q);
  const beyond = v128.load(q, 16);
  const first = i32x4.add(i32x4.splat(at), i32x4(0, 2, 4, 6));
  // The first tap is the best and its cell the place even where all is −∞.
  let best = v128.shuffle<f32>(low, high, 0, 2, 4, 6);
  let v = v128.shuffle<f32>(low, high, 1, 3, 5, 7);
  let better = isBetter(v, best);
  best = v128.bitselect(v, best, better);
  let place = v128.bitselect(i32x4.add(first, i32x4.splat(1)), first, better);
  v = v128.shuffle<f32>(under, beyond, 0, 2, 4, 6);
  better = isBetter(v, best);
  best = v128.bitselect(v, best, better);
  place = v128.bitselect(i32x4.add(first, i32x4.splat(rowStep)), place, better);
  v = v128.shuffle<f32>(under, beyond, 1, 3, 5, 7);
  better = isBetter(v, best);
  v128.store(y, v128.bitselect(v, best, better));
  v128.store(idx, v128.bitselect(i32x4.add(first, i32x4.splat(rowStep + 1)), place, better));
}

/** All windows of `rows` × `ow` (≥ 4) such squares, from element `at` of x on; rows of W elements. */
function maxSquares(rows: i32, ow: i32, at: i32, W: i32, x: usize, y: usize, idx: usize): void {
  for (; rows > 0; rows--) {
    let k = 0;
    do {
      // The last four of a row may be done in part before: what is written twice is the same.
      k = min(k, ow - 4);
      const by = <usize>k * 4;
      maxFourSquares(at + 2 * k, W, x, y + by, idx + by);
      k += 4;
    } while (k < ow);
    at += 2 * W;
    y += <usize>ow * 4;
    idx += <usize>ow * 4;
  }
}

/** maxRun for four windows at once, a lane each. */
@inline
function maxFour(
  fresh: bool, at: i32, rows: i32, rowStep: i32, taps: i32, tapStep: i32, stride: i32, x: usize, y: usize, idx: usize,
): void {
  const lanes = i32x4.mul(i32x4(0, 1, 2, 3), i32x4.splat(stride));
  let place = fresh ? i32x4.add(i32x4.splat(at), lanes) : v128.load(idx);
  let best = fresh ? f32x4.splat(-Infinity) : v128.load(y);
  for (; rows > 0; rows--) {
    let k = at;
    for (let q = taps; q > 0; q--) {
      const v = everyStride(x, k, stride);
      const better = isBetter(v, best);
      best = v128.bitselect(v, best, better);
      place = v128.bitselect(i32x4.add(i32x4.splat(k), lanes), place, better);
      k += tapStep;
    }
    at += rowStep;
  }
  v128.store(y, best);
  v128.store(idx, place);
}

/**
 * y, idx (=|+=) maximum and its place over `rows` × `taps` elements of x for `count` windows `stride` apart, the first
 * from element `at` on. `fresh`: the first slice of the windows.
 */
function maxRun(
  fresh: bool, count: i32, at: i32, rows: i32, rowStep: i32, taps: i32, tapStep: i32, stride: i32,
  x: usize, y: usize, idx: usize,
): void {
  const all = count;
  for (; count >= 4; count -= 4) {
    if (stride == 2) maxFour(fresh, at, rows, rowStep, taps, tapStep, 2, x, y, idx);
    else if (stride == 1) maxFour(fresh, at, rows, rowStep, taps, tapStep, 1, x, y, idx);
    else maxFour(fresh, at, rows, rowStep, taps, tapStep, stride, x, y, idx);
    y += 16;
    idx += 16;
    at += 4 * stride;
  }
  if (count > 0 && all >= 4) {
    // The last four once more: what is taken twice changes nothing.
    const back = 4 - count;
    y -= <usize>back * 4;
    idx -= <usize>back * 4;
    at -= back * stride;
    if (stride == 2) maxFour(fresh, at, rows, rowStep, taps, tapStep, 2, x, y, idx);
    else maxFour(fresh, at, rows, rowStep, taps, tapStep, stride, x, y, idx);
    return;
  }
  for (; count > 0; count--) {
    // A window of nothing but −∞ still needs an index: its first cell.
    let place = fresh ? at : load<i32>(idx);
    let best: f32 = fresh ? -Infinity : load<f32>(y);
    let row = at;
    for (let p = rows; p > 0; p--) {
      let k = row;
      for (let q = taps; q > 0; q--) {
        const v = load<f32>(x + <usize>k * 4);
        // Not v ≤ best: larger, or v or best is NaN; a NaN in best stays. No branch: it could not be predicted.
        const better = i32(!(v <= best)) & i32(best == best);
        best = select<f32>(v, best, better != 0);
        place = select<i32>(k, place, better != 0);
        k += tapStep;
      }
      row += rowStep;
    }
    store<f32>(y, best);
    store<i32>(idx, place);
    y += 4;
    idx += 4;
    at += stride;
  }
}

/**
 * idx = (d·H + h)·W + w of the first maximum in row-major order; the first NaN wins over all. Padding never wins, and every
 * window must hold an element of the input.
 */
export function maxPool(
  NC: i32, D: i32, H: i32, W: i32, kd: i32, kh: i32, kw: i32, sd: i32, sh: i32, sw: i32, pd: i32, ph: i32, pw: i32,
  dd: i32, dh: i32, dw: i32, od: i32, oh: i32, ow: i32, x: usize, y: usize, idx: usize,
): void {
  // The commonest pool: nothing hangs over an edge, so that no row needs a division to know.
  const inside = (pd | ph | pw) == 0 && od == D && 2 * oh <= H && 2 * ow <= W && ow >= 4;
  if (inside && (kd | sd | dh | dw) == 1 && kh == 2 && kw == 2 && sh == 2 && sw == 2) {
    for (; NC > 0; NC--) {
      for (let i = 0; i < D; i++) {
        maxSquares(oh, ow, i * H * W, W, x, y, idx);
        y += <usize>(oh * ow) * 4;
        idx += <usize>(oh * ow) * 4;
      }
      x += <usize>(D * H * W) * 4;
    }
    return;
  }
  for (; NC > 0; NC--) {
    for (let i = 0; i < od; i++) {
      const front = i * sd - pd;
      const o0 = firstTap(front, dd);
      const o1 = endTap(front, dd, D, kd);
      for (let j = 0; j < oh; j++) {
        const top = j * sh - ph;
        const p0 = firstTap(top, dh);
        const rows = endTap(top, dh, H, kh) - p0;
        for (let k = 0, run = 0; k < ow; k += run) {
          const left = k * sw - pw;
          const q0 = firstTap(left, dw);
          const taps = endTap(left, dw, W, kw) - q0;
          run = runOf(left, sw, (kw - 1) * dw, W, ow - k);
          for (let o = o0; o < o1; o++) {
            const at = ((front + o * dd) * H + top + p0 * dh) * W + left + q0 * dw;
            maxRun(o == o0, run, at, rows, dh * W, taps, dw, sw, x, y, idx);
          }
          y += <usize>run * 4;
          idx += <usize>run * 4;
        }
      }
    }
    x += <usize>(D * H * W) * 4;
  }
}

/** dx = 0, then dx[idx] += dy in row-major order of the output; planes of `inside` and `outside` elements. */
export function maxPoolGrad(NC: i32, inside: i32, outside: i32, dy: usize, idx: usize, dx: usize): void {
  const plane = <usize>inside * 4;
  memory.fill(dx, 0, <usize>NC * plane);
  for (; NC > 0; NC--) {
    for (let k = outside; k > 0; k--) {
      const at = load<i32>(idx);
      if (<u32>at >= <u32>inside) unreachable();
      const p = dx + <usize>at * 4;
      store<f32>(p, load<f32>(p) + load<f32>(dy));
      dy += 4;
      idx += 4;
    }
    dx += plane;
  }
}

/** y = x at idx: the gradient of maxPoolGrad. */
export function maxPoolGather(NC: i32, inside: i32, outside: i32, x: usize, idx: usize, y: usize): void {
  for (; NC > 0; NC--) {
    for (let k = outside; k > 0; k--) {
      const at = load<i32>(idx);
      if (<u32>at >= <u32>inside) unreachable();
      store<f32>(y, load<f32>(x + <usize>at * 4));
      idx += 4;
      y += 4;
    }
    x += <usize>inside * 4;
  }
}

/**
 * Taps that an average divides by along one axis: those inside [0, end) or, where padding counts, from the first one to
 * `end`, the end of the padding behind the axis.
 */
@inline
function counted(first: i32, step: i32, taps: i32, end: i32, includePad: i32): i32 {
  return endTap(first, step, end, taps) - (includePad != 0 ? 0 : firstTap(first, step));
}

/** Sums of four windows, a lane each; `stride` in bytes. */
@inline
function sumFour(
  start: v128, p: usize, rows: i32, rowStep: usize, taps: i32, tapStep: usize, stride: usize, dense: bool,
): v128 {
  let sum = start;
  for (; rows > 0; rows--) {
    let s = p;
    for (let q = taps; q > 0; q--) {
      sum = f32x4.add(sum, dense ? v128.load(s) : gather4(s, stride, 4));
      s += tapStep;
    }
    p += rowStep;
  }
  return sum;
}

/**
 * y (=|+=) sum over `rows` × `taps` elements for `count` windows `stride` bytes apart, the first from p on; then divided by
 * `divisor` where that is not 0. Windows lie side by side in the lanes, so that each sum keeps its order.
 */
function averageRun(
  fresh: bool, divisor: f32, count: i32, p: usize, rows: i32, rowStep: usize, taps: i32, tapStep: usize, stride: usize,
  y: usize,
): void {
  for (; count >= 4; count -= 4) {
    const start = fresh ? f32x4.splat(0) : v128.load(y);
    let sum = stride == 4
      ? sumFour(start, p, rows, rowStep, taps, tapStep, stride, true)
      : sumFour(start, p, rows, rowStep, taps, tapStep, stride, false);
    if (divisor != 0) sum = f32x4.div(sum, f32x4.splat(divisor));
    v128.store(y, sum);
    p += 4 * stride;
    y += 16;
  }
  for (; count > 0; count--) {
    let sum: f32 = fresh ? 0 : load<f32>(y);
    let row = p;
    for (let i = rows; i > 0; i--) {
      let s = row;
      for (let q = taps; q > 0; q--) {
        sum += load<f32>(s);
        s += tapStep;
      }
      row += rowStep;
    }
    if (divisor != 0) sum /= divisor;
    store<f32>(y, sum);
    p += stride;
    y += 4;
  }
}

/**
 * y = sum of each window, in row-major order, divided by the number of taps that count. ed, eh, ew: where the counting of
 * taps ends along each axis, its size or (includePad) its size and the padding behind it.
 */
export function avgPool(
  NC: i32, D: i32, H: i32, W: i32, kd: i32, kh: i32, kw: i32, sd: i32, sh: i32, sw: i32, pd: i32, ph: i32, pw: i32,
  dd: i32, dh: i32, dw: i32, od: i32, oh: i32, ow: i32, ed: i32, eh: i32, ew: i32, includePad: i32, x: usize, y: usize,
): void {
  for (; NC > 0; NC--) {
    for (let i = 0; i < od; i++) {
      const front = i * sd - pd;
      const o0 = firstTap(front, dd);
      const o1 = endTap(front, dd, D, kd);
      const slices = counted(front, dd, kd, ed, includePad);
      for (let j = 0; j < oh; j++) {
        const top = j * sh - ph;
        const p0 = firstTap(top, dh);
        const rows = endTap(top, dh, H, kh) - p0;
        const plane = slices * counted(top, dh, kh, eh, includePad);
        for (let k = 0, run = 0; k < ow; k += run) {
          const left = k * sw - pw;
          const q0 = firstTap(left, dw);
          const taps = endTap(left, dw, W, kw) - q0;
          const divisor = <f32>(plane * counted(left, dw, kw, ew, includePad));
          run = runOf(left, sw, (kw - 1) * dw, W, ow - k);
          for (let o = o0; o < o1; o++) {
            const at = ((front + o * dd) * H + top + p0 * dh) * W + left + q0 * dw;
            averageRun(o == o0, o == o1 - 1 ? divisor : 0, run, x + <usize>at * 4, rows, <usize>(dh * W) * 4,
              taps, <usize>dw * 4, <usize>sw * 4, y);
          }
          y += <usize>run * 4;
        }
      }
    }
    x += <usize>(D * H * W) * 4;
  }
}

/** averageRun the other way round: each window's dy / divisor is added to its elements, from p on. */
@inline
function spread(
  divisor: f32, count: i32, p: usize, rows: i32, rowStep: usize, taps: i32, tapStep: usize, stride: usize, dy: usize,
): void {
  for (; count > 0; count--) {
    const share = load<f32>(dy) / divisor;
    let row = p;
    for (let i = rows; i > 0; i--) {
      let d = row;
      for (let q = taps; q > 0; q--) {
        store<f32>(d, load<f32>(d) + share);
        d += tapStep;
      }
      row += rowStep;
    }
    p += stride;
    dy += 4;
  }
}

/** A step known to be 4 lets the engine unroll the short inner loop. */
function spreadRun(
  divisor: f32, count: i32, p: usize, rows: i32, rowStep: usize, taps: i32, tapStep: usize, stride: usize, dy: usize,
): void {
  if (tapStep == 4) spread(divisor, count, p, rows, rowStep, taps, 4, stride, dy);
  else spread(divisor, count, p, rows, rowStep, taps, tapStep, stride, dy);
}

/** dx = 0, then each output's share is added in row-major order of the output. */
export function avgPoolGrad(
  NC: i32, D: i32, H: i32, W: i32, kd: i32, kh: i32, kw: i32, sd: i32, sh: i32, sw: i32, pd: i32, ph: i32, pw: i32,
  dd: i32, dh: i32, dw: i32, od: i32, oh: i32, ow: i32, ed: i32, eh: i32, ew: i32, includePad: i32, dy: usize, dx: usize,
): void {
  const volume = <usize>(D * H * W) * 4;
  memory.fill(dx, 0, <usize>NC * volume);
  for (; NC > 0; NC--) {
    for (let i = 0; i < od; i++) {
      const front = i * sd - pd;
      const o0 = firstTap(front, dd);
      const o1 = endTap(front, dd, D, kd);
      const slices = counted(front, dd, kd, ed, includePad);
      for (let j = 0; j < oh; j++) {
        const top = j * sh - ph;
        const p0 = firstTap(top, dh);
        const rows = endTap(top, dh, H, kh) - p0;
        const plane = slices * counted(top, dh, kh, eh, includePad);
        for (let k = 0, run = 0; k < ow; k += run) {
          const left = k * sw - pw;
          const q0 = firstTap(left, dw);
          const taps = endTap(left, dw, W, kw) - q0;
          const divisor = <f32>(plane * counted(left, dw, kw, ew, includePad));
          run = runOf(left, sw, (kw - 1) * dw, W, ow - k);
          for (let o = o0; o < o1; o++) {
            const at = ((front + o * dd) * H + top + p0 * dh) * W + left + q0 * dw;
            spreadRun(divisor, run, dx + <usize>at * 4, rows, <usize>(dh * W) * 4, taps, <usize>dw * 4, <usize>sw * 4, dy);
          }
          dy += <usize>run * 4;
        }
      }
    }
    dx += volume;
  }
}

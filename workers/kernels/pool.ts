// Maximum pooling, over volumes and windows as in windows.ts. Small planes go four at once, in frames (planes.ts); windows that
// overlap from row to row of larger ones go along rows and then across (poolLines.ts); of what is left
// the part of a window inside the volume is a box of taps. Windows that follow each other along a row and lose no tap to
// the padding have equal boxes, so a row of outputs is one run of these and single windows before and behind it. A helper
// does a run against one slice of the boxes: it knows nothing of edges, and its few values fit the registers.
import { everySecond, fillRow, gather4 } from './lanes';
import { toLane, unweave } from './planes';
import { areLines, isBetter, maxLines } from './poolLines';
import { areSquares, endTap, firstTap, framed, frameElements, isAlone, PENDING, runOf, weaveVolume } from './windows';

/** Four elements of x `stride` elements apart, the first at k; nothing behind the fourth is read. */
@inline
function everyStride(x: usize, k: i32, stride: i32): v128 {
  const p = x + <usize>k * 4;
  if (stride == 1) return v128.load(p);
  if (stride == 2) return everySecond(p);
  return gather4(p, <usize>stride * 4, 4);
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
  let better = isBetter(true, v, best);
  best = v128.bitselect(v, best, better);
  let place = v128.bitselect(i32x4.add(first, i32x4.splat(1)), first, better);
  v = v128.shuffle<f32>(under, beyond, 0, 2, 4, 6);
  better = isBetter(true, v, best);
  best = v128.bitselect(v, best, better);
  place = v128.bitselect(i32x4.add(first, i32x4.splat(rowStep)), place, better);
  v = v128.shuffle<f32>(under, beyond, 1, 3, 5, 7);
  better = isBetter(true, v, best);
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
      const better = isBetter(true, v, best);
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

/** maxPool of planes too large for a frame, with a NaN in it, or by themselves: a row of outputs after the other. */
function maxRows(
  NC: i32, D: i32, H: i32, W: i32, kd: i32, kh: i32, kw: i32, sd: i32, sh: i32, sw: i32, pd: i32, ph: i32, pw: i32,
  dd: i32, dh: i32, dw: i32, od: i32, oh: i32, ow: i32, x: usize, y: usize, idx: usize,
): void {
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

/** Whether any of n vectors holds a NaN. */
@inline
function holdsNaN(n: i32, x: usize): bool {
  let found = i32x4.splat(0);
  for (; n > 0; n--) {
    const v = v128.load(x);
    found = v128.or(found, f32x4.ne(v, v));
    x += 16;
  }
  return v128.any_true(found);
}

/**
 * maxPool of up to four planes whose frame, at `frame`, holds −∞ around them: then every window has all its taps, and none of
 * the padding wins over the first cell that is none. No NaN. `pending`: four outputs, and behind them their places.
 */
@inline
function maxFrame(
  left: i32, H: i32, W: i32, fh: i32, fw: i32, kd: i32, kh: i32, kw: i32, sd: i32, sh: i32, sw: i32,
  pd: i32, ph: i32, pw: i32, dd: i32, dh: i32, dw: i32, od: i32, oh: i32, ow: i32,
  frame: usize, pending: usize, y: usize, idx: usize,
): void {
  const plane = <usize>(od * oh * ow) * 4;
  const one = toLane(1, left, plane);
  const two = toLane(2, left, plane);
  const three = toLane(3, left, plane);
  const tap = <usize>dw * 16;
  const row = <usize>(dh * fw) * 16;
  const slice = <usize>(dd * fh * fw) * 16;
  let slot: usize = 0;
  for (let i = 0; i < od; i++) {
    const front = i * sd - pd;
    for (let j = 0; j < oh; j++) {
      const top = j * sh - ph;
      const begin = (front * H + top) * W;
      const before = (firstTap(front, dd) * dd * H + firstTap(top, dh) * dh) * W;
      let window = frame + <usize>((i * sd * fh + j * sh) * fw) * 16;
      for (let k = 0; k < ow; k++) {
        const first = k * sw - pw;
        let best = f32x4.splat(-Infinity);
        let place = i32x4.splat(begin + before + first + firstTap(first, dw) * dw);
        let from = window;
        let at = begin + first;
        for (let o = kd; o > 0; o--) {
          let line = from;
          let to = at;
          for (let p = kh; p > 0; p--) {
            let s = line;
            let here = i32x4.splat(to);
            for (let q = kw; q > 0; q--) {
              const v = v128.load(s);
              place = v128.bitselect(here, place, f32x4.lt(best, v));
              best = f32x4.pmax(best, v);
              here = i32x4.add(here, i32x4.splat(dw));
              s += tap;
            }
            line += row;
            to += dh * W;
          }
          from += slice;
          at += dd * H * W;
        }
        window += <usize>sw * 16;
        v128.store(pending + slot, best);
        v128.store(pending + slot, place, 64);
        slot += 16;
        if (slot == 64) {
          unweave(4, pending, y, y + one, y + two, y + three);
          unweave(4, pending + 64, idx, idx + one, idx + two, idx + three);
          y += 16;
          idx += 16;
          slot = 0;
        }
      }
    }
  }
  unweave(<i32>(slot >> 4), pending, y, y + one, y + two, y + three);
  unweave(<i32>(slot >> 4), pending + 64, idx, idx + one, idx + two, idx + three);
}

/** maxPool in frames of n elements. */
function maxPlanes(
  n: i32, NC: i32, D: i32, H: i32, W: i32, kd: i32, kh: i32, kw: i32, sd: i32, sh: i32, sw: i32, pd: i32, ph: i32, pw: i32,
  dd: i32, dh: i32, dw: i32, od: i32, oh: i32, ow: i32, x: usize, y: usize, idx: usize, ws: usize,
): void {
  const fh = <i32>framed(H, ph, oh, sh, kh, dh);
  const fw = <i32>framed(W, pw, ow, sw, kw, dw);
  const frame = ws + PENDING;
  const inside = frame + <usize>((pd * fh + ph) * fw + pw) * 16;
  const plane = <usize>(D * H * W) * 4;
  const pooled = <usize>(od * oh * ow) * 4;
  fillRow(4 * n, f32x4.splat(-Infinity), frame);
  for (; NC > 0; NC -= 4) {
    const left = min(NC, 4);
    const byRows = isAlone(left, ow);
    if (!byRows) weaveVolume(left, D, H, W, fh, fw, x, inside);
    if (byRows || holdsNaN(n, frame)) maxRows(left, D, H, W, kd, kh, kw, sd, sh, sw, pd, ph, pw, dd, dh, dw, od, oh, ow, x, y, idx);
    else maxFrame(left, H, W, fh, fw, kd, kh, kw, sd, sh, sw, pd, ph, pw, dd, dh, dw, od, oh, ow, frame, ws, y, idx);
    x += 4 * plane;
    y += 4 * pooled;
    idx += 4 * pooled;
  }
}

/**
 * idx = (d·H + h)·W + w of the first maximum in row-major order; the first NaN wins over all. Padding never wins, and every
 * window must hold an element of the input. Workspace: `poolWorkspace`.
 */
export function maxPool(
  NC: i32, D: i32, H: i32, W: i32, kd: i32, kh: i32, kw: i32, sd: i32, sh: i32, sw: i32, pd: i32, ph: i32, pw: i32,
  dd: i32, dh: i32, dw: i32, od: i32, oh: i32, ow: i32, x: usize, y: usize, idx: usize, ws: usize,
): void {
  if (areSquares(D, H, W, kd, kh, kw, sd, sh, sw, pd, ph, pw, dh, dw, od, oh, ow)) {
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
  if (areLines(D, kd, kh, kw, sd, sh, sw, pd, dh, dw, od, ow)) {
    maxLines(NC, D, H, W, kh, kw, sh, sw, ph, pw, oh, ow, x, y, idx, ws);
    return;
  }
  const n = frameElements(D, H, W, kd, kh, kw, sd, sh, sw, pd, ph, pw, dd, dh, dw, od, oh, ow);
  if (n == 0) maxRows(NC, D, H, W, kd, kh, kw, sd, sh, sw, pd, ph, pw, dd, dh, dw, od, oh, ow, x, y, idx);
  else maxPlanes(n, NC, D, H, W, kd, kh, kw, sd, sh, sw, pd, ph, pw, dd, dh, dw, od, oh, ow, x, y, idx, ws);
}

/** dx[idx] += dy of one output; a plane of `inside` elements. */
@inline
function addAt(inside: i32, dy: usize, idx: usize, dx: usize): void {
  const at = load<i32>(idx);
  if (<u32>at >= <u32>inside) unreachable();
  const p = dx + <usize>at * 4;
  store<f32>(p, load<f32>(p) + load<f32>(dy));
}

/** dx = 0, then dx[idx] += dy in row-major order of the output; planes of `inside` and `outside` elements. */
export function maxPoolGrad(NC: i32, inside: i32, outside: i32, dy: usize, idx: usize, dx: usize): void {
  const plane = <usize>inside * 4;
  const pooled = <usize>outside * 4;
  memory.fill(dx, 0, <usize>NC * plane);
  // Windows that overlap often have one maximum: four planes in turn, so that a sum does not wait for the one before. Planes of a
  // page would have the processor take equal places of two for one.
  const inTurn = inside < 1024;
  for (; inTurn && NC >= 4; NC -= 4) {
    for (let k = outside; k > 0; k--) {
      addAt(inside, dy, idx, dx);
      addAt(inside, dy + pooled, idx + pooled, dx + plane);
      addAt(inside, dy + 2 * pooled, idx + 2 * pooled, dx + 2 * plane);
      addAt(inside, dy + 3 * pooled, idx + 3 * pooled, dx + 3 * plane);
      dy += 4;
      idx += 4;
    }
    dy += 3 * pooled;
    idx += 3 * pooled;
    dx += 4 * plane;
  }
  for (; NC > 0; NC--) {
    for (let k = outside; k > 0; k--) {
      addAt(inside, dy, idx, dx);
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

// Mean pooling and its transpose, over volumes and windows as in windows.ts; small planes four at once, large ones row by row, as
// in pool.ts. Both add in the same order: what a frame holds around a plane adds +0 to sums that begin as +0.
import { fillRow, gather4 } from './lanes';
import { toLane, unweave, weave } from './planes';
import { endTap, firstTap, framed, frameElements, isAlone, PENDING, runOf, unweaveVolume, weaveVolume } from './windows';

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

/** avgPool of planes too large for a frame, or by themselves. */
function averageRows(
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

/** avgPool of up to four planes in a frame of zeros; `pending`: four outputs. */
@inline
function averageFrame(
  left: i32, fh: i32, fw: i32, kd: i32, kh: i32, kw: i32, sd: i32, sh: i32, sw: i32, pd: i32, ph: i32, pw: i32,
  dd: i32, dh: i32, dw: i32, od: i32, oh: i32, ow: i32, ed: i32, eh: i32, ew: i32, includePad: i32,
  frame: usize, pending: usize, y: usize,
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
    const slices = counted(i * sd - pd, dd, kd, ed, includePad);
    for (let j = 0; j < oh; j++) {
      const area = slices * counted(j * sh - ph, dh, kh, eh, includePad);
      let window = frame + <usize>((i * sd * fh + j * sh) * fw) * 16;
      for (let k = 0; k < ow; k++) {
        let sum = f32x4.splat(0);
        let from = window;
        for (let o = kd; o > 0; o--) {
          let line = from;
          for (let p = kh; p > 0; p--) {
            let s = line;
            for (let q = kw; q > 0; q--) {
              sum = f32x4.add(sum, v128.load(s));
              s += tap;
            }
            line += row;
          }
          from += slice;
        }
        window += <usize>sw * 16;
        const divisor = <f32>(area * counted(k * sw - pw, dw, kw, ew, includePad));
        v128.store(pending + slot, f32x4.div(sum, f32x4.splat(divisor)));
        slot += 16;
        if (slot == 64) {
          unweave(4, pending, y, y + one, y + two, y + three);
          y += 16;
          slot = 0;
        }
      }
    }
  }
  unweave(<i32>(slot >> 4), pending, y, y + one, y + two, y + three);
}

/** avgPool in frames of n elements. */
function averagePlanes(
  n: i32, NC: i32, D: i32, H: i32, W: i32, kd: i32, kh: i32, kw: i32, sd: i32, sh: i32, sw: i32, pd: i32, ph: i32, pw: i32,
  dd: i32, dh: i32, dw: i32, od: i32, oh: i32, ow: i32, ed: i32, eh: i32, ew: i32, includePad: i32,
  x: usize, y: usize, ws: usize,
): void {
  const fh = <i32>framed(H, ph, oh, sh, kh, dh);
  const fw = <i32>framed(W, pw, ow, sw, kw, dw);
  const frame = ws + PENDING;
  const inside = frame + <usize>((pd * fh + ph) * fw + pw) * 16;
  const plane = <usize>(D * H * W) * 4;
  fillRow(4 * n, f32x4.splat(0), frame);
  for (; NC > 0; NC -= 4) {
    const left = min(NC, 4);
    if (isAlone(left, ow)) {
      averageRows(1, D, H, W, kd, kh, kw, sd, sh, sw, pd, ph, pw, dd, dh, dw, od, oh, ow, ed, eh, ew, includePad, x, y);
      return;
    }
    weaveVolume(left, D, H, W, fh, fw, x, inside);
    averageFrame(left, fh, fw, kd, kh, kw, sd, sh, sw, pd, ph, pw, dd, dh, dw, od, oh, ow, ed, eh, ew, includePad, frame, ws, y);
    x += 4 * plane;
    y += <usize>(od * oh * ow) * 16;
  }
}

/**
 * y = sum of each window, in row-major order, divided by the number of taps that count. ed, eh, ew: where the counting of
 * taps ends along each axis, its size or (includePad) its size and the padding behind it. Workspace: `poolWorkspace`.
 */
export function avgPool(
  NC: i32, D: i32, H: i32, W: i32, kd: i32, kh: i32, kw: i32, sd: i32, sh: i32, sw: i32, pd: i32, ph: i32, pw: i32,
  dd: i32, dh: i32, dw: i32, od: i32, oh: i32, ow: i32, ed: i32, eh: i32, ew: i32, includePad: i32,
  x: usize, y: usize, ws: usize,
): void {
  const n = frameElements(D, H, W, kd, kh, kw, sd, sh, sw, pd, ph, pw, dd, dh, dw, od, oh, ow);
  if (n == 0) averageRows(NC, D, H, W, kd, kh, kw, sd, sh, sw, pd, ph, pw, dd, dh, dw, od, oh, ow, ed, eh, ew, includePad, x, y);
  else averagePlanes(n, NC, D, H, W, kd, kh, kw, sd, sh, sw, pd, ph, pw, dd, dh, dw, od, oh, ow, ed, eh, ew, includePad, x, y, ws);
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

/** avgPoolGrad of planes too large for a frame. */
function spreadRows(
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

/** avgPoolGrad of up to four planes into a frame of zeros; `pending`: four outputs' dy. */
@inline
function spreadFrame(
  left: i32, fh: i32, fw: i32, kd: i32, kh: i32, kw: i32, sd: i32, sh: i32, sw: i32, pd: i32, ph: i32, pw: i32,
  dd: i32, dh: i32, dw: i32, od: i32, oh: i32, ow: i32, ed: i32, eh: i32, ew: i32, includePad: i32,
  frame: usize, pending: usize, dy: usize,
): void {
  const plane = <usize>(od * oh * ow) * 4;
  const one = toLane(1, left, plane);
  const two = toLane(2, left, plane);
  const three = toLane(3, left, plane);
  const tap = <usize>dw * 16;
  const row = <usize>(dh * fw) * 16;
  const slice = <usize>(dd * fh * fw) * 16;
  let rest = od * oh * ow;
  let slot: usize = 64;
  for (let i = 0; i < od; i++) {
    const slices = counted(i * sd - pd, dd, kd, ed, includePad);
    for (let j = 0; j < oh; j++) {
      const area = slices * counted(j * sh - ph, dh, kh, eh, includePad);
      let window = frame + <usize>((i * sd * fh + j * sh) * fw) * 16;
      for (let k = 0; k < ow; k++) {
        if (slot == 64) {
          weave(min(rest, 4), dy, dy + one, dy + two, dy + three, pending);
          dy += 16;
          rest -= 4;
          slot = 0;
        }
        const divisor = <f32>(area * counted(k * sw - pw, dw, kw, ew, includePad));
        const share = f32x4.div(v128.load(pending + slot), f32x4.splat(divisor));
        slot += 16;
        let to = window;
        for (let o = kd; o > 0; o--) {
          let line = to;
          for (let p = kh; p > 0; p--) {
            let d = line;
            for (let q = kw; q > 0; q--) {
              v128.store(d, f32x4.add(v128.load(d), share));
              d += tap;
            }
            line += row;
          }
          to += slice;
        }
        window += <usize>sw * 16;
      }
    }
  }
}

/** avgPoolGrad in frames of n elements. */
function spreadPlanes(
  n: i32, NC: i32, D: i32, H: i32, W: i32, kd: i32, kh: i32, kw: i32, sd: i32, sh: i32, sw: i32, pd: i32, ph: i32, pw: i32,
  dd: i32, dh: i32, dw: i32, od: i32, oh: i32, ow: i32, ed: i32, eh: i32, ew: i32, includePad: i32,
  dy: usize, dx: usize, ws: usize,
): void {
  const fh = <i32>framed(H, ph, oh, sh, kh, dh);
  const fw = <i32>framed(W, pw, ow, sw, kw, dw);
  const frame = ws + PENDING;
  const inside = frame + <usize>((pd * fh + ph) * fw + pw) * 16;
  const plane = <usize>(D * H * W) * 4;
  for (; NC > 0; NC -= 4) {
    const left = min(NC, 4);
    fillRow(4 * n, f32x4.splat(0), frame);
    spreadFrame(left, fh, fw, kd, kh, kw, sd, sh, sw, pd, ph, pw, dd, dh, dw, od, oh, ow, ed, eh, ew, includePad, frame, ws, dy);
    unweaveVolume(left, D, H, W, fh, fw, inside, dx);
    dy += <usize>(od * oh * ow) * 16;
    dx += 4 * plane;
  }
}

/** dx = 0, then each output's share is added in row-major order of the output. Workspace: `poolWorkspace`. */
export function avgPoolGrad(
  NC: i32, D: i32, H: i32, W: i32, kd: i32, kh: i32, kw: i32, sd: i32, sh: i32, sw: i32, pd: i32, ph: i32, pw: i32,
  dd: i32, dh: i32, dw: i32, od: i32, oh: i32, ow: i32, ed: i32, eh: i32, ew: i32, includePad: i32,
  dy: usize, dx: usize, ws: usize,
): void {
  const n = frameElements(D, H, W, kd, kh, kw, sd, sh, sw, pd, ph, pw, dd, dh, dw, od, oh, ow);
  if (n == 0) spreadRows(NC, D, H, W, kd, kh, kw, sd, sh, sw, pd, ph, pw, dd, dh, dw, od, oh, ow, ed, eh, ew, includePad, dy, dx);
  else spreadPlanes(n, NC, D, H, W, kd, kh, kw, sd, sh, sw, pd, ph, pw, dd, dh, dw, od, oh, ow, ed, eh, ew, includePad, dy, dx, ws);
}

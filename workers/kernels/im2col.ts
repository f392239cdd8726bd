// Windows of a volume as columns of a matrix and back:
// cols[(c, p, q, r), (i, j, k)] = x[c, i·sd − pd + p·dd, j·sh − ph + q·dh, k·sw − pw + r·dw], 0 outside the volume.
import { accumulate } from './elementwise';
import { copyRow, everySecond, fillRow, gather4 } from './lanes';

/** First output position whose input position (pos·stride + offset) is ≥ 0, at most `count`. */
@inline
export function firstInside(offset: i32, stride: i32, count: i32): i32 {
  return offset >= 0 ? 0 : min(count, (stride - 1 - offset) / stride);
}

/** One past the last output position whose input position is < size, at least `from`. */
@inline
export function endInside(offset: i32, stride: i32, size: i32, count: i32, from: i32): i32 {
  return offset >= size ? from : max(from, min(count, (size - 1 - offset) / stride + 1));
}

/** Rows no longer than this are copied in strips down the image: a loop over rows costs more than what such a row holds. */
const SHORT = 32;

/** Four elements `stride` elements apart; nothing behind the fourth is read. */
@inline
export function four(stride: i32, s: usize): v128 {
  if (stride == 1) return v128.load(s);
  if (stride == 2) return everySecond(s);
  return gather4(s, <usize>stride * 4, 4);
}

/** A strip of `vectors` times four elements of each row. */
@inline
function copyStrip(vectors: i32, stride: i32, rows: i32, s: usize, sStep: usize, d: usize, dStep: usize): void {
  const next = <usize>stride * 16;
  for (; rows > 0; rows--) {
    v128.store(d, four(stride, s));
    if (vectors > 1) v128.store(d, four(stride, s + next), 16);
    if (vectors > 2) {
      v128.store(d, four(stride, s + 2 * next), 32);
      v128.store(d, four(stride, s + 3 * next), 48);
    }
    s += sStep;
    d += dStep;
  }
}

/** n elements `stride` apart of each row, side by side. */
@inline
function copyStrips(n: i32, stride: i32, rows: i32, s: usize, sStep: usize, d: usize, dStep: usize): void {
  const element = <usize>stride * 4;
  if (n < 4) {
    for (; n > 0; n--) {
      let from = s;
      let to = d;
      for (let i = rows; i > 0; i--) {
        store<f32>(to, load<f32>(from));
        from += sStep;
        to += dStep;
      }
      s += element;
      d += 4;
    }
    return;
  }
  for (; n >= 16; n -= 16) {
    copyStrip(4, stride, rows, s, sStep, d, dStep);
    s += 16 * element;
    d += 64;
  }
  if (n >= 8) {
    copyStrip(2, stride, rows, s, sStep, d, dStep);
    n -= 8;
    s += 8 * element;
    d += 32;
  }
  if (n >= 4) {
    copyStrip(1, stride, rows, s, sStep, d, dStep);
    n -= 4;
    s += 4 * element;
    d += 16;
  }
  if (n > 0) {
    // The last four once more.
    const back = <usize>(4 - n);
    copyStrip(1, stride, rows, s - back * element, sStep, d - 4 * back, dStep);
  }
}

/** `count` zeros in each row. */
@inline
function zeroStrips(count: i32, rows: i32, d: usize, dStep: usize): void {
  for (; count > 0; count--) {
    let to = d;
    for (let i = rows; i > 0; i--) {
      store<f32>(to, 0);
      to += dStep;
    }
    d += 4;
  }
}

/** `rows` rows of columns: zeros before `from` and from `to` on, between them elements of x from s on. */
function copyRows(
  rows: i32, ow: i32, from: i32, to: i32, stride: i32, s: usize, sStep: usize, d: usize,
): void {
  const dStep = <usize>ow * 4;
  const n = to - from;
  if (ow <= SHORT) {
    zeroStrips(from, rows, d, dStep);
    zeroStrips(ow - to, rows, d + <usize>to * 4, dStep);
    const inside = d + <usize>from * 4;
    if (stride == 1) copyStrips(n, 1, rows, s, sStep, inside, dStep);
    else if (stride == 2) copyStrips(n, 2, rows, s, sStep, inside, dStep);
    else copyStrips(n, stride, rows, s, sStep, inside, dStep);
    return;
  }
  const zero = f32x4.splat(0);
  for (; rows > 0; rows--) {
    fillRow(from, zero, d);
    d += <usize>from * 4;
    if (stride == 1) {
      copyRow(n, s, d);
      d += <usize>n * 4;
    } else {
      let at = s;
      for (let k = n; k > 0; k--) {
        store<f32>(d, load<f32>(at));
        d += 4;
        at += <usize>stride * 4;
      }
    }
    fillRow(ow - to, zero, d);
    d += <usize>(ow - to) * 4;
    s += sStep;
  }
}

export function columns(
  C: i32, D: i32, H: i32, W: i32, kd: i32, kh: i32, kw: i32, sd: i32, sh: i32, sw: i32, pd: i32, ph: i32, pw: i32,
  dd: i32, dh: i32, dw: i32, od: i32, oh: i32, ow: i32, x: usize, cols: usize,
): void {
  const zero = f32x4.splat(0);
  const step = <usize>(sh * W) * 4;
  for (; C > 0; C--) {
    for (let p = 0; p < kd; p++) {
      for (let q = 0; q < kh; q++) {
        const above = q * dh - ph;
        const top = firstInside(above, sh, oh);
        const bottom = endInside(above, sh, H, oh, top);
        for (let r = 0; r < kw; r++) {
          const offset = r * dw - pw;
          const from = firstInside(offset, sw, ow);
          const to = endInside(offset, sw, W, ow, from);
          for (let i = 0; i < od; i++) {
            const slice = i * sd - pd + p * dd;
            if (<u32>slice >= <u32>D) {
              fillRow(oh * ow, zero, cols);
            } else {
              fillRow(top * ow, zero, cols);
              const s = x + <usize>((slice * H + top * sh + above) * W + from * sw + offset) * 4;
              copyRows(bottom - top, ow, from, to, sw, s, step, cols + <usize>(top * ow) * 4);
              fillRow((oh - bottom) * ow, zero, cols + <usize>(bottom * ow) * 4);
            }
            cols += <usize>(oh * ow) * 4;
          }
        }
      }
    }
    x += <usize>(D * H * W) * 4;
  }
}

/** A strip of `vectors` times four elements of each row; of those to add, `kept` says where they are not −0. */
@inline
function addStrip(vectors: i32, whole: bool, kept: v128, rows: i32, s: usize, sStep: usize, d: usize, dStep: usize): void {
  for (; rows > 0; rows--) {
    const v = v128.load(s);
    v128.store(d, f32x4.add(v128.load(d), whole ? v : v128.bitselect(v, f32x4.splat(-0.0), kept)));
    if (vectors > 1) v128.store(d, f32x4.add(v128.load(d, 16), v128.load(s, 16)), 16);
    if (vectors > 2) {
      v128.store(d, f32x4.add(v128.load(d, 32), v128.load(s, 32)), 32);
      v128.store(d, f32x4.add(v128.load(d, 48), v128.load(s, 48)), 48);
    }
    s += sStep;
    d += dStep;
  }
}

/** A strip of four elements of each row, added to every second one; those between get −0, and so stay. */
@inline
function addStripApart(rows: i32, s: usize, sStep: usize, d: usize, dStep: usize): void {
  const none = f32x4.splat(-0.0);
  for (; rows > 0; rows--) {
    const v = v128.load(s);
    // Nothing behind the seventh is touched; the fourth lies in both vectors.
    const low = f32x4.add(v128.load(d), v128.shuffle<f32>(v, none, 0, 4, 1, 5));
    const high = f32x4.add(v128.load(d, 12), v128.shuffle<f32>(v, none, 4, 2, 5, 3));
    v128.store(d, low);
    v128.store(d, high, 12);
    s += sStep;
    d += dStep;
  }
}

/** Adds n elements of each row to elements `stride` apart. */
@inline
function addStrips(n: i32, stride: i32, rows: i32, s: usize, sStep: usize, d: usize, dStep: usize): void {
  if (n < 4 || stride != 1) {
    if (stride == 2) {
      for (; n >= 4; n -= 4) {
        addStripApart(rows, s, sStep, d, dStep);
        s += 16;
        d += 32;
      }
    }
    for (; n > 0; n--) {
      let from = s;
      let to = d;
      for (let i = rows; i > 0; i--) {
        store<f32>(to, load<f32>(to) + load<f32>(from));
        from += sStep;
        to += dStep;
      }
      s += 4;
      d += <usize>stride * 4;
    }
    return;
  }
  const none = f32x4.splat(0);
  for (; n >= 16; n -= 16) {
    addStrip(4, true, none, rows, s, sStep, d, dStep);
    s += 64;
    d += 64;
  }
  if (n >= 8) {
    addStrip(2, true, none, rows, s, sStep, d, dStep);
    n -= 8;
    s += 32;
    d += 32;
  }
  if (n >= 4) {
    addStrip(1, true, none, rows, s, sStep, d, dStep);
    n -= 4;
    s += 16;
    d += 16;
  }
  if (n > 0) {
    // The last four once more, but −0 to what has been added to: x + −0 is x, whatever x is.
    const back = <usize>(4 - n) * 4;
    const kept = i32x4.gt_s(i32x4(0, 1, 2, 3), i32x4.splat(3 - n));
    addStrip(1, false, kept, rows, s - back, sStep, d - back, dStep);
  }
}

/** What copyRows does, the other way round: n elements of each row of columns, from s on, are added to x, from d on. */
function addRows(rows: i32, ow: i32, n: i32, stride: i32, s: usize, d: usize, dStep: usize): void {
  const sStep = <usize>ow * 4;
  if (ow <= SHORT || stride == 2) {
    if (stride == 1) addStrips(n, 1, rows, s, sStep, d, dStep);
    else if (stride == 2) addStrips(n, 2, rows, s, sStep, d, dStep);
    else addStrips(n, stride, rows, s, sStep, d, dStep);
    return;
  }
  for (; rows > 0; rows--) {
    if (stride == 1) {
      accumulate(n, d, s);
    } else {
      let from = s;
      let to = d;
      for (let k = n; k > 0; k--) {
        store<f32>(to, load<f32>(to) + load<f32>(from));
        from += 4;
        to += <usize>stride * 4;
      }
    }
    s += sStep;
    d += dStep;
  }
}

/** x += the columns, in row-major order of cols. */
export function fromColumns(
  C: i32, D: i32, H: i32, W: i32, kd: i32, kh: i32, kw: i32, sd: i32, sh: i32, sw: i32, pd: i32, ph: i32, pw: i32,
  dd: i32, dh: i32, dw: i32, od: i32, oh: i32, ow: i32, cols: usize, x: usize,
): void {
  const step = <usize>(sh * W) * 4;
  for (; C > 0; C--) {
    for (let p = 0; p < kd; p++) {
      for (let q = 0; q < kh; q++) {
        const above = q * dh - ph;
        const top = firstInside(above, sh, oh);
        const bottom = endInside(above, sh, H, oh, top);
        for (let r = 0; r < kw; r++) {
          const offset = r * dw - pw;
          const from = firstInside(offset, sw, ow);
          const to = endInside(offset, sw, W, ow, from);
          for (let i = 0; i < od; i++) {
            const slice = i * sd - pd + p * dd;
            if (<u32>slice < <u32>D) {
              const d = x + <usize>((slice * H + top * sh + above) * W + from * sw + offset) * 4;
              addRows(bottom - top, ow, to - from, sw, cols + <usize>(top * ow + from) * 4, d, step);
            }
            cols += <usize>(oh * ow) * 4;
          }
        }
      }
    }
    x += <usize>(D * H * W) * 4;
  }
}

/** y += v for n elements: a channel's bias. */
export function addIntoRow(n: i32, y: usize, v: f32): void {
  const s = f32x4.splat(v);
  for (; n >= 4; n -= 4) {
    v128.store(y, f32x4.add(v128.load(y), s));
    y += 16;
  }
  for (; n > 0; n--) {
    store<f32>(y, load<f32>(y) + v);
    y += 4;
  }
}

/**
 * Windows along the last axis alone, of samples `step` elements apart side by side: out[(h, c, r), (n, k)] =
 * x[n, c, h, k·sw − pw + r·dw]. The rows of (h, c, r) from h on are those of all windows that begin at h.
 */
export function widths(
  N: i32, step: i32, C: i32, H: i32, W: i32, kw: i32, sw: i32, pw: i32, dw: i32, ow: i32, x: usize, out: usize,
): void {
  for (let h = 0; h < H; h++) {
    for (let c = 0; c < C; c++) {
      for (let r = 0; r < kw; r++) {
        const offset = r * dw - pw;
        const from = firstInside(offset, sw, ow);
        const to = endInside(offset, sw, W, ow, from);
        const s = x + <usize>((c * H + h) * W + from * sw + offset) * 4;
        copyRows(N, ow, from, to, sw, s, <usize>step * 4, out);
        out += <usize>(N * ow) * 4;
      }
    }
  }
}

/** x += what `widths` made of it, in ascending order of r. */
export function fromWidths(
  N: i32, step: i32, C: i32, H: i32, W: i32, kw: i32, sw: i32, pw: i32, dw: i32, ow: i32, rows: usize, x: usize,
): void {
  for (let h = 0; h < H; h++) {
    for (let c = 0; c < C; c++) {
      for (let r = 0; r < kw; r++) {
        const offset = r * dw - pw;
        const from = firstInside(offset, sw, ow);
        const to = endInside(offset, sw, W, ow, from);
        const d = x + <usize>((c * H + h) * W + from * sw + offset) * 4;
        addRows(N, ow, to - from, sw, rows + <usize>from * 4, d, <usize>step * 4);
        rows += <usize>(N * ow) * 4;
      }
    }
  }
}

// Maximum pooling of windows that overlap from row to row: first along each row of the plane, once for all windows that
// hold it, then across these. The first of equal elements of a row and then of equal rows is the first in row-major order, and
// so is the first NaN: results and places are those of the windows one by one.
import { everySecond, fillRow, loadTail, storeTail } from './lanes';

/**
 * Where v is to take best's place: not v ≤ best (larger, or one of them NaN), and no NaN in best. Unless `aware` there is no
 * NaN.
 */
@inline
export function isBetter(aware: bool, v: v128, best: v128): v128 {
  return aware ? v128.andnot(f32x4.eq(best, best), f32x4.le(v, best)) : f32x4.lt(best, v);
}

@inline
function better(aware: bool, v: v128, best: v128, where: v128): v128 {
  return aware ? v128.bitselect(v, best, where) : f32x4.pmax(best, v);
}

/** Shorter rows of outputs go by frames of four planes. */
const LEAST_ROW = 8;
/** These keep a workspace below 600 KB, but for kernels of many thousand columns. */
const LONGEST_ROW = 4096;
const TALLEST = 16;

/** Windows over single slices that overlap from row to row. */
@inline
export function areLines(
  D: i32, kd: i32, kh: i32, kw: i32, sd: i32, sh: i32, sw: i32, pd: i32, dh: i32, dw: i32, od: i32, ow: i32,
): bool {
  const flat = (kd | sd) == 1 && pd == 0 && od == D;
  return flat && (dh | dw) == 1 && kh > sh && kh <= TALLEST && kw > 1 && sw <= 2 && ow >= LEAST_ROW && ow <= LONGEST_ROW;
}

/** Outputs of a row, in whole vectors. */
@inline
function wholeRow(ow: i32): i32 {
  return (ow + 3) & ~3;
}

/** Elements of a row of the plane with what windows reach on both sides, in whole vectors. */
@inline
function lineElements(kw: i32, sw: i32, ow: i32): i32 {
  return wholeRow((wholeRow(ow) - 1) * sw + kw);
}

/** [a row between −∞][of kh rows: four maxima, their four places, …]. */
@inline
export function linesWorkspace(kh: i32, kw: i32, sw: i32, ow: i32): i32 {
  return 4 * lineElements(kw, sw, ow) + 8 * kh * wholeRow(ow);
}

/** Tap q of four windows side by side, the first one's at p. */
@inline
function tapOf(sw: i32, p: usize): v128 {
  return sw == 1 ? v128.load(p) : everySecond(p);
}

/**
 * Maxima along `line` and their places, the first window's first tap being element `first`. A row of nothing but −∞ has its
 * first cell for a place, at `begin`, and none of the padding's.
 */
@inline
function alongTaps(aware: bool, kw: i32, sw: i32, ow: i32, first: i32, begin: i32, line: usize, to: usize): void {
  let here = i32x4.add(i32x4.splat(first), i32x4.mul(i32x4(0, 1, 2, 3), i32x4.splat(sw)));
  const floor = i32x4.splat(begin);
  const step = i32x4.splat(4 * sw);
  do {
    let best = tapOf(sw, line);
    let v = tapOf(sw, line + 4);
    let where = isBetter(aware, v, best);
    best = better(aware, v, best, where);
    let tap = v128.and(where, i32x4.splat(1));
    for (let q = 2; q < kw; q++) {
      v = tapOf(sw, line + <usize>q * 4);
      where = isBetter(aware, v, best);
      best = better(aware, v, best, where);
      tap = v128.bitselect(i32x4.splat(q), tap, where);
    }
    v128.store(to, best);
    v128.store(to, i32x4.max_s(i32x4.add(here, tap), floor), 16);
    here = i32x4.add(here, step);
    line += <usize>(16 * sw);
    to += 32;
    ow -= 4;
  } while (ow > 0);
}

/** The same of three taps. */
@inline
function alongThree(aware: bool, sw: i32, ow: i32, first: i32, begin: i32, line: usize, to: usize): void {
  let here = i32x4.add(i32x4.splat(first), i32x4.mul(i32x4(0, 1, 2, 3), i32x4.splat(sw)));
  const floor = i32x4.splat(begin);
  const step = i32x4.splat(4 * sw);
  do {
    let best = v128.load(line);
    let v = sw == 1 ? v128.load(line, 4) : v128.load(line, 16);
    if (sw == 2) {
      const low = best;
      best = v128.shuffle<f32>(low, v, 0, 2, 4, 6);
      v = v128.shuffle<f32>(low, v, 1, 3, 5, 7);
    }
    let where = isBetter(aware, v, best);
    best = better(aware, v, best, where);
    const tap = v128.and(where, i32x4.splat(1));
    v = tapOf(sw, line + 8);
    where = isBetter(aware, v, best);
    v128.store(to, better(aware, v, best, where));
    v128.store(to, i32x4.max_s(i32x4.add(here, v128.bitselect(i32x4.splat(2), tap, where)), floor), 16);
    here = i32x4.add(here, step);
    line += <usize>(16 * sw);
    to += 32;
    ow -= 4;
  } while (ow > 0);
}

@inline
function alongRow(aware: bool, kw: i32, sw: i32, ow: i32, first: i32, begin: i32, line: usize, to: usize): void {
  if (kw == 3 && sw == 1) alongThree(aware, 1, ow, first, begin, line, to);
  else if (kw == 3) alongThree(aware, 2, ow, first, begin, line, to);
  else if (sw == 1) alongTaps(aware, kw, 1, ow, first, begin, line, to);
  else alongTaps(aware, kw, 2, ow, first, begin, line, to);
}

/** The first r of four maxima and their places. */
@inline
function putPlaces(r: i32, best: v128, place: v128, y: usize, idx: usize): void {
  if (r >= 4) {
    v128.store(y, best);
    v128.store(idx, place);
  } else {
    storeTail(y, r, best);
    storeTail(idx, r, place);
  }
}

/** Across three rows. */
@inline
function acrossThree(aware: bool, ow: i32, a: usize, b: usize, c: usize, y: usize, idx: usize): void {
  do {
    let best = v128.load(a);
    let place = v128.load(a, 16);
    let v = v128.load(b);
    let where = isBetter(aware, v, best);
    best = better(aware, v, best, where);
    place = v128.bitselect(v128.load(b, 16), place, where);
    v = v128.load(c);
    where = isBetter(aware, v, best);
    putPlaces(ow, better(aware, v, best, where), v128.bitselect(v128.load(c, 16), place, where), y, idx);
    a += 32;
    b += 32;
    c += 32;
    y += 16;
    idx += 16;
    ow -= 4;
  } while (ow > 0);
}

/** Across `rows` rows of a ring of kh, from number `slot` on. */
@inline
function acrossRows(
  aware: bool, rows: i32, slot: i32, kh: i32, bytes: usize, ow: i32, ring: usize, y: usize, idx: usize,
): void {
  do {
    let at = slot;
    let from = ring + <usize>at * bytes;
    let best = v128.load(from);
    let place = v128.load(from, 16);
    for (let p = 1; p < rows; p++) {
      at = at + 1 == kh ? 0 : at + 1;
      from = ring + <usize>at * bytes;
      const v = v128.load(from);
      const where = isBetter(aware, v, best);
      best = better(aware, v, best, where);
      place = v128.bitselect(v128.load(from, 16), place, where);
    }
    putPlaces(ow, best, place, y, idx);
    ring += 32;
    y += 16;
    idx += 16;
    ow -= 4;
  } while (ow > 0);
}

/** n elements from x to y; the result has set lanes where one was NaN. */
@inline
function copyLine(n: i32, x: usize, y: usize): v128 {
  let nan = i32x4.splat(0);
  for (; n >= 4; n -= 4) {
    const v = v128.load(x);
    v128.store(y, v);
    nan = v128.or(nan, f32x4.ne(v, v));
    x += 16;
    y += 16;
  }
  if (n > 0) {
    const v = loadTail(x, n);
    storeTail(y, n, v);
    nan = v128.or(nan, f32x4.ne(v, v));
  }
  return nan;
}

/** One plane, whose first element is number `first`; `held` elements of a row matter. Whether there was a NaN. */
@inline
function linesOfPlane(
  aware: bool, first: i32, held: i32, H: i32, W: i32, kh: i32, kw: i32, sh: i32, sw: i32, ph: i32, pw: i32, oh: i32, ow: i32,
  x: usize, y: usize, idx: usize, line: usize, ring: usize,
): bool {
  const bytes = <usize>wholeRow(ow) * 8;
  let nan = i32x4.splat(0);
  let next = 0;
  for (let j = 0; j < oh; j++) {
    const top = j * sh - ph;
    const from = max(top, 0);
    const to = min(top + kh, H);
    for (next = max(next, from); next < to; next++) {
      const begin = next * W;
      nan = v128.or(nan, copyLine(held, x + <usize>begin * 4, line + <usize>pw * 4));
      alongRow(aware, kw, sw, ow, first + begin - pw, first + begin, line, ring + <usize>(<u32>next % <u32>kh) * bytes);
    }
    const slot = <i32>(<u32>from % <u32>kh);
    if (kh == 3 && to - from == 3) {
      const a = ring + <usize>slot * bytes;
      const b = slot == 2 ? ring : a + bytes;
      acrossThree(aware, ow, a, b, slot == 1 ? ring : b + bytes, y, idx);
    } else acrossRows(aware, to - from, slot, kh, bytes, ow, ring, y, idx);
    y += <usize>ow * 4;
    idx += <usize>ow * 4;
  }
  return v128.any_true(nan);
}

function plainPlane(
  first: i32, held: i32, H: i32, W: i32, kh: i32, kw: i32, sh: i32, sw: i32, ph: i32, pw: i32, oh: i32, ow: i32,
  x: usize, y: usize, idx: usize, line: usize, ring: usize,
): bool {
  return linesOfPlane(false, first, held, H, W, kh, kw, sh, sw, ph, pw, oh, ow, x, y, idx, line, ring);
}

function awarePlane(
  first: i32, held: i32, H: i32, W: i32, kh: i32, kw: i32, sh: i32, sw: i32, ph: i32, pw: i32, oh: i32, ow: i32,
  x: usize, y: usize, idx: usize, line: usize, ring: usize,
): void {
  linesOfPlane(true, first, held, H, W, kh, kw, sh, sw, ph, pw, oh, ow, x, y, idx, line, ring);
}

/** maxPool where `areLines`, of NC volumes of D slices; its workspace is `linesWorkspace`. */
export function maxLines(
  NC: i32, D: i32, H: i32, W: i32, kh: i32, kw: i32, sh: i32, sw: i32, ph: i32, pw: i32, oh: i32, ow: i32,
  x: usize, y: usize, idx: usize, ws: usize,
): void {
  const elements = lineElements(kw, sw, ow);
  const ring = ws + <usize>elements * 4;
  const held = min(W, elements - pw);
  fillRow(elements, f32x4.splat(-Infinity), ws);
  // The last row of the ring is not written where the plane has fewer.
  store<i32>(ws + <usize>linesWorkspace(kh, kw, sw, ow) - 4, 0);
  for (; NC > 0; NC--) {
    for (let d = 0; d < D; d++) {
      const first = d * H * W;
      // A plane with a NaN once more, minding it.
      if (plainPlane(first, held, H, W, kh, kw, sh, sw, ph, pw, oh, ow, x, y, idx, ws, ring))
        awarePlane(first, held, H, W, kh, kw, sh, sw, ph, pw, oh, ow, x, y, idx, ws, ring);
      x += <usize>(H * W) * 4;
      y += <usize>(oh * ow) * 4;
      idx += <usize>(oh * ow) * 4;
    }
  }
}

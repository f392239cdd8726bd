// The largest or smallest entries along the middle axis of [outer, size, inner], and their places. NaN counts as the
// largest; of equal entries the one of lower index comes first.
import { gather4, loadTail, storeTail } from './lanes';
import { NARROW } from './narrowReduce';

/** Whether entry a at place i comes before entry b at place j. */
@inline
function before<T>(largest: i32, a: T, i: i32, b: T, j: i32): bool {
  if (isFloat<T>()) {
    const an = a != a;
    const bn = b != b;
    if (an || bn) return an && bn ? i < j : largest ? an : bn;
  }
  if (a == b) return i < j;
  return largest ? a > b : a < b;
}

/** Whether slot i of a heap comes before slot j; slots lie `step` bytes apart. */
@inline
function slotBefore<T>(largest: i32, values: usize, indices: usize, step: usize, i: i32, j: i32): bool {
  const p = <usize>i * step;
  const q = <usize>j * step;
  return before<T>(largest, load<T>(values + p), load<i32>(indices + p), load<T>(values + q), load<i32>(indices + q));
}

@inline
function swap<T>(values: usize, indices: usize, step: usize, i: i32, j: i32): void {
  const p = <usize>i * step;
  const q = <usize>j * step;
  const v = load<T>(values + p);
  store<T>(values + p, load<T>(values + q));
  store<T>(values + q, v);
  const at = load<i32>(indices + p);
  store<i32>(indices + p, load<i32>(indices + q));
  store<i32>(indices + q, at);
}

/** Restores the heap of n slots below slot i: no slot comes after its parent. */
@inline
function sink<T>(largest: i32, values: usize, indices: usize, step: usize, n: i32, i: i32): void {
  while (true) {
    let child = 2 * i + 1;
    if (child >= n) return;
    if (child + 1 < n && slotBefore<T>(largest, values, indices, step, child, child + 1)) child++;
    if (!slotBefore<T>(largest, values, indices, step, i, child)) return;
    swap<T>(values, indices, step, i, child);
    i = child;
  }
}

/**
 * One line: a heap of the k foremost entries so far, the last of them at its root, lies in the outputs; then it is sorted
 * where it lies. Its order is total (value, then place), so that the result does not depend on the way there.
 */
@inline
function foremost<T>(size: i32, k: i32, largest: i32, step: usize, x: usize, values: usize, indices: usize): void {
  for (let i = 0; i < k; i++) {
    store<T>(values + <usize>i * step, load<T>(x));
    store<i32>(indices + <usize>i * step, i);
    x += step;
  }
  for (let i = (k >> 1) - 1; i >= 0; i--) sink<T>(largest, values, indices, step, k, i);
  for (let i = k; i < size; i++) {
    const v = load<T>(x);
    if (before<T>(largest, v, i, load<T>(values), load<i32>(indices))) {
      store<T>(values, v);
      store<i32>(indices, i);
      sink<T>(largest, values, indices, step, k, 0);
    }
    x += step;
  }
  for (let n = k - 1; n > 0; n--) {
    swap<T>(values, indices, step, 0, n);
    sink<T>(largest, values, indices, step, n, 0);
  }
}

@inline
function eachLine<T>(
  outer: i32, size: i32, inner: i32, k: i32, largest: i32, x: usize, values: usize, indices: usize,
): void {
  const row = <usize>inner * 4;
  for (; outer > 0; outer--) {
    for (let at: usize = 0; at < row; at += 4) {
      foremost<T>(size, k, largest, row, x + at, values + at, indices + at);
    }
    x += <usize>size * row;
    values += <usize>k * row;
    indices += <usize>k * row;
  }
}

/** values, indices: [outer, k, inner]; the k largest (largest 1) or smallest (0) in order. */
export function topK(
  outer: i32, size: i32, inner: i32, k: i32, largest: i32, x: usize, values: usize, indices: usize,
): void {
  eachLine<f32>(outer, size, inner, k, largest, x, values, indices);
}

export function topKI32(
  outer: i32, size: i32, inner: i32, k: i32, largest: i32, x: usize, values: usize, indices: usize,
): void {
  eachLine<i32>(outer, size, inner, k, largest, x, values, indices);
}

/** Lanes where v takes the place of the extremum so far; `last`: also where it equals it. */
@inline
function takes(integer: bool, largest: bool, last: i32, v: v128, best: v128): v128 {
  if (integer) {
    const wins = largest ? i32x4.gt_s(v, best) : i32x4.lt_s(v, best);
    return last ? v128.or(wins, i32x4.eq(v, best)) : wins;
  }
  const nan = f32x4.ne(v, v);
  const wins = largest ? f32x4.gt(v, best) : f32x4.lt(v, best);
  // NaN beats all but NaN, and nothing but NaN beats NaN: comparisons with it are false.
  if (last) return v128.or(v128.or(wins, f32x4.eq(v, best)), nan);
  return v128.or(wins, v128.and(nan, f32x4.eq(best, best)));
}

/** Whether lane entry a at place i comes before b at place j, the places deciding between equals. */
@inline
function ahead<T>(largest: bool, last: i32, a: T, i: i32, b: T, j: i32): bool {
  const earlier = last ? i > j : i < j;
  if (isFloat<T>()) {
    const an = a != a;
    const bn = b != b;
    if (an || bn) return an && bn ? earlier : an;
  }
  if (a == b) return earlier;
  return largest ? a > b : a < b;
}

/** One row of contiguous entries: four interleaved lanes, then the best of them, then the last 0–3 entries. */
@inline
function argRow<T>(largest: bool, last: i32, size: i32, x: usize): i32 {
  const integer = !isFloat<T>();
  let at = 0;
  let best = load<T>(x);
  let i = 0;
  if (size >= 8) {
    let values = v128.load(x);
    let places = i32x4(0, 1, 2, 3);
    let here = places;
    for (i = 4; i + 4 <= size; i += 4) {
      const v = v128.load(x + <usize>i * 4);
      here = i32x4.add(here, i32x4.splat(4));
      const mask = takes(integer, largest, last, v, values);
      values = v128.bitselect(v, values, mask);
      places = v128.bitselect(here, places, mask);
    }
    best = v128.extract_lane<T>(values, 0);
    at = i32x4.extract_lane(places, 0);
    if (ahead<T>(largest, last, v128.extract_lane<T>(values, 1), i32x4.extract_lane(places, 1), best, at)) {
      best = v128.extract_lane<T>(values, 1);
      at = i32x4.extract_lane(places, 1);
    }
    if (ahead<T>(largest, last, v128.extract_lane<T>(values, 2), i32x4.extract_lane(places, 2), best, at)) {
      best = v128.extract_lane<T>(values, 2);
      at = i32x4.extract_lane(places, 2);
    }
    if (ahead<T>(largest, last, v128.extract_lane<T>(values, 3), i32x4.extract_lane(places, 3), best, at)) {
      best = v128.extract_lane<T>(values, 3);
      at = i32x4.extract_lane(places, 3);
    }
  }
  for (; i < size; i++) {
    const v = load<T>(x + <usize>i * 4);
    if (ahead<T>(largest, last, v, i, best, at)) {
      best = v;
      at = i;
    }
  }
  return at;
}

/** Four narrow rows, one a lane. */
@inline
function argRows<T>(largest: bool, last: i32, size: i32, step: usize, x: usize): v128 {
  let best = gather4(x, step, 4);
  let places = i32x4.splat(0);
  for (let i = 1; i < size; i++) {
    x += 4;
    const v = gather4(x, step, 4);
    const mask = takes(!isFloat<T>(), largest, last, v, best);
    best = v128.bitselect(v, best, mask);
    places = v128.bitselect(i32x4.splat(i), places, mask);
  }
  return places;
}

@inline
function argExtremum<T>(largest: bool, outer: i32, size: i32, inner: i32, last: i32, x: usize, y: usize): void {
  const row = <usize>inner * 4;
  for (; inner == 1 && size < NARROW && outer >= 4; outer -= 4) {
    v128.store(y, argRows<T>(largest, last, size, <usize>size * 4, x));
    x += <usize>size * 16;
    y += 16;
  }
  for (; outer > 0; outer--) {
    if (inner == 1) {
      store<i32>(y, argRow<T>(largest, last, size, x));
    } else {
      for (let k = 0; k < inner; k += 4) {
        const r = min(inner - k, 4);
        let xp = x + <usize>k * 4;
        let best = r == 4 ? v128.load(xp) : loadTail(xp, r);
        let places = i32x4.splat(0);
        for (let i = 1; i < size; i++) {
          xp += row;
          const v = r == 4 ? v128.load(xp) : loadTail(xp, r);
          const mask = takes(!isFloat<T>(), largest, last, v, best);
          best = v128.bitselect(v, best, mask);
          places = v128.bitselect(i32x4.splat(i), places, mask);
        }
        if (r == 4) v128.store(y + <usize>k * 4, places);
        else storeTail(y + <usize>k * 4, r, places);
      }
    }
    x += <usize>size * row;
    y += row;
  }
}

/** y: [outer, inner], the place of the largest entry; of several the first, or with last = 1 the last. */
export function argMax(outer: i32, size: i32, inner: i32, last: i32, x: usize, y: usize): void {
  argExtremum<f32>(true, outer, size, inner, last, x, y);
}

/** The place of the smallest entry, or of NaN. */
export function argMin(outer: i32, size: i32, inner: i32, last: i32, x: usize, y: usize): void {
  argExtremum<f32>(false, outer, size, inner, last, x, y);
}

export function argMaxI32(outer: i32, size: i32, inner: i32, last: i32, x: usize, y: usize): void {
  argExtremum<i32>(true, outer, size, inner, last, x, y);
}

export function argMinI32(outer: i32, size: i32, inner: i32, last: i32, x: usize, y: usize): void {
  argExtremum<i32>(false, outer, size, inner, last, x, y);
}

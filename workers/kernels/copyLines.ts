// Short lines and narrow planes of 4-byte elements, as strided copies meet them (copy.ts): side by side in the target or in the
// source, a few elements apart in the other. Steps in bytes.
import { everySecond, gather4, storeTail } from './lanes';

@inline
function reversed(v: v128): v128 {
  return v128.shuffle<i32>(v, v, 3, 2, 1, 0);
}

/** Four elements s bytes apart; nothing before the first or behind the fourth is read. */
@inline
function fourApart(s: usize, x: usize): v128 {
  if (s == 8) return everySecond(x);
  if (s == 12) return v128.shuffle<i32>(v128.load(x), v128.load(x, 24), 0, 3, 4, 7);
  if (s == <usize>-4) return reversed(v128.load(x - 12));
  return gather4(x, s, 4);
}

@inline
function gatherLineBy(s: usize, n: i32, x: usize, y: usize): void {
  for (; n >= 4; n -= 4) {
    v128.store(y, fourApart(s, x));
    x += 4 * s;
    y += 16;
  }
  if (n > 0) storeTail(y, n, gather4(x, s, n));
}

/** n elements s bytes apart, side by side. */
export function gatherLine(n: i32, x: usize, s: usize, y: usize): void {
  if (s == 8) gatherLineBy(8, n, x, y);
  else if (s == 12) gatherLineBy(12, n, x, y);
  else if (s == <usize>-4) gatherLineBy(<usize>-4, n, x, y);
  else gatherLineBy(s, n, x, y);
}

/** `rows` lines of four, s bytes apart. */
@inline
function gatherQuadsBy(s: usize, rows: i32, x: usize, xStep: usize, y: usize, yStep: usize): void {
  for (; rows > 0; rows--) {
    v128.store(y, fourApart(s, x));
    x += xStep;
    y += yStep;
  }
}

/** `rows` lines of n elements s bytes apart, each side by side in the target. */
export function gatherLines(rows: i32, n: i32, x: usize, xStep: usize, s: usize, y: usize, yStep: usize): void {
  if (n == 4) {
    if (s == 8) gatherQuadsBy(8, rows, x, xStep, y, yStep);
    else if (s == <usize>-4) gatherQuadsBy(<usize>-4, rows, x, xStep, y, yStep);
    else gatherQuadsBy(s, rows, x, xStep, y, yStep);
    return;
  }
  for (; rows > 0; rows--) {
    gatherLine(n, x, s, y);
    x += xStep;
    y += yStep;
  }
}

/** `rows` lines of n elements, side by side, each into the target from the last to the first: the first goes to y. */
export function moveBack(rows: i32, n: i32, x: usize, xStep: usize, y: usize, yStep: usize): void {
  if (n == 4) {
    for (; rows > 0; rows--) {
      v128.store(y - 12, reversed(v128.load(x)));
      x += xStep;
      y += yStep;
    }
    return;
  }
  for (; rows > 0; rows--) {
    let from = x;
    let to = y;
    let left = n;
    for (; left >= 4; left -= 4) {
      v128.store(to - 12, reversed(v128.load(from)));
      from += 16;
      to -= 16;
    }
    for (; left > 0; left--) {
      store<u32>(to, load<u32>(from));
      from += 4;
      to -= 4;
    }
    x += xStep;
    y += yStep;
  }
}

/** `rows` rows of n bytes, fewer than LONG_ROW; a row's last vector or word reaches back over what the one before has copied. */
export function moveByteRows(rows: i32, n: i32, x: usize, xStep: usize, y: usize, yStep: usize): void {
  for (; rows > 0; rows--) {
    if (n >= 16) {
      const last = <usize>(n - 16);
      for (let at: usize = 0; at < last; at += 16) v128.store(y + at, v128.load(x + at));
      v128.store(y + last, v128.load(x + last));
    } else if (n >= 8) {
      const last = <usize>(n - 8);
      store<u64>(y, load<u64>(x));
      store<u64>(y + last, load<u64>(x + last));
    } else if (n >= 4) {
      const last = <usize>(n - 4);
      store<u32>(y, load<u32>(x));
      store<u32>(y + last, load<u32>(x + last));
    } else {
      store<u8>(y, load<u8>(x));
      if (n > 1) store<u8>(y, load<u8>(x, 1), 1);
      if (n > 2) store<u8>(y, load<u8>(x, 2), 2);
    }
    x += xStep;
    y += yStep;
  }
}

/** The same of one byte a row, n times. */
export function fillByteRows(rows: i32, n: i32, x: usize, xStep: usize, y: usize, yStep: usize): void {
  for (; rows > 0; rows--) {
    if (n >= 16) {
      const v = v128.load8_splat(x);
      const last = <usize>(n - 16);
      for (let at: usize = 0; at < last; at += 16) v128.store(y + at, v);
      v128.store(y + last, v);
    } else {
      const v = <u64>load<u8>(x) * 0x0101010101010101;
      if (n >= 8) {
        store<u64>(y, v);
        store<u64>(y + <usize>(n - 8), v);
      } else if (n >= 4) {
        store<u32>(y, <u32>v);
        store<u32>(y + <usize>(n - 4), <u32>v);
      } else {
        store<u8>(y, <u8>v);
        if (n > 1) store<u8>(y, <u8>v, 1);
        if (n > 2) store<u8>(y, <u8>v, 2);
      }
    }
    x += xStep;
    y += yStep;
  }
}

/** `rows` pairs. */
export function movePairs(rows: i32, x: usize, xStep: usize, y: usize, yStep: usize): void {
  for (; rows >= 4; rows -= 4) {
    const v0 = load<u64>(x);
    const v1 = load<u64>(x + xStep);
    const v2 = load<u64>(x + 2 * xStep);
    const v3 = load<u64>(x + 3 * xStep);
    store<u64>(y, v0);
    store<u64>(y + yStep, v1);
    store<u64>(y + 2 * yStep, v2);
    store<u64>(y + 3 * yStep, v3);
    x += 4 * xStep;
    y += 4 * yStep;
  }
  for (; rows > 0; rows--) {
    store<u64>(y, load<u64>(x));
    x += xStep;
    y += yStep;
  }
}

/** Two lines of n elements, `s` apart, element by element in turn. */
export function interleave2(n: i32, x: usize, s: usize, y: usize): void {
  for (; n >= 4; n -= 4) {
    const a = v128.load(x);
    const b = v128.load(x + s);
    v128.store(y, v128.shuffle<i32>(a, b, 0, 4, 1, 5));
    v128.store(y, v128.shuffle<i32>(a, b, 2, 6, 3, 7), 16);
    x += 16;
    y += 32;
  }
  for (; n > 0; n--) {
    store<u32>(y, load<u32>(x));
    store<u32>(y, load<u32>(x + s), 4);
    x += 4;
    y += 8;
  }
}

/** Three lines. */
export function interleave3(n: i32, x: usize, s: usize, y: usize): void {
  for (; n >= 4; n -= 4) {
    const a = v128.load(x);
    const b = v128.load(x + s);
    const c = v128.load(x + 2 * s);
    const ab = v128.shuffle<i32>(a, b, 0, 4, 1, 5); // a0 b0 a1 b1
    const bc = v128.shuffle<i32>(b, c, 1, 5, 2, 6); // b1 c1 b2 c2
    const ca = v128.shuffle<i32>(c, a, 2, 3, 7, 0); // c2 c3 a3
    v128.store(y, v128.shuffle<i32>(ab, c, 0, 1, 4, 2));
    v128.store(y, v128.shuffle<i32>(bc, a, 0, 1, 6, 2), 16);
    v128.store(y, v128.shuffle<i32>(ca, b, 0, 2, 7, 1), 32);
    x += 16;
    y += 48;
  }
  for (; n > 0; n--) {
    store<u32>(y, load<u32>(x));
    store<u32>(y, load<u32>(x + s), 4);
    store<u32>(y, load<u32>(x + 2 * s), 8);
    x += 4;
    y += 12;
  }
}

/** `count` fours: elements at x, x + p1, x + p2 and x + p3, side by side in the target. */
export function gatherFours(
  count: i32, x: usize, xStep: usize, p1: usize, p2: usize, p3: usize, y: usize, yStep: usize,
): void {
  for (; count > 0; count--) {
    let v = v128.load_zero<u32>(x);
    v = v128.load_lane<u32>(x + p1, v, 1);
    v = v128.load_lane<u32>(x + p2, v, 2);
    v128.store(y, v128.load_lane<u32>(x + p3, v, 3));
    x += xStep;
    y += yStep;
  }
}

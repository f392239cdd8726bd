// Fills and copies. A strided copy walks six dimensions; which of them is innermost is free, so it first merges what can be
// merged, then puts the dimension contiguous in the target at 5 and the one contiguous in the source at 4. Where both are so small
// that there is hardly a plane, four elements of the target are gathered at a time, along the longest dimension.
import {
  fillByteRows, gatherFours, gatherLines, interleave2, interleave3, moveBack, moveByteRows, movePairs,
} from './copyLines';
import { copyPart, fillRow, LONG_ROW, transpose4 } from './lanes';

export function fill32(n: i32, bits: i32, y: usize): void {
  fillRow(n, i32x4.splat(bits), y);
}

export function fill8(n: i32, v: i32, y: usize): void {
  memory.fill(y, <u8>v, <usize>n);
}

/** Nothing where both are one place. */
export function copyBytes(n: usize, x: usize, y: usize): void {
  if (x != y) memory.copy(y, x, n);
}

@inline
function moveOne(size: i32, x: usize, y: usize): void {
  if (size == 4) store<u32>(y, load<u32>(x));
  else store<u8>(y, load<u8>(x));
}

@inline
function moveLine(size: i32, n: i32, x: usize, s: usize, y: usize, t: usize): void {
  for (; n > 0; n--) {
    moveOne(size, x, y);
    x += s;
    y += t;
  }
}

/** Rows of a source that are transposed at a time: a cache line of each is used up while it is there, however far apart. */
const TALL = 32;

/** n4 (by fours) × n5 elements: side by side along n4 in the source, along n5 in the target. */
function transposePlane(n4: i32, n5: i32, x: usize, s5: usize, y: usize, t4: usize): void {
  for (; n4 > 0; n4 -= 4) {
    let xp = x;
    let yp = y;
    let n = n5;
    for (; n >= 4; n -= 4) {
      transpose4(xp, s5, yp, t4);
      xp += 4 * s5;
      yp += 16;
    }
    for (; n > 0; n--) {
      moveLine(4, 4, xp, 4, yp, t4);
      xp += s5;
      yp += 4;
    }
    x += 16;
    y += 4 * t4;
  }
}

/** Two innermost dimensions, n4 × n5; steps in bytes. */
@inline
function movePlane(size: i32, n4: i32, n5: i32, x: usize, s4: usize, s5: usize, y: usize, t4: usize, t5: usize): void {
  const unit = <usize>size;
  if (size == 4 && s5 == unit && t5 == unit && n5 == 2) {
    movePairs(n4, x, s4, y, t4);
    return;
  }
  if (size == 4 && s5 == unit && t5 == <usize>-4) {
    moveBack(n4, n5, x, s4, y, t4);
    return;
  }
  if (s5 == unit && t5 == unit) {
    const bytes = <usize>n5 * unit;
    if (size == 1 && bytes < LONG_ROW) {
      moveByteRows(n4, n5, x, s4, y, t4);
      return;
    }
    for (; n4 > 0; n4--) {
      copyPart(unit, bytes, x, y);
      x += s4;
      y += t4;
    }
    return;
  }
  if (size == 4 && s4 == unit && t5 == unit && n4 >= 4 && t4 == <usize>n5 * 4 && (n5 == 2 || n5 == 3)) {
    if (n5 == 2) interleave2(n4, x, s5, y);
    else interleave3(n4, x, s5, y);
    return;
  }
  if (s5 == 0 && t5 == unit) {
    if (size == 1 && <usize>n5 < LONG_ROW / 2) {
      fillByteRows(n4, n5, x, s4, y, t4);
      return;
    }
    for (; n4 > 0; n4--) {
      if (size == 4) fillRow(n5, v128.load32_splat(x), y);
      else memory.fill(y, load<u8>(x), <usize>n5);
      x += s4;
      y += t4;
    }
    return;
  }
  if (size == 4 && t5 == unit) {
    if (s4 == unit) {
      const whole = n4 & ~3;
      for (let from = 0; from < n5; from += TALL) {
        const at = <usize>from;
        transposePlane(whole, min(TALL, n5 - from), x + at * s5, s5, y + at * 4, t4);
      }
      n4 -= whole;
      x += <usize>whole * 4;
      y += <usize>whole * t4;
    }
    gatherLines(n4, n5, x, s4, s5, y, t4);
    return;
  }
  for (; n4 > 0; n4--) {
    moveLine(size, n5, x, s5, y, t5);
    x += s4;
    y += t4;
  }
}

/** What `move` does of fours: the elements at 0, p1, p2 and p3 become four side by side. */
function moveFours(
  d0: i32, d1: i32, d2: i32, d3: i32, d4: i32, d5: i32, s0: i32, s1: i32, s2: i32, s3: i32, s4: i32, s5: i32,
  t0: i32, t1: i32, t2: i32, t3: i32, t4: i32, t5: i32, p1: i32, p2: i32, p3: i32, x: usize, y: usize,
): void {
  for (let k = 0; k < 5; k++) {
    // The longest dimension to 5: the loop over it has no others around it.
    if (d4 > d5) {
      const d = d5, s = s5, t = t5;
      d5 = d4; s5 = s4; t5 = t4;
      d4 = d; s4 = s; t4 = t;
    }
    const d = d4, s = s4, t = t4;
    d4 = d3; s4 = s3; t4 = t3;
    d3 = d2; s3 = s2; t3 = t2;
    d2 = d1; s2 = s1; t2 = t1;
    d1 = d0; s1 = s0; t1 = t0;
    d0 = d; s0 = s; t0 = t;
  }
  for (let i0 = 0; i0 < d0; i0++) {
    for (let i1 = 0; i1 < d1; i1++) {
      for (let i2 = 0; i2 < d2; i2++) {
        for (let i3 = 0; i3 < d3; i3++) {
          for (let i4 = 0; i4 < d4; i4++) {
            gatherFours(
              d5, x + <usize>(i0 * s0 + i1 * s1 + i2 * s2 + i3 * s3 + i4 * s4) * 4, <usize>s5 * 4,
              <usize>p1 * 4, <usize>p2 * 4, <usize>p3 * 4,
              y + <usize>(i0 * t0 + i1 * t1 + i2 * t2 + i3 * t3 + i4 * t4) * 4, <usize>t5 * 4,
            );
          }
        }
      }
    }
  }
}

@inline
function move(
  size: i32, d0: i32, d1: i32, d2: i32, d3: i32, d4: i32, d5: i32,
  s0: i32, s1: i32, s2: i32, s3: i32, s4: i32, s5: i32,
  t0: i32, t1: i32, t2: i32, t3: i32, t4: i32, t5: i32, x: usize, y: usize,
): void {
  let k: i32;
  // Merge dimension 4 into 5 while both sides allow it.
  for (let pass = 0; pass < 5; pass++) {
    if (d5 != 1 && d4 != 1 && !(s4 == s5 * d5 && t4 == t5 * d5)) break;
    if (d5 == 1) { s5 = s4; t5 = t4; }
    d5 *= d4;
    d4 = d3; s4 = s3; t4 = t3;
    d3 = d2; s3 = s2; t3 = t2;
    d2 = d1; s2 = s1; t2 = t1;
    d1 = d0; s1 = s0; t1 = t0;
    d0 = 1;
  }
  if (size == 4 && t5 == 1) {
    const paired = d5 == 2 && (d4 & 1) == 0 && t4 == 2 && !(d4 >= 8 && (s4 == 1 || s5 == 1));
    if (paired) {
      moveFours(
        d0, d1, d2, d3, d4 / 2, 1, s0, s1, s2, s3, 2 * s4, 0, t0, t1, t2, t3, 4, 0, s5, s4, s4 + s5, x, y,
      );
      return;
    }
    // Lines of few fours, with no dimension beside them that is contiguous in the source and long enough for transposes.
    const lines = d5 <= 16 && (d5 & 3) == 0 && (s5 < -1 || s5 > 2) &&
      !((s4 == 1 && d4 >= 8) || (s3 == 1 && d3 >= 8) || (s2 == 1 && d2 >= 8) || (s1 == 1 && d1 >= 8) || (s0 == 1 && d0 >= 8));
    if (lines) {
      moveFours(
        d0, d1, d2, d3, d4, d5 / 4, s0, s1, s2, s3, s4, 4 * s5, t0, t1, t2, t3, t4, 4, s5, 2 * s5, 3 * s5, x, y,
      );
      return;
    }
  }
  const back = t5 == -1 && s5 == 1; // stays with the dimension beside it
  if (!back && !(t5 == 1 && s5 >= -1 && s5 <= 2)) {
    const bySource = t5 == 1; // else look for the dimension contiguous in the target
    for (k = 0; k < 4; k++) {
      // Rotate 0…4 until the wanted dimension stands at 4; the order of the others does not matter.
      if (d4 > 1 && (bySource ? s4 : t4) == 1) break;
      const d = d4, s = s4, t = t4;
      d4 = d3; s4 = s3; t4 = t3;
      d3 = d2; s3 = s2; t3 = t2;
      d2 = d1; s2 = s1; t2 = t1;
      d1 = d0; s1 = s0; t1 = t0;
      d0 = d; s0 = s; t0 = t;
    }
    if (!bySource && t4 == 1) {
      const d = d4, s = s4, t = t4;
      d4 = d5; s4 = s5; t4 = t5;
      d5 = d; s5 = s; t5 = t;
    }
  }
  const unit = <usize>size;
  for (let i0 = 0; i0 < d0; i0++) {
    for (let i1 = 0; i1 < d1; i1++) {
      for (let i2 = 0; i2 < d2; i2++) {
        for (let i3 = 0; i3 < d3; i3++) {
          movePlane(size, d4, d5,
            x + <usize>(i0 * s0 + i1 * s1 + i2 * s2 + i3 * s3) * unit, <usize>s4 * unit, <usize>s5 * unit,
            y + <usize>(i0 * t0 + i1 * t1 + i2 * t2 + i3 * t3) * unit, <usize>t4 * unit, <usize>t5 * unit);
        }
      }
    }
  }
}

function move32(
  d0: i32, d1: i32, d2: i32, d3: i32, d4: i32, d5: i32, s0: i32, s1: i32, s2: i32, s3: i32, s4: i32, s5: i32,
  t0: i32, t1: i32, t2: i32, t3: i32, t4: i32, t5: i32, x: usize, y: usize,
): void {
  move(4, d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1, t2, t3, t4, t5, x, y);
}

function move8(
  d0: i32, d1: i32, d2: i32, d3: i32, d4: i32, d5: i32, s0: i32, s1: i32, s2: i32, s3: i32, s4: i32, s5: i32,
  t0: i32, t1: i32, t2: i32, t3: i32, t4: i32, t5: i32, x: usize, y: usize,
): void {
  move(1, d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1, t2, t3, t4, t5, x, y);
}

/** y (contiguous) = x read with strides s (elements, 0 repeats). */
export function copy32(
  d0: i32, d1: i32, d2: i32, d3: i32, d4: i32, d5: i32, s0: i32, s1: i32, s2: i32, s3: i32, s4: i32, s5: i32,
  x: usize, y: usize,
): void {
  const t3 = d4 * d5, t2 = d3 * t3, t1 = d2 * t2, t0 = d1 * t1;
  move32(d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1, t2, t3, d5, 1, x, y);
}

export function copy8(
  d0: i32, d1: i32, d2: i32, d3: i32, d4: i32, d5: i32, s0: i32, s1: i32, s2: i32, s3: i32, s4: i32, s5: i32,
  x: usize, y: usize,
): void {
  const t3 = d4 * d5, t2 = d3 * t3, t1 = d2 * t2, t0 = d1 * t1;
  move8(d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1, t2, t3, d5, 1, x, y);
}

/** y, written with strides t (elements), = x (contiguous). */
export function copyInto32(
  d0: i32, d1: i32, d2: i32, d3: i32, d4: i32, d5: i32, t0: i32, t1: i32, t2: i32, t3: i32, t4: i32, t5: i32,
  x: usize, y: usize,
): void {
  const s3 = d4 * d5, s2 = d3 * s3, s1 = d2 * s2, s0 = d1 * s1;
  move32(d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, d5, 1, t0, t1, t2, t3, t4, t5, x, y);
}

export function copyInto8(
  d0: i32, d1: i32, d2: i32, d3: i32, d4: i32, d5: i32, t0: i32, t1: i32, t2: i32, t3: i32, t4: i32, t5: i32,
  x: usize, y: usize,
): void {
  const s3 = d4 * d5, s2 = d3 * s3, s1 = d2 * s2, s0 = d1 * s1;
  move8(d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, d5, 1, t0, t1, t2, t3, t4, t5, x, y);
}

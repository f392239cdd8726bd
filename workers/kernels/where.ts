// Choice with broadcasting: arguments as in binary.ts, the condition in bytes. Narrow rows go by periods, as in broadcast.ts.
import { fetch, lanesAt, MANY, modeOf, NARROW_ROW, offsetOf, PERIODS_A_TURN, VECTOR, wholeBlocks } from './broadcast';
import { gather4, loadBool, storeTail } from './lanes';

/** Four elements of a row: a vector, a splat or a gather; stride in bytes. */
@inline
function fetchRow(p: usize, step: usize, r: i32): v128 {
  if (step == 0) return v128.load32_splat(p);
  if (r == 4 && step == 4) return v128.load(p);
  return gather4(p, step, r);
}

@inline
function fetchMask(p: usize, step: usize, r: i32): v128 {
  if (step == 1) return loadBool(p, r);
  let bits = i32x4.splat(load<u8>(p));
  if (step != 0) {
    if (r > 1) bits = i32x4.replace_lane(bits, 1, load<u8>(p + step));
    if (r > 2) bits = i32x4.replace_lane(bits, 2, load<u8>(p + 2 * step));
    if (r > 3) bits = i32x4.replace_lane(bits, 3, load<u8>(p + 3 * step));
  }
  return i32x4.ne(bits, i32x4.splat(0));
}

/** n elements of a row; strides in bytes. */
@inline
function chooseRow(n: i32, c: usize, cStep: usize, a: usize, aStep: usize, b: usize, bStep: usize, y: usize): void {
  for (; n >= 4; n -= 4) {
    v128.store(y, v128.bitselect(fetchRow(a, aStep, 4), fetchRow(b, bStep, 4), fetchMask(c, cStep, 4)));
    c += 4 * cStep;
    a += 4 * aStep;
    b += 4 * bStep;
    y += 16;
  }
  if (n > 0) storeTail(y, n, v128.bitselect(fetchRow(a, aStep, n), fetchRow(b, bStep, n), fetchMask(c, cStep, n)));
}

@inline
function maskAt(p: usize, o1: usize, o2: usize, o3: usize): v128 {
  let bits = i32x4.splat(load<u8>(p));
  bits = i32x4.replace_lane(bits, 1, load<u8>(p + o1));
  bits = i32x4.replace_lane(bits, 2, load<u8>(p + o2));
  bits = i32x4.replace_lane(bits, 3, load<u8>(p + o3));
  return i32x4.ne(bits, i32x4.splat(0));
}

/** One vector of each of `count` periods; c1…c3, a1…a3 and b1…b3 are offsets from the first of the four elements. */
@inline
function chooseVectors(
  count: i32, c: usize, cStep: usize, c1: usize, c2: usize, c3: usize, a: usize, aStep: usize, a1: usize, a2: usize, a3: usize,
  b: usize, bStep: usize, b1: usize, b2: usize, b3: usize, y: usize, yStep: usize,
): void {
  const aMode = modeOf(aStep, a1, a2, a3);
  const bMode = modeOf(bStep, b1, b2, b3);
  const cMode = modeOf(cStep * 4, c1 * 4, c2 * 4, c3 * 4);
  const aHeld = lanesAt(a, a1, a2, a3);
  const bHeld = lanesAt(b, b1, b2, b3);
  do {
    const mask = cMode == VECTOR ? loadBool(c, 4) : maskAt(c, c1, c2, c3);
    v128.store(y, v128.bitselect(fetch(aMode, aHeld, a, a1, a2, a3), fetch(bMode, bHeld, b, b1, b2, b3), mask));
    c += cStep;
    a += aStep;
    b += bStep;
    y += yStep;
  } while (--count);
}

/** `times` periods of rows of d3, each of so many rows that whole vectors make one. */
@inline
function choosePeriods(
  times: i32, d3: i32, c: usize, c2: i32, c3: i32, a: usize, a2: i32, a3: i32, b: usize, b2: i32, b3: i32, y: usize,
): void {
  const rows = wholeBlocks(d3);
  const cStep = <usize>(rows * c2);
  const aStep = <usize>(rows * a2) * 4;
  const bStep = <usize>(rows * b2) * 4;
  const yStep = <usize>(rows * d3) * 4;
  while (times > 0) {
    const count = min(times, PERIODS_A_TURN);
    for (let e = 0; e < rows * d3; e += 4) {
      const c0 = offsetOf(e, d3, d3, c2, 0, c3) >> 2;
      const a0 = offsetOf(e, d3, d3, a2, 0, a3);
      const b0 = offsetOf(e, d3, d3, b2, 0, b3);
      chooseVectors(
        count,
        c + c0, cStep,
        (offsetOf(e + 1, d3, d3, c2, 0, c3) >> 2) - c0,
        (offsetOf(e + 2, d3, d3, c2, 0, c3) >> 2) - c0,
        (offsetOf(e + 3, d3, d3, c2, 0, c3) >> 2) - c0,
        a + a0, aStep,
        offsetOf(e + 1, d3, d3, a2, 0, a3) - a0,
        offsetOf(e + 2, d3, d3, a2, 0, a3) - a0,
        offsetOf(e + 3, d3, d3, a2, 0, a3) - a0,
        b + b0, bStep,
        offsetOf(e + 1, d3, d3, b2, 0, b3) - b0,
        offsetOf(e + 2, d3, d3, b2, 0, b3) - b0,
        offsetOf(e + 3, d3, d3, b2, 0, b3) - b0,
        y + <usize>e * 4, yStep,
      );
    }
    c += <usize>count * cStep;
    a += <usize>count * aStep;
    b += <usize>count * bStep;
    y += <usize>count * yStep;
    times -= count;
  }
}

/** y = c ? a : b for 4-byte elements, bit by bit; broadcasting as in binary.ts, c in bytes. */
export function where(
  d0: i32, d1: i32, d2: i32, d3: i32, c: usize, c0: i32, c1: i32, c2: i32, c3: i32, a: usize, a0: i32, a1: i32,
  a2: i32, a3: i32, b: usize, b0: i32, b1: i32, b2: i32, b3: i32, y: usize,
): void {
  for (let shift = 0; shift < 3 && d3 == 1; shift++) {
    d3 = d2;
    d2 = d1;
    d1 = d0;
    d0 = 1;
    c3 = c2;
    c2 = c1;
    c1 = c0;
    a3 = a2;
    a2 = a1;
    a1 = a0;
    b3 = b2;
    b2 = b1;
    b1 = b0;
  }
  const rows = wholeBlocks(d3);
  const times = d3 < NARROW_ROW && d2 >= MANY * rows ? d2 / rows : 0;
  for (let i0 = 0; i0 < d0; i0++) {
    for (let i1 = 0; i1 < d1; i1++) {
      const cPlane = c + <usize>(i0 * c0 + i1 * c1);
      const aPlane = a + <usize>(i0 * a0 + i1 * a1) * 4;
      const bPlane = b + <usize>(i0 * b0 + i1 * b1) * 4;
      choosePeriods(times, d3, cPlane, c2, c3, aPlane, a2, a3, bPlane, b2, b3, y);
      y += <usize>(times * rows * d3) * 4;
      for (let i2 = times * rows; i2 < d2; i2++) {
        chooseRow(
          d3, cPlane + <usize>(i2 * c2), <usize>c3, aPlane + <usize>(i2 * a2) * 4, <usize>a3 * 4,
          bPlane + <usize>(i2 * b2) * 4, <usize>b3 * 4, y,
        );
        y += <usize>d3 * 4;
      }
    }
  }
}

// Packing for gemm: blocks of A and B copied into the order in which the register tiles read them; what pads a ragged edge is
// computed with and not kept.
// Strides in bytes.
import { everySecond, loadTail, transpose4, transposeRows, transposeVectors } from './lanes';

/** k rows × `width` (4, 8, 12 or 16) columns of B, of which `cols` exist → [k][width]. */
@inline
function packB(width: i32, k: i32, cols: i32, b: usize, rs: usize, cs: usize, out: usize): void {
  const bytes = <usize>width * 4;
  if (cols >= width && cs == 4) {
    for (; k > 0; k--) {
      v128.store(out, v128.load(b));
      if (width > 4) v128.store(out, v128.load(b, 16), 16);
      if (width > 8) v128.store(out, v128.load(b, 32), 32);
      if (width > 12) v128.store(out, v128.load(b, 48), 48);
      b += rs;
      out += bytes;
    }
    return;
  }
  if (cols >= width && rs == 4) {
    for (; k >= 4; k -= 4) {
      transpose4(b, cs, out, bytes);
      if (width > 4) transpose4(b + 4 * cs, cs, out + 16, bytes);
      if (width > 8) transpose4(b + 8 * cs, cs, out + 32, bytes);
      if (width > 12) transpose4(b + 12 * cs, cs, out + 48, bytes);
      b += 16;
      out += 4 * bytes;
    }
  }
  if (cols < width && cs == 4) {
    for (; k > 0; k--) {
      for (let q = 0; q < width; q += 4) {
        const left = cols - q;
        const at = <usize>q * 4;
        v128.store(out + at, left >= 4 ? v128.load(b + at) : left > 0 ? loadTail(b + at, left) : f32x4.splat(0));
      }
      b += rs;
      out += bytes;
    }
    return;
  }
  if (cols < width && rs == 4) {
    for (; k >= 4; k -= 4) {
      for (let q = 0; q < width; q += 4) {
        // Columns that are not there repeat the last one: what comes of them is not kept.
        const s0 = b + <usize>min(q, cols - 1) * cs;
        const s1 = b + <usize>min(q + 1, cols - 1) * cs;
        const s2 = b + <usize>min(q + 2, cols - 1) * cs;
        const s3 = b + <usize>min(q + 3, cols - 1) * cs;
        transposeRows(s0, s1, s2, s3, out + <usize>q * 4, bytes);
      }
      b += 16;
      out += 4 * bytes;
    }
  }
  for (; k > 0; k--) {
    let s = b;
    for (let q = 0; q < width; q++) {
      store<f32>(out, q < cols ? load<f32>(s) : 0);
      out += 4;
      s += cs;
    }
    b += rs;
  }
}

export function packB16(k: i32, cols: i32, b: usize, rs: usize, cs: usize, out: usize): void {
  packB(16, k, cols, b, rs, cs, out);
}

export function packB12(k: i32, cols: i32, b: usize, rs: usize, cs: usize, out: usize): void {
  packB(12, k, cols, b, rs, cs, out);
}

export function packB8(k: i32, cols: i32, b: usize, rs: usize, cs: usize, out: usize): void {
  packB(8, k, cols, b, rs, cs, out);
}

export function packB4(k: i32, cols: i32, b: usize, rs: usize, cs: usize, out: usize): void {
  packB(4, k, cols, b, rs, cs, out);
}

/** Whether `n` places are those of elements side by side. */
@inline
export function isDense(n: i32, places: usize): bool {
  // Places ascend by 4 at least, as nothing lies where another does.
  return load<i32>(places + <usize>(n - 1) * 4) - load<i32>(places) == (n - 1) * 4;
}

/** Four places of ascending elements as one vector. */
@inline
function four(s0: usize, s1: usize, s2: usize, s3: usize): v128 {
  const v = i32x4.replace_lane(i32x4.splat(<i32>s0), 1, <i32>s1);
  return i32x4.replace_lane(i32x4.replace_lane(v, 2, <i32>s2), 3, <i32>s3);
}

/** Those of four ascending places that go on from the first one, element by element: all ones. */
@inline
function goesOn(places: v128): v128 {
  return i32x4.eq(places, i32x4.add(i32x4.splat(i32x4.extract_lane(places, 0)), i32x4(0, 4, 8, 12)));
}

/** Whether the others go on to the last one. */
@inline
function isSplit(places: v128, first: v128): bool {
  const rest = i32x4.eq(places, i32x4.sub(i32x4.splat(i32x4.extract_lane(places, 3)), i32x4(12, 8, 4, 0)));
  return i32x4.all_true(v128.or(first, rest));
}

@inline
function areTwoApart(places: v128): bool {
  return i32x4.all_true(i32x4.eq(places, i32x4.add(i32x4.splat(i32x4.extract_lane(places, 0)), i32x4(0, 8, 16, 24))));
}

/**
 * Elements in two rows of an image, the `first` of them from p on and the rest up to the one at q: both loads lie between the
 * first and the last element.
 */
@inline
function loadSplit(p: usize, q: usize, first: v128): v128 {
  return v128.bitselect(v128.load(p), v128.load(q - 12), first);
}

@inline
function gatherFour(s0: usize, s1: usize, s2: usize, s3: usize, at: usize): v128 {
  let v = v128.load_zero<u32>(s0 + at);
  v = v128.load_lane<u32>(s1 + at, v, 1);
  v = v128.load_lane<u32>(s2 + at, v, 2);
  return v128.load_lane<u32>(s3 + at, v, 3);
}

const DENSE = 0;
const SPLIT = 1;
const TWO_APART = 2;

@inline
function loadAs(how: i32, p: usize, q: usize, first: v128): v128 {
  if (how == DENSE) return v128.load(p);
  return how == SPLIT ? loadSplit(p, q, first) : everySecond(p);
}

/** k rows of four columns, the first at s0 and the last at s3, four a turn. */
@inline
function packFour(how: i32, width: i32, k: i32, places: usize, s0: usize, s3: usize, first: v128, out: usize): void {
  const step = <usize>width * 4;
  for (; k >= 4; k -= 4) {
    const r0 = <usize>load<i32>(places);
    const r1 = <usize>load<i32>(places, 4);
    const r2 = <usize>load<i32>(places, 8);
    const r3 = <usize>load<i32>(places, 12);
    v128.store(out, loadAs(how, s0 + r0, s3 + r0, first));
    v128.store(out + step, loadAs(how, s0 + r1, s3 + r1, first));
    v128.store(out + 2 * step, loadAs(how, s0 + r2, s3 + r2, first));
    v128.store(out + 3 * step, loadAs(how, s0 + r3, s3 + r3, first));
    places += 16;
    out += 4 * step;
  }
  for (; k > 0; k--) {
    const r0 = <usize>load<i32>(places);
    v128.store(out, loadAs(how, s0 + r0, s3 + r0, first));
    places += 4;
    out += step;
  }
}

/** The same of columns that are neither side by side nor two apart, whose rows may be. */
@inline
function packAcross(
  width: i32, k: i32, places: usize, s0: usize, s1: usize, s2: usize, s3: usize, out: usize,
): void {
  const step = <usize>width * 4;
  for (; k >= 4; k -= 4) {
    const rows = v128.load(places);
    const first = goesOn(rows);
    const r0 = <usize>i32x4.extract_lane(rows, 0);
    const r3 = <usize>i32x4.extract_lane(rows, 3);
    if (i32x4.all_true(first)) {
      transposeRows(s0 + r0, s1 + r0, s2 + r0, s3 + r0, out, step);
    } else if (isSplit(rows, first)) {
      const v0 = loadSplit(s0 + r0, s0 + r3, first);
      const v1 = loadSplit(s1 + r0, s1 + r3, first);
      const v2 = loadSplit(s2 + r0, s2 + r3, first);
      transposeVectors(v0, v1, v2, loadSplit(s3 + r0, s3 + r3, first), out, step);
    } else if (areTwoApart(rows)) {
      transposeVectors(everySecond(s0 + r0), everySecond(s1 + r0), everySecond(s2 + r0), everySecond(s3 + r0), out, step);
    } else {
      v128.store(out, gatherFour(s0, s1, s2, s3, r0));
      v128.store(out + step, gatherFour(s0, s1, s2, s3, <usize>i32x4.extract_lane(rows, 1)));
      v128.store(out + 2 * step, gatherFour(s0, s1, s2, s3, <usize>i32x4.extract_lane(rows, 2)));
      v128.store(out + 3 * step, gatherFour(s0, s1, s2, s3, r3));
    }
    places += 16;
    out += 4 * step;
  }
  for (; k > 0; k--) {
    v128.store(out, gatherFour(s0, s1, s2, s3, <usize>load<i32>(places)));
    places += 4;
    out += step;
  }
}

/** k rows × `width` columns of a B by places, of which `cols` exist: element (i, j) lies at b + rows[i] + columns[j]. */
@inline
function packPlaces(width: i32, k: i32, cols: i32, b: usize, rows: usize, columns: usize, out: usize): void {
  const step = <usize>width * 4;
  if (width == 16 && cols == 16 && isDense(16, columns)) {
    const s = b + <usize>load<i32>(columns);
    for (; k > 0; k--) {
      const at = s + <usize>load<i32>(rows);
      v128.store(out, v128.load(at));
      v128.store(out, v128.load(at, 16), 16);
      v128.store(out, v128.load(at, 32), 32);
      v128.store(out, v128.load(at, 48), 48);
      rows += 4;
      out += 64;
    }
    return;
  }
  const last = cols - 1;
  for (let q = 0; q < width; q += 4) {
    if (q > last) {
      for (let to = out; to < out + <usize>k * step; to += step) v128.store(to, f32x4.splat(0));
    } else {
      // Columns that are not there repeat the last one: what comes of them is not kept.
      const s0 = b + <usize>load<i32>(columns + <usize>q * 4);
      const s1 = b + <usize>load<i32>(columns + <usize>min(q + 1, last) * 4);
      const s2 = b + <usize>load<i32>(columns + <usize>min(q + 2, last) * 4);
      const s3 = b + <usize>load<i32>(columns + <usize>min(q + 3, last) * 4);
      const places = four(s0, s1, s2, s3);
      const first = goesOn(places);
      if (q + 3 > last) packAcross(width, k, rows, s0, s1, s2, s3, out);
      else if (i32x4.all_true(first)) packFour(DENSE, width, k, rows, s0, s3, first, out);
      else if (isSplit(places, first)) packFour(SPLIT, width, k, rows, s0, s3, first, out);
      else if (areTwoApart(places)) packFour(TWO_APART, width, k, rows, s0, s3, first, out);
      else packAcross(width, k, rows, s0, s1, s2, s3, out);
    }
    out += 16;
  }
}

export function packPlaces16(k: i32, cols: i32, b: usize, rows: usize, columns: usize, out: usize): void {
  packPlaces(16, k, cols, b, rows, columns, out);
}

export function packPlaces8(k: i32, cols: i32, b: usize, rows: usize, columns: usize, out: usize): void {
  packPlaces(8, k, cols, b, rows, columns, out);
}

/** Sixteen rows that lie side by side, column by column: each cache line is read once, however far apart columns are. */
function packA16(k: i32, a: usize, cs: usize, out: usize): void {
  const pair = <usize>k * 8;
  let out4 = out + 4 * pair;
  for (; k > 0; k--) {
    const v0 = v128.load(a);
    const v1 = v128.load(a, 16);
    const v2 = v128.load(a, 32);
    const v3 = v128.load(a, 48);
    v128.store_lane<u64>(out, v0, 0);
    v128.store_lane<u64>(out + pair, v0, 1);
    v128.store_lane<u64>(out + 2 * pair, v1, 0);
    v128.store_lane<u64>(out + 3 * pair, v1, 1);
    v128.store_lane<u64>(out4, v2, 0);
    v128.store_lane<u64>(out4 + pair, v2, 1);
    v128.store_lane<u64>(out4 + 2 * pair, v3, 0);
    v128.store_lane<u64>(out4 + 3 * pair, v3, 1);
    a += cs;
    out += 8;
    out4 += 8;
  }
}

/** m × k of A → pairs of rows, [⌈m/2⌉][k][2]. */
export function packA(m: i32, k: i32, a: usize, rs: usize, cs: usize, out: usize): void {
  if (rs == 4 && cs != 4) {
    for (; m >= 16; m -= 16) {
      packA16(k, a, cs, out);
      a += 64;
      out += <usize>k * 64;
    }
  }
  for (; m >= 2; m -= 2) {
    let s = a;
    let n = k;
    if (cs == 4) {
      for (; n >= 4; n -= 4) {
        const r0 = v128.load(s);
        const r1 = v128.load(s + rs);
        v128.store(out, v128.shuffle<f32>(r0, r1, 0, 4, 1, 5));
        v128.store(out, v128.shuffle<f32>(r0, r1, 2, 6, 3, 7), 16);
        s += 16;
        out += 32;
      }
    } else if (rs == 4) {
      for (; n > 0; n--) {
        store<u64>(out, load<u64>(s));
        s += cs;
        out += 8;
      }
    }
    for (; n > 0; n--) {
      store<f32>(out, load<f32>(s));
      store<f32>(out, load<f32>(s + rs), 4);
      s += cs;
      out += 8;
    }
    a += 2 * rs;
  }
  if (m > 0) {
    for (; k > 0; k--) {
      store<f32>(out, load<f32>(a));
      store<f32>(out, 0, 4);
      a += cs;
      out += 8;
    }
  }
}

/**
 * m rows, `taps` elements apart, of a matrix whose element (row, j·taps + t) lies at a + j·step + 4·(row·taps + taps − 1 − t), from
 * column `from` on, k of them → pairs of rows: of filters, transposed and turned around.
 */
export function packTurned(m: i32, from: i32, k: i32, taps: i32, a: usize, step: usize, out: usize): void {
  const turn = <usize>(taps - 1) * 4;
  const row = <usize>taps * 4;
  const first = from % taps;
  a += <usize>(from / taps) * step + turn - <usize>first * 4;
  for (; m > 0; m -= 2) {
    let s = a;
    let left = taps - first;
    for (let n = k; n > 0; ) {
      const run = min(n, left);
      let r = run;
      if (m > 1) {
        for (; r >= 4; r -= 4) {
          const r0 = v128.load(s - 12);
          const r1 = v128.load(s + row - 12);
          v128.store(out, v128.shuffle<f32>(r0, r1, 3, 7, 2, 6));
          v128.store(out, v128.shuffle<f32>(r0, r1, 1, 5, 0, 4), 16);
          s -= 16;
          out += 32;
        }
      }
      for (; r > 0; r--) {
        store<f32>(out, load<f32>(s));
        store<f32>(out, m > 1 ? load<f32>(s + row) : 0, 4);
        s -= 4;
        out += 8;
      }
      n -= run;
      left -= run;
      if (left == 0) {
        left = taps;
        s += step + row;
      }
    }
    a += 2 * row;
  }
}

// Packing for gemm: blocks of A and B copied into the order in which the register tiles read them; what pads a ragged edge is
// computed with and not kept.
// Strides in bytes.
import { loadTail, transpose4, transposeRows } from './lanes';

/** k rows × `width` (8 or 16) columns of B, of which `cols` exist → [k][width]. */
@inline
function packB(width: i32, k: i32, cols: i32, b: usize, rs: usize, cs: usize, out: usize): void {
  const bytes = <usize>width * 4;
  if (cols >= width && cs == 4) {
    for (; k > 0; k--) {
      v128.store(out, v128.load(b));
      v128.store(out, v128.load(b, 16), 16);
      if (width == 16) {
        v128.store(out, v128.load(b, 32), 32);
        v128.store(out, v128.load(b, 48), 48);
      }
      b += rs;
      out += bytes;
    }
    return;
  }
  if (cols >= width && rs == 4) {
    for (; k >= 4; k -= 4) {
      transpose4(b, cs, out, bytes);
      transpose4(b + 4 * cs, cs, out + 16, bytes);
      if (width == 16) {
        transpose4(b + 8 * cs, cs, out + 32, bytes);
        transpose4(b + 12 * cs, cs, out + 48, bytes);
      }
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

export function packB8(k: i32, cols: i32, b: usize, rs: usize, cs: usize, out: usize): void {
  packB(8, k, cols, b, rs, cs, out);
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

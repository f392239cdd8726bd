// Convolutions of up to four samples, where samples for lanes (convBySamples.ts) would leave most of them empty: the same runs the
// other way round, filters by sixteens as a tile's columns. Its rows are a pair of samples or, of a sample alone, two neighbours that the
// same taps reach; a pixel without such a neighbour leaves the second row empty.
import { PAIR, PIXELS, REACH, TILE, TWO_PIXELS, tileOfReach } from './convReach';
import { gather4, loadTail, storeTail, transpose4, transposeVectors } from './lanes';

/** `count` elements of each of n filters, `row` bytes apart → [count][16], `step` bytes apart, zeros behind the n. */
function packLine(n: i32, count: i32, w: usize, row: usize, out: usize, step: usize): void {
  for (let j = 0; j < 16; j += 4) {
    let left = count;
    let from = w + <usize>j * row;
    let to = out + <usize>j * 4;
    if (n - j >= 4) {
      for (; left >= 4; left -= 4) {
        transpose4(from, row, to, step);
        from += 16;
        to += 4 * step;
      }
    }
    for (; left > 0; left--) {
      v128.store(to, j < n ? gather4(from, row, n - j) : f32x4.splat(0));
      from += 4;
      to += step;
    }
  }
}

/** A tap's weights of c channels of n filters → [c][16]. */
export function packTapOfSixteen(n: i32, c: i32, w: usize, row: usize, channel: usize, out: usize): void {
  if (channel == 4) {
    packLine(n, c, w, row, out, 64);
    return;
  }
  if (row == 4 && n == 16) {
    for (; c > 0; c--) {
      for (let at: usize = 0; at < 64; at += 16) v128.store(out + at, v128.load(w + at));
      w += channel;
      out += 64;
    }
    return;
  }
  for (; c > 0; c--) {
    for (let j = 0; j < 16; j += 4) {
      v128.store(out, j < n ? gather4(w + <usize>j * row, row, n - j) : f32x4.splat(0));
      out += 16;
    }
    w += channel;
  }
}

/** All taps, which lie side by side, of n filters of c channels → [taps][c][16]; `turned`: from last to first. */
export function packSixteen(
  turned: bool, n: i32, c: i32, taps: i32, w: usize, row: usize, channel: usize, out: usize,
): void {
  const tap = <usize>c * 64;
  const step = turned ? <usize>0 - tap : tap;
  if (turned) out += <usize>(taps - 1) * tap;
  for (; c > 0; c--) {
    packLine(n, taps, w, row, out, step);
    w += channel;
    out += 64;
  }
}

/** Of c channels two elements each, `second` bytes apart → [c][2]: of a pair of filters, or of samples. */
@inline
export function packPair(c: i32, from: usize, second: usize, channel: usize, out: usize): void {
  for (; c > 0; c--) {
    const v = v128.load_zero<u32>(from);
    v128.store_lane<u64>(out, v128.load_lane<u32>(from + second, v, 1), 0);
    from += channel;
    out += 8;
  }
}

/** A pair of samples, `second` bytes apart, of c channels of `pixels` → [pixels][c][2]. */
function packTwo(c: i32, pixels: i32, x: usize, second: usize, out: usize): void {
  const plane = <usize>pixels * 4;
  for (; pixels > 0; pixels--) {
    packPair(c, x, second, plane, out);
    x += 4;
    out += <usize>c * 8;
  }
}

/** A sample of c channels of `pixels` → [pixels][c]. */
function packOne(c: i32, pixels: i32, x: usize, out: usize): void {
  const plane = <usize>pixels * 4;
  const row = <usize>c * 4;
  for (; c > 0; c -= 4) {
    let from = x;
    let to = out;
    let left = pixels;
    if (c >= 4) {
      for (; left >= 4; left -= 4) {
        transpose4(from, plane, to, row);
        from += 16;
        to += 4 * row;
      }
    }
    for (; left > 0; left--) {
      const v = gather4(from, plane, c);
      if (c >= 4) v128.store(to, v);
      else storeTail(to, c, v);
      from += 4;
      to += row;
    }
    x += 4 * plane;
    out += 16;
  }
}

/** n pixels (up to four), `apart` bytes from tile to tile → so many results, `plane` bytes apart, plus bias. */
function spill(n: i32, results: i32, tile: usize, apart: usize, bias: usize, y: usize, plane: usize): void {
  for (; results > 0; results -= 4) {
    let b = f32x4.splat(-0.0);
    if (bias != usize.MAX_VALUE) {
      b = results >= 4 ? v128.load(bias) : loadTail(bias, results);
      bias += 16;
    }
    const v0 = f32x4.add(v128.load(tile), b);
    const v1 = f32x4.add(v128.load(tile + apart), b);
    const v2 = f32x4.add(v128.load(tile + 2 * apart), b);
    const v3 = f32x4.add(v128.load(tile + 3 * apart), b);
    if (n >= 4 && results >= 4) {
      transposeVectors(v0, v1, v2, v3, y, plane);
    } else {
      transposeVectors(v0, v1, v2, v3, tile, apart);
      let from = tile;
      let to = y;
      for (let i = min(results, 4); i > 0; i--) {
        const v = v128.load(from);
        if (n >= 4) v128.store(to, v);
        else storeTail(to, n, v);
        from += apart;
        to += plane;
      }
    }
    tile += 16;
    y += 4 * plane;
  }
}

/** Up to sixteen results of a packed pair of samples. */
function sixteenOfTwo(
  results: i32, pixels: i32, packed: usize, reach: usize, filters: usize, row: usize, slice: usize, tile: usize, bias: usize,
  y: usize, step: usize,
): void {
  const plane = <usize>pixels * 4;
  for (; pixels > 0; pixels -= PIXELS) {
    const n = min(PIXELS, pixels);
    let to = tile;
    for (let t = 0; t < n; t++) {
      const a = packed + <usize>load<i32>(reach, 4) * 8;
      const b = filters + <usize>load<i32>(reach) * 8;
      tileOfReach(PAIR, reach, a, row, slice, 0, b, <usize>load<i32>(reach, 20) * 8, <usize>load<i32>(reach, 24) * 8, to);
      reach += REACH;
      to += TILE;
    }
    spill(n, results, tile, TILE, bias, y, plane);
    spill(n, results, tile + 64, TILE, bias, y + step, plane);
    y += PIXELS * 4;
  }
}

/** Whether the same taps reach a pixel and the next one: all but the row of the source is equal. */
@inline
function isAlike(reach: usize): bool {
  const head = v128.andnot(v128.xor(v128.load(reach), v128.load(reach, REACH)), i32x4(0, -1, 0, 0));
  return !v128.any_true(v128.or(head, v128.xor(v128.load(reach, 16), v128.load(reach, REACH + 16))));
}

/** Up to sixteen results of a packed sample: tiles of two pixels, or of one, of twice as many pixels as tiles. */
function sixteenOfOne(
  results: i32, pixels: i32, packed: usize, reach: usize, filters: usize, row: usize, slice: usize, tile: usize, bias: usize,
  y: usize,
): void {
  const plane = <usize>pixels * 4;
  const half: usize = TILE / 2;
  for (; pixels > 0; pixels -= 2 * PIXELS) {
    const n = min(2 * PIXELS, pixels);
    let to = tile;
    for (let t = 0; t < n; ) {
      const place = load<i32>(reach, 4);
      const second: usize = t + 1 < n && isAlike(reach) ? <usize>(load<i32>(reach, REACH + 4) - place) * 4 : 0;
      const a = packed + <usize>place * 4;
      const b = filters + <usize>load<i32>(reach) * 8;
      const bRow = <usize>load<i32>(reach, 20) * 8;
      tileOfReach(TWO_PIXELS, reach, a, row, slice, second, b, bRow, <usize>load<i32>(reach, 24) * 8, to);
      const done = second == 0 ? 1 : 2;
      t += done;
      reach += <usize>done * REACH;
      to += <usize>done * half;
    }
    spill(min(n, 4), results, tile, half, bias, y, plane);
    if (n > 4) spill(n - 4, results, tile + 4 * half, half, bias, y + 16, plane);
    y += 2 * PIXELS * 4;
  }
}

/**
 * m results of a group of N samples, `xStep` and `yStep` bytes apart, from c channels of `source` and filters of so many bytes a
 * sixteen; `row` and `slice`: channels from row to row and from slice to slice of the source's taps.
 */
export function convOfFew(
  N: i32, m: i32, c: i32, source: i32, pixels: i32, row: i32, slice: i32, x: usize, xStep: usize, filters: usize,
  sixteen: usize, bias: usize, y: usize, yStep: usize, reach: usize, tile: usize, packed: usize,
): void {
  const plane = <usize>pixels * 4;
  for (; N > 0; N -= 2) {
    const element: usize = N > 1 ? 8 : 4;
    const aRow = <usize>row * element;
    const aSlice = <usize>slice * element;
    if (N > 1) packTwo(c, source, x, xStep, packed);
    else packOne(c, source, x, packed);
    for (let i = 0; i < m; i += 16) {
      const w = filters + <usize>(i >> 4) * sixteen;
      const to = y + <usize>i * plane;
      const b = bias == usize.MAX_VALUE ? bias : bias + <usize>i * 4;
      const results = min(16, m - i);
      if (N > 1) sixteenOfTwo(results, pixels, packed, reach, w, aRow, aSlice, tile, b, to, yStep);
      else sixteenOfOne(results, pixels, packed, reach, w, aRow, aSlice, tile, b, to);
    }
    x += 2 * xStep;
    y += 2 * yStep;
  }
}

// Outputs and the input's gradient of convolutions of few channels a group, four groups at once (groupFrames.ts). A tile of up to
// eight outputs adds its taps one by one: their weights are vectors of four groups, and so are the elements of the frame.
//
// The input's gradient by a stride goes by phases: elements a stride apart take the same taps, from neighbours in dy.
//
// Order of every sum: channels (of the input's gradient: outputs), of each the taps in row-major order, from zero, those over the
// edge among them; by a stride, of the input's gradient only the taps of the element's phase. Then the bias.
//
// Workspace, in bytes:  [frame][weights][biases][where taps and their weights lie, rounded up to 16]
//                       [the first tap of each phase, rounded up to 16][outputs of a band]
import { multiplyAdd } from './fused';
import { bandColumns, bandRows, fillFrame, floorDiv, reached, unweaveBand } from './groupFrames';
import { extended } from './lanes';
import { toLane, weave } from './planes';

@inline
function roundUp(bytes: i32): i32 {
  return (bytes + 15) & ~15;
}

/** Exact bytes, of c channels of the frame and o of the outputs a group. */
export function groupsWorkspace(
  back: bool, c: i32, o: i32, kd: i32, kh: i32, kw: i32, sd: i32, sh: i32, sw: i32, ph: i32, pw: i32, dh: i32, dw: i32,
  oh: i32, ow: i32,
): i32 {
  const columns = bandColumns(back, c * kd, ow, kh, kw, sh, sw, ph, pw, dh, dw);
  const width = reached(back, columns, kw, sw, pw, dw);
  const rows = bandRows(back, c * kd, oh, width, kh, sh, ph, dh);
  const height = reached(back, rows, kh, sh, ph, dh);
  const taps = c * kd * kh * kw;
  const phases = back ? sd * sh * sw : 1;
  const vectors = c * kd * height * width + o * taps + o + rows * columns;
  return 16 * vectors + roundUp(8 * taps) + roundUp(4 * (phases + 1));
}

/** One of four, by an index that is constant where this is inlined. */
@inline
function ofFour(i: i32, a: usize, b: usize, c: usize, d: usize): usize {
  return i == 0 ? a : i == 1 ? b : i == 2 ? c : d;
}

/** Element k along a row of outputs, `stride` or, where that is 0, `step` bytes apart. */
@inline
function element(stride: i32, k: i32, p: usize, step: usize): v128 {
  if (stride == 0) return v128.load(p + <usize>k * step);
  const at = k * stride; // constant where this is inlined
  if (at == 1) return v128.load(p, 16);
  if (at == 2) return v128.load(p, 32);
  if (at == 3) return v128.load(p, 48);
  if (at == 4) return v128.load(p, 64);
  if (at == 5) return v128.load(p, 80);
  if (at == 6) return v128.load(p, 96);
  if (at == 7) return v128.load(p, 112);
  if (at == 8) return v128.load(p, 128);
  if (at == 10) return v128.load(p, 160);
  if (at == 12) return v128.load(p, 192);
  if (at == 14) return v128.load(p, 224);
  return v128.load(p);
}

/**
 * `rows` × `columns` outputs, the rows p1, p2 and p3 bytes behind the first in the frame, y1, y2 and y3 bytes in what is written.
 * Each of the taps has a pair of places: beside p in the frame, and of its weight beside w.
 */
@inline
function tile(
  rows: i32, columns: i32, stride: i32, taps: i32, places: usize, p: usize, step: usize, p1: usize, p2: usize, p3: usize,
  w: usize, bias: usize, y: usize, yStep: usize, y1: usize, y2: usize, y3: usize,
): void {
  const n = rows * columns;
  let s0 = f32x4.splat(0);
  let s1 = s0;
  let s2 = s0;
  let s3 = s0;
  let s4 = s0;
  let s5 = s0;
  let s6 = s0;
  let s7 = s0;
  places = extended(places);
  for (; taps > 0; taps--) {
    const q0 = p + <usize>load<i32>(places);
    const weight = v128.load(w + <usize>load<i32>(places, 4));
    const q1 = q0 + p1;
    const q2 = q0 + p2;
    const q3 = q0 + p3;
    s0 = multiplyAdd(weight, element(stride, 0, q0, step), s0);
    if (n > 1) s1 = multiplyAdd(weight, element(stride, 1 % columns, ofFour(1 / columns, q0, q1, q2, q3), step), s1);
    if (n > 2) s2 = multiplyAdd(weight, element(stride, 2 % columns, ofFour(2 / columns, q0, q1, q2, q3), step), s2);
    if (n > 3) s3 = multiplyAdd(weight, element(stride, 3 % columns, ofFour(3 / columns, q0, q1, q2, q3), step), s3);
    // Never so; but V8 would otherwise make all loads of a turn before its products, more than there are registers.
    if (n > 7 && !w) break;
    if (n > 4) s4 = multiplyAdd(weight, element(stride, 4 % columns, ofFour(4 / columns, q0, q1, q2, q3), step), s4);
    if (n > 5) s5 = multiplyAdd(weight, element(stride, 5 % columns, ofFour(5 / columns, q0, q1, q2, q3), step), s5);
    if (n > 6) s6 = multiplyAdd(weight, element(stride, 6 % columns, ofFour(6 / columns, q0, q1, q2, q3), step), s6);
    if (n > 7) s7 = multiplyAdd(weight, element(stride, 7 % columns, ofFour(7 / columns, q0, q1, q2, q3), step), s7);
    places += 8;
  }
  const b = v128.load(bias);
  y1 += y;
  y2 += y;
  y3 += y;
  v128.store(y, f32x4.add(s0, b));
  if (n > 1) v128.store(ofFour(1 / columns, y, y1, y2, y3) + <usize>(1 % columns) * yStep, f32x4.add(s1, b));
  if (n > 2) v128.store(ofFour(2 / columns, y, y1, y2, y3) + <usize>(2 % columns) * yStep, f32x4.add(s2, b));
  if (n > 3) v128.store(ofFour(3 / columns, y, y1, y2, y3) + <usize>(3 % columns) * yStep, f32x4.add(s3, b));
  if (n > 4) v128.store(ofFour(4 / columns, y, y1, y2, y3) + <usize>(4 % columns) * yStep, f32x4.add(s4, b));
  if (n > 5) v128.store(ofFour(5 / columns, y, y1, y2, y3) + <usize>(5 % columns) * yStep, f32x4.add(s5, b));
  if (n > 6) v128.store(ofFour(6 / columns, y, y1, y2, y3) + <usize>(6 % columns) * yStep, f32x4.add(s6, b));
  if (n > 7) v128.store(ofFour(7 / columns, y, y1, y2, y3) + <usize>(7 % columns) * yStep, f32x4.add(s7, b));
}

/** A tile of one row. */
@inline
function row(
  columns: i32, stride: i32, taps: i32, places: usize, p: usize, step: usize, w: usize, bias: usize, y: usize, yStep: usize,
): void {
  tile(1, columns, stride, taps, places, p, step, 0, 0, 0, w, bias, y, yStep, 0, 0, 0);
}

/** nh rows of nw outputs, pRow bytes apart in the frame and yRow in what is written; within a row `step` and yStep. */
@inline
function tiles(
  stride: i32, nh: i32, nw: i32, taps: i32, places: usize, p: usize, step: usize, pRow: usize, w: usize, bias: usize,
  y: usize, yStep: usize, yRow: usize,
): void {
  // Where there are fewer rows than a tile's, the last one is computed again; so are rows and columns that overlap those before.
  const high = nw > 4 ? 1 : nw > 2 ? 2 : 4;
  const last = min(high, nh) - 1;
  const p1 = <usize>min(1, last) * pRow;
  const p2 = <usize>min(2, last) * pRow;
  const p3 = <usize>last * pRow;
  const y1 = <usize>min(1, last) * yRow;
  const y2 = <usize>min(2, last) * yRow;
  const y3 = <usize>last * yRow;
  const rest = nw & 7;
  for (let done = 0; done < nh; done += high) {
    const j = <usize>max(0, min(done, nh - high));
    const a = p + j * pRow;
    const b = y + j * yRow;
    if (nw >= 8) {
      for (let k = 0; k < nw - 4; k += 8) {
        const at = <usize>min(k, nw - 8);
        row(8, stride, taps, places, a + at * step, step, w, bias, b + at * yStep, yStep);
      }
      if (rest > 0 && rest <= 4) {
        const at = <usize>(nw - 4);
        row(4, stride, taps, places, a + at * step, step, w, bias, b + at * yStep, yStep);
      }
    } else if (nw == 7) row(7, stride, taps, places, a, step, w, bias, b, yStep);
    else if (nw == 6) row(6, stride, taps, places, a, step, w, bias, b, yStep);
    else if (nw == 5) row(5, stride, taps, places, a, step, w, bias, b, yStep);
    else if (nw == 4) tile(2, 4, stride, taps, places, a, step, p1, 0, 0, w, bias, b, yStep, y1, 0, 0);
    else if (nw == 3) tile(2, 3, stride, taps, places, a, step, p1, 0, 0, w, bias, b, yStep, y1, 0, 0);
    else if (nw == 2) tile(4, 2, stride, taps, places, a, step, p1, p2, p3, w, bias, b, yStep, y1, y2, y3);
    else tile(4, 1, stride, taps, places, a, step, p1, p2, p3, w, bias, b, yStep, y1, y2, y3);
  }
}

function tilesBy1(
  nh: i32, nw: i32, taps: i32, places: usize, p: usize, pRow: usize, w: usize, bias: usize, y: usize, yStep: usize,
  yRow: usize,
): void {
  tiles(1, nh, nw, taps, places, p, 16, pRow, w, bias, y, yStep, yRow);
}

function tilesBy2(
  nh: i32, nw: i32, taps: i32, places: usize, p: usize, pRow: usize, w: usize, bias: usize, y: usize, yRow: usize,
): void {
  tiles(2, nh, nw, taps, places, p, 32, pRow, w, bias, y, 16, yRow);
}

function tilesByMore(
  nh: i32, nw: i32, taps: i32, places: usize, p: usize, step: usize, pRow: usize, w: usize, bias: usize, y: usize,
  yRow: usize,
): void {
  tiles(0, nh, nw, taps, places, p, step, pRow, w, bias, y, 16, yRow);
}

/** Pairs of places of the taps of outputs, in order: in frames of `height` × `width` a slice, and of weights [O, C, taps]. */
function placesForward(
  c: i32, kd: i32, kh: i32, kw: i32, dh: i32, dw: i32, height: i32, width: i32, places: usize,
): void {
  let weight = 0;
  for (let slice = 0; slice < c * kd; slice++) {
    for (let i = 0; i < kh; i++) {
      for (let j = 0; j < kw; j++) {
        store<i32>(places, 16 * ((slice * height + i * dh) * width + j * dw));
        store<i32>(places, weight, 4);
        places += 8;
        weight += 16;
      }
    }
  }
}

/** Those of the input's gradient, of c channels of dy, phase after phase, and the first of each phase and of one behind them. */
function placesBack(
  c: i32, o: i32, kd: i32, kh: i32, kw: i32, sd: i32, sh: i32, sw: i32, dd: i32, dh: i32, dw: i32, height: i32, width: i32,
  places: usize, firsts: usize,
): void {
  const begin = places;
  for (let f = 0; f < sd * sh * sw; f++) {
    const z = f / (sh * sw);
    const y = (f / sw) % sh;
    const x = f % sw;
    store<i32>(firsts, <i32>(places - begin));
    firsts += 4;
    for (let q = 0; q < c; q++) {
      for (let a = 0; a < kd; a++) {
        if ((z - a * dd) % sd) continue;
        for (let i = 0; i < kh; i++) {
          if ((y - i * dh) % sh) continue;
          for (let j = 0; j < kw; j++) {
            if ((x - j * dw) % sw) continue;
            const line = (q * kd + a) * height + (y - i * dh) / sh;
            store<i32>(places, 16 * (line * width + (x - j * dw) / sw));
            store<i32>(places, 16 * (((q * o * kd + a) * kh + i) * kw + j), 4);
            places += 8;
          }
        }
      }
    }
  }
  store<i32>(firsts, <i32>(places - begin));
}

/** One channel of a band of the input's gradient, which begins at (j, k) of slice z; its frame, at (top, left) of dy. */
function phases(
  z: i32, j: i32, k: i32, rows: i32, columns: i32, top: i32, left: i32, sd: i32, sh: i32, sw: i32, pd: i32, ph: i32, pw: i32,
  width: i32, frame: usize, w: usize, bias: usize, places: usize, firsts: usize, y: usize,
): void {
  const yRow = <usize>columns * 16;
  const slice = ((z + pd) % sd) * sh;
  for (let a = 0; a < min(sh, rows); a++) {
    const fy = (j + a + ph) % sh;
    for (let b = 0; b < min(sw, columns); b++) {
      const fx = (k + b + pw) % sw;
      const first = firsts + <usize>((slice + fy) * sw + fx) * 4;
      const from = load<i32>(first);
      const taps = (load<i32>(first, 4) - from) >> 3;
      const at = ((j + a + ph) / sh - top) * width + (k + b + pw) / sw - left;
      tilesBy1(
        (rows - a + sh - 1) / sh, (columns - b + sw - 1) / sw, taps, places + <usize>from, frame + <usize>at * 16,
        <usize>width * 16, w, bias, y + <usize>(a * columns + b) * 16, <usize>sw * 16, <usize>sh * yRow,
      );
    }
  }
}

/** One channel of a band of outputs. */
function windows(
  rows: i32, columns: i32, sh: i32, sw: i32, width: i32, taps: i32, frame: usize, w: usize, bias: usize, places: usize,
  y: usize,
): void {
  const pRow = <usize>(sh * width) * 16;
  const yRow = <usize>columns * 16;
  if (sw == 1) tilesBy1(rows, columns, taps, places, frame, pRow, w, bias, y, 16, yRow);
  else if (sw == 2) tilesBy2(rows, columns, taps, places, frame, pRow, w, bias, y, yRow);
  else tilesByMore(rows, columns, taps, places, frame, <usize>sw * 16, pRow, w, bias, y, yRow);
}

/**
 * Outputs y (of od × oh × ow, o a group) from the image x (of D × H × W, c a group) or, `back`, the input's gradient y from the
 * outputs' x, whose weights are then those of c outputs and o channels.
 */
export function convByGroups(
  back: bool, N: i32, groups: i32, c: i32, D: i32, H: i32, W: i32, o: i32, kd: i32, kh: i32, kw: i32, sd: i32, sh: i32, sw: i32,
  pd: i32, ph: i32, pw: i32, dd: i32, dh: i32, dw: i32, od: i32, oh: i32, ow: i32,
  x: usize, w: usize, bias: usize, y: usize, ws: usize,
): void {
  const columns = bandColumns(back, c * kd, ow, kh, kw, sh, sw, ph, pw, dh, dw);
  const width = reached(back, columns, kw, sw, pw, dw);
  const rows = bandRows(back, c * kd, oh, width, kh, sh, ph, dh);
  const height = reached(back, rows, kh, sh, ph, dh);
  const taps = kd * kh * kw;
  const weights = ws + <usize>(c * kd * height * width) * 16;
  const biases = weights + <usize>(c * o * taps) * 16;
  const places = biases + <usize>o * 16;
  const firsts = places + <usize>roundUp(8 * c * taps);
  const out = firsts + <usize>roundUp(4 * ((back ? sd * sh * sw : 1) + 1));
  memory.fill(ws, 0, places - ws);
  if (back) placesBack(c, o, kd, kh, kw, sd, sh, sw, dd, dh, dw, height, width, places, firsts);
  else placesForward(c, kd, kh, kw, dh, dw, height, width, places);
  // One band a slice: what is around it lies alike in all slices, and stays 0.
  const margins = rows < oh || columns < ow;
  const group = <usize>(c * D * H * W) * 4;
  const plane = <usize>(od * oh * ow) * 4;
  const filter = <usize>(taps * (back ? 1 : c)) * 16;
  for (let g = 0; g < groups; g += 4) {
    const lanes = groups - g;
    const size = <usize>(c * o * taps) * 4;
    const at = w + <usize>g * size;
    weave(c * o * taps, at, at + toLane(1, lanes, size), at + toLane(2, lanes, size), at + toLane(3, lanes, size), weights);
    if (bias != usize.MAX_VALUE) {
      const step = <usize>o * 4;
      const b = bias + <usize>g * step;
      weave(o, b, b + toLane(1, lanes, step), b + toLane(2, lanes, step), b + toLane(3, lanes, step), biases);
    }
    const d1 = toLane(1, lanes, group);
    const d2 = toLane(2, lanes, group);
    const d3 = toLane(3, lanes, group);
    const e1 = toLane(1, lanes, <usize>o * plane);
    const e2 = toLane(2, lanes, <usize>o * plane);
    const e3 = toLane(3, lanes, <usize>o * plane);
    for (let n = 0; n < N; n++) {
      const image = x + <usize>(n * groups + g) * group;
      const outputs = y + <usize>((n * groups + g) * o) * plane;
      for (let z = 0; z < od; z++) {
        for (let j = 0; j < oh; j += rows) {
          const nh = min(rows, oh - j);
          const top = back ? floorDiv(j + ph - (kh - 1) * dh, sh) : j * sh - ph;
          for (let k = 0; k < ow; k += columns) {
            const nw = min(columns, ow - k);
            const left = back ? floorDiv(k + pw - (kw - 1) * dw, sw) : k * sw - pw;
            const needed = reached(back, nh, kh, sh, ph, dh);
            fillFrame(
              back, margins, z, top, left, c, kd, sd, pd, dd, D, H, W, height, needed, width, image, d1, d2, d3, ws,
            );
            for (let i = 0; i < o; i++) {
              const f = weights + <usize>i * filter;
              const b = biases + <usize>i * 16;
              if (back) phases(z, j, k, nh, nw, top, left, sd, sh, sw, pd, ph, pw, width, ws, f, b, places, firsts, out);
              else windows(nh, nw, sh, sw, width, c * taps, ws, f, b, places, out);
              const to = outputs + <usize>i * plane + <usize>((z * oh + j) * ow + k) * 4;
              unweaveBand(nh, nw, ow, out, to, e1, e2, e3);
            }
          }
        }
      }
    }
  }
}

// Convolution of one channel a group, without columns: a plane is copied into a frame of zeros, wide enough for every tap, and
// each output adds its taps from there. Four rows of four outputs at a time, so that a weight is read once for sixteen.
//
// Order of every sum: taps in row-major order, from zero, those over the edge among them; then the bias.
//
// Workspace, in bytes:  [the frame]
import { multiplyAdd } from './fused';
import { everySecond, gather4, loadTail, storeTail } from './lanes';

/** Whether a convolution's groups have one channel each; a single group's gemm does as well. */
@inline
export function isDepthwise(c: i32, groups: i32): bool {
  return c == 1 && groups > 1;
}

/** Outputs side by side (r of four), `stride` elements apart in the frame. */
@inline
function loadOutputs(stride: i32, r: i32, p: usize): v128 {
  if (r < 4) return stride == 1 ? loadTail(p, r) : gather4(p, <usize>stride * 4, r);
  if (stride == 1) return v128.load(p);
  if (stride == 2) return everySecond(p);
  return gather4(p, <usize>stride * 4, 4);
}

@inline
function storeOutputs(r: i32, y: usize, v: v128): void {
  if (r == 4) v128.store(y, v);
  else storeTail(y, r, v);
}

/**
 * r outputs of four rows, whose first taps lie at p and p1, p2, p3 bytes behind it, and which go to y, y1, y2, y3. Steps from
 * tap to tap in bytes, perhaps backwards.
 */
@inline
function fourRows(
  stride: i32, r: i32, kd: i32, kh: i32, kw: i32, p: usize, p1: usize, p2: usize, p3: usize,
  dStep: usize, hStep: usize, wStep: usize, w: usize, bias: usize, y: usize, y1: usize, y2: usize, y3: usize,
): void {
  let s0 = f32x4.splat(0);
  let s1 = s0;
  let s2 = s0;
  let s3 = s0;
  for (; kd > 0; kd--) {
    let row = p;
    for (let j = kh; j > 0; j--) {
      let at = row;
      for (let k = kw; k > 0; k--) {
        const weight = v128.load32_splat(w);
        s0 = multiplyAdd(weight, loadOutputs(stride, r, at), s0);
        s1 = multiplyAdd(weight, loadOutputs(stride, r, at + p1), s1);
        s2 = multiplyAdd(weight, loadOutputs(stride, r, at + p2), s2);
        s3 = multiplyAdd(weight, loadOutputs(stride, r, at + p3), s3);
        w += 4;
        at += wStep;
      }
      row += hStep;
    }
    p += dStep;
  }
  if (bias != usize.MAX_VALUE) {
    const b = v128.load32_splat(bias);
    s0 = f32x4.add(s0, b);
    s1 = f32x4.add(s1, b);
    s2 = f32x4.add(s2, b);
    s3 = f32x4.add(s3, b);
  }
  storeOutputs(r, y, s0);
  storeOutputs(r, y1, s1);
  storeOutputs(r, y2, s2);
  storeOutputs(r, y3, s3);
}

/**
 * A plane of outputs, od × oh × ow, from a frame of FH × FW a slice. `back`: the taps go from the far end of their window
 * towards its beginning (the input's gradient).
 */
export function depthwise(
  kd: i32, kh: i32, kw: i32, sd: i32, sh: i32, sw: i32, dd: i32, dh: i32, dw: i32, od: i32, oh: i32, ow: i32,
  FH: i32, FW: i32, back: bool, frame: usize, w: usize, bias: usize, y: usize,
): void {
  const sign = back ? -1 : 1;
  const dStep = <usize>(sign * dd * FH * FW) * 4;
  const hStep = <usize>(sign * dh * FW) * 4;
  const wStep = <usize>(sign * dw) * 4;
  const first = back ? (((kd - 1) * dd * FH) + (kh - 1) * dh) * FW + (kw - 1) * dw : 0;
  // Where there are fewer than four rows, the last one is computed again; so are columns and rows that overlap the ones before.
  const last = min(3, oh - 1);
  const rowStep = <usize>(sh * FW) * 4;
  const p1 = <usize>min(1, last) * rowStep;
  const p2 = <usize>min(2, last) * rowStep;
  const p3 = <usize>last * rowStep;
  const yStep = <usize>ow * 4;
  const r = min(4, ow);
  for (let i = 0; i < od; i++) {
    for (let j = 0, done = 0; done < oh; done += 4) {
      j = min(done, max(0, oh - 4));
      const slice = frame + <usize>((i * sd * FH + j * sh) * FW + first) * 4;
      const out = y + <usize>((i * oh + j) * ow) * 4;
      for (let from = 0; from < ow; from += 4) {
        const k = min(from, ow - r);
        const p = slice + <usize>(k * sw) * 4;
        const to = out + <usize>k * 4;
        const y1 = to + <usize>min(1, last) * yStep;
        const y2 = to + <usize>min(2, last) * yStep;
        const y3 = to + <usize>last * yStep;
        if (r < 4) fourRows(sw, r, kd, kh, kw, p, p1, p2, p3, dStep, hStep, wStep, w, bias, to, y1, y2, y3);
        else if (sw == 1) fourRows(1, 4, kd, kh, kw, p, p1, p2, p3, dStep, hStep, wStep, w, bias, to, y1, y2, y3);
        else if (sw == 2) fourRows(2, 4, kd, kh, kw, p, p1, p2, p3, dStep, hStep, wStep, w, bias, to, y1, y2, y3);
        else fourRows(sw, 4, kd, kh, kw, p, p1, p2, p3, dStep, hStep, wStep, w, bias, to, y1, y2, y3);
      }
    }
  }
}

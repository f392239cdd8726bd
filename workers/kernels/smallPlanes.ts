// Normalisation by channel of small planes, where a run alone would be all calls and loops. Of fewer than SMALL_PLANE elements,
// sums take two channels (or rows) at once, one a lane of f64; of 4×4 and 8×8, sample after sample without a call. All in the
// order of the run alone in reduce.ts, norm.ts and channels.ts, and with its bits.
import { affine, slope } from './channels';
import { gather4, highHalf, loadTail, scaled, storeTail, sum4 } from './lanes';
import { blockOf } from './narrowReduce';
import { rootOf } from './norm';

/** Shorter than the eight elements that a run alone takes a turn. */
export const SMALL_PLANE = 8;

/** What is added up. */
const VALUES = 0; // x
const SQUARES = 1; // (x − mean)²
const PRODUCTS = 2; // dy·(x − mean)

/** Two f32 lanes of two places. */
@inline
export function pair(p: usize, q: usize): v128 {
  return v128.load_lane<u32>(q, v128.load_zero<u32>(p), 1);
}

/** Four f32 lanes of four places. */
@inline
function four(p: usize, o0: usize, o1: usize, o2: usize, o3: usize): v128 {
  let v = v128.load_zero<u32>(p + o0);
  v = v128.load_lane<u32>(p + o1, v, 1);
  v = v128.load_lane<u32>(p + o2, v, 2);
  return v128.load_lane<u32>(p + o3, v, 3);
}

/** Σ over the plane at x and the one `gap` bytes on. */
@inline
function planes(what: i32, spatial: i32, gap: usize, x: usize, mean: v128, dy: usize): v128 {
  let s = f64x2.splat(0);
  do {
    let v = gather4(x, gap, 2);
    if (what != VALUES) {
      v = f32x4.sub(v, mean);
      v = f32x4.mul(v, what == SQUARES ? v : gather4(dy, gap, 2));
    }
    s = f64x2.add(s, f64x2.promote_low_f32x4(v));
    x += 4;
    dy += 4;
  } while (--spatial);
  return s;
}

/** The planes of n samples, `step` bytes a sample. */
@inline
function samples(what: i32, n: i32, spatial: i32, step: usize, x: usize, mean: v128, dy: usize): v128 {
  let total = f64x2.splat(0);
  do {
    total = f64x2.add(total, planes(what, spatial, <usize>spatial * 4, x, mean, dy));
    x += step;
    dy += step;
  } while (--n);
  return total;
}

/** Σ x of two neighbouring channels. */
function sumsOfTwo(n: i32, spatial: i32, step: usize, x: usize): v128 {
  return samples(VALUES, n, spatial, step, x, f32x4.splat(0), x);
}

/** Σ dy·(x − mean) of two neighbouring channels. */
function deviationsOfTwo(n: i32, spatial: i32, step: usize, x: usize, mean: v128, dy: usize): v128 {
  return samples(PRODUCTS, n, spatial, step, x, mean, dy);
}

/** Whether a plane is one or a few blocks of sixteen elements. */
@inline
export function inBlocks(spatial: i32): bool {
  return spatial <= 64 && (spatial & 15) == 0;
}

/** Σ (x − mean)² or Σ dy·(x − mean) of one plane in blocks, in four lanes. */
@inline
function deviationBlock(what: i32, spatial: i32, x: usize, mean: v128, dy: usize): v128 {
  let s0 = f32x4.splat(0);
  let s1 = s0;
  do {
    const a = f32x4.sub(v128.load(x), mean);
    const b = f32x4.sub(v128.load(x, 16), mean);
    s0 = f32x4.add(s0, f32x4.mul(what == SQUARES ? a : v128.load(dy), a));
    s1 = f32x4.add(s1, f32x4.mul(what == SQUARES ? b : v128.load(dy, 16), b));
    x += 32;
    dy += 32;
    spatial -= 8;
  } while (spatial > 0);
  return f32x4.add(s0, s1);
}

/** Σ over the planes of n samples, `step` bytes a sample. */
@inline
function blocks(what: i32, n: i32, spatial: i32, step: usize, x: usize, mean: f32, dy: usize): f64 {
  const m = f32x4.splat(mean);
  let total: f64 = 0;
  do {
    total += sum4(what == VALUES ? blockOf(spatial, x) : deviationBlock(what, spatial, x, m, dy));
    x += step;
    dy += step;
  } while (--n);
  return total;
}

export function valuesOfBlocks(n: i32, spatial: i32, step: usize, x: usize): f64 {
  return blocks(VALUES, n, spatial, step, x, 0, x);
}

export function squaresOfBlocks(n: i32, spatial: i32, step: usize, x: usize, mean: f32): f64 {
  return blocks(SQUARES, n, spatial, step, x, mean, x);
}

export function deviationsOfBlocks(n: i32, spatial: i32, step: usize, x: usize, mean: f32, dy: usize): f64 {
  return blocks(PRODUCTS, n, spatial, step, x, mean, dy);
}

/** Mean and biased variance of two neighbouring channels. */
export function momentsOfTwo(n: i32, spatial: i32, step: usize, x: usize, mean: usize, variance: usize): void {
  const inverse = f64x2.splat(1 / (<f64>n * <f64>spatial));
  const m = f32x4.demote_f64x2_zero(f64x2.mul(sumsOfTwo(n, spatial, step, x), inverse));
  v128.store_lane<u64>(mean, m, 0);
  const squares = samples(SQUARES, n, spatial, step, x, m, x);
  v128.store_lane<u64>(variance, f32x4.demote_f64x2_zero(f64x2.mul(squares, inverse)), 0);
}

/** `whole` bytes of a vector, if any, and `left` elements behind it. */
@inline
function affinePlane(whole: usize, left: i32, x: usize, y: usize, m: v128, r: v128, g: v128, b: v128): void {
  if (whole) v128.store(y, affine(v128.load(x), m, r, g, b));
  if (left) storeTail(y + whole, left, affine(loadTail(x + whole, left), m, r, g, b));
}

/** y = (x − mean)·rstd·gamma + beta of one channel's n planes, `step` bytes a sample. */
export function affinePlanes(
  n: i32, spatial: i32, step: usize, x: usize, y: usize, mean: f32, rstd: f32, gamma: f32, beta: f32,
): void {
  const m = f32x4.splat(mean);
  const r = f32x4.splat(rstd);
  const g = f32x4.splat(gamma);
  const b = f32x4.splat(beta);
  const whole = <usize>(spatial & 4) * 4;
  const left = spatial & 3;
  do {
    affinePlane(whole, left, x, y, m, r, g, b);
    x += step;
    y += step;
  } while (--n);
}

/** The same of one plane of each of `size` channels. */
export function affineChannels(
  size: i32, spatial: i32, x: usize, gamma: usize, beta: usize, y: usize, mean: f32, rstd: f32,
): void {
  const m = f32x4.splat(mean);
  const r = f32x4.splat(rstd);
  const run = <usize>spatial * 4;
  const whole = <usize>(spatial & 4) * 4;
  const left = spatial & 3;
  do {
    affinePlane(whole, left, x, y, m, r, v128.load32_splat(gamma), v128.load32_splat(beta));
    x += run;
    y += run;
    gamma += 4;
    beta += 4;
  } while (--size);
}

@inline
function inputGradPlane(
  whole: usize, left: i32, x: usize, dy: usize, dx: usize, m: v128, r: v128, g: v128, meanG: v128, meanGH: v128,
): void {
  if (whole) v128.store(dx, slope(v128.load(x), v128.load(dy), m, r, g, meanG, meanGH));
  if (left) {
    const v = slope(loadTail(x + whole, left), loadTail(dy + whole, left), m, r, g, meanG, meanGH);
    storeTail(dx + whole, left, v);
  }
}

/** dx = rstd·(dy·gamma − meanG − h·meanGH) of one channel's n planes, h = (x − mean)·rstd. */
export function inputGradPlanes(
  n: i32, spatial: i32, step: usize, x: usize, dy: usize, dx: usize,
  mean: f32, rstd: f32, gamma: f32, meanG: f32, meanGH: f32,
): void {
  const m = f32x4.splat(mean);
  const r = f32x4.splat(rstd);
  const g = f32x4.splat(gamma);
  const a = f32x4.splat(meanG);
  const b = f32x4.splat(meanGH);
  const whole = <usize>(spatial & 4) * 4;
  const left = spatial & 3;
  do {
    inputGradPlane(whole, left, x, dy, dx, m, r, g, a, b);
    x += step;
    dy += step;
    dx += step;
  } while (--n);
}

/** The same of one plane of each of `size` channels. */
function inputGradChannels(
  size: i32, spatial: i32, x: usize, gamma: usize, dy: usize, dx: usize, mean: usize, rstd: usize, meanG: f32, meanGH: f32,
): void {
  const m = v128.load32_splat(mean);
  const r = v128.load32_splat(rstd);
  const a = f32x4.splat(meanG);
  const b = f32x4.splat(meanGH);
  const run = <usize>spatial * 4;
  const whole = <usize>(spatial & 4) * 4;
  const left = spatial & 3;
  do {
    inputGradPlane(whole, left, x, dy, dx, m, r, v128.load32_splat(gamma), a, b);
    x += run;
    dy += run;
    dx += run;
    gamma += 4;
  } while (--size);
}

/** batchNormInputGrad of two neighbouring channels. */
export function batchInputGradOfTwo(
  n: i32, spatial: i32, step: usize, x: usize, gamma: usize, mean: usize, variance: usize, dy: usize, dx: usize, eps: f32,
): void {
  const run = <usize>spatial * 4;
  const inverse = 1 / (<f64>n * <f64>spatial);
  const sumDy = sumsOfTwo(n, spatial, step, dy);
  const sumDyD = deviationsOfTwo(n, spatial, step, x, loadTail(mean, 2), dy);
  for (let c: usize = 0; c < 2; c++) {
    const at = c * 4;
    const r = rootOf(<f64>load<f32>(variance + at), eps);
    const g = load<f32>(gamma + at);
    const one = c == 0 ? f64x2.extract_lane(sumDy, 0) : f64x2.extract_lane(sumDy, 1);
    const other = c == 0 ? f64x2.extract_lane(sumDyD, 0) : f64x2.extract_lane(sumDyD, 1);
    const meanG = <f32>(<f64>g * one * inverse);
    const meanGH = <f32>(<f64>g * <f64>r * other * inverse);
    const from = c * run;
    inputGradPlanes(n, spatial, step, x + from, dy + from, dx + from, load<f32>(mean + at), r, g, meanG, meanGH);
  }
}

/** batchNormWeightGrad of two neighbouring channels. */
export function batchWeightGradOfTwo(
  n: i32, spatial: i32, step: usize, x: usize, mean: usize, variance: usize, dy: usize, dgamma: usize, dbeta: usize,
  eps: f32,
): void {
  const sumDyD = deviationsOfTwo(n, spatial, step, x, loadTail(mean, 2), dy);
  store<f32>(dgamma, <f32>(<f64>rootOf(<f64>load<f32>(variance), eps) * f64x2.extract_lane(sumDyD, 0)));
  store<f32>(dgamma, <f32>(<f64>rootOf(<f64>load<f32>(variance, 4), eps) * f64x2.extract_lane(sumDyD, 1)), 4);
  v128.store_lane<u64>(dbeta, f32x4.demote_f64x2_zero(sumsOfTwo(n, spatial, step, dy)), 0);
}

/** groupNormInputGrad of two rows one behind the other; weights from w0 and w1. */
export function groupInputGradOfTwo(
  size: i32, spatial: i32, x: usize, w0: usize, w1: usize, mean: usize, rstd: usize, dy: usize, dx: usize,
): void {
  const run = <usize>spatial * 4;
  const length = <usize>size * run;
  const m = loadTail(mean, 2);
  const r = f64x2.promote_low_f32x4(loadTail(rstd, 2));
  let sumG = f64x2.splat(0);
  let sumGD = sumG;
  for (let c: usize = 0; c < <usize>size; c++) {
    const weight = f64x2.promote_low_f32x4(pair(w0 + c * 4, w1 + c * 4));
    const at = c * run;
    sumG = f64x2.add(sumG, f64x2.mul(weight, planes(VALUES, spatial, length, dy + at, m, dy)));
    sumGD = f64x2.add(sumGD, f64x2.mul(weight, planes(PRODUCTS, spatial, length, x + at, m, dy + at)));
  }
  const inverse = f64x2.splat(1 / (<f64>size * <f64>spatial));
  const meanG = f32x4.demote_f64x2_zero(f64x2.mul(sumG, inverse));
  const meanGH = f32x4.demote_f64x2_zero(f64x2.mul(f64x2.mul(sumGD, r), inverse));
  inputGradChannels(
    size, spatial, x, w0, dy, dx, mean, rstd, f32x4.extract_lane(meanG, 0), f32x4.extract_lane(meanGH, 0),
  );
  inputGradChannels(
    size, spatial, x + length, w1, dy + length, dx + length, mean + 4, rstd + 4,
    f32x4.extract_lane(meanG, 1), f32x4.extract_lane(meanGH, 1),
  );
}

/** groupNormWeightGrad of two neighbouring channels, of the groups at the byte offsets o0 and o1 of each sample's `row` bytes. */
export function groupWeightGradOfTwo(
  n: i32, spatial: i32, step: usize, row: usize, o0: usize, o1: usize,
  x: usize, mean: usize, rstd: usize, dy: usize, dgamma: usize, dbeta: usize,
): void {
  const gap = <usize>spatial * 4;
  let sumDyH = f64x2.splat(0);
  let sumDy = sumDyH;
  for (; n > 0; n--) {
    const m = pair(mean + o0, mean + o1);
    const r = f64x2.promote_low_f32x4(pair(rstd + o0, rstd + o1));
    sumDy = f64x2.add(sumDy, planes(VALUES, spatial, gap, dy, m, dy));
    sumDyH = f64x2.add(sumDyH, f64x2.mul(r, planes(PRODUCTS, spatial, gap, x, m, dy)));
    x += step;
    dy += step;
    mean += row;
    rstd += row;
  }
  v128.store_lane<u64>(dgamma, f32x4.demote_f64x2_zero(sumDyH), 0);
  v128.store_lane<u64>(dbeta, f32x4.demote_f64x2_zero(sumDy), 0);
}

/** The same of four neighbouring channels of one element a sample, of the groups at the byte offsets o0 to o3. */
export function groupWeightGradOfFour(
  n: i32, step: usize, row: usize, o0: usize, o1: usize, o2: usize, o3: usize,
  x: usize, mean: usize, rstd: usize, dy: usize, dgamma: usize, dbeta: usize,
): void {
  let hLow = f64x2.splat(0);
  let hHigh = hLow;
  let low = hLow;
  let high = hLow;
  do {
    const r = four(rstd, o0, o1, o2, o3);
    const d = v128.load(dy);
    const h = f32x4.mul(f32x4.sub(v128.load(x), four(mean, o0, o1, o2, o3)), d);
    low = f64x2.add(low, f64x2.promote_low_f32x4(d));
    high = f64x2.add(high, highHalf(d));
    hLow = f64x2.add(hLow, f64x2.mul(f64x2.promote_low_f32x4(r), f64x2.promote_low_f32x4(h)));
    hHigh = f64x2.add(hHigh, f64x2.mul(highHalf(r), highHalf(h)));
    x += step;
    dy += step;
    mean += row;
    rstd += row;
  } while (--n);
  const one = f64x2.splat(1);
  v128.store(dgamma, scaled(hLow, hHigh, one));
  v128.store(dbeta, scaled(low, high, one));
}

// Attention's rows of a block: queries scaled, scores made weights, and the cotangents of weights those of scores.
//
// Order of sums: a block's Σ e^(score − top) in two f32 vectors, then their lanes in f64; blocks of keys in ascending order, each
// added to what came before scaled by e^(old top − new top), the sum in f64.
import { maskRow, NONE } from './attentionMasks';
import { dropFactors, dropRow } from './dropout';
import { fillRow, loadTail, storeTail, sum4 } from './lanes';
import { mulAdd } from './math';
import { dotRow, logOne, scaleRow } from './softmax';

/** The least f32: what a running maximum starts from, so that a block of nothing but −∞ adds 0 and no NaN. */
const LEAST: f32 = -3.4028234663852886e38;

/** y = x·factor for `rows` rows of n, xStep bytes apart in x and side by side in y. */
export function attentionScaled(rows: i32, n: i32, x: usize, xStep: usize, factor: f32, y: usize): void {
  const f = f32x4.splat(factor);
  for (; rows > 0; rows--) {
    let from = x;
    let left = n;
    for (; left >= 4; left -= 4) {
      v128.store(y, f32x4.mul(v128.load(from), f));
      from += 16;
      y += 16;
    }
    if (left > 0) {
      storeTail(y, left, f32x4.mul(loadTail(from, left), f));
      y += <usize>left * 4;
    }
    x += xStep;
  }
}

/** x·factor in place, rows `ldx` elements apart. */
export function attentionScale(rows: i32, n: i32, x: usize, ldx: i32, factor: f32): void {
  for (; rows > 0; rows--) {
    scaleRow(n, x, factor);
    x += <usize>ldx * 4;
  }
}

/** Greatest of n ≤ KEYS scores and `least`; what is NaN does not count, and makes the sum NaN. */
function topOf(n: i32, x: usize, least: f32): f32 {
  let a = f32x4.splat(least);
  let b = a;
  for (; n >= 8; n -= 8) {
    a = f32x4.pmax(a, v128.load(x));
    b = f32x4.pmax(b, v128.load(x, 16));
    x += 32;
  }
  for (; n > 0; n--) {
    a = f32x4.pmax(a, v128.load32_splat(x));
    x += 4;
  }
  a = f32x4.pmax(a, b);
  a = f32x4.pmax(a, v128.shuffle<f32>(a, a, 2, 3, 0, 1));
  return f32x4.extract_lane(f32x4.pmax(a, v128.shuffle<f32>(a, a, 1, 0, 3, 2)), 0);
}

/**
 * e^x, x ≤ 0 where it is no `gradient`: 2^(n + r), n the nearest integer to x·log₂e, 2^r a polynomial of degree 6 (minimax, relative
 * error 2e-9). x·log₂e is rounded: relative error 1.2·2^-24·(2 + |x|), which for weights, of 1 at most, is 7.5e-8 absolute. Below
 * 2^-126, and so of what is hidden, it is 0. NaN stays.
 */
@inline
function vexpWeight(x: v128, gradient: bool): v128 {
  let y = f32x4.pmax(f32x4.mul(x, f32x4.splat(1.44269504088896341)), f32x4.splat(-127));
  // Weights of any logarithms: 2^128 is infinite.
  if (gradient) y = f32x4.pmin(y, f32x4.splat(128));
  // 1.5·2^23 + 127 + n: its low bits are the exponent field of 2^n.
  const z = f32x4.add(y, f32x4.splat(12583039));
  const r = f32x4.sub(y, f32x4.sub(z, f32x4.splat(12583039)));
  let p = mulAdd(f32x4.splat(1.5353361959569156e-4), r, f32x4.splat(1.3398875016719103e-3));
  p = mulAdd(p, r, f32x4.splat(9.61843691766262e-3));
  p = mulAdd(p, r, f32x4.splat(5.5503323674201965e-2));
  p = mulAdd(p, r, f32x4.splat(2.4022647738456726e-1));
  p = mulAdd(p, r, f32x4.splat(6.931471824645996e-1));
  p = mulAdd(p, r, f32x4.splat(1));
  return f32x4.mul(p, i32x4.shl(z, 23));
}

/** x becomes e^(x − shift), n ≤ KEYS; their sum. */
function expSumRow(n: i32, x: usize, shift: f32): f64 {
  const m = f32x4.splat(shift);
  let s0 = f32x4.splat(0);
  let s1 = s0;
  for (; n >= 8; n -= 8) {
    const e0 = vexpWeight(f32x4.sub(v128.load(x), m), false);
    const e1 = vexpWeight(f32x4.sub(v128.load(x, 16), m), false);
    v128.store(x, e0);
    v128.store(x, e1, 16);
    s0 = f32x4.add(s0, e0);
    s1 = f32x4.add(s1, e1);
    x += 32;
  }
  if (n >= 4) {
    const e = vexpWeight(f32x4.sub(v128.load(x), m), false);
    v128.store(x, e);
    s0 = f32x4.add(s0, e);
    n -= 4;
    x += 16;
  }
  let total = sum4(f32x4.add(s0, s1));
  if (n > 0) {
    const e = vexpWeight(f32x4.sub(loadTail(x, n), m), false);
    storeTail(x, n, e);
    total += <f64>f32x4.extract_lane(e, 0);
    if (n > 1) total += <f64>f32x4.extract_lane(e, 1);
    if (n > 2) total += <f64>f32x4.extract_lane(e, 2);
  }
  return total;
}

/** Of `cols` keys from key `first` on, those that query `row` sees. */
@inline
function visible(causal: i32, row: i32, first: i32, cols: i32): i32 {
  return causal ? max(0, min(cols, row + 1 - first)) : cols;
}

/**
 * Scores of queries i… and keys j… become e^(score − top), what is hidden 0; tops and sums run along, and y, what earlier blocks
 * of keys have added up, is scaled to the new top.
 */
export function attentionRows(
  rows: i32, cols: i32, i: i32, j: i32, causal: i32, scores: usize, lds: i32, tops: usize, sums: usize, V: i32, y: usize,
  ldv: i32, mask: usize,
): void {
  for (let r = 0; r < rows; r++) {
    const n = visible(causal, i + r, j, cols);
    if (n > 0) {
      if (mask != NONE) maskRow(n, mask, i + r, j, scores);
      // Whole vectors: what is hidden in the last is made nothing first.
      const whole = min(lds, (n + 7) & ~7);
      if (n < whole) fillRow(whole - n, f32x4.splat(-Infinity), scores + <usize>n * 4);
      const before = j > 0 ? load<f32>(tops) : LEAST;
      const top = topOf(whole, scores, before);
      let total = expSumRow(whole, scores, top);
      if (j > 0) {
        const factor = f32x4.extract_lane(vexpWeight(f32x4.splat(before - top), false), 0);
        total += load<f64>(sums) * <f64>factor;
        if (factor != 1) scaleRow(V, y, factor);
      }
      store<f32>(tops, top);
      store<f64>(sums, total);
      if (whole < cols) fillRow(cols - whole, f32x4.splat(0), scores + <usize>whole * 4);
    } else {
      fillRow(cols, f32x4.splat(0), scores);
    }
    scores += <usize>lds * 4;
    tops += 4;
    sums += 8;
    y += <usize>ldv * 4;
  }
}

/** Drops of what queries i… see of keys j…, in a matrix of S columns. */
export function attentionDrops(
  rows: i32, cols: i32, i: i32, j: i32, S: i32, causal: i32, scores: usize, lds: i32, drop: usize,
): void {
  for (let r = 0; r < rows; r++) {
    const n = visible(causal, i + r, j, cols);
    dropRow(n, drop, <u64>(i + r) * <u64>S + <u64>j, scores);
    scores += <usize>lds * 4;
  }
}

/** Behind the last block of keys: y over the sums, and their logarithms. Masked: a row that sees nothing sums up to 0. */
export function attentionFinish(
  rows: i32, tops: usize, sums: usize, V: i32, y: usize, ldv: i32, lse: usize, masked: i32,
): void {
  for (; rows > 0; rows--) {
    const total = load<f64>(sums);
    const nothing = masked != 0 && total == 0;
    scaleRow(V, y, nothing ? 0 : <f32>(1 / total));
    store<f32>(lse, nothing ? LEAST : load<f32>(tops) + logOne(<f32>total));
    tops += 4;
    sums += 8;
    y += <usize>ldv * 4;
    lse += 4;
  }
}

/** Σ dy·y of each row. */
export function attentionDeltas(rows: i32, V: i32, dy: usize, y: usize, ldv: i32, deltas: usize): void {
  for (; rows > 0; rows--) {
    store<f32>(deltas, <f32>dotRow(V, dy, y));
    dy += <usize>ldv * 4;
    y += <usize>ldv * 4;
    deltas += 4;
  }
}

/** Of a weight w and the cotangent dp of what dropout left of it, by its factor: the score's. */
@inline
function scoreGrad(w: v128, dp: v128, factor: v128, delta: v128, drops: bool): v128 {
  return f32x4.mul(w, f32x4.sub(drops ? f32x4.mul(dp, factor) : dp, delta));
}

/**
 * A row of scores p becomes its weights e^(p − lse), times their factors where there are any, and dp, the cotangents of
 * these, the scores'.
 */
@inline
function weightGradRow(n: i32, p: usize, dp: usize, lse: f32, delta: f32, factors: usize, drops: bool): void {
  const shift = f32x4.splat(lse);
  const d = f32x4.splat(delta);
  for (; n >= 8; n -= 8) {
    const w0 = vexpWeight(f32x4.sub(v128.load(p), shift), true);
    const w1 = vexpWeight(f32x4.sub(v128.load(p, 16), shift), true);
    const f0 = drops ? v128.load(factors) : d;
    const f1 = drops ? v128.load(factors, 16) : d;
    v128.store(p, drops ? f32x4.mul(w0, f0) : w0);
    v128.store(p, drops ? f32x4.mul(w1, f1) : w1, 16);
    v128.store(dp, scoreGrad(w0, v128.load(dp), f0, d, drops));
    v128.store(dp, scoreGrad(w1, v128.load(dp, 16), f1, d, drops), 16);
    p += 32;
    dp += 32;
    factors += 32;
  }
  for (; n > 0; n -= 4) {
    const r = min(n, 4);
    const w = vexpWeight(f32x4.sub(r == 4 ? v128.load(p) : loadTail(p, r), shift), true);
    const f = drops ? (r == 4 ? v128.load(factors) : loadTail(factors, r)) : d;
    const left = drops ? f32x4.mul(w, f) : w;
    const ds = scoreGrad(w, r == 4 ? v128.load(dp) : loadTail(dp, r), f, d, drops);
    if (r == 4) {
      v128.store(p, left);
      v128.store(dp, ds);
    } else {
      storeTail(p, r, left);
      storeTail(dp, r, ds);
    }
    p += 16;
    dp += 16;
    factors += 16;
  }
}

/**
 * Scores of queries i… and keys j… become what dropout leaves of the weights, and its cotangents the scores'; what is hidden
 * is 0. `factors` is room for a row.
 */
export function attentionWeightGrads(
  rows: i32, cols: i32, i: i32, j: i32, S: i32, causal: i32, weights: usize, grads: usize, lds: i32, lse: usize,
  deltas: usize, factors: usize, drop: usize, mask: usize,
): void {
  for (let r = 0; r < rows; r++) {
    const n = visible(causal, i + r, j, cols);
    // Whole vectors: what they make of hidden ones is made 0 behind them.
    const whole = min(lds, (n + 7) & ~7);
    if (mask != NONE && n > 0) maskRow(n, mask, i + r, j, weights);
    if (drop == NONE) {
      weightGradRow(whole, weights, grads, load<f32>(lse), load<f32>(deltas), 0, false);
    } else {
      dropFactors(n, drop, <u64>(i + r) * <u64>S + <u64>j, factors);
      weightGradRow(whole, weights, grads, load<f32>(lse), load<f32>(deltas), factors, true);
    }
    if (n < cols) {
      fillRow(cols - n, f32x4.splat(0), weights + <usize>n * 4);
      fillRow(cols - n, f32x4.splat(0), grads + <usize>n * 4);
    }
    weights += <usize>lds * 4;
    grads += <usize>lds * 4;
    lse += 4;
    deltas += 4;
  }
}

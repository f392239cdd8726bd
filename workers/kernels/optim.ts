// Parameter updates, PyTorch's formulas. What changes from step to step is read from h, so that a step's program is
// constant. Every gradient is first multiplied by the number at `clip` (norm clipping); `clip`, and state that a variant of
// an optimizer does not keep, may be -1: none. A factor of 1 changes no bit, so both ways run the same code.
import { loadTail, storeTail } from './lanes';

const NONE: usize = usize.MAX_VALUE;

/** r elements (4, or a tail of 1–3). */
@inline
function get(p: usize, r: i32): v128 {
  return r == 4 ? v128.load(p) : loadTail(p, r);
}

@inline
function set(p: usize, r: i32, v: v128): void {
  if (r == 4) v128.store(p, v);
  else storeTail(p, r, v);
}

@inline
function factorAt(clip: usize): v128 {
  return clip == NONE ? f32x4.splat(1) : v128.load32_splat(clip);
}

/** The clipped gradient, and L2 decay on top of it: the decay is not clipped. */
@inline
function gradient(r: i32, g: usize, factor: v128, weight: v128, decay: v128, decays: bool): v128 {
  const d = f32x4.mul(factor, get(g, r));
  return decays ? f32x4.add(d, f32x4.mul(decay, weight)) : d;
}

/** old·keep + take·x */
@inline
function blend(old: v128, keep: v128, take: v128, x: v128): v128 {
  return f32x4.add(f32x4.mul(keep, old), f32x4.mul(take, x));
}

@inline
function sgd4(
  r: i32, w: usize, g: usize, buf: usize, lr: v128, first: bool, mu: v128, take: v128, hasBuf: bool, nesterov: bool,
  factor: v128, decay: v128, decays: bool,
): void {
  const weight = get(w, r);
  let d = gradient(r, g, factor, weight, decay, decays);
  if (hasBuf) {
    const b = first ? d : blend(get(buf, r), mu, take, d);
    set(buf, r, b);
    d = nesterov ? f32x4.add(d, f32x4.mul(mu, b)) : b;
  }
  set(w, r, f32x4.sub(weight, f32x4.mul(lr, d)));
}

/**
 * h = [lr], with a buffer [lr, 1 on the first step else 0, momentum]; take = 1 − dampening. g' = clip·g + weightDecay·w;
 * buf = first ? g' : momentum·buf + take·g'; w −= lr·(nesterov ? g' + momentum·buf : buf). buf none: w −= lr·g'.
 */
export function sgd(
  n: i32, w: usize, g: usize, buf: usize, h: usize, clip: usize, take: f32, nesterov: i32, weightDecay: f32,
): void {
  const hasBuf = buf != NONE;
  const lr = v128.load32_splat(h);
  const first = hasBuf && load<f32>(h, 4) != 0;
  const mu = hasBuf ? v128.load32_splat(h, 8) : f32x4.splat(0);
  const t = f32x4.splat(take);
  const factor = factorAt(clip);
  const decay = f32x4.splat(weightDecay);
  const decays = weightDecay != 0;
  if (!hasBuf && !decays) {
    // As below, and four vectors a turn: this update is all traffic.
    for (; n >= 16; n -= 16) {
      v128.store(w, f32x4.sub(v128.load(w), f32x4.mul(lr, f32x4.mul(factor, v128.load(g)))));
      v128.store(w, f32x4.sub(v128.load(w, 16), f32x4.mul(lr, f32x4.mul(factor, v128.load(g, 16)))), 16);
      v128.store(w, f32x4.sub(v128.load(w, 32), f32x4.mul(lr, f32x4.mul(factor, v128.load(g, 32)))), 32);
      v128.store(w, f32x4.sub(v128.load(w, 48), f32x4.mul(lr, f32x4.mul(factor, v128.load(g, 48)))), 48);
      w += 64;
      g += 64;
    }
  }
  for (; n >= 4; n -= 4) {
    sgd4(4, w, g, buf, lr, first, mu, t, hasBuf, nesterov != 0, factor, decay, decays);
    w += 16;
    g += 16;
    buf += 16;
  }
  if (n > 0) sgd4(n, w, g, buf, lr, first, mu, t, hasBuf, nesterov != 0, factor, decay, decays);
}

@inline
function adam4(
  r: i32, w: usize, g: usize, m: usize, v: usize, vmax: usize, beta1: v128, beta2: v128, c1: v128, c2: v128,
  step: v128, eps: v128, factor: v128, l2: v128, hasL2: bool, shrink: v128, amsgrad: bool,
): void {
  const weight = get(w, r);
  const d = gradient(r, g, factor, weight, l2, hasL2);
  const m1 = blend(get(m, r), beta1, c1, d);
  const v1 = blend(get(v, r), beta2, c2, f32x4.mul(d, d));
  set(m, r, m1);
  set(v, r, v1);
  let top = v1;
  if (amsgrad) {
    top = f32x4.max(get(vmax, r), v1);
    set(vmax, r, top);
  }
  set(w, r, f32x4.sub(f32x4.mul(weight, shrink), f32x4.div(f32x4.mul(step, m1), f32x4.add(f32x4.sqrt(top), eps))));
}

/**
 * h = [lr, 1 − beta1^t, √(1 − beta2^t), beta1, 1 − beta1], c2 = 1 − beta2 (the host computes all of these in f64).
 * decoupled ? w ·= 1 − lr·weightDecay : g += weightDecay·w; m = beta1·m + (1 − beta1)·g; v = beta2·v + c2·g²;
 * w −= (lr / h[1])·m / (√(vmax none ? v : max over time of v) / h[2] + eps), numerator and denominator times h[2]: one
 * division an element instead of two.
 */
export function adam(
  n: i32, w: usize, g: usize, m: usize, v: usize, vmax: usize, h: usize, clip: usize, beta2: f32, c2: f32, eps: f32,
  weightDecay: f32, decoupled: i32,
): void {
  const lr = load<f32>(h);
  const root = <f64>load<f32>(h, 8);
  const step = f32x4.splat(<f32>((<f64>lr / <f64>load<f32>(h, 4)) * root));
  const b1 = v128.load32_splat(h, 12);
  const k1 = v128.load32_splat(h, 16);
  const amsgrad = vmax != NONE;
  const hasL2 = weightDecay != 0 && decoupled == 0;
  const shrink = f32x4.splat(decoupled != 0 ? <f32>(1 - <f64>lr * <f64>weightDecay) : 1);
  const b2 = f32x4.splat(beta2);
  const k2 = f32x4.splat(c2);
  const e = f32x4.splat(<f32>(<f64>eps * root));
  const factor = factorAt(clip);
  const l2 = f32x4.splat(weightDecay);
  if (!amsgrad && !hasL2) {
    // As below, without its questions.
    for (; n >= 8; n -= 8) {
      adam4(4, w, g, m, v, 0, b1, b2, k1, k2, step, e, factor, l2, false, shrink, false);
      adam4(4, w + 16, g + 16, m + 16, v + 16, 0, b1, b2, k1, k2, step, e, factor, l2, false, shrink, false);
      w += 32;
      g += 32;
      m += 32;
      v += 32;
    }
  }
  for (; n >= 4; n -= 4) {
    adam4(4, w, g, m, v, vmax, b1, b2, k1, k2, step, e, factor, l2, hasL2, shrink, amsgrad);
    w += 16;
    g += 16;
    m += 16;
    v += 16;
    vmax += 16;
  }
  if (n > 0) adam4(n, w, g, m, v, vmax, b1, b2, k1, k2, step, e, factor, l2, hasL2, shrink, amsgrad);
}

@inline
function adagrad4(
  r: i32, w: usize, g: usize, sum: usize, lr: v128, eps: v128, factor: v128, decay: v128, decays: bool,
): void {
  const weight = get(w, r);
  const d = gradient(r, g, factor, weight, decay, decays);
  const s = f32x4.add(get(sum, r), f32x4.mul(d, d));
  set(sum, r, s);
  set(w, r, f32x4.sub(weight, f32x4.div(f32x4.mul(lr, d), f32x4.add(f32x4.sqrt(s), eps))));
}

/** h = [lr / (1 + (t − 1)·lrDecay)]. g' = clip·g + weightDecay·w; sum += g'²; w −= h[0]·g' / (√sum + eps). */
export function adagrad(
  n: i32, w: usize, g: usize, sum: usize, h: usize, clip: usize, eps: f32, weightDecay: f32,
): void {
  const lr = v128.load32_splat(h);
  const e = f32x4.splat(eps);
  const factor = factorAt(clip);
  const decay = f32x4.splat(weightDecay);
  const decays = weightDecay != 0;
  for (; n >= 4; n -= 4) {
    adagrad4(4, w, g, sum, lr, e, factor, decay, decays);
    w += 16;
    g += 16;
    sum += 16;
  }
  if (n > 0) adagrad4(n, w, g, sum, lr, e, factor, decay, decays);
}

@inline
function adadelta4(
  r: i32, w: usize, g: usize, v: usize, u: usize, lr: v128, rho: v128, c: v128, eps: v128, factor: v128, decay: v128,
  decays: bool,
): void {
  const weight = get(w, r);
  const d = gradient(r, g, factor, weight, decay, decays);
  const v1 = blend(get(v, r), rho, c, f32x4.mul(d, d));
  set(v, r, v1);
  const u0 = get(u, r);
  const ratio = f32x4.div(f32x4.sqrt(f32x4.add(u0, eps)), f32x4.sqrt(f32x4.add(v1, eps)));
  const delta = f32x4.mul(ratio, d);
  set(u, r, blend(u0, rho, c, f32x4.mul(delta, delta)));
  set(w, r, f32x4.sub(weight, f32x4.mul(lr, delta)));
}

/**
 * h = [lr], c = 1 − rho. g' = clip·g + weightDecay·w; v = rho·v + c·g'²; d = √(u + eps) / √(v + eps)·g' with the u of the
 * step before; u = rho·u + c·d²; w −= lr·d.
 */
export function adadelta(
  n: i32, w: usize, g: usize, v: usize, u: usize, h: usize, clip: usize, rho: f32, c: f32, eps: f32, weightDecay: f32,
): void {
  const lr = v128.load32_splat(h);
  const p = f32x4.splat(rho);
  const q = f32x4.splat(c);
  const e = f32x4.splat(eps);
  const factor = factorAt(clip);
  const decay = f32x4.splat(weightDecay);
  const decays = weightDecay != 0;
  for (; n >= 4; n -= 4) {
    adadelta4(4, w, g, v, u, lr, p, q, e, factor, decay, decays);
    w += 16;
    g += 16;
    v += 16;
    u += 16;
  }
  if (n > 0) adadelta4(n, w, g, v, u, lr, p, q, e, factor, decay, decays);
}

@inline
function rmsprop4(
  r: i32, w: usize, g: usize, v: usize, a: usize, buf: usize, lr: v128, mu: v128, alpha: v128, c: v128, eps: v128,
  centered: bool, hasBuf: bool, factor: v128, decay: v128, decays: bool,
): void {
  const weight = get(w, r);
  const d = gradient(r, g, factor, weight, decay, decays);
  const v1 = blend(get(v, r), alpha, c, f32x4.mul(d, d));
  set(v, r, v1);
  let variance = v1;
  if (centered) {
    const a1 = blend(get(a, r), alpha, c, d);
    set(a, r, a1);
    variance = f32x4.max(f32x4.sub(v1, f32x4.mul(a1, a1)), f32x4.splat(0));
  }
  let step = f32x4.div(d, f32x4.add(f32x4.sqrt(variance), eps));
  if (hasBuf) {
    step = f32x4.add(f32x4.mul(mu, get(buf, r)), step);
    set(buf, r, step);
  }
  set(w, r, f32x4.sub(weight, f32x4.mul(lr, step)));
}

/**
 * h = [lr], with a buffer [lr, momentum]; c = 1 − alpha. g' = clip·g + weightDecay·w; v = alpha·v + c·g'²; a (centered) =
 * alpha·a + c·g'; s = g' / (√(centered ? max(v − a², 0) : v) + eps); with a buffer s = buf = momentum·buf + s; w −= lr·s.
 * v − a² is a variance: only rounding can make it negative, and its root would be NaN.
 */
export function rmsprop(
  n: i32, w: usize, g: usize, v: usize, a: usize, buf: usize, h: usize, clip: usize, alpha: f32, c: f32, eps: f32,
  weightDecay: f32,
): void {
  const centered = a != NONE;
  const hasBuf = buf != NONE;
  const lr = v128.load32_splat(h);
  const mu = hasBuf ? v128.load32_splat(h, 4) : f32x4.splat(0);
  const p = f32x4.splat(alpha);
  const q = f32x4.splat(c);
  const e = f32x4.splat(eps);
  const factor = factorAt(clip);
  const decay = f32x4.splat(weightDecay);
  const decays = weightDecay != 0;
  for (; n >= 4; n -= 4) {
    rmsprop4(4, w, g, v, a, buf, lr, mu, p, q, e, centered, hasBuf, factor, decay, decays);
    w += 16;
    g += 16;
    v += 16;
    a += 16;
    buf += 16;
  }
  if (n > 0) rmsprop4(n, w, g, v, a, buf, lr, mu, p, q, e, centered, hasBuf, factor, decay, decays);
}

/**
 * PyTorch's clip_grad_norm_: y = min(1, maxNorm / (√Σ x + 1e-6)), x being n sums of squares, added in ascending order; all
 * in f64, rounded once. NaN where the norm is NaN.
 */
export function clipFactor(n: i32, x: usize, y: usize, maxNorm: f64): void {
  let total: f64 = 0;
  for (; n > 0; n--) {
    total += <f64>load<f32>(x);
    x += 4;
  }
  store<f32>(y, <f32>min<f64>(1, maxNorm / (sqrt<f64>(total) + 1e-6)));
}

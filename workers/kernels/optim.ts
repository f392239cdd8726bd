// Parameter updates, PyTorch's formulas. What changes from step to step is read from h, so that a step's program is constant.
import { loadTail, storeTail } from './lanes';

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
function sgd4(
  r: i32, w: usize, g: usize, buf: usize, lr: v128, first: bool, mu: v128, keep: v128, hasBuf: bool, nesterov: bool,
  decay: v128, decays: bool,
): void {
  const weight = get(w, r);
  let d = get(g, r);
  if (decays) d = f32x4.add(d, f32x4.mul(decay, weight));
  if (hasBuf) {
    const b = first ? d : f32x4.add(f32x4.mul(mu, get(buf, r)), f32x4.mul(keep, d));
    set(buf, r, b);
    d = nesterov ? f32x4.add(d, f32x4.mul(mu, b)) : b;
  }
  set(w, r, f32x4.sub(weight, f32x4.mul(lr, d)));
}

/**
 * h = [learning rate, 1 on the first step else 0]. g' = g + weightDecay·w; buf = first ? g' : momentum·buf +
 * (1 − dampening)·g'; w −= lr·(nesterov ? g' + momentum·buf : buf). With momentum 0, buf is not touched and w −= lr·g'.
 */
export function sgd(
  n: i32, w: usize, g: usize, buf: usize, h: usize, momentum: f32, dampening: f32, nesterov: i32, weightDecay: f32,
): void {
  const lr = v128.load32_splat(h);
  const first = load<f32>(h, 4) != 0;
  const mu = f32x4.splat(momentum);
  const keep = f32x4.splat(1 - dampening);
  const decay = f32x4.splat(weightDecay);
  const hasBuf = momentum != 0;
  const decays = weightDecay != 0;
  for (; n >= 4; n -= 4) {
    sgd4(4, w, g, buf, lr, first, mu, keep, hasBuf, nesterov != 0, decay, decays);
    w += 16;
    g += 16;
    buf += 16;
  }
  if (n > 0) sgd4(n, w, g, buf, lr, first, mu, keep, hasBuf, nesterov != 0, decay, decays);
}

@inline
function adam4(
  r: i32, w: usize, g: usize, m: usize, v: usize, vmax: usize, beta1: v128, beta2: v128, c1: v128, c2: v128,
  step: v128, root: v128, eps: v128, l2: v128, hasL2: bool, shrink: v128, amsgrad: bool,
): void {
  let weight = get(w, r);
  let d = get(g, r);
  if (hasL2) d = f32x4.add(d, f32x4.mul(l2, weight));
  else weight = f32x4.mul(weight, shrink);
  const m1 = f32x4.add(f32x4.mul(beta1, get(m, r)), f32x4.mul(c1, d));
  const v1 = f32x4.add(f32x4.mul(beta2, get(v, r)), f32x4.mul(c2, f32x4.mul(d, d)));
  set(m, r, m1);
  set(v, r, v1);
  let top = v1;
  if (amsgrad) {
    top = f32x4.max(get(vmax, r), v1);
    set(vmax, r, top);
  }
  const denominator = f32x4.add(f32x4.div(f32x4.sqrt(top), root), eps);
  set(w, r, f32x4.sub(weight, f32x4.div(f32x4.mul(step, m1), denominator)));
}

/**
 * h = [lr, 1 − beta1^t, √(1 − beta2^t)], c1 = 1 − beta1, c2 = 1 − beta2 (the host computes all five in f64).
 * decoupled ? w ·= 1 − lr·weightDecay : g += weightDecay·w; m = beta1·m + c1·g; v = beta2·v + c2·g²;
 * w −= (lr / h[1])·m / (√(amsgrad ? max over time of v : v) / h[2] + eps). vmax is not touched unless amsgrad.
 */
export function adam(
  n: i32, w: usize, g: usize, m: usize, v: usize, h: usize, beta1: f32, beta2: f32, c1: f32, c2: f32, eps: f32,
  weightDecay: f32, decoupled: i32, amsgrad: i32, vmax: usize,
): void {
  const lr = load<f32>(h);
  const step = f32x4.splat(lr / load<f32>(h, 4));
  const root = v128.load32_splat(h, 8);
  const hasL2 = weightDecay != 0 && decoupled == 0;
  const shrink = f32x4.splat(decoupled != 0 ? <f32>(1 - <f64>lr * <f64>weightDecay) : 1);
  const b1 = f32x4.splat(beta1);
  const b2 = f32x4.splat(beta2);
  const k1 = f32x4.splat(c1);
  const k2 = f32x4.splat(c2);
  const e = f32x4.splat(eps);
  const l2 = f32x4.splat(weightDecay);
  for (; n >= 4; n -= 4) {
    adam4(4, w, g, m, v, vmax, b1, b2, k1, k2, step, root, e, l2, hasL2, shrink, amsgrad != 0);
    w += 16;
    g += 16;
    m += 16;
    v += 16;
    vmax += 16;
  }
  if (n > 0) adam4(n, w, g, m, v, vmax, b1, b2, k1, k2, step, root, e, l2, hasL2, shrink, amsgrad != 0);
}

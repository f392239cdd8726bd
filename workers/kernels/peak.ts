// The arithmetic limit of this machine's 128-bit SIMD: multiplies and adds that wait for nothing and touch no memory.
// Benchmarks quote a kernel as a share of this loop, run beside it.

/** n rounds of 6 multiplies and 6 adds on four lanes, 48 operations a round; the result only keeps the work alive. */
export function peakMulAdd(n: i32): f32 {
  const factor = f32x4.splat(0.99999994);
  const term = f32x4.splat(1e-9);
  let m0 = f32x4.splat(1);
  let m1 = f32x4.splat(1.1);
  let m2 = f32x4.splat(1.2);
  let m3 = f32x4.splat(1.3);
  let m4 = f32x4.splat(1.4);
  let m5 = f32x4.splat(1.5);
  let a0 = m0;
  let a1 = m1;
  let a2 = m2;
  let a3 = m3;
  let a4 = m4;
  let a5 = m5;
  for (; n > 0; n--) {
    m0 = f32x4.mul(m0, factor);
    a0 = f32x4.add(a0, term);
    m1 = f32x4.mul(m1, factor);
    a1 = f32x4.add(a1, term);
    m2 = f32x4.mul(m2, factor);
    a2 = f32x4.add(a2, term);
    m3 = f32x4.mul(m3, factor);
    a3 = f32x4.add(a3, term);
    m4 = f32x4.mul(m4, factor);
    a4 = f32x4.add(a4, term);
    m5 = f32x4.mul(m5, factor);
    a5 = f32x4.add(a5, term);
  }
  const m = f32x4.add(f32x4.add(f32x4.add(m0, m1), f32x4.add(m2, m3)), f32x4.add(m4, m5));
  const a = f32x4.add(f32x4.add(f32x4.add(a0, a1), f32x4.add(a2, a3)), f32x4.add(a4, a5));
  return f32x4.extract_lane(f32x4.add(m, a), 0);
}

/**
 * n rounds of 12 chained multiply-adds on four lanes, 96 operations a round: enough chains to hide the latencies, so on
 * processors with separate multipliers and adders the higher of the two bounds.
 */
export function peakMulAddChained(n: i32): f32 {
  const factor = f32x4.splat(0.999);
  const term = f32x4.splat(0.000244140625);
  let c0 = f32x4.splat(0);
  let c1 = f32x4.splat(1);
  let c2 = f32x4.splat(2);
  let c3 = f32x4.splat(3);
  let c4 = f32x4.splat(4);
  let c5 = f32x4.splat(5);
  let c6 = f32x4.splat(6);
  let c7 = f32x4.splat(7);
  let c8 = f32x4.splat(8);
  let c9 = f32x4.splat(9);
  let c10 = f32x4.splat(10);
  let c11 = f32x4.splat(11);
  do {
    c0 = f32x4.add(f32x4.mul(c0, factor), term);
    c1 = f32x4.add(f32x4.mul(c1, factor), term);
    c2 = f32x4.add(f32x4.mul(c2, factor), term);
    c3 = f32x4.add(f32x4.mul(c3, factor), term);
    c4 = f32x4.add(f32x4.mul(c4, factor), term);
    c5 = f32x4.add(f32x4.mul(c5, factor), term);
    c6 = f32x4.add(f32x4.mul(c6, factor), term);
    c7 = f32x4.add(f32x4.mul(c7, factor), term);
    c8 = f32x4.add(f32x4.mul(c8, factor), term);
    c9 = f32x4.add(f32x4.mul(c9, factor), term);
    c10 = f32x4.add(f32x4.mul(c10, factor), term);
    c11 = f32x4.add(f32x4.mul(c11, factor), term);
  } while (--n);
  c0 = f32x4.add(c0, c1);
  c1 = f32x4.add(c2, c3);
  c2 = f32x4.add(c4, c5);
  c3 = f32x4.add(c6, c7);
  c4 = f32x4.add(c8, c9);
  c5 = f32x4.add(c10, c11);
  const sum = f32x4.add(f32x4.add(f32x4.add(c0, c1), f32x4.add(c2, c3)), f32x4.add(c4, c5));
  return f32x4.extract_lane(sum, 0);
}

/** n rounds of eight dependent steps of two instructions, 16 cycles a round on every processor of today: the clock's rate. */
export function clockChain(n: i32, x: i32): i32 {
  do {
    x = rotl(x, 3) ^ n;
    x = rotl(x, 5) ^ n;
    x = rotl(x, 7) ^ n;
    x = rotl(x, 3) ^ n;
    x = rotl(x, 5) ^ n;
    x = rotl(x, 7) ^ n;
    x = rotl(x, 3) ^ n;
    x = rotl(x, 5) ^ n;
  } while (--n);
  return x;
}

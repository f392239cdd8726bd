// gemm against f64 over sizes around every block edge, all transposes, padded strides, both betas.
import { describe, expect, it } from 'vitest';
import { expectClose, kernels, normal, run } from './harness.ts';

const at = (m: Float32Array, i: number) => m[i]!;

function product(
  M: number,
  N: number,
  K: number,
  a: (i: number, k: number) => number,
  b: (k: number, j: number) => number,
) {
  const c = new Float64Array(M * N);
  for (let i = 0; i < M; i++)
    for (let k = 0; k < K; k++) for (let j = 0; j < N; j++) c[i * N + j]! += a(i, k) * b(k, j);
  return c;
}

function check(M: number, N: number, K: number, transA: boolean, transB: boolean, beta: number, gap = 0): Float32Array {
  const lda = (transA ? M : K) + gap;
  const ldb = (transB ? K : N) + gap;
  const ldc = N + gap;
  const [ars, acs] = transA ? [1, lda] : [lda, 1];
  const [brs, bcs] = transB ? [1, ldb] : [ldb, 1];
  const a = normal((M - 1) * ars! + (K - 1) * acs! + 1, M);
  const b = normal((K - 1) * brs! + (N - 1) * bcs! + 1, N + 7);
  const c = normal((M - 1) * ldc + N, K + 3);
  const p = product(
    M,
    N,
    K,
    (i, k) => at(a, i * ars! + k * acs!),
    (k, j) => at(b, k * brs! + j * bcs!),
  );
  const expected = Float64Array.from(c);
  for (let i = 0; i < M; i++)
    for (let j = 0; j < N; j++) expected[i * ldc + j] = beta * c[i * ldc + j]! + p[i * N + j]!;
  const ws = kernels.gemmWorkspace!(M, N, K);
  const y = run('gemm', M, N, K, { in: a }, ars!, acs!, { in: b }, brs!, bcs!, { inout: c }, ldc, beta, { ws })[0]!;
  expectClose(y, expected, 1e-5, 2e-6 * Math.sqrt(K) * 4);
  return y as Float32Array;
}

describe('gemm', () => {
  it('small sizes, all forms', () => {
    for (const M of [1, 2, 3, 8, 9]) {
      for (const N of [1, 2, 7, 8, 9, 16, 17, 24, 33]) {
        for (const K of [1, 3, 4, 7]) {
          for (const t of [0, 1, 2, 3]) check(M, N, K, (t & 1) > 0, (t & 2) > 0, (M + N + K + t) % 2, (M + t) % 3);
        }
      }
    }
  });
  it('tall and narrow', () => {
    for (const [M, N, K] of [
      [4, 1, 3],
      [9, 3, 5],
      [10, 3, 6],
      [12, 4, 2],
      [15, 2, 9],
      [33, 1, 258],
      [40, 4, 17],
      [131, 2, 300],
    ] as const) {
      for (const t of [0, 1, 2, 3]) check(M, N, K, (t & 1) > 0, (t & 2) > 0, t % 2, t);
    }
  });
  it('block edges', () => {
    for (const [M, N, K] of [
      [129, 17, 5],
      [128, 40, 257],
      [131, 1030, 3],
      [5, 50, 513],
      [257, 9, 260],
    ] as const) {
      for (const t of [0, 1, 2, 3]) check(M, N, K, (t & 1) > 0, (t & 2) > 0, t % 2);
    }
  });
  it('adds blocks of 256 k, each from zero, in ascending order', () => {
    const K = 600;
    const a = normal(K, 1);
    const b = normal(K, 2);
    const c = normal(1, 3);
    let expected = c[0]!;
    for (let k0 = 0; k0 < K; k0 += 256) {
      let sum = 0;
      for (let k = k0; k < Math.min(K, k0 + 256); k++) sum = Math.fround(sum + Math.fround(a[k]! * b[k]!));
      expected = Math.fround(expected + sum);
    }
    const ws = kernels.gemmWorkspace!(1, 1, K);
    const y = run('gemm', 1, 1, K, { in: a }, K, 1, { in: b }, 1, 1, { inout: c }, 1, 1, { ws })[0]!;
    expect(y[0]).toBe(expected);
  });
  it('gives the same bits whatever the strides', () => {
    const [M, N, K] = [7, 21, 300];
    const a = normal(M * K, 1);
    const b = normal(K * N, 2);
    const aT = a.map((_, i) => a[(i % M) * K + Math.floor(i / M)]!);
    const bT = b.map((_, i) => b[(i % K) * N + Math.floor(i / K)]!);
    const ws = kernels.gemmWorkspace!(M, N, K);
    const nn = run('gemm', M, N, K, { in: a }, K, 1, { in: b }, N, 1, { out: new Float32Array(M * N) }, N, 0, {
      ws,
    })[0];
    const tt = run('gemm', M, N, K, { in: aT }, 1, M, { in: bT }, 1, K, { out: new Float32Array(M * N) }, N, 0, {
      ws,
    })[0];
    expect(tt).toEqual(nn);
  });
  it('propagates NaN and infinity', () => {
    const ws = kernels.gemmWorkspace!(2, 2, 2);
    const a = Float32Array.of(Number.NaN, 0, Infinity, 1);
    const y = run(
      'gemm',
      2,
      2,
      2,
      { in: a },
      2,
      1,
      { in: Float32Array.of(1, 2, 3, 4) },
      2,
      1,
      { out: new Float32Array(4) },
      2,
      0,
      { ws },
    )[0]!;
    expect([...y]).toEqual([Number.NaN, Number.NaN, Infinity, Infinity]);
  });
  it('batches, an operand repeated', () => {
    const [B, M, N, K] = [3, 5, 6, 7];
    const a = normal(B * M * K, 1);
    const b = normal(K * N, 2);
    const expected = Array.from({ length: B }, (_, n) =>
      product(
        M,
        N,
        K,
        (i, k) => a[n * M * K + i * K + k]!,
        (k, j) => b[k * N + j]!,
      ),
    ).flatMap((c) => [...c]);
    const ws = kernels.gemmWorkspace!(M, N, K);
    const c = { out: new Float32Array(B * M * N) };
    const y = run('gemmBatched', B, M, N, K, { in: a }, M * K, K, 1, { in: b }, 0, N, 1, c, M * N, N, 0, { ws })[0]!;
    expectClose(y, expected);
  });
});

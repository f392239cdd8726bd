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

/** Sizes on both sides of every choice: single rows and columns, few rows, narrow and ragged columns, several blocks of k and rows. */
const ways = [
  ...[1, 2, 3, 4, 5, 6, 8, 9, 11, 12, 13, 15, 16, 17, 31, 32, 33, 35, 36, 67].map((n) => [1, n, 9] as const),
  ...[2, 3, 4, 5, 7, 8, 9, 12, 13, 16, 17, 18, 33].flatMap((m) =>
    [1, 2, 3, 4, 5, 8, 9, 12, 13, 16, 17, 19, 21].map((n) => [m, n, ((m + n) % 7) + 1] as const),
  ),
  [1, 21, 515],
  [33, 1, 258],
  [3, 6, 259],
  [5, 20, 513],
  [64, 17, 5],
  [65, 17, 6],
  [66, 16, 7],
  [70, 12, 257],
  [128, 33, 20],
  [129, 18, 260],
  [131, 35, 9],
  [140, 11, 6],
  [130, 1027, 3],
  [1024, 5, 3],
  [2, 24, 40],
  [3, 16, 32],
  [4, 64, 33],
  [5, 33, 35],
  [6, 18, 259],
  [17, 50, 34],
  [128, 20, 39],
  [9, 65, 32],
] as const;

/** Both operands with contiguous rows. */
const operands = (M: number, N: number, K: number) => [normal(M * K, M), normal(K * N, N + 7)] as const;

/** beta·c + a·b in f32, blocks of 256 k each from zero, in ascending order. */
function ordered(M: number, N: number, K: number, c: Float32Array, beta: number): Float32Array {
  const [a, b] = operands(M, N, K);
  const y = new Float32Array(M * N);
  for (let i = 0; i < M; i++)
    for (let j = 0; j < N; j++) {
      let total = c[i * N + j]!;
      for (let k0 = 0; k0 < K; k0 += 256) {
        let sum = 0;
        for (let k = k0; k < Math.min(K, k0 + 256); k++)
          sum = Math.fround(sum + Math.fround(a[i * K + k]! * b[k * N + j]!));
        total = k0 === 0 && beta === 0 ? sum : Math.fround(total + sum);
      }
      y[i * N + j] = total;
    }
  return y;
}

/** The same by gemm: bit 0 of `form` lays a's columns side by side, bit 1 b's; `gap` elements lie between rows of all three. */
function multiplied(
  M: number,
  N: number,
  K: number,
  form: number,
  gap: number,
  c: Float32Array,
  beta: number,
  change: (a: Float32Array, b: Float32Array) => void = () => {},
): Float32Array {
  const [a, b] = operands(M, N, K);
  change(a, b);
  const laid = (x: Float32Array, rows: number, columns: number, across: boolean) => {
    const [rowStep, step] = across ? [1, rows + gap] : [columns + gap, 1];
    const out = new Float32Array((rows - 1) * rowStep + (columns - 1) * step + 1).fill(Number.NaN);
    for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) out[i * rowStep + j * step] = x[i * columns + j]!;
    return [out, rowStep, step] as const;
  };
  const [aIn, ars, acs] = laid(a, M, K, (form & 1) > 0);
  const [bIn, brs, bcs] = laid(b, K, N, (form & 2) > 0);
  const [inout, ldc] = laid(c, M, N, false);
  const ws = kernels.gemmWorkspace!(M, N, K);
  const y = run('gemm', M, N, K, { in: aIn }, ars, acs, { in: bIn }, brs, bcs, { inout }, ldc, beta, { ws })[0]!;
  const written = y.findIndex((v, i) => i % ldc >= N && !Number.isNaN(v));
  if (written >= 0) throw new Error(`the gap behind row ${Math.floor(written / ldc)} of c holds ${y[written]}`);
  return Float32Array.from({ length: M * N }, (_, i) => y[Math.floor(i / N) * ldc + (i % N)]!);
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
  it('keeps that order whatever is packed or read where it lies', () => {
    for (const [M, N, K] of ways) {
      const c = normal(M * N, K);
      for (const beta of [0, 1]) {
        const expected = ordered(M, N, K, c, beta);
        for (const form of [0, 1, 2, 3]) {
          const y = multiplied(M, N, K, form, (M + N + form) % 3, c, beta);
          const wrong = expected.findIndex((v, i) => !Object.is(v, y[i]));
          expect(wrong, `${M}×${N}×${K}, form ${form}, beta ${beta}: first element of other bits`).toBe(-1);
        }
      }
    }
  });
  it('shows a NaN and an infinity in the row and the column that meet them, and nowhere else', () => {
    for (const [M, N, K] of ways.filter(([m, n, k]) => m * n * k < 40_000)) {
      for (const form of [0, 1, 2, 3]) {
        for (const [row, column] of [
          [0, N - 1],
          [M - 1, 0],
        ] as const) {
          const y = multiplied(M, N, K, form, form % 2, new Float32Array(M * N), 0, (a, b) => {
            a[row * K + K - 1] = Number.NaN;
            b[column] = Number.POSITIVE_INFINITY;
          });
          const strange = [...y].flatMap((v, i) => (Number.isFinite(v) ? [] : [i]));
          const met = [...y.keys()].filter((i) => Math.floor(i / N) === row || i % N === column);
          expect(strange, `${M}×${N}×${K}, form ${form}`).toEqual(met);
          for (const i of met) expect(Number.isNaN(y[i]!)).toBe(Math.floor(i / N) === row);
        }
      }
    }
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
  it('multiplies batches of small matrices as it does single ones', () => {
    for (const [B, M, N, K] of [
      [5, 3, 3, 3],
      [3, 4, 4, 4],
      [4, 8, 5, 7],
      [3, 1, 16, 6],
      [3, 16, 1, 6],
      [2, 7, 12, 9],
    ] as const) {
      for (const form of [0, 1, 2, 3]) {
        const a = normal(B * M * K, 1);
        const b = normal(B * K * N, 2);
        const steps = [
          { in: a },
          ...[M * K, ...(form & 1 ? [1, M] : [K, 1])],
          { in: b },
          ...[K * N, ...(form & 2 ? [1, K] : [N, 1])],
        ];
        const ws = kernels.gemmWorkspace!(M, N, K);
        const c = { out: new Float32Array(B * M * N) };
        const y = run('gemmBatched', B, M, N, K, ...steps, c, M * N, N, 0, { ws })[0]! as Float32Array;
        for (let n = 0; n < B; n++) {
          const one = [
            { in: a.slice(n * M * K, (n + 1) * M * K) },
            ...(form & 1 ? [1, M] : [K, 1]),
            { in: b.slice(n * K * N, (n + 1) * K * N) },
            ...(form & 2 ? [1, K] : [N, 1]),
          ];
          const alone = run('gemm', M, N, K, ...one, { out: new Float32Array(M * N) }, N, 0, { ws })[0]!;
          expect(y.slice(n * M * N, (n + 1) * M * N)).toEqual(alone);
        }
      }
    }
  });
});

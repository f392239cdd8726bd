/**
 * Products that a library is tried by: small ones in a row, each compared with plain sums. What callers share unlocked is
 * taken and given back once a product, so that the smallest of two threads collide soonest: libopenblas0-serial is found out
 * within a few milliseconds by products of 4 × 4, and hardly ever by those of 96 × 96.
 */
import type { Blas } from './library.ts';

/** With transposes, and ragged sizes among them. */
const products = [
  { sizes: [4, 4, 4], transA: 0, transB: 0 },
  { sizes: [5, 8, 7], transA: 1, transB: 0 },
  { sizes: [8, 6, 9], transA: 0, transB: 1 },
  { sizes: [9, 16, 12], transA: 1, transB: 1 },
  { sizes: [33, 50, 40], transA: 0, transB: 0 },
] as const;

/** Products in a row, whose results are looked at afterwards: the library is busy most of the time. */
const burstOf = ([m, n, k]: Sizes): number => Math.ceil(32_000 / (m * n * k));

type Sizes = readonly [m: number, n: number, k: number];

/** What is wrong with the first product that is, or null; each kind is tried at least once, and all for so long. */
export function tryProducts(
  blas: Pick<Blas, 'sgemm' | 'addressOf'>,
  seed: number,
  milliseconds: number,
): string | null {
  const bursts = products.map((product) => prepare(blas, seed, product));
  const end = performance.now() + milliseconds;
  do {
    for (const burst of bursts) {
      const wrong = burst();
      if (wrong !== null) return wrong;
    }
  } while (performance.now() < end);
  return null;
}

function prepare(
  { sgemm, addressOf }: Pick<Blas, 'sgemm' | 'addressOf'>,
  seed: number,
  { sizes, transA, transB }: (typeof products)[number],
) {
  const [m, n, k] = sizes;
  const burst = burstOf(sizes);
  // One buffer: results keep the operands alive, of which the library is told addresses only.
  const values = new Float32Array(m * k + k * n + burst * m * n);
  const [a, b] = [values.subarray(0, m * k), values.subarray(m * k, m * k + k * n)];
  const results = values.subarray(m * k + k * n);
  for (let i = 0; i < m * k + k * n; i++) values[i] = ((i * 7919 + seed * 104729) % 2003) / 1001 - 1;
  const wanted = plainProduct(a, b, sizes, transA, transB);
  const tolerance = 1e-5 * k;
  const base = addressOf(new Uint8Array(values.buffer));
  const [B, C] = [base + b.byteOffset, base + results.byteOffset];
  return (): string | null => {
    results.fill(Number.NaN);
    for (let i = 0; i < burst; i++) {
      sgemm(transA, transB, m, n, k, base, transA ? m : k, B, transB ? k : n, 0, C + 4 * i * m * n, n);
    }
    for (let i = 0; i < results.length; i++) {
      const [got, right] = [results[i]!, wanted[i % (m * n)]!];
      if (!(Math.abs(got - right) <= tolerance)) {
        return `an element of a product of ${m}×${k} and ${k}×${n} is ${got} instead of ${right}`;
      }
    }
    return null;
  };
}

function plainProduct(a: Float32Array, b: Float32Array, [m, n, k]: Sizes, transA: number, transB: number) {
  const result = new Float32Array(m * n);
  const [rowA, colA] = transA ? [1, m] : [k, 1];
  const [rowB, colB] = transB ? [1, k] : [n, 1];
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      let sum = 0;
      for (let l = 0; l < k; l++) sum += a[i * rowA + l * colA]! * b[l * rowB + j * colB]!;
      result[i * n + j] = sum;
    }
  }
  return result;
}

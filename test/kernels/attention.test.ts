// Attention by blocks against direct sums in f64.
import { describe, expect, it } from 'vitest';
import { attentionWorkspace } from '../../src/lower/wasm/attention.ts';
import { expectClose, f32, kernels, normal, run } from './harness.ts';

/** Matrices (samples, or `H` heads of one), queries, keys, and sizes of a key and a value. */
interface Case {
  B: number;
  T: number;
  S: number;
  D: number;
  V: number;
  causal: boolean;
}
const scale = 0.6;

/** Outputs and, for the cotangent dy, gradients; weights times their factors, where there are any. */
function direct(
  { B, T, S, D, V, causal }: Case,
  q: Float32Array,
  k: Float32Array,
  v: Float32Array,
  dy: Float32Array,
  factors?: Float32Array,
) {
  const factor = (row: number, j: number): number => factors?.[row * S + j] ?? 1;
  const [y, lse] = [new Float64Array(B * T * V), new Float64Array(B * T)];
  const [dq, dk, dv] = [q, k, v].map((t) => new Float64Array(t.length)) as [Float64Array, Float64Array, Float64Array];
  const dot = (n: number, a: Float32Array, i: number, b: Float32Array, j: number): number => {
    let sum = 0;
    for (let d = 0; d < n; d++) sum += a[i * n + d]! * b[j * n + d]!;
    return sum;
  };
  for (let row = 0; row < B * T; row++) {
    const first = Math.floor(row / T) * S;
    const seen = Array.from({ length: causal ? Math.min(S, (row % T) + 1) : S }, (_, j) => first + j);
    const scores = seen.map((key) => scale * dot(D, q, row, k, key));
    const top = Math.max(...scores);
    lse[row] = top + Math.log(scores.reduce((sum, s) => sum + Math.exp(s - top), 0));
    const weights = scores.map((s) => Math.exp(s - lse[row]!));
    const dp = seen.map((key, j) => factor(row, j) * dot(V, dy, row, v, key));
    const delta = weights.reduce((sum, w, j) => sum + w * dp[j]!, 0);
    seen.forEach((key, j) => {
      const ds = scale * weights[j]! * (dp[j]! - delta);
      for (let c = 0; c < V; c++) {
        y[row * V + c]! += factor(row, j) * weights[j]! * v[key * V + c]!;
        dv[key * V + c]! += factor(row, j) * weights[j]! * dy[row * V + c]!;
      }
      for (let d = 0; d < D; d++) {
        dq[row * D + d]! += ds * k[key * D + d]!;
        dk[key * D + d]! += ds * q[row * D + d]!;
      }
    });
  }
  return { y, lse, dq, dk, dv };
}

const sizesOf = ({ B, T, S, D, V, causal }: Case): number[] => [B, 1, T, S, D, V, causal ? 1 : 0, scale];
const bytesOf = (gradient: 0 | 1, { T, S, D, V, causal }: Case): number =>
  kernels.attentionWorkspace!(gradient, T, S, D, V, causal ? 1 : 0, 0);

const forward = (c: Case, q: Float32Array, k: Float32Array, v: Float32Array) =>
  run('attention', ...sizesOf(c), { in: q }, { in: k }, { in: v }, f32(c.B * c.T * c.V), f32(c.B * c.T), {
    ws: bytesOf(0, c),
  }) as [Float32Array, Float32Array];

const backward = (c: Case, ...inputs: Float32Array[]) =>
  run(
    'attentionGrad',
    ...sizesOf(c),
    ...inputs.map((data) => ({ in: data })),
    ...inputs.slice(0, 3).map((t) => f32(t.length)),
    { ws: bytesOf(1, c) },
  ) as Float32Array[];

const drawn = ({ B, T, S, D, V }: Case) =>
  [
    [T, D],
    [S, D],
    [S, V],
    [T, V],
  ].map(([rows, columns], i) => normal(B * rows! * columns!, i + 1)) as [
    Float32Array,
    Float32Array,
    Float32Array,
    Float32Array,
  ];

const cases: readonly Case[] = [
  { B: 2, T: 5, S: 7, D: 3, V: 4, causal: false },
  { B: 3, T: 1, S: 1, D: 1, V: 1, causal: true },
  // Blocks of 64 queries, causal 16, 32 and 64, of 256 keys, and what is left.
  { B: 2, T: 130, S: 300, D: 8, V: 5, causal: false },
  { B: 1, T: 330, S: 330, D: 6, V: 16, causal: true },
  { B: 1, T: 64, S: 256, D: 32, V: 32, causal: false },
  { B: 2, T: 70, S: 20, D: 4, V: 9, causal: true },
  { B: 1, T: 20, S: 270, D: 4, V: 3, causal: true },
];
const title = ({ B, T, S, D, V, causal }: Case): string =>
  `${B} × ${T} queries, ${S} keys of ${D}, values of ${V}${causal ? ', causal' : ''}`;

describe('attention', () => {
  it.each(cases.map((c) => [title(c), c] as const))('%s', (_, c) => {
    const [q, k, v, dy] = drawn(c);
    const expected = direct(c, q, k, v, dy);
    const [y, lse] = forward(c, q, k, v);
    expectClose(y, expected.y, 2e-5, 2e-6);
    expectClose(lse, expected.lse, 2e-6, 2e-6);
    const [dq, dk, dv] = backward(c, q, k, v, y, lse, dy);
    expectClose(dq!, expected.dq, 5e-5, 2e-5);
    expectClose(dk!, expected.dk, 5e-5, 5e-5);
    expectClose(dv!, expected.dv, 5e-5, 2e-5);
  });

  it('takes the workspace that lowering says, and no more of it for longer sequences', () => {
    for (const c of cases) {
      const sizes = { queries: c.T, keys: c.S, size: c.D, valueSize: c.V };
      expect(attentionWorkspace('attention', sizes, c.causal), title(c)).toBe(bytesOf(0, c));
      expect(attentionWorkspace('attentionGrad', sizes, c.causal), title(c)).toBe(bytesOf(1, c));
      for (const [gradient, kind] of (['attention', 'attentionGrad'] as const).entries()) {
        const found = kernels.attentionWorkspace!(gradient, c.T, c.S, c.D, c.V, c.causal ? 1 : 0, 1);
        expect(attentionWorkspace(kind, sizes, c.causal, true), title(c)).toBe(found);
      }
    }
    for (const [size, valueSize] of [
      [7, 300],
      [300, 7],
      [2000, 1],
    ] as const) {
      const c = { B: 1, T: 90, S: 500, D: size, V: valueSize, causal: false };
      const sizes = { queries: 90, keys: 500, size, valueSize };
      expect(attentionWorkspace('attention', sizes, false)).toBe(bytesOf(0, c));
      expect(attentionWorkspace('attentionGrad', sizes, false)).toBe(bytesOf(1, c));
    }
    const long = (length: number): number =>
      attentionWorkspace('attentionGrad', { queries: length, keys: length, size: 64, valueSize: 64 }, true);
    expect(long(1 << 20)).toBe(long(257));
  });

  it('gives each matrix the same bits whatever lies beside it', () => {
    const c: Case = { B: 3, T: 70, S: 260, D: 5, V: 6, causal: false };
    const [q, k, v, dy] = drawn(c);
    const [y, lse] = forward(c, q, k, v);
    const together = [y, lse, ...backward(c, q, k, v, y, lse, dy)];
    const second = (t: Float32Array): Float32Array => t.slice(t.length / 3, (2 * t.length) / 3);
    const one = { ...c, B: 1 };
    const inputs = [q, k, v].map(second) as [Float32Array, Float32Array, Float32Array];
    const [y1, lse1] = forward(one, ...inputs);
    expect([y1, lse1, ...backward(one, ...inputs, y1, lse1, second(dy))]).toEqual(together.map(second));
  });

  it('finds heads that lie side by side, with the same bits', () => {
    const c: Case = { B: 3, T: 66, S: 70, D: 5, V: 6, causal: true };
    const [q, k, v, dy] = drawn(c);
    const [y, lse] = forward(c, q, k, v);
    const apart = [y, lse, ...backward(c, q, k, v, y, lse, dy)];
    /** [heads, rows, size] → [rows, heads, size] */
    const beside = (t: Float32Array, rows: number): Float32Array => {
      const size = t.length / 3 / rows;
      return Float32Array.from(t, (_, i) => {
        const [row, h, d] = [Math.floor(i / size / 3), Math.floor(i / size) % 3, i % size];
        return t[(h * rows + row) * size + d]!;
      });
    };
    const sizes = [1, 3, ...sizesOf(c).slice(2)];
    const inputs = [beside(q, 66), beside(k, 70), beside(v, 70)].map((data) => ({ in: data }));
    const outputs = run('attention', ...sizes, ...inputs, f32(y.length), f32(lse.length), { ws: bytesOf(0, c) });
    expect(outputs).toEqual([beside(y, 66), lse]);
    const more = [outputs[0]!, lse, beside(dy, 66)].map((data) => ({ in: data }));
    const grads = [q, k, v].map((t) => f32(t.length));
    const found = run('attentionGrad', ...sizes, ...inputs, ...more, ...grads, { ws: bytesOf(1, c) });
    expect(found).toEqual([beside(apart[2]!, 66), beside(apart[3]!, 70), beside(apart[4]!, 70)]);
  });

  it('does not read keys that no query sees', () => {
    const c: Case = { B: 1, T: 70, S: 300, D: 4, V: 4, causal: true };
    const [q, k, v, dy] = drawn(c);
    const clean = forward(c, q, k, v);
    const cleanGrads = backward(c, q, k, v, ...clean, dy);
    k.fill(Number.NaN, 70 * 4);
    v.fill(Number.NaN, 70 * 4);
    expect(forward(c, q, k, v)).toEqual(clean);
    expect(backward(c, q, k, v, ...clean, dy)).toEqual(cleanGrads);
    expect(cleanGrads[1]!.subarray(70 * 4).every((g) => g === 0)).toBe(true);
  });

  it('scores far out of the range of the exponential, −∞ and NaN', () => {
    const c: Case = { B: 1, T: 4, S: 260, D: 1, V: 1, causal: false };
    const q = Float32Array.of(1000, -1000, Number.NaN, 1);
    const k = Float32Array.from({ length: 260 }, (_, j) => j / 10);
    const v = Float32Array.from({ length: 260 }, (_, j) => j);
    const [y, lse] = forward(c, q, k, v);
    expectClose(y, [259, 0, Number.NaN, direct(c, q, k, v, new Float32Array(4)).y[3]!]);
    expectClose(lse.subarray(0, 2), [scale * 25900, 0], 1e-6);
    // The first block of keys is hidden, then all.
    const row: Case = { ...c, T: 1 };
    k.fill(-Infinity, 0, 257);
    expectClose(forward(row, q.slice(3), k, v)[0], direct(row, q.slice(3), k, v, new Float32Array(1)).y);
    k.fill(-Infinity);
    const [none, minus] = forward(row, q.slice(3), k, v);
    expect([none[0], minus[0]]).toEqual([Number.NaN, -Infinity]);
  });

  /** A forward and a backward call of `n` samples that own `own` matrices each, with weights dropped. */
  function dropped(c: Case, samples: number[], own: number, data: readonly Float32Array[], ratio = 0.4) {
    const key = { in: Int32Array.of(7, 0, 3, 0) };
    const who = { in: Int32Array.from(samples) };
    const threshold = Math.floor(ratio * 2 ** 32) | 0;
    const draw = [samples.length, own, 11, 22, threshold, 1 / (1 - ratio)];
    const [q, k, v, dy] = data as [Float32Array, Float32Array, Float32Array, Float32Array];
    const inputs = [q, k, v].map((t) => ({ in: t }));
    const bytes = (gradient: number) => kernels.attentionWorkspace!(gradient, c.T, c.S, c.D, c.V, c.causal ? 1 : 0, 1);
    const [y, lse] = run(
      'attentionDropout',
      ...[...sizesOf(c), ...draw, ...inputs, who, key, f32(c.B * c.T * c.V), f32(c.B * c.T), { ws: bytes(0) }],
    ) as [Float32Array, Float32Array];
    const grads = run(
      'attentionDropoutGrad',
      ...[...sizesOf(c), ...draw, ...inputs, { in: y }, { in: lse }, { in: dy }, who, key],
      ...[q, k, v].map((t) => f32(t.length)),
      { ws: bytes(1) },
    ) as Float32Array[];
    const ones = { in: new Float32Array(c.B * c.T * c.S).fill(1) };
    const [runLength, matrix] = [own * c.T * c.S, f32(c.B * c.T * c.S)];
    const [factors] = run('dropout', samples.length, 1, runLength, ones, who, key, matrix, ...draw.slice(2)) as [
      Float32Array,
    ];
    return { y, lse, grads, factors };
  }

  it.each(cases.map((c) => [title(c), c] as const))('drops by the mask that dropout draws: %s', (_, c) => {
    const data = drawn(c);
    const [q, k, v, dy] = data;
    const { y, lse, grads, factors } = dropped(c, [5], c.B, data);
    const expected = direct(c, q, k, v, dy, factors);
    expectClose(lse, expected.lse, 2e-6, 2e-6);
    expectClose(y, expected.y, 3e-5, 3e-6);
    expectClose(grads[0]!, expected.dq, 8e-5, 4e-5);
    expectClose(grads[1]!, expected.dk, 8e-5, 8e-5);
    expectClose(grads[2]!, expected.dv, 8e-5, 4e-5);
  });

  it('gives each sample its own mask and the same bits whatever lies beside it', () => {
    const c: Case = { B: 6, T: 21, S: 27, D: 5, V: 6, causal: false };
    const data = drawn(c);
    const all = dropped(c, [40, 41, 42], 2, data);
    const second = (t: Float32Array): Float32Array => t.slice(t.length / 3, (2 * t.length) / 3);
    const alone = dropped({ ...c, B: 2 }, [41], 2, data.map(second));
    expect([alone.y, alone.lse, ...alone.grads]).toEqual([all.y, all.lse, ...all.grads].map(second));
    expect(second(all.factors)).toEqual(alone.factors);
    expect(all.factors.slice(0, alone.factors.length)).not.toEqual(alone.factors);
  });
});

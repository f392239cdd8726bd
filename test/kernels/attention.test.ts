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

/** A weight's own: its factor, whether it is hidden, what is added to its score; by its row and key. */
interface Pairs {
  readonly factors?: Float32Array;
  readonly hides?: (row: number, key: number) => boolean;
  readonly adds?: (row: number, key: number) => number;
}

/** Outputs and, for the cotangent dy, gradients. */
function direct(
  { B, T, S, D, V, causal }: Case,
  q: Float32Array,
  k: Float32Array,
  v: Float32Array,
  dy: Float32Array,
  { factors, hides = () => false, adds = () => 0 }: Pairs = {},
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
    const may = Array.from({ length: causal ? Math.min(S, (row % T) + 1) : S }, (_, j) => first + j);
    const seen = may.filter((key) => !hides(row, key - first));
    lse[row] = -3.4028234663852886e38;
    if (seen.length === 0) continue;
    const scores = seen.map((key) => scale * dot(D, q, row, k, key) + adds(row, key - first));
    const top = Math.max(...scores);
    lse[row] = top + Math.log(scores.reduce((sum, s) => sum + Math.exp(s - top), 0));
    const weights = scores.map((s) => Math.exp(s - lse[row]!));
    const dp = seen.map((key) => factor(row, key - first) * dot(V, dy, row, v, key));
    const delta = weights.reduce((sum, w, j) => sum + w * dp[j]!, 0);
    seen.forEach((key, j) => {
      const ds = scale * weights[j]! * (dp[j]! - delta);
      for (let c = 0; c < V; c++) {
        y[row * V + c]! += factor(row, key - first) * weights[j]! * v[key * V + c]!;
        dv[key * V + c]! += factor(row, key - first) * weights[j]! * dy[row * V + c]!;
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
const bytesOf = (gradient: 0 | 1, { T, S, D, V, causal }: Case, drops = 0, masks = 0): number =>
  kernels.attentionWorkspace!(gradient, T, S, D, V, causal ? 1 : 0, drops, masks);

const none = -1;
/** Numbers and pointers of dropout and masks where there are none. */
const noDraw = [0, 0, 0, 0, 0, 0];
const noMask = [0, 1, 0, 0, 0];
const plainNumbers = [...noDraw, ...noMask, ...noMask];
const plainPointers = [none, none, none, none];

const forward = (c: Case, q: Float32Array, k: Float32Array, v: Float32Array) =>
  run(
    'attention',
    ...[...sizesOf(c), ...plainNumbers, { in: q }, { in: k }, { in: v }, ...plainPointers],
    ...[f32(c.B * c.T * c.V), f32(c.B * c.T), { ws: bytesOf(0, c) }],
  ) as [Float32Array, Float32Array];

const backward = (c: Case, ...inputs: Float32Array[]) =>
  run(
    'attentionGrad',
    ...sizesOf(c),
    ...plainNumbers,
    ...inputs.map((data) => ({ in: data })),
    ...plainPointers,
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
  // Blocks of 64 queries, of 256 keys, of 128 for the gradient, and what is left.
  { B: 2, T: 130, S: 300, D: 8, V: 5, causal: false },
  { B: 1, T: 330, S: 330, D: 6, V: 16, causal: true },
  { B: 1, T: 64, S: 256, D: 32, V: 32, causal: false },
  { B: 2, T: 70, S: 20, D: 4, V: 9, causal: true },
  { B: 1, T: 20, S: 270, D: 4, V: 3, causal: true },
  // One query, two: row by row.
  { B: 3, T: 1, S: 300, D: 6, V: 7, causal: false },
  { B: 2, T: 2, S: 130, D: 5, V: 8, causal: false },
  { B: 2, T: 2, S: 5, D: 4, V: 3, causal: true },
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

  // One query of 1 over the keys 0 and −x, the second of which has the value 1: e^−x / (1 + e^−x).
  it('has weights within 1.5e-7, whatever the difference of two scores', () => {
    const n = 4000;
    const keys = Float32Array.from({ length: 2 * n }, (_, i) => (i % 2) * ((-25 * i) / n));
    const values = Float32Array.from(keys, (_, i) => i % 2);
    const [y] = forward({ B: n, T: 1, S: 2, D: 1, V: 1, causal: false }, new Float32Array(n).fill(1), keys, values);
    const wrong = y.map((w, i) => {
      const weight = Math.exp(Math.fround(Math.fround(scale) * keys[2 * i + 1]!));
      return Math.abs(w - weight / (1 + weight));
    });
    expect(Math.max(...wrong)).toBeLessThan(1.5e-7);
  });

  // Around pairs of rows, panels of 16, groups of 16 rows, and blocks of 64, 128 and 256; sizes of a head around panels.
  const edges = [1, 2, 3, 15, 16, 17, 18, 31, 63, 64, 65, 66, 127, 129, 193, 255, 257];
  const widths = [1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 24, 33];
  const ragged = edges.flatMap((T, i) =>
    edges.map((S, j): Case => {
      const at = i * edges.length + j;
      return { B: 1, T, S, D: widths[at % 14]!, V: widths[(5 * at + i) % 14]!, causal: at % 3 > 0 };
    }),
  );

  it.each(edges)('%i queries, keys and heads of any size', (queries) => {
    for (const c of ragged.filter(({ T }) => T === queries)) {
      const [q, k, v, dy] = drawn(c);
      const expected = direct(c, q, k, v, dy);
      const [y, lse] = forward(c, q, k, v);
      const grads = backward(c, q, k, v, y, lse, dy);
      try {
        expectClose(y, expected.y, 2e-5, 4e-6);
        expectClose(lse, expected.lse, 2e-6, 2e-6);
        expectClose(grads[0]!, expected.dq, 5e-5, 4e-5);
        expectClose(grads[1]!, expected.dk, 5e-5, 5e-5);
        expectClose(grads[2]!, expected.dv, 5e-5, 4e-5);
      } catch (error) {
        throw new Error(title(c), { cause: error });
      }
      for (const gradient of [0, 1] as const) {
        const kind = gradient ? 'attentionGrad' : 'attention';
        const sizes = { queries, keys: c.S, size: c.D, valueSize: c.V };
        expect(attentionWorkspace(kind, sizes, c.causal), title(c)).toBe(bytesOf(gradient, c));
      }
    }
  });

  it('takes the workspace that lowering says, and no more of it for longer sequences', () => {
    for (const c of cases) {
      const sizes = { queries: c.T, keys: c.S, size: c.D, valueSize: c.V };
      expect(attentionWorkspace('attention', sizes, c.causal), title(c)).toBe(bytesOf(0, c));
      expect(attentionWorkspace('attentionGrad', sizes, c.causal), title(c)).toBe(bytesOf(1, c));
      for (const [gradient, kind] of (['attention', 'attentionGrad'] as const).entries()) {
        for (const [drops, masks] of [
          [1, 0],
          [0, 1],
          [1, 1],
        ] as const) {
          const found = bytesOf(gradient as 0 | 1, c, drops, masks);
          const has = { drops: drops === 1, masks: masks === 1 };
          expect(attentionWorkspace(kind, sizes, c.causal, has), title(c)).toBe(found);
        }
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
    const numbers = [...sizes, ...plainNumbers];
    const results = [f32(y.length), f32(lse.length), { ws: bytesOf(0, c) }];
    const outputs = run('attention', ...numbers, ...inputs, ...plainPointers, ...results);
    expect(outputs).toEqual([beside(y, 66), lse]);
    const more = [outputs[0]!, lse, beside(dy, 66)].map((data) => ({ in: data }));
    const grads = [q, k, v].map((t) => f32(t.length));
    const ws = { ws: bytesOf(1, c) };
    const found = run('attentionGrad', ...numbers, ...inputs, ...more, ...plainPointers, ...grads, ws);
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
    const numbers = [...sizesOf(c), ...draw, ...noMask, ...noMask];
    const [y, lse] = run(
      'attention',
      ...[...numbers, ...inputs, none, none, who, key, f32(c.B * c.T * c.V), f32(c.B * c.T), { ws: bytesOf(0, c, 1) }],
    ) as [Float32Array, Float32Array];
    const grads = run(
      'attentionGrad',
      ...[...numbers, ...inputs, { in: y }, { in: lse }, { in: dy }, none, none, who, key],
      ...[q, k, v].map((t) => f32(t.length)),
      { ws: bytesOf(1, c, 1) },
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
    const expected = direct(c, q, k, v, dy, { factors });
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

  /** Kinds as the kernels number them. */
  const [hidden, seen, added] = [0, 1, 2];

  it.each(cases.map((c) => [title(c), c] as const))('masks, of rows and of keys: %s', (_, c) => {
    const data = drawn(c);
    const [q, k, v, dy] = data;
    // Hidden by 7 rows of B matrices, and by one row for all; query 2 sees nothing.
    const rows = Uint8Array.from({ length: c.B * c.T * c.S }, (_, i) => {
      const row = Math.floor(i / c.S);
      return row % c.T === 2 || (i * 7 + row) % 5 === 1 ? 1 : 0;
    });
    const keys = Float32Array.from({ length: c.S }, (_, j) => (j % 7 === 3 ? -Infinity : Math.sin(j)));
    const expected = direct(c, q, k, v, dy, {
      hides: (row, j) => rows[row * c.S + j]! === 1 || keys[j] === -Infinity,
      adds: (_, j) => keys[j]!,
    });
    const attend = (first: Uint8Array, kind: number): Float32Array[] => {
      const numbers = [...sizesOf(c), ...noDraw, kind, c.B, 0, c.T * c.S, c.S, added, 1, 0, 0, 0];
      const inputs = [q, k, v].map((t) => ({ in: t }));
      const masks = [{ in: first }, { in: keys }, none, none];
      const [y, lse] = run(
        'attention',
        ...[...numbers, ...inputs, ...masks, f32(c.B * c.T * c.V), f32(c.B * c.T), { ws: bytesOf(0, c, 0, 1) }],
      ) as [Float32Array, Float32Array];
      const more = [y, lse, dy].map((t) => ({ in: t }));
      const grads = [q, k, v].map((t) => f32(t.length));
      const found = run('attentionGrad', ...numbers, ...inputs, ...more, ...masks, ...grads, {
        ws: bytesOf(1, c, 0, 1),
      }) as Float32Array[];
      return [y, lse, ...found];
    };
    const found = attend(rows, hidden!);
    expectClose(found[0]!, expected.y, 2e-5, 2e-6);
    expectClose(found[1]!, expected.lse, 2e-6, 2e-6);
    expectClose(found[2]!, expected.dq, 5e-5, 2e-5);
    expectClose(found[3]!, expected.dk, 5e-5, 5e-5);
    expectClose(found[4]!, expected.dv, 5e-5, 2e-5);
    // What is not hidden is seen; true is any byte but 0.
    expect(
      attend(
        rows.map((r) => (r ? 0 : 255)),
        seen!,
      ),
    ).toEqual(found);
    expect(found.every((t) => t.every(Number.isFinite))).toBe(true);
  });

  it('finds the rows of each matrix by two steps', () => {
    const c: Case = { B: 6, T: 2, S: 5, D: 3, V: 2, causal: false };
    const [q, k, v] = drawn(c);
    // [3, 1, T, S] and [2, 1, S] of weights [3, 2, T, S]
    const bySample = Uint8Array.from({ length: 3 * 10 }, (_, i) => (i % 4 === 1 ? 1 : 0));
    const byHead = Float32Array.from({ length: 2 * 5 }, (_, i) => Math.cos(i));
    const { y } = direct(c, q, k, v, v, {
      hides: (row, j) => bySample[(Math.floor(row / 4) * 2 + (row % 2)) * 5 + j]! === 1,
      adds: (row, j) => byHead[(Math.floor(row / 2) % 2) * 5 + j]!,
    });
    const numbers = [...sizesOf(c), ...noDraw, hidden!, 2, 10, 0, 5, added!, 2, 0, 5, 0];
    const [found] = run(
      'attention',
      ...[...numbers, { in: q }, { in: k }, { in: v }, { in: bySample }, { in: byHead }, none, none],
      ...[f32(c.B * c.T * c.V), f32(c.B * c.T), { ws: bytesOf(0, c, 0, 1) }],
    ) as [Float32Array];
    expectClose(found, y, 2e-5, 2e-6);
  });
});

// Reductions, softmax, layer normalisation and losses against f64.
import { describe, expect, it } from 'vitest';
import { expectClose, f32, integers, kernels, normal, run } from './harness.ts';

const range = (n: number) => Array.from({ length: n }, (_, i) => i);
const sum = (a: number[]) => a.reduce((s, v) => s + v, 0);

describe('reductions', () => {
  for (const [outer, reduce, inner] of [
    [1, 1, 1],
    [1, 5, 1],
    [3, 17, 1],
    [1, 4099, 1],
    [2, 1, 3],
    [3, 4, 5],
    [1, 200, 37],
    [2, 65, 16],
    [1, 7, 2],
    [2, 3, 64],
    [1, 331, 7],
  ] as const) {
    it(`${outer}×${reduce}×${inner}`, () => {
      const x = normal(outer * reduce * inner, reduce);
      const fold = (f: (v: number[]) => number) =>
        range(outer * inner).map((o) =>
          f(range(reduce).map((k) => x[(Math.floor(o / inner) * reduce + k) * inner + (o % inner)]!)),
        );
      const call = (name: string, ...more: number[]) =>
        run(name, outer, reduce, inner, { in: x }, f32(outer * inner), ...more)[0]!;
      expectClose(
        call('reduceSum', 0.5),
        fold((v) => sum(v) / 2),
        1e-6,
        1e-6,
      );
      // Squares and their sums are f64: what is off is the last rounding, and the order of the additions.
      expectClose(
        call('reduceSumOfSquares'),
        fold((v) => sum(v.map((e) => e * e))),
        1e-7,
        0,
      );
      expect([...call('reduceMax')]).toEqual(fold((v) => Math.max(...v)));
      expect([...call('reduceMin')]).toEqual(fold((v) => Math.min(...v)));
      x[Math.floor(x.length / 2)] = Number.NaN;
      expect([...call('reduceMax')]).toEqual(fold((v) => Math.max(...v)));
      expect([...call('reduceMin')]).toEqual(fold((v) => Math.min(...v)));
    });
  }
  it('is exact where every partial sum is an integer: 2×600×23', () => {
    const [outer, reduce, inner] = [2, 600, 23];
    const x = Float32Array.from(integers(outer * reduce * inner, 1000, 1), (v) => v - 500);
    const expected = range(outer * inner).map((o) =>
      sum(range(reduce).map((k) => x[(Math.floor(o / inner) * reduce + k) * inner + (o % inner)]!)),
    );
    expect([...run('reduceSum', outer, reduce, inner, { in: x }, f32(outer * inner), 1)[0]!]).toEqual(expected);
  });
  // 23 columns: sixteen at once, four by four blocks of rows, and three that are left.
  it.each([2, 3])('a column of 23 has the bits that it has among %i', (few) => {
    const [reduce, inner] = [600, 23];
    const x = normal(reduce * inner, 5);
    const all = run('reduceSum', 1, reduce, inner, { in: x }, f32(inner), 1 / 3)[0]!;
    for (let k = 0; k < inner; k++) {
      const columns = Float32Array.from(range(reduce * few), (i) => {
        const column = (k + (i % few)) % inner;
        return x[Math.floor(i / few) * inner + column]!;
      });
      expect(run('reduceSum', 1, reduce, few, { in: columns }, f32(few), 1 / 3)[0]![0], `column ${k}`).toBe(all[k]);
    }
  });
  it('does not lose digits over a million terms', () => {
    const x = new Float32Array(1_000_000).fill(0.1);
    expect(run('reduceSum', 1, x.length, 1, { in: x }, f32(1), 1)[0]![0]).toBeCloseTo(Math.fround(0.1) * 1e6, 1);
    expectClose(
      run('reduceSum', 1, 250_000, 4, { in: x }, f32(4), 1)[0]!,
      new Array(4).fill(Math.fround(0.1) * 250_000),
      1e-6,
    );
  });
});

const SHAPES = [
  [1, 1],
  [1, 2],
  [3, 3],
  [2, 4],
  [4, 5],
  [3, 17],
  [2, 300],
  [5, 64],
] as const;
const rowsOf = (x: ArrayLike<number>, rows: number, cols: number) =>
  range(rows).map((r) => range(cols).map((c) => x[r * cols + c]!));

function softmaxOf(row: number[]): number[] {
  const m = Math.max(...row);
  const e = row.map((v) => Math.exp(v - m));
  return e.map((v) => v / sum(e));
}

describe('softmax', () => {
  it.each(SHAPES)('%i×%i', (rows, cols) => {
    const n = rows * cols;
    const x = normal(n, cols).map((v) => v * 5);
    if (cols > 2) x[1] = -Infinity;
    const dy = normal(n, cols + 1);
    const p = rowsOf(x, rows, cols).map(softmaxOf);
    const g = rowsOf(dy, rows, cols);
    expectClose(run('softmax', rows, cols, { in: x }, f32(n))[0]!, p.flat(), 4e-6, 1e-37);
    expectClose(run('logSoftmax', rows, cols, { in: x }, f32(n))[0]!, p.flat().map(Math.log), 1e-6, 2e-6);
    const y = Float32Array.from(p.flat());
    const ly = y.map(Math.log);
    const dot = p.map((row, r) => sum(row.map((v, c) => v * g[r]![c]!)));
    const ds = p.flatMap((row, r) => row.map((v, c) => v * (g[r]![c]! - dot[r]!)));
    const dl = p.flatMap((row, r) => row.map((v, c) => g[r]![c]! - v * sum(g[r]!)));
    expectClose(run('softmaxGrad', rows, cols, { in: y }, { in: dy }, f32(n))[0]!, ds, 1e-5, 1e-6);
    expectClose(run('logSoftmaxGrad', rows, cols, { in: ly }, { in: dy }, f32(n))[0]!, dl, 1e-5, 3e-6);
  });
  it('masks, large numbers and NaN', () => {
    const inf = Infinity;
    const x = Float32Array.of(1000, 1000, -inf, -inf, -inf, -inf, 1, Number.NaN, 2);
    const y = [...run('softmax', 3, 3, { in: x }, f32(9))[0]!];
    expect(y).toEqual([0.5, 0.5, 0, NaN, NaN, NaN, NaN, NaN, NaN]);
  });
});

describe('layerNorm', () => {
  it.each(SHAPES)('%i×%i', (rows, cols) => {
    const n = rows * cols;
    const eps = 1e-5;
    const x = normal(n, cols).map((v) => v + 3);
    const gamma = normal(cols, 2);
    const beta = normal(cols, 3);
    const dy = normal(n, 4);
    const mean = rowsOf(x, rows, cols).map((r) => sum(r) / cols);
    const rstd = rowsOf(x, rows, cols).map(
      (r, i) => 1 / Math.sqrt(sum(r.map((v) => (v - mean[i]!) ** 2)) / cols + Math.fround(eps)),
    );
    const h = rowsOf(x, rows, cols).map((r, i) => r.map((v) => (v - mean[i]!) * rstd[i]!));
    const [y, m, s] = run(
      'layerNorm',
      rows,
      cols,
      { in: x },
      { in: gamma },
      { in: beta },
      f32(n),
      f32(rows),
      f32(rows),
      eps,
    );
    expectClose(m!, mean, 1e-6, 1e-6);
    expectClose(s!, rstd, cols === 1 ? 1e-3 : 2e-5);
    expectClose(
      y!,
      h.flatMap((r) => r.map((v, c) => v * gamma[c]! + beta[c]!)),
      1e-5,
      cols < 3 ? 1e-3 : 2e-5,
    );
    const [fm, fs] = [Float32Array.from(mean), Float32Array.from(rstd)];
    const dx = h.flatMap((r, i) => {
      const g = r.map((_, c) => dy[i * cols + c]! * gamma[c]!);
      const [mg, mgh] = [sum(g) / cols, sum(g.map((v, c) => v * r[c]!)) / cols];
      return r.map((v, c) => rstd[i]! * (g[c]! - mg - v * mgh));
    });
    const scale = Math.max(...rstd);
    expectClose(
      run('layerNormInputGrad', rows, cols, { in: x }, { in: gamma }, { in: fm }, { in: fs }, { in: dy }, f32(n))[0]!,
      dx,
      1e-5,
      1e-5 * scale,
    );
    const dgamma = range(cols).map((c) => sum(h.map((r, i) => r[c]! * dy[i * cols + c]!)));
    const dbeta = range(cols).map((c) => sum(h.map((_, i) => dy[i * cols + c]!)));
    const [dg, db] = run(
      'layerNormWeightGrad',
      rows,
      cols,
      { in: x },
      { in: fm },
      { in: fs },
      { in: dy },
      f32(cols),
      f32(cols),
    );
    expectClose(dg!, dgamma, 1e-5, 1e-5 * scale);
    expectClose(db!, dbeta, 1e-6, 1e-6);
  });
  it('sums many rows', () => {
    const [rows, cols] = [1000, 6];
    const dy = normal(rows * cols, 1);
    const zero = new Float32Array(rows);
    const one = new Float32Array(rows).fill(1);
    const [dg, db] = run(
      'layerNormWeightGrad',
      rows,
      cols,
      { in: dy },
      { in: zero },
      { in: one },
      { in: dy },
      f32(cols),
      f32(cols),
    );
    expectClose(
      dg!,
      range(cols).map((c) => sum(rowsOf(dy, rows, cols).map((r) => r[c]! ** 2))),
    );
    expectClose(
      db!,
      range(cols).map((c) => sum(rowsOf(dy, rows, cols).map((r) => r[c]!))),
      1e-5,
      1e-4,
    );
  });
});

describe('crossEntropy', () => {
  it.each(SHAPES)('%i×%i', (rows, cols) => {
    const x = normal(rows * cols, 1).map((v) => v * 4);
    const target = integers(rows, cols, 2);
    if (rows > 2) target[1] = -100;
    const scale = Float32Array.of(1 / rows);
    const dy = Float32Array.of(1.5);
    const p = rowsOf(x, rows, cols).map(softmaxOf);
    const loss = sum(p.map((r, i) => (target[i] === -100 ? 0 : -Math.log(r[target[i]!]!)))) * scale[0]!;
    const args = [rows, cols, { in: x }, { in: target }, { in: scale }] as const;
    expectClose(run('crossEntropy', ...args, -100, f32(1))[0]!, [loss], 1e-6, 1e-6);
    const dx = p.flatMap((r, i) =>
      r.map((v, c) => (target[i] === -100 ? 0 : (v - Number(c === target[i])) * scale[0]! * 1.5)),
    );
    expectClose(run('crossEntropyGrad', ...args, { in: dy }, -100, f32(rows * cols))[0]!, dx, 2e-6, 2e-7);
  });
  // Few classes: four rows side by side, and what is left of them.
  it.each([
    [7, 10],
    [4, 16],
    [5, 17],
    [9, 2],
  ])('%i×%i: a row has the bits that it has by itself', (rows, cols) => {
    const x = normal(rows * cols, 3).map((v) => v * 6);
    x[cols] = Number.NEGATIVE_INFINITY;
    x[3 * cols] = Number.NaN;
    const target = integers(rows, cols, 4).map((t) => Math.abs(t) % cols);
    const one = { in: Float32Array.of(1) };
    const [all] = run('crossEntropyGrad', rows, cols, { in: x }, { in: target }, one, one, -100, f32(rows * cols));
    let total = 0;
    for (let r = 0; r < rows; r++) {
      const [own, label] = [{ in: x.slice(r * cols, (r + 1) * cols) }, { in: target.slice(r, r + 1) }];
      const [dx] = run('crossEntropyGrad', 1, cols, own, label, one, one, -100, f32(cols));
      expect(all!.slice(r * cols, (r + 1) * cols), `row ${r}`).toEqual(dx);
      const [alone] = run('crossEntropy', 1, cols, own, label, one, -100, f32(1));
      const only = { in: target.map((t, i) => (i === r ? t : -100)) };
      expect(run('crossEntropy', rows, cols, { in: x }, only, one, -100, f32(1))[0], `row ${r}`).toEqual(alone);
      if (r !== 3) total += alone![0]!;
    }
    const masked = target.map((t, r) => (r === 3 ? -100 : t));
    const [loss] = run('crossEntropy', rows, cols, { in: x }, { in: masked }, one, -100, f32(1));
    expectClose(loss!, [total], 1e-6, 1e-6);
    expect(run('crossEntropy', rows, cols, { in: x }, { in: target }, one, -100, f32(1))[0]![0]).toBeNaN();
  });
  it('traps on a target outside the classes', () => {
    const [x, one] = [{ in: normal(6, 1) }, { in: Float32Array.of(1) }];
    const bad = { in: Int32Array.of(0, 3) };
    expect(() => run('crossEntropy', 2, 3, x, bad, one, -100, f32(1))).toThrow(WebAssembly.RuntimeError);
    expect(() => run('crossEntropyGrad', 2, 3, x, bad, one, one, -100, f32(6))).toThrow(WebAssembly.RuntimeError);
  });
});

it('peakMulAdd is finite', () => expect(Number.isFinite(kernels.peakMulAdd!(1000))).toBe(true));

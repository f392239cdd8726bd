// Gathers, scatters, running sums, orderings, triangles, products and log-sum-exp against plain loops, bit for bit where no
// rounding is left open. What a kernel must not write, the harness watches.
import { describe, expect, it } from 'vitest';
import { bool, bools, expectClose, f32, i32, integers, normal, run, ulps } from './harness.ts';

const range = (n: number) => Array.from({ length: n }, (_, i) => i);

const LAYOUTS = [
  [1, 1, 1],
  [1, 7, 1],
  [3, 5, 1],
  [1, 4, 3],
  [2, 3, 4],
  [1, 6, 16],
  [3, 2, 33],
  [2, 9, 130],
  [9, 5, 1],
  [6, 4, 2],
  [7, 3, 3],
  [4, 1, 1],
] as const;

/** Indices of an axis, half of them counted from its end. */
const indicesOf = (n: number, size: number, seed: number) => integers(n, 2 * size, seed).map((v) => v - size);
const entry = (i: number, size: number) => (i < 0 ? i + size : i);

describe.each(LAYOUTS)('gather and scatterAdd on %i×%i×%i', (outer, size, inner) => {
  const n = 11;
  const idx = indicesOf(n, size, 1);
  const place = (o: number, i: number, k: number) => (o * size + entry(idx[i]!, size)) * inner + k;
  const each = <T>(f: (o: number, i: number, k: number) => T): T[] =>
    range(outer).flatMap((o) => range(n).flatMap((i) => range(inner).map((k) => f(o, i, k))));

  it('gather32, gather8', () => {
    const x = normal(outer * size * inner, 2);
    expect([...run('gather32', outer, size, inner, n, { in: x }, { in: idx }, f32(outer * n * inner))[0]!]).toEqual(
      each((o, i, k) => x[place(o, i, k)]),
    );
    const b = bools(outer * size * inner, 3);
    expect([...run('gather8', outer, size, inner, n, { in: b }, { in: idx }, bool(outer * n * inner))[0]!]).toEqual(
      each((o, i, k) => b[place(o, i, k)]),
    );
  });

  it('scatterAdd adds in ascending order', () => {
    const dy = normal(outer * n * inner, 4);
    const y = new Float32Array(outer * size * inner);
    each((o, i, k) => {
      y[place(o, i, k)]! += dy[(o * n + i) * inner + k]!;
    });
    expect(run('scatterAdd', outer, size, inner, n, { in: idx }, { in: dy }, f32(y.length))[0]).toEqual(y);
  });
});

describe('scatters', () => {
  const joins: Record<string, (a: number, b: number) => number> = {
    Add: (a, b) => a + b,
    Mul: (a, b) => a * b,
    Max: Math.max,
    Min: Math.min,
  };
  describe.each([
    [1, 1, 1],
    [9, 4, 1],
    [12, 5, 3],
    [7, 3, 8],
    [5, 6, 35],
  ])('%i updates of %i rows of %i', (n, rows, inner) => {
    const idx = indicesOf(n, rows, 5);
    const scattered = <A extends Float32Array | Int32Array | Uint8Array>(
      y: A,
      u: A,
      f: (a: number, b: number) => number,
    ) => {
      const out = y.slice() as A;
      idx.forEach((row, i) => {
        for (const k of range(inner)) {
          const at = entry(row, rows) * inner + k;
          out[at] = f(out[at]!, u[i * inner + k]!);
        }
      });
      return out;
    };
    const call = (name: string, y: Float32Array | Int32Array | Uint8Array, u: Float32Array | Int32Array | Uint8Array) =>
      run(name, n, rows, inner, { in: idx }, { in: u }, { inout: y })[0];

    it('of f32', () => {
      const [y, u] = [normal(rows * inner, 6), normal(n * inner, 7)];
      expect(call('scatter32', y, u)).toEqual(scattered(y, u, (_, b) => b));
      for (const [name, f] of Object.entries(joins)) {
        expect(call(`scatter${name}F32`, y, u), name).toEqual(scattered(y, u, f));
      }
      u[0] = Number.NaN;
      for (const name of ['Max', 'Min']) {
        expect(call(`scatter${name}F32`, y, u), name).toEqual(scattered(y, u, joins[name]!));
      }
    });
    it('of i32, wrapping around', () => {
      const big = (count: number, seed: number) => integers(count, 2 ** 32, seed).map((v) => v | 0);
      const [y, u] = [big(rows * inner, 8), big(n * inner, 9)];
      expect(call('scatterAddI32', y, u)).toEqual(scattered(y, u, (a, b) => a + b));
      expect(call('scatterMulI32', y, u)).toEqual(scattered(y, u, Math.imul));
      expect(call('scatterMaxI32', y, u)).toEqual(scattered(y, u, Math.max));
      expect(call('scatterMinI32', y, u)).toEqual(scattered(y, u, Math.min));
    });
    it('of bytes', () => {
      const [y, u] = [bools(rows * inner, 10), bools(n * inner, 11)];
      expect(call('scatter8', y, u)).toEqual(scattered(y, u, (_, b) => b));
    });
  });

  it('elementOffsets walks four dimensions', () => {
    const [d, s, size, step, start] = [[2, 3, 2, 5], [60, 20, 0, 1], 4, 5, 7];
    const idx = indicesOf(60, size, 12);
    const places = range(60).map((i) => {
      const at = [Math.floor(i / 30), Math.floor(i / 10) % 3, Math.floor(i / 5) % 2, i % 5];
      return start + at.reduce((sum, v, k) => sum + v * s[k]!, 0) + entry(idx[i]!, size) * step;
    });
    expect([...run('elementOffsets', ...d, ...s, start, size, step, { in: idx }, i32(60))[0]!]).toEqual(places);
  });

  it('sliceOffsets joins coordinates and starts from the batch', () => {
    const idx = Int32Array.of(1, -1, 0, 2, 1, 0);
    const first = run('sliceOffsets', 3, 2, 1, 2, 5, { in: idx }, i32(3))[0]!;
    expect([...first]).toEqual([0 * 5 + 1, 0 * 5 + 0, 1 * 5 + 1]);
    // Of the second coordinate: its pointer is one element further on.
    const second = run('sliceOffsets', 2, 2, 0, 2, 3, { in: idx.slice(1) }, { inout: Int32Array.of(4, 6) })[0]!;
    expect([...second]).toEqual([4 * 3 + 2, 6 * 3 + 2]);
  });

  it('trap on an index outside', () => {
    for (const bad of [-5, 4, 1 << 30, -(2 ** 31)]) {
      const idx = { in: Int32Array.of(0, bad) };
      const twice = { in: normal(6, 1) };
      for (const attempt of [
        () => run('gather32', 1, 4, 3, 2, { in: normal(12, 1) }, idx, f32(6)),
        () => run('gather32', 1, 4, 1, 2, { in: normal(4, 1) }, idx, f32(2)),
        () => run('gather8', 1, 4, 3, 2, { in: bools(12, 1) }, idx, bool(6)),
        () => run('scatterAdd', 1, 4, 3, 2, idx, twice, f32(12)),
        () => run('scatter32', 2, 4, 3, idx, twice, { inout: new Float32Array(12) }),
        () => run('scatter8', 2, 4, 3, idx, { in: bools(6, 1) }, { inout: new Uint8Array(12) }),
        () => run('scatterMaxF32', 2, 4, 3, idx, twice, { inout: new Float32Array(12) }),
        () => run('elementOffsets', 1, 1, 1, 2, 0, 0, 0, 4, 0, 4, 1, idx, i32(2)),
        () => run('sliceOffsets', 2, 1, 1, 2, 4, idx, i32(2)),
      ]) {
        expect(attempt).toThrow(WebAssembly.RuntimeError);
      }
    }
  });
});

/** The entries of each line along the middle axis, and where the outputs of `entries` of them lie. */
function lines(x: ArrayLike<number>, [outer, size, inner]: readonly [number, number, number]) {
  return range(outer).flatMap((o) =>
    range(inner).map((k) => ({
      entries: range(size).map((i) => x[(o * size + i) * inner + k]!),
      at: (entries: number, i: number) => (o * entries + i) * inner + k,
    })),
  );
}

describe.each(LAYOUTS)('along the axis of %i×%i×%i', (outer, size, inner) => {
  const layout = [outer, size, inner] as const;
  const count = outer * size * inner;

  it.each([
    [0, 0],
    [1, 0],
    [0, 1],
    [1, 1],
  ])('cumSum, exclusive %i, reverse %i', (exclusive, reverse) => {
    const sums = (x: ArrayLike<number>, store: (v: number) => number) => {
      const y = new Array<number>(count);
      for (const { entries, at } of lines(x, layout)) {
        let total = 0;
        for (const step of range(size)) {
          const i = reverse ? size - 1 - step : step;
          y[at(size, i)] = store(exclusive ? total : total + entries[i]!);
          total += entries[i]!;
        }
      }
      return y;
    };
    const x = normal(count, 13);
    const sum = (
      name: string,
      data: Float32Array | Int32Array,
      out: ReturnType<typeof f32> | ReturnType<typeof i32>,
    ) => [...run(name, outer, size, inner, exclusive, reverse, { in: data }, out)[0]!];
    // Carried in f64 and rounded once: the same bits as in f64.
    expect(sum('cumSum', x, f32(count))).toEqual(sums(x, Math.fround));
    const integer = integers(count, 2 ** 31, 14);
    expect(sum('cumSumI32', integer, i32(count))).toEqual(sums(integer, (v) => v | 0));
  });

  it('topK and arguments of extrema, with ties', () => {
    for (const kind of ['F32', 'I32']) {
      // Few values, so that most are tied.
      const x = kind === 'F32' ? Float32Array.from(integers(count, 5, 15), (v) => v / 2 - 1) : integers(count, 5, 16);
      if (x instanceof Float32Array && count > 4) x[3] = Number.NaN;
      const suffix = kind === 'F32' ? '' : 'I32';
      // NaN is beyond all else: as 9 is here.
      const rank = (v: number) => (Number.isNaN(v) ? 9 : v);
      for (const largest of [1, 0]) {
        for (const k of new Set([1, Math.ceil(size / 2), size])) {
          const values = x.slice(0, outer * k * inner).fill(0) as typeof x;
          const [v, places] = run(
            `topK${suffix}`,
            outer,
            size,
            inner,
            k,
            largest,
            { in: x },
            { out: values },
            i32(values.length),
          );
          for (const { entries, at } of lines(x, layout)) {
            const order = range(size).sort((a, b) =>
              largest ? rank(entries[b]!) - rank(entries[a]!) : rank(entries[a]!) - rank(entries[b]!),
            );
            for (const i of range(k)) {
              expect(places![at(k, i)]).toBe(order[i]);
              expect(v![at(k, i)]).toBe(entries[order[i]!]);
            }
          }
        }
        for (const last of [0, 1]) {
          const [y] = run(
            `arg${largest ? 'Max' : 'Min'}${suffix}`,
            outer,
            size,
            inner,
            last,
            { in: x },
            i32(outer * inner),
          );
          for (const { entries, at } of lines(x, layout)) {
            // NaN is the extremum of both kinds.
            const ranks = entries.map((e) => (Number.isNaN(e) ? 9 : largest ? e : -e));
            const best = Math.max(...ranks);
            expect(y![at(1, 0)]).toBe(last ? ranks.lastIndexOf(best) : ranks.indexOf(best));
          }
        }
      }
    }
  });

  it('products and log-sum-exp', () => {
    const fold = (x: ArrayLike<number>, f: (v: number[]) => number) =>
      lines(x, layout).map(({ entries }) => f(entries));
    const x = normal(count, 17);
    const product = run('reduceProd', outer, size, inner, { in: x }, f32(outer * inner))[0]!;
    expect([...product]).toEqual(fold(x, (v) => Math.fround(v.reduce((p, e) => p * e, 1))));
    const big = integers(count, 2 ** 32, 18).map((v) => v | 0);
    const join = (name: string) => [...run(name, outer, size, inner, { in: big }, i32(outer * inner))[0]!];
    expect(join('reduceProdI32')).toEqual(fold(big, (v) => v.reduce(Math.imul, 1)));
    expect(join('reduceSumI32')).toEqual(fold(big, (v) => v.reduce((s, e) => (s + e) | 0, 0)));
    expect(join('reduceMaxI32')).toEqual(fold(big, (v) => Math.max(...v)));
    expect(join('reduceMinI32')).toEqual(fold(big, (v) => Math.min(...v)));

    const wide = x.map((v) => v * 30);
    const stable = (v: number[]) => {
      const top = Math.max(...v);
      return top + Math.log(v.reduce((s, e) => s + Math.exp(e - top), 0));
    };
    expectClose(
      run('reduceLogSumExp', outer, size, inner, { in: wide }, f32(outer * inner))[0]!,
      fold(wide, stable),
      1e-6,
      2e-7,
    );
  });
});

describe('log-sum-exp', () => {
  it.each([1, 5])('of infinities, %i columns', (inner) => {
    const rows = [
      [-Infinity, -Infinity, -Infinity],
      [-Infinity, 2, -Infinity],
      [1, Infinity, -Infinity],
      [3e38, -3e38, -Infinity],
      [Number.NaN, 0, Infinity],
    ];
    for (const row of rows) {
      const x = Float32Array.from(row.flatMap((v) => range(inner).map(() => v)));
      const expected = row.some(Number.isNaN) ? Number.NaN : Math.fround(Math.max(...row));
      expect([...run('reduceLogSumExp', 1, 3, inner, { in: x }, f32(inner))[0]!]).toEqual(
        range(inner).map(() => expected),
      );
    }
  });
  it('loses less than 2 ulp of a long row', () => {
    const x = normal(100_000, 19);
    const exact = Math.log(x.reduce((s, v) => s + Math.exp(v), 0));
    expect(ulps(run('reduceLogSumExp', 1, x.length, 1, { in: x }, f32(1))[0]![0]!, exact)).toBeLessThan(2);
    const columns = run('reduceLogSumExp', 1, x.length / 4, 4, { in: x }, f32(4))[0]!;
    range(4).forEach((k) => {
      const column = x.filter((_, i) => i % 4 === k);
      expect(ulps(columns[k]!, Math.log(column.reduce((s, v) => s + Math.exp(v), 0)))).toBeLessThan(2);
    });
  });
});

describe('triangles', () => {
  it.each([
    [1, 1, 1],
    [2, 3, 5],
    [1, 6, 4],
    [3, 1, 7],
    [1, 5, 70],
    [1, 2, 131], // parts long enough for calls into the host
  ])('%i of %i×%i', (batch, rows, columns) => {
    const n = batch * rows * columns;
    const [x, b] = [normal(n, 20), bools(n, 21)];
    for (const upper of [0, 1]) {
      for (let k = -rows; k <= columns; k++) {
        const kept = (i: number) => {
          const diagonal = (i % columns) - (Math.floor(i / columns) % rows);
          return upper ? diagonal >= k : diagonal <= k;
        };
        expect(run('trilu32', batch, rows, columns, upper, k, { in: x }, f32(n))[0]).toEqual(
          x.map((v, i) => (kept(i) ? v : 0)),
        );
        expect(run('trilu8', batch, rows, columns, upper, k, { in: b }, bool(n))[0]).toEqual(
          b.map((v, i) => (kept(i) ? v : 0)),
        );
      }
    }
  });
});

// Unary, binary, comparison, choice, logic, casts: against f64, over sizes with every tail and all broadcasting forms.
import { describe, expect, it } from 'vitest';
import { type Arg, bool, bools, expectClose, f32, i32, integers, normal, random, run } from './harness.ts';

const SIZES = [1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 33, 100];

describe('gradients fused with unary functions', () => {
  const phi = (x: number) => Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI);
  /** Φ by Simpson's rule from 0. */
  const cdf = (x: number) => {
    const n = 400;
    const h = x / n;
    let s = phi(0) + phi(x);
    for (let i = 1; i < n; i++) s += phi(i * h) * (i % 2 ? 4 : 2);
    return 0.5 + (s * h) / 3;
  };
  const geluTanhSlope = (x: number) => {
    const [c, k] = [Math.sqrt(2 / Math.PI), 0.044715];
    const t = Math.tanh(c * (x + k * x ** 3));
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * k * x * x);
  };
  const rules: Record<string, (a: number, dy: number) => number> = {
    reluGrad: (y, dy) => (y > 0 ? dy : 0),
    tanhGrad: (y, dy) => dy * (1 - y * y),
    sigmoidGrad: (y, dy) => dy * y * (1 - y),
    geluGrad: (x, dy) => dy * (cdf(x) + x * phi(x)),
    geluTanhGrad: (x, dy) => dy * geluTanhSlope(x),
    softsignGrad: (x, dy) => dy / (1 + Math.abs(x)) ** 2,
    hardSwishGrad: (x, dy) => (x <= -3 ? 0 : x >= 3 ? dy : dy * (x / 3 + 0.5)),
  };
  for (const [name, rule] of Object.entries(rules)) {
    it(name, () => {
      for (const n of SIZES) {
        const a = normal(n, n);
        if (name === 'tanhGrad' || name === 'sigmoidGrad') for (const i of a.keys()) a[i] = Math.abs(Math.tanh(a[i]!));
        const dy = normal(n, n + 100);
        const expected = Array.from(a, (v, i) => rule(v, dy[i]!));
        expectClose(run(name, n, { in: a }, { in: dy }, f32(n))[0]!, expected, 1e-6, 3e-7);
        expectClose(run(name, n, { in: a }, { inout: dy }, { same: 2 })[0]!, expected, 1e-6, 3e-7);
      }
    });
  }
  it('geluTanhGrad is within 2.5e-7 of its factor', () => {
    const n = 200_001;
    const x = Float32Array.from({ length: n }, (_, i) => (i - n / 2) * 1.1e-4);
    const y = run('geluTanhGrad', n, { in: x }, { in: new Float32Array(n).fill(1) }, f32(n))[0]!;
    expect(x.reduce((worst, v, i) => Math.max(worst, Math.abs(y[i]! - geluTanhSlope(v))), 0)).toBeLessThan(2.5e-7);
  });
  it.each(['geluGrad', 'geluTanhGrad'])('%s at the ends', (name) => {
    const x = Float32Array.of(-Infinity, -1e30, -20, 20, 1e30, Infinity, Number.NaN);
    const y = run(name, 7, { in: x }, { in: new Float32Array(7).fill(1) }, f32(7))[0]!;
    expect([...y].map((v) => Math.round(v * 1e6) / 1e6 + 0)).toEqual([0, 0, 0, 1, 1, 1, Number.NaN]);
  });
});

it('accumulate', () => {
  for (const n of SIZES) {
    const a = normal(n, 1);
    const x = normal(n, 2);
    const expected = Array.from(a, (v, i) => Math.fround(v + x[i]!));
    expect([...run('accumulate', n, { inout: a }, { in: x })[0]!]).toEqual(expected);
  }
});

/** [sizes, strides of a, strides of b] of four dimensions. */
const FORMS: [number[], number[], number[]][] = [
  [
    [1, 1, 1, 37],
    [0, 0, 0, 1],
    [0, 0, 0, 1],
  ],
  [
    [1, 1, 1, 6],
    [0, 0, 0, 1],
    [0, 0, 0, 0],
  ],
  [
    [1, 1, 1, 9],
    [0, 0, 0, 0],
    [0, 0, 0, 1],
  ],
  [
    [1, 1, 1, 1],
    [0, 0, 0, 0],
    [0, 0, 0, 0],
  ],
  [
    [1, 1, 1, 11],
    [0, 0, 0, 0],
    [0, 0, 0, 0],
  ],
  [
    [1, 1, 5, 7],
    [0, 0, 7, 1],
    [0, 0, 0, 1],
  ],
  [
    [1, 1, 5, 8],
    [0, 0, 8, 1],
    [0, 0, 1, 0],
  ],
  [
    [1, 1, 5, 3],
    [0, 0, 0, 1],
    [0, 0, 1, 0],
  ],
  [
    [2, 3, 4, 5],
    [60, 20, 5, 1],
    [0, 5, 0, 1],
  ],
  [
    [2, 3, 4, 5],
    [0, 0, 5, 1],
    [3, 1, 0, 0],
  ],
  [
    [2, 3, 37, 1],
    [111, 37, 1, 0],
    [0, 0, 1, 0],
  ],
  [
    [2, 3, 6, 1],
    [18, 6, 1, 0],
    [3, 1, 0, 0],
  ],
  [
    [3, 1, 1, 1],
    [1, 0, 0, 0],
    [2, 0, 0, 0],
  ],
  [
    [2, 2, 3, 4],
    [3, 6, 1, 12],
    [12, 1, 4, 2],
  ],
  // Many narrow rows: vectors of periods, of rows and of blocks of rows, and what is left of them.
  [
    [1, 1, 131, 3],
    [0, 0, 3, 1],
    [0, 0, 0, 1],
  ],
  [
    [1, 1, 1100, 3],
    [0, 0, 1, 0],
    [0, 0, 3, 1],
  ],
  [
    [1, 1, 70, 2],
    [0, 0, 2, 1],
    [0, 0, 1, 0],
  ],
  [
    [1, 2, 40, 4],
    [0, 0, 1, 0],
    [0, 160, 4, 1],
  ],
  // Narrow rows with an element each: more than a turn of fours, rows that are left, either side.
  [
    [1, 1, 395, 3],
    [0, 0, 3, 1],
    [0, 0, 1, 0],
  ],
  [
    [2, 1, 130, 10],
    [130, 0, 1, 0],
    [1300, 0, 10, 1],
  ],
  [
    [1, 1, 128, 2],
    [0, 0, 2, 1],
    [0, 0, 1, 0],
  ],
  [
    [1, 3, 129, 4],
    [0, 516, 4, 1],
    [0, 0, 1, 0],
  ],
  [
    [1, 1, 131, 15],
    [0, 0, 1, 0],
    [0, 0, 15, 1],
  ],
  [
    [1, 140, 5, 3],
    [0, 15, 3, 1],
    [0, 0, 1, 0],
  ],
  [
    [2, 67, 3, 2],
    [0, 6, 2, 1],
    [3, 0, 1, 0],
  ],
  [
    [1, 40, 4, 4],
    [0, 4, 0, 1],
    [0, 0, 1, 0],
  ],
];

const extent = (d: number[], s: number[]) => 1 + d.reduce((sum, n, i) => sum + (n - 1) * s[i]!, 0);
const total = (d: number[]) => d.reduce((a, b) => a * b, 1);
/** Element offsets in row-major order of d. */
function offsets(d: number[], s: number[]): number[] {
  let at = [0];
  d.forEach((n, k) => {
    at = at.flatMap((o) => Array.from({ length: n }, (_, i) => o + i * s[k]!));
  });
  return at;
}

const SPECIAL = [0, -0, 1, -1, 2, -2, 0.5, -0.5, 3, -3, 1e30, -1e30, Infinity, -Infinity, Number.NaN, 1e-30];

describe('binary', () => {
  const pow = (x: number, y: number) => (x === 1 || (x === -1 && Math.abs(y) === Infinity) ? 1 : x ** y);
  const mod = (a: number, b: number) => (a % b !== 0 && a % b < 0 !== b < 0 ? (a % b) + b : a % b);
  const rules: Record<string, (a: number, b: number) => number> = {
    add: (a, b) => a + b,
    sub: (a, b) => a - b,
    mul: (a, b) => a * b,
    div: (a, b) => a / b,
    pow,
    maximum: Math.max,
    minimum: Math.min,
    mod,
    fmod: (a, b) => a % b,
    prelu: (a, b) => (a > 0 ? a : b * a),
  };
  for (const [name, rule] of Object.entries(rules)) {
    it(name, () => {
      FORMS.forEach(([d, sa, sb], seed) => {
        const a = normal(extent(d, sa), seed).map((v) => (name === 'pow' ? Math.abs(v) : v));
        const b = normal(extent(d, sb), seed + 50);
        const oa = offsets(d, sa);
        const ob = offsets(d, sb);
        const expected = oa.map((o, i) => rule(a[o]!, b[ob[i]!]!));
        expectClose(run(name, ...d, { in: a }, ...sa, { in: b }, ...sb, f32(total(d)))[0]!, expected, 1.2e-7, 1e-38);
      });
      // Special values: all pairs.
      const n = SPECIAL.length;
      const x = Float32Array.from(SPECIAL);
      const y = run(name, 1, 1, n, n, { in: x }, 0, 0, 1, 0, { in: x }, 0, 0, 0, 1, f32(n * n))[0]!;
      SPECIAL.forEach((p, i) => {
        SPECIAL.forEach((q, j) => {
          const e = rule(Math.fround(p), Math.fround(q));
          const actual = y[i * n + j]!;
          const close = Object.is(actual, Math.fround(e)) || Math.abs(actual - e) <= 2.4e-7 * Math.abs(e);
          expect(close, `${name}(${p}, ${q}) = ${actual}, expected ${e}`).toBe(true);
        });
      });
    });
    it(`${name} in place`, () => {
      const a = normal(21, 5).map(Math.abs);
      const b = normal(21, 6);
      const flat: Arg[] = [1, 1, 1, 21];
      const fresh = run(name, ...flat, { in: a }, 0, 0, 0, 1, { in: b }, 0, 0, 0, 1, f32(21))[0];
      expect(run(name, ...flat, { inout: a }, 0, 0, 0, 1, { in: b }, 0, 0, 0, 1, { same: 4 })[0]).toEqual(fresh);
      expect(run(name, ...flat, { in: a }, 0, 0, 0, 1, { inout: b }, 0, 0, 0, 1, { same: 9 })[0]).toEqual(fresh);
    });
  }
});

it('fmod is exact for every quotient', () => {
  const r = random(7);
  const n = 1 << 14;
  const a = new Float32Array(n);
  const b = new Float32Array(n);
  const bits = [new Uint32Array(a.buffer), new Uint32Array(b.buffer)];
  for (let i = 0; i < n; i++) {
    for (const side of bits) side[i] = Math.floor(r() * 2 ** 32);
    if (i % 2) b[i] = a[i]! * (r() - 0.5) * 2 ** -Math.floor(r() * 40); // quotients on both sides of 2^28
  }
  const y = run('fmod', 1, 1, 1, n, { in: a }, 0, 0, 0, 1, { in: b }, 0, 0, 0, 1, f32(n))[0]!;
  const wrong = [...y.keys()].filter((i) => !Object.is(y[i], a[i]! % b[i]!));
  expect(wrong.map((i) => [a[i], b[i], y[i]])).toEqual([]);
});

describe('comparisons', () => {
  const rules: Record<string, (a: number, b: number) => boolean> = {
    equal: (a, b) => a === b,
    notEqual: (a, b) => a !== b,
    less: (a, b) => a < b,
    lessEqual: (a, b) => a <= b,
    greater: (a, b) => a > b,
    greaterEqual: (a, b) => a >= b,
    equalI32: (a, b) => a === b,
    lessI32: (a, b) => a < b,
  };
  for (const [name, rule] of Object.entries(rules)) {
    it(name, () => {
      FORMS.forEach(([d, sa, sb], seed) => {
        const ia = integers(extent(d, sa), 4, seed).map((v) => v - 2);
        const ib = integers(extent(d, sb), 4, seed + 9).map((v) => v - 2);
        const a = name.endsWith('I32') ? ia : Float32Array.from(ia, (v) => (v === 1 ? Number.NaN : v));
        const b = name.endsWith('I32') ? ib : Float32Array.from(ib);
        const ob = offsets(d, sb);
        const expected = offsets(d, sa).map((o, i) => Number(rule(a[o]!, b[ob[i]!]!)));
        expect([...run(name, ...d, { in: a }, ...sa, { in: b }, ...sb, bool(total(d)))[0]!]).toEqual(expected);
      });
    });
  }
});

it('where', () => {
  FORMS.forEach(([d, sa, sb], seed) => {
    for (const sc of [sa, sb, [0, 0, 0, 0]]) {
      const c = bools(extent(d, sc), seed);
      const a = integers(extent(d, sa), 1 << 30, seed + 1);
      const b = integers(extent(d, sb), 1 << 30, seed + 2);
      const oa = offsets(d, sa);
      const ob = offsets(d, sb);
      const expected = offsets(d, sc).map((o, i) => (c[o] ? a[oa[i]!] : b[ob[i]!]));
      const y = run('where', ...d, { in: c }, ...sc, { in: a }, ...sa, { in: b }, ...sb, i32(total(d)))[0]!;
      expect([...y]).toEqual(expected);
    }
  });
});

it('logic on bools', () => {
  for (const n of SIZES) {
    const a = bools(n, n);
    const b = bools(n, n + 1);
    expect([...run('not', n, { in: a }, bool(n))[0]!]).toEqual(Array.from(a, (v) => 1 - v));
    expect([...run('and', n, { in: a }, { in: b }, bool(n))[0]!]).toEqual(Array.from(a, (v, i) => v & b[i]!));
    expect([...run('or', n, { in: a }, { in: b }, bool(n))[0]!]).toEqual(Array.from(a, (v, i) => v | b[i]!));
    expect([...run('xor', n, { in: a }, { in: b }, bool(n))[0]!]).toEqual(Array.from(a, (v, i) => v ^ b[i]!));
    expect([...run('or', n, { inout: a }, { in: b }, { same: 1 })[0]!]).toEqual(Array.from(a, (v, i) => v | b[i]!));
  }
});

it('casts', () => {
  for (const n of SIZES) {
    const c = bools(n, n);
    const f = normal(n, n).map((v, i) => (i % 3 === 0 ? 0 : v * 10));
    const k = integers(n, 7, n).map((v) => v - 3);
    expect([...run('castBoolF32', n, { in: c }, f32(n))[0]!]).toEqual([...c]);
    expect([...run('castBoolI32', n, { in: c }, i32(n))[0]!]).toEqual([...c]);
    expect([...run('castI32F32', n, { in: k }, f32(n))[0]!]).toEqual([...k]);
    expect([...run('castF32I32', n, { in: f }, i32(n))[0]!]).toEqual(Array.from(f, (v) => Math.trunc(v) + 0));
    expect([...run('castF32Bool', n, { in: f }, bool(n))[0]!]).toEqual(Array.from(f, (v) => Number(v !== 0)));
    expect([...run('castI32Bool', n, { in: k }, bool(n))[0]!]).toEqual(Array.from(k, (v) => Number(v !== 0)));
  }
});

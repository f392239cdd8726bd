// Accuracy of the transcendental kernels: worst error in ulp over a dense sweep of all f32 bit patterns, against f64, and
// C's special values. The bounds are the ones the kernels' docstrings state.
import { describe, expect, it } from 'vitest';
import { f32, normal, random, run, sweep, ulps } from './harness.ts';

/** Σ (−1)^k x^(2k+1) / (k!·(2k+1)) · 2/√π; loses no more than 1e-13 for |x| ≤ 2.5. */
function erfSeries(x: number): number {
  let term = x;
  let sum = x;
  for (let n = 1; Math.abs(term) > 1e-18 * Math.abs(sum) && n < 200; n++) {
    term *= (-x * x) / n;
    sum += term / (2 * n + 1);
  }
  return (sum * 2) / Math.sqrt(Math.PI);
}

/** Complementary error function of a ≥ 0, by the continued fraction (Abramowitz & Stegun 7.1.14) where it is small. */
function erfc(a: number): number {
  if (a < 2.5) return 1 - erfSeries(a);
  let f = 0;
  for (let i = 80; i >= 1; i--) f = i / 2 / (a + f);
  return Math.exp(-a * a) / Math.sqrt(Math.PI) / (a + f);
}
const erf = (x: number) => (Math.abs(x) < 2.5 ? erfSeries(x) : Math.sign(x) * (1 - erfc(Math.abs(x))));
const cdf = (x: number) => (x < 0 ? 0.5 * erfc(-x / Math.SQRT2) : 1 - 0.5 * erfc(x / Math.SQRT2));

const inf = Infinity;
const nan = Number.NaN;
const FUNCTIONS: [name: string, f: (x: number) => number, maxUlp: number, special: [number, number][]][] = [
  [
    'exp',
    Math.exp,
    1,
    [
      [-inf, 0],
      [inf, inf],
      [nan, nan],
      [0, 1],
      [89, inf],
      [88.722_83, Math.exp(Math.fround(88.722_83))],
      [-104, 0],
    ],
  ],
  [
    'log',
    Math.log,
    1,
    [
      [0, -inf],
      [-0, -inf],
      [-1, nan],
      [-inf, nan],
      [inf, inf],
      [nan, nan],
      [1, 0],
      [2 ** -149, Math.log(2 ** -149)],
    ],
  ],
  [
    'tanh',
    Math.tanh,
    1.5,
    [
      [inf, 1],
      [-inf, -1],
      [nan, nan],
      [0, 0],
      [-0, -0],
      [2 ** -149, 2 ** -149],
      [100, 1],
    ],
  ],
  [
    'sigmoid',
    (x) => 1 / (1 + Math.exp(-x)),
    1,
    [
      [inf, 1],
      [-inf, 0],
      [nan, nan],
      [0, 0.5],
      [-200, 0],
    ],
  ],
  [
    'erf',
    erf,
    1.5,
    [
      [inf, 1],
      [-inf, -1],
      [nan, nan],
      [0, 0],
      [5, 1],
      [-5, -1],
    ],
  ],
  [
    'gelu',
    (x) => (x === -inf ? nan : x === 0 ? x : x * cdf(x)),
    5,
    [
      [inf, inf],
      [-inf, nan],
      [nan, nan],
      [0, 0],
      [-0, -0],
      [-20, -0],
      [3e38, Math.fround(3e38)],
    ],
  ],
  [
    'neg',
    (x) => -x,
    0,
    [
      [0, -0],
      [inf, -inf],
      [nan, nan],
    ],
  ],
  [
    'abs',
    Math.abs,
    0,
    [
      [-0, 0],
      [-inf, inf],
      [nan, nan],
    ],
  ],
  [
    'relu',
    (x) => Math.max(x, 0),
    0,
    [
      [inf, inf],
      [-inf, 0],
      [nan, nan],
    ],
  ],
  [
    'sqrt',
    Math.sqrt,
    0.5,
    [
      [-1, nan],
      [inf, inf],
      [-0, -0],
      [nan, nan],
    ],
  ],
  ...(['sin', 'cos', 'tan'] as const).map((name): (typeof FUNCTIONS)[number] => [
    name,
    Math[name],
    0.51,
    [
      [inf, nan],
      [-inf, nan],
      [nan, nan],
      [0, Math[name](0)],
      // The f32 nearest to a whole number of quarter turns, and others far out.
      ...[16367173 * 2 ** 72, 10741887 * 2 ** 11, 268435456, -268435488, 3.4e38, 1e5].map((x): [number, number] => [
        x,
        Math[name](Math.fround(x)),
      ]),
    ],
  ]),
  ...(['asin', 'acos', 'atanh'] as const).map((name): (typeof FUNCTIONS)[number] => [
    name,
    Math[name],
    0.51,
    [-1, 1, -0, 0, -1.0000001, 1.5, inf, -inf, nan, 0.99999994, -0.99999994, 1e-30, 0.03125].map((x) => [
      x,
      Math[name](Math.fround(x)),
    ]),
  ]),
  ...(['atan', 'sinh', 'cosh', 'asinh'] as const).map((name): (typeof FUNCTIONS)[number] => [
    name,
    Math[name],
    0.51,
    [-0, 0, 1, -1, inf, -inf, nan, 0.5, 0.03125, 1e-30, 89.3, -3.4e38].map((x) => [x, Math[name](Math.fround(x))]),
  ]),
  [
    'acosh',
    Math.acosh,
    0.51,
    [1, 1.0000001, 0.99999994, 0, -2, inf, -inf, nan, 3.4e38].map((x) => [x, Math.acosh(Math.fround(x))]),
  ],
  ...(['floor', 'ceil'] as const).map((name): (typeof FUNCTIONS)[number] => [
    name,
    Math[name],
    0,
    [
      [inf, inf],
      [nan, nan],
      [-0.5, Math[name](-0.5)],
      [8388607.5, Math[name](8388607.5)],
    ],
  ]),
  [
    'round',
    (x) =>
      Math.floor(x) + (x - Math.floor(x) === 0.5 ? Math.abs(Math.floor(x) % 2) : Math.round(x - Math.floor(x))) ||
      x * 0,
    0,
    [
      [inf, inf],
      [nan, nan],
      [0.5, 0],
      [1.5, 2],
      [-2.5, -2],
      [8388607.5, 8388608],
    ],
  ],
  [
    'sign',
    Math.sign,
    0,
    [
      [inf, 1],
      [-inf, -1],
      [nan, nan],
      [2 ** -149, 1],
    ],
  ],
  [
    'softplus',
    (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
    2.5,
    [
      [inf, inf],
      [-inf, 0],
      [nan, nan],
      [0, Math.LN2],
      [3e38, Math.fround(3e38)],
    ],
  ],
  [
    'softsign',
    (x) => x / (1 + Math.abs(x)),
    1.5,
    [
      [inf, nan],
      [nan, nan],
      [-3e38, -1],
    ],
  ],
  [
    'hardSwish',
    (x) => (x * Math.min(Math.max(x + 3, 0), 6)) / 6,
    2,
    [
      [inf, inf],
      [-inf, nan],
      [nan, nan],
      [-3, -0],
      [3, 3],
      [3e38, Math.fround(3e38)],
    ],
  ],
  [
    'reciprocal',
    (x) => 1 / x,
    0.5,
    [
      [0, inf],
      [-0, -inf],
      [inf, 0],
      [nan, nan],
    ],
  ],
];

describe('unary functions', () => {
  for (const [name, f, maxUlp, special] of FUNCTIONS) {
    it(`${name}: at most ${maxUlp} ulp`, () => {
      const { worst, at } = sweep(name, f, 4093);
      expect(worst, `at ${at}`).toBeLessThanOrEqual(maxUlp);
    });
    it(`${name}: special values, tails, in place`, () => {
      const x = Float32Array.from(special, ([v]) => v);
      const y = run(name, x.length, { in: x }, f32(x.length))[0]!;
      for (const [i, [v, e]] of special.entries()) {
        expect(ulps(y[i]!, e), `${name}(${v}) = ${y[i]}`).toBeLessThanOrEqual(maxUlp);
        if (e === 0) expect(y[i], `${name}(${v})`).toBe(e); // the sign of zero
      }
      for (const n of [1, 2, 3, 4, 5, 6, 7, 8, 31]) {
        const a = normal(n, n);
        const fresh = run(name, n, { in: a }, f32(n))[0]!;
        for (const i of fresh.keys()) expect(ulps(fresh[i]!, f(a[i]!))).toBeLessThanOrEqual(maxUlp);
        expect(run(name, n, { inout: a }, { same: 1 })[0]).toEqual(fresh);
      }
    });
  }
});

it('pow: at most 0.6 ulp', () => {
  const r = random(3);
  const n = 1 << 16;
  let worst = 0;
  for (let round = 0; round < 16; round++) {
    const x = new Float32Array(n);
    const y = new Float32Array(n);
    const bits = new Uint32Array(x.buffer);
    for (let i = 0; i < n; i++) {
      bits[i] = Math.floor(r() * 0x7f800000); // all positive finite numbers
      if (round % 4 === 3) x[i] = 1 + (r() - 0.5) * 2 ** -Math.floor(r() * 20); // near 1, where y may be large
      const limit = Math.min(1e9, 90 / Math.abs(Math.log(x[i]!) || 1e-9));
      y[i] = round % 2 ? (r() * 2 - 1) * limit : Math.round((r() * 2 - 1) * limit);
    }
    const z = run('pow', 1, 1, 1, n, { in: x }, 0, 0, 0, 1, { in: y }, 0, 0, 0, 1, f32(n))[0]!;
    for (let i = 0; i < n; i++) worst = Math.max(worst, ulps(z[i]!, x[i]! ** y[i]!));
  }
  expect(worst).toBeLessThanOrEqual(0.6);
});

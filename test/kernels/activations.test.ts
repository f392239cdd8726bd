// Activations with parameters and their gradients: errors in ulp over a sweep of all f32, special values, tails, in place.
import { describe, expect, it } from 'vitest';
import { expectClose, f32, normal, run, sweep, ulps } from './harness.ts';

const SIZES = [1, 2, 3, 4, 5, 6, 7, 8, 31];

interface Activation {
  readonly parameters: readonly number[];
  readonly f: (x: number) => number;
  readonly maxUlp: number;
  readonly special: readonly (readonly [x: number, y: number])[];
  /** Derivative, and the parameters of the kernel `…Grad` where they are others. */
  readonly slope: (x: number) => number;
  readonly slopeParameters?: readonly number[];
  /** Where a sum near 0 would lose digits. */
  readonly low?: number;
}

const inf = Infinity;
const nan = Number.NaN;
const fround = Math.fround;

const elu = (above: number, below: number, rate: number): Activation => {
  const [p, q, r, qr] = [above, below, rate, below * rate].map(fround) as [number, number, number, number];
  return {
    parameters: [above, below, rate],
    f: (x) => (x > 0 ? p * x : q * Math.expm1(r * x)),
    maxUlp: 2,
    special: [
      [inf, inf],
      [-inf, -q],
      [nan, nan],
      [0, 0],
      [-1e-30, -1e-30 * q * r],
    ],
    slope: (x) => (x > 0 ? p : qr * Math.exp(r * x)),
    slopeParameters: [above, below * rate, rate],
  };
};

const activations: readonly (readonly [name: string, activation: Activation])[] = [
  ['elu', elu(1, 1, 1)],
  ['elu', elu(1.0507009873554805, 1.7580993408473766, 1)],
  ['elu', elu(1, 0.3, 1 / 0.3)],
  [
    'leakyRelu',
    {
      parameters: [0.01],
      f: (x) => (x > 0 ? x : fround(0.01) * x),
      maxUlp: 0.5,
      special: [
        [inf, inf],
        [-inf, -inf],
        [nan, nan],
      ],
      slope: (x) => (x > 0 ? 1 : fround(0.01)),
    },
  ],
  [
    'hardSigmoid',
    {
      parameters: [0.2, 0.5],
      f: (x) => Math.min(Math.max(fround(0.2) * x + 0.5, 0), 1),
      maxUlp: 2,
      low: -2,
      special: [
        [inf, 1],
        [-inf, 0],
        [nan, nan],
        [0, 0.5],
      ],
      slope: (x) => (fround(0.2) * x + 0.5 > 0 && fround(0.2) * x + 0.5 < 1 ? fround(0.2) : 0),
    },
  ],
  [
    'clip',
    {
      parameters: [-1, 0.5],
      f: (x) => Math.min(Math.max(x, -1), 0.5),
      maxUlp: 0,
      special: [
        [inf, 0.5],
        [-inf, -1],
        [nan, nan],
      ],
      slope: (x) => (x >= -1 && x <= 0.5 ? 1 : 0),
    },
  ],
  [
    'clip',
    {
      parameters: [-inf, inf],
      f: (x) => x,
      maxUlp: 0,
      special: [
        [inf, inf],
        [-inf, -inf],
        [nan, nan],
      ],
      slope: () => 1,
    },
  ],
  [
    'clip',
    { parameters: [1, -1], f: (x) => Math.min(Math.max(x, 1), -1), maxUlp: 0, special: [[nan, nan]], slope: () => 0 },
  ],
  [
    'thresholdedRelu',
    {
      parameters: [1],
      f: (x) => (x <= 1 ? 0 : x),
      maxUlp: 0,
      special: [
        [inf, inf],
        [1, 0],
        [nan, nan],
      ],
      slope: (x) => (x <= 1 ? 0 : 1),
    },
  ],
];

describe('activations with parameters', () => {
  it.each(activations)('%s of %o', (name, { parameters, f, maxUlp, special, low }) => {
    const { worst, at } = sweep(name, f, 4093, { parameters, ...(low === undefined ? {} : { low }) });
    expect(worst, `at ${at}`).toBeLessThanOrEqual(maxUlp);
    const x = Float32Array.from(special, ([v]) => v);
    const y = run(name, x.length, { in: x }, f32(x.length), ...parameters)[0]!;
    for (const [i, [v, e]] of special.entries()) expect(ulps(y[i]!, e), `${name}(${v})`).toBeLessThanOrEqual(maxUlp);
    for (const n of SIZES) {
      const a = normal(n, n);
      const fresh = run(name, n, { in: a }, f32(n), ...parameters)[0]!;
      expectClose(fresh, Array.from(a, f), 5e-7, 1e-7);
      expect(run(name, n, { inout: a }, { same: 1 }, ...parameters)[0]).toEqual(fresh);
    }
  });

  it.each(activations)('%sGrad of %o', (name, { parameters, slope, slopeParameters = parameters }) => {
    const kernel = `${name}Grad`;
    for (const n of SIZES) {
      const x = normal(n, n);
      const dy = normal(n, n + 100);
      const fresh = run(kernel, n, { in: x }, { in: dy }, f32(n), ...slopeParameters)[0]!;
      expectClose(
        fresh,
        Array.from(x, (v, i) => slope(v) * dy[i]!),
        1e-6,
        1e-7,
      );
      expect(run(kernel, n, { inout: x }, { in: dy }, { same: 1 }, ...slopeParameters)[0]).toEqual(fresh);
      expect(run(kernel, n, { in: x }, { inout: dy }, { same: 2 }, ...slopeParameters)[0]).toEqual(fresh);
    }
    // Exactly at the kinks: clip includes its bounds, the others take the side of the lower values.
    const kinks = Float32Array.of(0, 1, -1, 0.5, inf, -inf);
    const y = run(kernel, 6, { in: kinks }, { in: new Float32Array(6).fill(1) }, f32(6), ...slopeParameters)[0]!;
    expectClose(y, Array.from(kinks, slope), 1e-6, 0);
  });
});

describe('geluTanh', () => {
  const f = (x: number) => x / (1 + Math.exp(-2 * Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));

  it('is within 2 ulp from −1 on, and within 2.2·|2u| below', () => {
    expect(sweep('geluTanh', f, 4093, { low: -1 }).worst).toBeLessThanOrEqual(2);
    expect(sweep('geluTanh', f, 509, { low: -1, high: -1e-4 }).worst).toBeLessThanOrEqual(2);
    for (const low of [-2, -3, -5, -9.4]) {
      const argument = -2 * Math.sqrt(2 / Math.PI) * (low + 0.044715 * low ** 3);
      expect(sweep('geluTanh', f, 4093, { low }).worst).toBeLessThanOrEqual(2.2 * argument);
    }
    expect(sweep('geluTanh', f, 4093, { low: -1e10 }).worst).toBeLessThanOrEqual(160);
  });

  it('takes special values, tails, and works in place', () => {
    const x = Float32Array.of(inf, -inf, nan, 3e38, -3e38, 0, -0);
    expect([...run('geluTanh', 7, { in: x }, f32(7))[0]!]).toEqual([inf, nan, nan, fround(3e38), -0, 0, -0]);
    for (const n of SIZES) {
      const a = normal(n, n);
      const fresh = run('geluTanh', n, { in: a }, f32(n))[0]!;
      expectClose(fresh, Array.from(a, f), 2e-6, 1e-7);
      expect(run('geluTanh', n, { inout: a }, { same: 1 })[0]).toEqual(fresh);
    }
  });
});

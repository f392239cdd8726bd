// Weighted sums of places along an axis against direct sums in f32, in the order that the kernels state.
import { describe, expect, it } from 'vitest';
import { f32, integers, normal, run } from './harness.ts';

const CASES = [
  { outer: 3, n: 5, inner: 1, m: 7, taps: 2 },
  { outer: 2, n: 4, inner: 3, m: 3, taps: 4 },
  { outer: 1, n: 6, inner: 4, m: 2, taps: 1 },
  { outer: 2, n: 3, inner: 17, m: 5, taps: 3 },
  { outer: 4, n: 1, inner: 2, m: 1, taps: 2 },
  { outer: 6, n: 5, inner: 1, m: 9, taps: 3 },
  { outer: 9, n: 4, inner: 1, m: 3, taps: 1 },
  { outer: 9, n: 3, inner: 1, m: 8, taps: 3 },
  { outer: 7, n: 3, inner: 2, m: 5, taps: 2 },
  { outer: 5, n: 4, inner: 3, m: 6, taps: 2 },
];

describe('resample', () => {
  it.each(CASES)('$outer × $n × $inner to $m by $taps taps', ({ outer, n, inner, m, taps }) => {
    const x = normal(outer * n * inner, 1);
    const dy = normal(outer * m * inner, 2);
    const weight = normal(m * taps, 3);
    const index = integers(m * taps, n, 4);
    const y = new Float32Array(dy.length);
    const dx = new Float32Array(x.length);
    for (let o = 0; o < outer; o++)
      for (let i = 0; i < m; i++)
        for (let k = i * taps; k < (i + 1) * taps; k++)
          for (let j = 0; j < inner; j++) {
            const [from, to] = [(o * n + index[k]!) * inner + j, (o * m + i) * inner + j];
            y[to]! += Math.fround(weight[k]! * x[from]!);
            dx[from]! += Math.fround(weight[k]! * dy[to]!);
          }
    const sizes = [outer, n, inner, m, taps];
    const tables = [{ in: index }, { in: weight }];
    expect(run('resample', ...sizes, { in: x }, ...tables, f32(y.length))[0]).toEqual(y);
    expect(run('resampleGrad', ...sizes, { in: dy }, ...tables, f32(dx.length))[0]).toEqual(dx);
  });

  it.each([-1, 3])('an index of %i into an axis of 3 traps', (bad) => {
    const tables = [{ in: Int32Array.of(0, bad) }, { in: Float32Array.of(1, 1) }];
    for (const inner of [1, 4]) {
      const [x, dy] = [new Float32Array(3 * inner), new Float32Array(inner)];
      expect(() => run('resample', 1, 3, inner, 1, 2, { in: x }, ...tables, f32(inner))).toThrow('unreachable');
      expect(() => run('resampleGrad', 1, 3, inner, 1, 2, { in: dy }, ...tables, f32(3 * inner))).toThrow(
        'unreachable',
      );
    }
  });
});

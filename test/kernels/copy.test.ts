// Fills and strided copies, checked element by element; every order of dimensions, gaps and repeats.
import { describe, expect, it } from 'vitest';
import { bool, i32, integers, random, run } from './harness.ts';

it('fills and copies bytes', () => {
  for (const n of [1, 2, 3, 4, 5, 16, 17, 1000]) {
    expect([...run('fill32', n, -7, i32(n))[0]!]).toEqual(new Array(n).fill(-7));
    expect([...run('fill8', n, 1, bool(n))[0]!]).toEqual(new Array(n).fill(1));
    const x = Uint8Array.from(integers(n, 256, n));
    expect(run('copyBytes', n, { in: x }, bool(n))[0]).toEqual(x);
  }
});

function offsets(d: number[], s: number[]): number[] {
  let at = [0];
  d.forEach((n, k) => {
    at = at.flatMap((o) => Array.from({ length: n }, (_, i) => o + i * s[k]!));
  });
  return at;
}

/** Strides of a dense array whose dimensions lie in the order `perm` (last innermost). */
function stridesOf(d: number[], perm: number[], gap: number): number[] {
  const s = new Array<number>(6).fill(0);
  let step = 1;
  for (const k of [...perm].reverse()) {
    s[k] = step;
    step *= d[k]! + gap;
  }
  return s;
}

const SHAPES = [
  [1, 1, 1, 1, 1, 1],
  [1, 1, 1, 1, 1, 13],
  [1, 1, 1, 1, 9, 10],
  [1, 1, 1, 5, 8, 6],
  [1, 2, 1, 3, 4, 5],
  [2, 3, 2, 1, 5, 3],
  [2, 1, 3, 4, 1, 1],
  [1, 1, 1, 2, 3, 200],
  [3, 2, 2, 2, 2, 2],
  // Narrow lines and planes: pairs, threes and fours beside long and short dimensions, and fours gathered one by one.
  [1, 1, 1, 1, 37, 2],
  [1, 1, 1, 1, 37, 3],
  [1, 1, 1, 1, 2, 37],
  [1, 1, 1, 1, 3, 38],
  [1, 1, 1, 1, 21, 4],
  [1, 1, 5, 4, 2, 2],
  [5, 2, 2, 3, 8, 2],
  [2, 3, 2, 2, 3, 4],
  [1, 3, 9, 2, 3, 8],
  [1, 1, 1, 2, 13, 71], // more rows than are transposed at a time
  // Rows of bytes by words and vectors whose last reaches back, and long ones.
  [1, 1, 1, 1, 7, 7],
  [1, 1, 1, 1, 7, 8],
  [1, 1, 1, 1, 7, 15],
  [1, 1, 1, 1, 7, 16],
  [1, 1, 1, 1, 7, 33],
  [1, 1, 1, 1, 3, 300],
  [1, 1, 1, 1, 3, 600],
];

function* cases(): Generator<{ d: number[]; s: number[] }> {
  const r = random(4);
  for (const d of SHAPES) {
    for (let trial = 0; trial < 24; trial++) {
      const perm = [0, 1, 2, 3, 4, 5].map((k) => ({ k, key: trial ? r() : k })).sort((a, b) => a.key - b.key);
      yield {
        d,
        s: stridesOf(
          d,
          perm.map((p) => p.k),
          trial % 5 === 4 ? 1 : 0,
        ),
      };
    }
  }
}

describe('strided copies', () => {
  it('lines a few elements apart, forwards and backwards', () => {
    for (const step of [-3, -2, -1, 2, 3, 4, 5]) {
      for (const n of [1, 2, 3, 4, 5, 8, 11, 16]) {
        for (const rows of [1, 2, 3, 9]) {
          const width = Math.abs(step) * (n - 1) + 1;
          const first = step < 0 ? width - 1 : 0;
          const [d, s] = [
            [1, 1, 1, 1, rows, n],
            [0, 0, 0, 0, width, step],
          ];
          const at = offsets(d, s).map((o) => o + first);
          const whole = integers(rows * width, 1 << 30, n);
          const lines = run('copy32', ...d, ...s, { in: whole, from: 4 * first }, i32(at.length))[0]!;
          expect([...lines]).toEqual(at.map((o) => whole[o]));
          const x = integers(at.length, 1 << 30, rows);
          const target = new Int32Array(rows * width).fill(-1);
          const expected = target.slice();
          for (const [i, o] of at.entries()) expected[o] = x[i]!;
          const into = { inout: target, from: 4 * first };
          expect(run('copyInto32', ...d, ...s, { in: x }, into)[0]).toEqual(expected);
        }
      }
    }
  });
  it('copy32 and copy8', () => {
    let count = 0;
    for (const { d, s: dense } of cases()) {
      const s = dense.map((v, k) => ((count + k) % 4 === 0 && count % 3 === 0 ? 0 : v));
      count++;
      const at = offsets(d, s);
      const x = integers(Math.max(...at) + 1, 1 << 30, count);
      expect([...run('copy32', ...d, ...s, { in: x }, i32(at.length))[0]!]).toEqual(at.map((o) => x[o]));
      const x8 = Uint8Array.from(x);
      expect([...run('copy8', ...d, ...s, { in: x8 }, bool(at.length))[0]!]).toEqual(at.map((o) => x8[o]));
    }
  });
  it('copy8 repeats an element along a row', () => {
    for (const n of [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 255, 256, 600]) {
      const x = Uint8Array.from(integers(11, 256, n));
      const repeated = Array.from({ length: 5 * n }, (_, i) => x[2 * Math.floor(i / n)]);
      expect([...run('copy8', 1, 1, 1, 1, 5, n, 0, 0, 0, 0, 2, 0, { in: x }, bool(5 * n))[0]!]).toEqual(repeated);
    }
  });
  it('copyInto32 and copyInto8 leave the gaps alone', () => {
    for (const { d, s: t } of cases()) {
      const at = offsets(d, t);
      const x = integers(at.length, 1 << 30, at.length);
      const target = new Int32Array(Math.max(...at) + 1).fill(-1);
      const expected = target.slice();
      for (const [i, o] of at.entries()) expected[o] = x[i]!;
      expect(run('copyInto32', ...d, ...t, { in: x }, { inout: target })[0]).toEqual(expected);
      expect(run('copyInto8', ...d, ...t, { in: Uint8Array.from(x) }, { inout: Uint8Array.from(target) })[0]).toEqual(
        Uint8Array.from(expected),
      );
    }
  });
});

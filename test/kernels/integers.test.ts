// Arithmetic of i32: exact, modulo 2^32, over broadcasting forms and the ends of the range; zero divisors trap.
import { describe, expect, it } from 'vitest';
import { i32, integers, run } from './harness.ts';

const MIN = -(2 ** 31);
const MAX = 2 ** 31 - 1;
/** All pairs of these are tried. */
const ODD = Int32Array.of(0, 1, -1, 2, -2, 3, -7, 31, 46341, 65537, MIN, MIN + 1, MAX, MAX - 1);

/** Exponentiation by BigInt, in which nothing overflows before the end. */
function power(a: number, b: number): number {
  if (b < 0) return Math.abs(a) === 1 ? a ** (b % 2) : 0;
  if (b > 64 && Math.abs(a) > 1) {
    // Squares of squares keep only their last 32 bits.
    const half = BigInt(power(a, Math.floor(b / 2)));
    return Number(BigInt.asIntN(32, half * half * BigInt(b % 2 ? a : 1)));
  }
  return Number(BigInt.asIntN(32, BigInt(a) ** BigInt(Math.abs(a) > 1 ? b : b % 2 || (b && 2))));
}

const rules: Record<string, (a: number, b: number) => number> = {
  addI32: (a, b) => (a + b) | 0,
  subI32: (a, b) => (a - b) | 0,
  mulI32: Math.imul,
  divI32: (a, b) => (a / b) | 0,
  modI32: (a, b) => a - Math.floor(a / b) * b,
  fmodI32: (a, b) => a % b,
  powI32: power,
  maximumI32: Math.max,
  minimumI32: Math.min,
};
const divides = (name: string) => ['divI32', 'modI32', 'fmodI32'].includes(name);

describe('binary', () => {
  for (const [name, rule] of Object.entries(rules)) {
    it(name, () => {
      const b = divides(name) ? ODD.filter((v) => v !== 0) : ODD;
      const [m, n] = [ODD.length, b.length];
      const y = run(name, 1, 1, m, n, { in: ODD }, 0, 0, 1, 0, { in: b }, 0, 0, 0, 1, i32(m * n))[0]!;
      const expected = [...ODD].flatMap((p) => [...b].map((q) => rule(p, q) | 0));
      expect([...y]).toEqual(expected);
      // Every tail, a scalar on either side, in place.
      for (const size of [1, 2, 3, 4, 5, 7, 8, 9]) {
        const a = integers(size, 1000, size).map((v) => v - 500);
        const c = integers(size, 9, size + 1).map((v) => v + 1);
        const flat = (sa: number, sb: number) =>
          [...run(name, 1, 1, 1, size, { in: a }, 0, 0, 0, sa, { in: c }, 0, 0, 0, sb, i32(size))[0]!] as number[];
        expect(flat(1, 1)).toEqual(Array.from(a, (p, i) => rule(p, c[i]!) | 0));
        expect(flat(0, 1)).toEqual(Array.from(c, (q) => rule(a[0]!, q) | 0));
        expect(flat(1, 0)).toEqual(Array.from(a, (p) => rule(p, c[0]!) | 0));
        const inPlace = run(name, 1, 1, 1, size, { inout: a }, 0, 0, 0, 1, { in: c }, 0, 0, 0, 1, { same: 4 })[0]!;
        expect([...inPlace]).toEqual(flat(1, 1));
      }
    });
  }

  it('a zero divisor traps', () => {
    for (const name of Object.keys(rules).filter(divides)) {
      expect(() =>
        run(name, 1, 1, 1, 1, { in: Int32Array.of(5) }, 0, 0, 0, 1, { in: Int32Array.of(0) }, 0, 0, 0, 1, i32(1)),
      ).toThrow(WebAssembly.RuntimeError);
    }
  });
});

describe('unary', () => {
  const unary: Record<string, (x: number) => number> = {
    negI32: (x) => -x | 0,
    absI32: (x) => Math.abs(x) | 0,
    signI32: Math.sign,
  };
  for (const [name, rule] of Object.entries(unary)) {
    it(name, () => {
      for (let n = 1; n <= ODD.length; n++) {
        const x = ODD.slice(-n);
        const expected = Array.from(x, (v) => rule(v) + 0);
        expect([...run(name, n, { in: x }, i32(n))[0]!]).toEqual(expected);
        expect([...run(name, n, { inout: x }, { same: 1 })[0]!]).toEqual(expected);
      }
    });
  }

  it.each([
    [-3, 5],
    [MIN, 7],
    [0, MAX],
    [4, -4],
  ])('clipI32 to [%i, %i]', (low, high) => {
    for (let n = 1; n <= ODD.length; n++) {
      const x = ODD.slice(-n);
      const expected = Array.from(x, (v) => Math.min(Math.max(v, low), high));
      expect([...run('clipI32', n, { in: x }, i32(n), low, high)[0]!]).toEqual(expected);
      expect([...run('clipI32', n, { inout: x }, { same: 1 }, low, high)[0]!]).toEqual(expected);
    }
  });
});

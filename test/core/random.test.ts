import { describe, expect, it } from 'vitest';
import { cosTurn, log, sinTurn } from '../../src/core/portable-math.ts';
import { hashName, normal, permutation, philox4x32, uniform } from '../../src/core/random.ts';

const key = { seed: 7, stream: 'layer.weight' };
const mean = (values: Iterable<number>) => {
  let sum = 0;
  let n = 0;
  for (const v of values) {
    sum += v;
    n++;
  }
  return sum / n;
};

describe('philox4x32-10', () => {
  // Random123 1.14, tests/kat_vectors, the three lines "philox4x32 10".
  it.each([
    [[0, 0, 0, 0], [0, 0], '6627e8d5 e169c58d bc57ac4c 9b00dbd8'],
    [[0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff], [0xffffffff, 0xffffffff], '408f276d 41c83b0e a20bc7c6 6d5451fd'],
    [[0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0], 'd16cfe09 94fdcceb 5001e420 24126ea1'],
  ] as [[number, number, number, number], [number, number], string][])('known answer %#', (counter, k, expected) => {
    expect([...philox4x32(counter, k)].map((w) => w.toString(16).padStart(8, '0')).join(' ')).toBe(expected);
  });
});

it('hashName is 64-bit FNV-1a', () => {
  const hex = (name: string) =>
    hashName(name)
      .map((w) => w.toString(16).padStart(8, '0'))
      .reverse()
      .join('');
  expect(hex('')).toBe('cbf29ce484222325');
  expect(hex('a')).toBe('af63dc4c8601ec8c');
  expect(hex('foobar')).toBe('85944171f73967e8');
});

describe('streams', () => {
  it('give value i without those before it', () => {
    for (const draw of [uniform, normal]) {
      const all = draw(key, 101);
      expect(draw(key, 60, 41)).toEqual(all.slice(41));
      expect(draw(key, 1, 2 ** 40)).not.toEqual(draw(key, 1, 2 ** 40 + 2 ** 33));
    }
  });

  it('differ by name and by every bit of the seed', () => {
    const first = (seed: number, stream = 'a') => uniform({ seed, stream }, 1)[0];
    expect(new Set([first(0), first(1), first(2 ** 32), first(2 ** 52), first(0, 'b')]).size).toBe(5);
  });

  it.each([-1, 0.5, 2 ** 53, Number.NaN])('refuse the seed %d', (seed) => {
    expect(() => uniform({ seed, stream: '' }, 1)).toThrow(expect.objectContaining({ code: 'seed-invalid' }));
  });

  it('are pinned to these values', () => {
    expect([...uniform({ seed: 0, stream: '' }, 3)]).toMatchInlineSnapshot(`
      [
        0.2551361365237874,
        0.10915726046912422,
        0.5229687575395805,
      ]
    `);
    expect([...normal({ seed: 0, stream: '' }, 3)]).toMatchInlineSnapshot(`
      [
        0.593976988803,
        0.4861059128947742,
        -0.7102601331679327,
      ]
    `);
    expect([...permutation(0, '', 10)]).toMatchInlineSnapshot(`
      [
        5,
        6,
        3,
        8,
        1,
        2,
        7,
        0,
        9,
        4,
      ]
    `);
  });
});

describe('distributions', () => {
  const n = 100_000;
  it('uniform: range, moments, even bins, no correlation of neighbours', () => {
    const values = uniform(key, n);
    expect(values.every((v) => v >= 0 && v < 1)).toBe(true);
    expect(Math.abs(mean(values) - 1 / 2)).toBeLessThan(4 * Math.sqrt(1 / 12 / n));
    const bins = new Int32Array(100);
    for (const v of values) bins[Math.floor(v * 100)]!++;
    const chi = bins.reduce((sum, count) => sum + (count - n / 100) ** 2 / (n / 100), 0);
    expect(chi).toBeLessThan(160); // 99 degrees of freedom: p ≈ 1e-4
    const products = values.subarray(1).map((v, i) => (v - 0.5) * (values[i]! - 0.5) * 12);
    expect(Math.abs(mean(products))).toBeLessThan(4 / Math.sqrt(n));
  });

  it('normal: four moments, tails, independent pairs', () => {
    const values = normal(key, n);
    const moment = (p: number) => mean(values.map((v) => v ** p));
    expect(Math.abs(moment(1))).toBeLessThan(4 / Math.sqrt(n));
    expect(Math.abs(moment(2) - 1)).toBeLessThan(4 * Math.sqrt(2 / n));
    expect(Math.abs(moment(3))).toBeLessThan(4 * Math.sqrt(15 / n));
    expect(Math.abs(moment(4) - 3)).toBeLessThan(4 * Math.sqrt(96 / n));
    expect(mean(values.map((v) => (Math.abs(v) > 1.959964 ? 1 : 0)))).toBeCloseTo(0.05, 2);
    const pairs = values.filter((_, i) => i % 2 === 0).map((v, i) => v * values[2 * i + 1]!);
    expect(Math.abs(mean(pairs))).toBeLessThan(4 / Math.sqrt(n / 2));
  });

  it('permutation: every order equally likely', () => {
    const counts = new Map<string, number>();
    for (let epoch = 0; epoch < 24_000; epoch++) {
      const order = permutation(3, `epoch/${epoch}`, 4).join();
      counts.set(order, (counts.get(order) ?? 0) + 1);
    }
    expect(counts.size).toBe(24);
    const chi = [...counts.values()].reduce((sum, count) => sum + (count - 1000) ** 2 / 1000, 0);
    expect(chi).toBeLessThan(56); // 23 degrees of freedom: p ≈ 1e-4
  });

  it('permutation: holds each index once, also 0 and 1 of them', () => {
    expect([...permutation(0, 's', 1000)].sort((a, b) => a - b)).toEqual(Array.from({ length: 1000 }, (_, i) => i));
    expect([...permutation(0, 's', 0)]).toEqual([]);
    expect([...permutation(0, 's', 1)]).toEqual([0]);
  });
});

describe('portable math', () => {
  const ulps = (a: number, b: number, scale = Math.abs(b)) =>
    Math.abs(a - b) / (2 ** Math.floor(Math.log2(scale)) * 2 ** -52);
  it('agrees with Math within 2 units in the last place', () => {
    for (const u of uniform(key, 20_000)) {
      expect(ulps(log(1 - u), Math.log(1 - u))).toBeLessThanOrEqual(2);
      expect(ulps(cosTurn(u), Math.cos(2 * Math.PI * u), 1)).toBeLessThanOrEqual(6); // Math's own argument is rounded
      expect(ulps(sinTurn(u), Math.sin(2 * Math.PI * u), 1)).toBeLessThanOrEqual(6);
    }
    expect(ulps(log(2 ** -53), Math.log(2 ** -53))).toBeLessThanOrEqual(1);
  });

  it('is exact at the quarters', () => {
    expect(log(1)).toBe(0);
    expect([0, 0.25, 0.5, 0.75].map((t) => Math.abs(cosTurn(t)))).toEqual([1, 0, 1, 0]);
    expect([0, 0.25, 0.5, 0.75].map(sinTurn)).toEqual([0, 1, -0, -1].map((v) => expect.closeTo(v, 15)));
    expect(cosTurn(0.5)).toBe(-1);
  });
});

// Dropout's masks against philox4x32 of src/core/random.ts, to the bit.
import { describe, expect, it } from 'vitest';
import { philox4x32 } from '../../src/core/random.ts';
import { bool, f32, normal, run } from './harness.ts';

type Words = [number, number, number, number];

/** The 32 bits of the element at `place` of a sample. */
function wordOf(key: Words, stream: [number, number], sample: number, place: number): number {
  const [a, b, c, d] = philox4x32(key, stream) as unknown as Words;
  return philox4x32([place >>> 2, sample, c, d], [a, b])[place & 3]!;
}

/** The published test vector of Philox4x32-10 with all words set (Random123, kat_vectors). */
it('philox4x32 is Philox4x32-10', () => {
  const ones: Words = [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff];
  const hex = [...philox4x32(ones, [0xffffffff, 0xffffffff])].map((w) => w.toString(16));
  expect(hex).toEqual(['408f276d', '41c83b0e', 'a20bc7c6', '6d5451fd']);
});

const key = Int32Array.of(0x12345678, 0x1fffff, 41, 0);
const stream: [number, number] = [0xdeadbeef, 0x9badcafe];

describe.each([
  [1, 1, 1],
  [3, 1, 16],
  [2, 1, 64],
  [5, 1, 7],
  [2, 1, 83],
  [3, 4, 1],
  [2, 5, 3],
  [2, 3, 18],
  [1, 3, 37],
])('%i samples, %i rows of %i', (n, outer, run1) => {
  const samples = Int32Array.from({ length: n }, (_, i) => i * 1_000_003 + 5);
  const total = n * outer * run1;
  const words = Array.from({ length: total }, (_, at) => {
    const row = Math.floor(at / run1);
    const place = Math.floor(row / n) * run1 + (at % run1);
    return wordOf([...key] as Words, stream, samples[row % n]!, place);
  });
  // The threshold at each word in turn would do; the median and the extremes do as well.
  const sorted = [...words].sort((a, b) => a - b);
  const thresholds = [0, sorted[0]!, sorted[total >> 1]!, sorted[total - 1]!, 0xffffffff];

  it.each(thresholds)('mask at threshold %i', (threshold) => {
    const args = [n, outer, run1, { in: samples }, { in: key }, bool(total), ...stream, threshold];
    const [mask] = run('dropoutMask', ...args);
    expect([...mask!]).toEqual(words.map((w) => (w >= threshold ? 1 : 0)));
  });

  it('scales what is kept and zeroes the rest', () => {
    const x = normal(total, 3);
    const threshold = sorted[total >> 1]!;
    const args = [{ in: x }, { in: samples }, { in: key }, f32(total), ...stream, threshold, 1.25];
    const [y] = run('dropout', n, outer, run1, ...args);
    expect([...y!]).toEqual([...x].map((v, i) => Math.fround(v * (words[i]! >= threshold ? 1.25 : 0))));
  });
});

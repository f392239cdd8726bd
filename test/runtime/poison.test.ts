import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { changedBytes, fillWords, highestChanged, type PoisonKind, poisonWord } from '../../src/runtime/poison.ts';

// Words against bytes: what is counted word by word is what a look at every byte finds.

const SIZE = 32;
const byteOf = (word: number, at: number): number => (word >>> (8 * (at % 4))) & 0xff;

describe.each(['standard', 'complement'] as const)('poison %s', (kind: PoisonKind) => {
  const word = poisonWord(kind);
  const writes = fc.array(
    fc.record({
      at: fc.nat({ max: SIZE - 1 }),
      // A byte of the poison itself, too.
      value: fc.oneof(
        fc.nat({ max: 255 }),
        fc.nat({ max: 3 }).map((i) => byteOf(word, i)),
      ),
    }),
    { maxLength: 12 },
  );

  it('fills the bytes that are asked for with the word as it lies in memory, and no others', () => {
    fc.assert(
      fc.property(fc.nat({ max: SIZE }), fc.nat({ max: SIZE }), (a, b) => {
        const [from, to] = [Math.min(a, b), Math.max(a, b)];
        const memory = new ArrayBuffer(SIZE);
        new Uint8Array(memory).fill(1);
        fillWords(memory, from, to - from, word);
        const expected = Array.from({ length: SIZE }, (_, i) => (i >= from && i < to ? byteOf(word, i) : 1));
        expect([...new Uint8Array(memory)]).toEqual(expected);
      }),
    );
  });

  it('is told from what was written: the highest byte, and how many of a range, to the last of each word', () => {
    fc.assert(
      fc.property(writes, fc.nat({ max: 4 }), fc.nat({ max: 15 }), (list, start, bytes) => {
        const memory = new ArrayBuffer(SIZE);
        fillWords(memory, 0, SIZE, word);
        const view = new Uint8Array(memory);
        for (const { at, value } of list) view[at] = value;
        const differs = (i: number): boolean => view[i] !== byteOf(word, i);
        const last = Array.from({ length: SIZE }, (_, i) => i).findLast(differs);
        expect(highestChanged(memory, word)).toBe(last === undefined ? 0 : last + 1);
        const from = 4 * start;
        let count = 0;
        for (let w = 0; w < bytes >> 2; w++) {
          const highest = [3, 2, 1, 0].find((i) => differs(from + 4 * w + i));
          count += highest === undefined ? 0 : highest + 1;
        }
        for (let i = (bytes >> 2) * 4; i < bytes; i++) if (differs(from + i)) count++;
        expect(changedBytes(memory, from, bytes, word)).toBe(count);
      }),
      { numRuns: 300 },
    );
  });

  it('fills and counts beyond 2 GiB', () => {
    // Pages that nobody touches are not there.
    const { buffer } = new WebAssembly.Memory({ initial: 49_152, maximum: 49_152, shared: true });
    const offset = 2 ** 31 + 4096;
    fillWords(buffer, offset + 1, 62, word);
    const bytes = [...new Uint8Array(buffer, offset, 64)];
    expect(bytes).toEqual(bytes.map((_, i) => (i === 0 || i === 63 ? 0 : byteOf(word, i))));
    fillWords(buffer, offset, 64, word);
    expect(changedBytes(buffer, offset, 64, word)).toBe(0);
    new Uint8Array(buffer)[offset + 5] = 1;
    expect(changedBytes(buffer, offset, 64, word)).toBe(2);
  });

  it('never ends like a number or a bool: payloads end where they end', () => {
    const f32 = new Float32Array(Int32Array.of(word & 0xff000000).buffer)[0]!;
    expect(Math.abs(f32)).toBeGreaterThan(kind === 'standard' ? 4e37 : 0);
    for (let i = 0; i < 4; i++) expect([0, 1]).not.toContain(byteOf(word, i));
  });
});

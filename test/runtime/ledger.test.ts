import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { memoryCategories } from '../../src/program/instruction.ts';
import { Ledger } from '../../src/runtime/ledger.ts';

// The ledger of a null device against a memory of a few bytes, each of which knows what it holds.

const SIZE = 12;
type Code = string | undefined;

function codeOf(act: () => void): Code {
  try {
    act();
    return undefined;
  } catch (error) {
    return (error as { code: string }).code;
  }
}

interface Value {
  readonly start: number;
  readonly bytes: number;
  readonly buffer: number;
  readonly category: number;
}

class Bytes {
  readonly cells = new Array<Value | undefined>(SIZE + 4);
  peak = 0;

  #at = (start: number, bytes: number) => this.cells.slice(start, start + bytes);

  write(value: Value): Code {
    const { start, bytes, buffer } = value;
    const held = this.#at(start, bytes).find((v) => v);
    const isSame = held?.start === start && held.bytes === bytes && held.buffer === buffer;
    if (held && !isSame) return 'null-overwrite';
    if (!held) this.cells.fill(value, start, start + bytes);
    if (bytes > 0) this.peak = Math.max(this.peak, start + bytes);
    return undefined;
  }

  holds({ start, bytes, buffer }: Omit<Value, 'category'>): boolean {
    if (bytes === 0) return true;
    const held = this.cells[start];
    return held?.start === start && held.bytes === bytes && held.buffer === buffer;
  }

  get values(): Set<Value> {
    return new Set(this.cells.filter((v) => v !== undefined));
  }
}

const operation = fc.record({
  kind: fc.constantFrom('write', 'write', 'write', 'keep', 'free', 'expect'),
  start: fc.nat({ max: SIZE }),
  bytes: fc.nat({ max: 4 }),
  buffer: fc.nat({ max: 2 }),
  category: fc.nat({ max: memoryCategories.length - 1 }),
  /** Of what to free and expect: one of the values there, or anything. */
  pick: fc.option(fc.nat({ max: 5 })),
});

describe('the ledger of a null device', () => {
  it('allows and refuses what a memory does that knows of every byte what it holds, and counts its bytes', () => {
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 30 }), (operations) => {
        const [ledger, bytes] = [new Ledger(), new Bytes()];
        for (const { kind, pick, ...drawn } of operations) {
          const there = [...bytes.values].filter((v) => kind !== 'free' || v.buffer >= 0);
          const value = pick === null || there.length === 0 ? drawn : there[pick % there.length]!;
          const { start, bytes: length, buffer, category } = value;
          const name = memoryCategories[category]!;
          switch (kind) {
            case 'write':
              expect(codeOf(() => ledger.write(start, length, buffer, name))).toBe(bytes.write(value));
              break;
            case 'keep':
              expect(codeOf(() => ledger.keep(start, length, name))).toBe(bytes.write({ ...value, buffer: -1 }));
              break;
            case 'expect': {
              const wanted = bytes.holds(value) ? undefined : 'null-lost-value';
              expect(codeOf(() => ledger.expect(start, length, buffer, buffer === -1))).toBe(wanted);
              break;
            }
            default: {
              const held = bytes.cells[start];
              const isThere = length === 0 || (held?.start === start && held.buffer === buffer);
              // All of a value dies.
              const whole = isThere && length > 0 ? held!.bytes : length;
              expect(codeOf(() => ledger.free(start, whole, buffer))).toBe(isThere ? undefined : 'null-lost-value');
              if (isThere) bytes.cells.fill(undefined, start, start + whole);
            }
          }
          const live = memoryCategories.map((_, c) =>
            [...bytes.values].reduce((sum, v) => sum + (v.category === c ? v.bytes : 0), 0),
          );
          expect(ledger.live).toEqual(live);
          expect(ledger.peakBytes).toBe(bytes.peak);
        }
        const isLeft = [...bytes.values].some((v) => v.buffer !== -1);
        expect(codeOf(() => ledger.finish())).toBe(isLeft ? 'null-leftover' : undefined);
      }),
      { numRuns: 300, seed: 1 },
    );
  });

  it('takes a message once, where one of its size is awaited, and lets nobody read it before', () => {
    const ledger = new Ledger();
    ledger.await(0, 8);
    ledger.await(8, 0);
    expect(codeOf(() => ledger.expectArrived(0, 8, 3))).toBe('null-lost-value');
    expect(codeOf(() => ledger.expectArrived(8, 4, 3))).toBeUndefined();
    for (const [start, bytes] of [
      [0, 4],
      [4, 8],
    ] as const)
      expect(codeOf(() => ledger.deliver(start, bytes))).toBe('null-unposted');
    ledger.deliver(8, 0);
    ledger.deliver(0, 8);
    expect(codeOf(() => ledger.expectArrived(0, 8, 3))).toBeUndefined();
    expect(codeOf(() => ledger.deliver(0, 8))).toBe('null-unposted');
  });

  it('says which bytes, and whose they are', () => {
    const ledger = new Ledger();
    ledger.write(4, 8, 1, 'temporaries');
    expect(() => ledger.write(8, 8, 2, 'inputs')).toThrow('bytes 8 to 16 are written, and 4 to 12 are in use');
    expect(() => ledger.expect(0, 4, 2, false)).toThrow('bytes 0 to 4 do not hold the value that is read');
    expect(() => ledger.free(0, 4, 2)).toThrow('bytes 0 to 4 do not hold the value that dies');
    expect(() => ledger.finish()).toThrow('bytes 4 to 12 are still in use behind the step');
  });
});

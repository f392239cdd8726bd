import { DeviceError } from '../core/errors.ts';
import { type MemoryCategory, memoryCategories } from '../program/instruction.ts';

/** Bytes in use. */
interface Extent {
  readonly start: number;
  readonly end: number;
  /** The program's buffer; −1: lives from load to close. */
  readonly buffer: number;
  readonly category: MemoryCategory;
}

/** Of bytes that live from load to close: a program knows them by their place. */
const KEPT = -1;

/**
 * The memory of a null device: which bytes hold which value, and none of the bytes. It knows no plan: what it counts is what
 * the instructions that are played say they read and write, and at which offsets. Every access is checked, as an audit does on
 * a device that has bytes.
 */
export class Ledger {
  /** Sorted by start, without overlaps. */
  readonly #extents: Extent[] = [];
  readonly #live = memoryCategories.map(() => 0);
  /** Bytes of messages that are still to come, by their place. */
  readonly #awaited = new Map<number, number>();
  #peakBytes = 0;

  /** The end of the highest byte that was ever written or reserved. */
  get peakBytes(): number {
    return this.#peakBytes;
  }

  /** Bytes in use, in the order of `memoryCategories`. */
  get live(): readonly number[] {
    return this.#live;
  }

  /** Values from load to close; writing them again changes nothing. */
  keep(start: number, bytes: number, category: MemoryCategory): void {
    this.#put(start, bytes, KEPT, category);
  }

  /** From here on these bytes, which are written, are the sender's. */
  await(start: number, bytes: number): void {
    if (bytes > 0) this.#awaited.set(start, bytes);
  }

  /** A message has come: to bytes where one of its size is awaited. */
  deliver(start: number, bytes: number): void {
    if (bytes === 0) return;
    if (this.#awaited.get(start) !== bytes) {
      throw new DeviceError(
        'null-unposted',
        `a message of ${bytes} bytes comes to byte ${start}, where none is awaited`,
        {
          fields: { offset: start, bytes },
        },
      );
    }
    this.#awaited.delete(start);
  }

  write(start: number, bytes: number, buffer: number, category: MemoryCategory): void {
    this.#put(start, bytes, buffer, category);
  }

  /** Throws DeviceError where these bytes do not hold all of this buffer. `kept`: a value that lives from load to close. */
  expect(start: number, bytes: number, buffer: number, kept: boolean): void {
    if (bytes === 0) return;
    const extent = this.#at(start);
    const isThere = extent !== undefined && extent.end === start + bytes && extent.buffer === (kept ? KEPT : buffer);
    if (isThere) return;
    throw new DeviceError('null-lost-value', `bytes ${start} to ${start + bytes} do not hold the value that is read`, {
      fields: { offset: start, bytes, buffer },
    });
  }

  /** Throws DeviceError where a message to these bytes has not come yet. */
  expectArrived(start: number, bytes: number, buffer: number): void {
    if (!this.#awaited.has(start)) return;
    throw new DeviceError('null-lost-value', `the message to bytes ${start} to ${start + bytes} has not come`, {
      fields: { offset: start, bytes, buffer },
    });
  }

  /** The value is dead, or its bytes are about to become another's. */
  free(start: number, bytes: number, buffer: number): void {
    if (bytes === 0) return;
    const i = this.#firstBehind(start);
    const extent = this.#extents[i];
    if (extent?.start !== start || extent.buffer !== buffer) {
      throw new DeviceError('null-lost-value', `bytes ${start} to ${start + bytes} do not hold the value that dies`, {
        fields: { offset: start, bytes, buffer },
      });
    }
    this.#extents.splice(i, 1);
    this.#live[memoryCategories.indexOf(extent.category)]! -= extent.end - extent.start;
  }

  /** Behind a step: throws DeviceError where more is left than lives from load to close. */
  finish(): void {
    const left = this.#extents.find((e) => e.buffer !== KEPT);
    if (!left) return;
    throw new DeviceError('null-leftover', `bytes ${left.start} to ${left.end} are still in use behind the step`, {
      fields: { offset: left.start, bytes: left.end - left.start, buffer: left.buffer },
    });
  }

  #put(start: number, bytes: number, buffer: number, category: MemoryCategory): void {
    if (bytes === 0) return;
    const end = start + bytes;
    const i = this.#firstBehind(start);
    const other = this.#extents[i];
    if (other && other.start < end) {
      const isSame = other.start === start && other.end === end && other.buffer === buffer;
      if (isSame) return;
      throw new DeviceError(
        'null-overwrite',
        `bytes ${start} to ${end} are written, and ${other.start} to ${other.end} are in use`,
        { fields: { offset: start, bytes, buffer, inUse: { offset: other.start, buffer: other.buffer } } },
      );
    }
    this.#extents.splice(i, 0, { start, end, buffer, category });
    this.#live[memoryCategories.indexOf(category)]! += bytes;
    this.#peakBytes = Math.max(this.#peakBytes, end);
  }

  #at(start: number): Extent | undefined {
    const extent = this.#extents[this.#firstBehind(start)];
    return extent?.start === start ? extent : undefined;
  }

  /** The first extent that ends behind `byte`. */
  #firstBehind(byte: number): number {
    let [low, high] = [0, this.#extents.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#extents[middle]!.end > byte) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

import { DeviceError } from '../core/errors.ts';
import { describe, type MemoryCategory, memoryCategories, ownerOf, touches } from '../program/instruction.ts';
import type { DeviceImage } from './device-image.ts';
import { changedBytes, fillWords, highestChanged, RESERVED_WORD } from './poison.ts';

/**
 * Audit mode: holds a device's memory against its plan, instruction by instruction.
 *
 * Before an instruction: nothing it reads is poison. Behind it: only bytes of its own outputs (or of buffers posted to
 * others) have changed, its outputs are written whole, and what has died is poisoned. The bytes that are not poison are
 * the live bytes, counted from memory itself.
 */
export class Audit {
  readonly #memory: ArrayBufferLike;
  readonly #bytes: Uint8Array;
  readonly #before: Uint8Array;
  readonly #poison: number;
  readonly #device: number;
  /** Buffers that a sender may be writing just now. */
  readonly #posted = new Set<number>();
  readonly #alive = new Set<number>();
  #rows: number[][] = [];
  #peakBytes = 0;

  constructor(memory: ArrayBufferLike, device: number, poison: number) {
    this.#memory = memory;
    this.#bytes = new Uint8Array(memory);
    this.#before = new Uint8Array(memory.byteLength);
    this.#poison = poison;
    this.#device = device;
  }

  start(): void {
    this.#posted.clear();
    this.#alive.clear();
    this.#rows = [];
  }

  before(image: DeviceImage, at: number): void {
    const instruction = image.program.instructions[at]!;
    for (const id of touches(instruction).reads) {
      const bytes = image.program.buffers[id]!.bytes;
      const intact = changedBytes(this.#memory, image.offsets[id]!, bytes, this.#poison);
      if (intact !== bytes)
        this.#fail(
          image,
          at,
          'audit-read-poison',
          `reads ${bytes - intact} bytes of poison in ${image.program.buffers[id]!.name}`,
        );
    }
    for (const id of touches(instruction).writes) {
      const { buffers } = image.program;
      const owner = ownerOf(buffers, id);
      if (buffers[owner]!.persistent !== null || this.#alive.has(owner)) continue;
      this.#alive.add(owner);
      // The rest of it is written later: reserved like what is posted.
      if (owner !== id) this.#reserve(image, owner);
    }
    // From here on its bytes are the output's.
    if (instruction.kind === 'compute' && instruction.overwrites !== null) this.#alive.delete(instruction.overwrites);
    if (instruction.kind === 'post') {
      this.#reserve(image, instruction.buffer);
      this.#posted.add(instruction.buffer);
    }
    if (instruction.kind === 'compute' && instruction.workspace !== null) this.#reserve(image, instruction.workspace);
    this.#before.set(this.#bytes);
  }

  after(image: DeviceImage, at: number): void {
    const instruction = image.program.instructions[at]!;
    const { writes } = touches(instruction);
    const allowed = [...writes, ...this.#posted].map((id) => range(image, id)).sort((a, b) => a.start - b.start);
    let from = 0;
    for (const { start, end } of [...allowed, { start: this.#bytes.length, end: this.#bytes.length }]) {
      if (start > from) {
        const changed = firstDifference(this.#before, this.#bytes, from, start);
        if (changed >= 0)
          this.#fail(image, at, 'audit-wild-write', `changed byte ${changed}, which is not of its outputs`);
      }
      from = Math.max(from, end);
    }
    if (instruction.kind === 'receive') this.#posted.delete(instruction.buffer);
    if (instruction.kind === 'compute' && instruction.workspace !== null) {
      this.#checkWorkspaceEnd(image, at, instruction.workspace);
      // What is left in it is nobody's, and may hold halves of f64 that end like poison: from here on only its extent counts.
      this.#reserve(image, instruction.workspace);
    }
    if (instruction.kind !== 'post') {
      for (const id of writes) {
        const { start, end } = range(image, id);
        const written = changedBytes(this.#memory, start, end - start, this.#poison);
        if (written !== end - start)
          this.#fail(
            image,
            at,
            'audit-partial-write',
            `left ${end - start - written} bytes of ${image.program.buffers[id]!.name} unwritten`,
          );
      }
    }
    this.#rows.push(this.#count(image));
    this.#peakBytes = Math.max(this.#peakBytes, highestChanged(this.#memory, this.#poison));
    for (const id of image.deaths[at]!) {
      const { start, end } = range(image, id);
      fillWords(this.#memory, start, end - start, this.#poison);
      this.#alive.delete(id);
    }
  }

  /** Highest byte changed at any time: what has died is poison again, so memory itself only knows the last of it. */
  get peakBytes(): number {
    return this.#peakBytes;
  }

  /** Behind the last instruction: only what lives from load to close is left in memory. */
  finish(image: DeviceImage): void {
    const planned = image.persistent.reduce((sum, p) => sum + p.bytes, 0);
    const found = changedBytes(this.#memory, 0, this.#memory.byteLength, this.#poison);
    if (found !== planned) {
      throw new DeviceError(
        'audit-unplanned-bytes',
        `audit: device ${this.#device} holds ${found} bytes behind the step and ${planned} are planned`,
        { fields: { device: this.#device, foundBytes: found, plannedBytes: planned } },
      );
    }
  }

  report(): { liveBytes: number[][] } {
    return { liveBytes: this.#rows };
  }

  /**
   * Non-poison bytes by category of the living range they lie in. Elsewhere there is nothing to count: what changes outside
   * the ranges is an error, and what dies becomes poison. `finish` counts the whole memory against that.
   */
  #count(image: DeviceImage): number[] {
    const row = memoryCategories.map(() => 0);
    const count = (category: MemoryCategory, offset: number, bytes: number) => {
      row[memoryCategories.indexOf(category)]! += changedBytes(this.#memory, offset, bytes, this.#poison);
    };
    for (const { category, offset, bytes } of image.persistent) count(category, offset, bytes);
    for (const id of this.#alive) {
      const { category, bytes } = image.program.buffers[id]!;
      count(category, image.offsets[id]!, bytes);
    }
    return row;
  }

  /** The mark of the reservation must be gone from a workspace's end: else its size is more than the kernel uses. */
  #checkWorkspaceEnd(image: DeviceImage, at: number, id: number): void {
    const { end } = range(image, id);
    if (this.#bytes[end - 1] === ((RESERVED_WORD >>> (8 * ((end - 1) % 4))) & 0xff)) {
      this.#fail(image, at, 'audit-partial-write', `left the end of ${image.program.buffers[id]!.name} unwritten`);
    }
  }

  #reserve(image: DeviceImage, id: number): void {
    const { start, end } = range(image, id);
    fillWords(this.#memory, start, end - start, RESERVED_WORD);
  }

  #fail(image: DeviceImage, at: number, code: string, what: string): never {
    const instruction = image.program.instructions[at]!;
    throw new DeviceError(
      code,
      `audit: device ${this.#device}, instruction ${at} (${describe(instruction, image.program)}) ${what}`,
      {
        fields: {
          device: this.#device,
          instruction: at,
          microbatch: 'microbatch' in instruction ? instruction.microbatch : null,
        },
      },
    );
  }
}

function range(image: DeviceImage, id: number): { start: number; end: number } {
  const start = image.offsets[id]!;
  return { start, end: start + image.program.buffers[id]!.bytes };
}

function firstDifference(a: Uint8Array, b: Uint8Array, from: number, to: number): number {
  // Word by word where both ends allow it: this runs over the whole memory behind every instruction.
  const firstWord = Math.min(to, Math.ceil(from / 4) * 4);
  for (let i = from; i < firstWord; i++) if (a[i] !== b[i]) return i;
  const words = Math.floor((to - firstWord) / 4);
  const [p, q] = [new Int32Array(a.buffer, firstWord, words), new Int32Array(b.buffer, firstWord, words)];
  let i = 0;
  while (i < words && p[i] === q[i]) i++;
  for (let j = firstWord + 4 * i; j < to; j++) if (a[j] !== b[j]) return j;
  return -1;
}

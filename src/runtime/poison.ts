/**
 * A device's memory is filled with a poison word before anything is loaded; the highest byte that differs afterwards is
 * the measured peak. Nothing of the plan enters the measurement.
 *
 * The word's last byte in memory (its most significant) is 0x7E: in an f32 that would be a value beyond 4·10³⁷, in an i32
 * one beyond 2.1·10⁹, and a bool is 0 or 1, so the end of a payload is never mistaken for poison. Tests repeat the
 * measurement with the complement (0x81…).
 */
export type PoisonKind = 'standard' | 'complement';
export const poisonWord = (kind: PoisonKind): number => (kind === 'standard' ? 0x7eb5c3a5 : ~0x7eb5c3a5);
/** Marks bytes that are reserved but not yet written: posted buffers and workspaces in audit mode. */
export const RESERVED_WORD = 0x7d1b2e93;

export function fillWords(memory: ArrayBufferLike, offset: number, bytes: number, word: number): void {
  const view = new Uint8Array(memory);
  const at = (i: number) => (word >>> (8 * (i % 4))) & 0xff;
  const end = offset + bytes;
  // Whole words in between; none where the bytes end in front of the next.
  const from = Math.min(end, Math.ceil(offset / 4) * 4);
  const to = Math.max(from, Math.floor(end / 4) * 4);
  for (let i = offset; i < from; i++) view[i] = at(i);
  // Not `>> 2`: what lies beyond 2 GiB would be negative.
  if (to > from) new Int32Array(memory, from, (to - from) / 4).fill(word);
  for (let i = to; i < end; i++) view[i] = at(i);
}

/** Bytes from 0 to the end of the highest byte that is not poison. */
export function highestChanged(memory: ArrayBufferLike, word: number): number {
  const words = new Int32Array(memory);
  let i = words.length - 1;
  while (i >= 0 && words[i] === word) i--;
  return i < 0 ? 0 : i * 4 + changedPrefix(words[i]!, word);
}

/** Bytes of [offset, offset + bytes) that are not poison. */
export function changedBytes(memory: ArrayBufferLike, offset: number, bytes: number, word: number): number {
  const words = new Int32Array(memory, offset, Math.floor(bytes / 4));
  let count = 0;
  for (let i = 0; i < words.length; i++) if (words[i] !== word) count += changedPrefix(words[i]!, word);
  const tail = new Uint8Array(memory, offset + words.length * 4, bytes % 4);
  for (let i = 0; i < tail.length; i++) if (tail[i] !== ((word >>> (8 * i)) & 0xff)) count = count + 1;
  return count;
}

/**
 * How many bytes of a changed word belong to a payload: all but the trailing ones that still are poison (a payload of
 * bools may end inside a word; f32 and i32 payloads never leave their last byte as poison, see above).
 */
function changedPrefix(value: number, word: number): number {
  let bytes = 4;
  while (bytes > 1 && ((value >>> (8 * (bytes - 1))) & 0xff) === ((word >>> (8 * (bytes - 1))) & 0xff)) bytes--;
  return bytes;
}

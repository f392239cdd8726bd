/** The IDX format of the MNIST family: 0, 0, type, rank, then rank sizes (u32, big-endian), then the values. */
import { FormatError } from '../core/errors.ts';

export interface IdxArray {
  readonly shape: readonly number[];
  readonly data: Uint8Array;
}

/** An unpacked IDX file of unsigned bytes; `data` is a view of `bytes`. */
export function parseIdx(bytes: Uint8Array, where: string): IdxArray {
  const fail = (code: string, what: string) =>
    new FormatError(`idx-${code}`, `${where}: ${what}`, {
      fields: { file: where },
      remedy: 'fetch the file again, or write it as IDX: 0, 0, 8, rank, the sizes, the bytes',
    });
  if (bytes.length < 4 || bytes[0] !== 0 || bytes[1] !== 0)
    throw fail('magic', 'not an IDX file (it must begin with 0, 0)');
  if (bytes[2] !== 0x08) {
    throw fail(
      'dtype',
      `element type 0x${bytes[2]!.toString(16).padStart(2, '0')}; only unsigned bytes (0x08) are read`,
    );
  }
  const rank = bytes[3]!;
  const start = 4 + 4 * rank;
  if (bytes.length < start) throw fail('truncated', `the file ends inside its ${rank} sizes`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const shape = Array.from({ length: rank }, (_, axis) => view.getUint32(4 + 4 * axis));
  const needed = shape.reduce((n, d) => n * d, 1);
  if (needed !== bytes.length - start) {
    throw fail('size', `sizes [${shape.join(', ')}] need ${needed} bytes, the file holds ${bytes.length - start}`);
  }
  return { shape, data: bytes.subarray(start) };
}

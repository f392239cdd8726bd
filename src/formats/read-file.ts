/** Reading files whole, gzip or not, with errors that name the path. */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { FormatError, UsageError } from '../core/errors.ts';

/** The most a .gz file may unpack to unless the caller allows more. */
const maxUnpackedBytes = 2 ** 30;

/** The bytes of a file; a gzip file (by its first two bytes, not by its name) is unpacked. `remedy` is shown where it is missing. */
export function readBytes(path: string, options: { remedy?: string; maxBytes?: number } = {}): Uint8Array {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(path);
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    const missing = code === 'ENOENT' || code === 'ENOTDIR';
    throw new UsageError(
      missing ? 'file-not-found' : 'file-unreadable',
      missing ? `no such file: ${path}` : `cannot read ${path}: ${message}`,
      { fields: { path }, remedy: options.remedy, cause },
    );
  }
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes;
  try {
    return gunzipSync(bytes, { maxOutputLength: options.maxBytes ?? maxUnpackedBytes });
  } catch (cause) {
    throw new FormatError('gzip-invalid', `${path}: cannot unpack: ${(cause as Error).message}`, {
      fields: { file: path },
      cause,
    });
  }
}

/** A UTF-8 text file, gzip or not. */
export function readText(path: string, options: { remedy?: string } = {}): string {
  const bytes = readBytes(path, options);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new FormatError('text-not-utf8', `${path} is not UTF-8 text`, {
      fields: { file: path },
      remedy: "use unit 'bytes', or convert it: iconv -t UTF-8",
      cause,
    });
  }
}

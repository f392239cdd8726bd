/** Reading files whole, gzip or not, with errors that name the path. */

import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { FormatError, UsageError } from '../core/errors.ts';
import { requireArgument } from '../core/options.ts';

/** The most a .gz file may unpack to unless the caller allows more. */
const maxUnpackedBytes = 2 ** 30;

/** The bytes of a file; a gzip file (by its first two bytes, not by its name) is unpacked. `remedy` is shown where it is missing. */
export function readBytes(path: string, options: { remedy?: string; maxBytes?: number } = {}): Uint8Array {
  requireArgument('reading a file', typeof path === 'string', 'a path', path, "'model.onnx'");
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(path);
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    const missing = code === 'ENOENT' || code === 'ENOTDIR';
    const isFolder = code === 'EISDIR';
    throw new UsageError(
      missing ? 'file-not-found' : 'file-unreadable',
      missing ? `no such file: ${path}` : `cannot read ${path}: ${isFolder ? 'it is a folder' : message}`,
      { fields: { path }, remedy: isFolder ? 'give a file within it' : options.remedy, cause },
    );
  }
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes;
  try {
    return gunzipSync(bytes, { maxOutputLength: options.maxBytes ?? maxUnpackedBytes });
  } catch (cause) {
    throw new FormatError('gzip-invalid', `${path}: cannot unpack: ${(cause as Error).message}`, {
      fields: { file: path },
      remedy: `fetch it again, or see what it is: gzip -t ${path}`,
      cause,
    });
  }
}

/** The encoding that a byte order mark tells, as editors of Windows write it. */
const utf16Of = ([a, b]: Uint8Array): string | undefined =>
  (a === 0xff && b === 0xfe) || (a === 0xfe && b === 0xff) ? 'UTF-16' : undefined;

/** A UTF-8 text file, gzip or not. `remedy` is shown where it is missing, `notUtf8` where it is another text. */
export function readText(path: string, options: { remedy?: string; notUtf8?: string } = {}): string {
  const bytes = readBytes(path, options);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    const from = utf16Of(bytes);
    throw new FormatError('text-not-utf8', `${path} is not UTF-8 text${from ? `, but ${from}` : ''}`, {
      fields: { file: path },
      remedy: [options.notUtf8, `convert it: iconv -f ${from ?? 'ITS-ENCODING'} -t UTF-8`]
        .filter(Boolean)
        .join(', or '),
      cause,
    });
  }
}

/**
 * The safetensors format: 8 bytes of header length (little-endian), a JSON header, then the tensors' bytes.
 *
 *     {"__metadata__": {"key": "text"}, "w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}
 *
 * A file is untrusted: nothing is allocated by a size it states, and every byte must belong to exactly one tensor.
 * Format: https://huggingface.co/docs/safetensors
 */

import { FormatError } from '../core/errors.ts';
import { duplicateKey } from '../core/json.ts';
import { isRecord } from '../core/kinds.ts';
import { requireArgument, requireKinds } from '../core/options.ts';
import type { HostTensor } from '../core/types.ts';
import { isRawDType, type RawTensor, rawBytesPerElement, rawOf } from './raw-tensor.ts';

/** The reference implementation's limit. */
const maxHeaderBytes = 100_000_000;

export interface SafetensorsFile {
  readonly tensors: Map<string, RawTensor>;
  readonly metadata: Map<string, string>;
}

/** The tensors in the order of their bytes, as views of `bytes`. `where` names the file in errors. */
export function readSafetensors(bytes: Uint8Array, where: string): Map<string, RawTensor> {
  requireKinds('readSafetensors', { bytes: ['bytes', bytes], where: ['text', where] });
  return readSafetensorsFile(bytes, where).tensors;
}

export function readSafetensorsFile(bytes: Uint8Array, where: string): SafetensorsFile {
  const { header, data } = splitHeader(bytes, where);
  const metadata = new Map<string, string>();
  const found: { name: string; tensor: RawTensor; begin: number }[] = [];
  for (const [name, value] of Object.entries(header)) {
    if (name !== '__metadata__') {
      found.push({ name, ...readEntry(name, value, data, where) });
    } else {
      if (!isRecord(value)) throw fail('metadata', where, '__metadata__ is not an object of strings');
      for (const [key, text] of Object.entries(value)) {
        if (typeof text !== 'string') throw fail('metadata', where, `__metadata__ "${key}" is not a string`, { key });
        metadata.set(key, text);
      }
    }
  }
  found.sort((a, b) => a.begin - b.begin || a.tensor.bytes.length - b.tensor.bytes.length);
  let end = 0;
  let previous = 'the start of the data';
  for (const { name, tensor, begin } of found) {
    if (begin !== end) {
      const what = begin > end ? `a gap of ${begin - end} bytes after` : `an overlap of ${end - begin} bytes with`;
      throw fail(
        begin > end ? 'gap' : 'overlap',
        where,
        `tensor "${name}" begins at byte ${begin}: ${what} ${previous}`,
        {
          tensor: name,
        },
      );
    }
    end = begin + tensor.bytes.length;
    previous = `tensor "${name}"`;
  }
  if (end !== data.length) {
    throw fail('trailing', where, `${data.length - end} bytes after ${previous} belong to no tensor`, {
      bytes: data.length - end,
    });
  }
  return { tensors: new Map(found.map(({ name, tensor }) => [name, tensor])), metadata };
}

function splitHeader(bytes: Uint8Array, where: string): { header: Record<string, unknown>; data: Uint8Array } {
  if (bytes.length < 8) throw fail('header-length', where, `${bytes.length} bytes are too few for a header length (8)`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = Number(view.getBigUint64(0, true));
  if (length > maxHeaderBytes || length > bytes.length - 8) {
    throw fail(
      'header-length',
      where,
      `the header claims ${length} bytes, the file holds ${bytes.length - 8} after it`,
      {
        headerBytes: length,
        fileBytes: bytes.length,
      },
    );
  }
  let text: string;
  let header: unknown;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes.subarray(8, 8 + length));
    header = JSON.parse(text);
  } catch (cause) {
    throw fail('header-json', where, `the header is not JSON: ${(cause as Error).message}`, {}, cause);
  }
  if (!isRecord(header) || !text.startsWith('{')) throw fail('header-json', where, 'the header is not a JSON object');
  const twice = duplicateKey(text);
  if (twice !== undefined)
    throw fail('duplicate-key', where, `the header has the key "${twice.key}" twice`, { key: twice.key });
  return { header, data: bytes.subarray(8 + length) };
}

function readEntry(
  name: string,
  entry: unknown,
  data: Uint8Array,
  where: string,
): { tensor: RawTensor; begin: number } {
  const wrong = (code: string, what: string) => fail(code, where, `tensor "${name}": ${what}`, { tensor: name });
  if (!isRecord(entry)) throw wrong('entry', 'its entry is not an object');
  const { dtype, shape, data_offsets: offsets } = entry;
  if (!isRawDType(dtype)) {
    throw wrong('dtype', `unknown dtype ${show(dtype)}; known are ${Object.keys(rawBytesPerElement).join(', ')}`);
  }
  if (!isSizes(shape)) throw wrong('shape', `shape ${show(shape)} is not a list of sizes ≥ 0`);
  if (!isSizes(offsets) || offsets.length !== 2) {
    throw wrong('offsets', `data_offsets ${show(offsets)} are not two sizes ≥ 0`);
  }
  const [begin, end] = offsets as [number, number];
  if (begin > end || end > data.length) {
    throw wrong('offsets', `data_offsets [${begin}, ${end}] do not lie in the file's ${data.length} bytes of data`);
  }
  let needed: number = rawBytesPerElement[dtype];
  for (const size of shape) needed *= size;
  if (needed !== end - begin) {
    throw wrong('size', `${dtype}${show(shape)} needs ${needed} bytes, data_offsets give ${end - begin}`);
  }
  return { tensor: { dtype, shape, bytes: data.subarray(begin, end) }, begin };
}

/** A value from the header in an error: short, and safe for one nested deeper than the stack. */
function show(value: unknown): string {
  try {
    const text = JSON.stringify(value) ?? 'nothing';
    return text.length > 100 ? `${text.slice(0, 100)}…` : text;
  } catch {
    return 'a deeply nested value';
  }
}

const isSizes = (value: unknown): value is number[] =>
  Array.isArray(value) && value.every((n) => Number.isSafeInteger(n) && n >= 0);

function fail(
  code: string,
  where: string,
  what: string,
  fields: Record<string, unknown> = {},
  cause?: unknown,
): FormatError {
  return new FormatError(`safetensors-${code}`, `${where}: ${what}`, {
    fields: { file: where, ...fields },
    remedy: 'save the tensors again: safetensors.torch.save_file(tensors, path)',
    cause,
  });
}

/** Throws UsageError for what holds no names with tensors. */
function* requireEntries<T>(tensors: Iterable<readonly [string, T]>): Generator<readonly [string, T]> {
  const isIterable = typeof (tensors as Partial<Iterable<unknown>> | null)?.[Symbol.iterator] === 'function';
  const remedy = "writeSafetensors([['layer.weight', tensor]])";
  requireArgument('writeSafetensors', isIterable && typeof tensors !== 'string', 'names with tensors', tensors, remedy);
  for (const entry of tensors) {
    const { type, data, bytes } = (entry?.[1] ?? {}) as { type?: unknown; data?: unknown; bytes?: unknown };
    const isTensor = (typeof type === 'object' && ArrayBuffer.isView(data)) || bytes instanceof Uint8Array;
    requireArgument(
      'writeSafetensors',
      typeof entry?.[0] === 'string' && isTensor,
      'names with tensors',
      entry,
      remedy,
    );
    yield entry;
  }
}

/**
 * A safetensors file in the order given; equal input gives equal bytes.
 *
 * The header is put together by hand, as a JavaScript object would move names such as "0" to the front.
 */
export function writeSafetensors(
  tensors: Iterable<readonly [name: string, tensor: HostTensor | RawTensor]>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  requireKinds('writeSafetensors', { metadata: ['record', metadata] });
  const entries: string[] = [];
  const chunks: Uint8Array[] = [];
  const names = new Set<string>(['__metadata__']);
  if (Object.keys(metadata).length > 0) entries.push(`"__metadata__":${JSON.stringify(metadata)}`);
  let at = 0;
  for (const entry of requireEntries(tensors)) {
    const [name, tensor] = entry;
    if (names.has(name)) {
      throw new FormatError('safetensors-duplicate-key', `a tensor named "${name}" cannot be written twice`, {
        fields: { tensor: name },
        remedy: 'give each tensor a name of its own',
      });
    }
    names.add(name);
    const { dtype, shape, bytes } = 'bytes' in tensor ? tensor : rawOf(tensor, name);
    const end = at + bytes.length;
    entries.push(
      `${JSON.stringify(name)}:{"dtype":"${dtype}","shape":${JSON.stringify(shape)},"data_offsets":[${at},${end}]}`,
    );
    chunks.push(bytes);
    at = end;
  }
  const json = new TextEncoder().encode(`{${entries.join(',')}}`);
  const headerBytes = Math.ceil(json.length / 8) * 8;
  const out = new Uint8Array(8 + headerBytes + at);
  new DataView(out.buffer).setBigUint64(0, BigInt(headerBytes), true);
  out.fill(0x20, 8, 8 + headerBytes);
  out.set(json, 8);
  let to = 8 + headerBytes;
  for (const chunk of chunks) {
    out.set(chunk, to);
    to += chunk.length;
  }
  return out;
}

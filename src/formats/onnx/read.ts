/** An ONNX file on disk, with the files its tensors may be kept in. */
import { createHash } from 'node:crypto';
import { closeSync, fstatSync, openSync, readSync, realpathSync, statSync } from 'node:fs';
import { dirname, isAbsolute, relative, resolve, sep } from 'node:path';
import { readBytes } from '../read-file.ts';
import { decodeOnnx } from './decode.ts';
import type { OnnxModel } from './model.ts';
import type { ExternalReader } from './tensor-bytes.ts';

/** Reads and decodes a model. Throws UsageError where there is no such file, FormatError for what is in it. */
export function readOnnx(path: string): OnnxModel {
  const bytes = readBytes(path, { remedy: 'give the path of an .onnx file' });
  return decodeOnnx(bytes, { where: path, external: externalFiles(dirname(resolve(path))) });
}

/**
 * Tensors of other files: `location` relative to the model's folder, `offset` and `length` in bytes. The model file is
 * not trusted with the rest of the disk: nothing outside of its folder is opened, by `..`, by an absolute path or by a
 * link. Each file is read once, and tensors are views of it.
 */
function externalFiles(folder: string): ExternalReader {
  const files = new Map<string, Uint8Array>();
  return (entries, needed, fail) => {
    const location = entries.get('location');
    if (!location) throw fail('external', 'its external data have no location');
    const number = (key: string, whenMissing: number): number => {
      const text = entries.get(key);
      if (text === undefined) return whenMissing;
      const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
      if (!Number.isSafeInteger(value))
        throw fail('external', `${key} "${text.slice(0, 40)}" is not a number of bytes`);
      return value;
    };
    const offset = number('offset', 0);
    const length = number('length', needed);
    if (length !== needed) throw fail('external', `length is ${length}, and its shape takes ${needed} bytes`);
    let file = files.get(location);
    if (!file) {
      file = readInside(folder, location, fail);
      files.set(location, file);
    }
    if (offset + length > file.length) {
      throw fail('external', `bytes ${offset} to ${offset + length} of ${location}, which has ${file.length}`);
    }
    const checksum = entries.get('checksum');
    if (checksum !== undefined && checksum.toLowerCase() !== createHash('sha1').update(file).digest('hex')) {
      throw fail('external', `${location} has not the SHA-1 checksum that the model states`);
    }
    return file.subarray(offset, offset + length);
  };
}

function readInside(folder: string, location: string, fail: (code: string, what: string) => Error): Uint8Array {
  const outside = () =>
    fail('external', `its data file "${location.slice(0, 200)}" lies outside of the model's folder`);
  if (isAbsolute(location) || location.includes('\0') || leaves(folder, resolve(folder, location))) throw outside();
  let path: string;
  try {
    path = realpathSync(resolve(folder, location));
  } catch {
    throw fail('external', `its data file ${location} is not there (looked in ${folder})`);
  }
  if (leaves(realpathSync(folder), path)) throw outside();
  // Before it is opened: opening a pipe waits for its writer.
  if (!statSync(path).isFile()) throw fail('external', `its data file ${location} is not a regular file`);
  let descriptor: number;
  try {
    descriptor = openSync(path, 'r');
  } catch (cause) {
    throw fail('external', `its data file ${location} cannot be read: ${(cause as Error).message}`);
  }
  try {
    const stat = fstatSync(descriptor);
    const bytes = new Uint8Array(stat.size);
    let at = 0;
    // Piecewise, as one call reads at most 2 GiB.
    while (at < bytes.length) {
      const read = readSync(descriptor, bytes, at, Math.min(bytes.length - at, 2 ** 30), at);
      if (read === 0) throw fail('external', `its data file ${location} ended after ${at} of ${stat.size} bytes`);
      at += read;
    }
    return bytes;
  } finally {
    closeSync(descriptor);
  }
}

function leaves(folder: string, path: string): boolean {
  const way = relative(folder, path);
  return way === '' || way === '..' || way.startsWith(`..${sep}`) || isAbsolute(way);
}

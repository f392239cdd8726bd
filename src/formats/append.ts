/** Files that grow by a line at a time: what does not fit on the disk leaves no half line behind. */
import { closeSync, fstatSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import { writeFailed } from './write-failed.ts';

/** Appends a text to a file, whole or not at all. Throws PartitaError where it cannot be written. */
export function appendWhole(path: string, text: string): void {
  try {
    const handle = openSync(path, 'a');
    try {
      appendTo(handle, text);
    } finally {
      closeSync(handle);
    }
  } catch (cause) {
    throw writeFailed(path, cause);
  }
}

/** The same for a file that is open for writing, at its end; the error is the system's. */
export function appendTo(handle: number, text: string): void {
  const bytes = Buffer.from(text);
  let written = 0;
  try {
    // A disk that is nearly full takes a part, and refuses the rest.
    while (written < bytes.length) written += writeSync(handle, bytes, written);
  } catch (error) {
    if (written > 0 && fstatSync(handle).isFile()) ftruncateSync(handle, fstatSync(handle).size - written);
    throw error;
  }
}

import { spawnSync } from 'node:child_process';
import { constants, openSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { TestContext } from 'vitest';
import { findBlas } from '../../src/backends/blas/library.ts';
import { PartitaError } from '../../src/core/errors.ts';
import type { BlasLibrary } from '../../src/lower/blas/index.ts';
import { needs } from './system.ts';

let found: BlasLibrary | null | undefined;

/** The library that `--blas auto` finds; skips where there is none. One that is there and not taken is an error. */
export function installedBlas(context: TestContext): BlasLibrary {
  found ??= libraryOrNull();
  needs(context, found !== null, 'a BLAS for threads (libopenblas0-pthread) and the package koffi');
  return found!;
}

function libraryOrNull(): BlasLibrary | null {
  try {
    return findBlas('auto');
  } catch (error) {
    if (error instanceof PartitaError && ['blas-not-found', 'blas-koffi'].includes(error.code)) return null;
    throw error;
  }
}

/** A library that never loads: a pipe. */
export function endlessLibrary(folder: string): string {
  const file = join(folder, 'libendless.so');
  const { error, status } = spawnSync('mkfifo', [file]);
  if (error || status !== 0) throw new Error(`mkfifo ${file}: ${error?.message ?? status}`);
  return file;
}

/** Waits until somebody loads it: who does goes on with that when the descriptor is closed. */
export async function loading(file: string): Promise<number> {
  const end = performance.now() + 60_000;
  while (performance.now() < end) {
    try {
      return openSync(file, constants.O_WRONLY | constants.O_NONBLOCK);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENXIO') throw error; // nobody has opened it
    }
    await sleep(10);
  }
  throw new Error(`nobody has loaded ${file} in a minute`);
}

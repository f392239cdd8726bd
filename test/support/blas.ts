import type { TestContext } from 'vitest';
import { findBlas } from '../../src/backends/blas/library.ts';
import type { BlasLibrary } from '../../src/lower/blas/index.ts';
import { needs } from './system.ts';

/** The library that `--blas auto` finds; skips where there is none. */
export function installedBlas(context: TestContext): BlasLibrary {
  let library: BlasLibrary | undefined;
  try {
    library = findBlas('auto');
  } catch {
    library = undefined;
  }
  needs(context, library !== undefined, 'a BLAS for threads (libopenblas0-pthread) and the package koffi');
  return library!;
}

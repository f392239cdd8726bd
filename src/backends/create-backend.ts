import { DeviceError } from '../core/errors.ts';
import type { BlasLibrary } from '../lower/blas/index.ts';
import type { ComputingBackend } from '../lower/kernel-call.ts';
import type { Backend } from './backend.ts';
import { openBlas } from './blas/library.ts';
import { createReferenceBackend } from './reference/reference-backend.ts';
import { createWasmBackend } from './wasm/wasm-backend.ts';

export interface BackendParts {
  readonly kernels: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  /** What `blas` takes. */
  readonly blas?: BlasLibrary | undefined;
}

/** What computes in a device's memory; called in the device's own thread. */
export function createBackend(kind: ComputingBackend, { kernels, memory, blas }: BackendParts): Backend {
  switch (kind) {
    case 'wasm':
      return createWasmBackend(kernels, memory);
    case 'blas':
      if (!blas) throw new DeviceError('blas-library', 'a device with the backend "blas" was given no library');
      return createWasmBackend(kernels, memory, openBlas(blas.file));
    case 'reference':
      return createReferenceBackend(memory);
  }
}

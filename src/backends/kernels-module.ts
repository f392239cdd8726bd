/** The compiled kernels of the WebAssembly backend. Node only: a page compiles its own copy and hands it over. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DeviceError, PartitaError } from '../core/errors.ts';
import { packageRoot } from '../core/package-root.ts';
import type { SimdVariant } from '../lower/kernel-call.ts';
import { enableRelaxedSimd } from './relaxed-simd.ts';

const compiled = new Map<SimdVariant, Promise<WebAssembly.Module>>();

/** File of a variant's kernels, built by `scripts/build.mjs`. */
export const kernelsFile = (simd: SimdVariant = 'strict'): string =>
  join(packageRoot(), 'dist', simd === 'strict' ? 'kernels.wasm' : `kernels-${simd}.wasm`);

/**
 * Compiles a variant's kernels once a process; a module may be sent to workers and instantiated any number of times. Throws
 * DeviceError where this host cannot run them.
 */
export function kernelsModule(simd: SimdVariant = 'strict'): Promise<WebAssembly.Module> {
  let module = compiled.get(simd);
  if (!module) {
    module = compile(simd);
    compiled.set(simd, module);
  }
  return module;
}

async function compile(simd: SimdVariant): Promise<WebAssembly.Module> {
  if (simd === 'relaxed' && !enableRelaxedSimd()) {
    throw new DeviceError(
      'relaxed-simd',
      `simd: Node ${process.versions.node} does not run relaxed SIMD instructions on this machine`,
      { fields: { simd, node: process.versions.node }, remedy: '--simd strict, or Node 20.19 or newer' },
    );
  }
  const file = kernelsFile(simd);
  const bytes = await readFile(file).catch((cause: unknown) => {
    throw new PartitaError('kernels-missing', `cannot read the kernels, ${file}`, {
      fields: { file },
      remedy: 'node scripts/build.mjs kernels',
      cause,
    });
  });
  return WebAssembly.compile(bytes);
}

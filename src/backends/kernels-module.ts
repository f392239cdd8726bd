/** The compiled kernels of the WebAssembly backend. Node only: a page compiles its own copy and hands it over. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PartitaError } from '../core/errors.ts';
import { packageRoot } from '../core/package-root.ts';

let compiled: Promise<WebAssembly.Module> | undefined;

/** Compiles `dist/kernels.wasm` once a process; a module may be sent to workers and instantiated any number of times. */
export function kernelsModule(): Promise<WebAssembly.Module> {
  compiled ??= compile();
  return compiled;
}

async function compile(): Promise<WebAssembly.Module> {
  const file = join(packageRoot(), 'dist', 'kernels.wasm');
  const bytes = await readFile(file).catch((cause: unknown) => {
    throw new PartitaError('kernels-missing', `cannot read the kernels, ${file}`, {
      fields: { file },
      remedy: 'node scripts/build.mjs kernels',
      cause,
    });
  });
  return WebAssembly.compile(bytes);
}

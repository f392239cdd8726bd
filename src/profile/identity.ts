/** What this machine's measurements are of. Node only. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism, cpus } from 'node:os';
import { basename, join } from 'node:path';
import { kernelsFile } from '../backends/kernels-module.ts';
import { PartitaError } from '../core/errors.ts';
import { packageRoot } from '../core/package-root.ts';
import type { MachineIdentity } from '../cost/machine.ts';
import type { SimdVariant } from '../lower/kernel-call.ts';

/** With the kernels that its devices run. */
export function machineIdentity(simd: SimdVariant = 'strict'): MachineIdentity {
  const root = packageRoot();
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  return {
    processor: cpus()[0]?.model.trim() || 'unknown',
    cores: availableParallelism(),
    platform: `${process.platform} ${process.arch}`,
    node: process.versions.node,
    partita: version,
    kernels: createHash('sha256').update(kernelBytes(simd)).digest('hex').slice(0, 16),
  };
}

/**
 * The code that makes plans: the package's version, what the build says of its sources, and the solver that searches use where it
 * is installed (`root`: of this package, in which it is looked for as its threads do). undefined where nothing is built, so that
 * nobody knows.
 */
export function plannerIdentity(root: string = packageRoot()): string | undefined {
  try {
    const sources = readFileSync(join(root, 'dist', 'sources.txt'), 'utf8').trim();
    return `${sources} highs ${installedVersion('highs', join(root, 'dist', 'workers', 'milp.node.js')) ?? 'none'}`;
  } catch {
    return undefined;
  }
}

/** Of the package that `file` would import; undefined where there is none. */
function installedVersion(name: string, file: string): string | undefined {
  // Not the folders of CommonJS beside those: imports do not look there.
  const places = (createRequire(file).resolve.paths(name) ?? []).filter(
    (folder) => basename(folder) === 'node_modules',
  );
  for (const folder of places) {
    try {
      return (JSON.parse(readFileSync(join(folder, name, 'package.json'), 'utf8')) as { version: string }).version;
    } catch {
      // Not here: further up, as Node looks for it.
    }
  }
  return undefined;
}

function kernelBytes(simd: SimdVariant): Uint8Array {
  const file = kernelsFile(simd);
  try {
    return readFileSync(file);
  } catch (cause) {
    throw new PartitaError('kernels-missing', `cannot read the kernels, ${file}`, {
      fields: { file },
      remedy: 'node scripts/build.mjs kernels',
      cause,
    });
  }
}

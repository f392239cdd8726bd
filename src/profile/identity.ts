/** What this machine's measurements are of. Node only. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { availableParallelism, cpus } from 'node:os';
import { join } from 'node:path';
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
 * The code that makes plans: the package's version, and what the build says of its sources. undefined where nothing is built,
 * so that nobody knows.
 */
export function plannerIdentity(): string | undefined {
  try {
    return readFileSync(join(packageRoot(), 'dist', 'sources.txt'), 'utf8').trim();
  } catch {
    return undefined;
  }
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

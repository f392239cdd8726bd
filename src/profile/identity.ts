/** What this machine's measurements are of. Node only. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { availableParallelism, cpus } from 'node:os';
import { join } from 'node:path';
import { PartitaError } from '../core/errors.ts';
import { packageRoot } from '../core/package-root.ts';
import type { MachineIdentity } from '../cost/machine.ts';

export function machineIdentity(): MachineIdentity {
  const root = packageRoot();
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  return {
    processor: cpus()[0]?.model.trim() || 'unknown',
    cores: availableParallelism(),
    platform: `${process.platform} ${process.arch}`,
    node: process.versions.node,
    partita: version,
    kernels: createHash('sha256').update(kernelBytes(root)).digest('hex').slice(0, 16),
  };
}

function kernelBytes(root: string): Uint8Array {
  const file = join(root, 'dist', 'kernels.wasm');
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

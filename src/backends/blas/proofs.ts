/**
 * Which native libraries have stood their trial, in the user's cache: by the file's name, size and time and by what decides
 * which of its kernels run. Node only.
 */
import { createHash } from 'node:crypto';
import { readFileSync, realpathSync, statSync, writeFileSync } from 'node:fs';
import { cpus, release } from 'node:os';
import { join, resolve } from 'node:path';
import { cacheFolder } from '../../core/cache-folder.ts';
import { makeFolder } from '../../formats/make-folder.ts';

/** Of the trial: what has stood an older one is tried again. */
const VERSION = 1;

export interface Proof {
  readonly path: string;
  readonly text: string;
}

/** undefined where nothing can be kept: no cache, or a name of which only the loader knows what file it stands for. */
export function proofOf(file: string): Proof | undefined {
  const folder = cacheFolder();
  if (folder === undefined || !/[/\\]/.test(file)) return undefined;
  const found = fileOf(file);
  if (!found) return undefined; // loading it says what is wrong
  const environment = Object.entries(process.env)
    .filter(
      ([name]) => /^(OPENBLAS|GOTO|MKL|BLIS|OMP|VECLIB|LD|DYLD)_/.test(name) && !/_(NUM|MAXIMUM)_THREADS$/.test(name),
    )
    .sort();
  const { platform, arch, version: node } = process;
  const machine = { platform, arch, node, processor: cpus()[0]?.model ?? 'unknown' };
  const text = `${JSON.stringify({ format: 'partita-blas', version: VERSION, ...found, ...machine, environment })}\n`;
  const name = createHash('sha256').update(text).digest('hex').slice(0, 16);
  return { path: join(folder, 'blas', `${name}.json`), text };
}

/** What tells a file from another in its place. Libraries of macOS have none: they come with the system, and change with it. */
function fileOf(file: string): Readonly<Record<string, string | number>> | undefined {
  const path = resolve(file);
  try {
    const real = realpathSync(path);
    const { size, mtimeMs } = statSync(real);
    return { real, size, mtimeMs };
  } catch {
    return isOfMacSystem(path) ? { real: path, system: release() } : undefined;
  }
}

/** Libraries that the loader of macOS has in a store of its own. */
export const isOfMacSystem = (path: string, platform: string = process.platform): boolean =>
  platform === 'darwin' && /^\/(System|usr\/lib)\//.test(path);

export function isKept({ path, text }: Proof): boolean {
  try {
    return readFileSync(path, 'utf8') === text;
  } catch {
    return false;
  }
}

/** Best effort: where nothing can be written, the next process tries it again. */
export function keep({ path, text }: Proof): void {
  try {
    makeFolder(join(path, '..'));
    writeFileSync(path, text);
  } catch {
    // The library is as good without.
  }
}

/**
 * The trial of a native library, in a process of its own: one that is cut short, damaged or made for another processor ends the
 * process that loads or calls it, and says nothing. What has stood it is kept in the user's cache, by the file's name, size and
 * time and by what decides which of its kernels run, so that later processes find it there. Node only.
 */
import { createHash } from 'node:crypto';
import { readFileSync, realpathSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { cpus } from 'node:os';
import { join, resolve } from 'node:path';
import { cacheFolder } from '../../core/cache-folder.ts';
import { UsageError } from '../../core/errors.ts';
import { packageRoot } from '../../core/package-root.ts';
import { makeFolder } from '../../formats/make-folder.ts';

/** A library that waits for something never answers. */
const TIME_LIMIT_SECONDS = 30;

/** Of the trial: what has stood an older one is tried again. */
const VERSION = 1;

/** What the process of the trial writes to its file descriptor 3. */
export interface ProbeAnswer {
  /** Why the library is refused; null where it is not. */
  readonly refused: {
    readonly code: string;
    readonly message: string;
    readonly fields: Record<string, unknown>;
    readonly remedy: string | undefined;
  } | null;
}

const ANSWER = 3;

/** Libraries that this process has tried or found among those that were. */
const proven = new Set<string>();

/**
 * Tries a library, by its path or by a name that the loader looks for. Throws UsageError where it cannot be loaded, ends its
 * process, does not answer, or gives wrong products, alone or to two threads at once.
 */
export function probeBlas(file: string): void {
  if (proven.has(file)) return;
  const proof = proofOf(file);
  if (!proof || !isKept(proof)) {
    tryIt(file);
    if (proof) keep(proof);
  }
  proven.add(file);
}

function tryIt(file: string): void {
  // Loading it takes several milliseconds, which a command without a trial need not pay.
  const { spawnSync } = createRequire(import.meta.url)('node:child_process') as typeof import('node:child_process');
  const { output, signal, status, error } = spawnSync(
    process.execPath,
    [join(packageRoot(), 'dist', 'workers', 'blas-probe.node.cjs'), file],
    { stdio: ['ignore', 'ignore', 'ignore', 'pipe'], timeout: 1000 * TIME_LIMIT_SECONDS, killSignal: 'SIGKILL' },
  );
  const late = (error as NodeJS.ErrnoException | undefined)?.code === 'ETIMEDOUT';
  if (error && !late) {
    throw new UsageError('blas-probe', `blas: cannot start a process to try ${file}: ${error.message}`, {
      fields: { file },
      remedy: '--blas off',
      cause: error,
    });
  }
  const text = late ? '' : String(output?.[ANSWER] ?? '');
  if (text === '')
    throw endedWithout(file, late ? `does not return within ${TIME_LIMIT_SECONDS} s` : endOf(signal, status));
  const { refused } = JSON.parse(text) as ProbeAnswer;
  if (refused) throw new UsageError(refused.code, refused.message, refused);
}

const endOf = (signal: string | null, status: number | null): string =>
  `ends the process with ${signal ?? `exit code ${status}`}`;

function endedWithout(file: string, what: string): UsageError {
  return new UsageError(
    'blas-crashed',
    `blas: ${file}: to load it and multiply by it ${what}; it is cut short, damaged, made for another processor, or no BLAS`,
    { fields: { file, what }, remedy: 'install it again; or --blas auto, --blas PATH of another, or --blas off' },
  );
}

interface Proof {
  readonly path: string;
  readonly text: string;
}

/** undefined where nothing can be kept: no cache, or a name of which only the loader knows what file it stands for. */
function proofOf(file: string): Proof | undefined {
  const folder = cacheFolder();
  if (folder === undefined || !/[/\\]/.test(file)) return undefined;
  let found: { readonly real: string; readonly size: number; readonly mtimeMs: number };
  try {
    const real = realpathSync(resolve(file));
    found = { real, ...pick(statSync(real)) };
  } catch {
    return undefined; // loading it says what is wrong
  }
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

const pick = ({ size, mtimeMs }: { size: number; mtimeMs: number }) => ({ size, mtimeMs });

function isKept({ path, text }: Proof): boolean {
  try {
    return readFileSync(path, 'utf8') === text;
  } catch {
    return false;
  }
}

/** Best effort: where nothing can be written, the next process tries it again. */
function keep({ path, text }: Proof): void {
  try {
    makeFolder(join(path, '..'));
    writeFileSync(path, text);
  } catch {
    // The library is as good without.
  }
}

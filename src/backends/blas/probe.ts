/**
 * The trial of a native library, in a process of its own: one that is cut short, damaged or made for another processor ends the
 * process that loads or calls it, and says nothing. What has stood it is kept (`proofs.ts`), so that later processes find it
 * there. Node only.
 */
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { PartitaError, UsageError } from '../../core/errors.ts';
import { packageRoot } from '../../core/package-root.ts';
import { isKept, keep, proofOf } from './proofs.ts';

/** A library that waits for something never answers. */
const TIME_LIMIT_SECONDS = 30;

/** Where the process of the trial answers: a line once it has started, then `ProbeAnswer`. */
export const ANSWER = 3;
export const STARTED = 'started\n';

export interface ProbeAnswer {
  /** Why the library is refused; null where it is not. */
  readonly refused: {
    readonly code: string;
    readonly message: string;
    readonly fields: Record<string, unknown>;
    readonly remedy: string | undefined;
  } | null;
  /** Why there is no saying: the trial itself has failed. */
  readonly failed?: string;
}

/** How the process of a trial has ended. */
interface Ended {
  readonly answer: string;
  readonly errors: string;
  readonly signal: string | null;
  readonly status: number | null;
  /** Why it was ended here, if it was. */
  readonly stopped?: 'late' | 'floods' | undefined;
  /** It could not be started. */
  readonly error?: Error | undefined;
}

/** Of a library's own output: what floods is ended, and takes none of this process's memory. */
const MOST_OUTPUT = 2 ** 20;

/** Libraries that this process has tried or found among those that were. */
const proven = new Set<string>();

/**
 * Tries a library, by its path or by a name that the loader looks for. Throws UsageError where it cannot be loaded, ends its
 * process, does not answer, or gives wrong products, alone or to two threads at once; PartitaError where the trial itself
 * fails or is interrupted. Blocks this thread.
 */
export function probeBlas(file: string): void {
  const prove = stands(file);
  if (!prove) return;
  // Of the terminal's output nothing: libraries write what they like.
  const { output, signal, status, error } = childProcess().spawnSync(process.execPath, command(file), {
    stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
    timeout: 1000 * TIME_LIMIT_SECONDS,
    killSignal: 'SIGKILL',
    maxBuffer: MOST_OUTPUT,
  });
  const { code } = (error ?? {}) as NodeJS.ErrnoException;
  const stopped = code === 'ETIMEDOUT' ? 'late' : code === 'ENOBUFS' ? 'floods' : undefined;
  const [answer, errors] = [String(output?.[ANSWER] ?? ''), String(output?.[2] ?? '')];
  judge(file, { answer, errors, signal, status, stopped, error: stopped ? undefined : error });
  prove();
}

/** A trial beside this thread, for all that wait for it. */
interface Trial {
  readonly ended: Promise<Ended>;
  readonly end: () => void;
  waiting: number;
}
const underway = new Map<string, Trial>();

/**
 * As `probeBlas`, while this thread goes on. Rejects with the signal's reason where that comes first; the process of the trial is
 * ended then, unless others wait for it.
 */
export async function probeBlasAside(file: string, signal?: AbortSignal): Promise<void> {
  signal?.throwIfAborted();
  const prove = stands(file);
  if (!prove) return;
  const trial = underway.get(file) ?? startTrial(file);
  underway.set(file, trial);
  trial.waiting++;
  let onAbort = () => {};
  try {
    const aborted = new Promise<never>((_, reject) => {
      onAbort = () => reject(signal?.reason);
    });
    signal?.addEventListener('abort', onAbort, { once: true });
    judge(file, await Promise.race([trial.ended, aborted]));
    prove();
  } finally {
    signal?.removeEventListener('abort', onAbort);
    if (--trial.waiting === 0) {
      underway.delete(file);
      trial.end();
      await trial.ended;
    }
  }
}

/** How long what has left its pipes to a process of its own may hold them. */
const GRACE_MS = 200;

function startTrial(file: string): Trial {
  const child = childProcess().spawn(process.execPath, command(file), { stdio: ['ignore', 'ignore', 'pipe', 'pipe'] });
  const streams = [child.stdio[ANSWER], child.stderr] as (Readable | null)[];
  const texts = ['', ''];
  let stopped: Ended['stopped'];
  const end = () => {
    child.kill('SIGKILL');
    for (const stream of streams) stream?.destroy();
  };
  const stop = (why: Ended['stopped']) => {
    stopped ??= why;
    end();
  };
  streams.forEach((stream, i) => {
    stream?.on('data', (chunk) => {
      texts[i] += chunk;
      if (texts[i]!.length > MOST_OUTPUT) stop('floods');
    });
  });
  const timer = setTimeout(() => stop('late'), 1000 * TIME_LIMIT_SECONDS);
  const ended = new Promise<Ended>((resolve) => {
    const settle = (status: number | null, signal: string | null, error?: Error) => {
      clearTimeout(timer);
      resolve({ answer: texts[0]!, errors: texts[1]!, signal, status, stopped, error });
    };
    child.once('error', (error) => settle(null, null, error));
    child.once('exit', () => setTimeout(end, GRACE_MS).unref());
    child.once('close', settle);
  });
  return { ended, end, waiting: 0 };
}

/** Loading it takes several milliseconds, which a command without a trial need not pay. */
const childProcess = () => createRequire(import.meta.url)('node:child_process') as typeof import('node:child_process');

const command = (file: string): string[] => [join(packageRoot(), 'dist', 'workers', 'blas-probe.node.cjs'), file];

/** What to do once the library has stood its trial; undefined where it need not be tried. */
function stands(file: string): (() => void) | undefined {
  if (proven.has(file)) return undefined;
  // Of the file as it is before its trial.
  const proof = proofOf(file);
  const prove = () => {
    if (proof) keep(proof);
    proven.add(file);
  };
  if (!proof || !isKept(proof)) return prove;
  proven.add(file);
  return undefined;
}

/** Signals by which others end a process; a library ends it by those of its mistakes. */
const FROM_OUTSIDE: ReadonlySet<string> = new Set(['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGKILL']);

function judge(file: string, { answer, errors, signal, status, stopped, error }: Ended): void {
  if (error) throw failed(file, `cannot start a process to try ${file}: ${error.message}`, error);
  const how = signal ?? `exit code ${status}`;
  if (stopped === undefined && signal !== null && FROM_OUTSIDE.has(signal)) {
    throw failed(file, `the trial of ${file} was ended from outside, by ${signal}`);
  }
  if (!answer.startsWith(STARTED)) {
    const why = errors.split('\n').find((line) => /^\w*Error\b/.test(line)) ?? how;
    throw failed(file, `the process that tries ${file} does not start: ${why}`);
  }
  const said = answer.slice(STARTED.length);
  if (stopped === 'late') throw crashed(file, `does not return within ${TIME_LIMIT_SECONDS} s`);
  if (stopped === 'floods') throw crashed(file, 'writes without end');
  if (said === '') throw crashed(file, `ends the process with ${how}`);
  const { refused, failed: why } = JSON.parse(said) as ProbeAnswer;
  if (why !== undefined) throw failed(file, `the trial of ${file} fails: ${why}`);
  if (refused) throw new UsageError(refused.code, refused.message, refused);
}

/** Nothing is said about the library. */
const failed = (file: string, what: string, cause?: Error): PartitaError =>
  new PartitaError('blas-probe', `blas: ${what}`, { fields: { file }, remedy: 'start it again; or --blas off', cause });

function crashed(file: string, what: string): UsageError {
  return new UsageError(
    'blas-crashed',
    `blas: ${file}: to load it and multiply by it ${what}; it is cut short, damaged, made for another processor, or no BLAS`,
    { fields: { file, what }, remedy: 'install it again; or --blas auto, --blas PATH of another, or --blas off' },
  );
}

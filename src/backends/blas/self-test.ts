/**
 * Devices are threads, and some builds of BLAS bear only one: Debian's libopenblas0-serial shares its buffers between all
 * callers, unlocked, and gives wrong products. Such a build is refused where it says so, and every other is tried by two
 * threads at once before a device takes it: whether two collide is chance, and a library that is not made for threads may
 * not tell.
 */
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { UsageError } from '../../core/errors.ts';
import { packageRoot } from '../../core/package-root.ts';
import type { BlasLibrary } from '../../lower/blas/index.ts';

const THREADS = 2;
const MILLISECONDS = 50;

/** What a thread of the test is given. */
export interface SelfTestTask {
  readonly file: string;
  /** Counts threads that are ready: none begins before all are. */
  readonly gate: SharedArrayBuffer;
  readonly threads: number;
  readonly seed: number;
  readonly milliseconds: number;
}

const proven = new Map<string, Promise<void>>();

/** Throws UsageError where several threads get wrong products. Tried once a process. */
export function proveBlas(library: BlasLibrary): Promise<void> {
  let result = proven.get(library.file);
  if (!result) proven.set(library.file, (result = prove(library)));
  return result;
}

/** OpenBLAS built for one thread, without the locks that would let several take turns. */
export const isForOneThread = (version: string): boolean =>
  /\bSINGLE_THREADED\b/.test(version) && !/\bUSE_LOCKING\b/.test(version);

async function prove({ file, version }: BlasLibrary): Promise<void> {
  const refuse = (why: string) =>
    new UsageError('blas-self-test', `blas: ${file} (${version}) does not bear several threads: ${why}`, {
      fields: { file, version },
      remedy: 'apt-get install libopenblas0-pthread and --blas auto, or --blas off',
    });
  if (isForOneThread(version)) throw refuse('it says that it was built for one');
  const gate = new SharedArrayBuffer(4);
  const threads = Array.from({ length: THREADS }, (_, seed) =>
    startThread({ file, gate, threads: THREADS, seed, milliseconds: MILLISECONDS }),
  );
  let answers: readonly (string | null)[];
  try {
    answers = await Promise.all(threads.map(({ answer }) => answer));
  } finally {
    // Where one has failed, the other waits for it.
    await Promise.all(threads.map(({ worker }) => worker.terminate()));
  }
  const wrong = answers.find((answer) => answer !== null);
  if (wrong !== undefined) throw refuse(`with ${THREADS} at once, ${wrong}`);
}

/** The answer is null where nothing is wrong. */
function startThread(task: SelfTestTask): { worker: Worker; answer: Promise<string | null> } {
  const worker = new Worker(join(packageRoot(), 'dist', 'workers', 'blas.node.js'), { workerData: task });
  const answer = new Promise<string | null>((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
    worker.once('exit', () => resolve('a thread ended without an answer'));
  });
  return { worker, answer };
}

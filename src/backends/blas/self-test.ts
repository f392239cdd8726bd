/**
 * What the trial of a library asks (`probe.ts`): right products, of one thread and of several. Devices are threads, and some
 * builds of BLAS bear only one: Debian's libopenblas0-serial shares its buffers between all callers, unlocked, and gives wrong
 * products. Such a build is refused where it says so, and every other is tried by two threads at once before a device takes it:
 * whether two collide is chance, and a library that is not made for threads may not tell.
 */
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { UsageError } from '../../core/errors.ts';
import { packageRoot } from '../../core/package-root.ts';
import type { BlasLibrary } from '../../lower/blas/index.ts';
import { openBlas } from './library.ts';
import { tryProducts } from './try-products.ts';

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

/** OpenBLAS built for one thread, without the locks that would let several take turns. */
export const isForOneThread = (version: string): boolean =>
  /\bSINGLE_THREADED\b/.test(version) && !/\bUSE_LOCKING\b/.test(version);

/** Throws UsageError where products are wrong: of this thread, or of several at once. */
export async function proveBlas({ file, version }: BlasLibrary): Promise<void> {
  const refuse = (what: string) =>
    new UsageError('blas-self-test', `blas: ${file} (${version}) ${what}`, {
      fields: { file, version },
      remedy: 'apt-get install libopenblas0-pthread and --blas auto, or --blas off',
    });
  if (isForOneThread(version)) throw refuse('does not bear several threads: it says that it was built for one');
  const alone = tryProducts(openBlas(file), 0, 0);
  if (alone !== null) throw refuse(`multiplies wrongly: ${alone}`);
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
  if (wrong !== undefined) throw refuse(`does not bear several threads: with ${THREADS} at once, ${wrong}`);
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

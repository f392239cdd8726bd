import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { packageRoot } from '../core/package-root.ts';
import type { MilpModel } from './milp-rows.ts';

/** What a thread is given. */
export interface MilpTask {
  readonly model: MilpModel;
  /** A feasible solution to begin with. */
  readonly start?: Float64Array;
  /** By `Date.now()`, which threads share: when the solver is to stop. */
  readonly endsAt: number;
  readonly seed: number;
}

/** What it says, in this order where both are known: bounds and solutions as they improve, then one of the others. */
export type MilpReport =
  | { readonly kind: 'bound'; readonly bound: number }
  | { readonly kind: 'solution'; readonly values: Float64Array }
  | { readonly kind: 'infeasible' }
  | { readonly kind: 'done' }
  /** HiGHS is not installed. */
  | { readonly kind: 'missing' };

export interface MilpAnswer {
  /** No solution has less in column 0; Infinity where there is none at all. */
  readonly bound: number;
  /** The best solution found. */
  readonly values: Float64Array | undefined;
}

/** HiGHS keeps rows and integrality to about this; so does what it proves. */
export const milpTolerance = 1e-6;

/** The solver looks at its clock between steps, some of which are long: it is asked to stop so much before its thread ends. */
const graceSeconds = (seconds: number): number => Math.min(2, seconds / 10);

/**
 * Solves a MILP with HiGHS (the optional package `highs`, WebAssembly) in a thread of its own: the process stays
 * responsive, and the deadline holds whatever the solver is busy with. `missing`: HiGHS is not installed.
 */
export function solveMilp(
  model: MilpModel,
  options: {
    readonly start?: Float64Array;
    readonly deadline: number;
    readonly seed: number;
    /** Ends the thread, and rejects with its reason. */
    readonly signal?: AbortSignal | undefined;
  },
): Promise<MilpAnswer | 'missing'> {
  const seconds = (options.deadline - performance.now()) / 1000;
  if (seconds <= 0) return Promise.resolve({ bound: Number.NEGATIVE_INFINITY, values: undefined });
  const endsAt = Date.now() + (seconds - graceSeconds(seconds)) * 1000;
  const task: MilpTask = { model, endsAt, seed: options.seed, ...(options.start ? { start: options.start } : {}) };
  const { signal } = options;
  if (signal?.aborted) return Promise.reject(signal.reason as Error);
  return new Promise((resolve, reject) => {
    const worker = new Worker(join(packageRoot(), 'dist', 'workers', 'milp.node.js'), { workerData: task });
    let bound = Number.NEGATIVE_INFINITY;
    let values: Float64Array | undefined;
    const stop = (): void => {
      clearTimeout(overdue);
      void worker.terminate().then(() => reject(signal!.reason as Error));
    };
    signal?.addEventListener('abort', stop, { once: true });
    const finish = (answer: MilpAnswer | 'missing'): void => {
      clearTimeout(overdue);
      signal?.removeEventListener('abort', stop);
      void worker.terminate().then(() => resolve(answer));
    };
    const overdue = setTimeout(() => finish({ bound, values }), seconds * 1000);
    worker.on('message', (report: MilpReport) => {
      if (report.kind === 'bound') bound = Math.max(bound, report.bound);
      else if (report.kind === 'solution') values = report.values;
      else if (report.kind === 'missing') finish('missing');
      else if (report.kind === 'infeasible') finish({ bound: Number.POSITIVE_INFINITY, values: undefined });
      else finish({ bound, values });
    });
    worker.once('error', (error) => {
      clearTimeout(overdue);
      signal?.removeEventListener('abort', stop);
      reject(error);
    });
  });
}

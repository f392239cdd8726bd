import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { packageRoot } from '../core/package-root.ts';
import type { MilpModel } from './milp-rows.ts';

/** What a thread is given. */
export interface MilpTask {
  readonly model: MilpModel;
  /** A feasible solution to begin with. */
  readonly start?: Float64Array;
  readonly seconds: number;
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

/** The solver looks at its clock between steps, some of which are long: then the thread ends from outside. */
const graceSeconds = 2;

/**
 * Solves a MILP with HiGHS (the optional package `highs`, WebAssembly) in a thread of its own: the process stays
 * responsive, and the deadline holds whatever the solver is busy with. `missing`: HiGHS is not installed.
 */
export function solveMilp(
  model: MilpModel,
  options: { readonly start?: Float64Array; readonly deadline: number; readonly seed: number },
): Promise<MilpAnswer | 'missing'> {
  const seconds = (options.deadline - performance.now()) / 1000;
  if (seconds <= 0) return Promise.resolve({ bound: Number.NEGATIVE_INFINITY, values: undefined });
  const task: MilpTask = { model, seconds, seed: options.seed, ...(options.start ? { start: options.start } : {}) };
  return new Promise((resolve, reject) => {
    const worker = new Worker(join(packageRoot(), 'dist', 'workers', 'milp.node.js'), { workerData: task });
    let bound = Number.NEGATIVE_INFINITY;
    let values: Float64Array | undefined;
    const finish = (answer: MilpAnswer | 'missing'): void => {
      clearTimeout(overdue);
      void worker.terminate().then(() => resolve(answer));
    };
    const overdue = setTimeout(() => finish({ bound, values }), (seconds + graceSeconds) * 1000);
    worker.on('message', (report: MilpReport) => {
      if (report.kind === 'bound') bound = Math.max(bound, report.bound);
      else if (report.kind === 'solution') values = report.values;
      else if (report.kind === 'missing') finish('missing');
      else if (report.kind === 'infeasible') finish({ bound: Number.POSITIVE_INFINITY, values: undefined });
      else finish({ bound, values });
    });
    worker.once('error', (error) => {
      clearTimeout(overdue);
      reject(error);
    });
  });
}

/**
 * Runs the trainings of a study: in this thread one after the other, or several at once in a Piscina of worker threads.
 * Only what is not timed runs here: a step that is timed never has another beside it.
 */
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Piscina } from 'piscina';
import { PartitaError } from '../core/errors.ts';
import { packageRoot } from '../core/package-root.ts';
import { type LearningCurve, type LearningTask, learn } from './learning.ts';

/** What a worker returns: errors cross threads as plain data, or they would lose their fields. */
export type LearningOutcome =
  | { readonly curve: LearningCurve }
  | { readonly failure: ReturnType<PartitaError['toJSON']> };

export interface Executor extends AsyncDisposable {
  run(task: LearningTask): Promise<LearningCurve>;
}

export function makeExecutor(parallel: number, signal?: AbortSignal): Executor {
  return parallel === 1 ? inTurn(signal) : inPool(parallel, signal);
}

function inTurn(signal?: AbortSignal): Executor {
  let last: Promise<unknown> = Promise.resolve();
  return {
    run: (task) => {
      const result = last.then(() => {
        signal?.throwIfAborted();
        return learn(task, signal);
      });
      last = result.catch(() => {});
      return result;
    },
    [Symbol.asyncDispose]: async () => {
      await last;
    },
  };
}

function inPool(parallel: number, signal?: AbortSignal): Executor {
  const pool = new Piscina<LearningTask, LearningOutcome>({
    filename: pathToFileURL(join(packageRoot(), 'dist', 'study', 'worker.js')).href,
    minThreads: 0,
    maxThreads: Math.min(parallel, availableParallelism()),
    recordTiming: false,
  });
  return {
    run: async (task) => {
      const outcome = await pool.run(task, { signal });
      if ('curve' in outcome) return outcome.curve;
      const { code, message, remedy, ...fields } = outcome.failure as {
        code: string;
        message: string;
        remedy?: string;
      };
      throw new PartitaError(code, message, { fields, remedy: remedy ?? undefined });
    },
    [Symbol.asyncDispose]: () => pool.destroy(),
  };
}

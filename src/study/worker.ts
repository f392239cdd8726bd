/** What a thread of the executor's pool runs: one training a task. */
import { PartitaError } from '../core/errors.ts';
import type { LearningOutcome } from './executor.ts';
import { type LearningTask, learn } from './learning.ts';

export default async function runTask(task: LearningTask): Promise<LearningOutcome> {
  try {
    return { curve: await learn(task) };
  } catch (error) {
    if (!(error instanceof PartitaError)) throw error;
    return { failure: error.toJSON() };
  }
}

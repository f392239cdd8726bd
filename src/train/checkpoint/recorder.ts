import { UsageError } from '../../core/errors.ts';
import { shown } from '../../core/options.ts';
import type { Session } from '../session.ts';
import type { StepRecord } from '../trainer.ts';
import { type BestEvaluation, isBetter } from './checkpoint.ts';
import { writeCheckpoint } from './folder.ts';
import type { Beginning, CheckpointOptions } from './resume.ts';

/** Follows a training step by step, and writes its checkpoints. */
export class CheckpointRecorder {
  readonly #session: Session;
  readonly #beginning: Beginning;
  readonly #options: CheckpointOptions & { readonly every: number };
  readonly #records: StepRecord[];
  #best: BestEvaluation | undefined;

  constructor(session: Session, beginning: Beginning, options: CheckpointOptions & { readonly every: number }) {
    for (const key of ['every', 'keep'] as const) {
      const value = options[key];
      if (value === undefined || (Number.isSafeInteger(value) && value > 0)) continue;
      throw new UsageError('checkpoint-option', `checkpoint.${key} must be an integer ≥ 1, not ${shown(value)}`, {
        fields: { key: `checkpoint.${key}`, value },
        remedy: `${key}: ${key === 'every' ? 100 : 3}`,
      });
    }
    this.#session = session;
    this.#beginning = beginning;
    this.#options = options;
    this.#records = [...(beginning.resumed?.records ?? [])];
    this.#best = beginning.resumed?.best;
  }

  /** Takes a step's record; writes a checkpoint where one is due. Nothing else may run on the session meanwhile. */
  async record(record: StepRecord, last: boolean): Promise<void> {
    this.#records.push(record);
    const { evaluation } = record;
    const better = evaluation !== undefined && isBetter(evaluation, this.#best);
    const due = last || (record.step + 1) % this.#options.every === 0;
    if (!better && !due) return;
    const state = await this.#session.state();
    if (better) {
      this.#best = { step: record.step, evaluation, parameters: new Map([...state.parameters, ...state.buffers]) };
    }
    if (!due) return;
    const { dir, keep, experiment = null } = this.#options;
    await writeCheckpoint(
      dir,
      {
        ...state,
        step: record.step + 1,
        identity: this.#beginning.identity,
        experiment,
        records: this.#records,
        best: this.#best,
      },
      { keep },
    );
  }
}

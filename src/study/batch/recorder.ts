import type { Journal } from '../journal.ts';
import type { StudyPart } from './options.ts';
import type { BatchTables, TableName } from './tables.ts';

/** What the parts of a study report to, and take from, the one who runs it. */
export interface Recorder {
  /** Keeps results of tasks; takes what an earlier run of the study has finished. */
  readonly journal: Journal;
  /** A finished row. */
  add<N extends TableName>(table: N, row: BatchTables[N][number]): void;
  /** `done` of `total` tasks of a part are behind; `what` is next. */
  progress(part: StudyPart, done: number, total: number, what: string): void;
  readonly signal: AbortSignal | undefined;
}

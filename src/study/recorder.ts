import { requireKinds } from '../core/options.ts';
import { pauses } from '../partition/pause.ts';
import { type Journal, memoryJournal } from './journal.ts';

/** What the parts of a study report to, and take from, the one who runs it. `Tables`: rows by the name of their table. */
export interface StudyRecorder<Tables, Part extends string> {
  /** Keeps results of tasks; takes what an earlier run of the study has finished. */
  readonly journal: Journal;
  /** A finished row. */
  add<N extends keyof Tables>(table: N, row: RowOf<Tables[N]>): void;
  /** `done` of `total` tasks of a part are behind; `what` is next. */
  progress(part: Part, done: number, total: number, what: string): void;
  readonly signal: AbortSignal | undefined;
}

export type RowOf<T> = T extends readonly (infer R)[] ? R : never;

/** The recorder, which beside passing rows on collects them; without one nothing is kept or told. */
export function collecting<Tables, Part extends string>(
  names: readonly (keyof Tables)[],
  given: Partial<StudyRecorder<Tables, Part>>,
): { recorder: StudyRecorder<Tables, Part>; tables: Tables } {
  const rows = new Map<keyof Tables, unknown[]>(names.map((name) => [name, []]));
  const recorder: StudyRecorder<Tables, Part> = {
    journal: given.journal ?? memoryJournal(),
    add: (table, row) => {
      rows.get(table)!.push(row);
      given.add?.(table, row);
    },
    progress: given.progress ?? (() => {}),
    signal: given.signal,
  };
  return { recorder, tables: Object.fromEntries(rows) as Tables };
}

/** Throws UsageError for what is no design of a study, or no options of one; `lists`: keys of both that must be lists. */
export function requireStudy(
  what: string,
  design: unknown,
  options: unknown,
  lists: { readonly design: readonly string[]; readonly options: readonly string[] },
): void {
  requireKinds(what, { design: ['record', design], options: ['record', options] });
  for (const [name, value, keys] of [
    ['design', design, lists.design],
    ['options', options, lists.options],
  ] as const) {
    const given = value as Readonly<Record<string, unknown>>;
    for (const key of keys) requireKinds(what, { [`${name}.${key}`]: ['list', given[key]] });
  }
}

/**
 * What to await between tasks that compute in this thread: a signal of the process is not heard before it is idle. Rejects with
 * the signal's reason once that is aborted.
 */
export function breathing(signal: AbortSignal | undefined): () => Promise<void> {
  const pause = pauses(signal);
  return async () => {
    await pause();
    signal?.throwIfAborted();
  };
}

/**
 * What a study has finished, a line of JSON each, written at once: a study that was interrupted and is started again in the
 * same folder takes these results instead of running their tasks again.
 */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { appendWhole } from '../formats/append.ts';

export interface Journal {
  /** The stored result of this task, or that of `run`, which is then stored. A task under way is not begun twice. */
  once<T>(task: unknown, run: () => Promise<T>): Promise<T>;
  /** Results that were taken from the file. */
  readonly reused: number;
}

/** A journal without a file: the same task still runs once. */
export const memoryJournal = (): Journal => makeJournal(new Map(), () => {});

export function fileJournal(file: string): Journal {
  const stored = new Map<string, unknown>();
  let torn = false;
  if (existsSync(file)) {
    const text = readFileSync(file, 'utf8');
    torn = text !== '' && !text.endsWith('\n');
    for (const line of text.split('\n')) {
      const entry = whole(line);
      if (entry) stored.set(entry.key, entry.result);
    }
  }
  // A last line that a crash cut off gets its end first, so that the next one is whole.
  if (torn) appendWhole(file, '\n');
  return makeJournal(stored, (key, task, result) => {
    const entry = { key, task, result, sum: keyOf([key, result]) };
    appendWhole(file, `${JSON.stringify(entry)}\n`);
  });
}

function makeJournal(
  stored: ReadonlyMap<string, unknown>,
  store: (key: string, task: unknown, result: unknown) => void,
): Journal {
  const begun = new Map<string, Promise<unknown>>();
  let reused = 0;
  return {
    get reused() {
      return reused;
    },
    once<T>(task: unknown, run: () => Promise<T>): Promise<T> {
      const key = keyOf(task);
      let result = begun.get(key);
      if (!result) {
        if (stored.has(key)) {
          reused++;
          result = Promise.resolve(stored.get(key));
        } else {
          result = run().then((value) => {
            store(key, task, value);
            return value;
          });
        }
        begun.set(key, result);
      }
      return result as Promise<T>;
    },
  };
}

const keyOf = (task: unknown): string => createHash('sha256').update(JSON.stringify(task)).digest('hex').slice(0, 32);

/**
 * The entry of a line; undefined where it is torn or has changed: its task then runs again. Earlier versions wrote no sum,
 * and what they finished still counts where its key is that of its task.
 */
function whole(line: string): { key: string; result: unknown } | undefined {
  if (line === '') return undefined;
  try {
    const entry = JSON.parse(line) as Record<string, unknown>;
    const { key, task, result } = entry;
    const isWhole = 'sum' in entry ? entry.sum === keyOf([key, result]) : 'result' in entry && key === keyOf(task);
    return typeof key === 'string' && isWhole ? { key, result } : undefined;
  } catch {
    return undefined;
  }
}

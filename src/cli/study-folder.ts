/** What all studies do with their folder: it is found, rows and finished tasks go into it as they come, and at the end the page. */
import { join } from 'node:path';
import { PartitaError, UsageError } from '../core/errors.ts';
import { formatSeconds, wrap } from '../core/format.ts';
import { removeLeftovers, writeFileAtomic } from '../formats/atomic.ts';
import { type FolderLock, type FolderUse, lockFolder } from '../formats/folder-lock.ts';
import { makeFolder } from '../formats/make-folder.ts';
import { fileJournal } from '../study/journal.ts';
import type { StudyRecorder } from '../study/recorder.ts';
import { type Row, tableFile } from '../study/table-file.ts';
import type { Experiment } from '../train/experiment/schema.ts';
import { type Invocation, pathOf } from './invocation.ts';
import { freeFolder } from './run-folder.ts';

/** Two studies in one folder would mix their tables. */
const study: FolderUse = {
  file: '.study.lock',
  code: 'study-dir-locked',
  who: 'a study',
  does: 'writes its files there',
  flag: '--study-dir',
};

/**
 * The folder that is asked for, or a new one named after the model; held from other studies until it is disposed of. Throws
 * PartitaError where one holds it; nothing in it is touched then.
 */
export async function openFolder(invocation: Invocation, model: string, experiment: Experiment): Promise<FolderLock> {
  const [dir, out] = [pathOf(invocation, 'studyDir', 'a folder'), pathOf(invocation, 'out', 'a folder')];
  if (dir !== undefined && out !== undefined && dir !== out) {
    throw new UsageError('command-line', '--study-dir and --out name two folders', { remedy: `--study-dir ${dir}` });
  }
  const given = dir ?? out;
  let folder: FolderLock;
  try {
    folder = lockFolder(given === undefined ? freeFolder('studies', model) : makeFolder(given), study);
  } catch (cause) {
    if (cause instanceof PartitaError) throw cause;
    throw new PartitaError('study-folder', `cannot make the study's folder: ${(cause as Error).message}`, {
      fields: { path: given ?? 'studies' },
      remedy: '--study-dir FOLDER',
      cause,
    });
  }
  try {
    await removeLeftovers(folder.dir);
    await writeFileAtomic(join(folder.dir, 'experiment.json'), `${JSON.stringify(experiment, null, 2)}\n`);
  } catch (error) {
    folder[Symbol.dispose]();
    throw error;
  }
  return folder;
}

/** Keeps finished tasks and rows as they come, and tells of the progress. */
export function recorderOf<Tables, Part extends string>(
  invocation: Invocation,
  folder: string,
  columns: Readonly<Record<keyof Tables & string, readonly PropertyKey[]>>,
): StudyRecorder<Tables, Part> {
  const files = new Map<keyof Tables, (row: Row) => void>();
  let told = 0;
  return {
    journal: fileJournal(join(folder, 'finished.jsonl')),
    signal: invocation.signal,
    add: (table, row) => {
      let append = files.get(table);
      if (!append) {
        const name = table as keyof Tables & string;
        files.set(table, (append = tableFile(join(folder, fileOf(name)), columns[name] as readonly string[])));
      }
      append(row as unknown as Row);
    },
    progress: (part, done, total, what) => {
      const now = performance.now();
      if (invocation.quiet || (done < total && now - told < 1000 * secondsBetweenLines)) return;
      told = now;
      process.stderr.write(`${part} ${done}/${total}  ${what}\n`);
    },
  };
}

const secondsBetweenLines = 2;

/** `cut-training.csv` */
const fileOf = (table: string): string => `${table.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)}.csv`;

interface FinishedStudy {
  readonly summary: readonly { readonly question: string; readonly text: string }[];
  readonly tables: object;
}

/** Writes study.json and index.html, and tells the answers. `page` loads the drawing library, and nothing else does. */
export async function finishStudy<S extends FinishedStudy>(
  invocation: Invocation,
  study: S,
  page: (study: S) => Promise<string>,
  { folder, reused, began }: { readonly folder: string; readonly reused: number; readonly began: number },
): Promise<void> {
  const tables = Object.entries(study.tables as Record<string, readonly unknown[]>);
  const files = [
    'index.html',
    'study.json',
    ...tables.flatMap(([name, rows]) => (rows.length > 0 ? [fileOf(name)] : [])),
  ];
  const result = { ...study, folder, files };
  await writeFileAtomic(join(folder, 'study.json'), `${JSON.stringify(result, null, 1)}\n`);
  await writeFileAtomic(join(folder, 'index.html'), await page(study));
  if (invocation.json) process.stdout.write(`${JSON.stringify(result)}\n`);
  else if (!invocation.quiet) {
    const claims = study.summary.map(({ question, text }) => `${question}\n${wrap(text, '  ', 100)}`);
    const again = reused > 0 ? `, ${reused} results taken from before` : '';
    process.stdout.write(
      `${claims.join('\n\n')}\n\n${formatSeconds((performance.now() - began) / 1000)}${again}\nWritten to ${join(folder, 'index.html')}\n`,
    );
  }
}

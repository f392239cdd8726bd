/** The folder of a training: params.safetensors, best.safetensors, result.json, log.jsonl, plan.json, experiment.json. */
import { closeSync, constants, mkdirSync, openSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { PartitaError } from '../core/errors.ts';
import { appendTo } from '../formats/append.ts';
import { removeLeftovers, writeFileAtomic } from '../formats/atomic.ts';
import { type FolderLock, type FolderUse, lockFolder, refuseHeldFolder } from '../formats/folder-lock.ts';
import { makeFolder } from '../formats/make-folder.ts';
import { writeFailed } from '../formats/write-failed.ts';

/** Two trainings in one folder would replace each other's files. */
const run: FolderUse = {
  file: '.run.lock',
  code: 'run-dir-locked',
  who: 'a training',
  does: 'writes its files there',
  flag: '--run-dir',
};

/** Throws PartitaError where another training holds the folder: before a plan is made for this one. */
export function refuseHeldRun(path: string): void {
  try {
    refuseHeldFolder(path, run);
  } catch (error) {
    if (error instanceof PartitaError) throw error; // any other is told where the folder is made
  }
}

/** As 'w', and what is cut off a line leaves no hole: each is written at the end. */
const emptied = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_APPEND;

export class RunFolder implements Disposable {
  readonly path: string;
  readonly #lock: FolderLock;
  readonly #log: number;

  /**
   * `path`: made where it is missing. Without one, the first of runs/NAME-1, runs/NAME-2 … that is free. Held from other
   * trainings until it is disposed of. Throws PartitaError where one holds it; nothing in it is touched then.
   */
  constructor(path: string | undefined, name: string) {
    let lock: FolderLock | undefined;
    try {
      this.path = path === undefined ? freeFolder('runs', name) : makeFolder(path);
      this.#lock = lock = lockFolder(this.path, run);
      this.#log = openSync(join(this.path, 'log.jsonl'), emptied);
    } catch (cause) {
      lock?.[Symbol.dispose]();
      if (cause instanceof PartitaError) throw cause;
      throw new PartitaError('run-folder', `cannot make the run's folder: ${(cause as Error).message}`, {
        fields: { path: path ?? 'runs' },
        remedy: '--run-dir FOLDER',
        cause,
      });
    }
  }

  /** Appends a line to log.jsonl at once, so that it is there whatever comes. */
  log(record: unknown): void {
    try {
      appendTo(this.#log, `${JSON.stringify(record)}\n`);
    } catch (cause) {
      throw writeFailed(join(this.path, 'log.jsonl'), cause);
    }
  }

  /** Removes what a training before has left and this one may not replace: its best parameters, half-written files. */
  async clear(): Promise<void> {
    rmSync(join(this.path, 'best.safetensors'), { force: true });
    await removeLeftovers(this.path);
  }

  write(name: string, content: Uint8Array | string): Promise<void> {
    return writeFileAtomic(join(this.path, name), content);
  }

  [Symbol.dispose](): void {
    closeSync(this.#log);
    this.#lock[Symbol.dispose]();
  }
}

/** Makes the first of PARENT/NAME-1, PARENT/NAME-2 … that is free. */
export function freeFolder(parent: string, name: string): string {
  makeFolder(parent);
  for (let n = 1; ; n++) {
    const path = join(parent, `${name}-${n}`);
    try {
      mkdirSync(path);
      return path;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
  }
}

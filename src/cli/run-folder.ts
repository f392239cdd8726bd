/** The folder of a training: params.safetensors, best.safetensors, result.json, log.jsonl, plan.json, experiment.json. */
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { PartitaError } from '../core/errors.ts';
import { removeLeftovers, writeFileAtomic } from '../formats/atomic.ts';
import { makeFolder } from '../formats/make-folder.ts';

export class RunFolder implements Disposable {
  readonly path: string;
  readonly #log: number;

  /** `path`: made where it is missing. Without one, the first of runs/NAME-1, runs/NAME-2 … that is free. */
  constructor(path: string | undefined, name: string) {
    try {
      this.path = path === undefined ? freeFolder('runs', name) : makeFolder(path);
      this.#log = openSync(join(this.path, 'log.jsonl'), 'w');
    } catch (cause) {
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
    writeSync(this.#log, `${JSON.stringify(record)}\n`);
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

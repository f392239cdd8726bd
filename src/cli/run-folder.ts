/** The folder of a training: params.safetensors, result.json, log.jsonl, plan.json, experiment.json. */
import { closeSync, existsSync, mkdirSync, openSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { PartitaError } from '../core/errors.ts';
import { writeFileAtomic } from '../formats/atomic.ts';

export class RunFolder implements Disposable {
  readonly path: string;
  readonly #log: number;

  /** `path`: made where it is missing. Without one, the first of runs/NAME-1, runs/NAME-2 … that is free. */
  constructor(path: string | undefined, name: string) {
    try {
      this.path = path === undefined ? freeFolder('runs', name) : made(path);
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

  write(name: string, content: Uint8Array | string): Promise<void> {
    return writeFileAtomic(join(this.path, name), content);
  }

  [Symbol.dispose](): void {
    closeSync(this.#log);
  }
}

/** Level by level: where a file system refuses new folders (/proc), Node's own recursive mkdir never returns. */
export function made(path: string): string {
  if (existsSync(path)) return path;
  const parent = dirname(path);
  if (parent !== path) made(parent);
  mkdirSync(path);
  return path;
}

/** Makes the first of PARENT/NAME-1, PARENT/NAME-2 … that is free. */
export function freeFolder(parent: string, name: string): string {
  made(parent);
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

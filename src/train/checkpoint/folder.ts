/**
 * A folder of checkpoints. Each is a folder `step-N` that is whole or absent: a new one is renamed into place before older
 * ones go, so at every moment the newest is one that can be resumed.
 */
import { existsSync, readdirSync, realpathSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { PartitaError, UsageError } from '../../core/errors.ts';
import { checkOptions, requireArgument, requireKinds } from '../../core/options.ts';
import { removeFolder, removeLeftovers, writeFolderAtomic } from '../../formats/atomic.ts';
import { type FolderLock, type FolderUse, lockFolder, refuseHeldFolder } from '../../formats/folder-lock.ts';
import { makeFolder } from '../../formats/make-folder.ts';
import { writeRemedies } from '../../formats/write-failed.ts';
import type { Checkpoint } from './checkpoint.ts';
import { decodeCheckpoint, encodeCheckpoint, stateFile } from './files.ts';

/** A checkpoint that was read from disk. */
export interface StoredCheckpoint extends Checkpoint {
  readonly folder: string;
}

/** Two trainings in one folder would remove each other's checkpoints. */
export const checkpoints: FolderUse = {
  file: '.lock',
  code: 'checkpoint-dir-locked',
  who: 'a training',
  does: 'writes its checkpoints there',
  flag: '--checkpoint.dir',
};

interface Entry {
  readonly step: number;
  readonly folder: string;
}

/** The checkpoints in a folder, oldest first; none where there is no such folder. */
function entriesOf(dir: string): Entry[] {
  if (!existsSync(dir) || !statSync(dir).isDirectory()) return [];
  return readdirSync(dir)
    .flatMap((name) => {
      const step = /^step-(0|[1-9]\d*)$/.exec(name)?.[1];
      return step === undefined ? [] : [{ step: Number(step), folder: join(dir, name) }];
    })
    .sort((a, b) => a.step - b.step);
}

/** Steps that the newest checkpoint in a folder holds; undefined where there is none. */
export const newestStep = (dir: string): number | undefined => entriesOf(dir).at(-1)?.step;

/**
 * Reads a checkpoint: the newest in a folder of them, or the one that `folder` is itself (`…/step-120`). Everything is
 * read and checked before this returns. Throws UsageError where there is none, FormatError where it is damaged; then the
 * remedy names the newest older one that is whole.
 */
export function readCheckpoint(folder: string): StoredCheckpoint {
  requireArgument('readCheckpoint', typeof folder === 'string', 'a folder', folder, "readCheckpoint('checkpoints')");
  const itself = existsSync(join(folder, stateFile)) || /^step-\d+$/.test(basename(resolve(folder)));
  const newest = itself && existsSync(folder) ? { folder } : entriesOf(folder).at(-1);
  if (!newest) {
    const what = existsSync(folder) ? 'holds no checkpoint' : 'there is no such folder';
    throw new UsageError('checkpoint-none', `${folder}: ${what}`, {
      fields: { folder },
      remedy: 'leave --resume out to begin, or give the folder that --checkpoint.dir named',
    });
  }
  try {
    return { ...decodeCheckpoint(newest.folder), folder: newest.folder };
  } catch (error) {
    if (!(error instanceof PartitaError) || error.code !== 'checkpoint-damaged') throw error;
    const older = wholeBefore(newest.folder);
    throw new (error.constructor as typeof PartitaError)(error.code, error.message, {
      fields: { ...error.fields, older: older ?? null },
      remedy: older === undefined ? 'begin again without --resume, in another --checkpoint.dir' : `--resume ${older}`,
      cause: error.cause,
    });
  }
}

/** The newest whole checkpoint beside a damaged one, of an earlier step. */
function wholeBefore(damaged: string): string | undefined {
  const all = entriesOf(dirname(damaged));
  const at = all.findIndex(({ folder }) => basename(folder) === basename(resolve(damaged)));
  return all
    .slice(0, Math.max(0, at))
    .reverse()
    .find(({ folder }) => {
      try {
        decodeCheckpoint(folder);
        return true;
      } catch {
        return false;
      }
    })?.folder;
}

/**
 * Makes the folder ready for a training's checkpoints: made where it is missing, rid of what killed processes left, and
 * with `hold` kept from others until the lock is disposed of. Throws UsageError where it holds checkpoints that this
 * training does not go on from, as they would be mixed up, and PartitaError where another training holds it.
 */
export async function openCheckpointFolder(
  dir: string,
  resumed: { readonly folder: string } | undefined,
  hold: boolean,
): Promise<FolderLock | undefined> {
  // What is found behind the lock stays so.
  const lock = hold ? lockCheckpointFolder(dir) : undefined;
  try {
    if (!hold) refuseHeldFolder(dir, checkpoints);
    const existing = entriesOf(dir);
    if (existing.length > 0 && !(resumed && isIn(resumed.folder, dir))) {
      throw new UsageError(
        'checkpoint-dir-taken',
        `${dir} holds checkpoints of a training that this one does not resume (up to step ${existing.at(-1)!.step})`,
        {
          fields: { dir, steps: existing.map(({ step }) => step) },
          remedy: `--resume ${dir}, or another --checkpoint.dir`,
        },
      );
    }
    makeFolder(dir);
    await removeLeftovers(dir);
    return lock;
  } catch (error) {
    lock?.[Symbol.dispose]();
    throw error instanceof PartitaError ? error : cannotKeep(dir, error);
  }
}

function lockCheckpointFolder(dir: string): FolderLock {
  try {
    return lockFolder(makeFolder(dir), checkpoints);
  } catch (error) {
    throw error instanceof PartitaError ? error : cannotKeep(dir, error);
  }
}

function cannotKeep(dir: string, cause: unknown): PartitaError {
  const { code, message } = cause as NodeJS.ErrnoException;
  return new PartitaError('checkpoint-dir', `cannot keep checkpoints in ${dir}: ${message}`, {
    fields: { dir, cause: code ?? null },
    remedy: '--checkpoint.dir FOLDER',
    cause,
  });
}

const isIn = (folder: string, dir: string): boolean =>
  existsSync(folder) && existsSync(dir) && realpathSync(dirname(resolve(folder))) === realpathSync(dir);

/** One to go on from, and one before it for when the disk has damaged that. */
export const defaultKeep = 2;

/**
 * Writes `dir/step-N` and then removes all but the newest `keep`. Those of later steps go too: they are of a training that
 * was taken up again before them. A failure leaves what was there. Returns the checkpoint's folder.
 */
export async function writeCheckpoint(
  dir: string,
  checkpoint: Checkpoint,
  options: { readonly keep?: number } = {},
): Promise<string> {
  requireKinds('writeCheckpoint', { dir: ['text', dir], checkpoint: ['object', checkpoint] });
  requireKinds('writeCheckpoint', { step: ['index', checkpoint.step] });
  checkOptions('writeCheckpoint', options, { keep: 'count' });
  const { keep = defaultKeep } = options;
  const { step } = checkpoint;
  const folder = join(dir, `step-${step}`);
  const before = entriesOf(dir).filter((e) => e.step !== step);
  try {
    makeFolder(dir);
    await writeFolderAtomic(folder, encodeCheckpoint(checkpoint));
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    const kept = entriesOf(dir).at(-1);
    const fate = kept ? `; that of step ${kept.step} is kept` : '';
    throw new PartitaError(
      'checkpoint-write',
      `cannot write the checkpoint of step ${step} in ${dir}: ${message}${fate}`,
      {
        fields: { dir, step, cause: code ?? null, kept: kept?.folder ?? null },
        remedy: `${remedies[code ?? ''] ?? 'see that the folder can be written'}${kept ? `, then --resume ${dir}` : ''}`,
        cause,
      },
    );
  }
  const later = before.filter((e) => e.step > step);
  const earlier = before.filter((e) => e.step < step);
  for (const { folder: old } of [...later, ...earlier.slice(0, Math.max(0, earlier.length - (keep - 1)))]) {
    await removeOld(old, folder);
  }
  return folder;
}

async function removeOld(old: string, written: string): Promise<void> {
  try {
    await removeFolder(old);
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    throw new PartitaError('checkpoint-remove', `${written} is written, but ${old} cannot be removed: ${message}`, {
      fields: { folder: written, old, cause: code ?? null },
      remedy: `${remedies[code ?? ''] ?? `remove ${old}`}, then --resume ${written}`,
      cause,
    });
  }
}

const remedies: Readonly<Record<string, string>> = {
  ...writeRemedies,
  EROFS: 'give a folder that can be written to with --checkpoint.dir',
};

// A disk that fails in the midst of a checkpoint: a clear error, and the checkpoint before is kept.
import { chmodSync, chownSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import type { PartitaError } from '../../src/core/errors.ts';
import { writeFolderAtomic } from '../../src/formats/atomic.ts';
import { openCheckpointFolder } from '../../src/train/checkpoint/folder.ts';
import { Session } from '../../src/train/session.ts';
import { train } from '../../src/train/trainer.ts';
import { stateful } from '../support/stateful.ts';
import { expectUntouched, failing, newFolder, run } from './checkpoint-runs.ts';

interface Fault {
  readonly call: string;
  readonly path: RegExp;
  readonly code: string;
  /** Fails at the first such call only. */
  readonly once?: boolean;
}
const disk = vi.hoisted(() => ({ fail: undefined as undefined | Fault }));
vi.mock('node:fs/promises', async (original) => {
  const real = await original<typeof import('node:fs/promises')>();
  const guard = <A extends unknown[], R>(call: string, of: (...args: A) => Promise<R>) => {
    return async (...args: A): Promise<R> => {
      if (disk.fail?.call === call && disk.fail.path.test(String(args[0]))) {
        const { code, once } = disk.fail;
        if (once) disk.fail = undefined;
        throw Object.assign(new Error(`${code}: injected, ${call} '${args[0]}'`), { code });
      }
      return of(...args);
    };
  };
  const open: typeof real.open = async (path, ...rest) => {
    const file = await guard('open', real.open)(path, ...rest);
    const { writeFile, sync } = file;
    file.writeFile = ((content: string) =>
      guard('write', (_: unknown, c: string) => writeFile.call(file, c))(path, content)) as typeof file.writeFile;
    file.sync = () => guard('sync', (_: unknown) => sync.call(file))(path);
    return file;
  };
  return { ...real, open, mkdir: guard('mkdir', real.mkdir as never), rename: guard('rename', real.rename) };
});

describe('a failing disk', () => {
  const faults: [call: string, path: RegExp, code: string, remedy: string][] = [
    ['mkdir', /step-/, 'EACCES', 'make the folder writable'],
    ['open', /params/, 'EROFS', '--checkpoint.dir'],
    ['write', /optimizer/, 'ENOSPC', 'free some space'],
    ['write', /state\.json/, 'ENOSPC', 'free some space'],
    ['sync', /history/, 'EIO', 'see that the folder can be written'],
    ['rename', /step-6.*tmp/, 'ENOSPC', 'free some space'],
  ];
  it.each(faults)('of %s at %s (%s) ends the training, and the checkpoint before is kept', async (...fault) => {
    const [call, path, code, remedy] = fault;
    const dir = newFolder();
    const { plan, seed, training } = stateful();
    await using session = await Session.open(plan, { seed, transport: 'local', audit: false });
    const steps: number[] = [];
    const failed = (async () => {
      for await (const { step } of train({ session, ...training, steps: 9, checkpoint: { dir, every: 3 } })) {
        steps.push(step);
        if (step === 4) disk.fail = { call, path, code };
      }
    })();
    await expect(failed).rejects.toThrow(failing('checkpoint-write', 'step 6', code, 'that of step 3 is kept'));
    disk.fail = undefined;
    expect(steps).toEqual([0, 1, 2, 3, 4]);
    const error = (await failed.catch((e: unknown) => e)) as PartitaError;
    expect(error.remedy).toContain(remedy);
    expect(error.remedy).toContain(`--resume ${dir}`);
    expect(error.fields).toMatchObject({ cause: code, kept: join(dir, 'step-3') });
    expect(readdirSync(dir)).toEqual(['step-3']);
    const { bits } = await run({}, { steps: 9, checkpoint: { dir, every: 3 }, resume: dir });
    expect(bits).toEqual((await run({}, { steps: 9 })).bits);
  });

  it('that keeps an old checkpoint from being removed is told, and the new one is whole', async () => {
    const dir = newFolder();
    await run({}, { steps: 3, checkpoint: { dir, every: 3 } });
    disk.fail = { call: 'rename', path: /step-3$/, code: 'EACCES' };
    const failed = run({}, { steps: 8, checkpoint: { dir, every: 3, keep: 1 }, resume: dir });
    await expect(failed).rejects.toThrow(failing('checkpoint-remove', 'step-6 is written', 'step-3 cannot be removed'));
    disk.fail = undefined;
    expect(readdirSync(dir).sort()).toEqual(['step-3', 'step-6']);
    const { bits } = await run({}, { steps: 8, checkpoint: { dir, every: 3, keep: 1 }, resume: dir });
    expect(bits).toEqual((await run({}, { steps: 8 })).bits);
    expect(readdirSync(dir)).toEqual(['step-8']);
  });

  it('keeps the newest of several', async () => {
    const dir = newFolder();
    const checkpoint = { dir, every: 1 };
    await run({}, { steps: 2, checkpoint });
    disk.fail = { call: 'rename', path: /step-3.*tmp/, code: 'ENOSPC' };
    const failed = run({}, { steps: 3, checkpoint, resume: dir });
    await expect(failed).rejects.toThrow(failing('checkpoint-write', 'step 3', 'that of step 2 is kept'));
    disk.fail = undefined;
    expect(readdirSync(dir).sort()).toEqual(['step-1', 'step-2']);
  });

  it('leaves a folder that was to be replaced as it was', async () => {
    const dir = newFolder();
    const path = join(dir, 'step-1');
    const write = (text: string) => writeFolderAtomic(path, new Map([['a', text]]));
    await write('old');
    disk.fail = { call: 'rename', path: /\.tmp$/, code: 'EIO', once: true };
    await expect(write('new')).rejects.toThrow('EIO');
    expect([readdirSync(dir), readFileSync(join(path, 'a'), 'utf8')]).toEqual([['step-1'], 'old']);
    await write('new');
    expect([readdirSync(dir), readFileSync(join(path, 'a'), 'utf8')]).toEqual([['step-1'], 'new']);
  });

  it('is told before the first step where the folder cannot be made', async () => {
    const file = join(newFolder(), 'file');
    writeFileSync(file, '');
    for (const dir of [join(file, 'c'), file, '/proc/checkpoints']) {
      if (dir.startsWith('/proc') && !existsSync('/proc')) continue;
      await expectUntouched({}, { steps: 1, checkpoint: { dir } }, 'checkpoint-dir');
      await expect(openCheckpointFolder(dir, undefined, false)).rejects.toMatchObject({ code: 'checkpoint-dir' });
    }
  });

  it('of a folder without permission to write is told as such', async () => {
    const dir = newFolder();
    chmodSync(dir, 0o500);
    // The superuser may write everywhere: for this test it is nobody.
    const nobody = 65534;
    const isRoot = process.getuid?.() === 0;
    if (isRoot) {
      chownSync(dir, nobody, nobody);
      process.seteuid?.(nobody);
    }
    try {
      await expect(run({}, { steps: 1, checkpoint: { dir } })).rejects.toThrow(failing('checkpoint-dir', 'EACCES'));
    } finally {
      if (isRoot) process.seteuid?.(0);
    }
  });
});

import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { type FolderUse, lockFolder, refuseHeldFolder } from '../../src/formats/folder-lock.ts';

const use: FolderUse = { file: '.own', code: 'own-locked', who: 'a test', does: 'writes there', flag: '--own' };
const other: FolderUse = { ...use, file: '.other' };
const newFolder = () => mkdtempSync(join(tmpdir(), 'partita-lock-'));
const held = (dir: string, who: string) =>
  expect.objectContaining({ code: 'own-locked', message: `${dir}: a test of ${who} writes there` });

/** Status letter of /proc/PID/stat. */
const stateOf = (pid: number): string => readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /s, '')[0]!;

describe('the lock of a folder', () => {
  it('keeps others out for its own use only, and leaves nothing', () => {
    const dir = newFolder();
    {
      using _one = lockFolder(dir, use);
      using _two = lockFolder(dir, other);
      expect(readdirSync(dir).sort()).toEqual(['.other', '.own']);
      expect(() => lockFolder(dir, use)).toThrow(held(dir, 'this process'));
      expect(() => refuseHeldFolder(dir, use)).toThrow(held(dir, 'this process'));
      expect(readdirSync(dir).sort()).toEqual(['.other', '.own']);
    }
    expect(readdirSync(dir)).toEqual([]);
  });

  it('of another machine is told as such', () => {
    const dir = newFolder();
    writeFileSync(join(dir, '.own'), JSON.stringify({ pid: 7, host: `not-${hostname()}`, began: null }));
    expect(() => lockFolder(dir, use)).toThrow(held(dir, `process 7 on not-${hostname()}`));
  });

  // A shell that becomes another program never asks for the child that it had; the child ends when it has become that.
  it.runIf(existsSync('/proc/self/stat'))(
    'is taken over from a process that has ended and was not asked for',
    async () => {
      const child = 'until [ "$(cat /proc/$$/comm)" = sleep ]; do :; done';
      const parent: ChildProcess = spawn('sh', ['-c', `(${child}) & echo $!; exec sleep 60`], {
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      try {
        const pid = Number(await new Promise((resolve) => parent.stdout!.once('data', resolve)));
        while (stateOf(pid) !== 'Z') await setTimeout(5);
        const dir = newFolder();
        writeFileSync(join(dir, '.own'), JSON.stringify({ pid, host: hostname(), began: null }));
        using lock = lockFolder(dir, use);
        expect(lock.dir).toBe(dir);
        // While its parent lives.
        writeFileSync(join(dir, '.other'), JSON.stringify({ pid: parent.pid, host: hostname(), began: null }));
        expect(() => lockFolder(dir, other)).toThrow(held(dir, `process ${parent.pid}`));
      } finally {
        parent.kill('SIGKILL');
      }
    },
  );
});

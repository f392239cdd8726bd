// Who reads what the command prints may go away, and a disk that takes it may fill up.
import { spawn } from 'node:child_process';
import { closeSync, existsSync, openSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { packageRoot } from '../../src/core/package-root.ts';
import { digits, spawned, workFolder } from './run.ts';

const train = ['train', ...digits, '--steps', '40', '--run-dir', 'run'];

/** The exit code, and what stands on standard error, of the command with a file as standard output or error. */
function redirected(folder: string, args: readonly string[], to: { stdout?: string; stderr?: string }) {
  const files = [to.stdout, to.stderr].map((path) => (path === undefined ? ('pipe' as const) : openSync(path, 'w')));
  return new Promise<{ code: number | null; stderr: string }>((resolve, reject) => {
    const main = join(packageRoot(), 'dist', 'cli', 'main.cjs');
    const child = spawn(process.execPath, [main, ...args], { cwd: folder, stdio: ['ignore', ...files] });
    let stderr = '';
    child.stdout?.resume();
    child.stderr?.on('data', (chunk) => (stderr += chunk));
    child.on('error', reject);
    child.on('close', (code) => {
      for (const file of files) if (file !== 'pipe') closeSync(file);
      resolve({ code, stderr });
    });
  });
}

describe('a training whose output nobody takes', () => {
  it.each(['stdout', 'stderr'] as const)('goes on to its end: %s is a pipe that is closed', async (name) => {
    const folder = workFolder();
    const { code } = await spawned(folder, train, (child) => child[name]!.destroy());
    expect(code).toBe(0);
    expect(readdirSync(join(folder, 'run'))).toContain('result.json');
  });

  // A device of Linux that is always full.
  const full = '/dev/full';
  it.runIf(existsSync(full))('goes on where standard error is on a full disk', async () => {
    const folder = workFolder();
    expect(await redirected(folder, train, { stderr: full })).toMatchObject({ code: 0 });
    expect(readdirSync(join(folder, 'run'))).toContain('result.json');
    expect((await redirected(folder, ['trian'], { stderr: full })).code).toBe(2);
  });

  it.runIf(existsSync(full)).each([['--help'], ['--version'], ['train', '--help']])(
    'is a failure of what is only told, too: %s %s',
    async (...args) => {
      const { code, stderr } = await redirected(workFolder(), args.filter(Boolean), { stdout: full });
      expect({ code, stderr }).toEqual({
        code: 1,
        stderr: expect.stringContaining('partita: cannot write to standard output: ENOSPC'),
      });
    },
  );

  it.runIf(existsSync(full)).each([[[]], [['--json', '--quiet']]])(
    'ends with an error where standard output is: %j',
    async (more) => {
      const folder = workFolder();
      const { code, stderr } = await redirected(folder, [...train, ...more], { stdout: full });
      expect(code).toBe(1);
      expect(stderr).toContain('partita: cannot write to standard output: ENOSPC');
      expect(stderr).not.toContain(' at ');
      expect(readdirSync(join(folder, 'run')).filter((name) => name.startsWith('.'))).toEqual([]);
    },
  );
});

import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { packageRoot } from '../../src/core/package-root.ts';
import { type Outcome, runCommand } from '../support/command.ts';

export type { Outcome };

const main = join(packageRoot(), 'dist', 'cli', 'main.cjs');

/** A folder of its own for the files of a test. */
export const workFolder = (): string => mkdtempSync(join(tmpdir(), 'partita-cli-'));

/** Runs the built command: its exit code, and what it prints. */
export const partita = (cwd: string, args: readonly string[]): Promise<Outcome> => runCommand(cwd, args);

/** Runs it as a user does, in a process of its own, which has to end by itself; detached, with a process group of its own. */
export function spawned(
  cwd: string,
  args: readonly string[],
  started?: (child: ChildProcess) => void,
  { detached = false }: { readonly detached?: boolean } = {},
): Promise<Outcome> {
  if (!existsSync(main)) throw new Error(`${main} is missing: npm run build`);
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [main, ...args], {
      cwd,
      detached,
      env: { ...process.env, NO_COLOR: '1' },
    });
    let [stdout, stderr] = ['', ''];
    child.stdout.on('data', (chunk) => (stdout += chunk));
    child.stderr.on('data', (chunk) => (stderr += chunk));
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, stdout, stderr }));
    started?.(child);
  });
}

export const digits = ['--model.kind', 'mlp', '--model.hidden', '16', '--data.kind', 'digits'] as const;

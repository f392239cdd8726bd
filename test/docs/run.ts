import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { packageRoot } from '../../src/core/package-root.ts';
import { type Outcome, runCommand } from '../support/command.ts';

export const rootFile = (path: string): string => join(packageRoot(), path);
export const textOf = (path: string): string => readFileSync(rootFile(path), 'utf8');

/** Code blocks of a Markdown text in one language, in order. */
export const blocksOf = (markdown: string, language: string): string[] =>
  [...markdown.matchAll(/^```(\w*)\n(.*?)^```$/gms)].filter((m) => m[1] === language).map((m) => m[2]!);

/** A folder in which the documented commands find what they find in the project's, and leave their files behind. */
export function documentedFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'partita-docs-'));
  symlinkSync(rootFile('examples'), join(folder, 'examples'));
  return folder;
}

/** Runs node as a user would: built code, without the audit that the suite's own sessions run under. */
export function node(args: readonly string[], cwd = packageRoot()): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { cwd, env: { ...process.env, NO_COLOR: '1', PARTITA_AUDIT: '' } });
    let [stdout, stderr] = ['', ''];
    child.stdout.on('data', (chunk) => (stdout += chunk));
    child.stderr.on('data', (chunk) => (stderr += chunk));
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, stdout, stderr }));
  });
}

/** Runs a documented `npx partita …` line, with more flags behind it: the built command, in this process. */
export const documented = (line: string, cwd: string, ...more: string[]): Promise<Outcome> =>
  runCommand(cwd, argumentsOf(line, more), { PARTITA_AUDIT: '' });

/** The same as a user does it, in a process of its own. */
export const asProcess = (line: string, cwd: string, ...more: string[]): Promise<Outcome> =>
  node([rootFile('dist/cli/main.cjs'), ...argumentsOf(line, more)], cwd);

function argumentsOf(line: string, more: readonly string[]): string[] {
  const [npx, partita, ...args] = line.trim().split(/\s+/);
  if (npx !== 'npx' || partita !== 'partita') throw new Error(`not a documented command: ${line}`);
  return [...args, ...more];
}

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { packageRoot } from '../../src/core/package-root.ts';

export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

type RunCommandLine = typeof import('../../src/cli/command-line.ts').runCommandLine;

let last: Promise<unknown> = Promise.resolve();

/**
 * Runs a command line of the built command in this process, which saves the start of another: for tests of what a command does,
 * not of its process. One after the other, since folder, environment and output are the process's own.
 */
export function runCommand(
  cwd: string,
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<Outcome> {
  const outcome = last.then(() => runNow(cwd, args, { NO_COLOR: '1', ...environment }));
  last = outcome.catch(() => {});
  return outcome;
}

async function runNow(cwd: string, args: readonly string[], environment: Readonly<Record<string, string>>) {
  const runCommandLine = await builtCommandLine();
  const undo = [changeFolder(cwd), changeEnvironment(environment)];
  const streams = [process.stdout, process.stderr].map(capture);
  try {
    const code = await runCommandLine(args, {
      signal: new AbortController().signal,
      interrupted: () => 0,
      endAtOnce: () => () => {},
    });
    const [stdout, stderr] = streams.map(({ text }) => text());
    return { code, stdout: stdout!, stderr: stderr! };
  } finally {
    for (const { restore } of streams) restore();
    for (const back of undo) back();
  }
}

async function builtCommandLine(): Promise<RunCommandLine> {
  const file = join(packageRoot(), 'dist', 'cli', 'command-line.js');
  if (!existsSync(file)) throw new Error(`${file} is missing: npm run build`);
  return ((await import(/* @vite-ignore */ pathToFileURL(file).href)) as { runCommandLine: RunCommandLine })
    .runCommandLine;
}

function changeFolder(to: string): () => void {
  const from = process.cwd();
  process.chdir(to);
  return () => process.chdir(from);
}

function changeEnvironment(values: Readonly<Record<string, string>>): () => void {
  const before = Object.keys(values).map((name) => [name, process.env[name]] as const);
  Object.assign(process.env, values);
  return () => {
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  };
}

/** Takes what is written to a stream, as a pipe would. */
function capture(stream: NodeJS.WriteStream): { text: () => string; restore: () => void } {
  const chunks: Buffer[] = [];
  const { write } = stream;
  stream.write = ((chunk: string | Uint8Array, encoding?: unknown, done?: unknown) => {
    chunks.push(Buffer.from(chunk as string));
    const callback = typeof encoding === 'function' ? encoding : done;
    if (typeof callback === 'function') callback();
    return true;
  }) as typeof write;
  return {
    text: () => Buffer.concat(chunks).toString('utf8'),
    restore: () => {
      stream.write = write;
    },
  };
}

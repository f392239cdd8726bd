#!/usr/bin/env node
/** The command `partita` as a process: its arguments, signals and exit code. */
import { runCommandLine } from './command-line.ts';

const controller = new AbortController();
let interrupted = 0;
let isOutputLost = false;
const handlers: readonly (() => () => void)[] = (
  [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const
).map(([signal, code]) => {
  const handler = () => {
    if (interrupted !== 0) process.exit(code);
    interrupted = code;
    controller.abort(new Error(signal));
  };
  process.on(signal, handler);
  return () => {
    process.off(signal, handler);
    return () => process.on(signal, handler);
  };
});
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  // A reader that has seen enough (`partita plan … | head`) is no failure.
  if (error.code === 'EPIPE' || isOutputLost) return;
  isOutputLost = true;
  process.exitCode = 1;
  process.stderr.write(`partita: cannot write to standard output: ${error.message}\n`);
  controller.abort(error);
});
// Progress that nobody reads, or that nothing holds, ends no training (`partita train … 2>&1 | head`).
process.stderr.on('error', () => {});

// Built as CommonJS (scripts/build.mjs), which Node starts sooner, and which cannot await here.
runCommandLine(process.argv.slice(2), {
  signal: controller.signal,
  interrupted: () => interrupted,
  endAtOnce: () => {
    const heard = handlers.map((remove) => remove());
    return () => {
      for (const add of heard) add();
    };
  },
}).then((exitCode) => {
  process.exitCode = isOutputLost && exitCode === 0 ? 1 : exitCode;
});

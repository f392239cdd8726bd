#!/usr/bin/env node
/** The command `partita` as a process: its arguments, signals and exit code. */
import { runCommandLine } from './command-line.ts';

const controller = new AbortController();
let interrupted = 0;
const handlers = (
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
  return () => process.off(signal, handler);
});
// A reader that has seen enough (`partita plan … | head`) is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
});

// Built as CommonJS (scripts/build.mjs), which Node starts sooner, and which cannot await here.
runCommandLine(process.argv.slice(2), {
  signal: controller.signal,
  interrupted: () => interrupted,
  endAtOnce: () => {
    for (const remove of handlers) remove();
  },
}).then((exitCode) => {
  process.exitCode = exitCode;
});

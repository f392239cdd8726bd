/**
 * The user's own line, for errors: the first stack frame outside this package's code, as `\n  at file:line:column`.
 * Looked up only when an error is being made, so building a graph pays nothing for it.
 */
export function callerLine(): string {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = 50;
  const stack = new Error().stack ?? '';
  Error.stackTraceLimit = limit;
  for (const line of stack.split('\n').slice(1)) {
    const at = /\(?((?:file:\/\/|\/|[A-Za-z]:\\)[^()]+:\d+:\d+)\)?$/.exec(line.trim());
    if (at && !isOurs(at[1]!)) return `\n  at ${at[1]!.replace(/^file:\/\//, '')}`;
  }
  return '';
}

/** This file lies somewhere in `src/` or, alone or bundled, in `dist/`: everything in there is the package's own code. */
const ours =
  /.*\/(?:src|dist)\//.exec(new URL(import.meta.url).pathname)?.[0] ?? new URL('.', import.meta.url).pathname;
const isOurs = (location: string): boolean =>
  location.replace(/^file:\/\//, '').startsWith(ours) ||
  location.includes('node:internal') ||
  location.includes('/node_modules/');

import { PartitaError, PlanError, UsageError } from '../core/errors.ts';

/** 2: the command line or the experiment is wrong; 1: anything else. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof UsageError) return 2;
  // A partition written by hand that the model cannot be cut by is part of the experiment.
  if (error instanceof PlanError && error.code.startsWith('partition-')) return 2;
  // So is asking for the same bits with every M of a model that cannot have them.
  if (error instanceof PlanError && error.code.startsWith('invariant-')) return 2;
  return 1;
}

/** `{"error": …}` on standard output and one line on standard error; without --json the line, and the remedy below it. */
export function printFailure(error: unknown, json: boolean): void {
  const known = error instanceof PartitaError ? error : undefined;
  const message = error instanceof Error ? error.message : String(error);
  if (json) {
    const body = known ? known.toJSON() : { code: 'internal', message, remedy: null };
    process.stdout.write(`${JSON.stringify({ version: 1, error: { ...body, message: oneLine(message) } })}\n`);
    process.stderr.write(`${lineOf(error)}\n`);
    return;
  }
  // A list of problems stands below its headline; a single headline of a list says what the list is.
  process.stderr.write(`partita: ${message.startsWith('\n') ? `these are wrong:${message}` : message}\n`);
  if (known?.remedy) process.stderr.write(`  try: ${known.remedy}\n`);
  if (!known && error instanceof Error && process.env.PARTITA_DEBUG) process.stderr.write(`${error.stack}\n`);
}

/** What --json leaves for standard error. */
export const lineOf = (error: unknown): string =>
  `partita: ${oneLine(error instanceof Error ? error.message : String(error))}`;

const oneLine = (text: string): string => text.replace(/:\s*\n\s*(-\s*)?/, ': ').replace(/\s*\n\s*(-\s*)?/g, '; ');

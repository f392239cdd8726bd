// The trial of a native library in a process of its own (src/backends/blas/probe.ts): what crashes here crashes nobody else.
import { writeSync } from 'node:fs';
import { openBlas } from '../src/backends/blas/library.ts';
import type { ProbeAnswer } from '../src/backends/blas/probe.ts';
import { proveBlas } from '../src/backends/blas/self-test.ts';
import { PartitaError } from '../src/core/errors.ts';

const refusalOf = (error: unknown): ProbeAnswer['refused'] => {
  if (!(error instanceof PartitaError)) throw error;
  const { code, message, fields, remedy } = error;
  return { code, message, fields, remedy };
};

async function probe(file: string): Promise<ProbeAnswer> {
  try {
    await proveBlas(openBlas(file));
    return { refused: null };
  } catch (error) {
    return { refused: refusalOf(error) };
  }
}

probe(process.argv[2]!).then((answer) => {
  writeSync(3, JSON.stringify(answer));
  // Without the library's own last words: what it leaves behind goes with the process.
  process.exit(0);
});

// The trial of a native library in a process of its own (src/backends/blas/probe.ts): what crashes here crashes nobody else.
import { writeSync } from 'node:fs';
import { openBlas } from '../src/backends/blas/library.ts';
import { ANSWER, type ProbeAnswer, STARTED } from '../src/backends/blas/probe.ts';
import { proveBlas } from '../src/backends/blas/self-test.ts';
import { PartitaError } from '../src/core/errors.ts';

async function probe(file: string): Promise<ProbeAnswer> {
  try {
    await proveBlas(openBlas(file));
    return { refused: null };
  } catch (error) {
    if (!(error instanceof PartitaError)) return { refused: null, failed: (error as Error).message };
    const { code, message, fields, remedy } = error;
    return { refused: { code, message, fields, remedy } };
  }
}

writeSync(ANSWER, STARTED);
probe(process.argv[2]!).then((answer) => {
  writeSync(ANSWER, JSON.stringify(answer));
  // Without the library's own last words: what it leaves behind goes with the process.
  process.exit(0);
});

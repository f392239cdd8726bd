import { openSync } from 'node:fs';
import { expect, it } from 'vitest';
import { fuzz, printSummary } from './run.ts';

// `node scripts/fuzz.mjs` runs as many as it is asked for; the same seed and index give the same file.
const { FUZZ_FILES = '1500', FUZZ_SEED = '1', FUZZ_PROGRESS } = process.env;

it(`damaged files are refused with an error of ours, in time and memory (${FUZZ_FILES} files, seed ${FUZZ_SEED})`, () => {
  const summary = fuzz({
    seed: Number(FUZZ_SEED),
    files: Number(FUZZ_FILES),
    progress: FUZZ_PROGRESS === undefined ? undefined : openSync(FUZZ_PROGRESS, 'w'),
  });
  if (FUZZ_PROGRESS !== undefined) console.log(printSummary(summary));
  expect(summary.failures).toEqual([]);
  expect(summary.accepted).toBeGreaterThan(0);
  expect(summary.grownBytes).toBeLessThan(2 ** 30);
}, 7_200_000);

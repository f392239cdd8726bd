import { existsSync } from 'node:fs';
import { expect, it } from 'vitest';
// @ts-expect-error a script without types
import { casesFolder, casesMarkdown, runAll } from '../../../scripts/onnx-cases.mjs';
import * as decode from '../../../src/formats/onnx/decode.ts';
import * as importer from '../../../src/formats/onnx/importer.ts';
import * as known from '../../../src/formats/onnx/known.ts';
import * as plan from '../../../src/plan/plan.ts';
import * as session from '../../../src/train/session.ts';
import { textOf } from '../../docs/run.ts';

interface Result {
  readonly suite: string;
  readonly name: string;
  readonly outcome: 'passed' | 'unsupported' | 'failed';
  readonly reason?: string;
}

const there = existsSync(casesFolder);

// Without Debian's libonnx-testdata there is nothing to run.
it.skipIf(!there)(
  'operator cases of ONNX: none fails, and docs/onnx-cases.md tells of all',
  { timeout: 600_000 },
  async () => {
    const results: Result[] = await runAll({ ...decode, ...importer, ...known, ...plan, ...session });
    const failed = results.filter((r) => r.outcome === 'failed');
    expect(failed.map(({ suite, name, reason }) => `${suite}/${name}: ${reason}`)).toEqual([]);
    expect(results.filter((r) => r.outcome === 'passed').length).toBeGreaterThanOrEqual(560);
    expect(casesMarkdown(results)).toBe(textOf('docs/onnx-cases.md'));
  },
);

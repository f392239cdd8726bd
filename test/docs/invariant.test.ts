import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { formatBytes } from '../../src/core/format.ts';
import { makePlan } from '../../src/plan/plan.ts';
import { parseExperiment, planRequestOf, prepareExperiment } from '../../src/train/experiment/index.ts';
import { blocksOf, documented, documentedFolder, textOf } from './run.ts';

const page = textOf('docs/invariant.md');

it('the two commands write equal files', async () => {
  const folder = documentedFolder();
  const lines = blocksOf(page, 'sh').flatMap((block) => block.trim().split('\n'));
  expect(lines.length).toBe(2);
  for (const line of lines) expect(await documented(line, folder)).toMatchObject({ code: 0 });
  const [three, eight] = ['three', 'eight'].map((name) => readFileSync(join(folder, `${name}.safetensors`)));
  expect(three!.equals(eight!)).toBe(true);
});

it('the table has the memory that plans have', () => {
  const experiments = [
    { model: { kind: 'mlp', hidden: [128, 128] }, data: { kind: 'digits', batchSize: 64 } },
    { model: { kind: 'lenet' }, data: { kind: 'digits', batchSize: 64 } },
    {
      model: { kind: 'gpt', layers: 2, width: 64, heads: 2, context: 64 },
      data: { kind: 'text', context: 64, batchSize: 16 },
    },
  ];
  const rows = [...page.matchAll(/\| (\d) \| × [\d.]+ \| (.+?) \| (.+?) \|/g)].map((m) => m.slice(1));
  const found = experiments.flatMap((e) =>
    [1, 4].map((microbatches) => {
      const peaks = [false, true].map((invariant) => {
        const given = { ...e, microbatches, invariant, optimizer: { kind: 'adamw' } };
        const prepared = prepareExperiment(parseExperiment(given, 'table'), { where: 'table' });
        return formatBytes(makePlan(planRequestOf(prepared, 'train')).memory[0]!.peakBytes);
      });
      return [String(microbatches), ...peaks];
    }),
  );
  expect(rows).toEqual(found);
});

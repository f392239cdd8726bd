import { existsSync } from 'node:fs';
import { expect, it } from 'vitest';
import { rootFile, textOf } from './run.ts';

const page = textOf('docs/memory-lifetimes.md');

it('names files that are there', () => {
  const files = [...page.matchAll(/`((?:src|test|scripts)\/[\w./-]+|node scripts\/[\w.-]+)`/g)].map((m) =>
    m[1]!.replace('node ', ''),
  );
  expect(files.length).toBeGreaterThanOrEqual(3);
  for (const file of files) expect(existsSync(rootFile(file)), file).toBe(true);
});

it('shows a table in which no device has more alive at once than before, and no higher peak', () => {
  const rows = [...page.matchAll(/^\| (mlp|lenet|resnet|unet|gpt|lstm) \|.*$/gm)].map((m) =>
    m[0].split('|').map((c) => c.trim()),
  );
  expect(new Set(rows.map((r) => r[1])).size).toBe(6);
  const bytes = (cell: string | undefined) => cell!.split(' + ').map(Number);
  for (const row of rows) {
    const [alive, peak, aliveAfter, peakAfter] = row.slice(4, 8).map(bytes);
    for (const [d, before] of alive!.entries()) expect(aliveAfter![d]!, row.join(' ')).toBeLessThanOrEqual(before);
    for (const [d, before] of peak!.entries()) {
      expect(peakAfter![d]!, row.join(' ')).toBeLessThanOrEqual(Math.ceil(before * 1.002));
    }
  }
});

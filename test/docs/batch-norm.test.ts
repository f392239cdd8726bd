import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { toHostTensor } from '../../src/formats/raw-tensor.ts';
import { readSafetensors } from '../../src/formats/safetensors.ts';
import { blocksOf, documented, documentedFolder, textOf } from './run.ts';

const page = textOf('docs/batch-norm.md');
/** The cells of a table's row that begins so. */
const row = (start: string): string[] =>
  page
    .split('\n')
    .find((line) => line.startsWith(start))!
    .split('|')
    .map((cell) => cell.trim())
    .slice(1, -1);

it('the commands of the page run and give the numbers of its tables', { timeout: 300_000 }, async () => {
  const folder = documentedFolder();
  const tensors = (file: string): ReadonlyMap<string, Float32Array> => {
    const path = join(folder, file);
    const read = [...readSafetensors(readFileSync(path), path)];
    return new Map(read.map(([name, t]) => [name, toHostTensor(t, 'f32', name).data as Float32Array]));
  };
  const run = async (line: string, ...more: string[]): Promise<string> => {
    const { code, stdout, stderr } = await documented(line, folder, ...more);
    expect({ line, code, stderr }).toMatchObject({ line, code: 0 });
    return stdout;
  };
  const [exact, whole, plan] = blocksOf(page, 'sh')[0]!.trim().split('\n') as [string, string, string];
  await run(exact);
  await run(whole);
  await run(exact.replace('exact.safetensors', 'micro.safetensors'), '--batchNorm', 'micro');

  const expected = tensors('whole.safetensors');
  const distance = (file: string, prefix: string): number => {
    const got = tensors(file);
    let [difference, size] = [0, 0];
    for (const [name, wanted] of expected) {
      if (!name.startsWith(prefix)) continue;
      wanted.forEach((v, i) => {
        difference += (got.get(name)![i]! - v) ** 2;
        size += v * v;
      });
    }
    return Math.sqrt(difference / size);
  };
  for (const mode of ['micro', 'exact']) {
    const file = `${mode}.safetensors`;
    const [, , loss, ...distances] = row(`| \`${mode}\` | 4 |`);
    expect(tensors(file).get('loss')![0]!.toFixed(5)).toBe(loss);
    ['grad/', 'buffer/', 'output/'].forEach((prefix, i) => {
      const told = Number(distances[i]);
      expect(Math.abs(distance(file, prefix) - told), `${mode} ${prefix}`).toBeLessThan(0.1 * told);
    });
  }

  expect(await run(plan)).toMatch(/Schedule gpipe \(batchNorm exact\)[\s\S]*Barriers: 19 forward, 19 backward/);
  const figures = JSON.parse(
    await run(plan, '--data.batchSize', '64', '--optimizer.momentum', '0.9', '--quiet', '--json'),
  );
  const [, , , peaks] = row('| `exact` | `gpipe` | 4 |');
  const mebibytes = figures.devices.map((d: { peakBytesPlanned: number }) => (d.peakBytesPlanned / 2 ** 20).toFixed(2));
  expect(mebibytes.join(', ')).toBe(peaks);
});

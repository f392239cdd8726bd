import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { blocksOf, documented, documentedFolder, node, textOf } from './run.ts';

const page = textOf('docs/graph.md');

describe('docs/graph.md', () => {
  // Where a picture changed on purpose, run the page's command again.
  it.each(blocksOf(page, 'sh').map((line) => [line.trim()]))('%s', async (line) => {
    const folder = documentedFolder();
    mkdirSync(join(folder, 'docs', 'images'), { recursive: true });
    expect(await documented(line, folder)).toMatchObject({ code: 0, stderr: '' });
    const picture = line.split(' ').at(-1)!;
    expect(page).toContain(`](${picture.replace('docs/', '')})`);
    expect(readFileSync(join(folder, picture), 'utf8')).toBe(textOf(picture));
  });

  it('shows code that runs and does what its comments say', async () => {
    const [code] = blocksOf(page, 'js');
    const { code: exit, stdout } = await node(['--input-type=module', '--eval', code!]);
    expect({ exit, stdout }).toEqual({ exit: 0, stdout: 'Float64Array(1) [ 14 ] Float64Array(3) [ 2, 4, 6 ]\ntrue\n' });
  });
});

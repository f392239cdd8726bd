import { describe, expect, it } from 'vitest';
import { keysOf } from '../../src/core/schema.ts';
import * as nn from '../../src/nn/index.ts';
import { experimentSchema } from '../../src/train/experiment/schema.ts';
import { blocksOf, documented, documentedFolder, node, textOf } from './run.ts';

const page = textOf('docs/models.md');
const codes = (text: string): Set<string> => new Set([...text.matchAll(/`(\w+)`/g)].map((m) => m[1]!));

describe('docs/models.md', () => {
  it('tells every kind of model and every key of it, and no other', () => {
    const table = (first: string): string => new RegExp(`\\n\\| ${first} \\|.*?\\n\\n`, 's').exec(page)![0];
    const kinds = [...table('kind').matchAll(/^\| `(\w+)`/gm)].map((m) => m[1]);
    expect(kinds).toEqual(nn.models.modelKinds);
    const known = keysOf(experimentSchema).flatMap(({ path }) => {
      const [key, name, deeper] = path.split('.');
      const ofOnnx = ['kind', 'file', 'dims', 'constants'];
      return key === 'model' && name && !deeper && !ofOnnx.includes(name) ? [name] : [];
    });
    const told = table('key')
      .split('\n')
      .flatMap((row) => [...codes(row.split(' | ')[0]!)]);
    expect([...new Set(told)].sort()).toEqual([...new Set(known)].sort());
  });

  it('lists all layers', () => {
    const listed = codes(page.slice(page.indexOf('## Layers')));
    expect(Object.keys(nn).filter((name) => !listed.has(name))).toEqual([]);
  });

  it('shows code that does what its comments say', async () => {
    const said = [['[ 8, 10 ]', "[ 'stem.1.running_mean', 'stem.1.running_var' ]"], ['[ 4, 9, 32 ]']];
    const blocks = blocksOf(page, 'js');
    expect(blocks).toHaveLength(said.length);
    for (const [i, block] of blocks.entries()) {
      const { code, stdout, stderr } = await node(['--input-type=module', '--eval', block]);
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      for (const text of said[i]!) expect(stdout).toContain(text);
    }
  });

  it.each(blocksOf(page, 'sh')[0]!.trim().split('\n'))('%s', async (line) => {
    const { code, stdout } = await documented(line, documentedFolder(), '--steps', '2');
    expect(code).toBe(0);
    expect(stdout).not.toContain('DIFFERENT');
  });
});

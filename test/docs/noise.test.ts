import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { blocksOf, documented, documentedFolder, node, textOf } from './run.ts';

const page = textOf('docs/noise.md');

describe('docs/noise.md', () => {
  it('has code that runs', async () => {
    const [code] = blocksOf(page, 'js');
    const { code: exit, stdout, stderr } = await node(['--input-type=module', '--eval', code!]);
    expect({ exit, stderr }).toEqual({ exit: 0, stderr: '' });
    expect([...stdout.matchAll(/^([23]) true$/gm)].map((m) => m[1])).toEqual(['2', '3']);
    expect(stdout).toMatch(/^[\d.]+ 6$/m);
  });

  it('names commands that run', async () => {
    const folder = documentedFolder();
    const told: string[] = [];
    for (const line of blocksOf(page, 'sh')) {
      const { code, stdout, stderr } = await documented(line, folder);
      expect({ line, code }).toEqual({ line, code: 0 });
      told.push(stdout + stderr);
    }
    expect(told[0]).toContain('near-perfect scaling');
    expect(told[1]).toContain('noise scale');
    expect(told[2]).toContain('inside');
    expect(told[2]).not.toContain('OUTSIDE');
    expect(existsSync(join(folder, 'noise.safetensors'))).toBe(true);
  });
});

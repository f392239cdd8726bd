import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { blocksOf, documented, documentedFolder, node, textOf } from './run.ts';

const page = textOf('docs/costs.md');

describe('docs/costs.md', () => {
  it('has code that runs', async () => {
    const [code] = blocksOf(page, 'js');
    const { code: exit, stdout, stderr } = await node(['--input-type=module', '--eval', code!]);
    expect({ exit, stderr }).toEqual({ exit: 0, stderr: '' });
    expect(stdout).toMatch(/^[\d.e-]+ \[ [\d.e-]+, [\d.e-]+ \]$/m);
  });

  it('names commands that run', async () => {
    const folder = documentedFolder();
    // Its own cache, so that each thing is measured once.
    process.env.PARTITA_CACHE = join(folder, 'cache');
    const lines = blocksOf(page, 'sh')[0]!.trim().split('\n');
    const told: string[] = [];
    for (const line of lines) {
      const short = line.includes('partita profile') ? ['--timed-steps', '2', '--warm-up', '1'] : [];
      const { code, stdout } = await documented(line, folder, ...short);
      expect({ line, code }).toEqual({ line, code: 0 });
      told.push(stdout);
    }
    process.env.PARTITA_CACHE = 'off';
    expect(existsSync(join(folder, 'profile.json'))).toBe(true);
    expect(told[0]).toContain('of roofline');
    expect(told[1]).toContain('Predicted:');
  });
});

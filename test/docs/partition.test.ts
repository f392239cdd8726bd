import { describe, expect, it } from 'vitest';
import { commands } from '../../src/cli/commands.ts';
import { placementMethods } from '../../src/partition/methods.ts';
import { blocksOf, documented, documentedFolder, node, textOf } from './run.ts';

const page = textOf('docs/partition.md');

describe('docs/partition.md', () => {
  it('has code that runs', async () => {
    const { code, stdout, stderr } = await node(['--input-type=module', '--eval', blocksOf(page, 'js')[0]!]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/^34\.25 0 /);
  });

  it('names commands that run', async () => {
    const folder = documentedFolder();
    for (const line of blocksOf(page, 'sh')[0]!.trim().split('\n')) {
      const { code, stdout, stderr } = await documented(line, folder);
      expect({ line, code, stderr }).toEqual({ line, code: 0, stderr: '' });
      expect(stdout).toContain('largest load');
    }
  });

  it('names every method, and so does the help', () => {
    const help = commands.find((c) => c.name === 'partition')!.flags.find((f) => f.flags.startsWith('--method'))!.doc;
    for (const { name } of placementMethods) {
      expect(page).toContain(`\`${name}\``);
      expect(help).toMatch(new RegExp(`\\b${name}\\b`));
    }
  });
});

describe('examples/placement', () => {
  it('prints what its README shows, but for the time', async () => {
    const readme = textOf('examples/placement/README.md');
    const { code, stdout } = await documented(blocksOf(readme, 'sh')[0]!, documentedFolder());
    expect(code).toBe(0);
    const timeless = (text: string): string => text.replace(/in [\d.]+ (µs|ms|s)\n/, 'in TIME\n').trim();
    expect(timeless(blocksOf(readme, 'text')[0]!)).toBe(timeless(stdout));
  });
});

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { scheduleNames } from '../../src/schedule/index.ts';
import { blocksOf, documented, documentedFolder, node, textOf } from './run.ts';

const page = textOf('docs/schedules.md');

describe('docs/schedules.md', () => {
  // Each command with the block of text behind it: all it prints, or only its grid.
  const shown = [...page.matchAll(/^```sh\n(.*?)\n```\n\n```text\n(.*?)\n```$/gms)].map((m) => [m[1]!, m[2]!] as const);
  it('shows what its commands print', async () => {
    expect(shown.length).toBeGreaterThanOrEqual(scheduleNames.length);
    for (const [line, text] of shown) {
      const { code, stdout } = await documented(line, documentedFolder());
      expect({ line, code }).toEqual({ line, code: 0 });
      expect(stdout).toContain(text);
    }
  });

  it('names commands and code that run', async () => {
    const folder = documentedFolder();
    for (const line of blocksOf(page, 'sh').at(-1)!.trim().split('\n')) {
      expect((await documented(line, folder)).code).toBe(0);
    }
    expect(existsSync(join(folder, 'zb.csv'))).toBe(true);
    const code = blocksOf(page, 'js')[0]!;
    const { stdout, stderr } = await node(['--input-type=module', '--eval', code]);
    expect(stderr).toBe('');
    for (const [, expected] of code.matchAll(/; \/\/ (.*)$/gm)) expect(stdout).toContain(`${expected}\n`);
  });

  it('has a section and a row for every schedule', () => {
    for (const name of scheduleNames) {
      expect(page).toContain(`\n### ${name}\n`);
      expect(page).toContain(`\n| \`${name}\` | `);
    }
  });
});

import { describe, expect, it } from 'vitest';
import { blocksOf, documented, documentedFolder, node, textOf } from './run.ts';

const words = (text: string): string => text.replace(/\s+/g, ' ');

describe('docs/batch-study.md', () => {
  it('shows code that runs', async () => {
    const [code] = blocksOf(textOf('docs/batch-study.md'), 'js');
    const { code: exit, stdout, stderr } = await node(['--input-type=module', '--eval', code!]);
    expect({ exit, stderr }).toEqual({ exit: 0, stderr: '' });
    expect(stdout).toContain('What does the larger batch cost in memory?');
    expect(stdout).toContain('Every difference lies within');
  });
});

describe('examples/batch-study', () => {
  const readme = textOf('examples/batch-study/README.md');
  const commands = blocksOf(readme, 'sh').map((block) => block.trim());
  const outputs = blocksOf(readme, 'text').map(words);

  it('begins its README with its command', () => {
    expect(readme).toMatch(/^# .*\n\n```sh\nnpx partita study batch examples\//);
  });

  // Where these change, the example is to be run again, and its picture drawn: scripts/study-picture.mjs.
  it('says of memory and gradients what its README shows', async () => {
    const parts = [['--parts', 'memory,capacity,gradients'], []];
    for (const [i, command] of commands.entries()) {
      const { code, stdout } = await documented(command, documentedFolder(), ...parts[i]!, '--quiet', '--json');
      expect(code).toBe(0);
      const claims = (JSON.parse(stdout).summary as { about: string; text: string }[]).filter(
        (c) => c.about !== 'caveat',
      );
      expect(claims.length).toBeGreaterThanOrEqual(2);
      for (const { text } of claims) expect(outputs[i]).toContain(words(text));
    }
  });
});

import { describe, expect, it } from 'vitest';
import { blocksOf, documented, documentedFolder, node, textOf } from './run.ts';

const words = (text: string): string => text.replace(/\s+/g, ' ');

describe('docs/studies.md', () => {
  it('shows code that runs', async () => {
    const [code] = blocksOf(textOf('docs/studies.md'), 'js');
    const { code: exit, stdout, stderr } = await node(['--input-type=module', '--eval', code!]);
    expect({ exit, stderr }).toEqual({ exit: 0, stderr: '' });
    expect(stdout).toMatch(/^Which schedule, how many microbatches\? \d+ layouts$/m);
  });
});

describe('examples/schedule-study', () => {
  // Times follow the cost model; what is held in memory does not.
  it('answers the questions, and holds the memory, that its README shows', async () => {
    const readme = textOf('examples/schedule-study/README.md');
    const [command] = blocksOf(readme, 'sh');
    const { code, stdout } = await documented(command!.trim(), documentedFolder(), '--quiet', '--json');
    expect(code).toBe(0);
    const shown = words(blocksOf(readme, 'text')[0]!);
    const { summary } = JSON.parse(stdout) as { summary: { about: string; question: string; text: string }[] };
    const answers = summary.filter((c) => c.about === 'answer');
    expect(answers).toHaveLength(3);
    for (const { question } of answers) expect(shown).toContain(question);
    expect(shown).toContain(words(answers.find((c) => c.question.includes('memory'))!.text));
  });
});

describe('examples/memory-study', () => {
  it('answers as its README shows: bytes are the same everywhere', async () => {
    const readme = textOf('examples/memory-study/README.md');
    const [command] = blocksOf(readme, 'sh');
    const { code, stdout } = await documented(command!.trim(), documentedFolder(), '--quiet', '--json');
    expect(code).toBe(0);
    const shown = words(blocksOf(readme, 'text')[0]!);
    const { summary } = JSON.parse(stdout) as { summary: { about: string; question: string; text: string }[] };
    for (const { question, text } of summary.filter((c) => c.about === 'answer')) {
      expect(shown).toContain(words(`${question} ${text}`));
    }
  });
});

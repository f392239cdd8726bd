import { expect, it } from 'vitest';
import { blocksOf, documented, documentedFolder, node, textOf } from './run.ts';

it('docs/schedule-auto.md: its code runs and prints what it says', async () => {
  const page = textOf('docs/schedule-auto.md');
  const { code, stdout, stderr } = await node(['--input-type=module', '--eval', blocksOf(page, 'js')[0]!]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(page).toContain(`It prints\n\n\`\`\`\n${stdout}\`\`\``);
});

it('docs/schedule-auto.md: its command comes to the figure of the table', async () => {
  const line = blocksOf(textOf('docs/schedule-auto.md'), 'sh')[0]!.trim();
  const { code, stdout } = await documented(`${line} --json`, documentedFolder());
  expect(code).toBe(0);
  const { bubbleFraction, devices } = JSON.parse(stdout);
  expect(bubbleFraction.toFixed(4)).toBe('0.0433');
  for (const { peakHeld } of devices) expect(peakHeld).toBeLessThanOrEqual(16);
});

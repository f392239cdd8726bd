import { expect, it } from 'vitest';
import { blocksOf, node, textOf } from './run.ts';

it('docs/schedule-auto.md: its code runs and prints what it says', async () => {
  const page = textOf('docs/schedule-auto.md');
  const { code, stdout, stderr } = await node(['--input-type=module', '--eval', blocksOf(page, 'js')[0]!]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(page).toContain(`It prints\n\n\`\`\`\n${stdout}\`\`\``);
});

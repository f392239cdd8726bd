import { expect, it } from 'vitest';
import { blocksOf, node, textOf } from './run.ts';

it('docs/derivatives.md: its code runs and prints what it says', async () => {
  const [functions, within] = blocksOf(textOf('docs/derivatives.md'), 'js');
  const first = await node(['--input-type=module', '--eval', functions!]);
  expect({ code: first.code, stderr: first.stderr }).toEqual({ code: 0, stderr: '' });
  expect(first.stdout).toContain("'second.bias': 21");
  expect(first.stdout).toContain('[ 6, 3, 4 ]');
  expect(Number(/g·H·g (\S+)/.exec(first.stdout)![1])).toBeGreaterThan(0);
  const second = await node(['--input-type=module', '--eval', within!]);
  expect(second).toMatchObject({ code: 0, stderr: '', stdout: 'true\n' });
});

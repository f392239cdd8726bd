import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { blocksOf, node, rootFile, textOf } from './run.ts';

const page = textOf('docs/performance.md');

it('the script of the overheads runs as documented, and tells each of them', async () => {
  const command = blocksOf(page, 'sh').find((block) => block.includes('overhead.mjs'));
  const json = join(mkdtempSync(join(tmpdir(), 'partita-overhead-')), 'r.json');
  const [program, script] = command!.trim().split(' ');
  expect(program).toBe('node');
  const { code, stdout } = await node([rootFile(script!), '--rounds', '1', '--parts', 'core,ends', '--json', json]);
  expect(code).toBe(0);
  for (const text of ['a call within an instruction', 'an instruction beside its calls', 'start and end'])
    expect(stdout).toContain(text);
  const measured = JSON.parse(readFileSync(json, 'utf8'));
  for (const seconds of [measured.call.seconds, measured.step.hostSeconds, measured.step.messagesSeconds])
    expect(seconds).toBeGreaterThan(0);
});

it('the example of staging runs as it stands', async () => {
  const [example] = blocksOf(textOf('docs/steps.md'), 'js');
  const { code, stdout, stderr } = await node(['--input-type=module', '-e', example!]);
  expect(stderr).toBe('');
  expect(code).toBe(0);
  expect(
    stdout
      .trim()
      .split('\n')
      .map((line) => line.split(' ')[0]),
  ).toEqual(['0', '1', '2']);
});

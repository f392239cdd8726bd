import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { blocksOf, documented, documentedFolder, node, textOf } from './run.ts';

const page = textOf('docs/simulator.md');

describe('docs/simulator.md', () => {
  it('has code that runs', async () => {
    const [code] = blocksOf(page, 'js');
    const { code: exit, stdout, stderr } = await node(['--input-type=module', '--eval', code!]);
    expect({ exit, stderr }).toEqual({ exit: 0, stderr: '' });
    const [actions, seconds, bubble] = stdout.split('\n')[0]!.split(' ').map(Number);
    // 512 + 255 slots of 3 ms, and what the links take; a post, a receive, a task and a send for each F and B.
    expect(actions).toBe(512 * (8 * 256 - 6));
    expect(seconds).toBeGreaterThan(3e-3 * (512 + 255));
    expect(seconds).toBeLessThan(1.2 * 3e-3 * (512 + 255));
    expect(bubble).toBeGreaterThan(255 / 767);
    expect(stdout).toContain("kind: 'compute'");
  });

  it('plays a transformer on more and more stages, which all have less and less to do at once', async () => {
    const [, code] = blocksOf(page, 'js');
    const { code: exit, stdout, stderr } = await node(['--input-type=module', '--eval', code!]);
    expect({ exit, stderr }).toEqual({ exit: 0, stderr: '' });
    const [alone, four, eight] = stdout.trim().split(' ').map(Number) as [number, number, number];
    expect(alone).toBe(1);
    // Behind 32 microbatches the bubble is 3/35 and 7/39 of the step, and the last stage has the head beside its layers.
    expect(four).toBeGreaterThan(0.75 * 4);
    expect(four).toBeLessThan((4 * 32) / 35);
    expect(eight).toBeGreaterThan(0.6 * 8);
    expect(eight).toBeLessThan((8 * 32) / 39);
  });

  it('names commands that run', async () => {
    const folder = documentedFolder();
    const lines = blocksOf(page, 'sh').flatMap((block) => block.trimEnd().split('\n'));
    expect(lines).toHaveLength(2);
    const told: string[] = [];
    for (const line of lines) {
      const { code, stdout } = await documented(line, folder);
      expect({ line, code }).toEqual({ line, code: 0 });
      told.push(stdout);
    }
    expect(told[0]).toContain('while in truth');
    expect(told[1]).toMatch(/100 steps drawn: mean/);
    expect(existsSync(join(folder, 'simulated.json'))).toBe(true);
  });

  it('shows a cluster that can be read', async () => {
    const folder = documentedFolder();
    const [cluster] = blocksOf(page, 'json');
    writeFileSync(join(folder, 'cluster.json'), cluster!);
    const model = 'npx partita simulate --model.kind mlp --data.kind digits --microbatches 4';
    const { code, stdout } = await documented(`${model} --cluster cluster.json --devices 2`, folder);
    expect(code).toBe(0);
    expect(stdout).toContain('80.0 GiB');
  });
});

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { keysOf } from '../../src/core/schema.ts';
import { experimentSchema } from '../../src/train/experiment/schema.ts';
import { asProcess, blocksOf, documentedFolder, node, textOf } from './run.ts';

const readme = textOf('README.md');

describe('README', () => {
  it('shows code of twenty lines that runs and does what its comments say', async () => {
    const [code] = blocksOf(readme, 'js');
    expect(code!.trimEnd().split('\n').length).toBeLessThanOrEqual(20);
    const { code: exit, stdout, stderr } = await node(['--input-type=module', '--eval', code!]);
    expect({ exit, stderr }).toEqual({ exit: 0, stderr: '' });
    expect(stdout).toContain('device 1  .. F0 B0');
    const losses = [...stdout.matchAll(/^(\d+) ([\d.]+)$/gm)].map((m) => Number(m[2]));
    expect(losses).toHaveLength(25);
    expect(losses.at(-1)!).toBeLessThan(0.7 * losses[0]!);
    const [planned, measured] = [...stdout.matchAll(/\[ (\d+), (\d+) \]/g)].map((m) => m.slice(1));
    expect(measured).toEqual(planned);
  });

  it('names commands that run, in their order', async () => {
    const folder = documentedFolder();
    const lines = blocksOf(readme, 'sh')
      .flatMap((block) => block.split('\n'))
      .filter((line) => line.startsWith('npx partita'));
    expect(lines.length).toBeGreaterThanOrEqual(6);
    for (const line of lines) {
      const short = line.includes('train examples')
        ? ['--epochs', '1']
        : line.includes('study batch')
          ? ['--parts', 'memory,gradients']
          : line.includes('partita profile')
            ? ['--timed-steps', '2']
            : [];
      const { code, stdout } = await asProcess(line, folder, ...short);
      expect({ line, code }).toEqual({ line, code: 0 });
      expect(stdout).not.toContain('DIFFERENT');
    }
    for (const file of ['plan.json', 'gradients.safetensors', 'trace.json', 'graph.svg']) {
      expect(existsSync(join(folder, file)), file).toBe(true);
    }
  });

  it('describes every key of an experiment, and no other', () => {
    const known = new Set(keysOf(experimentSchema).map(({ path }) => path.split('.')[0]!));
    const table = /\n\| key \| default \|.*?\n\n/s.exec(readme)![0];
    const told = table
      .split('\n')
      .flatMap((row) => [...(row.split(' | ')[0] ?? '').matchAll(/`(\w+)`/g)].map((m) => m[1]!));
    expect(told.filter((key) => !known.has(key))).toEqual([]);
    expect([...known].filter((key) => !told.includes(key))).toEqual([]);
  });
});

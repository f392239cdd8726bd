import { existsSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { modelOf } from '../../src/nn/models/index.ts';
import { makeOptimizer } from '../../src/optim/optimizer.ts';
import { makePlan } from '../../src/plan/plan.ts';
import { memoryCategories } from '../../src/program/instruction.ts';
import { blocksOf, node, rootFile, textOf } from './run.ts';

const page = textOf('docs/recompute.md');
const tableUnder = (head: string): string[][] =>
  page
    .slice(page.indexOf(head))
    .split('\n\n')[0]!
    .trim()
    .split('\n')
    .slice(2)
    .map((line) => line.split('|').map((cell) => cell.trim().replaceAll(',', '')));

it('names files and folders that are there', () => {
  const files = [...page.matchAll(/`(test\/[\w./-]+)`|\]\(([\w./-]+?)(?:#[\w-]+)?\)/g)].map(
    ([, test, link]) => test ?? `docs/${link}`,
  );
  expect(files.length).toBeGreaterThan(4);
  for (const file of files) expect(existsSync(rootFile(file)), file).toBe(true);
});

describe('recompute stage', () => {
  it('brings the peak to O(N + (L/K)(N/M)), by the figures of the table', () => {
    const L = 24;
    const model = modelOf({ kind: 'mlp', inputs: 32, hidden: new Array<number>(L).fill(32), classes: 4 });
    /** What is held at the peak beside parameters, gradients and state, of the fullest device. */
    const held = (K: number, M: number, N: number, recompute: 'none' | 'stage'): number => {
      const { memory } = makePlan({
        model,
        programs: { train: { batch: N, mode: 'train' } },
        microbatches: M,
        schedule: 'gpipe',
        partition: { balance: 'memory' },
        recompute,
        devices: Array.from({ length: K }, () => ({ backend: 'wasm' as const, memory: null, speed: 1 })),
        optimizer: makeOptimizer({ kind: 'sgd', lr: 0.1 }),
      });
      const moving = memoryCategories.filter((c) => !['parameters', 'gradients', 'optimizerState'].includes(c));
      return Math.max(...memory.map((m) => moving.reduce((sum, c) => sum + m.byCategory[c], 0)));
    };
    const rows = tableUnder('| K | M | N |').map((cells) => cells.slice(1, 7).map(Number));
    expect(rows).toHaveLength(8);
    for (const [K, M, N, none, stage] of rows) {
      expect(held(K!, M!, N!, 'stage'), `K ${K}, M ${M}, N ${N}`).toBe(stage);
      expect(none).toBeGreaterThan(1.8 * stage!);
    }
    const [K, M, N, none] = rows[3]!;
    expect(held(K!, M!, N!, 'none')).toBe(none);
    // The constants that the page tells hold every row.
    const told = /(\d+)·N \+ (\d+)·\(L\/K\)\(N\/M\)/.exec(page)!;
    const [alpha, beta] = [Number(told[1]), Number(told[2])];
    for (const [k, m, n, , y, fit] of rows) {
      expect(fit).toBe(alpha * n! + Math.round(beta * (L / k!) * (n! / m!)));
      expect(Math.abs(fit! - y!) / y!).toBeLessThan(0.25);
    }
  });
});

describe('the curve', () => {
  const [printed] = blocksOf(page, '').filter((text) => text.startsWith('Recompute on one partition'));
  const rows = printed!
    .trim()
    .split('\n')
    .slice(2)
    .map((line) => line.split(/ {2,}/))
    .map(([mode, capacity, peak, step, more]) => ({
      mode: mode!,
      capacity: Number.parseFloat(capacity!),
      peak: Number.parseFloat(peak!),
      step: Number.parseFloat(step!),
      more: Number.parseFloat(more!),
    }));
  const optimal = rows.filter((r) => r.mode === 'optimal');

  it('takes more time the less memory there is, and none where everything fits', () => {
    expect(optimal.length).toBeGreaterThan(5);
    expect(optimal[0]!.more).toBe(0);
    optimal.slice(1).forEach((r, i) => {
      expect(r.capacity).toBeLessThan(optimal[i]!.capacity);
      expect(r.step).toBeGreaterThanOrEqual(optimal[i]!.step);
    });
    for (const r of optimal) expect(r.peak).toBeLessThanOrEqual(r.capacity);
  });

  it('is nowhere above √n checkpoints, where those fit', () => {
    const chen = rows.find((r) => r.mode === '√n checkpoints')!;
    const within = optimal.filter((r) => r.capacity >= chen.peak);
    expect(within.length).toBeGreaterThan(2);
    for (const r of within) expect(r.step).toBeLessThanOrEqual(chen.step);
  });
});

it('shows code of the API that runs', async () => {
  const [code] = blocksOf(page, 'ts');
  const request = `
    import { Graph, losses, makeOptimizer, nn } from 'partita';
    const build = (samples) => {
      const graph = new Graph();
      let hidden = graph.input('x', { shape: [samples, 8] });
      for (let i = 0; i < 4; i++) hidden = nn.relu(nn.linear(hidden, 8, { name: 'layer.' + i }));
      return { graph, objective: [{ loss: losses.crossEntropy(nn.linear(hidden, 3, { name: 'head' }), 'y'), weight: 1 }] };
    };
    const device = { backend: 'wasm', memory: null, speed: 1 };
    const request = {
      model: { name: 'mlp', build }, programs: { train: { batch: 8, mode: 'train' } }, microbatches: 2,
      devices: [device, device], schedule: 'gpipe', partition: 'auto', optimizer: makeOptimizer({ kind: 'sgd', lr: 0.1 }),
    };`;
  const { code: exit, stderr } = await node(['--input-type=module', '--eval', `${request}\n${code}`]);
  expect({ exit, stderr }).toEqual({ exit: 0, stderr: '' });
});

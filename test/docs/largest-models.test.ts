import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { packageRoot } from '../../src/core/package-root.ts';
import { modelOf } from '../../src/nn/models/index.ts';
import { makeOptimizer } from '../../src/optim/optimizer.ts';
import { draftPlan } from '../../src/plan/plan.ts';

// docs/largest-models.md: GPipe's table of largest models beside ours, whose smallest cell is computed again.

const page = readFileSync(join(packageRoot(), 'docs', 'largest-models.md'), 'utf8');
const rows = page
  .slice(page.indexOf('<!-- table -->'), page.indexOf('<!-- end -->'))
  .split('\n')
  .filter((line) => /^\| \d/.test(line))
  .map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
const layersIn = (cell: string): number => Number(cell.split(' ')[0]!.replaceAll(',', ''));
const ours = new Map(rows.map(([devices, , stage]) => [Number(devices), layersIn(stage!)]));

const peakOf = (layers: number, recompute: 'none' | 'stage', microbatches: number): number => {
  const plan = draftPlan({
    model: modelOf({ kind: 'gpt', vocab: 32_000, context: 1024, layers, heads: 32, width: 2048, tied: false }),
    programs: { train: { batch: 32, mode: 'train' } },
    microbatches,
    schedule: 'gpipe',
    partition: { stages: { '*': 0 } },
    recompute,
    optimizer: makeOptimizer({ kind: 'rmsprop' }),
    devices: [{ backend: 'null', memory: null, speed: 1 }],
  });
  return plan.memory[0]!.peakBytes;
};
const capacity = 16 * 2 ** 30;

describe('the largest models', () => {
  it('on one device are as deep as the table says, and not a layer deeper', () => {
    const layers = ours.get(1)!;
    expect(peakOf(layers, 'stage', 32)).toBeLessThanOrEqual(capacity);
    expect(peakOf(layers + 1, 'stage', 32)).toBeGreaterThan(capacity);
    expect(peakOf(layersIn(rows[0]![4]!), 'none', 1)).toBeLessThanOrEqual(capacity);
    expect(peakOf(layersIn(rows[0]![4]!) + 1, 'none', 1)).toBeGreaterThan(capacity);
  });

  it('grow linearly with the devices, as theirs do', () => {
    const slope = (from: number, to: number) => (ours.get(to)! - ours.get(from)!) / (to - from);
    expect(slope(8, 128)).toBe(slope(4, 8));
    expect(slope(8, 32)).toBe(slope(2, 4));
    const theirs = new Map(rows.flatMap(([k, cell]) => (cell === '–' ? [] : [[Number(k), layersIn(cell!)] as const])));
    expect([...theirs]).toEqual([
      [1, 13],
      [8, 103],
      [32, 415],
      [128, 1663],
    ]);
  });

  it('that GPipe tells have the parameters of such a transformer', () => {
    for (const [, cell] of rows) {
      const match = /^([\d,]+) \(([\d.]+)([MB])\)$/.exec(cell!);
      if (!match) continue;
      const told = Number(match[2]) * (match[3] === 'B' ? 1e9 : 1e6);
      const counted = 2 * 32_000 * 2048 + layersIn(cell!) * (12 * 2048 ** 2 + 13 * 2048);
      expect(told / counted).toBeCloseTo(1, 2);
    }
  });
});

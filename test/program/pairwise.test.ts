import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { mean } from '../../src/ops/reduce.ts';
import type { Plan } from '../../src/plan/plan.ts';
import { type Addition, PairwiseSum } from '../../src/program/pairwise.ts';
import { Session } from '../../src/train/session.ts';
import { f32, planOf, threeLayers } from '../support/models.ts';

/** The additions as text: what each sum is made of, in the order of its operands. */
function played(samples: number): { total: string; most: number } {
  const slots: (string | undefined)[] = [];
  const sum = new PairwiseSum();
  let most = 0;
  const apply = (additions: readonly Addition[], sample: string) => {
    for (const { from, to, first } of additions) {
      const addend = from === 'sample' ? sample : slots[from]!;
      slots[to] = first ? addend : `(${slots[to]}+${addend})`;
      if (from !== 'sample') slots[from] = undefined;
      most = Math.max(most, slots.filter((s) => s !== undefined).length);
    }
  };
  for (let s = 0; s < samples; s++) apply(sum.push(), String(s));
  apply(sum.finish(), '');
  expect(sum.depth).toBe(1);
  return { total: slots[0]!, most };
}

/** The tree by its definition: full subtrees of powers of two from the left, joined from the right. */
function tree(from: number, samples: number): string {
  if (samples === 1) return String(from);
  let left = 1;
  while (2 * left < samples) left *= 2;
  return `(${tree(from, left)}+${tree(from + left, samples - left)})`;
}

describe('pairwise summation', () => {
  it('is the binary tree over the samples, with at most log2 of them alive', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 300 }), (samples) => {
        const { total, most } = played(samples);
        expect(total).toBe(tree(0, samples));
        expect(most).toBeLessThanOrEqual(Math.max(1, Math.ceil(Math.log2(samples))));
      }),
    );
  });

  it('keeps no gradient of a weight for all samples of a microbatch', () => {
    const whole = planOf(threeLayers, { batch: 32, microbatches: 2 });
    const single = planOf(threeLayers, { batch: 32, microbatches: 2, invariant: true });
    const largest = (name: string) =>
      Math.max(...single.programs.train!.devices[0]!.buffers.filter((b) => b.name.includes(name)).map((b) => b.bytes));
    const bytesOfB = 10 * 7 * 4;
    expect(largest('partial')).toBe(bytesOfB);
    // Gradients: at most log2 32 partial sums and the total of each of the four.
    const all = (10 * 6 + 10 * 7 + 7 + 7 * 3) * 4;
    expect(single.memory[0]!.byCategory.gradients).toBeLessThanOrEqual(5 * all + 8);
    expect(single.memory[0]!.peakBytes).toBeLessThan(whole.memory[0]!.peakBytes + 5 * all + bytesOfB);
  });

  it('nor where the gradient noise is measured on it, sample by sample', async () => {
    const measured = (gradientNoise: boolean) =>
      planOf(threeLayers, {
        batch: 32,
        microbatches: 2,
        invariant: true,
        programs: { train: { batch: 32, mode: 'train', gradientNorm: true, gradientNoise } },
      });
    const [plain, noisy] = [measured(false), measured(true)];
    // A number a sample and parameter, and no gradient more; inputs are there where they are read.
    const numbers = 4 * 32 * 4;
    const bytesOf = ({ memory: [device] }: Plan) => device!.peakBytes - device!.byCategory.inputs;
    expect(bytesOf(noisy)).toBeLessThanOrEqual(bytesOf(plain) + numbers);
    await using session = await Session.open(noisy, { audit: true });
    const { results } = await session.run('train', { x: f32([32, 6], 1), t: f32([32, 3], 2) }, { step: 0 });
    expect(results.get('micro_square/b')!.type.shape).toEqual([32]);
  });

  it('refuses models whose samples see each other, and says how to go on', () => {
    const mixing = {
      ...threeLayers,
      build: (batch: number) => {
        const built = threeLayers.build(batch);
        const y = built.graph.outputs.get('y')!;
        built.graph.output('mean', mean(y, { axes: [0] }), { batchAxis: null });
        return built;
      },
    };
    expect(() => planOf(mixing, { batch: 4, microbatches: 1, invariant: true })).toThrow(
      /mean \(mean\) joins the samples of a microbatch/,
    );
  });
});

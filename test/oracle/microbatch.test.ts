import { describe, expect, it } from 'vitest';
import type { HostTensor } from '../../src/core/types.ts';
import { makeOptimizer } from '../../src/optim/optimizer.ts';
import { CaseFiles, type MicrobatchCase } from './case-files.ts';
import { classifier } from './experiments.ts';
import { bytesOf, type Layout, planOn, using, withPrefix } from './layouts.ts';
import { expectAll } from './tolerance.ts';

// One step of SGD on one batch, sorted by class so that its microbatches differ: whole, and in 2, 4 and 8 parts.
// `micro_loss` is left out: the loss of a single microbatch is no result of a step.

const files = new CaseFiles<MicrobatchCase>('microbatch/mlp');
const { json } = files;
const batch = files.tensors('data.safetensors');

const layouts: readonly Layout[] = [
  { devices: 1, schedule: '1f1b', options: { transport: 'local' } },
  { devices: 3, schedule: 'gpipe', options: { transport: 'local', audit: true } },
  { devices: 3, schedule: '1f1b', options: { transport: 'threads' } },
];

function runOn(layout: Layout, microbatches: number, invariant: boolean): Promise<Map<string, HostTensor>> {
  const spec = { batch: json.data.batch, outputs: true };
  const plan = planOn(layout, {
    model: classifier('microbatch/mlp', 'data.safetensors'),
    programs: {
      train: { ...spec, mode: 'train' },
      gradients: { ...spec, mode: 'gradients' },
      evaluate: { ...spec, mode: 'forward' },
    },
    microbatches,
    invariant,
    optimizer: makeOptimizer({ kind: 'sgd', lr: 0.1 }),
  });
  return using(plan, layout.options, async (session) => {
    const values = new Map<string, HostTensor>((await session.run('gradients', batch)).results);
    await session.run('train', batch);
    for (const [name, t] of withPrefix('after', await session.parameters())) values.set(name, t);
    values.set('eval_logits', (await session.run('evaluate', batch)).results.get('output/logits')!);
    return values;
  });
}

const boundsOf = (part: string) => (name: string) =>
  json.tolerance[part]![name.split('/')[0] as 'loss' | 'grad' | 'after' | 'eval_logits'];

describe('microbatches of an mlp', () => {
  /** Of the first number of microbatches that was run sample by sample. */
  let invariantBytes: string[] | undefined;

  it.each(['fullbatch', 'm2', 'm4', 'm8'])(
    '%s, sample by sample: within the bounds, and the same for all',
    async (part) => {
      const sizes = json.microbatches[part] as readonly number[];
      const results = await runOn(layouts[part === 'm2' ? 2 : 0]!, sizes.length, true);
      const expected = files.raw(`expected/${part}.safetensors`);
      expected.delete('micro_loss');
      expectAll(results, expected, boundsOf(part));
      invariantBytes ??= bytesOf(results);
      expect(bytesOf(results)).toEqual(invariantBytes);
    },
  );

  it.each(['fullbatch', 'm2', 'm4', 'm8'])('%s', async (part) => {
    const sizes = json.microbatches[part] as readonly number[];
    const expected = files.raw(`expected/${part}.safetensors`);
    expected.delete('micro_loss');
    let bytes: string[] | undefined;
    for (const layout of layouts) {
      const results = await runOn(layout, sizes.length, false);
      expectAll(results, expected, boundsOf(part));
      bytes ??= bytesOf(results);
      expect(bytesOf(results)).toEqual(bytes);
    }
  });
});

import { readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { HostTensor } from '../../src/core/types.ts';
import { makePlan } from '../../src/plan/plan.ts';
import { planRequestOf } from '../../src/train/experiment/prepare.ts';
import { train } from '../../src/train/trainer.ts';
import { CaseFiles, type TrainingCase } from './case-files.ts';
import { casePath, prepare, trainingExperiment } from './experiments.ts';
import { bytesOf, type Layout, using, vector, withPrefix } from './layouts.ts';
import { expectAll, type Tolerance } from './tolerance.ts';

// Twenty steps against PyTorch's: every loss, gradient norm and rate, and the parameters after the first and the last.

const names = readdirSync(casePath('training', ''));

/** Layouts with the same number of microbatches: they must give the same bytes. */
const layouts: readonly { microbatches: number; of: readonly Layout[] }[] = [
  {
    microbatches: 1,
    of: [
      { devices: 1, schedule: '1f1b', options: { transport: 'local' } },
      { devices: 3, schedule: '1f1b', options: { transport: 'local' } },
    ],
  },
  {
    microbatches: 2,
    of: [
      { devices: 1, schedule: '1f1b', options: { transport: 'local' } },
      { devices: 3, schedule: 'gpipe', options: { transport: 'local' } },
    ],
  },
  {
    microbatches: 4,
    of: [
      { devices: 1, schedule: 'gpipe', options: { transport: 'local' } },
      { devices: 3, schedule: '1f1b', options: { transport: 'threads' } },
    ],
  },
];

const toleranceOf =
  ({ tolerance }: TrainingCase) =>
  (name: string): Tolerance => {
    if (name === 'lr') return { atol: 0 };
    const slash = name.indexOf('/');
    if (slash < 0) return tolerance[name as 'loss' | 'loss_after' | 'grad_norm'];
    return { atol: tolerance[name.slice(0, slash) as 'step1' | 'final' | 'grad0'].by_param![name.slice(slash + 1)]! };
  };

const squares = (data: ArrayLike<number>): number => Array.from(data).reduce((sum, v) => sum + v * v, 0);

/** All that the case's expected file holds, by its names. */
function trainOn(layout: Layout, microbatches: number, folder: string, json: TrainingCase) {
  const { devices, schedule, options } = layout;
  const prepared = prepare({ ...trainingExperiment(folder, json), devices, schedule, microbatches });
  const { source, steps, learningRate, batch } = prepared;
  const request = planRequestOf(prepared, 'train');
  const programs = { ...request.programs, gradients: { batch, mode: 'gradients' } as const };
  return using(makePlan({ ...request, programs }), options, async (session) => {
    const { tensors } = source!.batchAt(0);
    const results = new Map<string, HostTensor>();
    for (const [name, t] of (await session.run('gradients', tensors)).results) {
      if (name.startsWith('grad/')) results.set(name.replace('grad/', 'grad0/'), t);
    }
    const records = [];
    for await (const record of train({ session, data: source!, steps, learningRate })) {
      records.push(record);
      if (record.step > 0) continue;
      for (const [name, t] of withPrefix('step1', await session.parameters())) results.set(name, t);
    }
    for (const [name, t] of withPrefix('final', await session.parameters())) results.set(name, t);
    results.set('loss', vector(records.map((r) => r.loss)));
    results.set('grad_norm', vector(records.map((r) => r.gradNorm!)));
    results.set('lr', vector(records.map((r) => r.lr)));
    results.set('loss_after', vector([(await session.run('gradients', tensors)).loss]));
    return results;
  });
}

/** ‖got − expected‖ ≤ max·‖expected − initial‖ over all parameters together. */
function expectFinalUpdate(files: CaseFiles<TrainingCase>, results: ReadonlyMap<string, HostTensor>): void {
  const expected = files.tensors('expected.safetensors');
  let error = 0;
  let update = 0;
  for (const [name, initial] of files.initializers) {
    const wanted = expected[`final/${name}`];
    if (!wanted) continue; // not trained
    const got = results.get(`final/${name}`)!;
    error += squares(wanted.data.map((e, i) => got.data[i]! - e));
    update += squares(wanted.data.map((e, i) => e - initial.data[i]!));
  }
  expect(Math.sqrt(error)).toBeLessThanOrEqual(files.json.tolerance.final_update.max * Math.sqrt(update));
}

describe.each(names)('training %s', (name) => {
  const folder = `training/${name}`;
  const files = new CaseFiles<TrainingCase>(folder);

  it.each(layouts)('with $microbatches microbatches', async ({ microbatches, of }) => {
    let bytes: string[] | undefined;
    for (const layout of of) {
      const results = await trainOn(layout, microbatches, folder, files.json);
      expectAll(results, files.raw('expected.safetensors'), toleranceOf(files.json));
      expectFinalUpdate(files, results);
      bytes ??= bytesOf(results);
      expect(bytesOf(results)).toEqual(bytes);
    }
  });
});

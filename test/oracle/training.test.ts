import { describe, expect, it } from 'vitest';
import type { HostTensor } from '../../src/core/types.ts';
import { makeOptimizer, type OptimizerConfig } from '../../src/optim/optimizer.ts';
import type { Plan } from '../../src/plan/plan.ts';
import { CaseFiles, type TrainingCase } from './case-files.ts';
import { classifier } from './experiments.ts';
import { bytesOf, type Layout, planOn, using, vector, withPrefix } from './layouts.ts';
import { expectAll, type Tolerance } from './tolerance.ts';

// Twenty steps against PyTorch's: every loss, gradient norm and rate, and the parameters after the first and the last.

const names = ['mlp_sgd', 'mlp_sgd_momentum', 'mlp_adam', 'mlp_adam_cosine', 'gpt_mini_adamw'];

/** Layouts with the same number of microbatches: they must give the same bytes. */
const layouts: readonly { microbatches: number; of: readonly Layout[] }[] = [
  { microbatches: 1, of: [{ devices: 1, schedule: '1f1b', options: { transport: 'local' } }] },
  {
    microbatches: 4,
    of: [
      { devices: 1, schedule: 'gpipe', options: { transport: 'local' } },
      { devices: 3, schedule: 'gpipe', options: { transport: 'local' } },
      { devices: 3, schedule: '1f1b', options: { transport: 'threads' } },
    ],
  },
];

function optimizerOf({ optimizer }: TrainingCase): OptimizerConfig {
  const { lr, weight_decay: weightDecay, momentum, dampening, nesterov, betas, eps, amsgrad } = optimizer;
  if (optimizer.kind === 'sgd') return { kind: 'sgd', lr, weightDecay, momentum, dampening, nesterov };
  return { kind: optimizer.decoupled_weight_decay ? 'adamw' : 'adam', lr, weightDecay, betas, eps, amsgrad };
}

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
async function train(plan: Plan, layout: Layout, { json, ...files }: { json: TrainingCase; batch: Batch }) {
  const { options } = layout;
  return using(plan, options, async (session) => {
    const losses: number[] = [];
    const norms: number[] = [];
    const results = new Map<string, HostTensor>();
    for (const [step, lr] of json.schedule.lr_per_step.entries()) {
      const gradients = [...(await session.run('gradients', files.batch)).results].filter(([n]) =>
        n.startsWith('grad/'),
      );
      norms.push(Math.sqrt(gradients.reduce((sum, [, t]) => sum + squares(t.data), 0)));
      if (step === 0) for (const [name, t] of gradients) results.set(name.replace('grad/', 'grad0/'), t);
      losses.push((await session.run('train', files.batch, { step, lr })).loss);
      if (step === 0) for (const [name, t] of withPrefix('step1', await session.parameters())) results.set(name, t);
    }
    for (const [name, t] of withPrefix('final', await session.parameters())) results.set(name, t);
    results.set('loss', vector(losses));
    results.set('grad_norm', vector(norms));
    results.set('lr', vector(json.schedule.lr_per_step));
    results.set('loss_after', vector([(await session.run('gradients', files.batch)).loss]));
    return results;
  });
}

type Batch = Readonly<Record<string, HostTensor>>;

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
  const files = new CaseFiles<TrainingCase>(`training/${name}`);
  const { json } = files;
  const batch = files.tensors('data.safetensors');

  it.each(layouts)('with $microbatches microbatches', async ({ microbatches, of }) => {
    let bytes: string[] | undefined;
    for (const layout of of) {
      const plan = planOn(layout, {
        model: classifier(`training/${name}`, 'data.safetensors'),
        programs: {
          train: { batch: json.data.batch, mode: 'train' },
          gradients: { batch: json.data.batch, mode: 'gradients' },
        },
        microbatches,
        optimizer: makeOptimizer(optimizerOf(json)),
      });
      const results = await train(plan, layout, { json, batch });
      expectAll(results, files.raw('expected.safetensors'), toleranceOf(json));
      expectFinalUpdate(files, results);
      bytes ??= bytesOf(results);
      expect(bytesOf(results)).toEqual(bytes);
    }
  });
});

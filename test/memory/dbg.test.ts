import { it } from 'vitest';
import { Session } from '../../src/train/session.ts';
import { batchFor, smallModels } from '../support/built-in.ts';
import { planOf } from '../support/models.ts';

it('t', async () => {
  for (const kind of ['mlp', 'resnet', 'gpt'] as const)
    for (const recompute of ['none', 'stage', 'optimal'] as const)
      for (const microbatches of [1, 4]) {
        const a = performance.now();
        const plan = planOf(smallModels[kind], { batch: 5, microbatches, schedule: 'zb-h1', recompute, devices: 2 });
        const b = performance.now();
        await using session = await Session.open(plan, { seed: 1, transport: 'local', audit: true });
        const c = performance.now();
        await session.run('train', batchFor(plan, 'train', 3), { step: 0 });
        const d = performance.now();
        console.log(
          kind,
          recompute,
          microbatches,
          (b - a).toFixed(0),
          (c - b).toFixed(0),
          (d - c).toFixed(0),
          plan.programs.train!.devices.map((x) => x.instructions.length),
          plan.memory.map((m) => m.peakBytes),
        );
      }
}, 100000);

import { describe, expect, it } from 'vitest';
import { makePlan, type Plan } from '../../src/plan/plan.ts';
import { Session } from '../../src/train/session.ts';
import { batchFor, smallModelKinds, smallModels } from '../support/built-in.ts';
import { type PlanOverrides, planOf, toHex } from '../support/models.ts';

// Fused or not, alone or on two devices, with values computed again or kept: the same bits; and planned bytes are measured.

async function run(plan: Plan): Promise<string[]> {
  await using session = await Session.open(plan, { seed: 1, transport: 'local', audit: true });
  const lines: string[] = [];
  for (let step = 0; step < 2; step++) {
    const { results } = await session.run('train', batchFor(plan, 'train', 3 + step), { step });
    lines.push(...[...results].map(([name, t]) => `${name} ${toHex(t)}`));
  }
  expect(await session.measuredPeaks()).toEqual(plan.memory.map((m) => m.peakBytes));
  return [...lines, ...[...(await session.parameters())].map(([name, t]) => `${name} ${toHex(t)}`)];
}

const fusedNodes = (plan: Plan): string[] =>
  plan.programs.train!.devices.flatMap(({ instructions }) =>
    instructions.flatMap((i) => (i.kind === 'compute' && i.parts[0]!.signature.op === 'fused' ? [i.op] : [])),
  );

const layouts: Readonly<Record<string, PlanOverrides>> = {
  'one device': {},
  'two devices': { devices: 2, microbatches: 2, schedule: 'zb-h1' },
  'recompute stage': { devices: 2, microbatches: 2, recompute: 'stage' },
  'samples one by one': { microbatches: 2, invariant: true },
};

describe('fused plans', () => {
  it.each(smallModelKinds)('%s has the bits of the plan that is not', async (kind) => {
    const model = smallModels[kind];
    let fused = 0;
    for (const [name, layout] of Object.entries(layouts)) {
      if (kind === 'resnet' && layout.invariant) continue; // it normalises by the batch
      const off = planOf(model, { ...layout, batch: 5 });
      const on = planOf(model, { ...layout, batch: 5, fusion: 'on' });
      expect(fusedNodes(off)).toEqual([]);
      fused += fusedNodes(on).length;
      expect(await run(on), name).toEqual(await run(off));
    }
    if (kind !== 'lstm') expect(fused).toBeGreaterThan(0);
  });

  it('keep the bits of the reference device too', async () => {
    const request = planOf(smallModels.gpt, { batch: 3 }).request;
    const devices = [{ backend: 'reference', memory: null, speed: 1 }] as const;
    const [off, on] = (['off', 'on'] as const).map((fusion) => makePlan({ ...request, devices, fusion }));
    expect(fusedNodes(on!).length).toBeGreaterThan(0);
    expect(await run(on!)).toEqual(await run(off!));
  });
});

import { describe, expect, it } from 'vitest';
import { Session } from '../../src/train/session.ts';
import { f32, planOf, threeLayers, toHex } from '../support/models.ts';

// The upper rungs of the smoke ladder: the first red one says where to look. (The lower ones, single ops and gradients
// without devices, are in kernels.test.ts.)
const batch = { x: f32([8, 6], 1), t: f32([8, 3], 2) };

async function train(plan: ReturnType<typeof planOf>, steps: number, transport: 'threads' | 'local', audit = true) {
  await using session = await Session.open(plan, { seed: 7, audit, transport });
  const losses: number[] = [];
  for (let step = 0; step < steps; step++) losses.push((await session.run('train', batch, { step })).loss);
  const parameters = await session.parameters();
  expect(await session.measuredPeaks()).toEqual(session.plannedPeaks());
  return { losses, parameters: [...parameters].map(([name, t]) => [name, toHex(t)] as const) };
}

describe.each(['local', 'threads'] as const)('smoke ladder, %s', (transport) => {
  it('takes one step on one device', async () => {
    const { losses } = await train(planOf(threeLayers), 1, transport);
    expect(losses[0]).toBeGreaterThan(0);
  });
  it('falls on one device', async () => {
    const { losses } = await train(planOf(threeLayers), 30, transport, false);
    expect(losses.at(-1)!).toBeLessThan(0.5 * losses[0]!);
  });
  it('gives the same bits on two devices', async () => {
    const one = await train(planOf(threeLayers), 5, transport);
    expect(await train(planOf(threeLayers, { devices: 2 }), 5, transport)).toEqual(one);
  });
  it.each([2, 3, 4])('gives the same bits on 1, 2 and 3 devices with %i microbatches', async (microbatches) => {
    const one = await train(planOf(threeLayers, { microbatches }), 3, transport);
    for (const schedule of ['gpipe', '1f1b'] as const) {
      for (const devices of [2, 3]) {
        expect(await train(planOf(threeLayers, { microbatches, devices, schedule }), 3, transport)).toEqual(one);
      }
    }
  });
});

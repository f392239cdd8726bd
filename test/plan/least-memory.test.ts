import { describe, expect, it } from 'vitest';
import { leastMemory } from '../../src/plan/least-memory.ts';
import { clusterOf, makePlan, type PlanRequest } from '../../src/plan/plan.ts';
import { memoryOverTime, simulate } from '../../src/simulate/index.ts';
import { planOf, threeLayers } from '../support/models.ts';

const page = 65536;

describe('the smallest equal capacity', () => {
  const requestOn = (devices: number, overrides: Partial<PlanRequest> = {}): PlanRequest => ({
    ...planOf(threeLayers, { batch: 4096, microbatches: 8, devices, schedule: 'gpipe' }).request,
    partition: 'auto',
    ...overrides,
  });
  const fits = (request: PlanRequest, memory: number): boolean => {
    try {
      makePlan({ ...request, devices: request.devices.map((d) => ({ ...d, memory })) });
      return true;
    } catch {
      return false;
    }
  };

  it.each([1, 2, 3])('of %i devices is one at which the plan is made, and a page less is refused', async (k) => {
    const found = await leastMemory(requestOn(k));
    expect(found).toMatchObject({ devices: k, microbatches: 8, complete: true });
    const { request } = found.plan;
    expect(request.devices.map((d) => d.memory)).toEqual(new Array(k).fill(found.capacityBytes));
    expect(fits(request, found.capacityBytes)).toBe(true);
    expect(found.refused!.capacityBytes).toBe(found.capacityBytes - page);
    for (const partition of ['auto', { balance: 'memory' }] as const) {
      expect(fits({ ...request, partition }, found.capacityBytes - page)).toBe(false);
    }
    expect(found.lowerBound).toBeLessThanOrEqual(found.capacityBytes);
  });

  it('is that of the plan at once where neither partition nor schedule knows capacities', async () => {
    const request = requestOn(2, { partition: { balance: 'memory' } });
    const found = await leastMemory(request);
    const free = makePlan(request);
    const need = Math.max(...free.memory.map((m) => m.peakBytes));
    expect(found.capacityBytes).toBe(page * Math.ceil(need / page));
    expect(found.evaluated).toBeLessThanOrEqual(3);
  });

  it('is never below what all devices hold when the updates begin: parameters, gradients and state', async () => {
    for (const optimizer of [{ kind: 'sgd', lr: 0.1 }, { kind: 'adam' }] as const) {
      for (const more of [{}, { clip: { globalNorm: 1 } }, { l2: { lambda: 0.1, parameters: ['a', 'b'] } }]) {
        const { request } = planOf(threeLayers, { batch: 8, microbatches: 2, devices: 2, optimizer, ...more });
        const { lowerBound, plan } = await leastMemory({ ...request, partition: 'auto' });
        const program = plan.programs.train!;
        const atBarrier = plan.memory.map(({ device, layouts, persistent }) => {
          const own = program.devices[device]!;
          const barrier = own.instructions.findIndex((i) => i.kind === 'barrier' && i.name === 'gradients');
          const { samples } = memoryOverTime(own, layouts.train!, persistent, simulate(program, clusterOf(request)));
          return Object.values(samples[barrier]!.live).reduce((x, y) => x + y, 0);
        });
        const scalars = 6 * 10 + 10 * 7 + 7 + 7 * 3;
        const states = optimizer.kind === 'adam' ? 2 : 0;
        expect(2 * lowerBound).toBeGreaterThanOrEqual((2 + states) * 4 * scalars);
        expect(2 * lowerBound).toBeLessThanOrEqual(atBarrier.reduce((x, y) => x + y, 0));
      }
    }
  });

  it('takes as many devices as it is asked for, and says where it was cut short', async () => {
    const whole = await leastMemory(requestOn(1), { devices: 3 });
    expect(whole.plan.memory).toHaveLength(3);
    expect(whole.capacityBytes).toBe((await leastMemory(requestOn(3))).capacityBytes);
    const short = await leastMemory(requestOn(3), { evaluations: 2 });
    expect(short).toMatchObject({ complete: false, evaluated: 2 });
    expect(fits(short.plan.request, short.capacityBytes)).toBe(true);
  });

  it('is not looked for on devices that differ', async () => {
    const request = requestOn(2);
    const devices = [request.devices[0]!, { ...request.devices[1]!, speed: 2 }];
    await expect(leastMemory({ ...request, devices })).rejects.toMatchObject({ code: 'least-memory-devices' });
  });

  it('ends by its signal', async () => {
    const signal = AbortSignal.abort(new Error('enough'));
    await expect(leastMemory(requestOn(2), { signal })).rejects.toThrow('enough');
  });
});

import { describe, expect, it } from 'vitest';
import type { DeviceMemoryPlan } from '../../src/memory/device-memory.ts';
import { bindingOf, sharesOf } from '../../src/plan/binding.ts';
import { draftPlan, makePlan, type Plan } from '../../src/plan/plan.ts';
import { lackingBytes, shortages } from '../../src/plan/shortage.ts';
import { printPlan } from '../../src/report/plan.ts';
import { planOf, threeLayers } from '../support/models.ts';

describe('what a plan lacks', () => {
  it('is what its devices need beyond their pages, summed over those that need more', () => {
    const { request } = planOf(threeLayers, { devices: 3 });
    const devices = [70_000, 65_536, 200_000].map((memory, d) => ({ ...request.devices[d]!, memory }));
    const memory = [70_000, 65_536, 200_000].map((peakBytes, device) => ({ device, peakBytes }) as DeviceMemoryPlan);
    const plan = { request: { ...request, devices }, memory } as unknown as Plan;
    expect(shortages(plan)).toEqual([
      { device: 0, needBytes: 70_000, capacityBytes: 65_536 },
      { device: 2, needBytes: 200_000, capacityBytes: 3 * 65_536 },
    ]);
    expect(lackingBytes(plan)).toBe(70_000 - 65_536 + 200_000 - 3 * 65_536);
  });
});

describe('what binds a plan', () => {
  const request = planOf(threeLayers, { batch: 4096, microbatches: 8, devices: 2 }).request;
  const withMemory = (...memory: (number | null)[]) =>
    draftPlan({ ...request, devices: request.devices.map((d, i) => ({ ...d, memory: memory[i]! })) });

  it('is nothing where devices have as much as needed', () => {
    expect(bindingOf(withMemory(null, null))).toBeUndefined();
    expect(printPlan(withMemory(null, null))).not.toContain('Binds:');
  });

  it('is the device that uses the largest share of its capacity, with categories that sum to its peak', () => {
    for (const [device, memory] of [
      [0, [1 << 20, 1 << 30]],
      [1, [1 << 30, 1 << 20]],
    ] as const) {
      const plan = withMemory(...memory);
      const binding = bindingOf(plan)!;
      expect(binding).toMatchObject({ device, capacityBytes: 1 << 20, peakBytes: plan.memory[device]!.peakBytes });
      expect(binding.categories.reduce((sum, c) => sum + c.bytes, 0)).toBe(binding.peakBytes);
      const bytes = binding.categories.map((c) => c.bytes);
      expect(bytes).toEqual([...bytes].sort((a, b) => b - a));
      expect(printPlan(plan)).toMatch(new RegExp(`Binds: device ${device}, .* of 1\\.00 MiB, .* to spare: `));
    }
  });

  it('is told of a refusal by category and tensor', () => {
    const plan = withMemory(65536, 65536);
    expect(printPlan(plan)).toContain('too few');
    const largest = sharesOf(plan.memory[0]!)[0]!;
    expect(() => makePlan(plan.request)).toThrow(
      expect.objectContaining({
        code: 'plan-does-not-fit',
        fields: expect.objectContaining({
          devices: expect.arrayContaining([
            expect.objectContaining({
              device: 0,
              byCategory: expect.objectContaining({ [largest.category]: largest.bytes }),
            }),
          ]),
        }),
      }),
    );
  });
});

import { describe, expect, it } from 'vitest';
import { draftPlan, makePlan, type PlannedDevice } from '../../src/plan/plan.ts';
import { planOf, threeLayers } from '../support/models.ts';

describe('devices of a plan', () => {
  const good = { backend: 'wasm', memory: null, speed: 1 };

  it.each([
    ['memory', { ...good, memory: '1MiB' }],
    ['memory', { ...good, memory: Number.NaN }],
    ['speed', { ...good, speed: 0 }],
  ])('need their %s, and the one that lacks it is named: %j', (key, bad) => {
    const devices = [good, bad] as PlannedDevice[];
    expect(() => makePlan({ ...planOf(threeLayers).request, devices })).toThrow(
      expect.objectContaining({ code: 'device-invalid', message: expect.stringContaining(`devices.1.${key}`) }),
    );
  });
});

it.each(['backend', 'memory', 'speed'])('devices of a plan are refused without their %s, by number', (key) => {
  const device = { backend: 'wasm', memory: null, speed: 1 } as const;
  const devices = [device, { ...device, [key]: undefined }];
  expect(() => makePlan({ ...planOf(threeLayers).request, devices })).toThrow(
    expect.objectContaining({ code: 'options-invalid', message: `makePlan: devices.1: option ${key} is missing` }),
  );
});

describe('an automatic partition', () => {
  const plain = { backend: 'wasm', memory: null, speed: 1 } as const;
  // Wide in front, so that the first of two stages holds most bytes; the fast device comes first, so that time wants more there.
  const request = planOf(threeLayers, { batch: 4096, microbatches: 8, schedule: 'gpipe' }).request;
  const peaksOf = (devices: readonly PlannedDevice[]) =>
    draftPlan({ ...request, devices }).memory.map((m) => m.peakBytes);

  it('moves the cut where the fastest one exceeds a memory', () => {
    const devices = [{ ...plain, speed: 4 }, plain];
    const free = peaksOf(devices);
    const memory = 65536 * (Math.ceil(free[0]! / 65536) - 1);
    const tight = [{ ...plain, speed: 4, memory }, plain];
    const plan = makePlan({ ...request, devices: tight });
    expect(plan.memory[0]!.peakBytes).toBeLessThanOrEqual(memory);
    expect(plan.memory[0]!.peakBytes).toBeLessThan(free[0]!);
    expect(plan.partition.stages).toBe(2);
  });

  it('is the fastest where all fits, and refused where nothing does', () => {
    const roomy = peaksOf([{ ...plain, memory: 1 << 28 }, plain]);
    expect(roomy).toEqual(peaksOf([plain, plain]));
    const none = [
      { ...plain, memory: 65536 },
      { ...plain, memory: 65536 },
    ];
    expect(() => makePlan({ ...request, devices: none })).toThrow(
      expect.objectContaining({ code: 'plan-does-not-fit', remedy: expect.stringContaining('--') }),
    );
  });
});

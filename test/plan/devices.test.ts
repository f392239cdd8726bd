import { describe, expect, it } from 'vitest';
import { makePlan, type PlannedDevice } from '../../src/plan/plan.ts';
import { planOf, threeLayers } from '../support/models.ts';

describe('devices of a plan', () => {
  const good = { backend: 'wasm', memory: null, speed: 1 };

  it.each([
    ['memory', { backend: 'wasm', speed: 1 }],
    ['memory', { ...good, memory: '1MiB' }],
    ['memory', { ...good, memory: Number.NaN }],
    ['speed', { backend: 'wasm', memory: null }],
    ['speed', { ...good, speed: 0 }],
  ])('need their %s, and the one that lacks it is named: %j', (key, bad) => {
    const devices = [good, bad] as PlannedDevice[];
    expect(() => makePlan({ ...planOf(threeLayers).request, devices })).toThrow(
      expect.objectContaining({ code: 'device-invalid', message: expect.stringContaining(`devices.1.${key}`) }),
    );
  });
});

import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { analyticCosts } from '../../src/cost/model.ts';
import { memoryCategories } from '../../src/program/instruction.ts';
import { criticalPath, idleCauses, memoryOverTime, predict, simulate } from '../../src/simulate/index.ts';
import { planOf, threeLayers } from '../support/models.ts';
import { Choices, randomModel, randomStages } from '../support/random-model.ts';

const cases = fc.record({
  seed: fc.integer({ min: 1, max: 1_000_000 }),
  stages: fc.integer({ min: 1, max: 5 }),
  devices: fc.integer({ min: 1, max: 4 }),
  microbatches: fc.integer({ min: 1, max: 4 }),
  schedule: fc.constantFrom('gpipe', '1f1b') as fc.Arbitrary<'gpipe' | '1f1b'>,
  invariant: fc.boolean(),
});

/** Any cut of any model on any devices. */
function planFor({ seed, stages, ...rest }: typeof cases extends fc.Arbitrary<infer T> ? T : never) {
  const model = randomModel(seed);
  const wanted = randomStages(model, stages, seed);
  const used = [...new Set(Object.values(wanted))].sort((a, b) => a - b);
  const choices = new Choices(seed + 1);
  return planOf(model, {
    ...rest,
    batch: 7,
    partition: { stages: Object.fromEntries(Object.entries(wanted).map(([name, s]) => [name, used.indexOf(s)])) },
    placement: used.map(() => choices.below(rest.devices)),
  });
}

describe('programs of plans', () => {
  it('reach the planned peak of every device to the byte, category by category', () => {
    fc.assert(
      fc.property(cases, (c) => {
        const plan = planFor(c);
        const program = plan.programs.train!;
        const simulation = simulate(program, { devices: plan.request.devices, costs: analyticCosts() });
        plan.memory.forEach((planned, d) => {
          const layout = planned.layouts.train!;
          const own = program.devices[d]!;
          const memory = memoryOverTime(own, layout, planned.persistent, simulation);
          expect(memory.peakBytes).toBe(planned.peakBytes);
          expect(memory.samples.length).toBe(own.instructions.length);
          if (memory.samples.length === 0) return;
          const total = (live: (typeof memory.samples)[number]['live']) =>
            memoryCategories.reduce((sum, category) => sum + live[category], 0);
          expect(Math.max(...memory.samples.map((s) => total(s.live)))).toBe(planned.maxLive);
          const { padding, ...live } = planned.byCategory;
          expect(memory.samples[layout.peakAt]!.live).toEqual(live);
          expect(total(live) + padding).toBe(memory.peakBytes);
          // Whoever lives at an instruction reaches as far as its offset and bytes say.
          const base = Math.max(0, ...planned.persistent.map((p) => p.offset + p.bytes));
          const tops = memory.samples.map((_, i) =>
            layout.intervals.flatMap(({ buffer, first, last }) =>
              first <= i && i <= last ? [layout.offsets[buffer]! + own.buffers[buffer]!.bytes] : [],
            ),
          );
          expect(memory.samples.map((s) => s.reachBytes)).toEqual(tops.map((t) => Math.max(base, ...t)));
          const ends = memory.samples.map((_, i) => simulation.timeline!.at(d, i).end);
          expect(memory.samples.map((s) => s.seconds)).toEqual([0, ...ends].slice(0, ends.length));
          const peakAt = memory.samples.findIndex((s) => s.reachBytes === memory.peakBytes);
          expect(memory.peakSeconds).toBe(memory.samples[peakAt]!.seconds);
          // What lives now fits below what is reached now, and time does not go back.
          memory.samples.forEach((s, i) => {
            expect(total(s.live)).toBeLessThanOrEqual(s.reachBytes);
            expect(s.seconds).toBeGreaterThanOrEqual(memory.samples[i - 1]?.seconds ?? 0);
          });
        });
      }),
      { numRuns: 15, seed: 5 },
    );
  });

  it('have a critical path as long as the step, and causes for all idle time', () => {
    fc.assert(
      fc.property(cases, (c) => {
        const plan = planFor(c);
        const { devices } = plan.request;
        const simulation = simulate(plan.programs.train!, { devices, costs: analyticCosts() });
        const path = criticalPath(simulation);
        expect(path.seconds).toBe(simulation.stepSeconds);
        path.segments.forEach((s, i) => {
          expect(s.begin).toBe(i === 0 ? 0 : path.segments[i - 1]!.end);
        });
        const idle = simulation.bubbleFraction * devices.length * simulation.stepSeconds;
        expect(idleCauses(simulation).reduce((sum, i) => sum + i.seconds, 0)).toBeCloseTo(idle, 12);
        expect(plan.prediction).toEqual({
          stepSeconds: simulation.stepSeconds,
          bubbleFraction: simulation.bubbleFraction,
          busySeconds: simulation.devices.map((d) => d.busySeconds),
        });
      }),
      { numRuns: 12, seed: 6 },
    );
  });

  it('take the sum of their kernels on one device, and less by its speed', () => {
    const plan = planOf(threeLayers, { microbatches: 3 });
    const costs = analyticCosts();
    const program = plan.programs.train!;
    const { instructions, buffers } = program.devices[0]!;
    const all = instructions.reduce((sum, i) => {
      const copied = i.kind === 'input' || i.kind === 'output' || i.kind === 'copy' ? buffers[i.buffer]!.bytes : 0;
      const parts = i.kind === 'compute' ? i.parts : [];
      return parts.reduce(
        (s, part) => s + part.repeat * costs.kernelSeconds(part, 'wasm'),
        sum + costs.instructionSeconds('wasm', copied),
      );
    }, 0);
    const on = (speed: number) => predict(program, [{ backend: 'wasm', speed }], costs);
    expect(on(1).stepSeconds).toBeCloseTo(all, 12);
    expect(on(1).bubbleFraction).toBe(0);
    expect(on(4).stepSeconds).toBeCloseTo(all / 4, 12);
  });

  it("count a device's own roofline instead of the cost model's", () => {
    const plan = planOf(threeLayers, { microbatches: 2 });
    const slow = { flopsPerSecond: 1e6, bytesPerSecond: 1e12, secondsPerKernel: 0, speed: 1 };
    const { stepSeconds } = predict(
      plan.programs.train!,
      [{ backend: 'wasm', speed: 1, model: slow }],
      analyticCosts(),
    );
    const flops = plan.programs.train!.devices[0]!.instructions.reduce(
      (sum, i) => sum + (i.kind === 'compute' ? i.flops : 0),
      0,
    );
    // What only moves bytes takes next to nothing here.
    expect(stepSeconds / (flops / 1e6)).toBeCloseTo(1, 2);
  });
});

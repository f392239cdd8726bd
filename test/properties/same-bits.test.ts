import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type OptimizerConfig, type OptimizerKind, optimizerKinds } from '../../src/optim/optimizer.ts';
import type { Plan } from '../../src/plan/plan.ts';
import type { Fault } from '../../src/runtime/device-image.ts';
import { Session, type SessionOptions } from '../../src/train/session.ts';
import { f32, planOf, toHex } from '../support/models.ts';
import { Choices, randomModel, randomStages } from '../support/random-model.ts';
import { randomScheduleFor } from '../support/random-schedule.ts';

// P1 and P2 as one property: any legal cut of any graph, on any number of devices, under any schedule (backwards split or not) and with any
// delays, gives the bits of one device at the same microbatch count; and every device's memory is as planned, to the byte.

interface Case {
  readonly seed: number;
  readonly stages: number;
  readonly devices: number;
  readonly microbatches: number;
  readonly schedule: 'gpipe' | '1f1b' | 'random';
  readonly optimizer: OptimizerKind;
  /** Whether gradients are clipped, and so wait for those of all devices. */
  readonly clips: boolean;
  /** Elementwise chains in one pass, on many devices only. */
  readonly fuses: boolean;
}

const cases = fc.record<Case>({
  seed: fc.integer({ min: 1, max: 1_000_000 }),
  stages: fc.integer({ min: 1, max: 5 }),
  devices: fc.integer({ min: 1, max: 4 }),
  microbatches: fc.integer({ min: 1, max: 4 }),
  schedule: fc.constantFrom('gpipe', '1f1b', 'random'),
  optimizer: fc.constantFrom(...optimizerKinds),
  clips: fc.boolean(),
  fuses: fc.boolean(),
});

function plans(c: Case): { one: Plan; many: Plan } {
  const model = randomModel(c.seed);
  const optimizer: OptimizerConfig =
    c.optimizer === 'sgd' || c.optimizer === 'rmsprop'
      ? { kind: c.optimizer, lr: 0.01, momentum: 0.9 }
      : { kind: c.optimizer, lr: 0.01 };
  // 7 samples: chunks are uneven wherever M does not divide them.
  const shared = { batch: 7, microbatches: c.microbatches, optimizer, clip: c.clips ? { globalNorm: 0.1 } : undefined };
  const wanted = randomStages(model, c.stages, c.seed);
  const used = [...new Set(Object.values(wanted))].sort((a, b) => a - b);
  const stages = Object.fromEntries(Object.entries(wanted).map(([name, s]) => [name, used.indexOf(s)]));
  const choices = new Choices(c.seed + 1);
  const placement = used.map(() => choices.below(c.devices));
  const layout = {
    ...shared,
    devices: c.devices,
    partition: { stages },
    placement,
    fusion: c.fuses ? 'on' : 'off',
  } as const;
  const named = planOf(model, { ...layout, schedule: c.schedule === 'random' ? 'gpipe' : c.schedule });
  return {
    one: planOf(model, { ...shared, devices: 1, schedule: 'gpipe' }),
    many: c.schedule === 'random' ? planOf(model, { ...layout, schedule: randomScheduleFor(named, c.seed) }) : named,
  };
}

const batch = (seed: number, width: number) => ({
  x: f32([7, width], seed),
  z: f32([7, width], seed + 1),
  t: f32([7, width], seed + 2),
});

async function run(plan: Plan, seed: number, options: SessionOptions) {
  const width = plan.programs.train!.feeds.find((f) => f.name === 'x' || f.name === 't')!.type.shape[1]!;
  await using session = await Session.open(plan, { seed, ...options });
  const losses: string[] = [];
  for (let step = 0; step < 2; step++) {
    const result = await session.run('train', batch(seed + step, width), { step });
    losses.push(...[...result.results].map(([name, t]) => `${name} ${toHex(t)}`));
    if (options.audit) {
      result.reports.forEach((report, d) => {
        const layout = plan.memory[d]!.layouts.train!;
        const measured = Math.max(0, ...report.audit!.liveBytes.map((row) => row.reduce((a, b) => a + b, 0)));
        if (report.audit!.liveBytes.length > 0) expect(measured).toBe(layout.maxLive);
      });
    }
  }
  expect(await session.measuredPeaks()).toEqual(session.plannedPeaks());
  const parameters = [...(await session.parameters()), ...(await session.optimizerState())];
  return { losses, parameters: parameters.map(([name, t]) => `${name} ${toHex(t)}`).sort() };
}

/** A few devices pause at random instructions: arrival orders change, results must not. */
function delays(plan: Plan, seed: number): Record<number, Fault[]> {
  const choices = new Choices(seed);
  return Object.fromEntries(
    plan.programs.train!.devices.map(({ device, instructions }) => [
      device,
      Array.from(
        { length: Math.min(4, instructions.length) },
        (): Fault => ({
          kind: 'delay',
          step: choices.below(2),
          instruction: choices.below(instructions.length),
          seconds: choices.below(8) / 1000,
        }),
      ),
    ]),
  );
}

describe('same bits for every layout', () => {
  it('of random graphs, in one thread, audited', { timeout: 300_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(cases, async (c) => {
        const { one, many } = plans(c);
        const expected = await run(one, c.seed, { transport: 'local', audit: false });
        expect(await run(many, c.seed, { transport: 'local', audit: true })).toEqual(expected);
        expect(await run(many, c.seed, { transport: 'local', audit: false, poison: 'complement' })).toEqual(expected);
      }),
      { numRuns: 120 },
    );
  });

  it('of random graphs, on threads, with random delays', { timeout: 300_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(cases, async (c) => {
        const { one, many } = plans(c);
        const expected = await run(one, c.seed, { audit: false });
        expect(await run(many, c.seed, { audit: false, faults: delays(many, c.seed) })).toEqual(expected);
      }),
      { numRuns: 25 },
    );
  });
});

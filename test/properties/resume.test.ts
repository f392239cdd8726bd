// P7: a training that is interrupted anywhere, any number of times, and goes on elsewhere has the bits of one that was not.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { momentumKinds, type OptimizerConfig } from '../../src/optim/optimizer.ts';
import { newestStep, readCheckpoint } from '../../src/train/checkpoint/folder.ts';
import type { LearningRateConfig } from '../../src/train/learning-rate.ts';
import { Session } from '../../src/train/session.ts';
import { type StepRecord, train } from '../../src/train/trainer.ts';
import { toHex } from '../support/models.ts';
import { Choices, randomStages } from '../support/random-model.ts';
import { type StatefulOptions, stateful, statefulModel } from '../support/stateful.ts';

interface Layout {
  readonly stages: number;
  readonly devices: number;
  readonly schedule: 'gpipe' | '1f1b';
  /** In invariant mode, where every number of them gives the same bits. */
  readonly microbatches: number;
  readonly seed: number;
}
const layout = fc.record<Layout>({
  stages: fc.integer({ min: 1, max: 4 }),
  devices: fc.integer({ min: 1, max: 3 }),
  schedule: fc.constantFrom('gpipe', '1f1b'),
  microbatches: fc.integer({ min: 1, max: 3 }),
  seed: fc.integer({ min: 1, max: 1_000_000 }),
});

const optimizers: readonly OptimizerConfig[] = [
  { kind: 'adam', lr: 0.02, amsgrad: true },
  { kind: 'adamw', lr: 0.02, noDecay: ['last'] },
  { kind: 'sgd', lr: 0.05, momentum: 0.9, nesterov: true },
  { kind: 'rmsprop', lr: 0.01, centered: true, momentum: 0.5 },
  { kind: 'adagrad', lr: 0.05, lrDecay: 0.1, initialAccumulatorValue: 0.2 },
  { kind: 'adadelta', rho: 0.8 },
];

const rules: readonly LearningRateConfig[] = [
  { kind: 'warmupCosine', warmupSteps: 3, totalSteps: 20, minRatio: 0.1 },
  { kind: 'oneCycle', maxLr: 0.05, totalSteps: 13 },
];

const cases = fc.record({
  steps: fc.integer({ min: 2, max: 13 }),
  microbatches: fc.integer({ min: 1, max: 3 }),
  optimizer: fc.constantFrom(...optimizers),
  rule: fc.constantFrom(...rules),
  clip: fc.constantFrom(undefined, { globalNorm: 0.3 }),
  /** How batches are normalised; invariant mode needs the statistics of the whole batch. */
  mode: fc.constantFrom('micro', 'deferred', 'exact', 'invariant'),
  every: fc.integer({ min: 1, max: 5 }),
  /** Of each interruption: behind how many of its steps, and on what the training goes on. */
  parts: fc.array(fc.record({ steps: fc.integer({ min: 0, max: 6 }), layout }), { minLength: 1, maxLength: 3 }),
});
type Case = typeof cases extends fc.Arbitrary<infer T> ? T : never;

function common({ microbatches, optimizer, rule, clip, mode }: Case): StatefulOptions {
  const normalizes = mode === 'exact' || mode === 'invariant' ? 'exact' : mode;
  const cycles = rule.kind !== 'oneCycle' || momentumKinds.includes(optimizer.kind);
  return {
    ...{ microbatches, optimizer, clip, batchNorm: normalizes, invariant: mode === 'invariant' },
    rule: cycles ? rule : { ...rule, cycleMomentum: false },
    // Noise where there is any to tell of: not of one microbatch, nor of such as are normalised together.
    ...(microbatches > 1 && normalizes !== 'exact' ? { noise: { decay: 0.8 } } : {}),
    ...(normalizes === 'exact' ? { schedule: 'gpipe' } : {}),
  };
}

function onLayout(c: Case, { stages, devices, schedule, microbatches, seed }: Layout) {
  const wanted = randomStages(statefulModel(), stages, seed);
  const used = [...new Set(Object.values(wanted))].sort((a, b) => a - b);
  const choices = new Choices(seed + 1);
  return stateful({
    schedule,
    ...common(c),
    ...(c.mode === 'invariant' ? { microbatches } : {}),
    devices,
    partition: { stages: Object.fromEntries(Object.entries(wanted).map(([name, s]) => [name, used.indexOf(s)])) },
    placement: used.map(() => choices.below(devices)),
  });
}

/** Nothing of time. */
const told = ({ step, epoch, loss, lr, momentum, gradNorm, noise, evaluation }: StepRecord) => ({
  step,
  epoch,
  loss,
  lr,
  momentum,
  gradNorm,
  noise,
  evaluation,
});

async function bitsOf(session: Session) {
  const { parameters, buffers, optimizerState } = await session.state();
  return [...parameters, ...buffers, ...optimizerState].map(([name, t]) => `${name} ${toHex(t)}`).sort();
}

describe('a resumed training', () => {
  it('has the bits and the history of one that was not interrupted', { timeout: 300_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(cases, async (c) => {
        const dir = mkdtempSync(join(tmpdir(), 'partita-resume-'));
        const one = stateful(common(c));
        await using whole = await Session.open(one.plan, { seed: one.seed, transport: 'local', audit: false });
        const expected: ReturnType<typeof told>[] = [];
        for await (const record of train({ session: whole, ...one.training, steps: c.steps }))
          expected.push(told(record));

        let resume: string | undefined;
        const last = { steps: Number.POSITIVE_INFINITY, layout: c.parts[0]!.layout };
        for (const part of [...c.parts, last]) {
          const { plan, seed, training } = onLayout(c, part.layout);
          await using session = await Session.open(plan, { seed, transport: 'local', audit: false });
          const earlier = resume === undefined ? [] : readCheckpoint(resume).records;
          const records = [...earlier];
          const checkpoint = { dir, every: c.every };
          let done = 0;
          if (part.steps > 0) {
            for await (const record of train({ session, ...training, steps: c.steps, checkpoint, resume })) {
              records.push(record);
              if (++done === part.steps) break;
            }
          }
          expect(records.map(told)).toEqual(expected.slice(0, records.length));
          if (part === last) {
            expect(records).toHaveLength(c.steps);
            expect(await bitsOf(session)).toEqual(await bitsOf(whole));
            const { best, step } = readCheckpoint(dir);
            expect(step).toBe(c.steps);
            const losses = expected.map((r) => r.evaluation?.loss ?? Number.POSITIVE_INFINITY);
            expect(best?.step).toBe(losses.indexOf(Math.min(...losses)));
          }
          // What is on the disk is at most `every` steps behind.
          const kept = newestStep(dir);
          expect(records.length - (kept ?? 0)).toBeLessThan(c.every);
          if (kept !== undefined) resume = dir;
        }
        rmSync(dir, { recursive: true });
      }),
      { numRuns: 25 },
    );
  });
});

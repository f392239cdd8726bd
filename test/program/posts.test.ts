import { describe, expect, it } from 'vitest';
import { analyticCosts } from '../../src/cost/model.ts';
import { modelOf } from '../../src/nn/models/index.ts';
import { makeOptimizer } from '../../src/optim/optimizer.ts';
import { makePlan } from '../../src/plan/plan.ts';
import type { StepProgram } from '../../src/program/instruction.ts';
import { scheduleNames } from '../../src/schedule/index.ts';
import { predict } from '../../src/simulate/predict.ts';

/** The program with every place made at the step's start, so that no sender ever waits; it needs the memory of all. */
const freely = (program: StepProgram): StepProgram => ({
  ...program,
  devices: program.devices.map((d) => ({
    ...d,
    instructions: [
      ...d.instructions.filter((i) => i.kind === 'post'),
      ...d.instructions.filter((i) => i.kind !== 'post'),
    ],
  })),
});

describe('posts by the clock', () => {
  const device = { backend: 'wasm', memory: null, speed: 1 } as const;
  const costs = analyticCosts();
  const config = { kind: 'mlp', inputs: 128, hidden: [256, 192, 256, 160, 256, 128, 256], classes: 10 } as const;

  it.each(scheduleNames)('let %s run as if places were free, on devices that are unequal too', (schedule) => {
    for (const speeds of [
      [1, 1],
      [1, 2, 1],
    ]) {
      const plan = makePlan({
        model: modelOf(config),
        programs: { train: { batch: 512, mode: 'train' } },
        microbatches: 8,
        schedule,
        devices: speeds.map((speed) => ({ ...device, speed })),
        partition: 'auto',
        optimizer: makeOptimizer({ kind: 'sgd', lr: 0.1 }),
        costs,
      });
      const program = plan.programs.train!;
      const best = predict(freely(program), plan.request.devices, costs).stepSeconds;
      // But for the posts themselves, which all stand in front there.
      expect(plan.prediction.stepSeconds / best).toBeGreaterThan(0.995);
      expect(plan.prediction.stepSeconds / best).toBeLessThan(1.04);
    }
  });
});

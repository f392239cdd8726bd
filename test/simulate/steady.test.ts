import { describe, expect, it, vi } from 'vitest';
import { analyticCosts } from '../../src/cost/model.ts';
import { steadyStepOf } from '../../src/plan/steady-step.ts';
import { predict, SpeedTrace, simulate, steadyStep } from '../../src/simulate/index.ts';
import { repeated } from '../../src/simulate/steady.ts';
import { planOf, threeLayers } from '../support/models.ts';
import { barrier, clusterOf, compute, post, programOf, receive, send } from './support.ts';

describe('a step begun ahead', () => {
  // Step k + 1 begins on each device when its own update of step k is over; the barriers open at 9, 9 + 14, 9 + 28, …
  //
  // device 0   ├ 3 ┤├ send 2 ┤┄┄┄┄┄┄┄┄| update 5 ├ 3 ┤├ send 2 ┤|
  // device 1   ┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄├── 4 ──┤| 1 ┤┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄├── 4 ──┤|
  const step = programOf(
    [compute(3), send(1, 0, 20), barrier(), compute(5)],
    [post(0, 0), receive(0, 0), compute(4), barrier(), compute(1)],
  );
  const free = clusterOf(2, { bytesPerSecond: 10, secondsLatency: 0 });

  it('goes on with the numbers of its messages, and takes as long as every later one', () => {
    const { barrierSeconds, devices, messages } = simulate(repeated(step, 4), free);
    expect(barrierSeconds).toEqual([9, 23, 37, 51]);
    expect(messages).toBe(4);
    expect(devices.map((d) => d.busySeconds)).toEqual([40, 20]);
    expect(simulate(step, free)).toMatchObject({ barrierSeconds: [9], stepSeconds: 14 });
  });

  it('has what devices spend between two steps in front of each but the first', () => {
    const late = repeated(step, 3, (d) => [0.5, 2][d]!);
    // Device 1 is told to begin in time; device 0 begins its step half a second later.
    expect(simulate(late, free).barrierSeconds).toEqual([9, 23.5, 38]);
    const later = repeated(step, 2, (d) => [0, 9][d]!);
    // Device 1 posts at 19: 9 + 1 + 9.
    expect(simulate(later, free).barrierSeconds).toEqual([9, 25]);
    expect([4, 5, 9, 10].map((i) => late.describe(0, i))).toEqual([
      'between two steps',
      step.describe(0, 0),
      'between two steps',
      step.describe(0, 0),
    ]);
    expect([late.task(0, 4), late.task(0, 6)]).toEqual([null, step.task(0, 1)]);
  });

  it('names the actions of every step', () => {
    const twice = repeated(step, 2);
    expect([0, 1, 2, 3, 4, 5, 6, 7].map((i) => twice.describe(0, i))).toEqual(
      [0, 1, 2, 3, 0, 1, 2, 3].map((i) => step.describe(0, i)),
    );
  });
});

describe('the step of a training under way', () => {
  const costs = { ...analyticCosts(), stepSeconds: () => 1, startSeconds: (d: number) => 0.25 * d };
  const plan = (mode: 'train' | 'gradients') =>
    planOf(threeLayers, { devices: 2, microbatches: 4, programs: { train: { batch: 8, mode } }, costs });

  it('has neither the host nor the starts in it', () => {
    const { request, programs, prediction } = plan('train');
    const steady = steadyStepOf(plan('train'))!;
    const free = predict(programs.train!, request.devices, analyticCosts());
    expect(prediction.stepSeconds).toBeGreaterThan(1.25);
    expect(steady.stepSeconds).toBeGreaterThan(Math.max(...steady.busySeconds));
    // The update of one device and the first forward of another overlap: it is shorter than the step by itself.
    expect(steady.stepSeconds).toBeLessThan(free.stepSeconds);
    for (const [d, seconds] of steady.busySeconds.entries()) expect(seconds).toBeCloseTo(free.busySeconds[d]!, 12);
    expect(steady.bubbleFraction).toBeCloseTo(
      1 - steady.busySeconds.reduce((a, b) => a + b, 0) / (2 * steady.stepSeconds),
      12,
    );
  });

  it('has what devices spend between two steps in it, and the host on the core of each as likely as on that of another', () => {
    const { request, programs } = plan('train');
    const of = (betweenSteps?: () => { secondsBetween: number; hostSeconds: number }) =>
      steadyStep(programs.train!, new Set(), { devices: request.devices, costs: { ...costs, betweenSteps } })!;
    const free = of();
    const between = of(() => ({ secondsBetween: 0.5, hostSeconds: 0 }));
    expect(between.stepSeconds).toBeCloseTo(free.stepSeconds + 0.5, 9);
    expect(of(() => ({ secondsBetween: 0, hostSeconds: 0 }))).toEqual(free);
    // Whichever begins so late, the other waits for it.
    const shared = of(() => ({ secondsBetween: 0.5, hostSeconds: 2 }));
    expect(shared.stepSeconds).toBeGreaterThan(2.5);
    expect(shared.stepSeconds).toBeLessThan(2.5 + free.stepSeconds);
    for (const { busySeconds } of [between, shared]) {
      for (const [d, seconds] of busySeconds.entries()) expect(seconds).toBeCloseTo(free.busySeconds[d]!, 9);
    }
    expect(shared.bubbleFraction).toBeGreaterThan(0.99);
  });

  it('has the mean of the cores that the host may take', () => {
    // A host that takes less than device 1 waits for costs half of itself: it is on the core of device 0 every other step.
    const { request, programs } = plan('train');
    const of = (hostSeconds: number) => {
      const between = () => ({ secondsBetween: 0, hostSeconds });
      return steadyStep(programs.train!, new Set(), {
        devices: request.devices,
        costs: { ...costs, betweenSteps: between },
      })!;
    };
    const little = 1e-8;
    expect((of(little).stepSeconds - of(0).stepSeconds) / little).toBeCloseTo(0.5, 3);
  });

  it('puts the host on the cores of some devices where they are many', () => {
    const many = planOf(threeLayers, {
      devices: 3,
      microbatches: 2,
      programs: { train: { batch: 8, mode: 'train' } },
      costs,
    });
    const program = { ...many.programs.train!, devices: many.programs.train!.devices };
    // Each device is read once for the step and its repetition, by host.
    const reads = (hostSeconds: number, devices: number) => {
      const betweenSteps = () => ({ secondsBetween: 0, hostSeconds });
      const read = vi.fn(costs.instructionSeconds);
      // Devices that do as the last one: nothing is sent among them.
      const alone = { ...program, devices: Array.from({ length: devices }, () => lonely) };
      steadyStep(alone, new Set(), {
        devices: Array.from({ length: devices }, () => many.request.devices[0]!),
        costs: { ...costs, instructionSeconds: read, betweenSteps },
      });
      return read.mock.calls.length / devices / lonely.instructions.length;
    };
    const lonely = planOf(threeLayers, {
      devices: 1,
      microbatches: 1,
      programs: { train: { batch: 8, mode: 'train' } },
      costs,
    }).programs.train!.devices[0]!;
    expect([reads(0, 20), reads(1, 3), reads(1, 20)]).toEqual([1, 3, 8]);
  });

  it('is not told where nothing is trained', () => {
    expect(steadyStepOf(plan('gradients'))).toBeNull();
  });

  it('is that of a step whose feeds before the barrier are known, and of no other', () => {
    const { request, programs } = plan('train');
    const cluster = { devices: request.devices, costs };
    const program = programs.train!;
    expect(steadyStep(program, new Set(), cluster)).toEqual(steadyStepOf(plan('train')));
    expect(steadyStep(program, new Set(['x']), cluster)).toBeNull();
  });

  it('is slower where its cores are', () => {
    const { request, programs } = plan('train');
    const cluster = { devices: request.devices, costs };
    const halved = [0, 1].map(() => new SpeedTrace([1], [0.5]));
    const slow = steadyStep(programs.train!, new Set(), cluster, { speeds: halved })!;
    const steady = steadyStep(programs.train!, new Set(), cluster)!;
    expect(slow.busySeconds[0]! / steady.busySeconds[0]!).toBeCloseTo(2, 9);
    expect(slow.stepSeconds).toBeGreaterThan(steady.stepSeconds);
  });
});

import { describe, expect, it } from 'vitest';
import { formatSeconds } from '../../src/core/format.ts';
import { elementCount } from '../../src/core/types.ts';
import { costSeconds } from '../../src/cost/analytic.ts';
import { breakdownOf } from '../../src/profile/breakdown.ts';
import type { RecordedSteps } from '../../src/profile/record.ts';
import { workOf } from '../../src/profile/work.ts';
import type { Part } from '../../src/program/instruction.ts';
import { printProfile } from '../../src/report/profile.ts';
import { profilePage } from '../../src/report/profile-page.ts';
import { someMachine } from '../cost/machine.ts';
import { planOf, threeLayers } from '../support/models.ts';

/** Steps in which every instruction takes 10 µs. */
function recorded(microbatches: number, undisturbed = true): RecordedSteps {
  const plan = planOf(threeLayers, { microbatches });
  const { instructions } = plan.programs.train!.devices[0]!;
  const time = { seconds: 1e-5, low: 1e-5, mad: 0, samples: 1 };
  const seconds = 1e-5 * instructions.length;
  return {
    plan,
    program: 'train',
    instructions: [instructions.map(() => time)],
    secondsBetween: 5.2e-9,
    stepSeconds: seconds,
    busySeconds: [seconds],
    deviceSeconds: [seconds],
    counted: { steps: 1, of: 1, undisturbed },
    busyDevices: 1,
    peaks: { planned: [0], measured: [0] },
  };
}

describe('rates of a profile', () => {
  it('are those of what is computed and moved: a sum over one microbatch is neither', () => {
    const { ops, kernels, shapes } = breakdownOf(recorded(1), someMachine);
    const idle = { flopsPerSecond: null, bytesPerSecond: null, intensity: null, roofline: null };
    expect(ops.find((row) => row.name === 'accumulate')).toMatchObject(idle);
    expect(kernels.find((row) => row.name === 'copyBytes')).toMatchObject(idle);
    for (const row of shapes.filter(({ op }) => op === 'accumulate')) expect(row).toMatchObject(idle);
    for (const row of ops.filter(({ name }) => name !== 'accumulate')) expect(row.bytesPerSecond).toBeGreaterThan(0);
    expect(ops.find((row) => row.name === 'matmul')!.flopsPerSecond).toBeGreaterThan(0);
  });

  it('are those of the additions, where there are more microbatches', () => {
    const steps = recorded(3);
    const { runs, seconds, flopsPerSecond, bytesPerSecond, roofline } = breakdownOf(steps, someMachine).ops.find(
      (row) => row.name === 'accumulate',
    )!;
    const sums = (isAdded: (microbatch: number) => boolean) =>
      steps.plan.programs.train!.devices[0]!.instructions.flatMap((i) =>
        i.kind === 'compute' && isAdded(i.microbatch!) ? i.parts.filter((p) => p.signature.op === 'accumulate') : [],
      );
    expect(runs).toBe(sums(() => true).length);
    // What the first microbatch has is copied, if anything: no addition.
    const added = sums((microbatch) => microbatch > 0).map(({ signature }) =>
      elementCount(signature.outputs[0]!.shape),
    );
    expect(added.length).toBeGreaterThan(0);
    const elements = added.reduce((a, b) => a + b, 0);
    expect(flopsPerSecond! * seconds).toBeCloseTo(elements, 6);
    expect(bytesPerSecond).toBeGreaterThan(0);
    expect(roofline).toBeGreaterThan(0);
  });

  it('of an instruction of several nodes share its time by their rooflines', () => {
    const steps = recorded(1);
    const { train } = steps.plan.programs;
    const [device] = train!.devices;
    const runs = device!.instructions.flatMap((i) => (i.kind === 'compute' ? [i] : []));
    const [a, b] = ['matmul', 'tanh'].map((op) => runs.find((i) => i.parts[0]!.signature.op === op)!);
    // The second five times over.
    const parts = [a!.parts[0]!, { ...b!.parts[0]!, repeat: 5 }];
    const devices = [{ ...device!, instructions: [{ ...a!, parts }] }];
    const plan = { ...steps.plan, programs: { train: { ...train!, devices } } };
    const { ops } = breakdownOf({ ...steps, plan, instructions: [steps.instructions[0]!.slice(0, 1)] }, someMachine);
    const model = { ...someMachine.device, speed: 1 };
    const [first, second] = parts.map((part) => part.repeat * costSeconds(part, model));
    expect(ops.map((row) => [row.name, row.runs])).toEqual([
      ['tanh', 5],
      ['matmul', 1],
    ]);
    expect(ops[0]!.seconds / ops[1]!.seconds).toBeCloseTo(second! / first!, 9);
    expect(ops[0]!.seconds + ops[1]!.seconds).toBeCloseTo(1e-5, 15);
  });

  it('leave out a copy where both ends are one place in all repetitions, and no other', () => {
    const args = [8, { input: 0 }, { output: 0, plus: 4 }] as const;
    const part = (to: Partial<Part['outputs'][number]>, kernel = 'copyBytes', repeat = 1): Part => ({
      signature: { op: 'o', inputs: [], outputs: [], attrs: {} },
      calls: [{ kernel, args }],
      inputs: [{ buffer: 0, plus: 4, stride: 16 }],
      outputs: [{ buffer: 1, plus: 0, stride: 16, ...to }],
      overwritable: [],
      repeat,
      flops: 2,
      bytes: 16,
    });
    const nothing = { flops: 0, bytes: 0 };
    const copied = { flops: 0, bytes: 16 };
    expect(workOf(part({}), [64, 64])).toEqual(nothing);
    expect(workOf(part({}, 'copyBytes', 2), [64, 64])).toEqual(nothing);
    expect(workOf(part({ stride: 8 }, 'copyBytes', 2), [64, 64])).toEqual(copied);
    expect(workOf(part({}), [64, 128])).toEqual(copied);
    expect(workOf(part({ plus: 4 }), [64, 64])).toEqual(copied);
    expect(workOf(part({}, 'add'), [64, 64])).toEqual({ flops: 2, bytes: 16 });
    // What a backend computes without kernels does what its op says.
    expect(workOf({ ...part({}), calls: [] }, [64, 64])).toEqual({ flops: 2, bytes: 16 });
  });

  it('are dashes in tables where there are none', async () => {
    const steps = recorded(1);
    const breakdown = breakdownOf(steps, someMachine);
    const text = printProfile(breakdown, steps, someMachine);
    expect(text).toMatch(/^accumulate +\d+ +[\d.]+ µs +[\d.]+ % +- +- +-$/m);
    expect(text).toMatch(/^copyBytes +\d+ +[\d.]+ µs +[\d.]+ % +- +- +-$/m);
    const page = await profilePage(breakdown, steps, someMachine);
    expect(page).toMatch(/<td>accumulate<\/td>(<td[^>]*>[\d.]+<\/td>){3}(<td[^>]*>–<\/td>){4}/);
  });
});

it('a profile says whose products its roofline is, and what its FLOPs count', async () => {
  const steps = recorded(1);
  const breakdown = breakdownOf(steps, someMachine);
  const text = printProfile(breakdown, steps, someMachine);
  expect(text).toContain('Roofline of this machine: 1.00 GFLOP/s (of our own products), 1.00 GB/s, 1.0 µs a kernel');
  for (const report of [text, await profilePage(breakdown, steps, someMachine)])
    expect(report).toMatch(/own count, a convolution(’|'|&#39;)s padding included/);
});

it('says that times of a device need not add up, on a busy machine only', async () => {
  for (const undisturbed of [true, false]) {
    const steps = recorded(1, undisturbed);
    const breakdown = breakdownOf(steps, someMachine);
    const reports = [printProfile(breakdown, steps, someMachine), await profilePage(breakdown, steps, someMachine)];
    for (const report of reports) expect(report.includes('need not add up')).toBe(!undisturbed);
  }
});

it('times of an empty kernel are nanoseconds, with digits that tell', () => {
  expect([5.24e-9, -3e-9, 9.994e-7, 1e-6, 2.5e-4].map(formatSeconds)).toEqual([
    '5.2 ns',
    '-3.0 ns',
    '999.4 ns',
    '1.0 µs',
    '250.0 µs',
  ]);
});

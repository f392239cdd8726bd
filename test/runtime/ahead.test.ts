import { describe, expect, it } from 'vitest';
import type { HostTensor } from '../../src/core/types.ts';
import { Graph } from '../../src/graph/graph.ts';
import { modelOf } from '../../src/nn/models/index.ts';
import { mul } from '../../src/ops/elementwise.ts';
import { gather } from '../../src/ops/gather.ts';
import { matmul } from '../../src/ops/matmul.ts';
import { sum } from '../../src/ops/reduce.ts';
import type { Plan } from '../../src/plan/plan.ts';
import { mayBeginAhead } from '../../src/program/ahead.ts';
import type { Buffer, Instruction } from '../../src/program/instruction.ts';
import type { Fault } from '../../src/runtime/device-image.ts';
import { Session, type StagedBatch } from '../../src/train/session.ts';
import { train } from '../../src/train/trainer.ts';
import { onBusyMachines } from '../support/busy.ts';
import { f32, planOf, threeLayers, toHex } from '../support/models.ts';

// Steps that devices begin as soon as they have ended the one before. An audit follows one step at a time, so none here.
const options = { audit: false } as const;
/** What they are held to: devices in this thread, which begin nothing ahead. */
const plainly = { audit: false, transport: 'local' } as const;
const plan = planOf(threeLayers, {
  devices: 2,
  microbatches: 2,
  programs: { train: { batch: 8, mode: 'train' }, forward: { batch: 8, mode: 'forward', outputs: true } },
  partition: { cuts: ['matmul_2'] },
  optimizer: { kind: 'adam', lr: 0.05 },
});
const batchOf = (step: number) => ({ x: f32([8, 6], 2 * step + 1), t: f32([8, 3], 2 * step + 2) });
const barrierOf = (device: number) =>
  plan.programs.train!.devices[device]!.instructions.findIndex((i) => i.kind === 'barrier');
const pause = (seconds: number) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));

/** Runs a staged step while the next is staged, to be begun behind it. */
async function runWithNext(session: Session, staged: StagedBatch, step: number, lr?: number) {
  let next: StagedBatch | undefined;
  const result = await session.runStaged(staged, {
    lr,
    meanwhile: () => {
      next = session.stage('train', batchOf(step + 1), { step: step + 1, ahead: true });
    },
  });
  return { ...result, next: next! };
}

/** Two steps: behind them a third, of the number 2, has been begun. A program is begun ahead when it has run once. */
async function begun(session: Session): Promise<StagedBatch> {
  await session.run('train', batchOf(0), { step: 0 });
  return (await runWithNext(session, session.stage('train', batchOf(1), { step: 1 }), 1)).next;
}

describe.each([1, 2])('steps begun ahead on %i device(s)', (devices) => {
  const own = devices === 2 ? plan : planOf(threeLayers, { microbatches: 2, optimizer: { kind: 'adam', lr: 0.05 } });

  it('have the same bits, change nothing before they are asked for, and take a rate that their forerunner decides', async () => {
    await using session = await Session.open(own, options);
    await using plain = await Session.open(own, plainly);
    let staged = session.stage('train', batchOf(0), { step: 0 });
    let lr = 0.1;
    for (let step = 0; step < 5; step++) {
      const { loss, next, seconds, reports } = await runWithNext(session, staged, step, lr);
      staged = next;
      const expected = await plain.run('train', batchOf(step), { step, lr });
      expect(loss).toBe(expected.loss);
      if (step === 2) await pause(0.02); // the next has come to its barrier
      expect(await session.state()).toEqual(await plain.state());
      lr = 0.1 / (1 + loss);
      for (const r of reports) {
        expect(r.busySeconds).toBeGreaterThan(0);
        expect(r.busySeconds).toBeLessThanOrEqual(r.seconds);
        expect(r.seconds).toBeLessThanOrEqual(seconds);
      }
    }
  });
});

it('are computed before they are asked for', onBusyMachines, async () => {
  const faults = { 1: [{ kind: 'delay', step: 2, instruction: 0, seconds: 0.5 } as const] };
  await using session = await Session.open(plan, { ...options, faults });
  const staged = await begun(session);
  await pause(0.7);
  const began = performance.now();
  await session.runStaged(staged);
  expect(performance.now() - began).toBeLessThan(400);
});

describe('a step begun ahead is left', () => {
  const others: Record<string, (session: Session, staged: StagedBatch) => Promise<unknown>> = {
    'another run': (session) => session.run('forward', batchOf(7)),
    'a training step on another batch': (session) => session.run('train', batchOf(8), { step: 2 }),
    'another staged batch': (session) => session.runStaged(session.stage('train', batchOf(9), { step: 2 })),
    'a record of times': (session, staged) => session.runStaged(staged, { profile: true }),
    'new parameters': (session) => session.write(new Map([['bias', f32([7], 5)]])),
    'a measurement': (session) => session.measuredPeaks(),
  };
  it.each(Object.keys(others))('for %s, and nothing of it remains', async (name) => {
    await using session = await Session.open(plan, options);
    await using plain = await Session.open(plan, plainly);
    const staged = await begun(session);
    for (const step of [0, 1]) await plain.run('train', batchOf(step), { step });
    const expected = plain.stage('train', batchOf(2), { step: 2 });
    await others[name]!(session, staged);
    await others[name]!(plain, expected);
    expect(await session.state()).toEqual(await plain.state());
    // And steps go on, ahead too.
    const again = session.stage('train', batchOf(3), { step: 3 });
    const { next, loss } = await runWithNext(session, again, 3);
    expect(loss).toBe((await plain.run('train', batchOf(3), { step: 3 })).loss);
    expect((await session.runStaged(next)).loss).toBe((await plain.run('train', batchOf(4), { step: 4 })).loss);
  });

  it('for the end of the session, whose peaks are the planned ones', onBusyMachines, async () => {
    const session = await Session.open(plan, options);
    await begun(session);
    const began = performance.now();
    await session.close();
    expect(performance.now() - began).toBeLessThan(900);
  });

  it('runs when it is asked for later, unless another was staged', async () => {
    await using session = await Session.open(plan, options);
    await using plain = await Session.open(plan, plainly);
    const staged = await begun(session);
    for (const step of [0, 1, 2]) await plain.run('train', batchOf(step), { step });
    await session.run('forward', batchOf(7));
    await session.runStaged(staged);
    expect(await session.state()).toEqual(await plain.state());
    await expect(session.runStaged(staged)).rejects.toMatchObject({ code: 'staged-batch' });
  });

  it('is not replaced while the step before it runs', async () => {
    await using session = await Session.open(plan, options);
    await session.run('train', batchOf(0));
    const running = session.run('train', batchOf(1), {
      meanwhile: () => {
        session.stage('train', batchOf(2), { ahead: true });
        session.stage('train', batchOf(3));
      },
    });
    await expect(running).rejects.toMatchObject({ code: 'staged-batch' });
  });
});

describe('a failure in a step begun ahead', () => {
  const at = plan.programs.train!.devices[1]!.instructions.findIndex(
    (i) => i.kind === 'compute' && i.task.endsWith('F1'),
  );
  const fault: Fault = { kind: 'throw', step: 2, instruction: at };

  it('is told when the step is asked for; until then all can be read', async () => {
    await using plain = await Session.open(plan, plainly);
    for (const step of [0, 1]) await plain.run('train', batchOf(step), { step });
    const session = await Session.open(plan, { ...options, faults: { 1: [fault] } });
    const staged = await begun(session);
    await pause(0.05);
    expect(await session.state()).toEqual(await plain.state());
    await expect(session.runStaged(staged)).rejects.toMatchObject({
      code: 'kernel-failed',
      fields: { device: 1, instruction: at, microbatch: 1 },
    });
    await expect(session.parameters()).rejects.toMatchObject({ code: 'session-failed' });
    await session.close();
  });

  it('does not touch the step before it, at whose update another device still is', async () => {
    await using plain = await Session.open(plan, plainly);
    for (const step of [0, 1]) await plain.run('train', batchOf(step), { step });
    const faults: Record<number, Fault[]> = {
      0: [{ kind: 'throw', step: 2, instruction: 0 }],
      1: [{ kind: 'delay', step: 1, instruction: barrierOf(1) + 2, seconds: 0.2 }],
    };
    const session = await Session.open(plan, { ...options, faults });
    const staged = await begun(session);
    expect(await session.state()).toEqual(await plain.state());
    await expect(session.runStaged(staged)).rejects.toMatchObject({ code: 'kernel-failed', fields: { device: 0 } });
    await session.close();
  });

  it('is nobody’s where the step is not wanted', async () => {
    const lookup = planOf(
      {
        name: 'lookup',
        build: (n) => {
          const graph = new Graph();
          const table = graph.parameter('table', [5, 3], { kind: 'uniform', low: 0, high: 1 });
          const rows = gather(table, graph.input('i', { dtype: 'i32', shape: [n] }));
          const y = matmul(rows, graph.parameter('w', [3, 2], { kind: 'ones' }));
          return { graph, objective: [{ loss: sum(mul(y, y)), weight: 0.01 }] };
        },
      },
      { devices: 2, microbatches: 2, partition: { cuts: ['matmul'] } },
    );
    const indices = (...data: number[]): { i: HostTensor } => ({
      i: { type: { dtype: 'i32', shape: [8] }, data: Int32Array.from(data) },
    });
    const [good, bad] = [indices(0, 1, 2, 3, 4, 4, 3, 1), indices(0, 1, 2, 3, 4, 5, 0, 1)];
    await using session = await Session.open(lookup, options);
    await using plain = await Session.open(lookup, plainly);
    await session.run('train', good);
    const meanwhile = () => session.stage('train', bad, { ahead: true });
    await session.run('train', good, { meanwhile });
    for (let step = 0; step < 4; step++) await plain.run('train', good);
    for (let step = 0; step < 2; step++) await session.run('train', good);
    expect(await session.parameters()).toEqual(await plain.parameters());
  });
});

it.each([
  ['before its barrier', at(0)],
  ['in its update, with the other device at the next', at(1)],
])('a device that fails %s ends the step though the next was given', onBusyMachines, async (_, instruction) => {
  const faults: Record<number, Fault[]> = { 1: [{ kind: 'throw', step: 1, instruction }] };
  const session = await Session.open(plan, { ...options, faults });
  await session.run('train', batchOf(0), { step: 0 });
  const began = performance.now();
  const meanwhile = () => session.stage('train', batchOf(2), { step: 2, ahead: true });
  await expect(session.run('train', batchOf(1), { step: 1, meanwhile })).rejects.toMatchObject({
    code: 'kernel-failed',
    fields: { device: 1, instruction },
  });
  expect(performance.now() - began).toBeLessThan(1000);
  await expect(session.parameters()).rejects.toMatchObject({ code: 'session-failed' });
  await session.close();
});

/** Of device 1: an instruction some way in front of its barrier, or behind it. */
function at(side: 0 | 1): number {
  return barrierOf(1) + (side === 0 ? -3 : 1);
}

it.each(['clipped', 'with running statistics'])('a training %s: what is forgone leaves nothing', async (kind) => {
  const isClipped = kind === 'clipped';
  const own = isClipped
    ? planOf(threeLayers, { devices: 2, microbatches: 2, clip: { globalNorm: 0.1 }, partition: { cuts: ['matmul_1'] } })
    : planOf(modelOf({ kind: 'resnet', size: 8, channels: 1, classes: 3, widths: [4], blocks: 1 }), {
        devices: 2,
        batch: 8,
        microbatches: 2,
      });
  const y = { type: { dtype: 'i32', shape: [8] } as const, data: Int32Array.of(0, 1, 2, 0, 1, 2, 0, 1) };
  const data = (step: number): Record<string, HostTensor> =>
    isClipped ? batchOf(step) : { x: f32([8, 1, 8, 8], step + 1), y };
  await using session = await Session.open(own, options);
  await using plain = await Session.open(own, plainly);
  await session.run('train', data(0), { step: 0 });
  for (let step = 1; step < 5; step++) {
    const meanwhile = () => session.stage('train', data(9), { step: step + 1, ahead: true });
    await session.run('train', data(step), { step, meanwhile });
  }
  for (let step = 0; step < 5; step++) await plain.run('train', data(step), { step });
  await pause(0.02);
  expect(await session.state()).toEqual(await plain.state());
});

it('a training that is left early leaves the session as it is behind its last record', async () => {
  await using session = await Session.open(plan, options);
  await using plain = await Session.open(plan, plainly);
  const data = {
    name: 'made up',
    steps: Number.POSITIVE_INFINITY,
    stepsPerEpoch: 10,
    batchAt: (step: number) => ({ epoch: 0, step, tensors: batchOf(step) }),
  };
  for await (const { step, loss } of train({ session, data, steps: 10 })) {
    expect(loss).toBe((await plain.run('train', batchOf(step), { step })).loss);
    if (step === 4) break;
  }
  expect(await session.state()).toEqual(await plain.state());
  const [a, b] = await Promise.all([session, plain].map((s) => s.run('forward', batchOf(9))));
  expect(toHex(a!.results.get('output/y')!)).toBe(toHex(b!.results.get('output/y')!));
});

describe('which programs may be begun ahead', () => {
  const clipped = planOf(threeLayers, { devices: 2, microbatches: 2, clip: { globalNorm: 0.1 } });
  const resnet = planOf(modelOf({ kind: 'resnet', size: 8, channels: 1, classes: 3, widths: [4], blocks: 1 }), {
    devices: 2,
    batch: 4,
    microbatches: 2,
  });
  const may = (of: Plan, name = 'train', late = ['optimizer/hyper']) =>
    mayBeginAhead(of.programs[name]!, new Set(late));

  it('those that change and ask nothing in front of their barrier, and exchange nothing behind it', () => {
    expect(may(plan)).toBe(true);
    expect(may(clipped)).toBe(true);
    // Running statistics are written behind the barrier.
    expect(may(resnet)).toBe(true);
    // Something that is fed early is known late.
    expect(may(plan, 'train', ['x'])).toBe(false);
  });

  it('not those without a barrier, that write what lasts in front of it, or that send behind it', () => {
    expect(may(plan, 'forward')).toBe(false);
    const swapped = (edit: (list: Instruction[], barrier: number) => void): Plan => {
      const program = plan.programs.train!;
      const devices = program.devices.map((d) => {
        const instructions = [...d.instructions];
        edit(
          instructions,
          instructions.findIndex((i) => i.kind === 'barrier'),
        );
        return { ...d, instructions };
      });
      return { ...plan, programs: { train: { ...program, devices } } };
    };
    const isUpdate = (i: Instruction) => i.kind === 'compute' && i.op === 'adamUpdate';
    const early = (list: Instruction[], barrier: number) => {
      const update = list.findIndex(isUpdate);
      if (update > 0) list.splice(barrier, 0, ...list.splice(update, 1));
    };
    const sendsLate = (list: Instruction[]) => {
      const send = list.findIndex((i) => i.kind === 'send');
      if (send >= 0) list.push(...list.splice(send, 1));
    };
    expect(may(swapped(() => {}))).toBe(true);
    expect(may(swapped(early))).toBe(false);
    expect(may(swapped(sendsLate))).toBe(false);
    const postsLate = (list: Instruction[]) => {
      const post = list.findIndex((i) => i.kind === 'post');
      if (post >= 0) list.push(...list.splice(post, 1));
    };
    expect(may(swapped(postsLate))).toBe(false);
    expect(may(swapped((list) => void list.push({ kind: 'barrier', name: 'gradients' })))).toBe(false);
  });

  it('not those that write over what lasts, copy to it or write to a view of it', () => {
    const type = { dtype: 'f32', shape: [1] } as const;
    const common = { type, bytes: 4, category: 'parameters' } as const;
    const buffers: Buffer[] = [
      { id: 0, name: 'w', persistent: 'w', ...common },
      { id: 1, name: 'view of w', persistent: null, view: { of: 0, plus: 0 }, ...common },
      { id: 2, name: 'y', persistent: null, ...common },
    ];
    const compute = (output: number, overwrites: number | null): Instruction => ({
      ...{ kind: 'compute', task: '0F0', microbatch: 0, node: 'y', op: 'neg', parts: [], inputs: [0] },
      ...{ outputs: [output], workspace: null, overwrites, flops: 0, bytes: 0 },
    });
    const mayFirst = (first: Instruction): boolean =>
      mayBeginAhead(
        {
          ...plan.programs.train!,
          devices: [{ device: 0, buffers, instructions: [first, { kind: 'barrier', name: 'gradients' }] }],
        },
        new Set(),
      );
    expect(mayFirst(compute(2, null))).toBe(true);
    expect(mayFirst(compute(2, 0))).toBe(false);
    expect(mayFirst(compute(1, null))).toBe(false);
    expect(mayFirst({ kind: 'copy', from: 2, buffer: 0 })).toBe(false);
  });
});

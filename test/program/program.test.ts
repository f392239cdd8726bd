import { describe, expect, it } from 'vitest';
import type { PlanError } from '../../src/core/errors.ts';
import { Graph } from '../../src/graph/graph.ts';
import { add, tanh } from '../../src/ops/elementwise.ts';
import { matmul } from '../../src/ops/matmul.ts';
import type { Model } from '../../src/optim/model.ts';
import { chunkSizes } from '../../src/plan/chunks.ts';
import type { ComputeInstruction, DeviceProgram, Instruction, StepProgram } from '../../src/program/instruction.ts';
import { printProgram } from '../../src/program/print.ts';
import { findDeadlock, validateProgram } from '../../src/program/validate.ts';
import { Session } from '../../src/train/session.ts';
import { f32, planOf, squaredError, threeLayers, toHex } from '../support/models.ts';

const batch = { x: f32([8, 6], 1), t: f32([8, 3], 2) };
const inThree = (microbatches = 2) =>
  planOf(threeLayers, { devices: 3, microbatches, partition: { cuts: ['matmul_1', 'matmul_2'] } });

function edit(program: StepProgram, device: number, change: (list: Instruction[]) => Instruction[]): StepProgram {
  return {
    ...program,
    devices: program.devices.map(
      (d): DeviceProgram => (d.device === device ? { ...d, instructions: change([...d.instructions]) } : d),
    ),
  };
}

describe('a program', () => {
  it('sends each value once to each device that needs it', () => {
    const { devices } = inThree().programs.train!;
    for (const { instructions } of devices) {
      const sends = instructions.flatMap((i) => (i.kind === 'send' ? [`${i.to}:${i.buffer}`] : []));
      expect(new Set(sends).size).toBe(sends.length);
    }
    const forward = devices[0]!.instructions.filter((i) => i.kind === 'send');
    expect(forward.length).toBe(2); // one activation a microbatch; nothing goes from device 0 to device 2
  });

  it('prints a line an instruction, with places', () => {
    const plan = inThree();
    const offsets = plan.memory.map((m) => m.layouts.train!.offsets);
    const text = printProgram(plan.programs.train!, { offsets });
    const count = plan.programs.train!.devices.reduce((n, d) => n + d.instructions.length, 0);
    expect(text.split('\n').filter((l) => /^ +\d+ {2}/.test(l)).length).toBe(count);
    expect(text).toContain('send tanh@0 to device 1 (microbatch 0)');
    expect(text).toContain('barrier gradients');
  });

  it('computes a reshape with no instruction and no bytes', () => {
    const { devices } = planOf(threeLayers).programs.train!;
    expect(devices[0]!.instructions.some((i) => i.kind === 'compute' && i.op === 'reshape')).toBe(false);
  });
});

describe('validateProgram', () => {
  const { train } = inThree().programs as { train: StepProgram };
  const refusal = (program: StepProgram): PlanError => {
    try {
      validateProgram(program);
    } catch (error) {
      return error as PlanError;
    }
    throw new Error('was accepted');
  };

  it('accepts what the builder makes', () => validateProgram(train));
  it('misses a send', () => {
    const broken = edit(train, 0, (list) => list.filter((i) => !(i.kind === 'send' && i.message === 1)));
    expect(refusal(broken).message).toContain('messages from device 0 to device 1: 1 sent, 2 posted, 2 received');
  });
  it('sees a buffer read before it is written', () => {
    const broken = edit(train, 1, (list) => [
      list.find((i) => i.kind === 'send')!,
      ...list.filter((i) => i.kind !== 'send'),
    ]);
    expect(refusal(broken).message).toMatch(/instruction 0 .* reads .* before it is written/);
  });
  it('sees a receive that was never posted', () => {
    const broken = edit(train, 1, (list) => list.filter((i) => i.kind !== 'post'));
    expect(refusal(broken).message).toContain('was never posted');
  });
  it('sees what is used behind its overwriting, and what may not be overwritten', () => {
    const { instructions } = train.devices[1]!;
    const relu = instructions.find((i): i is ComputeInstruction => i.kind === 'compute' && i.op === 'relu')!;
    const [input, output] = [relu.inputs[0]!, relu.outputs[0]!];
    expect(relu.overwrites).toBe(input);
    const behind = instructions.indexOf(relu) + 1;
    const late = edit(train, 1, (list) => list.toSpliced(behind, 0, { kind: 'copy', from: input, buffer: output }));
    expect(refusal(late).message).toContain('which has been overwritten');

    const changed = (change: (i: ComputeInstruction) => ComputeInstruction) =>
      refusal(edit(train, 1, (list) => list.map((i) => (i.kind === 'compute' ? change(i) : i)))).message;
    const product = (i: ComputeInstruction) => i.op === 'matmul' && i.overwrites === null;
    expect(changed((i) => (product(i) ? { ...i, overwrites: i.inputs[0]! } : i))).toContain('its kernels do not allow');
    const update = (i: ComputeInstruction) => i.op === 'sgdUpdate';
    expect(changed((i) => (update(i) ? { ...i, overwrites: i.inputs[1]! } : i))).toContain('has its own bytes');
  });
  it('sees messages sent in another order than posted', () => {
    const broken = edit(train, 0, (list) => {
      const at = list.flatMap((i, k) => (i.kind === 'send' ? [k] : []));
      [list[at[0]!], list[at[1]!]] = [list[at[1]!]!, list[at[0]!]!];
      return list;
    });
    expect(refusal(broken).message).toContain('is out of order');
  });
  it('names the circle where devices would wait for each other', () => {
    // Device 1 wants the gradient before it has sent the activation that the gradient depends on.
    const broken = edit(train, 1, (list) => {
      const receive = list.find((i) => i.kind === 'receive' && i.from === 2)!;
      const post = list.find((i) => i.kind === 'post' && i.from === 2 && i.message === 0)!;
      return [post, receive, ...list.filter((i) => i !== receive && i !== post)];
    });
    const deadlock = findDeadlock(broken.devices)!;
    expect([...deadlock.cycle].sort()).toEqual([1, 2]);
    expect(deadlock.description).toMatch(/device 1 at instruction 1 waits for device 2: receive/);
    expect(refusal(broken).message).toContain('wait for each other in a circle');
  });
  it('sees a message to a device that is not there', () => {
    const broken = edit(train, 0, (list) =>
      list.map((i) => (i.kind === 'send' && i.message === 1 ? { ...i, to: 9 } : i)),
    );
    expect(refusal(broken).fields.problems).toEqual([
      'messages from device 0 to device 1: 1 sent, 2 posted, 2 received',
      'messages from device 0 to device 9: 1 sent, 0 posted, 0 received',
    ]);
  });
});

describe('graphs that pipeline systems find hard', () => {
  const linear = (g: Graph, name: string, n: number) =>
    g.parameter(name, [n, n], { kind: 'uniform', low: -0.4, high: 0.4 });

  const skipping: Model = {
    name: 'skip over two stages',
    build: (n) => {
      const graph = new Graph();
      const x = graph.input('x', { shape: [n, 5] });
      const a = tanh(matmul(x, linear(graph, 'a', 5)));
      const b = tanh(matmul(a, linear(graph, 'b', 5)));
      const c = tanh(matmul(b, linear(graph, 'c', 5)));
      const y = graph.output('y', add(c, a));
      return { graph, objective: [{ loss: squaredError(y, graph.input('t', { shape: [n, 5] })), weight: 1 }] };
    },
  };
  const tied: Model = {
    name: 'one weight on three stages',
    build: (n) => {
      const graph = new Graph();
      const w = linear(graph, 'w', 5);
      const x = graph.input('x', { shape: [n, 5] });
      const h = tanh(matmul(tanh(matmul(x, w)), w, { transB: true }));
      const y = graph.output('y', matmul(h, w));
      return { graph, objective: [{ loss: squaredError(y, graph.input('t', { shape: [n, 5] })), weight: 1 }] };
    },
  };
  const several: Model = {
    name: 'two inputs, two outputs, two losses',
    build: (n) => {
      const graph = new Graph();
      const left = tanh(matmul(graph.input('x', { shape: [n, 5] }), linear(graph, 'left', 5)));
      const right = tanh(matmul(graph.input('z', { shape: [n, 5] }), linear(graph, 'right', 5)));
      const t = graph.input('t', { shape: [n, 5] });
      const sumOf = graph.output('sum', matmul(add(left, right), linear(graph, 'join', 5)));
      graph.output('left', left);
      return {
        graph,
        objective: [
          { loss: squaredError(sumOf, t), weight: 1 },
          { loss: squaredError(left, t), weight: 0.25 },
        ],
      };
    },
  };
  const data = { x: f32([6, 5], 1), z: f32([6, 5], 2), t: f32([6, 5], 3) };

  const hard: [Model, string[]][] = [
    [skipping, ['matmul_1', 'matmul_2']],
    [tied, ['matmul_1', 'matmul_2']],
    [several, ['matmul_1', 'matmul_2']],
  ];

  it.each(hard)('$name', async (model, cuts) => {
    const results: unknown[] = [];
    for (const devices of [1, 3]) {
      for (const schedule of ['gpipe', '1f1b'] as const) {
        const plan = planOf(model, {
          batch: 6,
          microbatches: 3,
          devices,
          schedule,
          ...(devices > 1 ? { partition: { cuts } } : {}),
        });
        await using session = await Session.open(plan, { seed: 3, audit: true });
        const outputs: string[] = [];
        for (let step = 0; step < 3; step++)
          outputs.push(...[...(await session.run('train', data, { step })).results.values()].map(toHex));
        expect(await session.measuredPeaks()).toEqual(session.plannedPeaks());
        results.push([outputs, [...(await session.parameters())].map(([name, t]) => [name, toHex(t)])]);
      }
    }
    for (const result of results) expect(result).toEqual(results[0]);
  });

  it('a tied weight has one owner, one accumulator a use, and the other stages borrow it for the step', () => {
    const plan = planOf(tied, { batch: 6, microbatches: 3, devices: 3, partition: { cuts: ['matmul_1', 'matmul_2'] } });
    const [first, second] = plan.programs.train!.devices;
    expect(first!.buffers.filter((b) => b.persistent === 'w').length).toBe(1);
    expect(second!.buffers.filter((b) => b.persistent === 'w').length).toBe(0);
    expect(second!.buffers.find((b) => b.name === 'w')).toMatchObject({ category: 'communication' });
    const accumulators = plan.programs.train!.devices.flatMap((d) =>
      d.buffers.filter((b) => b.category === 'gradients' && /^grad\.matmul.*accumulate/.test(b.name)),
    );
    expect(accumulators.length).toBeGreaterThanOrEqual(3);
  });
});

describe('chunkSizes', () => {
  it('cuts as evenly as possible, larger ones first', () => {
    expect(chunkSizes(8, 4)).toEqual([2, 2, 2, 2]);
    expect(chunkSizes(7, 3)).toEqual([3, 2, 2]);
    expect(chunkSizes(5, 5)).toEqual([1, 1, 1, 1, 1]);
  });
  it.each([
    [8, 0],
    [8, -1],
    [8, 1.5],
    [3, 4],
  ])('refuses %i samples in %d microbatches', (batchSize, m) => {
    expect(() => chunkSizes(batchSize, m)).toThrow(expect.objectContaining({ code: 'microbatches-range' }));
  });
});

describe('the loss is that of the whole batch', () => {
  it('whatever M is, also where M does not divide the batch', async () => {
    const losses: number[] = [];
    for (const microbatches of [1, 2, 3, 5, 8]) {
      await using session = await Session.open(planOf(threeLayers, { microbatches }), { seed: 7, transport: 'local' });
      losses.push((await session.run('train', batch)).loss);
    }
    for (const loss of losses) expect(loss).toBeCloseTo(losses[0]!, 6);
  });
});

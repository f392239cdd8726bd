import { describe, expect, it } from 'vitest';
import { deaths, tenancies } from '../../src/memory/liveness.ts';
import type { Place } from '../../src/program/instruction.ts';
import { liveBytes, liveIntervals, mentions, mostAlive, takeovers } from '../../src/program/lifetimes.ts';
import { overwritable, overwriteDyingInputs } from '../../src/program/overwrite.ts';
import { smallModelKinds, smallModels } from '../support/built-in.ts';
import { bufferOf, buffersOf, compute, copy, deviceOf, input } from '../support/instructions.ts';
import { planOf } from '../support/models.ts';

describe('lifetimes over a list of instructions', () => {
  // b1 over b0; b2 is a view of b3, b4 lasts, nobody touches b5; b6 is a workspace.
  const buffers = buffersOf(7);
  buffers[2] = bufferOf(2, 8, { view: { of: 3, plus: 8 } });
  buffers[3] = bufferOf(3, 32);
  buffers[4] = bufferOf(4, 64, { persistent: 'w' });
  const program = deviceOf(buffers, [
    input(0),
    input(3),
    compute([0], [1], { overwrites: 0, workspace: 6 }),
    copy(1, 4),
    copy(2, 4),
    input(3),
  ]);

  it('reach from the first write to the last use, also by a view; one that is overwritten ends in front of it', () => {
    const { first, last } = mentions(program);
    expect([[...first], [...last]]).toEqual([
      [0, 2, -1, 1, 3, -1, 2],
      [2, 3, -1, 5, 4, -1, 2],
    ]);
    expect(liveIntervals(program)).toEqual([
      { buffer: 0, first: 0, last: 1 },
      { buffer: 1, first: 2, last: 3 },
      { buffer: 3, first: 1, last: 5 },
      { buffer: 4, first: 0, last: 5 },
      { buffer: 6, first: 2, last: 2 },
    ]);
    expect([...takeovers(program)]).toEqual([[1, 0]]);
    expect([...liveBytes(program)]).toEqual([16, 48, 64, 48, 32, 32]);
    expect(mostAlive(program)).toBe(64);
    expect([mostAlive(deviceOf([], [])), liveIntervals(deviceOf([bufferOf(0, 16, { persistent: 'w' })], []))]).toEqual([
      0,
      [{ buffer: 0, first: 0, last: 0 }],
    ]);
  });

  it('end behind the last use, and who takes over bytes follows in the same place', () => {
    const intervals = liveIntervals(program);
    expect(deaths(program, intervals)).toEqual([[], [], [6], [1], [], [3]]);
    expect(tenancies(program, intervals)).toEqual([
      { buffers: [0, 1], first: 0, last: 3, bytes: 16 },
      { buffers: [3], first: 1, last: 5, bytes: 32 },
      { buffers: [6], first: 2, last: 2, bytes: 16 },
    ]);
  });

  it.each(smallModelKinds)('sum to the bytes alive at each instruction of %s', (kind) => {
    const plan = planOf(smallModels[kind], { batch: 4, devices: 2, microbatches: 2 });
    for (const device of plan.programs.train!.devices) {
      const intervals = liveIntervals(device).filter((i) => device.buffers[i.buffer]!.persistent === null);
      const alive = device.instructions.map((_, at) =>
        intervals.reduce((sum, i) => sum + (i.first <= at && at <= i.last ? device.buffers[i.buffer]!.bytes : 0), 0),
      );
      expect([...liveBytes(device)]).toEqual(alive);
      expect(mostAlive(device)).toBe(Math.max(...alive));
    }
  });
});

describe('outputs over inputs that die', () => {
  const overwritesOf = (...args: Parameters<typeof deviceOf>) =>
    overwriteDyingInputs(deviceOf(...args)).instructions.flatMap((i) => (i.kind === 'compute' ? [i.overwrites] : []));

  it('take the first that the kernels allow, which moves, is of their size, and is not used again', () => {
    const begin = [input(0), input(1)];
    const pair = compute([0, 1], [2], { allowed: [0, 1] });
    expect(overwritesOf(buffersOf(4), [...begin, pair])).toEqual([0]);
    expect(overwritesOf(buffersOf(4), [...begin, compute([0, 1], [2], { allowed: [1] })])).toEqual([1]);
    expect(overwritesOf(buffersOf(4), [...begin, pair, copy(0, 3)])).toEqual([1]);
    expect(overwritesOf(buffersOf(4), [...begin, pair, copy(0, 3), copy(1, 3)])).toEqual([null]);
    const withOther = (id: number, more: Parameters<typeof bufferOf>[2], bytes = 16) =>
      buffersOf(4).map((b) => (b.id === id ? bufferOf(id, bytes, more) : b));
    expect(overwritesOf(withOther(0, {}, 12), [...begin, pair])).toEqual([1]);
    expect(overwritesOf(withOther(0, { persistent: 'w' }), [...begin, pair])).toEqual([1]);
    expect(overwritesOf(withOther(2, { persistent: 'w' }), [...begin, pair])).toEqual([null]);
    // An output that has bytes already keeps them.
    expect(overwritesOf(buffersOf(4), [...begin, input(2), pair])).toEqual([null]);
    // A chain lives in one place.
    const chain = [input(0), compute([0], [1]), compute([1], [2]), compute([2], [3])];
    expect(overwritesOf(buffersOf(4), chain)).toEqual([0, 1, 2]);
  });

  it('only where every reading of the input is in the place of the output, in one part', () => {
    const both = compute([0, 0], [1], { allowed: [0, 1] });
    expect(overwritable(both)).toEqual([0]);
    expect(overwritable(compute([0, 0], [1], { allowed: [0] }))).toEqual([]);
    expect(overwritable(compute([0, 1], [1], { allowed: [0, 1] }))).toEqual([0]);
    const [part] = both.parts;
    expect(overwritable({ ...both, parts: [part!, part!] })).toEqual([]);
    for (const [plus, stride] of [
      [4, 0],
      [0, 4],
      [4, 4],
    ] as const) {
      const moved: Place = { ...part!.inputs[1]!, plus, stride };
      const parts = (inputs: readonly Place[]) => [{ ...part!, inputs, outputs: [{ ...moved, buffer: 1 }] }];
      expect(overwritable({ ...both, parts: parts([moved, moved]) })).toEqual([0]);
      expect(overwritable({ ...both, parts: parts([moved, part!.inputs[0]!]) })).toEqual([]);
    }
  });
});

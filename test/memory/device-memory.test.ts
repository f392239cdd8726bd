import { describe, expect, it } from 'vitest';
import {
  type CategoryBytes,
  knownLayouts,
  liveBytesOverTime,
  planDeviceMemory,
} from '../../src/memory/device-memory.ts';
import { tenancies } from '../../src/memory/liveness.ts';
import { liveIntervals } from '../../src/program/lifetimes.ts';
import { bufferOf, buffersOf, compute, deviceOf, input, stepOf } from '../support/instructions.ts';

/**
 * At 0 w (20 bytes) and at 32 its momentum, of the training only; at 64 a constant of the evaluation, to 72. From 80 on:
 *
 *     training     0   1   2   3           evaluation   0
 *     a  16 bytes  ├───┤                   x 100 bytes  │
 *     b  48            ├───┤  read as a view from its byte 16 on
 *     c  16                ├───┤
 */
const training = deviceOf(
  [
    bufferOf(0, 20, { name: 'w', category: 'parameters', persistent: 'w' }),
    bufferOf(1, 20, { name: 'm/w', category: 'optimizerState', persistent: 'm/w' }),
    bufferOf(2, 16, { name: 'a', category: 'inputs' }),
    bufferOf(3, 48, { name: 'b', category: 'savedActivations' }),
    bufferOf(4, 16, { name: 'of b', view: { of: 3, plus: 16 } }),
    bufferOf(5, 16, { name: 'c' }),
  ],
  [input(2), compute([0, 2], [3]), compute([4], [5]), { kind: 'output', result: 'y', microbatch: 0, buffer: 5 }],
);
const evaluation = deviceOf(
  [
    bufferOf(0, 8, { name: 'c', category: 'parameters', persistent: 'constant c' }),
    bufferOf(1, 20, { name: 'w', category: 'parameters', persistent: 'w' }),
    bufferOf(2, 100, { name: 'x', category: 'inputs' }),
  ],
  [input(2)],
);
const programs = { train: stepOf([training]), eval: stepOf([evaluation]) };
const none = { gradients: 0, savedActivations: 0, temporaries: 0, communication: 0 };

describe('one device over several programs', () => {
  const plan = planDeviceMemory(0, programs);
  const { train, eval: evaluated } = plan.layouts as Record<'train' | 'eval', (typeof plan.layouts)[string]>;

  it('keeps what lives from load to close once, aligned, at the same place in each', () => {
    expect(plan.persistent.map(({ name, offset, bytes }) => [name, offset, bytes])).toEqual([
      ['w', 0, 20],
      ['m/w', 32, 20],
      ['constant c', 64, 8],
    ]);
    expect(train.offsets.slice(0, 2)).toEqual([0, 32]);
    expect(evaluated.offsets).toEqual([64, 0, 80]);
  });

  it('has the peak of the program that needs most, with its categories and largest buffers', () => {
    expect([train.height, evaluated.height]).toEqual([80 + 64, 80 + 100]);
    expect([train.maxLive, evaluated.maxLive]).toEqual([48 + 64, 48 + 100]);
    expect([plan.peakBytes, plan.maxLive]).toEqual([180, 148]);
    expect(plan.byCategory).toEqual({ ...none, parameters: 28, optimizerState: 20, inputs: 100, padding: 32 });
    expect(plan.largest.map(({ name, bytes }) => [name, bytes])).toEqual([
      ['x', 100],
      ['w', 20],
      ['c', 8],
    ]);
  });

  it('lays views into their owners, and counts every buffer once where nothing is used again', () => {
    expect(train.offsets[4]).toBe(train.offsets[3]! + 16);
    expect(train.offsets[5]).toBe(train.offsets[2]);
    expect([train.naiveSum, evaluated.naiveSum]).toEqual([48 + 16 + 48 + 16, 48 + 100]);
    // The first of the instructions at which as much is alive.
    expect(train.peakAt).toBe(1);
    expect(train.atPeak).toEqual({ ...none, parameters: 28, optimizerState: 20, inputs: 16, savedActivations: 48 });
  });

  it('has live bytes by category at every instruction, with what other programs keep', () => {
    const live = liveBytesOverTime(training, train.intervals, plan.persistent);
    const moving = live.map(({ inputs, savedActivations, temporaries }) => [inputs, savedActivations, temporaries]);
    expect(moving).toEqual([
      [16, 0, 0],
      [16, 48, 0],
      [0, 48, 16],
      [0, 0, 16],
    ]);
    for (const at of live) expect(at).toMatchObject({ parameters: 28, optimizerState: 20 } as Partial<CategoryBytes>);
  });

  it('is made again from a layout that was found, whatever that says of better ones', () => {
    const known = knownLayouts(plan, programs);
    expect(planDeviceMemory(0, programs, {}, known)).toEqual(plan);
    // By hand: all of the training's values one above the other.
    const loose = { ...known, train: { offsets: [80, 96, 144], mayShrink: true } };
    const again = planDeviceMemory(0, programs, {}, loose);
    expect(again.layouts.train).toMatchObject({ offsets: [0, 32, 80, 96, 112, 144], height: 160, mayShrink: true });
    expect(again.layouts.eval!.mayShrink).toBe(false);
    // Gaps make the training the highest; the evaluation keeps the most alive.
    const gaps = { ...known, train: { offsets: [80, 176, 144], mayShrink: true } };
    expect(planDeviceMemory(0, programs, {}, gaps)).toMatchObject({ peakBytes: 176 + 48, maxLive: 148 });
    const clash = { ...known, train: { offsets: [80, 80, 144], mayShrink: false } };
    expect(() => planDeviceMemory(0, programs, {}, clash)).toThrow('are no layout of these');
  });
});

describe('the peak', () => {
  it('may be at the last instruction of what it holds, of which the five largest are told', () => {
    const sizes = [48, 16, 32, 32, 32, 32, 32];
    const buffers = sizes.map((bytes, id) => bufferOf(id, bytes));
    // b0 dies in front of the peak.
    const program = deviceOf(buffers, [
      input(0),
      compute([0], [1]),
      ...[2, 3, 4, 5].map((id) => input(id)),
      compute([1, 2, 3, 4, 5], [6]),
    ]);
    const { layouts, largest } = planDeviceMemory(0, { only: stepOf([program]) });
    expect(layouts.only).toMatchObject({ peakAt: 6, maxLive: 176, atPeak: { temporaries: 176 } });
    expect(largest.map(({ name }) => name)).toEqual(['b2', 'b3', 'b4', 'b5', 'b6']);
  });
});

describe('buffers in one place', () => {
  it('are laid out as one, from the first of them to the end of the last, whatever their numbers', () => {
    // 3 → 1 → 0 write over each other; 2 is beside them.
    const program = deviceOf(buffersOf(5), [
      input(3),
      compute([3], [1], { overwrites: 3 }),
      input(2),
      compute([1], [0], { overwrites: 1 }),
      compute([0, 2], [4]),
    ]);
    expect(tenancies(program, liveIntervals(program))).toEqual([
      { buffers: [3, 1, 0], first: 0, last: 4, bytes: 16 },
      { buffers: [2], first: 2, last: 4, bytes: 16 },
      { buffers: [4], first: 4, last: 4, bytes: 16 },
    ]);
    expect(tenancies(program, liveIntervals(program).reverse())).toEqual(tenancies(program, liveIntervals(program)));
    const { layouts, peakBytes } = planDeviceMemory(0, { only: stepOf([program]) });
    expect(new Set([3, 1, 0].map((id) => layouts.only!.offsets[id])).size).toBe(1);
    expect(peakBytes).toBe(48);
  });
});

import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { peakHolders } from '../../src/memory/footprint.ts';
import { liveIntervals } from '../../src/memory/liveness.ts';
import type { Plan } from '../../src/plan/plan.ts';
import { type Instruction, memoryCategories } from '../../src/program/instruction.ts';
import { smallModelKinds, smallModels } from '../support/built-in.ts';
import { bufferOf, buffersOf, compute, copy, deviceOf, input } from '../support/instructions.ts';
import { planOf, threeLayers } from '../support/models.ts';

const holdersOf = (plan: Plan, device: number, name = 'train') => {
  const { layouts, persistent } = plan.memory[device]!;
  return peakHolders(plan.programs[name]!.devices[device]!, layouts[name]!, persistent);
};

describe('what holds the peak', () => {
  it('sums to the live bytes of the peak, category by category, for any model, cut and number of microbatches', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...smallModelKinds),
        fc.integer({ min: 1, max: 3 }),
        fc.integer({ min: 1, max: 4 }),
        fc.constantFrom('gpipe', '1f1b', 'zb-h1'),
        (kind, devices, microbatches, schedule) => {
          const plan = planOf(smallModels[kind], { batch: 4, devices, microbatches, schedule: schedule as 'gpipe' });
          plan.memory.forEach(({ layouts }, d) => {
            const holders = holdersOf(plan, d);
            for (const c of memoryCategories) {
              const bytes = holders.filter((h) => h.category === c).reduce((sum, h) => sum + h.bytes, 0);
              expect(bytes).toBe(layouts.train!.atPeak[c]);
            }
            const sizes = holders.map((h) => h.bytes);
            expect(sizes).toEqual([...sizes].sort((a, b) => b - a));
          });
        },
      ),
      { numRuns: 12 },
    );
  });

  it('says from where to where each lives, and why', () => {
    const plan = planOf(threeLayers, { batch: 64, devices: 2, microbatches: 4, schedule: 'gpipe' });
    const { instructions, buffers } = plan.programs.train!.devices[0]!;
    const { peakAt } = plan.memory[0]!.layouts.train!;
    for (const h of holdersOf(plan, 0)) {
      expect(h.first).toBeLessThanOrEqual(peakAt);
      expect(h.last).toBeGreaterThanOrEqual(peakAt);
      if (h.category === 'parameters') expect(h).toMatchObject({ from: null, why: 'lives from load to close' });
    }
    const saved = holdersOf(plan, 0).filter((h) => h.category === 'savedActivations' && h.last > peakAt);
    expect(saved.length).toBeGreaterThan(1);
    for (const h of saved) {
      // Where its last reader writes over it, its own life ends in front of that.
      const over = instructions.find((i) => i.kind === 'compute' && buffers[i.overwrites ?? -1]?.name === h.name);
      const { kind, task } = (over ?? instructions[h.last]) as Extract<Instruction, { kind: 'compute' }>;
      expect(kind).toBe('compute');
      expect(task).toMatch(/^\d+(B|W|BW)\d+$/);
      expect(h.why).toBe(`last read by ${h.to}`);
    }
  });

  it('tells workspaces, places reserved for messages, and what other programs keep', () => {
    const instructions: Instruction[] = [
      { kind: 'post', from: 1, message: 0, buffer: 0 },
      { kind: 'input', feed: 'x', microbatch: 0, buffer: 1 },
      {
        kind: 'compute',
        ...{ task: '0F0', microbatch: 0, node: 'n', op: 'conv', parts: [], flops: 0, bytes: 0 },
        ...{ inputs: [1], outputs: [2], workspace: 3, overwrites: null },
      },
      { kind: 'receive', from: 1, message: 0, buffer: 0, microbatch: 0 },
      { kind: 'send', to: 1, message: 0, buffer: 2, toBuffer: 9, microbatch: 0 },
    ];
    const buffers = ['arriving', 'x', 'y', 'n/workspace'].map((name, id) => ({
      ...{ id, name, type: { dtype: 'f32', shape: [4] } as const, bytes: 16 },
      ...{ category: 'temporaries' as const, persistent: null },
    }));
    const intervals = [
      { buffer: 0, first: 0, last: 3 },
      { buffer: 1, first: 1, last: 2 },
      { buffer: 2, first: 2, last: 4 },
      { buffer: 3, first: 2, last: 2 },
    ];
    const layout = { ...planOf(threeLayers).memory[0]!.layouts.train!, intervals, peakAt: 2 };
    const kept = [{ name: 'mask', offset: 0, bytes: 8, category: 'parameters' as const }];
    const holders = peakHolders({ device: 0, buffers, instructions }, layout, kept);
    expect(holders.flatMap((h) => (h.type ? [] : [h.name]))).toEqual(['n/workspace', 'mask']);
    expect(holders.at(-1)).toMatchObject({ first: 0, last: 4 });
    expect(holders.map((h) => [h.name, h.why])).toEqual([
      ['arriving', 'reserved for receive arriving from device 1 (microbatch 0)'],
      ['n/workspace', 'workspace of this instruction'],
      ['x', 'read here for the last time'],
      ['y', 'last read by send y to device 1 (microbatch 0)'],
      ['mask', 'lives from load to close, for another program'],
    ]);
  });

  it('takes what reads a view for a reader of what that is a part of', () => {
    const buffers = [bufferOf(0, 32), bufferOf(1, 16, { view: { of: 0, plus: 16 } }), bufferOf(2)];
    const program = deviceOf(buffers, [input(0), compute([1], [2])]);
    const layout = { ...planOf(threeLayers).memory[0]!.layouts.train!, intervals: liveIntervals(program), peakAt: 0 };
    expect(peakHolders(program, layout, []).map((h) => [h.name, h.why])).toEqual([
      ['b0', 'last read by 0F0 neg (neg)'],
    ]);
  });

  it('says of what is written over who reads it last, and of what nobody reads who writes it last', () => {
    const receive = { kind: 'receive', from: 1, message: 0, buffer: 3, microbatch: 0 } as const;
    const instructions: Instruction[] = [
      input(0),
      { kind: 'post', from: 1, message: 0, buffer: 3 },
      compute([0], [1], { overwrites: 0 }),
      input(2),
      receive,
      input(2),
      copy(3, 4),
    ];
    const program = deviceOf(buffersOf(5), instructions);
    const base = planOf(threeLayers).memory[0]!.layouts.train!;
    const at = (peakAt: number) =>
      Object.fromEntries(
        peakHolders(program, { ...base, intervals: liveIntervals(program), peakAt }, []).map((h) => [h.name, h]),
      );
    expect(at(0).b0).toMatchObject({ first: 0, last: 1, to: '0F0 neg (neg)', why: 'last read by 0F0 neg (neg)' });
    expect(at(1).b3!.why).toMatch(/^reserved for receive b3/);
    expect(at(3).b3!.why).toMatch(/^reserved for receive b3/);
    expect(at(4).b3!.why).toMatch(/^last read by copy /);
    expect(at(6).b3!.why).toBe('read here for the last time');
    expect(at(4).b2!.why).toMatch(/^last written by input x/);
    expect(at(5).b2!.why).toBe('written here for the last time');
    // Nobody reads it, and it lives for more than one instruction: it is no workspace.
    expect(at(4).b2!.type).toEqual({ dtype: 'f32', shape: [4] });
    // Of the same size, by name.
    expect(Object.keys(at(4))).toEqual(['b2', 'b3']);
  });
});

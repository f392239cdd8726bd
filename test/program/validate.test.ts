import { describe, expect, it } from 'vitest';
import type { Buffer, DeviceProgram, Instruction, StepProgram } from '../../src/program/instruction.ts';
import { findDeadlock, validateProgram } from '../../src/program/validate.ts';
import { Choices } from '../support/random-model.ts';

const buffer: Buffer = {
  id: 0,
  name: 'v',
  type: { dtype: 'f32', shape: [1] },
  bytes: 4,
  category: 'communication',
  persistent: 'v',
};
const send = (to: number, message = 0): Instruction => ({
  kind: 'send',
  to,
  message,
  buffer: 0,
  toBuffer: 0,
  microbatch: null,
});
const post = (from: number, message = 0): Instruction => ({ kind: 'post', from, message, buffer: 0 });
const receive = (from: number, message = 0): Instruction => ({
  kind: 'receive',
  from,
  message,
  buffer: 0,
  microbatch: null,
});
const barrier: Instruction = { kind: 'barrier', name: 'gradients' };
const onDevices = (lists: readonly (readonly Instruction[])[]): DeviceProgram[] =>
  lists.map((instructions, device) => ({ device, buffers: [buffer], instructions }));

describe('the check of a program for many devices', () => {
  /** Each device waits for the next, and all meet at the end. */
  const chain = (n: number): DeviceProgram[] =>
    onDevices(
      Array.from({ length: n }, (_, d) => [
        ...(d < n - 1 ? [post(d + 1), receive(d + 1)] : []),
        ...(d > 0 ? [send(d - 1)] : []),
        barrier,
      ]),
    );

  it('grows with instructions and messages, not with pairs of devices', () => {
    const reads = (n: number): number => {
      let count = 0;
      const counted = <T extends object>(list: T): T =>
        new Proxy(list, {
          get: (target, key, self) => {
            if (typeof key === 'string' && /^\d+$/.test(key)) count++;
            return Reflect.get(target, key, self);
          },
        });
      const devices = counted(chain(n).map((d) => ({ ...d, instructions: counted(d.instructions) })));
      const program: StepProgram = {
        microbatches: 1,
        chunks: [1],
        devices,
        orders: [],
        feeds: [],
        results: [],
        feedBytes: 0,
        resultBytes: 0,
      };
      validateProgram(program);
      return count;
    };
    expect(reads(200) / reads(50)).toBeLessThan(4.1);
  });

  it('finds a circle exactly where a naive play comes to no end', () => {
    const choices = new Choices(7);
    let stuck = 0;
    for (let round = 0; round < 400; round++) {
      const programs = somewhatShuffled(choices);
      const at = naivePlay(programs);
      const isStuck = programs.some(({ instructions }, d) => at[d]! < instructions.length);
      const deadlock = findDeadlock(programs);
      expect(deadlock !== undefined).toBe(isStuck);
      if (!deadlock) continue;
      stuck++;
      // Each of the circle is where the play has left it.
      deadlock.description.split('\n').forEach((line, i) => {
        const d = deadlock.cycle[i]!;
        expect(line).toMatch(new RegExp(`^  device ${d} at instruction ${at[d]} waits for device `));
      });
    }
    expect(stuck).toBeGreaterThan(80);
    expect(stuck).toBeLessThan(320);
  });
});

/** Messages between random pairs and two barriers, in an order that ends; on some devices one instruction is moved. */
function somewhatShuffled(choices: Choices): DeviceProgram[] {
  const n = 2 + choices.below(4);
  const lists = Array.from({ length: n }, (): Instruction[] => []);
  const counts = new Map<string, number>();
  for (let k = 0; k < 8; k++) {
    if (k === 3 || k === 6) for (const list of lists) list.push(barrier);
    const from = choices.below(n);
    const to = (from + 1 + choices.below(n - 1)) % n;
    const message = counts.get(`${from}>${to}`) ?? 0;
    counts.set(`${from}>${to}`, message + 1);
    lists[to]!.push(post(from, message));
    lists[from]!.push(send(to, message));
    lists[to]!.push(receive(from, message));
  }
  for (const list of lists) {
    if (choices.below(5) < 3) continue;
    const moved = list.splice(choices.below(list.length), 1);
    list.splice(choices.below(list.length + 1), 0, ...moved);
  }
  return onDevices(lists);
}

/** All devices in turn, an instruction each, until nothing moves; by the rules alone. Instructions done. */
function naivePlay(programs: readonly DeviceProgram[]): number[] {
  const at = programs.map(() => 0);
  const done = (d: number, test: (i: Instruction) => boolean) =>
    programs[d]!.instructions.slice(0, at[d]).filter(test).length;
  const met = (d: number) =>
    done(d, (i) => i.kind === 'barrier') + (programs[d]!.instructions[at[d]!]?.kind === 'barrier' ? 1 : 0);
  const may = (d: number, i: Instruction): boolean => {
    if (i.kind === 'send') return done(i.to, (p) => p.kind === 'post' && p.from === d) > i.message;
    if (i.kind === 'receive') return done(i.from, (p) => p.kind === 'send' && p.to === d) > i.message;
    return i.kind !== 'barrier' || programs.every((_, e) => met(e) > done(d, (p) => p.kind === 'barrier'));
  };
  for (let moved = true; moved; ) {
    moved = false;
    programs.forEach(({ instructions }, d) => {
      const next = instructions[at[d]!];
      if (!next || !may(d, next)) return;
      at[d]!++;
      moved = true;
    });
  }
  return at;
}

import { describe, expect, it } from 'vitest';
import type { PlanError } from '../../src/core/errors.ts';
import type { Buffer, DeviceProgram, Instruction } from '../../src/program/instruction.ts';
import { findDeadlock, validateProgram } from '../../src/program/validate.ts';
import { barrier, bufferOf, buffersOf, compute, copy, deviceOf, input, stepOf } from '../support/instructions.ts';
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
      validateProgram(stepOf(devices));
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

describe('each problem of a program', () => {
  const problemsOf = (...devices: readonly (readonly [readonly Buffer[], readonly Instruction[]])[]): unknown => {
    try {
      validateProgram(stepOf(devices.map(([buffers, instructions], d) => deviceOf(buffers, instructions, d))));
    } catch (error) {
      return (error as PlanError).fields.problems;
    }
    return [];
  };
  const four = buffersOf(4);

  it('of an overwriting is told, alone', () => {
    const over = (buffers: readonly Buffer[], more: Parameters<typeof compute>[2] = {}, behind: Instruction[] = []) =>
      problemsOf([buffers, [input(0), compute([0], [1], { overwrites: 0, ...more }), ...behind]]);
    const place = 'device 0, instruction 1 (0F0 neg (neg)) overwrites b0 by b1';
    expect(over(four)).toEqual([]);
    expect(over(four, { allowed: [] })).toEqual([`${place}, which its kernels do not allow`]);
    for (const which of [0, 1]) {
      const lasting = four.map((b) => (b.id === which ? bufferOf(which, 16, { persistent: 'w' }) : b));
      expect(over(lasting)).toEqual([`${place}, and what is persistent has its own bytes`]);
    }
    expect(over([bufferOf(0), bufferOf(1, 12)])).toEqual([`${place}, which is 12 bytes long and not 16`]);
    expect(over(four, {}, [copy(1, 2)])).toEqual([]);
    for (const late of [copy(0, 2), copy(1, 0)])
      expect(over(four, {}, [late])).toEqual([
        expect.stringMatching(/^device 0, instruction 2 .* touches b0, which has been overwritten$/),
      ]);
    const twice = [input(0), input(1), compute([0], [1], { overwrites: 0 })];
    expect(problemsOf([four, twice])).toEqual([expect.stringMatching(/ instruction 2 .*, which has bytes already$/)]);
  });

  it('of what is read before it is written is told for every reader, and workspaces are written', () => {
    expect(problemsOf([four, [compute([0, 1], [2]), copy(3, 2)]])).toEqual([
      expect.stringMatching(/instruction 0 .* reads b0 before it is written$/),
      expect.stringMatching(/instruction 0 .* reads b1 before it is written$/),
      expect.stringMatching(/instruction 1 .* reads b3 before it is written$/),
    ]);
    expect(problemsOf([four, [input(0), compute([0], [1], { workspace: 2 }), copy(2, 3)]])).toEqual([]);
    // The bytes of a post are there behind its receive only.
    const there = [input(0), { ...send(1), buffer: 0, toBuffer: 0 }] as const;
    expect(problemsOf([four, there], [four, [post(0), receive(0), copy(0, 1)]])).toEqual([]);
    expect(problemsOf([four, there], [four, [post(0), copy(0, 1), receive(0)]])).toEqual([
      expect.stringMatching(/^device 1, instruction 1 .* reads b0 before it is written$/),
    ]);
    expect(problemsOf([four, there], [four, [receive(0), post(0)]])).toEqual([
      expect.stringMatching(/^device 1, instruction 0 .* was never posted$/),
    ]);
  });

  it('of views is told: whole words of a buffer that has bytes of its own', () => {
    const withView = (view: Buffer['view'], more: Partial<Buffer> = {}) =>
      problemsOf([
        [bufferOf(0), bufferOf(1, 8, { view: view!, ...more }), bufferOf(2, 8, { view: { of: 0, plus: 0 } })],
        [],
      ]);
    for (const plus of [0, 4, 8]) expect(withView({ of: 0, plus })).toEqual([]);
    const words = (from: number) =>
      `device 0: b1 is a view of b0 at ${from} to ${from + 8}, which are not words among its 16 bytes`;
    for (const plus of [-4, 2, 12]) expect(withView({ of: 0, plus })).toEqual([words(plus)]);
    expect(withView({ of: 2, plus: 0 })).toEqual(['device 0: b1 is a view of b2, which is a view itself']);
    expect(withView({ of: 0, plus: 0 }, { persistent: 'w' })).toEqual([
      'device 0: b1 is a view of b0, and what is persistent has its own bytes',
    ]);
  });

  it('of parts of one buffer is told: a part that is lost, one not yet written, and a kernel that reads where it writes', () => {
    // b0 of 16 bytes; its halves are made by instructions, b3 and b4 are what it holds in its middle and at its end.
    const halves = [bufferOf(1, 8, { view: { of: 0, plus: 0 } }), bufferOf(2, 8, { view: { of: 0, plus: 8 } })];
    const cuts = [bufferOf(3, 8, { view: { of: 0, plus: 4 } }), bufferOf(4, 4, { view: { of: 0, plus: 12 } })];
    const family = [bufferOf(0), ...halves, ...cuts, bufferOf(5, 8), bufferOf(6)];
    const of = (...list: readonly Instruction[]) => problemsOf([family, list]);
    // Both halves make the whole, and what is cut from it.
    expect(of(input(1), input(2), copy(0, 6), copy(3, 5), copy(4, 5))).toEqual([]);
    const unread = (name: string) => expect.stringMatching(new RegExp(`reads ${name} before it is written$`));
    expect(of(input(1), copy(0, 6), input(2))).toEqual([unread('b0')]);
    expect(of(input(1), copy(3, 5), input(2))).toEqual([unread('b3')]);
    expect(of(input(1), copy(1, 5), input(2), copy(2, 5), copy(0, 6))).toEqual([]);
    const lost = (name: string) =>
      expect.stringMatching(new RegExp(`reads ${name}, part of which has been overwritten$`));
    // A part behind the whole takes it away, and what overlaps it, and nothing beside.
    expect(of(input(0), input(1), copy(0, 6))).toEqual([lost('b0')]);
    expect(of(input(0), input(1), copy(3, 5))).toEqual([lost('b3')]);
    expect(of(input(0), input(1), copy(4, 5), copy(1, 5))).toEqual([]);
    // The whole behind a part takes that away.
    expect(of(input(1), input(2), input(0), copy(1, 5))).toEqual([lost('b1')]);
    const beside = expect.stringMatching(/ writes over b0, which it reads$/);
    expect(of(input(0), compute([0], [1]), compute([5], [2]))).toEqual([beside, unread('b5')]);
  });

  it('of messages is told by their pair, in the order of devices', () => {
    const pair = 'messages from device 0 to device 1';
    const sends = (...of: readonly Partial<Instruction>[]) =>
      of.map((change, k) => ({ ...send(1, k), buffer: k, toBuffer: k, ...change }) as Instruction);
    const posts = [0, 1].map((k) => ({ ...post(0, k), buffer: k }) as Instruction);
    const receives = [0, 1].map((k) => ({ ...receive(0, k), buffer: k }) as Instruction);
    const all = (
      sent: readonly Instruction[],
      posted = posts,
      received = receives,
      buffers: readonly Buffer[] = four,
    ) => problemsOf([four, [input(0), input(1), ...sent]], [buffers, [...posted, ...received]]);
    expect(all(sends({}, {}))).toEqual([]);
    // In which order they are received is free.
    expect(all(sends({}, {}), posts, receives.toReversed())).toEqual([]);
    expect(all(sends({}, {}).toReversed())).toEqual([0, 1].map((k) => `${pair}: message ${k} is out of order`));
    expect(all(sends({}, {}), posts.toReversed())).toEqual([0, 1].map((k) => `${pair}: message ${k} is out of order`));
    const skipping = [receives[0]!, { ...receives[1]!, message: 2 } as Instruction];
    expect(all(sends({}, {}), posts, skipping)).toEqual([`${pair}: message 1 is out of order`]);
    expect(all(sends({}, { toBuffer: 2 }))).toEqual([
      `${pair}: message 1 goes to another buffer than it is received in`,
    ]);
    const elsewhere = [receives[0]!, { ...receives[1]!, buffer: 2 } as Instruction];
    expect(all(sends({}, {}), posts, elsewhere)).toEqual(
      expect.arrayContaining([`${pair}: message 1 goes to another buffer than it is received in`]),
    );
    const smaller = four.map((b) => (b.id === 1 ? bufferOf(1, 12) : b));
    expect(all(sends({}, {}), posts, receives, smaller)).toEqual([`${pair}: message 1 changes size`]);
    expect(all(sends({}))).toEqual([`${pair}: 1 sent, 2 posted, 2 received`]);
    expect(all(sends({}, {}), posts, receives.slice(1))).toEqual([`${pair}: 2 sent, 2 posted, 1 received`]);
    const lone = (from: number, to: number): Instruction => ({ ...post(from), buffer: to }) as Instruction;
    expect(problemsOf([four, [lone(2, 0), lone(1, 1)]], [four, [lone(2, 0)]], [four, [lone(0, 0)]])).toEqual([
      'messages from device 0 to device 2: 0 sent, 1 posted, 0 received',
      'messages from device 1 to device 0: 0 sent, 1 posted, 0 received',
      'messages from device 2 to device 0: 0 sent, 1 posted, 0 received',
      'messages from device 2 to device 1: 0 sent, 1 posted, 0 received',
    ]);
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

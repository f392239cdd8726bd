import { expect, it } from 'vitest';
import { mayBeginAhead } from '../../src/program/ahead.ts';
import type { Instruction } from '../../src/program/instruction.ts';
import { barrier, bufferOf, compute, copy, deviceOf, input, stepOf } from '../support/instructions.ts';

// b0 is of this step; b1 lives from load to close, b2 is a view of it.
const buffers = [
  bufferOf(0),
  bufferOf(1, 16, { persistent: 'w' }),
  bufferOf(2, 8, { view: { of: 1, plus: 0 } }),
  bufferOf(3),
];
const message = { message: 0, buffer: 0, microbatch: 0 } as const;
const post: Instruction = { kind: 'post', from: 1, message: 0, buffer: 0 };
const send: Instruction = { kind: 'send', to: 1, toBuffer: 0, ...message };
const receive: Instruction = { kind: 'receive', from: 1, ...message };
const output: Instruction = { kind: 'output', result: 'r', microbatch: 0, buffer: 0 };

const may = (...lists: readonly (readonly Instruction[])[]): boolean =>
  mayBeginAhead(stepOf(lists.map((list, d) => deviceOf(buffers, list, d))), new Set(['late']));

it('a step may begin ahead that changes nothing that lasts, and exchanges nothing behind its barrier', () => {
  const before = [input(0), post, compute([0, 1], [3]), send, receive, output, copy(1, 0)];
  expect(may([...before, barrier, compute([0], [1]), copy(0, 1), input(0, 'late'), receive, output])).toBe(true);
});

it('not where no barrier says how far', () => {
  expect(may([input(0)])).toBe(false);
  expect(may([input(0), barrier], [input(0)])).toBe(false);
  expect(may([input(0)], [input(0), barrier])).toBe(false);
});

it.each([
  ['a kernel writes a parameter', compute([0], [1])],
  ['a kernel writes part of a parameter', compute([0], [3, 2])],
  ['a kernel writes over a parameter', compute([1], [0], { overwrites: 1 })],
  ['a copy changes a parameter', copy(0, 1)],
  ['a message changes a parameter', { ...receive, buffer: 1 }],
  ['a fed value changes a parameter', input(1)],
  ['a feed is read that is known only when the step is asked for', input(0, 'late')],
] as const)('not where %s in front of the barrier', (_, instruction) => {
  expect(may([instruction, barrier])).toBe(false);
  expect(may([input(0), barrier], [input(0), instruction, barrier])).toBe(false);
  expect(may([input(0), barrier, instruction])).toBe(true);
});

it.each([
  ['a post', post],
  ['a send', send],
  ['a second barrier', barrier],
] as const)('not where %s stands behind the barrier', (_, instruction) => {
  expect(may([barrier, instruction])).toBe(false);
  expect(may([barrier], [barrier, input(0), instruction])).toBe(false);
});

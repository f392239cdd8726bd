import { expect, it } from 'vitest';
import { prepareArguments } from '../../src/cli/flags.ts';

const prepared = (...args: string[]) => prepareArguments(args, new Set(['noise', 'invariant', 'microbatches'])).args;

it('a flag that may be true is true without a value', () => {
  expect(prepared('--noise', '--microbatches', '2')).toEqual(['--noise=true', '--microbatches', '2']);
  expect(prepared('--invariant', '--noise')).toEqual(['--invariant=true', '--noise=true']);
});

it('and takes the value that it is given', () => {
  expect(prepared('--noise', 'false')).toEqual(['--noise=false']);
  expect(prepared('--noise', '{"decay": 0.9}')).toEqual(['--noise={"decay": 0.9}']);
});

it('a number that looks like a flag stays a value', () => {
  expect(prepared('--optimizer.lr', '-1')).toEqual(['--optimizer.lr', '-1']);
});

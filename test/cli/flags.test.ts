import { expect, it } from 'vitest';
import { prepareArguments } from '../../src/cli/flags.ts';
import { type Invocation, numberOf } from '../../src/cli/invocation.ts';

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

it('a number that is none is mended by one that is meant, not by the largest there is', () => {
  const of = (jitter: string) =>
    numberOf({ own: { jitter } } as unknown as Invocation, 'jitter', 'jitter', { example: 0.05, max: 10 });
  expect(of('0.1')).toBe(0.1);
  for (const text of ['5%', '0', '11', '']) {
    expect(() => of(text)).toThrow(
      expect.objectContaining({
        message: `--jitter: expected a number > 0 and ≤ 10, got "${text}"`,
        remedy: '--jitter 0.05',
      }),
    );
  }
});

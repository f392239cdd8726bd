import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { exampleOfKind, isOfKind, valueKinds, wordsOfKind } from '../../src/core/kinds.ts';
import { checkOptions, requireKinds, shown } from '../../src/core/options.ts';

const wrong = [
  undefined,
  null,
  Symbol('s'),
  1n,
  'x',
  {},
  [null],
  () => 1,
  Number.NaN,
  Infinity,
  -1,
  0.5,
  2 ** 53,
  true,
];

describe('kinds of values', () => {
  it.each(valueKinds.filter((kind) => kind !== 'bytes'))('%s has an example that is one', (kind) => {
    const value: unknown = new Function(`return ${exampleOfKind(kind)}`)();
    expect(isOfKind(kind, value)).toBe(true);
  });

  it.each([
    ['number', 'Infinity, -1, 0.5, 9007199254740992'],
    ['figure', 'NaN, Infinity, -1, 0.5, 9007199254740992'],
    ['finite', '-1, 0.5, 9007199254740992'],
    ['positive', 'Infinity, 0.5, 9007199254740992'],
    ['notNegative', 'Infinity, 0.5, 9007199254740992'],
    ['whole', '-1'],
    ['count', ''],
    ['index', ''],
    ['flag', 'true'],
    ['text', '"x"'],
    ['texts', ''],
    ['counts', ''],
    ['numbers', ''],
    ['list', '[null]'],
    ['record', 'an object with nothing'],
    ['object', 'an object with nothing, [null]'],
    ['function', 'a function'],
    ['map', ''],
    ['signal', ''],
    ['bytes', ''],
  ] as const)('of what a caller may give, %s is: %s', (kind, told) => {
    expect(
      wrong
        .filter((value) => isOfKind(kind, value))
        .map(shown)
        .join(', '),
    ).toBe(told);
  });

  it('a record is of any class and any realm, and no list, map, set or typed array', () => {
    class Config {
      readonly steps = 1;
    }
    const records = [new Config(), Object.create({ steps: 1 }), Object.create(null), runInNewContext('({ steps: 1 })')];
    const others = [[], new Map(), new Set(), new Uint8Array(1), new DataView(new ArrayBuffer(1))];
    expect(records.map((value) => isOfKind('record', value))).toEqual([true, true, true, true]);
    expect(others.filter((value) => isOfKind('record', value))).toEqual([]);
  });

  it('each is named above', () => {
    expect(valueKinds).toHaveLength(20);
    for (const kind of valueKinds) expect(wordsOfKind(kind)).toMatch(/^[a-z]/);
  });
});

describe('options with kinds', () => {
  interface Options {
    readonly steps: number;
    readonly name?: string;
    readonly any?: unknown;
  }
  const check = (options: unknown) => () =>
    checkOptions<Options>('f', options as Options, { steps: 'required count', name: 'text', any: true });

  it('are taken where they are right or left out', () => {
    expect(check({ steps: 1, name: 'a', any: Symbol('any') })).not.toThrow();
    expect(check({ steps: 1, name: undefined })).not.toThrow();
  });

  it.each([
    [{}, 'f: option steps is missing', 'options: steps, name, any'],
    [new Map([['steps', 1]]), 'f: options must be an object, got a Map', 'options: steps, name, any'],
    [{ steps: 0 }, 'f: steps must be a whole number of 1 or more, got 0', 'steps: 1'],
    [{ steps: 1, name: null }, 'f: name must be a string, got null', "name: 'name'"],
    [{ steps: 1, nam: 'a' }, 'f: unknown option nam, did you mean "name"?', 'options: steps, name, any'],
  ])('%j is refused', (options, message, remedy) => {
    expect(check(options)).toThrow(expect.objectContaining({ code: 'options-invalid', message, remedy }));
  });

  it('so are arguments', () => {
    const call = (step: unknown) => () => requireKinds('f', { step: ['index', step] });
    expect(call(0)).not.toThrow();
    expect(call(-1)).toThrow(
      expect.objectContaining({ message: 'f: step must be a whole number of 0 or more, got -1', remedy: 'step = 0' }),
    );
  });
});

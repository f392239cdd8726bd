import { describe, expect, it } from 'vitest';
import { duplicateKey, JsonError, parseJson } from '../../src/core/json.ts';

const failing = (text: string): JsonError => {
  try {
    parseJson(text);
  } catch (error) {
    return error as JsonError;
  }
  throw new Error(`${text} was accepted`);
};

describe('JSON', () => {
  it.each([
    '{"a": {"x": 1}, "b": {"x": 1}}',
    '[{"x": 1}, {"x": 2}]',
    '{"a": "a", "b": ["a", "a"]}',
    '{"a\\"": 1, "a": 2}',
    '{"a": "{\\"a\\": 1, \\"a\\": 2}"}',
    '{"": 1, " ": 2}',
    '"a"',
  ])('may use a name in several places: %s', (text) => {
    expect(parseJson(text)).toEqual(JSON.parse(text));
  });

  it.each([
    ['{"a": 1, "a": 1}', 'a', '', [1, 1]],
    ['{"a": 1,\n "b": 2,\n\n "a": 1}', 'a', '', [1, 4]],
    ['{"x": [0, {"k": [[], {"a":1}, 5]}, {"k": [[],\n{"b": 0, "a":1,\r\n"a":2}]}]}', 'a', 'x.2.k.1', [2, 3]],
    ['{"a": 1, "\\u0061": 2}', 'a', '', [1, 1]],
    ['{"a" : {"b": ","}, "a"\t: 2}', 'a', '', [1, 1]],
    ['{"__proto__": 1, "__proto__": 2}', '__proto__', '', [1, 1]],
    ['[[1, 2], {"": 1, "": 2}]', '', '1', [1, 1]],
  ] as const)('has no key twice: %s', (text, key, within, lines) => {
    expect(failing(text).twice).toEqual({ key, within, lines });
    expect(duplicateKey(text)).toEqual({ key, within, lines });
  });

  it('says which key, in what, and where', () => {
    expect(failing('{"a": 1,\n"a": 2}').message).toBe('has the key "a" twice, in lines 1 and 2');
    expect(failing('{"o": {"a": 1, "a": 2}}').message).toBe('has the key "a" twice in o, both in line 1');
    expect(failing('{"a": 1, "a": 2}').remedy('write JSON')).toBe('leave one of the two out');
  });

  it.each(['', '{"a": 1,}', "{'a': 1}", '// a\n1', 'NaN'])('is nothing else: %j', (text) => {
    const error = failing(text);
    expect(error).toBeInstanceOf(JsonError);
    expect(error.message).toMatch(/^is not JSON: /);
    expect(error.twice).toBeUndefined();
    expect(error.remedy('write JSON')).toBe('write JSON');
  });
});

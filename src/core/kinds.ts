/** Kinds of values, for when types are gone: what a program in JavaScript gives is held to them. */

const isNumber = (value: unknown): value is number => typeof value === 'number' && !Number.isNaN(value);
const isFunction = (value: unknown): boolean => typeof value === 'function';
const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null;
const listOf = (is: (value: unknown) => boolean) => (value: unknown) => Array.isArray(value) && value.every(is);
const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 1;
const isListOfCounts = (value: unknown): boolean => Array.isArray(value) && value.length > 0 && value.every(isCount);
const isText = (value: unknown): boolean => typeof value === 'string';
/** An object of named values, of any class and any realm: what TypeScript takes for options and settings. */
export const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  isObject(value) &&
  !(Array.isArray(value) || value instanceof Map || value instanceof Set || ArrayBuffer.isView(value));

/** By kind: what is one, in words, whether a value is, and one that is. */
const kinds = {
  number: ['a number', isNumber, '0.1'],
  /** Also NaN, where nothing was measured. */
  figure: ['a number', (value) => typeof value === 'number', '0'],
  finite: ['a finite number', (value) => Number.isFinite(value), '0.1'],
  positive: ['a positive number', (value) => isNumber(value) && value > 0, '10'],
  notNegative: ['a number of 0 or more', (value) => isNumber(value) && value >= 0, '0'],
  whole: ['a whole number', (value) => Number.isSafeInteger(value), '0'],
  count: ['a whole number of 1 or more', isCount, '1'],
  index: ['a whole number of 0 or more', (value) => Number.isSafeInteger(value) && (value as number) >= 0, '0'],
  counts: ['a list of whole numbers of 1 or more, at least one', isListOfCounts, '[1, 2]'],
  numbers: ['a list of numbers', listOf(isNumber), '[0, 1]'],
  flag: ['true or false', (value) => typeof value === 'boolean', 'true'],
  text: ['a string', isText, "'name'"],
  texts: ['a list of strings', listOf(isText), "['name']"],
  list: ['a list', Array.isArray, '[]'],
  record: ['an object', isRecord, '{}'],
  object: ['an object', isObject, '{}'],
  function: ['a function', isFunction, '() => 1'],
  map: ['a Map by name', (value) => value instanceof Map, 'new Map()'],
  signal: ['an AbortSignal', (value) => value instanceof AbortSignal, 'new AbortController().signal'],
  bytes: ['bytes, a Uint8Array', (value) => value instanceof Uint8Array, 'readFileSync(path)'],
} satisfies Readonly<Record<string, readonly [words: string, is: (value: unknown) => boolean, example: string]>>;

export type ValueKind = keyof typeof kinds;
export const valueKinds = Object.keys(kinds) as ValueKind[];

export const isOfKind = (kind: ValueKind, value: unknown): boolean => kinds[kind][1](value);
/** What is of a kind, in words. */
export const wordsOfKind = (kind: ValueKind): string => kinds[kind][0];
/** A value of a kind, as it is written. */
export const exampleOfKind = (kind: ValueKind): string => kinds[kind][2];

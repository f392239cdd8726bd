/** Kinds of what functions of ops are given, for when types are gone. */
import { shown } from '../core/options.ts';
import { Tensor } from '../graph/graph.ts';

const isNumber = (value: unknown): boolean => typeof value === 'number';
const isTensor = (value: unknown): boolean => value instanceof Tensor;
const listOf = (is: (value: unknown) => boolean) => (value: unknown) => Array.isArray(value) && value.every(is);
const numbers = listOf(isNumber);

/** By kind: what is one, in words, and whether a value is. */
const kinds = {
  tensor: ['a tensor', isTensor],
  operand: ['a tensor or a number', (value) => isTensor(value) || isNumber(value)],
  tensors: ['a list of tensors', listOf(isTensor)],
  number: ['a number', isNumber],
  numbers: ['a list of numbers', numbers],
  perAxis: ['a number or a list of numbers', (value) => isNumber(value) || numbers(value)],
  flag: ['true or false', (value) => typeof value === 'boolean'],
  text: ['a string', (value) => typeof value === 'string'],
  /** Looked at by the function itself. */
  other: ['', () => true],
} satisfies Readonly<Record<string, readonly [words: string, is: (value: unknown) => boolean]>>;

type KindName = keyof typeof kinds;
/** `?`: it may be left out. */
export type Kind = KindName | `${KindName}?`;

type NameOf<V> = [V] extends [boolean]
  ? 'flag'
  : [V] extends [string]
    ? 'text'
    : [V] extends [number]
      ? 'number'
      : [V] extends [Tensor]
        ? 'tensor'
        : [V] extends [Tensor | number]
          ? 'operand'
          : [V] extends [readonly Tensor[]]
            ? 'tensors'
            : [V] extends [readonly number[]]
              ? 'numbers'
              : [V] extends [number | readonly number[]]
                ? 'perAxis'
                : 'other';

/** The kind of a parameter's type: another one where it is stated does not compile. */
export type KindOf<V> = `${NameOf<NonNullable<V>>}${undefined extends V ? '?' : ''}`;

/** What a value must be, where it is not of its kind. */
export function kindProblem(kind: Kind, value: unknown): string | undefined {
  if (value === undefined && kind.endsWith('?')) return undefined;
  const [words, is] = kinds[kind.replace('?', '') as KindName];
  return is(value) ? undefined : `must be ${words}, got ${shown(value)}`;
}

/**
 * Sequences of tensors, of a length that is known at import: no graph has them, and what is made of them (a Split, a Concat)
 * takes the node's place.
 */
import type { NodeContext } from './context.ts';
import { known } from './known.ts';
import type { OnnxAttribute, OnnxNode } from './model.ts';
import type { Known } from './operator.ts';
import type { Bound } from './scope.ts';

/** A value of the file that is no tensor. Rules of tensors never see it. */
export class Sequence implements Known {
  readonly dtype = 'STRING';
  readonly data = new Float64Array();
  readonly items: readonly Bound[];

  constructor(items: readonly Bound[]) {
    this.items = items;
  }
  get shape(): readonly number[] {
    return [this.items.length];
  }
}

/** Ordinary nodes that a sequence operator stands for. */
export interface Written {
  readonly given: ReadonlyMap<string, Bound>;
  readonly nodes: readonly OnnxNode[];
  readonly outputs: readonly string[];
  /** What the node gives, out of the outputs' values. */
  readonly result: (values: readonly Bound[]) => Bound;
}

type SequenceRule = (context: NodeContext, inputs: readonly (Bound | undefined)[]) => Bound | Written;

/** Version of the operators that the written nodes are of. */
export const writtenOpset = 17;

const bound = (items: readonly Bound[]): Bound => ({ value: new Sequence(items), dtype: 'STRING' });

function itemsOf(context: NodeContext, inputs: readonly (Bound | undefined)[]): readonly Bound[] {
  const value = inputs[0]?.value;
  return value instanceof Sequence ? value.items : context.invalid('its input 0 is no sequence');
}

/** A place among the items, from the end where it is negative; `room`: one more than the last place. */
function placeOf(context: NodeContext, input: number, room: number, count: number): number {
  const given = context.integer(input, 'the position');
  const at = given < 0 ? given + count : given;
  return at >= 0 && at < room ? at : context.invalid(`position ${given} lies outside of a sequence of ${count}`);
}

const node = (
  opType: string,
  inputs: readonly string[],
  outputs: readonly string[],
  ints: Record<string, number>,
): OnnxNode => ({
  name: '',
  opType,
  domain: '',
  overload: '',
  inputs,
  outputs,
  attributes: new Map(
    Object.entries(ints).map(([name, value]): [string, OnnxAttribute] => [name, { kind: 'int', value }]),
  ),
});

const integers = (...values: readonly number[]): Bound => ({
  value: known('INT64', [values.length], values),
  dtype: 'INT64',
});

const sequenceAt: SequenceRule = (context, inputs) => {
  const items = itemsOf(context, inputs);
  return items[placeOf(context, 1, items.length, items.length)]!;
};

const sequenceInsert: SequenceRule = (context, inputs) => {
  const items = itemsOf(context, inputs);
  const item = inputs[1] ?? context.invalid('input 1 is missing');
  const at = inputs[2] ? placeOf(context, 2, items.length + 1, items.length) : items.length;
  return bound(items.toSpliced(at, 0, item));
};

const sequenceErase: SequenceRule = (context, inputs) => {
  const items = itemsOf(context, inputs);
  if (items.length === 0) context.invalid('there is nothing to erase');
  const at = inputs[1] ? placeOf(context, 1, items.length, items.length) : items.length - 1;
  return bound(items.toSpliced(at, 1));
};

/** Along an axis, or along a new one: then each item gets it first. */
const concatFromSequence: SequenceRule = (context, inputs) => {
  const items = itemsOf(context, inputs);
  if (items.length === 0) context.invalid('the sequence is empty');
  const axis = context.int('axis');
  const isNew = context.int('new_axis', 0) !== 0;
  const names = items.map((_, i) => `${i}`);
  const widened = names.map((name) => (isNew ? `${name}.wide` : name));
  return {
    given: new Map([['axes', integers(axis)], ...items.map((item, i): [string, Bound] => [names[i]!, item])]),
    nodes: [
      ...(isNew ? names.map((name, i) => node('Unsqueeze', [name, 'axes'], [widened[i]!], {})) : []),
      node('Concat', widened, ['joined'], { axis }),
    ],
    outputs: ['joined'],
    result: ([joined]) => joined!,
  };
};

/** Parts of the sizes given, or of one size, or of 1 each; `keepdims` 0 then takes their axis away. */
const splitToSequence: SequenceRule = (context, inputs) => {
  const x = inputs[0] ?? context.invalid('input 0 is missing');
  const rank = x.value.shape.length;
  const given = context.int('axis', 0);
  const axis = given < 0 ? given + rank : given;
  const size = x.value.shape[axis] ?? context.invalid(`axis ${given} is out of range for rank ${rank}`);
  const split = context.optionalKnown(1, 'the sizes');
  const chunk = split && split.shape.length > 0 ? undefined : (context.optionalInteger(1, 'the size') ?? 1);
  if (chunk !== undefined && chunk < 1) context.invalid(`parts of ${chunk}`);
  const sizes =
    chunk === undefined
      ? context.integers(1, 'the sizes')
      : Array.from({ length: Math.ceil(size / chunk) }, (_, i) => Math.min(chunk, size - i * chunk));
  const squeezed = !split && context.int('keepdims', 1) === 0;
  const parts = sizes.map((_, i) => `${i}`);
  const outputs = parts.map((name) => (squeezed ? `${name}.narrow` : name));
  return {
    given: new Map([
      ['x', x],
      ['sizes', integers(...sizes)],
      ['axes', integers(axis)],
    ]),
    nodes: [
      node('Split', ['x', 'sizes'], parts, { axis }),
      ...(squeezed ? parts.map((name, i) => node('Squeeze', [name, 'axes'], [outputs[i]!], {})) : []),
    ],
    outputs,
    result: bound,
  };
};

const rules: Readonly<Record<string, SequenceRule>> = {
  ConcatFromSequence: concatFromSequence,
  SequenceAt: sequenceAt,
  SequenceConstruct: (context, inputs) =>
    bound(inputs.map((input, i) => input ?? context.invalid(`input ${i} is missing`))),
  SequenceEmpty: () => bound([]),
  SequenceErase: sequenceErase,
  SequenceInsert: sequenceInsert,
  SequenceLength: (context, inputs) => ({
    value: known('INT64', [], [itemsOf(context, inputs).length]),
    dtype: 'INT64',
  }),
  SplitToSequence: splitToSequence,
};

export const sequenceRuleOf = (opType: string): SequenceRule | undefined =>
  Object.hasOwn(rules, opType) ? rules[opType] : undefined;

export const sequenceOperatorNames = (): string[] => Object.keys(rules).sort();

/** ONNX's Loop where the number of its turns is known: what it takes, and what its turns give together. */
import { sameShape } from '../../core/types.ts';
import { concat, reshape } from '../../ops/shape.ts';
import type { NodeContext } from './context.ts';
import { known } from './known.ts';
import type { OnnxGraph, OnnxNode } from './model.ts';
import { isTensor, type Known } from './operator.ts';
import type { Bound } from './scope.ts';
import { Sequence } from './sequences.ts';

export interface Loop {
  readonly body: OnnxGraph;
  /** Most turns; Infinity: no bound. */
  readonly turns: number;
  /** Whether to begin: not 0. */
  readonly condition: number;
  /** What is carried from turn to turn. */
  readonly carried: readonly Bound[];
  /** How many outputs collect a slice a turn. */
  readonly collecting: number;
}

/**
 * What a Loop node says. Throws FormatError where its body does not fit, Unsupported where it is computed how often it
 * turns.
 */
export function readLoop(node: OnnxNode, context: NodeContext, inputs: readonly (Bound | undefined)[]): Loop {
  const turns = scalarOf(context, context.optionalKnown(0, 'the number of turns'), 'the number of turns') ?? Infinity;
  const condition = scalarOf(context, context.optionalKnown(1, 'the condition'), 'the condition') ?? 1;
  const body = context.graphAttr('body');
  const carried = inputs.slice(2).map((bound, i) => bound ?? context.invalid(`input ${2 + i} is missing`));
  const collecting = body.outputs.length - 1 - carried.length;
  if (body.inputs.length !== 2 + carried.length || collecting < 0) {
    context.invalid(
      `its body has ${body.inputs.length} inputs and ${body.outputs.length} outputs, and the node carries ${carried.length} values`,
    );
  }
  if (node.outputs.length > carried.length + collecting) {
    context.invalid(`its body makes ${carried.length + collecting} values, and the node has ${node.outputs.length}`);
  }
  return { body, turns, condition, carried, collecting };
}

/** Whether a loop goes on behind a turn: not 0. */
export function nextCondition(context: NodeContext, { value }: Bound): number {
  if (isTensor(value)) return context.unsupported('its condition must be known at import, and is computed');
  return scalarOf(context, value, 'the condition')!;
}

function scalarOf(context: NodeContext, value: Known | undefined, what: string): number | undefined {
  if (value && value.data.length !== 1) context.invalid(`${what} is a scalar, and has ${value.data.length} values`);
  return value?.data[0];
}

/** What the turns of a loop give, along a new first axis. */
export function stackSlices(slices: readonly Bound[], context: NodeContext): Bound | undefined {
  const [first] = slices;
  if (!first) return undefined;
  const shape = first.value.shape;
  if (first.value instanceof Sequence) return context.unsupported('it collects sequences');
  if (slices.some(({ value }) => !sameShape(value.shape, shape))) {
    context.invalid('what it collects has another shape at every turn');
  }
  const values = slices.map(({ value }) => value);
  if (values.every((value) => !isTensor(value))) {
    const data = values.flatMap((value) => [...(value as Known).data]);
    return { value: known(first.dtype, [slices.length, ...shape], data), dtype: first.dtype };
  }
  const rows = values.map((value) => reshape(context.lift(value), [1, ...shape]));
  return { value: concat(rows, { axis: 0 }), dtype: first.dtype };
}

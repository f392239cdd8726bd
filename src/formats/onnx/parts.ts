import { formatShape, type Shape } from '../../core/types.ts';
import type { OperatorContext } from './operator.ts';

/**
 * Sizes of Split's parts along an axis of `shape`, one an output: an attribute, from version 13 on an input; else even parts,
 * the last one smaller where `num_outputs` (version 18) asks for as many as do not go up.
 */
export function partsOf(context: OperatorContext, shape: Shape, axis: number): readonly number[] {
  const size = shape[axis]!;
  const outputs = context.node.outputs.length;
  const count = context.int('num_outputs', outputs);
  if (count !== outputs) context.invalid(`num_outputs is ${count}, and the node has ${outputs}`);
  const given = context.has('split') ? context.ints('split') : context.optionalIntegers(1, 'the sizes');
  if (!given && !context.has('num_outputs') && size % count !== 0) {
    context.invalid(
      `axis ${axis} of ${formatShape(shape)} does not go up in ${count} equal parts, and no sizes are given`,
    );
  }
  const parts = given ?? evenParts(size, count);
  if (parts.reduce((sum, part) => sum + part, 0) !== size || parts.some((part) => part < 0)) {
    context.invalid(`parts ${formatShape(parts)} do not make up axis ${axis} of ${formatShape(shape)}`);
  }
  if (parts.length !== outputs) {
    context.invalid(`parts ${formatShape(parts)} are not as many as the node's outputs, ${outputs}`);
  }
  return parts;
}

function evenParts(size: number, count: number): number[] {
  const part = Math.ceil(size / count);
  return Array.from({ length: count }, (_, i) => Math.max(0, Math.min(part, size - i * part)));
}

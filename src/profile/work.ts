/** What a part of an instruction does where its program is laid out, beside what its op counts. */

import type { Cost } from '../graph/op-record.ts';
import { type Copy, copiesOf } from '../lower/kernel-call.ts';
import type { Part } from '../program/instruction.ts';

/**
 * FLOPs and bytes of one repetition by the op's own count, less what is not done: bytes that are copied as they are compute
 * nothing, and where both ends are one place (`copyBytes`) nothing is moved either. `offsets`: of the device's buffers.
 */
export function workOf(part: Part, offsets: readonly number[]): Cost {
  const copies = copiesOf(part.calls);
  if (!copies?.length) return { flops: part.flops, bytes: part.bytes };
  return { flops: 0, bytes: copies.every((copy) => staysInPlace(copy, part, offsets)) ? 0 : part.bytes };
}

/** In every repetition. */
function staysInPlace({ from, to }: Copy, { inputs, outputs, repeat }: Part, offsets: readonly number[]): boolean {
  if (!('input' in from) || !('output' in to)) return false;
  const [source, target] = [inputs[from.input]!, outputs[to.output]!];
  const at = ({ buffer, plus }: typeof source, more = 0) => offsets[buffer]! + plus + more;
  return at(source, from.plus) === at(target, to.plus) && (repeat === 1 || source.stride === target.stride);
}

import type { ComputeInstruction, DeviceProgram, Place } from './instruction.ts';
import { mentions, withMentions } from './lifetimes.ts';

/**
 * Lets outputs take over the bytes of inputs that die there, wherever the kernels allow it: an elementwise chain lives in
 * one place, and the first addend of a sum becomes the sum. The values are the same; most bytes alive at once are fewer or
 * as many.
 */
export function overwriteDyingInputs(program: DeviceProgram): DeviceProgram {
  const { first, last } = mentions(program);
  const { buffers } = program;
  const instructions = program.instructions.map((instruction, at) => {
    if (instruction.kind !== 'compute') return instruction;
    const output = instruction.outputs[0];
    if (first[output!] !== at || buffers[output!]!.persistent !== null) return instruction;
    const isFree = (id: number): boolean => last[id] === at && buffers[id]!.persistent === null;
    const overwrites = overwritable(instruction).find(
      (id) => isFree(id) && buffers[id]!.bytes === buffers[output!]!.bytes,
    );
    return overwrites === undefined ? instruction : { ...instruction, overwrites };
  });
  return withMentions({ ...program, instructions }, { first, last });
}

/**
 * Inputs that an instruction's first output may be written over, should they die there: read in the same places only, in
 * each repetition.
 */
export function overwritable({ parts, outputs }: ComputeInstruction): number[] {
  const part = parts[0]!;
  if (parts.length !== 1 || part.overwritable.length === 0) return [];
  const to = part.outputs[0]!;
  const isBeside = (place: Place): boolean => place.plus === to.plus && place.stride === to.stride;
  const safe = (id: number): boolean =>
    id !== outputs[0] &&
    part.inputs.every((place, i) => place.buffer !== id || (part.overwritable.includes(i) && isBeside(place)));
  return [...new Set(part.overwritable.map((i) => part.inputs[i]!.buffer))].filter(safe);
}

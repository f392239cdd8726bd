import { type DeviceProgram, ownerOf, touches } from './instruction.ts';

/** Instructions [first, last] during which a buffer's bytes are its own. Persistent buffers live for the whole program. */
export interface Interval {
  readonly buffer: number;
  readonly first: number;
  readonly last: number;
}

/** Of programs, which do not change once they are made, and are asked for again and again. */
const known = new WeakMap<DeviceProgram, Mentions>();

export interface Mentions {
  readonly first: Int32Array;
  readonly last: Int32Array;
}

/** The instructions that touch each buffer, or a view of it, first and last, by id; −1 where none does. Not to be written to. */
export function mentions(program: DeviceProgram): Mentions {
  let found = known.get(program);
  if (!found) known.set(program, (found = findMentions(program)));
  return found;
}

/** Of a program whose instructions touch what those did from which they were made. */
export function withMentions(program: DeviceProgram, of: Mentions): DeviceProgram {
  known.set(program, of);
  return program;
}

function findMentions({ buffers, instructions }: DeviceProgram): Mentions {
  const first = new Int32Array(buffers.length).fill(-1);
  const last = new Int32Array(buffers.length).fill(-1);
  const note = (named: number, at: number): void => {
    const id = ownerOf(buffers, named);
    if (first[id]! < 0) first[id] = at;
    last[id] = at;
  };
  instructions.forEach((instruction, at) => {
    const { reads, writes } = touches(instruction);
    for (const id of writes) note(id, at);
    for (const id of reads) note(id, at);
  });
  return { first, last };
}

/**
 * Exact lifetimes over the instruction list: from the first write (or post) to the last use, its own or a view's. A buffer
 * that is overwritten ends in front of that instruction, where the output's life begins in the same bytes. Views have no bytes.
 */
export function liveIntervals(program: DeviceProgram): Interval[] {
  const end = Math.max(0, program.instructions.length - 1);
  const { first, last: lastOf } = mentions(program);
  const last = lastOf.slice();
  for (const from of takeovers(program).values()) last[from]!--;
  return program.buffers
    .filter((b) => b.persistent !== null || (b.view === undefined && first[b.id]! >= 0))
    .map(({ id, persistent }) =>
      persistent !== null ? { buffer: id, first: 0, last: end } : { buffer: id, first: first[id]!, last: last[id]! },
    );
}

/** By output, the buffer whose bytes it takes over. */
export function takeovers({ instructions }: DeviceProgram): Map<number, number> {
  const from = new Map<number, number>();
  for (const i of instructions)
    if (i.kind === 'compute' && i.overwrites !== null) from.set(i.outputs[0]!, i.overwrites);
  return from;
}

/** Bytes alive at each instruction, without what is persistent: how full memory is but for the layout's gaps. */
export function liveBytes(program: DeviceProgram): Float64Array {
  const { buffers, instructions } = program;
  const { first, last } = mentions(program);
  const change = new Float64Array(instructions.length + 1);
  // As `liveIntervals`, without an object for each of a million buffers.
  for (const { id, bytes, persistent, view } of buffers) {
    if (persistent !== null || view !== undefined || first[id]! < 0) continue;
    change[first[id]!]! += bytes;
    change[last[id]! + 1]! -= bytes;
  }
  for (const i of instructions) {
    if (i.kind !== 'compute' || i.overwrites === null) continue;
    const { bytes } = buffers[i.overwrites]!;
    change[last[i.overwrites]!]! -= bytes;
    change[last[i.overwrites]! + 1]! += bytes;
  }
  for (let at = 1; at < change.length; at++) change[at]! += change[at - 1]!;
  return change.subarray(0, instructions.length);
}

/** The most of them. */
export function mostAlive(program: DeviceProgram): number {
  let most = knownMost.get(program);
  if (most === undefined) {
    most = 0;
    for (const bytes of liveBytes(program)) if (bytes > most) most = bytes;
    knownMost.set(program, most);
  }
  return most;
}

const knownMost = new WeakMap<DeviceProgram, number>();

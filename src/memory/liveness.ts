import { type DeviceProgram, touches } from '../program/instruction.ts';

/** Instructions [first, last] during which a buffer's bytes are its own. Persistent buffers live for the whole program. */
export interface Interval {
  readonly buffer: number;
  readonly first: number;
  readonly last: number;
}

/** Exact lifetimes over the instruction list: from the first write (or post) to the last use. */
export function liveIntervals(program: DeviceProgram): Interval[] {
  const end = program.instructions.length - 1;
  const first = new Map<number, number>();
  const last = new Map<number, number>();
  program.instructions.forEach((instruction, at) => {
    const { reads, writes } = touches(instruction);
    for (const id of writes) {
      if (!first.has(id)) first.set(id, at);
      last.set(id, at);
    }
    for (const id of reads) last.set(id, at);
  });
  return program.buffers
    .filter((b) => b.persistent !== null || first.has(b.id))
    .map((b) =>
      b.persistent !== null
        ? { buffer: b.id, first: 0, last: Math.max(0, end) }
        : { buffer: b.id, first: first.get(b.id)!, last: last.get(b.id)! },
    );
}

/** Buffers that die behind each instruction, for audits and pictures. */
export function deaths(program: DeviceProgram, intervals: readonly Interval[]): number[][] {
  const dying = program.instructions.map(() => [] as number[]);
  for (const { buffer, last } of intervals) {
    if (program.buffers[buffer]!.persistent === null) dying[last]!.push(buffer);
  }
  return dying;
}

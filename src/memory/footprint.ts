/** What holds a device's memory at its peak, tensor by tensor, and why each is alive there. */
import type { TensorType } from '../core/types.ts';
import { type DeviceProgram, describe, type MemoryCategory, ownerOf, touches } from '../program/instruction.ts';
import type { DeviceLayout, PersistentBuffer } from './device-memory.ts';

/** A tensor alive at the peak of a program. */
export interface PeakHolder {
  readonly name: string;
  readonly category: MemoryCategory;
  /** null: no tensor but a kernel's workspace, or what another program of the session keeps. */
  readonly type: TensorType | null;
  readonly bytes: number;
  /** Instructions between which the bytes are its own; 0 to the last where it lives from load to close. */
  readonly first: number;
  readonly last: number;
  /** What writes it first, and reads it last; null where it lives from load to close. */
  readonly from: string | null;
  readonly to: string | null;
  /** Why it is alive at the peak, in words. */
  readonly why: string;
}

/** Largest first; their bytes sum to the live bytes at the peak. */
export function peakHolders(
  program: DeviceProgram,
  { intervals, peakAt }: DeviceLayout,
  persistent: readonly PersistentBuffer[],
): PeakHolder[] {
  const { instructions, buffers } = program;
  const own = new Set<string>();
  const reader = lastReaders(program);
  const reason = reasons(program, peakAt, reader);
  const held = intervals
    .filter(({ first, last }) => first <= peakAt && peakAt <= last)
    .map(({ buffer, first, last }): PeakHolder => {
      const { name, type, bytes, category, persistent: kept } = buffers[buffer]!;
      const place = { name, category, type, bytes, first, last };
      if (kept === null) {
        const [from, to] = [first, reader.get(buffer) ?? last].map((at) => describe(instructions[at]!, program));
        const why = reason(buffer, first, last);
        return { ...place, type: why === workspace ? null : type, from: from!, to: to!, why };
      }
      own.add(kept);
      return { ...place, from: null, to: null, why: 'lives from load to close' };
    });
  const others = persistent
    .filter((p) => !own.has(p.name))
    .map(
      ({ name, category, bytes }): PeakHolder => ({
        ...{ name, category, bytes, type: null, from: null, to: null },
        ...{ first: 0, last: Math.max(0, instructions.length - 1) },
        why: 'lives from load to close, for another program',
      }),
    );
  return [...held, ...others].sort((a, b) => b.bytes - a.bytes || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
}

const workspace = 'workspace of this instruction';

/** Of buffers whose last reader writes over them: that instruction, behind their life. */
function lastReaders({ instructions }: DeviceProgram): ReadonlyMap<number, number> {
  const found = new Map<number, number>();
  instructions.forEach((i, at) => {
    if (i.kind === 'compute' && i.overwrites !== null) found.set(i.overwrites, at);
  });
  return found;
}

/** Says of a buffer with this life why it is alive at the peak. */
function reasons(
  program: DeviceProgram,
  peakAt: number,
  reader: ReadonlyMap<number, number>,
): (buffer: number, first: number, last: number) => string {
  const { instructions, buffers } = program;
  const arrivals = new Map<number, number>();
  const read = new Set<number>();
  instructions.forEach((i, at) => {
    if (i.kind === 'receive') arrivals.set(i.buffer, at);
    for (const id of touches(i).reads) read.add(ownerOf(buffers, id));
  });
  return (buffer, first, last) => {
    const arrival = arrivals.get(buffer);
    if (arrival !== undefined && peakAt < arrival) return `reserved for ${describe(instructions[arrival]!, program)}`;
    if (!read.has(buffer) && first === last) return workspace;
    const over = reader.get(buffer);
    if (over !== undefined) return `last read by ${describe(instructions[over]!, program)}`;
    const end = instructions[last]!;
    const verb = touches(end).reads.some((id) => ownerOf(buffers, id) === buffer) ? 'read' : 'written';
    return peakAt === last ? `${verb} here for the last time` : `last ${verb} by ${describe(end, program)}`;
  };
}

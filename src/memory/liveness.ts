import type { DeviceProgram } from '../program/instruction.ts';
import { type Interval, takeovers } from '../program/lifetimes.ts';

export { type Interval, liveIntervals } from '../program/lifetimes.ts';

/** Buffers that die behind each instruction, for audits and pictures; one that is overwritten hands its bytes on instead. */
export function deaths(program: DeviceProgram, intervals: readonly Interval[]): number[][] {
  const dying = program.instructions.map(() => [] as number[]);
  const overwritten = new Set(takeovers(program).values());
  for (const { buffer, last } of intervals) {
    if (program.buffers[buffer]!.persistent === null && !overwritten.has(buffer)) dying[last]!.push(buffer);
  }
  return dying;
}

/** Buffers that share one place: each but the first takes over the bytes of the one in front. */
export interface Tenancy {
  readonly buffers: readonly number[];
  readonly first: number;
  readonly last: number;
  readonly bytes: number;
}

/** What a layout places: the buffers that are not persistent, those that follow each other in the same bytes as one. */
export function tenancies(program: DeviceProgram, intervals: readonly Interval[]): Tenancy[] {
  const before = takeovers(program);
  const open = new Map<number, { buffers: number[]; first: number; last: number; bytes: number }>();
  const all: Tenancy[] = [];
  for (const interval of [...intervals].sort((a, b) => a.first - b.first || a.buffer - b.buffer)) {
    const { buffer, first, last } = interval;
    if (program.buffers[buffer]!.persistent !== null) continue;
    const previous = before.get(buffer);
    let tenancy = previous === undefined ? undefined : open.get(previous);
    if (tenancy) {
      tenancy.buffers.push(buffer);
      tenancy.last = last;
    } else all.push((tenancy = { buffers: [buffer], first, last, bytes: program.buffers[buffer]!.bytes }));
    open.set(buffer, tenancy);
  }
  return all;
}

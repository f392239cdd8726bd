import { requireKinds } from '../core/options.ts';
import {
  type CategoryBytes,
  type DeviceLayout,
  liveBytesOverTime,
  type PersistentBuffer,
} from '../memory/device-memory.ts';
import type { DeviceProgram } from '../program/instruction.ts';
import { timelineOf } from './critical-path.ts';
import { EventQueue } from './queue.ts';
import type { Simulation } from './simulate.ts';

export interface MemorySample {
  /** When the device comes to an instruction; what follows holds until the next. */
  readonly seconds: number;
  readonly live: CategoryBytes;
  /** End of the highest value alive: what the device's memory must reach. */
  readonly reachBytes: number;
}

export interface MemoryOverTime {
  readonly device: number;
  /** One an instruction. */
  readonly samples: readonly MemorySample[];
  /** The largest reach: the planned peak of this program. */
  readonly peakBytes: number;
  readonly peakSeconds: number;
}

/** A device's memory in the course of a simulated step, by the layout it was planned with. */
export function memoryOverTime(
  program: DeviceProgram,
  layout: DeviceLayout,
  persistent: readonly PersistentBuffer[],
  simulation: Simulation,
): MemoryOverTime {
  requireKinds('memoryOverTime', { program: ['record', program], layout: ['record', layout] });
  const { intervals, offsets } = layout;
  requireKinds('memoryOverTime', {
    'program.instructions': ['list', program.instructions],
    'layout.intervals': ['list', intervals],
    'layout.offsets': ['object', offsets],
    persistent: ['list', persistent],
  });
  const timeline = timelineOf(simulation);
  const { device } = program;
  const live = liveBytesOverTime(program, intervals, persistent);
  const base = persistent.reduce((end, p) => Math.max(end, p.offset + p.bytes), 0);
  const born = program.instructions.map(() => [] as { top: number; last: number }[]);
  for (const { buffer, first, last } of intervals) {
    const { bytes, persistent: name } = program.buffers[buffer]!;
    if (name === null) born[first]!.push({ top: offsets[buffer]! + bytes, last });
  }
  // Highest first; what has died below the top waits there until it comes up.
  const alive = new EventQueue<{ top: number; last: number }>();
  const samples = live.map((bytes, i): MemorySample => {
    for (const value of born[i]!) alive.add(-value.top, value);
    while (alive.size > 0 && alive.next.last < i) alive.take();
    const reachBytes = Math.max(base, alive.size > 0 ? alive.next.top : 0);
    return { seconds: timeline.at(device, i).reached, live: bytes, reachBytes };
  });
  const peak = samples.reduce<MemorySample | undefined>(
    (a, b) => (a && a.reachBytes >= b.reachBytes ? a : b),
    undefined,
  );
  return { device, samples, peakBytes: peak?.reachBytes ?? base, peakSeconds: peak?.seconds ?? 0 };
}

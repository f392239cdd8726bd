import type { Graph } from '../graph/graph.ts';
import { type DeviceProgram, type Instruction, ownerOf, type StepProgram } from './instruction.ts';

/** The feeds of a program's graph that are known only when a step is asked for: the optimizer's rate and momentum. */
export const lateFeedsOf = (graph: Graph): ReadonlySet<string> =>
  new Set(
    graph.sources('input').flatMap(({ node: { source } }) => (source!.feed!.kind === 'hyper' ? [source!.name] : [])),
  );

/**
 * Whether a step may begin before anybody has asked for it: up to the barrier it changes nothing that lasts and reads none
 * of the feeds `lateFeeds`, which are known only when it is asked for, and behind the barrier devices post and send nothing, so
 * that those which stop there agree on all messages. False of programs without a barrier, which have no such place.
 */
export const mayBeginAhead = ({ devices }: StepProgram, lateFeeds: ReadonlySet<string>): boolean =>
  devices.every((device) => stopsWhole(device, lateFeeds));

function stopsWhole({ instructions, buffers }: DeviceProgram, lateFeeds: ReadonlySet<string>): boolean {
  const barrier = instructions.findIndex(({ kind }) => kind === 'barrier');
  if (barrier < 0) return false;
  const lasts = (id: number): boolean => buffers[ownerOf(buffers, id)]!.persistent !== null;
  const changes = (i: Instruction): boolean => written(i).some(lasts);
  const isLate = (i: Instruction): boolean => i.kind === 'input' && lateFeeds.has(i.feed);
  return (
    !instructions.slice(0, barrier).some((i) => changes(i) || isLate(i)) &&
    !instructions.slice(barrier + 1).some(({ kind }) => exchanges.has(kind))
  );
}

const exchanges: ReadonlySet<Instruction['kind']> = new Set(['post', 'send', 'barrier']);

/** Buffers of this device whose bytes an instruction changes. */
function written(i: Instruction): readonly number[] {
  switch (i.kind) {
    case 'compute':
      return i.overwrites === null ? i.outputs : [...i.outputs, i.overwrites];
    case 'receive':
    case 'input':
    case 'copy':
      return [i.buffer];
    default:
      return [];
  }
}

import { byteSize } from '../core/types.ts';
import type { Node } from '../graph/graph.ts';

/** Nodes that run together, all of them for one sample before the next; a single node runs for all samples. */
export type SampleGroup = readonly Node[];

/**
 * Divides a task's nodes where samples are computed one by one. What a sample adds to a sum over the batch is as large as
 * the sum: a weight's gradient. Kept for all samples of a chunk it would take the weight's size times the chunk's, so it
 * is added before the next sample's is computed. Groups are the sums, what feeds them alone, and what those were made from
 * by ops that keep the size (transposes, scales), and results that are measured on them (their squares' sums). A group
 * stands at the place of its last node.
 */
export function sampleGroups(
  nodes: readonly Node[],
  readersOf: (node: Node) => readonly Node[],
  isKept: (node: Node) => boolean,
): SampleGroup[] {
  const groupOf = new Map<Node, Set<Node>>();
  const inTask = new Set(nodes);
  /** Nothing waits for it, and it is smaller than what it reads: it may run when the sample's value is there. */
  const measures = (reader: Node, node: Node) =>
    inTask.has(reader) && readersOf(reader).length === 0 && largest(reader) < largest(node);
  for (const node of [...nodes].reverse()) {
    if (node.op!.accumulates) {
      groupOf.set(node, new Set([node]));
      continue;
    }
    const readers = readersOf(node);
    if (isKept(node) || !readers.every((r) => groupOf.has(r) || measures(r, node))) continue;
    const groups = [...new Set(readers.flatMap((r) => groupOf.get(r) ?? []))];
    if (groups.length === 0) continue;
    const feeds = readers.some((r) => r.op!.accumulates);
    const keepsSize = groups.length === 1 && readers.some((r) => largest(r) === largest(node));
    if (!feeds && !keepsSize) continue;
    const joined = new Set([node, ...readers, ...groups.flatMap((g) => [...g])]);
    for (const member of joined) groupOf.set(member, joined);
  }
  return nodes.flatMap((node): SampleGroup[] => {
    const group = groupOf.get(node);
    if (!group) return [[node]];
    const members = nodes.filter((n) => group.has(n));
    return members.at(-1) === node ? [members] : [];
  });
}

const largest = (node: Node): number => Math.max(...node.outputs.map((t) => byteSize(t.type)));

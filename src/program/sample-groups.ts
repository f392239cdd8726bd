import { byteSize } from '../core/types.ts';
import type { Node } from '../graph/graph.ts';

/** Nodes that run together, all of them for one sample before the next; a single node runs for all samples. */
export type SampleGroup = readonly Node[];

/**
 * Divides a task's nodes where samples are computed one by one. What a sample adds to a sum over the batch is as large as
 * the sum: a weight's gradient. Kept for all samples of a chunk it would take the weight's size times the chunk's, so it
 * is added before the next sample's is computed. Groups are the sums, what feeds them alone, and what those were made from
 * by ops that keep the size (transposes, scales). A group stands at the place of its last node.
 */
export function sampleGroups(
  nodes: readonly Node[],
  readersOf: (node: Node) => readonly Node[],
  isKept: (node: Node) => boolean,
): SampleGroup[] {
  const groupOf = new Map<Node, Set<Node>>();
  for (const node of [...nodes].reverse()) {
    if (node.op!.accumulates) {
      groupOf.set(node, new Set([node]));
      continue;
    }
    const readers = readersOf(node);
    if (readers.length === 0 || isKept(node) || !readers.every((r) => groupOf.has(r))) continue;
    const groups = [...new Set(readers.map((r) => groupOf.get(r)!))];
    const feeds = readers.some((r) => r.op!.accumulates);
    const keepsSize = groups.length === 1 && readers.some((r) => largest(r) === largest(node));
    if (!feeds && !keepsSize) continue;
    const joined = new Set([node, ...groups.flatMap((g) => [...g])]);
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

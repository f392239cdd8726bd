import type { Lowered, NodeSignature } from './kernel-call.ts';

/** The reference backend computes a node whole, by its op record: one call named after the op. */
export const lowerForReference = (node: NodeSignature): Lowered => ({
  calls: [{ kernel: node.op, args: [] }],
  workspaceBytes: 0,
});

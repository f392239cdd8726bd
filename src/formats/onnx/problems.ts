/** What goes wrong in an import: the file's own faults end it at once, what is not supported is collected first. */
import { FormatError, GraphError, joinProblems } from '../../core/errors.ts';
import type { OnnxNode } from './model.ts';

/** `Conv "/conv1/Conv"`, or by its first output where it has no name. */
export function describeNode(node: OnnxNode): string {
  const kind = node.domain ? `${node.domain}.${node.opType}` : node.opType;
  if (node.name) return `${kind} "${node.name}"`;
  const made = node.outputs.find((name) => name !== '');
  return made ? `${kind} that makes "${made}"` : kind;
}

const placeOf = (node: OnnxNode) => ({ node: node.name || node.outputs[0] || '', op: node.opType });

/** The file is wrong at a node. */
export const nodeError = (
  node: OnnxNode,
  what: string,
  {
    fields,
    ...more
  }: { readonly fields?: Record<string, unknown>; readonly remedy?: string; readonly cause?: unknown } = {},
): FormatError =>
  new FormatError('onnx-node', `${describeNode(node)}: ${what}`, { fields: { ...placeOf(node), ...fields }, ...more });

/** Leaves a rule whose node is not supported; the import goes on to find the rest. */
export class Unsupported extends Error {}

export interface UnsupportedNode {
  readonly node: string;
  readonly op: string;
  readonly reason: string;
}

/** Nodes that cannot be imported. */
export class Problems {
  readonly #found: { readonly text: string; readonly node: UnsupportedNode }[] = [];

  add(node: OnnxNode, reason: string): void {
    this.#found.push({ text: `${describeNode(node)}: ${reason}`, node: { ...placeOf(node), reason } });
  }

  /** Throws GraphError `onnx-unsupported` naming every node, where there is one. */
  throwIfAny(): void {
    if (this.#found.length === 0) return;
    const shown = this.#found.slice(0, 20).map(({ text }) => text);
    if (this.#found.length > shown.length) shown.push(`and ${this.#found.length - shown.length} more nodes`);
    throw new GraphError('onnx-unsupported', `not supported: ${joinProblems(shown)}`, {
      fields: { nodes: this.#found.map(({ node }) => node) },
      remedy: 'export the model without them (docs/onnx-cases.md lists the operators)',
    });
  }
}

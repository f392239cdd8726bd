import { formatType } from '../core/types.ts';
import type { Node, Tensor } from '../graph/graph.ts';
import { isStepValue } from '../graph/values.ts';

/**
 * Identity of a value (always a root, see `rootOf`) at run time. What exists once a step is known by name, the same in the
 * graphs of all chunk sizes; the rest by node and microbatch, and so by the microbatch's own graph.
 */
export function valueKey(root: Tensor, microbatch: number | null): string {
  return isStepValue(root) ? stepKey(root) : `${root.node.id}.${root.index}@${microbatch}`;
}

/** By root: a parameter's key is asked for by every task that reads it. */
const stepKeys = new WeakMap<Tensor, string>();

function stepKey(root: Tensor): string {
  let key = stepKeys.get(root);
  if (key === undefined) stepKeys.set(root, (key = newStepKey(root)));
  return key;
}

function newStepKey(root: Tensor): string {
  const { source, op, attrs, name } = root.node;
  if (source) return `${source.kind} ${source.name}`;
  if (op!.accumulates && typeof attrs.total === 'string') return `total ${attrs.total}`;
  return `${name}.${root.index}`;
}

export const valueName = (root: Tensor, microbatch: number | null): string =>
  isStepValue(root) || microbatch === null ? root.name : `${root.name}@${microbatch}`;

/** Nodes that need no instruction: sources and aliases. */
export const isSilent = (node: Node): boolean => node.source !== undefined || node.op!.alias === true;

/** By the values themselves, which many constants share: a mask of a long context has megabytes. */
const hashes = new WeakMap<object, string>();

/** Constants are known by content: equal ones are stored once a device, whatever graph or chunk size they come from. */
export function constantName(tensor: Tensor): string {
  const value = tensor.node.source!.value!;
  let hash = hashes.get(value);
  if (hash === undefined) hashes.set(value, (hash = hashOf(value)));
  return `constant ${formatType(tensor.type)} ${hash}`;
}

function hashOf({ buffer, byteOffset, byteLength }: ArrayBufferView): string {
  // FNV-1a, two streams of 32 bits
  let [a, b] = [0x811c9dc5, 0xcbf29ce4];
  for (const byte of new Uint8Array(buffer, byteOffset, byteLength)) {
    a = Math.imul(a ^ byte, 0x01000193);
    b = Math.imul(b ^ (byte + 0x5b), 0x01000193);
  }
  return [a, b].map((x) => (x >>> 0).toString(16).padStart(8, '0')).join('');
}

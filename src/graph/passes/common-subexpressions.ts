import type { Graph, Node, Tensor } from '../graph.ts';
import type { AttrValue } from '../op-record.ts';
import { rewrite } from '../rewrite.ts';
import { isForward } from '../values.ts';

/** Constants up to this size are compared by their bytes, larger ones by identity of their values. */
const COMPARED_BYTES = 16 * 1024;

export interface MergeOptions {
  /** Nodes that keep their name and place. Default: none needs to. */
  readonly keep?: (node: Node) => boolean;
}

/**
 * Merges nodes that compute the same: same op, inputs, attributes, region and pass. The first stays; constants of equal
 * values merge too, so that scalars made again and again do not hide equal work.
 *
 * - Never what accumulates over microbatches (each use of a parameter has its own sum, which is what fixes the order of additions) and never an
 *   op that works in place.
 * - Forward nodes merge wherever they stand: no partition has seen them yet, and what remains is one forward node.
 * - Derivatives and step nodes merge only where they follow the same forward node, so that no work moves between stages
 *   and no value crosses a cut that did not before.
 * - Ops are pure functions of inputs and attributes: one that draws random numbers has its stream among them.
 */
export function mergeCommonSubexpressions(graph: Graph, options: MergeOptions = {}): Graph {
  const known = new Map<string, readonly Tensor[]>();
  const values = new Map<object, number>();
  return rewrite(graph, {
    replace: (node, inputs, target, origin) => {
      const key = keyOf(node, inputs, origin, values);
      if (key === undefined || options.keep?.(node)) return undefined;
      const same = known.get(key);
      if (same) return same;
      const { outputs } = target.adopt(node, inputs, origin);
      known.set(key, outputs);
      return outputs;
    },
  });
}

/** Equal for nodes that may merge; undefined where a node may not. */
function keyOf(
  node: Node,
  inputs: readonly Tensor[],
  origin: Node | undefined,
  values: Map<object, number>,
): string | undefined {
  const { op, source } = node;
  if (source) {
    if (source.kind !== 'constant') return undefined;
    const value = source.value!;
    const type = node.outputs[0]!.type;
    if (value.byteLength <= COMPARED_BYTES) {
      const bytes = new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
      return `constant ${type.dtype} ${type.shape} ${bytes}`;
    }
    if (!values.has(value)) values.set(value, values.size);
    return `constant ${type.dtype} ${type.shape} #${values.get(value)}`;
  }
  if (op!.accumulates || op!.inPlace) return undefined;
  const place = isForward(node)
    ? 'forward'
    : `${node.joins ? 'joins ' : ''}${node.region} ${node.pass} ${placeOf(node.order, origin)}`;
  return `${op!.name} ${place} (${inputs.map((t) => `${t.node.id}.${t.index}`)}) ${attrKey(node.attrs)}`;
}

/**
 * Equal for nodes that follow the same stage: the node at the end of the chain of origins, and the orders of the gradients
 * within the model that the chain passes, each of which mirrors the place.
 */
function placeOf(order: number, origin: Node | undefined): string {
  const mirrors: number[] = [];
  let last = origin;
  for (let below = order; last; last = last.origin) {
    if (below > last.order) mirrors.push(below);
    below = last.order;
    if (!last.origin) break;
  }
  return `${last?.id ?? -1} ${mirrors}`;
}

/** Attributes by value: keys in one order; −0, NaN and infinities, which JSON has not, kept apart. */
function attrKey(value: AttrValue | undefined): string {
  if (typeof value === 'number') return Object.is(value, -0) ? '-0' : String(value);
  if (value === undefined || value === null || typeof value !== 'object') return JSON.stringify(value) ?? 'undefined';
  if (Array.isArray(value)) return `[${value.map(attrKey)}]`;
  const entries = Object.entries(value as Record<string, AttrValue>).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([k, v]) => `${JSON.stringify(k)}:${attrKey(v)}`)}}`;
}

import { GraphError } from '../core/errors.ts';
import { requireKinds, shown } from '../core/options.ts';
import { allocate, elementCount, formatShape, formatType, type HostTensor, sameType } from '../core/types.ts';
import { requireGraphTensor } from './arguments.ts';
import type { Graph, Node, Tensor } from './graph.ts';
import { OpValueError, type RefTensor } from './op-record.ts';

/** A host tensor's values in f64. */
export const toReference = (tensor: HostTensor): RefTensor => ({
  type: tensor.type,
  data: Float64Array.from(tensor.data),
});

/** Rounds a reference value once to its storage type. */
export function toHost(tensor: RefTensor): HostTensor {
  const data = allocate(tensor.type);
  data.set(tensor.data);
  return { type: tensor.type, data };
}

/**
 * Plays a graph in f64 with the op records' references: no device, no memory plan. `feeds` holds the values of inputs,
 * parameters and states by tensor; constants are their own. `accumulate` passes its value through (one microbatch).
 * Only what `wanted` depends on is computed. Throws GraphError where a needed source has no value or one of another type, and
 * where values have no result, such as an index outside its axis.
 */
export function evaluate(wanted: readonly Tensor[], feeds: ReadonlyMap<Tensor, RefTensor>): RefTensor[] {
  requireKinds('evaluate', { wanted: ['list', wanted], feeds: ['map', feeds] });
  for (const tensor of wanted) requireGraphTensor('evaluate', tensor);
  for (const [tensor, value] of feeds) requireFeed(tensor, value);
  const values = new Map<Tensor, RefTensor>(feeds);
  for (const node of needed(wanted, feeds)) {
    const out = node.outputs[0]!;
    if (node.source) {
      if (values.has(out)) continue;
      if (!node.source.value) {
        throw new GraphError('no-value', `${node.source.kind} ${node.source.name} has no value`, {
          fields: { name: node.source.name },
          remedy: 'feed it',
        });
      }
      values.set(out, toReference({ type: out.type, data: node.source.value }));
      continue;
    }
    const inputs = node.inputs.map((t) => values.get(t)!);
    const results = referenceOf(node, inputs);
    node.outputs.forEach((t, i) => {
      const data = results[i];
      if (!data || data.length !== elementCount(t.shape)) {
        throw new GraphError(
          'reference-size',
          `${node.name}: the reference gave ${data?.length} values for ${formatType(t.type)}`,
        );
      }
      values.set(t, { type: t.type, data });
    });
  }
  return wanted.map((t) => values.get(t)!);
}

/** Throws GraphError for what is no value of a tensor: of its type, and as many numbers. */
function requireFeed(tensor: Tensor, value: RefTensor): void {
  requireGraphTensor('evaluate: feeds', tensor);
  const { type, data } = (value ?? {}) as Partial<RefTensor>;
  const isTyped = Array.isArray(type?.shape) && sameType(type, tensor.type);
  if (isTyped && ArrayBuffer.isView(data) && data.length === elementCount(type.shape)) return;
  const values = isTyped ? `${shown(data)} for its data` : shown(value);
  throw new GraphError('value-mismatch', `evaluate: ${tensor.name} is ${formatType(tensor.type)}, got ${values}`, {
    fields: { tensor: tensor.name },
    remedy: `{ type: { dtype: '${tensor.dtype}', shape: ${formatShape(tensor.shape)} }, data: new Float64Array(${elementCount(tensor.shape)}) }`,
  });
}

/** What the record of a node's op makes of values of its inputs. Throws GraphError where they have no result. */
export function referenceOf(node: Node, inputs: readonly RefTensor[]): readonly Float64Array[] {
  const op = node.op!;
  try {
    return op.reference(
      inputs,
      node.attrs,
      node.outputs.map((t) => t.type),
    );
  } catch (cause) {
    if (!(cause instanceof OpValueError)) throw cause;
    throw new GraphError('value-out-of-range', `${node.name} (${op.name}): ${cause.message}`, {
      fields: { node: node.name, op: op.name, inputs: node.inputs.map((t) => t.name) },
      remedy: `correct the values of ${node.inputs.map((t) => t.name).join(' or ')}`,
      cause,
    });
  }
}

/** Nodes that `wanted` depends on and that `given` does not hold, in graph order. */
function needed(wanted: readonly Tensor[], given: ReadonlyMap<Tensor, unknown>): Graph['nodes'] {
  const seen = new Set<Graph['nodes'][number]>();
  const stack = wanted.filter((t) => !given.has(t)).map((t) => t.node);
  while (stack.length) {
    const node = stack.pop()!;
    if (seen.has(node)) continue;
    seen.add(node);
    for (const t of node.inputs) if (!given.has(t)) stack.push(t.node);
  }
  return [...seen].sort((a, b) => a.id - b.id);
}

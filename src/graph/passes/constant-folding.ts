import { byteSize, type TensorType } from '../../core/types.ts';
import { referenceOf, toHost, toReference } from '../evaluate.ts';
import type { Graph, Node, Tensor } from '../graph.ts';
import { rewrite } from '../rewrite.ts';

/** A result may be larger than what it is computed from by this much, and no more: it is kept in memory for good. */
const GROWTH_BYTES = 64 * 1024;
/** The f64 reference does roughly 10⁸ FLOPs a second: what takes longer stays in the graph. */
const FOLDED_FLOPS = 1e7;

export interface FoldOptions {
  /**
   * Nodes to leave as they are. A graph built for several chunk sizes must not have nodes folded whose type differs between
   * them: a constant exists once a step and has one size.
   */
  readonly keep?: (node: Node) => boolean;
}

/**
 * Computes what depends on constants alone, by the f64 reference rounded once to the storage type.
 *
 * Left in place: `accumulate` (its value is a sum over microbatches), ops that work in place, and results of the graph,
 * which would turn from one chunk a microbatch into one value a step. The constants that served only folded nodes remain
 * for dead-code elimination.
 */
export function foldConstants(graph: Graph, options: FoldOptions = {}): Graph {
  const results = new Set([...graph.outputs.values()].map((t) => t.node));
  return rewrite(graph, {
    replace: (node, inputs, target, origin) => {
      if (results.has(node) || options.keep?.(node) || !isFoldable(node, inputs)) return undefined;
      const values = referenceOf(
        node,
        inputs.map((t) => toReference({ type: t.type, data: t.node.source!.value! })),
      );
      return node.outputs.map((t, i) => {
        const value = toHost({ type: t.type, data: values[i]! });
        const constant = constantLike(node, t, value.data);
        return target.adopt(constant, [], origin).outputs[0]!;
      });
    },
  });
}

function isFoldable(node: Node, inputs: readonly Tensor[]): boolean {
  const { op } = node;
  if (!op || op.accumulates || op.inPlace) return false;
  if (!inputs.every((t) => t.node.source?.kind === 'constant')) return false;
  const from = inputs.map((t) => t.type);
  const to = node.outputs.map((t) => t.type);
  return total(to) <= total(from) + GROWTH_BYTES && op.cost(from, to, node.attrs).flops <= FOLDED_FLOPS;
}

const total = (types: readonly TensorType[]): number => types.reduce((sum, type) => sum + byteSize(type), 0);

/** A constant in an op's place: it keeps name and origin, and exists once a step. */
const constantLike = (node: Node, output: Tensor, value: NonNullable<Node['source']>['value']): Node => ({
  ...node,
  name: output.name,
  op: undefined,
  source: { kind: 'constant', name: output.name, value: value! },
  inputs: [],
  outputs: [output],
  attrs: {},
  region: 'step',
});

import { backward } from '../../autodiff/backward.ts';
import { UsageError } from '../../core/errors.ts';
import { formatCount } from '../../core/format.ts';
import { requireKinds } from '../../core/options.ts';
import { elementCount } from '../../core/types.ts';
import { requireGraphTensor } from '../../graph/arguments.ts';
import { evaluate } from '../../graph/evaluate.ts';
import type { Graph, Node, Tensor } from '../../graph/graph.ts';
import type { RefTensor } from '../../graph/op-record.ts';
import { requireGraph } from '../../graph/require-graph.ts';
import { rewrite } from '../../graph/rewrite.ts';

/** What every edge of a small graph carries, in f64. */
export interface GraphValues {
  readonly valueOf: (tensor: Tensor) => Float64Array | undefined;
  /** d(objective)/d(tensor), over all its uses; undefined where the objective does not depend on it. */
  readonly gradientOf: (tensor: Tensor) => Float64Array | undefined;
  /** The share of it that comes back along one edge: from input `input` of the reader; without one, from the objective. */
  readonly gradientAlong: (tensor: Tensor, reader: Node | undefined, input: number) => Float64Array | undefined;
}

/** Terms of a sum of scalars that is differentiated; tensors with more elements than one count as their sum. */
export type ValueObjective = readonly { readonly loss: Tensor; readonly weight: number }[];

/** Values are for reading: beyond these a graph is refused. */
const valueLimits = { nodes: 400, elements: 100_000 } as const;

/**
 * Plays the graph in f64 by the records' references and, with an objective, differentiates it with respect to every
 * f32 tensor. The graph itself stays as it is: the derivative is appended to a copy.
 */
export function graphValues(
  graph: Graph,
  feeds: ReadonlyMap<Tensor, RefTensor>,
  objective: ValueObjective = [],
): GraphValues {
  requireGraph('graphValues', graph);
  requireKinds('graphValues', { feeds: ['map', feeds], objective: ['list', objective] });
  for (const term of objective) requireGraphTensor('graphValues', term?.loss);
  refuseLarge(graph);
  // Same nodes in the same order: a tensor's copy has its node's id.
  const copy = rewrite(graph, {});
  const copyOf = (t: Tensor): Tensor => copy.nodes[t.node.id]!.outputs[t.index]!;
  const tensors = graph.nodes.flatMap((n) => n.outputs);
  const roots = objective.map(({ loss, weight }) => {
    const tensor = copyOf(loss);
    const data = new Float32Array(elementCount(tensor.shape)).fill(weight);
    return { tensor, cotangent: copy.constant({ type: tensor.type, data }, 'seed') };
  });
  const floats = tensors.filter((t) => t.dtype === 'f32');
  const found = backward(roots, floats.map(copyOf));

  const shares = floats.map((t) => found.get(copyOf(t)) ?? []);
  const wanted = [...tensors.map(copyOf), ...shares.flat().map((c) => c.cotangent)];
  const results = evaluate(wanted, new Map([...feeds].map(([t, v]) => [copyOf(t), v])));
  const dataOf = new Map(wanted.map((t, i) => [t, results[i]!.data]));

  const totals = new Map<Tensor, Float64Array>();
  const seeds = new Map<Tensor, Float64Array>();
  const along = new Map<Node, (Float64Array | undefined)[]>();
  floats.forEach((t, i) => {
    if (shares[i]!.length === 0) return;
    const total = new Float64Array(elementCount(t.shape));
    for (const { use, cotangent } of shares[i]!) {
      const data = dataOf.get(cotangent)!;
      data.forEach((v, j) => {
        total[j]! += v;
      });
      if (!use) {
        seeds.set(t, data);
        continue;
      }
      const reader = graph.nodes[use.id]!;
      if (!along.has(reader)) along.set(reader, new Array(reader.inputs.length));
      // A reader that has the same tensor twice gives its shares in the order of its inputs.
      const slots = along.get(reader)!;
      slots[reader.inputs.findIndex((input, at) => input === t && slots[at] === undefined)] = data;
    }
    totals.set(t, total);
  });
  return {
    valueOf: (t) => dataOf.get(copyOf(t)),
    gradientOf: (t) => totals.get(t),
    gradientAlong: (t, reader, input) => (reader ? along.get(reader)?.[input] : seeds.get(t)),
  };
}

function refuseLarge(graph: Graph): void {
  const elements = graph.nodes.flatMap((n) => n.outputs).reduce((sum, t) => sum + elementCount(t.shape), 0);
  const nodes = graph.nodes.length;
  if (nodes <= valueLimits.nodes && elements <= valueLimits.elements) return;
  throw new UsageError(
    'graph-too-large',
    `values are shown for graphs of at most ${valueLimits.nodes} nodes and ${formatCount(valueLimits.elements)} elements; this one has ${formatCount(nodes)} nodes and ${formatCount(elements)} elements`,
    {
      fields: { nodes, elements, limits: valueLimits },
      remedy: 'leave --values out, or choose a smaller batch or model',
    },
  );
}

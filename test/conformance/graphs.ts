/** Graphs of one op and of its derivatives, for checks against finite differences. */
import { gradients } from '../../src/autodiff/backward.ts';
import type { HostTensor } from '../../src/core/types.ts';
import { evaluate, toReference } from '../../src/graph/evaluate.ts';
import { Graph, type Tensor } from '../../src/graph/graph.ts';
import type { RefTensor } from '../../src/graph/op-record.ts';
import { type OpName, recordOf } from '../../src/ops/index.ts';
import { type Case, drawCase, drawCotangent } from './samples.ts';

/** A function Σ cotangent·output of some leaves, and its gradient graph. */
export interface Differentiated {
  readonly graph: Graph;
  /** Values of everything fed: the sample's inputs and the cotangents. */
  readonly feeds: ReadonlyMap<Tensor, RefTensor>;
  readonly roots: readonly { readonly tensor: Tensor; readonly cotangent: Tensor }[];
  /** What it is differentiated by. */
  readonly leaves: readonly Tensor[];
  /** One for each leaf; undefined: zero. */
  readonly gradients: readonly (Tensor | undefined)[];
}

const leaf = (graph: Graph, name: string, type: RefTensor['type']): Tensor =>
  graph.input(name, { dtype: type.dtype, shape: type.shape, batchAxis: null });

/** Whether an op has a derivative other than zero. */
export const isDifferentiable = (op: OpName): boolean => ['rule', 'decompose'].includes(recordOf(op).gradient.kind);

/** Which inputs of a sample are differentiated. */
export function differentiatedInputs({ op, sample }: Case): readonly number[] {
  if (!isDifferentiable(op)) return [];
  return sample.gradientOf ?? sample.inputs.flatMap((input, i) => ((input.dtype ?? 'f32') === 'f32' ? [i] : []));
}

export function firstOrder(c: Case): Differentiated {
  const record = recordOf(c.op);
  const graph = new Graph();
  const feeds = new Map<Tensor, RefTensor>();
  const inputs = drawCase(c).map((value: HostTensor, i) => {
    const tensor = leaf(graph, `x${i}`, value.type);
    feeds.set(tensor, toReference(value));
    return tensor;
  });
  const outputs = graph.add(record, inputs, c.sample.attrs);
  const differentiated = c.sample.differentiateOutputs ?? outputs.map((_, i) => i);
  const roots = outputs
    .filter((t, i) => t.dtype === 'f32' && differentiated.includes(i))
    .map((tensor, i) => {
      const cotangent = leaf(graph, `dy${i}`, tensor.type);
      feeds.set(cotangent, drawCotangent(tensor.type, `${c.title}/dy${i}`));
      return { tensor, cotangent };
    });
  const leaves = differentiatedInputs(c).map((i) => inputs[i]!);
  return { graph, feeds, roots, leaves, gradients: gradients(roots, leaves) };
}

/** Σ v·gradient, differentiated by the inputs and by the cotangents of the first order. */
export function secondOrder(first: Differentiated, title: string): Differentiated {
  const feeds = new Map(first.feeds);
  const roots = first.gradients
    .filter((g): g is Tensor => g !== undefined)
    .map((tensor, i) => {
      const cotangent = leaf(first.graph, `v${i}`, tensor.type);
      feeds.set(cotangent, drawCotangent(tensor.type, `${title}/v${i}`));
      return { tensor, cotangent };
    });
  const leaves = [...first.leaves, ...first.roots.map((r) => r.cotangent)];
  return { graph: first.graph, feeds, roots, leaves, gradients: gradients(roots, leaves) };
}

/** Σ cotangent·value over the roots, in f64. */
export function objective({ roots }: Differentiated, feeds: ReadonlyMap<Tensor, RefTensor>): number {
  const values = evaluate(
    roots.map((r) => r.tensor),
    feeds,
  );
  return values.reduce((sum, value, i) => {
    const weights = feeds.get(roots[i]!.cotangent)!.data;
    return value.data.reduce((s, v, j) => s + v * weights[j]!, sum);
  }, 0);
}

export function evaluateGradients({ gradients: found, leaves, feeds }: Differentiated): Float64Array[] {
  const present = found.filter((g): g is Tensor => g !== undefined);
  const values = evaluate(present, feeds);
  return found.map((g, i) =>
    g ? values[present.indexOf(g)]!.data : new Float64Array(feeds.get(leaves[i]!)!.data.length),
  );
}

/**
 * What a gradient is a sum of: for the gradient of every parameter, Σ|terms| element by element, how many terms there are
 * and how many roundings each goes through. From these follows how far two orders of the same additions can lie apart
 * (`train/compare-gradients.ts`).
 *
 * The backward graph is divided in three by what its values depend on:
 *
 *     the same for every sample          parameters, constants                 exact, as they are the same in every order
 *     one value a sample (and position)  activations, their gradients          the terms' factors
 *     summed over samples                from the first reduction over the     sums of products of the above, each
 *                                        batch to the parameter's gradient     product rounded a known number of times
 *
 * In the last part every op must be linear in what is summed. Then, whatever the order, the computed gradient is
 * Σ terms·(1 + θ) with |θ| ≤ γ_k = k·u/(1 − k·u), k the largest number of roundings of a term and u the unit roundoff
 * (Higham, "Accuracy and Stability of Numerical Algorithms", 2nd ed., sections 3.1 and 4.2), and Σ|terms| is the same
 * graph with absolute values put in. An op that has no rule here leaves the gradient without a bound, and is named.
 */
import type { Contribution } from '../autodiff/backward.ts';
import { PartitaError } from '../core/errors.ts';
import { elementCount } from '../core/types.ts';
import type { Graph, Node, Tensor } from '../graph/graph.ts';
import { isStepValue, rootOf } from '../graph/values.ts';
import { accumulate } from '../ops/accumulate.ts';
import { abs, add } from '../ops/elementwise.ts';
import { type MatmulAttrs, matmulSizes } from '../ops/matmul.ts';
import type { Model } from './model.ts';
import { buildTrainingGraph } from './training-graph.ts';

/** A tensor of one value a sample, among the results as `term/NAME`. */
export interface TermFactor {
  readonly name: string;
  readonly batchAxis: number;
}

/** How the gradient of one parameter is summed; Σ|terms| is the result `terms/PARAMETER`. */
export interface GradientTerms {
  readonly parameter: string;
  /** Most terms of any element: samples, and positions within them, over all uses. 0: the objective does not depend on it. */
  readonly count: number;
  /** Most roundings on the way from a term to the sum. */
  readonly roundings: number;
  /** The tensors of one value a sample that the terms are made of, but for fed ones. */
  readonly factors: readonly TermFactor[];
  /** Why nothing is known; there is no `terms/PARAMETER` then. */
  readonly unknown?: string;
}

/**
 * The model with Σ|terms| of each gradient and the factors of its terms among the results of `gradients` programs. `found`
 * hears of every graph that is built. To be run in one microbatch.
 */
export const gradientTermsModel = (model: Model, found: (terms: readonly GradientTerms[]) => void): Model => ({
  ...model,
  build: (batch, mode) => ({
    ...model.build(batch, mode),
    fromContributions: (uses) => found(declareTerms(uses, shapesAtAnotherSize(model, batch, mode))),
  }),
});

/** The terms of a model's gradients for a batch, without running it. */
export function gradientTermsOf(model: Model, batch: number): readonly GradientTerms[] {
  let terms: readonly GradientTerms[] = [];
  const found = gradientTermsModel(model, (all) => {
    terms = all;
  });
  buildTrainingGraph(found.build(batch, 'training'), { fetch: { gradients: true } });
  return terms;
}

/** The model with factors that `gradientTermsModel` has found among its results; those a graph does not have are left out. */
export const termFactorsModel = (model: Model, factors: readonly TermFactor[]): Model => ({
  ...model,
  build: (batch, mode) => {
    const base = model.build(batch, mode);
    return {
      ...base,
      fromContributions: () => {
        for (const factor of factors) declareFactor(base.graph, factor);
      },
    };
  },
});

const factorName = (name: string): string => `term/${name}`;

function declareFactor(graph: Graph, { name, batchAxis }: TermFactor): void {
  if (graph.outputs.has(factorName(name))) return;
  const [, base, index] = /^(.*?)(?::(\d+))?$/s.exec(name)!;
  const tensor = graph.has(base!) ? graph.node(base!).outputs[Number(index ?? 0)] : undefined;
  if (tensor) graph.output(factorName(name), tensor, { batchAxis });
}

/**
 * The same graph for another batch size, node by node: where a shape differs, it holds one value a sample. undefined where
 * no other size gives the same nodes.
 */
function shapesAtAnotherSize(model: Model, batch: number, mode: Parameters<Model['build']>[1]): Graph | undefined {
  for (const size of [batch + 1, 2 * batch, Math.ceil(batch / 2)]) {
    if (size === batch) continue;
    try {
      const other = model.build(size, mode);
      buildTrainingGraph(other, { fetch: { gradients: true } });
      return other.graph;
    } catch (error) {
      if (!(error instanceof PartitaError)) throw error; // a file with a batch size baked in: the next may do
    }
  }
  return undefined;
}

type Uses = ReadonlyMap<string, readonly Contribution[]>;

function declareTerms(uses: Uses, other: Graph | undefined): GradientTerms[] {
  const graph = [...uses.values()].flat()[0]?.cotangent.graph;
  const ofBatch = graph ? valuesOfBatch(graph) : [];
  return [...uses].map(([parameter, contributions]) => {
    if (contributions.length === 0) return { parameter, count: 0, roundings: 0, factors: [] };
    const without = (unknown: string): GradientTerms => ({ parameter, count: 0, roundings: 0, factors: [], unknown });
    if (!other) return without('the model cannot be built for another batch size, to tell samples from sums');
    const walk = new TermWalk(ofBatch, other);
    try {
      const sums = contributions.map(({ cotangent }) => walk.of(cotangent, cotangent.node));
      const factors = walk.factors();
      for (const factor of factors) declareFactor(graph!, factor);
      const totals = sums.map(({ magnitude }, i) =>
        graph!.beside(contributions[i]!.cotangent.node, () => accumulate(magnitude, `terms/${parameter}#${i}`)),
      );
      const at = totals[0]!.node;
      graph!.output(
        `terms/${parameter}`,
        graph!.inStep(at, () => totals.reduce((a, b) => add(a, b))),
        { batchAxis: null },
      );
      return {
        parameter,
        count: sums.reduce((n, s) => n + s.count, 0),
        // Each use is added to those before it.
        roundings: Math.max(...sums.map((s) => s.roundings)) + sums.length - 1,
        factors,
      };
    } catch (error) {
      if (error instanceof NoRule) return without(error.message);
      throw error;
    }
  });
}

/** Of every node, whether a batched input stands behind it. */
function valuesOfBatch(graph: Graph): boolean[] {
  const ofBatch: boolean[] = [];
  for (const node of graph.nodes) {
    ofBatch.push(node.source ? !isStepValue(node.outputs[0]!) : node.inputs.some((t) => ofBatch[t.node.id]));
  }
  return ofBatch;
}

/** What is known of a value: Σ|terms| as a tensor of the graph, and the most terms and roundings of any element. */
interface Sum {
  readonly magnitude: Tensor;
  readonly count: number;
  readonly roundings: number;
  /** Whether it is summed over samples. */
  readonly summed: boolean;
}

/** Carries the reason out of the walk. */
class NoRule extends Error {}

class TermWalk {
  readonly #other: Graph;
  /** By node of the graph as the objective's own backward pass left it: the walk itself adds nodes. */
  readonly #ofBatch: readonly boolean[];
  readonly #sums = new Map<Tensor, Sum>();
  readonly #factors = new Map<string, TermFactor>();

  constructor(ofBatch: readonly boolean[], other: Graph) {
    this.#ofBatch = ofBatch;
    this.#other = other;
  }

  factors(): TermFactor[] {
    return [...this.#factors.values()];
  }

  /** `reader` is the node beside which absolute values are taken, so that nothing new crosses a cut. */
  of(tensor: Tensor, reader: Node): Sum {
    const { node } = tensor;
    if (!this.#ofBatch[node.id]) return { ...exact(tensor, reader), summed: false };
    if (this.#batchAxis(tensor) !== undefined) {
      this.#note(tensor);
      return { ...exact(tensor, reader), summed: false };
    }
    let sum = this.#sums.get(tensor);
    if (!sum) {
      const rule = rules[node.op!.name];
      if (!rule) throw new NoRule(`no rule for op ${node.op!.name} (${node.name})`);
      const inputs = node.inputs.map((t) => this.of(t, node));
      sum = { ...node.graph.beside(node, () => rule(node, tensor.index, inputs)), summed: true };
      this.#sums.set(tensor, sum);
    }
    return sum;
  }

  /** The one axis along which the other graph's tensor has another size; undefined where there is none. */
  #batchAxis({ node, index, shape }: Tensor): number | undefined {
    const other = this.#other.nodes[node.id];
    if (!other || other.op?.name !== node.op?.name || other.inputs.length !== node.inputs.length) {
      throw new NoRule(`the graph is another one for another batch size (${node.name})`);
    }
    const axes = shape.flatMap((size, axis) => (other.outputs[index]!.shape[axis] === size ? [] : [axis]));
    if (axes.length > 1) throw new NoRule(`${node.name} has the batch on several axes`);
    return axes[0];
  }

  #note(tensor: Tensor): void {
    // The bytes are the root's, which shows the batch where a reshape has merged it with other axes.
    const root = rootOf(tensor);
    if (root.node.source) return; // fed: the same whoever asks
    const batchAxis = this.#batchAxis(root);
    if (batchAxis === undefined) throw new NoRule(`${root.node.name} has no axis of its own for the batch`);
    this.#factors.set(root.name, { name: root.name, batchAxis });
  }
}

const exact = (tensor: Tensor, reader: Node): Omit<Sum, 'summed'> => ({
  magnitude: tensor.dtype === 'f32' ? tensor.graph.beside(reader, () => abs(tensor)) : tensor,
  count: 1,
  roundings: 0,
});

/** The sum that output `index` of a node is, from those of its inputs. Throws NoRule where it is not linear in a sum. */
type Rule = (node: Node, index: number, inputs: readonly Sum[]) => Omit<Sum, 'summed'>;

/** The node's own op on absolute values. */
const onMagnitudes = (node: Node, index: number, inputs: readonly Sum[]): Tensor =>
  node.graph.add(
    node.op!,
    inputs.map((s) => s.magnitude),
    node.attrs,
  )[index]!;

const most = (of: 'count' | 'roundings', inputs: readonly Sum[]): number => Math.max(...inputs.map((s) => s[of]));

/** Elements move, repeat or go; each stays what it was. */
const moves: Rule = (node, index, inputs) => ({
  magnitude: onMagnitudes(node, index, inputs),
  count: most('count', inputs),
  roundings: most('roundings', inputs),
});

/** Each element adds `length` of the first input's. */
const adds =
  (length: (node: Node) => number): Rule =>
  (node, index, inputs) => {
    const values = inputs.filter((_, i) => node.inputs[i]!.dtype === 'f32');
    return {
      magnitude: onMagnitudes(node, index, inputs),
      count: length(node) * most('count', values),
      roundings: most('roundings', values) + length(node) - 1,
    };
  };

/** Each element adds `length` products of the first two inputs: a rounding for the product, length − 1 for the sum. */
const multiplies =
  (length: (node: Node) => number): Rule =>
  (node, index, inputs) => {
    const [a, b] = inputs as [Sum, Sum];
    if (a.summed && b.summed) throw new NoRule(`${node.name} (${node.op!.name}) multiplies two sums over the batch`);
    return {
      magnitude: onMagnitudes(node, index, inputs),
      count: length(node) * a.count * b.count,
      roundings: a.roundings + b.roundings + length(node),
    };
  };

/** Two values added or subtracted. */
const joins: Rule = (_, __, [a, b]) => ({
  magnitude: add(a!.magnitude, b!.magnitude),
  count: a!.count + b!.count,
  roundings: Math.max(a!.roundings, b!.roundings) + 1,
});

/** A quotient whose divisor is no sum. */
const divides: Rule = (node, index, inputs) => {
  if (inputs[1]!.summed) throw new NoRule(`${node.name} (div) divides by a sum over the batch`);
  return {
    magnitude: onMagnitudes(node, index, inputs),
    count: inputs[0]!.count,
    roundings: inputs[0]!.roundings + 1,
  };
};

/**
 * Weight gradients of normalisations, Σ dy·h and Σ dy with h one value a sample: the sums that the op decomposes into, of
 * the absolute summands. h is computed once more here: three roundings for (x − mean)·rstd·dy.
 */
const normalises: Rule = (node, index, inputs) => {
  if (inputs.some((s) => s.summed)) {
    throw new NoRule(`${node.name} (${node.op!.name}) is not linear in its sums over the batch`);
  }
  const { gradient } = node.op!;
  if (gradient.kind !== 'decompose') throw new NoRule(`no rule for op ${node.op!.name} (${node.name})`);
  const whole = gradient.build(node.inputs, node.attrs)[index]!;
  let summand = whole;
  const wraps: Node[] = [];
  while (summand.node.op!.name === 'sum' || summand.node.op!.name === 'reshape') {
    wraps.unshift(summand.node);
    summand = summand.node.inputs[0]!;
  }
  const magnitude = wraps.reduce((t, wrap) => t.graph.add(wrap.op!, [t], wrap.attrs)[0]!, abs(summand));
  const length = elementCount(summand.shape) / elementCount(whole.shape);
  return { magnitude, count: length, roundings: length - 1 + 3 };
};

const reduced = (node: Node): number => elementCount(node.inputs[0]!.shape) / elementCount(node.outputs[0]!.shape);

const rules: Readonly<Record<string, Rule>> = {
  reshape: moves,
  transpose: moves,
  broadcastTo: moves,
  slice: moves,
  sliceScatter: moves,
  concat: moves,
  pad: (node, index, inputs) => {
    if (Number(node.attrs.value) !== 0) throw new NoRule(`${node.name} (pad) puts values beside a sum over the batch`);
    return moves(node, index, inputs);
  },
  trilu: moves,
  gather: moves,
  neg: (_, __, [x]) => x!,
  add: joins,
  sub: joins,
  mul: multiplies(() => 1),
  div: divides,
  sum: adds(reduced),
  // Of each sample's own elements it is linear; over samples it would be each microbatch's own mean.
  mean: (node, index, inputs) => {
    if (!inputs[0]!.summed) throw new NoRule(`${node.name} averages over the samples of each microbatch by itself`);
    const { magnitude, count, roundings } = adds(reduced)(node, index, inputs);
    return { magnitude, count, roundings: roundings + 1 };
  },
  matmul: multiplies((node) => matmulSizes(node.inputs[0]!.type, node.inputs[1]!.type, node.attrs as MatmulAttrs).k),
  // At most every sample and place of dy meets an element of the weight, or every element of the weight one of dx.
  convWeightGrad: multiplies(({ inputs: [, dy] }) => elementCount(dy!.shape) / dy!.shape[1]!),
  // Every index may name the same row.
  scatterAdd: adds(({ inputs: [indices] }) => elementCount(indices!.shape)),
  batchNorm: (node) => {
    throw new NoRule(`${node.name} (batchNorm) takes the statistics of each microbatch by itself`);
  },
  layerNormWeightGrad: normalises,
  groupNormWeightGrad: normalises,
  batchNormWeightGrad: normalises,
};

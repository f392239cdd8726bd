import { GraphError, UsageError } from '../core/errors.ts';
import { requireKinds } from '../core/options.ts';
import { sameShape } from '../core/types.ts';
import { requireGraphTensor } from '../graph/arguments.ts';
import type { Node, Tensor } from '../graph/graph.ts';
import { dependsOnBatch } from '../graph/values.ts';
import { add } from '../ops/elementwise.ts';
import { concat, sliceScatterOp } from '../ops/shape.ts';

/** A place where differentiation starts: d(objective)/d(tensor) = cotangent. */
export interface Root {
  readonly tensor: Tensor;
  readonly cotangent: Tensor;
}

/** One use's share of a tensor's cotangent. */
export interface Contribution {
  /** The node that uses the tensor; undefined: the tensor is itself a root. */
  readonly use: Node | undefined;
  readonly cotangent: Tensor;
}

/**
 * Reverse-mode differentiation, graph to graph: one walk from the roots back, each node's rule appending ordinary nodes
 * (marked as the derivative of that node, so that they follow its stage). Their gradients can be taken again.
 *
 * Returns for every tensor of `wrt` its cotangent contributions, one a use, in the order of the uses in the graph; an
 * empty list where the roots do not depend on it. Contributions to other tensors are added in the same fixed order, so
 * the sums do not depend on how the graph is cut later.
 */
export function backward(roots: readonly Root[], wrt: readonly Tensor[]): Map<Tensor, Contribution[]> {
  requireRoots('backward', roots, wrt);
  return walk(roots, wrt, 0, (node, build) => node.graph.derivativeOf(node, build));
}

/**
 * `backward` within a model: the cotangents are forward values of the next order of derivative, so that the model's
 * objective may depend on them and be differentiated and cut in its turn, as often as one likes.
 */
export function backwardWithin(roots: readonly Root[], wrt: readonly Tensor[]): Map<Tensor, Contribution[]> {
  requireRoots('backwardWithin', roots, wrt);
  const order = 1 + Math.max(0, ...roots.flatMap(({ tensor, cotangent }) => [tensor.node.order, cotangent.node.order]));
  return walk(roots, wrt, 0, (node, build) => node.graph.gradientOf(node, order, build));
}

/** Throws where a root is no tensor with a cotangent, or `wrt` holds anything but tensors. */
function requireRoots(what: string, roots: readonly Root[], wrt: readonly Tensor[]): void {
  requireKinds(what, { roots: ['list', roots], wrt: ['list', wrt] });
  for (const tensor of [...roots.flatMap((root) => [root?.tensor, root?.cotangent]), ...wrt]) {
    requireGraphTensor(what, tensor);
  }
}

/** The reverse walk over nodes from the last root down to `since`; `place` marks whose derivative is being built. */
function walk(
  roots: readonly Root[],
  wrt: readonly Tensor[],
  since: number,
  place: (node: Node, build: () => void) => void,
): Map<Tensor, Contribution[]> {
  const wanted = new Set(wrt);
  const reaches = dependents(wanted, roots, since);
  const leads = (t: Tensor) => wanted.has(t) || reaches.has(t.node);
  const contributions = new Map<Tensor, Contribution[]>();
  const give = (tensor: Tensor, use: Node | undefined, cotangent: Tensor) => {
    let list = contributions.get(tensor);
    if (!list) contributions.set(tensor, (list = []));
    list.push({ use, cotangent });
  };
  for (const { tensor, cotangent } of roots) give(tensor, undefined, cotangent);

  const last = Math.max(-1, ...roots.map((r) => r.tensor.node.id));
  const graph = roots[0]?.tensor.graph;
  for (let id = last; id >= since; id--) {
    const node = graph!.nodes[id]!;
    if (!node.op || !reaches.has(node)) continue;
    const arrived = node.outputs.map((t) => contributions.get(t));
    if (arrived.every((c) => !c?.length)) continue;
    place(node, () => {
      const grads = arrived.map(total);
      const inputGrads = differentiate(node, grads, (i) => leads(node.inputs[i]!));
      inputGrads.forEach((g, i) => {
        const input = node.inputs[i]!;
        if (!g) return;
        if (!sameShape(g.shape, input.shape)) {
          throw new GraphError('gradient-shape', `${node.op!.name}: the gradient of input ${i} is ${g} for ${input}`);
        }
        give(input, node, g);
      });
    });
  }
  const position = (c: Contribution) => c.use?.id ?? Number.MAX_SAFE_INTEGER;
  return new Map(wrt.map((t) => [t, (contributions.get(t) ?? []).sort((a, b) => position(a) - position(b))]));
}

/**
 * d(objective)/d(t) for each t, summed over uses; undefined where the objective does not depend on t. The gradients are
 * values of the model like any other (`backwardWithin`). One by a tensor that is the same for every microbatch is noted in
 * the graph: a plan with several microbatches refuses it.
 */
export function gradients(roots: readonly Root[], wrt: readonly Tensor[]): (Tensor | undefined)[] {
  const found = backwardWithin(roots, wrt);
  for (const t of wrt) {
    if (found.get(t)!.length > 0 && !dependsOnBatch(t)) t.graph.gradientsOfWholeBatch.add(t.name);
  }
  return wrt.map((t) => total(found.get(t)));
}

function differentiate(node: Node, grads: (Tensor | undefined)[], needs: (i: number) => boolean) {
  const { gradient } = node.op!;
  switch (gradient.kind) {
    case 'none': {
      const { why, remedy } = gradient;
      const Kind = remedy === undefined ? GraphError : UsageError;
      throw new Kind('not-differentiable', `${node.name} (${node.op!.name}) is not differentiable: ${why}`, {
        fields: { node: node.name, op: node.op!.name },
        remedy,
      });
    }
    case 'zero':
      return [];
    case 'rule':
      return gradient.rule({ inputs: node.inputs, outputs: node.outputs, attrs: node.attrs, grads, needs });
    case 'decompose': {
      // Differentiate the unfused form in the node's place, down to its own inputs; dead parts are eliminated later.
      const since = node.graph.nodes.length;
      const parts = gradient.build(node.inputs, node.attrs);
      const roots: Root[] = [];
      parts.forEach((tensor, i) => {
        const cotangent = grads[i];
        if (cotangent && tensor) roots.push({ tensor, cotangent });
      });
      const found = walk(
        roots,
        node.inputs.filter((_, i) => needs(i)),
        since,
        (_, build) => build(),
      );
      return node.inputs.map((t, i) => (firstUse(node, i) ? total(found.get(t)) : undefined));
    }
  }
}

/** An input used twice by one decomposed node has its whole gradient counted once. */
const firstUse = (node: Node, i: number): boolean => node.inputs.indexOf(node.inputs[i]!) === i;

/** Sum in order; the walk meets later uses first, so contributions arrive from the last use to the first. */
const total = (list: readonly Contribution[] | undefined): Tensor | undefined =>
  list?.length ? (joined(list) ?? list.map((c) => c.cotangent).reduce((sum, t) => add(sum, t))) : undefined;

/**
 * The gradients of slices that divide all of a tensor among them, one behind the other: what adding them up between zeros
 * would give.
 */
function joined(list: readonly Contribution[]): Tensor | undefined {
  const parts = list.map(({ cotangent: { node, shape } }) => {
    if (node.op?.name !== sliceScatterOp.name) return undefined;
    const { starts, steps } = node.attrs as { starts: readonly number[]; steps: readonly number[] };
    const [x] = node.inputs as [Tensor];
    const cut = shape.flatMap((size, axis) => (x.shape[axis] === size ? [] : [axis]));
    const isRun = cut.length === 1 && steps.every((step) => step === 1);
    return isRun ? { x, axis: cut[0]!, start: starts[cut[0]!]! } : undefined;
  });
  const axis = parts[0]?.axis;
  if (axis === undefined || parts.some((part) => part?.axis !== axis)) return undefined;
  const sorted = parts.map((part) => part!).sort((a, b) => a.start - b.start);
  let end = 0;
  for (const { x, start } of sorted) {
    if (start !== end) return undefined;
    end += x.shape[axis]!;
  }
  return end === list[0]!.cotangent.shape[axis]
    ? concat(
        sorted.map(({ x }) => x),
        { axis },
      )
    : undefined;
}

/** Nodes on a path from a wanted tensor to a root; what made the tensor is none, unless another lies behind it. */
function dependents(wanted: ReadonlySet<Tensor>, roots: readonly Root[], since: number): Set<Node> {
  const graph = roots[0]?.tensor.graph;
  const reached = new Set<Node>();
  if (!graph) return reached;
  const last = Math.max(...roots.map((r) => r.tensor.node.id));
  for (let id = since; id <= last; id++) {
    const node = graph.nodes[id]!;
    if (node.inputs.some((t) => isFloat(t) && (wanted.has(t) || reached.has(t.node)))) reached.add(node);
  }
  return reached;
}

const isFloat = (t: Tensor): boolean => t.dtype === 'f32';

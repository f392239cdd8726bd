import type { Node, Tensor } from './graph.ts';
import { isBatched } from './source.ts';

/** Whether a value exists once a step (parameters, totals, fed scalars) rather than once a microbatch. */
export function isStepValue(tensor: Tensor): boolean {
  const { node } = tensor;
  if (node.source) return !isBatched(node.source);
  return node.region === 'step' || node.op!.accumulates !== undefined;
}

/** Whether a node is part of the model itself: what a partition assigns to stages, and all else follows. */
export const isForward = (node: Node): boolean =>
  node.source === undefined &&
  node.region === 'micro' &&
  node.pass === 0 &&
  node.order === 0 &&
  node.op!.accumulates === undefined;

/**
 * The tensor that owns the bytes: reshapes lead to their input, in-place updates to the tensor they update.
 * An alias takes neither time nor memory.
 */
export function rootOf(tensor: Tensor): Tensor {
  let t = tensor;
  for (;;) {
    const { op, inputs } = t.node;
    const inPlace = op?.inPlace?.find(([output]) => output === t.index);
    if (op?.alias) t = inputs[0]!;
    else if (inPlace) t = inputs[inPlace[1]]!;
    else return t;
  }
}

/** When a node runs: with the model, with its derivative of any order, or once a step (totals and updates). */
export function phaseOf(node: Node): 'forward' | 'backward' | 'step' {
  if (node.op && isStepValue(node.outputs[0]!)) return 'step';
  return node.pass > 0 || node.order > 0 ? 'backward' : 'forward';
}

/** Whether a value moves between stages along an edge. Fed inputs and constants are given to every device. */
export function isCutEdge(tensor: Tensor, reader: Node, stageOf: (node: Node) => number): boolean {
  const kind = rootOf(tensor).node.source?.kind;
  return kind !== 'input' && kind !== 'constant' && stageOf(tensor.node) !== stageOf(reader);
}

/**
 * Whether a value differs from microbatch to microbatch: a batched input stands behind it. What is computed from parameters
 * and constants alone is the same for all, even where its node runs once a microbatch.
 */
export function dependsOnBatch(tensor: Tensor): boolean {
  const seen = new Set<Node>();
  const stack = [tensor];
  while (stack.length > 0) {
    const t = stack.pop()!;
    if (t.node.source && !isStepValue(t)) return true;
    if (seen.has(t.node)) continue;
    seen.add(t.node);
    stack.push(...t.node.inputs);
  }
  return false;
}

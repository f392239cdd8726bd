import type { OnnxFunction, OnnxNode } from './model.ts';

/** Finds the function that a node calls. */
export type FunctionOf = (node: OnnxNode) => OnnxFunction | undefined;

/**
 * Values that BatchNormalization takes as running mean and variance (inputs 3 and 4), directly, through Identity (shared
 * statistics), or as an argument of a function: initialisers among them are buffers of the model, never parameters.
 */
export function runningStatistics(
  nodes: readonly OnnxNode[],
  functionOf: FunctionOf,
  known = new Map<OnnxFunction, ReadonlySet<string>>(),
): ReadonlySet<string> {
  const found = new Set<string>();
  const passed = (node: OnnxNode): readonly number[] => {
    const called = functionOf(node);
    if (!called) {
      if (node.domain !== '') return [];
      if (node.opType === 'BatchNormalization') return [3, 4];
      return node.opType === 'Identity' && node.outputs.some((name) => found.has(name)) ? [0] : [];
    }
    // Entered before its nodes, as a damaged file may have functions that call each other in a circle.
    if (!known.has(called)) {
      known.set(called, new Set());
      known.set(called, runningStatistics(called.nodes, functionOf, known));
    }
    return called.inputs.flatMap((name, i) => (known.get(called)!.has(name) ? [i] : []));
  };
  // Backwards, so that what Identity gives is known before what it takes.
  for (const node of [...nodes].reverse()) {
    for (const i of passed(node)) if (node.inputs[i]) found.add(node.inputs[i]!);
    for (const attribute of node.attributes.values()) {
      if (attribute.kind !== 'graph') continue;
      for (const name of runningStatistics(attribute.value.nodes, functionOf, known)) found.add(name);
    }
  }
  return found;
}

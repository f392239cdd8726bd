import { uniform } from '../../src/core/random.ts';
import type { Tensor } from '../../src/graph/graph.ts';
import type { RefTensor } from '../../src/graph/op-record.ts';
import { norm } from './compare.ts';
import { type Differentiated, evaluateGradients, objective } from './graphs.ts';

/** Elements checked one by one of each leaf; larger leaves are checked in a random direction as a whole too. */
const mostElements = 24;
const step = 1e-5;

/**
 * Compares every gradient with central differences of the f64 objective. Constants of the graph are f32 (1/n, 2/√π …),
 * which costs 6e-8 of relative error; differences of step 1e-5 cost about 1e-10.
 * Returns the gradients' norm, so that callers can demand one that proves something.
 */
export function checkGradients(d: Differentiated, title: string): number {
  const found = evaluateGradients(d);
  d.leaves.forEach((leaf, i) => {
    const gradient = found[i]!;
    const n = gradient.length;
    if (n !== d.feeds.get(leaf)!.data.length) throw new Error(`${title}: gradient of ${leaf.name} has ${n} values`);
    const picks = uniform({ seed: 3, stream: `${title}/${leaf.name}` }, n);
    const elements = [...picks.keys()].sort((a, b) => picks[a]! - picks[b]!).slice(0, mostElements);
    for (const at of elements) {
      const direction = new Float64Array(n);
      direction[at] = 1;
      agree(gradient[at]!, along(d, leaf, direction), `${title}: d/d${leaf.name}[${at}]`);
    }
    const direction = picks.map((u) => 2 * u - 1);
    const exact = direction.reduce((sum, v, j) => sum + v * gradient[j]!, 0);
    agree(exact, along(d, leaf, direction), `${title}: d/d${leaf.name} in a random direction`);
  });
  return norm(found.flatMap((g) => [...g]));
}

function agree(gradient: number, difference: number, what: string): void {
  if (!(Math.abs(gradient - difference) <= 1e-7 + 2e-6 * Math.abs(difference))) {
    throw new Error(`${what} is ${gradient}, central differences give ${difference}`);
  }
}

/** Derivative of the objective along a direction of one leaf. */
function along(d: Differentiated, leaf: Tensor, direction: Float64Array): number {
  const at = (sign: number): number => {
    const { type, data } = d.feeds.get(leaf)!;
    const moved: RefTensor = { type, data: data.map((x, i) => x + sign * step * direction[i]!) };
    return objective(d, new Map(d.feeds).set(leaf, moved));
  };
  return (at(1) - at(-1)) / (2 * step);
}

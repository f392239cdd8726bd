import type { Node, Tensor } from '../graph/graph.ts';
import { rootOf } from '../graph/values.ts';
import { FlowNetwork } from '../partition/min-cut.ts';
import type { StageRecompute } from './choice.ts';
import type { StageForward } from './stage-forward.ts';

/**
 * Each value made again once at most, such that the bytes that are kept and the prices of the nodes that run again are least:
 * a least cut between what the backward pass reads and what is there anyhow.
 *
 *     backward ──► value ──bytes──► its node ──► the values that it reads ──bytes──► …
 *                                    └──price──► there                    what arrives ──► there
 *
 * Of all least cuts the one nearest to the backward pass is taken: it computes least.
 */
export function cutRecompute({ nodes, values }: StageForward, price: (node: Node) => number): StageRecompute {
  const runs = nodes.filter((n) => !n.op!.alias);
  const place = new Map(runs.map((n, i) => [n, i]));
  const all = [...values.values()];
  const index = new Map(all.map((v, i) => [v.root, i]));
  // Nodes first, then each value in front of its arc and behind.
  const asked = (i: number): number => runs.length + 2 * i;
  const made = (i: number): number => asked(i) + 1;
  const [backward, there] = [runs.length + 2 * all.length, runs.length + 2 * all.length + 1];
  const network = new FlowNetwork(there + 1);
  const always = Number.POSITIVE_INFINITY;
  all.forEach((v, i) => {
    if (v.backward.length > 0) network.connect(backward, asked(i), always);
    network.connect(asked(i), made(i), v.bytes);
    network.connect(made(i), v.arrives ? there : place.get(v.root.node)!, always);
  });
  runs.forEach((node, at) => {
    const dear = price(node);
    if (dear > 0) network.connect(at, there, dear);
    for (const i of readBy(node, index)) network.connect(at, asked(i), always);
  });
  const isAsked = network.nearestCut(backward, there);
  const isKept = (i: number): boolean => !all[i]!.arrives && isAsked(asked(i)) && !isAsked(made(i));
  return { kept: new Set(all.flatMap((v, i) => (isKept(i) ? [v.root.name] : []))) };
}

/** The values that a node reads, through reshapes; what exists once a step is none. */
const readBy = (node: Node, index: ReadonlyMap<Tensor, number>): number[] =>
  node.inputs.flatMap((t) => index.get(rootOf(t)) ?? []);

import type { Tensor } from '../graph/graph.ts';
import { rootOf } from '../graph/values.ts';
import { FlowNetwork } from '../partition/min-cut.ts';
import type { StageRecompute } from './choice.ts';
import type { StageForward } from './stage-forward.ts';

/**
 * Computes the cheap again and keeps what is dear, such that the fewest bytes are kept.
 *
 * A node is cheap where a byte of its results takes less time than the mean of the stage's forward pass: elementwise ops,
 * normalisations, softmax, dropout and the scores of attention, as in selective recomputation (Korthikanti et al.,
 * "Reducing Activation Recomputation in Large Transformer Models", MLSys 2023), found by cost and not by name. Which of
 * their values are kept nevertheless is a least cut between what the backward pass reads and what is there anyhow:
 *
 *     backward ──► value ──bytes──► its node ──► the values it reads ──► …     dear node, or a value that arrives ──► never cut
 *
 * Of all least cuts the one nearest to the backward pass is taken: it computes least.
 */
export function selectiveRecompute({ nodes, values, seconds }: StageForward): StageRecompute {
  const runs = nodes.filter((n) => !n.op!.alias);
  const place = new Map(runs.map((n, i) => [n, i]));
  const made = [...values.values()].filter((v) => !v.arrives);
  const bytesMade = made.reduce((sum, v) => sum + v.bytes, 0);
  const mean = runs.reduce((sum, n) => sum + seconds(n), 0) / Math.max(1, bytesMade);
  const ofNode = new Map(runs.map((n) => [n, [] as number[]]));
  const all = [...values.values()];
  const index = new Map(all.map((v, i) => [v.root, i]));
  all.forEach((v, i) => {
    if (!v.arrives) ofNode.get(v.root.node)!.push(i);
  });
  // Nodes first, then each value before and behind its arc.
  const asked = (i: number): number => runs.length + 2 * i;
  const begun = (i: number): number => asked(i) + 1;
  const [backward, there] = [runs.length + 2 * all.length, runs.length + 2 * all.length + 1];
  const network = new FlowNetwork(there + 1);
  all.forEach((v, i) => {
    if (v.backward.length > 0) network.connect(backward, asked(i), Number.POSITIVE_INFINITY);
    network.connect(asked(i), begun(i), v.bytes);
    network.connect(begun(i), v.arrives ? there : place.get(v.root.node)!, Number.POSITIVE_INFINITY);
  });
  for (const node of runs) {
    const bytes = ofNode.get(node)!.reduce((sum, i) => sum + all[i]!.bytes, 0);
    if (seconds(node) >= mean * bytes) network.connect(place.get(node)!, there, Number.POSITIVE_INFINITY);
    for (const i of readBy(node, index)) network.connect(place.get(node)!, asked(i), Number.POSITIVE_INFINITY);
  }
  const isAsked = network.nearestCut(backward, there);
  return {
    kept: new Set(
      all.flatMap((v, i) => (!v.arrives && !(isAsked(asked(i)) && isAsked(begun(i))) ? [v.root.name] : [])),
    ),
  };
}

/** The values that a node reads, through reshapes; what exists once a step is none. */
const readBy = (node: StageForward['nodes'][number], index: ReadonlyMap<Tensor, number>): number[] =>
  node.inputs.flatMap((t) => index.get(rootOf(t)) ?? []);

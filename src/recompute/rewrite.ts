import type { Graph, Node, Tensor } from '../graph/graph.ts';
import { requireGraph } from '../graph/require-graph.ts';
import { rewriteWithCopies } from '../graph/rewrite.ts';
import { verify } from '../graph/verify.ts';
import type { RecomputeChoice } from './choice.ts';
import { StageClones } from './clones.ts';
import { asksForward } from './stage-forward.ts';

/**
 * The training graph with the chosen forward nodes once more in front of their first backward reader. A clone has the op, the
 * attributes (and so the random numbers) and the stage of its original, and reads clones or what is kept: it makes the same
 * bits.
 *
 *     x ─► a ─► b ─► c ─► (next stage)          kept: x
 *     └──► a' ─► b' ─┐
 *               grad b ◄── grad c ◄── (next stage)
 *
 * Readers of the forward pass and of other stages keep the originals, and so do sums over microbatches.
 */
export function withRecompute(source: Graph, stageOf: (node: Node) => number, choice: RecomputeChoice): Graph {
  requireGraph('withRecompute', source);
  if (choice.size === 0) return source;
  const copies = new Map<Tensor, Tensor>();
  const stages = new Map<number, StageClones<Node>>();
  const { graph } = rewriteWithCopies(source, {
    replace: (node, copied, target, origin) => {
      const stage = node.source ? -1 : stageOf(node);
      const own = asksForward(node) ? choice.get(stage) : undefined;
      let clones = stages.get(stage);
      if (own && !clones) {
        clones = new StageClones<Node>(
          own,
          (n) => stageOf(n) === stage,
          (n, cloneOf) => {
            const inputs = n.inputs.map((t) =>
              clones!.stands(t) ? cloneOf(t.node).outputs[t.index]! : copies.get(t)!,
            );
            return target.recompute(copies.get(n.outputs[0]!)!.node, inputs);
          },
        );
        stages.set(stage, clones);
      }
      if (own) clones!.enter(node);
      const inputs = own
        ? node.inputs.map((t) => (clones!.stands(t) ? clones!.of(t).outputs[t.index]! : copies.get(t)!))
        : copied;
      const { outputs } = target.adopt(node, inputs, origin);
      node.outputs.forEach((t, i) => void copies.set(t, outputs[i]!));
      return outputs;
    },
  });
  verify(graph);
  return graph;
}

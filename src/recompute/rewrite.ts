import type { Graph, Node, Tensor } from '../graph/graph.ts';
import { rewriteWithCopies } from '../graph/rewrite.ts';
import { rootOf } from '../graph/values.ts';
import { verify } from '../graph/verify.ts';
import type { RecomputeChoice, StageRecompute } from './choice.ts';
import { asksForward, blockLeader, isRecomputable } from './stage-forward.ts';

/**
 * The training graph with the chosen forward nodes once more in front of their first backward reader. A clone has the op, the attributes
 * (and so the random numbers) and the stage of its original, and reads clones or what is kept: it makes the same bits.
 *
 *     x ─► a ─► b ─► c ─► (next stage)          kept: x
 *     └──► a' ─► b' ─┐
 *               grad b ◄── grad c ◄── (next stage)
 *
 * Readers of the forward pass and of other stages keep the originals, and so do sums over microbatches.
 */
export function withRecompute(source: Graph, stageOf: (node: Node) => number, choice: RecomputeChoice): Graph {
  if (choice.size === 0) return source;
  const stages = new Map([...choice].map(([stage, of]) => [stage, new StageClones(of)]));
  const copies = new Map<Tensor, Tensor>();
  const { graph } = rewriteWithCopies(source, {
    replace: (node, copied, target, origin) => {
      const stage = node.source ? -1 : stageOf(node);
      const clones = asksForward(node) ? stages.get(stage) : undefined;
      let inputs = copied;
      if (clones) {
        const isOwn = (t: Tensor): boolean => {
          const root = rootOf(t);
          // A reshape of the backward pass reads the clone already.
          if (!isRecomputable(t.node)) return false;
          return isRecomputable(root.node) && stageOf(root.node) === stage && !clones.choice.kept.has(root.name);
        };
        clones.enter(node);
        inputs = node.inputs.map((t) => (isOwn(t) ? clones.of(t, isOwn, copies, target) : copies.get(t)!));
      }
      const { outputs } = target.adopt(node, inputs, origin);
      node.outputs.forEach((t, i) => void copies.set(t, outputs[i]!));
      return outputs;
    },
  });
  verify(graph);
  return graph;
}

/** The clones of one stage while its backward pass is written. */
class StageClones {
  readonly choice: StageRecompute;
  /** By original. */
  readonly #clones = new Map<Node, Node>();
  #block = Number.POSITIVE_INFINITY;

  constructor(choice: StageRecompute) {
    this.choice = choice;
  }

  /** Forgets what does not outlive the blocks that are left. */
  enter(backward: Node): void {
    const { blockOf, retained } = this.choice;
    const leader = blockLeader(backward);
    const block = leader && blockOf?.get(leader.name);
    if (block === undefined || block >= this.#block) return;
    this.#block = block;
    for (const original of this.#clones.keys()) {
      const root = rootOf(original.outputs[0]!);
      const names = original.op!.alias ? [root.name] : original.outputs.map((t) => t.name);
      if (!names.some((name) => retained![block]!.has(name))) this.#clones.delete(original);
    }
  }

  /** The clone of a value, made with all that it is made from where that is not there. */
  of(tensor: Tensor, isOwn: (t: Tensor) => boolean, copies: ReadonlyMap<Tensor, Tensor>, graph: Graph): Tensor {
    const missing = new Set<Node>();
    const stack = [tensor.node];
    while (stack.length > 0) {
      const node = stack.pop()!;
      if (this.#clones.has(node) || missing.has(node)) continue;
      missing.add(node);
      for (const t of node.inputs) if (isOwn(t)) stack.push(t.node);
    }
    const cloneOf = (t: Tensor): Tensor => (isOwn(t) ? this.#clones.get(t.node)!.outputs[t.index]! : copies.get(t)!);
    for (const node of [...missing].sort((a, b) => a.id - b.id)) {
      this.#clones.set(node, graph.recompute(copies.get(node.outputs[0]!)!.node, node.inputs.map(cloneOf)));
    }
    return cloneOf(tensor);
  }
}

import type { Node, Tensor } from '../graph/graph.ts';
import { rootOf } from '../graph/values.ts';
import type { StageRecompute } from './choice.ts';
import { blockLeader, isRecomputable } from './stage-forward.ts';

/** The clones of one stage while its backward pass is written, or weighed. */
export class StageClones<Clone> {
  readonly #choice: StageRecompute;
  readonly #isHere: (node: Node) => boolean;
  readonly #make: (node: Node, cloneOf: (node: Node) => Clone) => Clone;
  /** By original. */
  readonly #clones = new Map<Node, Clone>();
  #block = Number.POSITIVE_INFINITY;

  /** `isHere`: whether a node is of the stage. `make` is called for each clone, behind what it reads. */
  constructor(
    choice: StageRecompute,
    isHere: (node: Node) => boolean,
    make: (node: Node, cloneOf: (node: Node) => Clone) => Clone,
  ) {
    this.#choice = choice;
    this.#isHere = isHere;
    this.#make = make;
  }

  /** Whether a backward node reads a clone for this tensor. A reshape of the backward pass has read the clone already. */
  stands(tensor: Tensor): boolean {
    const root = rootOf(tensor);
    return (
      isRecomputable(tensor.node) &&
      isRecomputable(root.node) &&
      this.#isHere(root.node) &&
      !this.#choice.kept.has(root.name)
    );
  }

  /** Forgets what does not outlive the blocks that are left. */
  enter(backward: Node): void {
    const { blockOf, retained } = this.#choice;
    const leader = blockOf && blockLeader(backward);
    const block = leader && blockOf.get(leader.name);
    if (block === undefined || block >= this.#block) return;
    this.#block = block;
    for (const original of this.#clones.keys()) {
      const roots = original.op!.alias ? [rootOf(original.outputs[0]!)] : original.outputs;
      if (!roots.some((t) => retained?.[block]?.has(t.name))) this.#clones.delete(original);
    }
  }

  /** The clone that stands for a tensor's node, made with all that it is made from where that is not there. */
  of(tensor: Tensor): Clone {
    const missing = new Set<Node>();
    const stack = [tensor.node];
    while (stack.length > 0) {
      const node = stack.pop()!;
      if (this.#clones.has(node) || missing.has(node)) continue;
      missing.add(node);
      for (const t of node.inputs) if (this.stands(t)) stack.push(t.node);
    }
    const known = (node: Node): Clone => this.#clones.get(node)!;
    for (const node of [...missing].sort((a, b) => a.id - b.id)) this.#clones.set(node, this.#make(node, known));
    return known(tensor.node);
  }
}

import type { Node, Tensor } from '../graph/graph.ts';
import { rootOf } from '../graph/values.ts';
import type { BackendName } from '../lower/kernel-call.ts';
import type { BuildContext } from './context.ts';
import type { DeviceValues } from './device-values.ts';
import type { Part, Place } from './instruction.ts';
import { type Addition, PairwiseSum } from './pairwise.ts';
import { valueKey } from './values.ts';

/** What a device does for a group of nodes, one sample after the other. */
export interface SampleLoop {
  readonly parts: readonly Part[];
  /** Buffers that are read, and written. */
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
  readonly workspaceBytes: number;
  /** Nodes of the group whose values are kept for all samples. */
  readonly kept: readonly Node[];
  /** Its sums. */
  readonly sums: readonly Node[];
}

/**
 * Nodes that lead to sums over samples, for one sample after the other: their own values exist for one sample at a time,
 * and each sample's contribution joins the tree of its sum before the next is computed.
 */
export class SampleLoops {
  readonly #context: BuildContext;
  readonly #values: DeviceValues;
  readonly #backend: BackendName;
  /** The buffer that holds a value of another group or device. */
  readonly #need: (root: Tensor, microbatch: number) => number;
  /** Sums over samples under way, by the name of their total. */
  readonly #sums = new Map<string, TreeSum>();

  constructor(
    context: BuildContext,
    values: DeviceValues,
    backend: BackendName,
    need: (root: Tensor, microbatch: number) => number,
  ) {
    this.#context = context;
    this.#values = values;
    this.#backend = backend;
    this.#need = need;
  }

  of(group: readonly Node[], microbatch: number): SampleLoop {
    const { chunks } = this.#context.options;
    const { resultsOf } = this.#context.chunk(group[0]!.graph);
    const sums = new Map(group.filter((n) => n.op!.accumulates).map((n) => [n, this.#treeSum(n)]));
    // Results are kept for all samples, what only leads to sums for one.
    const kept = new Set(group.filter((n) => n.outputs.some((t) => resultsOf.has(t))));
    const own = new Map(
      group
        .filter((n) => !sums.has(n) && !kept.has(n))
        .flatMap((n) => n.outputs)
        .map((t) => [t, this.#values.sample(t, microbatch)]),
    );
    const inputs = new Set<number>();
    const outputs = new Set<number>(own.values());
    const whole = (buffer: number): Place => this.#values.whole(buffer);
    const shareOf = (root: Tensor, buffer: number, sample: number): Place => ({
      buffer,
      plus: sample * this.#context.sampleStride(root, microbatch),
      stride: 0,
    });
    const read = (tensor: Tensor, sample: number): Place => {
      const root = rootOf(tensor);
      const scratch = own.get(root);
      if (scratch !== undefined) return whole(scratch);
      const buffer = this.#need(root, microbatch);
      inputs.add(buffer);
      return shareOf(root, buffer, sample);
    };
    const write = (tensor: Tensor, sample: number): Place => {
      const scratch = own.get(tensor);
      if (scratch !== undefined) return whole(scratch);
      const buffer = this.#values.produced(rootOf(tensor), microbatch);
      outputs.add(buffer);
      return shareOf(tensor, buffer, sample);
    };
    const parts: Part[] = [];
    let workspaceBytes = 0;
    const run = (node: Node, first: boolean | null, from: readonly Place[], to: readonly Place[]) => {
      const { signature, lowered, cost } = this.#context.lower(node, first, this.#backend);
      parts.push({ signature, calls: lowered.calls, inputs: from, outputs: to, overwritable: [], repeat: 1, ...cost });
      workspaceBytes = Math.max(workspaceBytes, lowered.workspaceBytes);
    };
    const add = (node: Node, additions: readonly Addition[], addends: readonly Place[]) => {
      const tree = sums.get(node)!;
      for (const { from, to, first } of additions) {
        const target = tree.slot(to);
        outputs.add(target);
        run(node, first, from === 'sample' ? addends : [whole(tree.slot(from))], [whole(target)]);
      }
    };
    for (let s = 0; s < chunks[microbatch]!; s++) {
      for (const node of group) {
        const from = node.inputs.map((t) => read(t, s));
        if (sums.has(node)) add(node, sums.get(node)!.sum.push(), from);
        else
          run(
            node,
            null,
            from,
            node.outputs.map((t) => write(t, s)),
          );
      }
    }
    if (microbatch === chunks.length - 1) for (const [node, { sum }] of sums) add(node, sum.finish(), []);
    for (const tree of sums.values()) tree.endChunk();
    return {
      parts,
      inputs: [...inputs],
      outputs: [...outputs],
      workspaceBytes,
      kept: [...kept],
      sums: [...sums.keys()],
    };
  }

  /** Slot 0 is the total's own buffer. */
  #treeSum(node: Node): TreeSum {
    const total = node.outputs[0]!;
    const key = valueKey(total, null);
    let tree = this.#sums.get(key);
    if (!tree) {
      tree = new TreeSum((slot) =>
        slot === 0 ? this.#values.produced(rootOf(total), null) : this.#values.partialSum(total, slot),
      );
      this.#sums.set(key, tree);
    }
    return tree;
  }
}

/** A sum's tree while the step runs, and the buffers of its partial sums. */
class TreeSum {
  readonly sum = new PairwiseSum();
  readonly #make: (slot: number) => number;
  /** Buffer of each slot that is alive, or was within this chunk. */
  readonly #slots: (number | undefined)[] = [];

  constructor(make: (slot: number) => number) {
    this.#make = make;
  }

  slot(index: number): number {
    this.#slots[index] ??= this.#make(index);
    return this.#slots[index];
  }

  /** Partial sums that have been added give their bytes back. */
  endChunk(): void {
    this.#slots.length = this.sum.depth;
  }
}

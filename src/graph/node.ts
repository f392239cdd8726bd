import { shown } from '../core/options.ts';
import { type DType, formatType, type Shape, type TensorType } from '../core/types.ts';
import type { Graph } from './graph.ts';
import type { Attrs, OpRecord } from './op-record.ts';
import type { Source } from './source.ts';

/**
 * A training step's graph has two regions. `micro` nodes run once a microbatch on a chunk of the batch; `step` nodes run
 * once a step (gradient totals, updates). Values pass from micro to step only through ops that accumulate (`accumulate`),
 * whose output is the sum over microbatches in their order. A micro node that reads such a total waits for all
 * microbatches: a barrier (`barriers.ts`).
 */
export type Region = 'micro' | 'step';

/** What was given in place of a tensor, in a message: one of another copy of the library looks like one and is none. */
export function shownTensor(value: unknown): string {
  if (value instanceof Tensor) return String(value);
  const isOther = typeof value === 'object' && value !== null && value.constructor?.name === 'Tensor';
  return isOther ? 'a tensor of another copy of partita (npm ls partita shows both)' : shown(value);
}

/** An edge: one output of one node. Compared by identity. */
export class Tensor {
  readonly node: Node;
  /** Which output of the node. */
  readonly index: number;
  readonly type: TensorType;
  readonly #name: string | undefined;

  /** `name`: of an output that is known by another name than its node's. */
  constructor(node: Node, index: number, type: TensorType, name?: string) {
    this.node = node;
    this.index = index;
    this.type = type;
    this.#name = name;
  }

  get shape(): Shape {
    return this.type.shape;
  }
  get dtype(): DType {
    return this.type.dtype;
  }
  get rank(): number {
    return this.type.shape.length;
  }
  get graph(): Graph {
    return this.node.graph;
  }
  /** Name of the edge: its own, or the node's, with `:index` behind it for all but the first output. */
  get name(): string {
    if (this.#name !== undefined) return this.#name;
    return this.index === 0 ? this.node.name : `${this.node.name}:${this.index}`;
  }
  toString(): string {
    return `${this.name}: ${formatType(this.type)}`;
  }
}

export interface Node {
  readonly graph: Graph;
  /** Position in `graph.nodes`. */
  readonly id: number;
  /** Unique, with scopes: `encoder.0.attention.matmul`. */
  readonly name: string;
  /** undefined for sources */
  readonly op: OpRecord | undefined;
  readonly source: Source | undefined;
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
  readonly attrs: Attrs;
  readonly region: Region;
  /** The node whose derivative (or update) this one belongs to; it follows that node's stage. */
  readonly origin: Node | undefined;
  /** 0: computed forward; 1: by the training step's own backward pass. */
  readonly pass: number;
  /**
   * Order of derivative that a forward value is: 0 for the model itself, k for gradients within the model (`gradients`) of
   * values of orders below k, and for what is computed from them. The gradients of a pipeline flow back through its stages,
   * so those of order k are the second half of a chain twice as long, folded over the same devices (`partition/fold.ts`).
   */
  readonly order: number;
  /**
   * Joins derivatives of several forward nodes, its origin one of them: it stands at the earliest stage of its inputs, where
   * the last of them arrives.
   */
  readonly joins?: true;
  /** Computes once more, for the backward pass, what its origin computes forward. */
  readonly recomputes?: true;
}

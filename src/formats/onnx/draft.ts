/**
 * An ONNX graph before its names and its batch are settled. It is drafted for two batch sizes; where the two say the same
 * but for sizes that are proportional to the batch, the file holds for every batch:
 *
 *     drafted for 2   Reshape to [2, 12, 3]   Expand to [24, 8]
 *     drafted for 3   Reshape to [3, 12, 3]   Expand to [36, 8]
 *     in the file     [−1, 12, 3]             Concat(12 · Shape(x)[0], 8)
 */
import { GraphError } from '../../core/errors.ts';
import type { TensorType } from '../../core/types.ts';
import type { NodeAttributes, SizesUse } from './exporters/exporter.ts';
import type { OnnxDType } from './model.ts';

/** An edge. Compared by identity; it gets its name last. */
export class Value {
  /** The name it should have, where anybody cares. */
  name: string | undefined;
  readonly hint: string;
  /** undefined: a constant, or a value from outside. */
  readonly producer: DraftNode | undefined;

  constructor(hint: string, producer?: DraftNode) {
    this.hint = hint;
    this.producer = producer;
  }
}

export interface DraftNode {
  readonly kind: 'node';
  /** May become that of the graph's node. */
  name: string;
  readonly opType: string;
  readonly domain: string;
  readonly inputs: readonly (Value | undefined)[];
  readonly outputs: Value[];
  readonly attributes: NodeAttributes;
}

export interface DraftConstant {
  readonly kind: 'constant';
  readonly value: Value;
  readonly dtype: OnnxDType;
  readonly dims: readonly number[];
  readonly bytes: Uint8Array;
  /** The graph's node that needs it, for errors. */
  readonly for: string;
}

/** Sizes: an INT64 vector whose entries may follow the batch. */
export interface DraftSizes {
  readonly kind: 'sizes';
  readonly value: Value;
  /** At the batch size of the draft. */
  readonly sizes: readonly number[];
  readonly use: SizesUse;
  readonly for: string;
}

/** A size, or how many entries there are for each sample. */
export type Size = number | { readonly perSample: number };

export type DraftItem = DraftNode | DraftConstant | DraftSizes;

/** A value from outside, or an initialiser. */
export interface DraftSource {
  readonly value: Value;
  readonly name: string;
  readonly type: TensorType;
}

export interface DraftOutput {
  readonly name: string;
  readonly value: Value;
  readonly type: TensorType;
}

/** Everything of a graph but its functions, which know no batch. */
export interface Draft {
  readonly inputs: readonly DraftSource[];
  readonly initializers: readonly DraftSource[];
  readonly items: readonly DraftItem[];
  readonly outputs: readonly DraftOutput[];
}

/** Sizes of the draft where the batch is a symbol. */
export interface SymbolicSizes {
  readonly input: (source: DraftSource) => readonly Size[];
  readonly output: (output: DraftOutput) => readonly Size[];
  readonly of: (sizes: DraftSizes) => readonly Size[];
}

/** Throws GraphError `onnx-batch-baked` naming the first node where a number depends on the batch otherwise. */
export function compareDrafts(a: Draft, batchA: number, b: Draft, batchB: number): SymbolicSizes {
  const baked = (where: string, what: string): GraphError =>
    new GraphError('onnx-batch-baked', `${where}: ${what} depends on the batch`, { fields: { node: where } });
  const merged = (where: string, what: string, sizesA: readonly number[], sizesB: readonly number[]): Size[] => {
    if (sizesA.length !== sizesB.length) throw baked(where, what);
    return sizesA.map((size, i) => {
      const other = sizesB[i]!;
      if (size === other) return size;
      const perSample = size / batchA;
      if (Number.isInteger(perSample) && perSample * batchB === other) return { perSample };
      throw baked(where, what);
    });
  };

  const twins = new Map<Value, Value>();
  const found = new Map<DraftSource | DraftOutput | DraftSizes, readonly Size[]>();
  const pairSources = (of: 'inputs' | 'initializers'): void => {
    if (a[of].length !== b[of].length) throw baked(of, 'their number');
    a[of].forEach((source, i) => {
      const twin = b[of][i]!;
      if (source.name !== twin.name) throw baked(source.name, 'its place');
      const sizes = merged(source.name, 'a size', source.type.shape, twin.type.shape);
      // The batch is found in the shape of an input, which must be it and no multiple.
      const allowed = (d: Size): boolean => typeof d === 'number' || (of === 'inputs' && d.perSample === 1);
      if (!sizes.every(allowed)) throw baked(source.name, 'its shape');
      twins.set(source.value, twin.value);
      found.set(source, sizes);
    });
  };
  pairSources('inputs');
  pairSources('initializers');

  if (a.items.length !== b.items.length) throw baked('the graph', 'the number of its nodes');
  for (const [i, item] of a.items.entries()) {
    const twin = b.items[i]!;
    const where = item.kind === 'node' ? item.name : item.for;
    if (item.kind === 'constant') {
      const alike =
        twin.kind === 'constant' && sameNumbers(item.dims, twin.dims) && sameNumbers(item.bytes, twin.bytes);
      if (!alike) throw baked(where, 'a constant');
      twins.set(item.value, twin.value);
    } else if (item.kind === 'sizes') {
      if (twin.kind !== 'sizes') throw baked(where, 'what it computes');
      found.set(item, merged(where, 'a size', item.sizes, twin.sizes));
      twins.set(item.value, twin.value);
    } else {
      const alike =
        twin.kind === 'node' &&
        item.opType === twin.opType &&
        item.outputs.length === twin.outputs.length &&
        item.inputs.length === twin.inputs.length &&
        item.inputs.every((value, k) => (value && twins.get(value)) === twin.inputs[k]);
      if (!alike) throw baked(where, 'what it computes');
      if (JSON.stringify(item.attributes) !== JSON.stringify(twin.attributes)) throw baked(where, 'an attribute');
      item.outputs.forEach((value, k) => void twins.set(value, twin.outputs[k]!));
    }
  }
  if (a.outputs.length !== b.outputs.length) throw baked('the outputs', 'their number');
  a.outputs.forEach((output, i) => {
    const twin = b.outputs[i]!;
    if (twins.get(output.value) !== twin.value) throw baked(output.name, 'what it is');
    found.set(output, merged(output.name, 'a size', output.type.shape, twin.type.shape));
  });
  return { input: (s) => found.get(s)!, output: (o) => found.get(o)!, of: (s) => found.get(s)! };
}

const sameNumbers = (a: ArrayLike<number>, b: ArrayLike<number>): boolean => {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
};

/** The sizes as they are. */
export const fixedSizes: SymbolicSizes = {
  input: ({ type }) => type.shape,
  output: ({ type }) => type.shape,
  of: ({ sizes }) => sizes,
};

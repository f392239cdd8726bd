/** How an op becomes nodes of an ONNX file: what a rule sees of its node, and what it gives back. */
import type { HostTensor, TensorType } from '../../../core/types.ts';
import type { Tensor } from '../../../graph/graph.ts';
import type { Attrs, OpRecord } from '../../../graph/op-record.ts';
import type { OpName, records } from '../../../ops/index.ts';
import type { Value } from '../draft.ts';

/** Attributes of an ONNX node. A number is an integer (INT) unless it is boxed. */
export type NodeAttributes = Readonly<
  Record<string, number | string | readonly number[] | { readonly float: number } | undefined>
>;

/** One node of the graph on its way out. Values are edges of the ONNX graph; `undefined` leaves an input out. */
export interface ExportContext {
  /** Version of ONNX's operators that the file asks for. */
  readonly opset: number;
  readonly inputs: readonly Value[];
  readonly inputTypes: readonly TensorType[];
  readonly outputTypes: readonly TensorType[];
  /** Whether anything reads this output. */
  readonly wants: (output: number) => boolean;
  /** Appends an ONNX node; its first output. */
  readonly emit: (opType: string, inputs: readonly (Value | undefined)[], attributes?: NodeAttributes) => Value;
  /** Appends an ONNX node with several outputs. */
  readonly emitAll: (
    opType: string,
    inputs: readonly (Value | undefined)[],
    outputs: number,
    attributes?: NodeAttributes,
  ) => readonly Value[];
  /** An INT64 vector: axes, pads, bounds. */
  readonly integers: (values: readonly number[]) => Value;
  /** An INT64 scalar. */
  readonly integer: (value: number) => Value;
  /**
   * Sizes as an INT64 vector, those that follow the batch included: they are written as what they are whatever the batch.
   * `use` says what reads them: Reshape finds one size by itself (−1); Expand keeps a size of x where it says 1.
   */
  readonly sizes: (values: readonly number[], use: SizesUse) => Value;
  readonly constant: (value: HostTensor) => Value;
  /** Says why this node cannot be written. Collected, and reported for all nodes at once. */
  readonly refuse: (why: string) => never;
}

export type SizesUse = 'reshape' | { readonly expand: readonly number[] } | 'any';

/**
 * How an op is written.
 * - `nodes`: as ONNX nodes. An output that is not made is undefined; what `wants` says of it must be no.
 * - `parts`: as the ONNX nodes of a graph of other ops.
 * - `function`: as a call of a function of the file, in our own domain: the graph of other ops stands in it once. Our
 *   importer knows the name and makes the one op again, any other reader runs the parts. For ops without attributes,
 *   whose parts do not depend on shapes.
 * - `choice`: in one of these ways, by types and attributes.
 * - `none`: not, and why.
 */
export type Exporter<A extends Attrs = Attrs> =
  | { readonly kind: 'nodes'; readonly rule: (context: ExportContext, attrs: A) => readonly (Value | undefined)[] }
  | { readonly kind: 'parts'; readonly build: Parts<A> }
  | { readonly kind: 'function'; readonly name: string; readonly build: Parts<A> }
  | { readonly kind: 'choice'; readonly of: (signature: ExportSignature, attrs: A) => Exporter<A> }
  | { readonly kind: 'none'; readonly why: string };

export type ExportSignature = Pick<ExportContext, 'opset' | 'inputTypes' | 'outputTypes' | 'wants'>;

export type Parts<A extends Attrs> = (inputs: readonly Tensor[], attrs: A) => readonly (Tensor | undefined)[];

type AttrsOf<N extends OpName> = (typeof records)[N] extends OpRecord<infer A> ? A : never;

/** An exporter for every op: a missing one does not compile. */
export type ExportTable = { readonly [N in OpName]: Exporter<AttrsOf<N>> };

export const nodes = <A extends Attrs>(
  rule: (context: ExportContext, attrs: A) => readonly (Value | undefined)[],
): Exporter<A> => ({ kind: 'nodes', rule });

export const parts = <A extends Attrs>(build: Parts<A>): Exporter<A> => ({ kind: 'parts', build });

export const choice = <A extends Attrs>(of: (signature: ExportSignature, attrs: A) => Exporter<A>): Exporter<A> => ({
  kind: 'choice',
  of,
});

export const none = <A extends Attrs>(why: string): Exporter<A> => ({ kind: 'none', why });

/** Why dropout has no operator. */
export const random =
  'its mask follows the seed and step of a session: build the model for evaluation, where dropout is the identity';

/** The ONNX operator that takes the same inputs and has no attributes. */
export const same = <A extends Attrs>(opType: string): Exporter<A> =>
  nodes(({ emit, inputs }) => [emit(opType, inputs)]);

/** The graph that the record itself says its op stands for. */
export function decomposed<A extends Attrs>({ name, gradient }: OpRecord<A>): Exporter<A> {
  if (gradient.kind !== 'decompose') throw new TypeError(`${name} does not stand for other ops`);
  return parts(gradient.build);
}

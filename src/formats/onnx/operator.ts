/** How ONNX operators become nodes of a graph: what a rule in `operators/` sees of its node, and what it gives back. */
import type { Shape } from '../../core/types.ts';
import { type Graph, Tensor } from '../../graph/graph.ts';
import type { OnnxDType, OnnxGraph, OnnxNode, OnnxTensor } from './model.ts';

/**
 * A value known at import: constants, shapes, and all that is computed from them alone. Integers are exact up to 2^53 and
 * saturate beyond (slices end at 2^63 − 1); bool is 0 or 1. Dims may be 0, which no tensor of a graph has.
 */
export interface Known {
  readonly dtype: OnnxDType;
  readonly shape: Shape;
  readonly data: Float64Array;
}

/** What an edge of the ONNX graph carries: a value that is known at import, or a tensor of the graph. */
export type Value = Known | Tensor;

export const isTensor = (value: Value): value is Tensor => value instanceof Tensor;

/** One node under import. Every accessor that fails names node, operator and input or attribute. */
export interface OperatorContext {
  readonly node: OnnxNode;
  readonly graph: Graph;
  /** Version of the operator set of the node's domain. */
  readonly opset: number;
  /** What the graph is built for: batch normalisation and dropout differ. */
  readonly mode: 'training' | 'evaluation';

  /** Inputs given, the last omitted ones not counted. */
  readonly inputCount: number;
  /** Outputs that anybody uses or the file names; a rule may leave out the rest. */
  readonly wants: (output: number) => boolean;
  /** Input i, undefined where it is left out. */
  readonly optional: (i: number) => Value | undefined;
  /** Input i; fails where it is left out. */
  readonly input: (i: number) => Value;
  /** Input i as a tensor of the graph; a known value becomes a constant (floats f32, integers i32, bool). */
  readonly tensor: (i: number) => Tensor;
  readonly optionalTensor: (i: number) => Tensor | undefined;
  /** Input i as f32, cast where it is not. */
  readonly float: (i: number) => Tensor;
  /** Input i as a value that must be known; `what` names it in the error (`axes`, `the shape`). */
  readonly known: (i: number, what: string) => Known;
  readonly optionalKnown: (i: number, what: string) => Known | undefined;
  /** The integers of a known input. */
  readonly integers: (i: number, what: string) => number[];
  readonly optionalIntegers: (i: number, what: string) => number[] | undefined;
  /** The one number of a known input. */
  readonly scalar: (i: number, what: string) => number;
  readonly optionalScalar: (i: number, what: string) => number | undefined;
  readonly integer: (i: number, what: string) => number;
  readonly optionalInteger: (i: number, what: string) => number | undefined;

  /** Attributes by kind; without a default a missing one fails. */
  readonly int: (name: string, whenMissing?: number) => number;
  readonly floatAttr: (name: string, whenMissing?: number) => number;
  readonly string: (name: string, whenMissing?: string) => string;
  readonly ints: (name: string, whenMissing?: readonly number[]) => readonly number[];
  readonly floats: (name: string, whenMissing?: readonly number[]) => readonly number[];
  readonly strings: (name: string, whenMissing?: readonly string[]) => readonly string[];
  readonly tensorAttr: (name: string) => OnnxTensor;
  readonly graphAttr: (name: string) => OnnxGraph;
  readonly has: (attribute: string) => boolean;

  /** The value of this name where the node stands: for attributes that name values instead of taking inputs. */
  readonly valueOf: (name: string) => Value;
  /** A known value as a tensor of the graph. */
  readonly lift: (value: Value) => Tensor;
  /** Element type that the ONNX file gives input i (INT64 and INT8 are both i32 in the graph). */
  readonly dtypeOf: (i: number) => OnnxDType;
  /** Axis of the batch in a tensor, where one is known. */
  readonly batchAxisOf: (tensor: Tensor) => number | null;

  /** What this version cannot do (an attribute's value, a dtype): collected, and reported for all nodes at once. */
  readonly unsupported: (what: string) => never;
  /** What the file does wrong. */
  readonly invalid: (what: string) => never;
}

/** Outputs in the node's order; undefined where an output is not made. */
export type OperatorRule = (context: OperatorContext) => readonly (Value | undefined)[];

/** Rules by ONNX operator type. */
export type OperatorTable = Readonly<Record<string, OperatorRule>>;

/** The domain of functions that stand for ops which ONNX has no operator for. */
export const ownDomain = 'partita';

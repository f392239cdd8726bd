import type { DType, Shape, TensorType } from '../core/types.ts';
import type { Tensor } from './graph.ts';

/** Attributes of a node: plain JSON, compared by value. */
export type Attrs = { readonly [key: string]: AttrValue };
export type AttrValue = number | string | boolean | null | readonly AttrValue[] | { readonly [key: string]: AttrValue };

/** A tensor of the f64 reference: bool as 0/1, i32 as exact integers. */
export interface RefTensor {
  readonly type: TensorType;
  readonly data: Float64Array;
}

/** What a gradient rule sees. `grads[i]` is the cotangent of output i, undefined where nothing depends on it. */
export interface GradientContext<A extends Attrs = Attrs> {
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
  readonly attrs: A;
  readonly grads: readonly (Tensor | undefined)[];
  /** Whether the gradient of input i is wanted at all: rules skip the rest. */
  readonly needs: (input: number) => boolean;
}

/** One cotangent an input, undefined where the input gets none (integer, or the derivative is zero everywhere). */
export type InputGradients = readonly (Tensor | undefined)[];

/**
 * How an op is differentiated. "Not differentiable" is a value, not an absence.
 * - `rule`: cotangents built from ordinary ops, so that they can be differentiated again.
 * - `zero`: the derivative is zero almost everywhere; no input gets a cotangent, and what lies before gets none this way.
 * - `none`: to differentiate it is an error; the user's, who can do what `remedy` says, where there is one.
 * - `decompose`: the op is a fused form of the graph that `build` makes; autodiff differentiates that graph instead.
 */
export type GradientRule<A extends Attrs = Attrs> =
  | { readonly kind: 'rule'; readonly rule: (context: GradientContext<A>) => InputGradients }
  | {
      readonly kind: 'decompose';
      readonly build: (inputs: readonly Tensor[], attrs: A) => readonly (Tensor | undefined)[];
    }
  | { readonly kind: 'zero'; readonly why: string }
  | { readonly kind: 'none'; readonly why: string; readonly remedy?: string };

/** FLOPs by the usual convention: a multiply-add counts two. Bytes: read + written once, the roofline's traffic. */
export interface Cost {
  readonly flops: number;
  readonly bytes: number;
}

/** How a sample's input is filled: conformance tests draw it from a seeded generator. */
export interface SampleInput {
  readonly shape: Shape;
  /** default f32 */
  readonly dtype?: DType;
  /** Range of the uniform draw, default [-1, 1]; i32 draws integers of [low, high). */
  readonly low?: number;
  readonly high?: number;
  /** Fixed values instead of a draw (ties, special values, indices). */
  readonly values?: readonly number[];
  /** Least distance between any two values and of any value from `awayFrom`: keeps samples off kinks and ties. */
  readonly distinct?: number;
  readonly awayFrom?: readonly number[];
}

export interface Sample<A extends Attrs = Attrs> {
  readonly name?: string;
  readonly inputs: readonly SampleInput[];
  readonly attrs: A;
  /** Inputs whose gradient is checked numerically; default all f32 inputs of a differentiable op. */
  readonly gradientOf?: readonly number[];
  /** Smallest norm the checked gradient must have: proves that the check can fail. Default 1e-3. */
  readonly gradientFloor?: number;
  /** Where set, only this op's outputs listed here get a cotangent (e.g. saved statistics are never differentiated). */
  readonly differentiateOutputs?: readonly number[];
  /** Largest error of the f32 backends: |a − r| ≤ atol + rtol·|r|; defaults 1e-6, 1e-5. */
  readonly atol?: number;
  readonly rtol?: number;
}

/** Inputs that the type rule must refuse, with a text that its message must contain. */
export interface BadSample<A extends Attrs = Attrs> {
  readonly inputs: readonly TensorType[];
  readonly attrs: A;
  readonly message: string;
}

/** Everything Partita knows of an op, in one place. Its kernels are named in `lower/`. */
export interface OpRecord<A extends Attrs = Attrs> {
  readonly name: string;
  /** Formula, shapes and source (ONNX operator, PyTorch function). */
  readonly doc: string;
  /** Output types from input types; throws `TypeRuleError` with what is wrong. */
  readonly infer: (inputs: readonly TensorType[], attrs: A) => readonly TensorType[];
  /** Values in f64: the truth that every backend is held to. Throws `OpValueError` where the inputs' values have none. */
  readonly reference: (
    inputs: readonly RefTensor[],
    attrs: A,
    outputs: readonly TensorType[],
  ) => readonly Float64Array[];
  readonly gradient: GradientRule<A>;
  readonly cost: (inputs: readonly TensorType[], outputs: readonly TensorType[], attrs: A) => Cost;
  readonly samples: readonly Sample<A>[];
  readonly badSamples: readonly BadSample<A>[];
  /** Output 0 is input 0's bytes under another shape: no kernel runs, no memory is taken. */
  readonly alias?: true;
  /**
   * Runs at every microbatch, in their order, and its one output exists once a step: the way from the microbatch region to
   * the step region. `reference` gives the value behind the first microbatch, `next` behind a later one, from the value
   * before it. The last input is what each microbatch adds.
   * `associative`: it is the only one and of the output's kind, so that `next` adds parts to each other too, and they may be
   * combined pairwise, in any tree; what is not follows the microbatches one by one.
   */
  readonly accumulates?: {
    readonly next: (previous: Float64Array, inputs: readonly RefTensor[], attrs: A) => Float64Array;
    readonly associative?: true;
  };
  /** Pairs [output, input] that must share memory: state updated in place. */
  readonly inPlace?: readonly (readonly [output: number, input: number])[];
}

/** Thrown by type rules with the bare reason; the graph adds op, shapes and the caller's line. */
export class TypeRuleError extends Error {}

/** Thrown by references for values that the op has no result for, such as an index outside its axis; the graph adds the node. */
export class OpValueError extends Error {}

/** Fails a type rule unless `condition` holds. */
export function require(condition: unknown, reason: string): asserts condition {
  if (!condition) throw new TypeRuleError(reason);
}

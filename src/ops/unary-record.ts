/** What the records of functions of one tensor, and of the slopes that differentiate them, have in common. */
import { elementCount, formatType, sameShape, type TensorType } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import {
  type Attrs,
  type BadSample,
  type OpRecord,
  require,
  type Sample,
  type SampleInput,
} from '../graph/op-record.ts';
import { elementwiseBytes } from './cost.ts';
import { defineOp } from './define.ts';

interface CommonSpec<A extends Attrs> {
  readonly name: string;
  readonly doc: string;
  /** Attributes of the common samples; default none. */
  readonly attrs?: A;
  /** Fails the type rule (`require`) where the attributes do not suit x. */
  readonly check?: (attrs: A, x: TensorType) => void;
  readonly flops?: number;
  /** Range of the samples' values. */
  readonly range?: Partial<SampleInput>;
  readonly more?: readonly Sample<A>[];
  readonly bad?: readonly BadSample<A>[];
}

interface UnarySpec<A extends Attrs> extends CommonSpec<A> {
  readonly f: (x: number, attrs: A) => number;
  /** Where i32 is taken too: the same function of an integer, to be wrapped modulo 2^32. */
  readonly integers?: (x: number, attrs: A) => number;
  /** dx from x, y and dy; a text: the derivative is zero almost everywhere, and why. */
  readonly gradient: ((x: Tensor, y: Tensor, dy: Tensor, attrs: A) => Tensor) | string;
  /** Value of the scalar sample, where a draw will not do. */
  readonly scalar?: number;
}

/** A record of y = f(x), element by element. */
export function unary<A extends Attrs = Attrs>(spec: UnarySpec<A>): OpRecord<A> {
  const { f, integers, gradient } = spec;
  const attrs = spec.attrs ?? ({} as A);
  return defineOp<A>({
    name: spec.name,
    doc: `${spec.doc} ${integers ? 'f32 or i32 (modulo 2³²)' : 'f32'} of any shape.`,
    infer: ([x], given) => {
      require(x, 'takes one tensor');
      require(x.dtype === 'f32' ||
        (integers && x.dtype === 'i32'), `x must be f32${integers ? ' or i32' : ''}, not ${x.dtype}`);
      spec.check?.(given, x);
      return [x];
    },
    reference: ([x], given) => [
      integers && x!.type.dtype === 'i32'
        ? x!.data.map((v) => integers(v, given) | 0)
        : x!.data.map((v) => f(v, given)),
    ],
    gradient:
      typeof gradient === 'string'
        ? { kind: 'zero', why: gradient }
        : {
            kind: 'rule',
            rule: ({ inputs, outputs, attrs: given, grads }) => [gradient(inputs[0]!, outputs[0]!, grads[0]!, given)],
          },
    cost: (inputs, outputs) => ({
      flops: (spec.flops ?? 1) * elementCount(outputs[0]!.shape),
      bytes: elementwiseBytes(inputs, outputs),
    }),
    samples: [
      { name: 'odd size', inputs: [{ shape: [3, 7], low: -2, high: 2, ...spec.range }], attrs },
      {
        name: 'scalar',
        inputs: [spec.scalar === undefined ? { shape: [], ...spec.range } : { shape: [], values: [spec.scalar] }],
        attrs,
      },
      ...(spec.more ?? []),
    ],
    badSamples: [
      integers
        ? { inputs: [{ dtype: 'bool', shape: [2] }], attrs, message: 'x must be f32 or i32, not bool' }
        : { inputs: [{ dtype: 'i32', shape: [2] }], attrs, message: 'x must be f32, not i32' },
      ...(spec.bad ?? []),
    ],
  });
}

interface SlopeSpec<A extends Attrs> extends CommonSpec<A> {
  /** dx from the saved value and dy */
  readonly f: (saved: number, dy: number, attrs: A) => number;
  /** Cotangent of the saved value: g·dy·(∂f′/∂saved); undefined where f′ is constant almost everywhere. */
  readonly second: ((saved: Tensor, dy: Tensor, g: Tensor, attrs: A) => Tensor) | undefined;
  /** The same op on another cotangent: it is linear in dy. */
  readonly again: (saved: Tensor, g: Tensor, attrs: A) => Tensor;
}

/** A record of dx = dy·f′, with f′ from a saved value of the same shape. */
export function slope<A extends Attrs = Attrs>(spec: SlopeSpec<A>): OpRecord<A> {
  const attrs = spec.attrs ?? ({} as A);
  return defineOp<A>({
    name: spec.name,
    doc: `${spec.doc} Both inputs and the output: f32, one shape.`,
    infer: ([saved, dy], given) => {
      require(saved && dy, 'takes two tensors');
      for (const t of [saved, dy]) require(t.dtype === 'f32', `operands must be f32, not ${t.dtype}`);
      require(sameShape(saved.shape, dy.shape), `needs equal shapes, got ${formatType(saved)} and ${formatType(dy)}`);
      spec.check?.(given, saved);
      return [dy];
    },
    reference: ([saved, dy], given) => [dy!.data.map((d, i) => spec.f(saved!.data[i]!, d, given))],
    gradient: {
      kind: 'rule',
      rule: ({ inputs, attrs: given, grads, needs }) => {
        const [saved, dy] = inputs as [Tensor, Tensor];
        const g = grads[0]!;
        return [
          needs(0) ? spec.second?.(saved, dy, g, given) : undefined,
          needs(1) ? spec.again(saved, g, given) : undefined,
        ];
      },
    },
    cost: (inputs, outputs) => ({
      flops: (spec.flops ?? 1) * elementCount(outputs[0]!.shape),
      bytes: elementwiseBytes(inputs, outputs),
    }),
    samples: [
      {
        name: 'odd size',
        inputs: [{ shape: [3, 7], ...spec.range }, { shape: [3, 7] }],
        attrs,
        ...(spec.second ? {} : { gradientOf: [1] }),
      },
      ...(spec.more ?? []),
    ],
    badSamples: [
      {
        inputs: [
          { dtype: 'f32', shape: [2, 3] },
          { dtype: 'f32', shape: [3] },
        ],
        attrs,
        message: 'needs equal shapes, got f32[2, 3] and f32[3]',
      },
      ...(spec.bad ?? []),
    ],
  });
}

/** Keeps samples off a kink. */
export const awayFrom = (...kinks: number[]): Partial<SampleInput> => ({ awayFrom: kinks, distinct: 0.02 });

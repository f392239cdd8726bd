import { elementCount, formatShape, sameShape, type TensorType } from '../core/types.ts';
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

/**
 * The update of one parameter and its optimizer state, in place: each output takes the memory of its input. Formulas are
 * PyTorch's torch.optim, operation by operation.
 *
 *     inputs   w, g, state …, hyper [, factor]        outputs   w', state' …
 *
 * What changes from step to step (rate, momentum, bias corrections) arrives in `hyper`, so that a step's program never
 * changes. The gradient is multiplied by `factor` (f32 [], norm clipping) as it is read: a clipped gradient takes no memory
 * of its own, and weight decay comes on top of it.
 */
interface UpdateSpec<A extends Attrs> {
  readonly name: string;
  readonly doc: string;
  /** Names of the state tensors, in the order of inputs and outputs. */
  readonly state: (attrs: A) => readonly string[];
  /** What `hyper` holds. */
  readonly hyper: (attrs: A) => readonly string[];
  /** Requires legal attributes. */
  readonly check: (attrs: A) => void;
  /** One element: [w', state' …]. `g` is the clipped gradient. */
  readonly element: (
    w: number,
    g: number,
    state: readonly number[],
    hyper: readonly number[],
    attrs: A,
  ) => readonly number[];
  /** FLOPs an element, clipping aside. */
  readonly flops: (attrs: A) => number;
  /** Range of a state tensor's draw in the samples. */
  readonly range: (state: string) => Partial<SampleInput>;
  readonly samples: readonly UpdateSample<A>[];
  readonly badAttrs: readonly { readonly attrs: A; readonly message: string }[];
}

interface UpdateSample<A> {
  readonly name: string;
  readonly attrs: A;
  readonly hyper: readonly number[];
  /** Norm clipping's factor; left out where nothing is clipped. */
  readonly factor?: number;
}

/** Most state tensors of any optimizer (RMSprop centered with momentum): in-place pairs that a node lacks do not apply. */
const mostState = 3;

export function updateOp<A extends Attrs>(spec: UpdateSpec<A>): OpRecord<A> {
  return defineOp<A>({
    name: spec.name,
    doc: spec.doc,
    infer: (inputs, attrs) => {
      spec.check(attrs);
      requireInputs(inputs, ['w', 'g', ...spec.state(attrs)], spec.hyper(attrs));
      return [inputs[0]!, ...stateTypes(spec, attrs, inputs[0]!)];
    },
    reference: (inputs, attrs) => {
      const states = spec.state(attrs).length;
      const [w, g, ...rest] = inputs.map((t) => t.data) as [Float64Array, Float64Array, ...Float64Array[]];
      const hyper = [...rest[states]!];
      const factor = rest[states + 1]?.[0] ?? 1;
      const outputs = [w, ...rest.slice(0, states)].map((t) => new Float64Array(t.length));
      for (let i = 0; i < w.length; i++) {
        const state = rest.slice(0, states).map((s) => s[i]!);
        const updated = spec.element(w[i]!, factor * g[i]!, state, hyper, attrs);
        for (const [k, output] of outputs.entries()) output[i] = updated[k]!;
      }
      return outputs;
    },
    gradient: {
      kind: 'none',
      why: 'updates run after the gradients; differentiating through training steps is not supported',
    },
    cost: (inputs, outputs, attrs) => ({
      flops: elementCount(inputs[0]!.shape) * (spec.flops(attrs) + (hasFactor(inputs, spec.state(attrs)) ? 1 : 0)),
      bytes: elementwiseBytes(inputs, outputs),
    }),
    inPlace: [[0, 0], ...Array.from({ length: mostState }, (_, i) => [i + 1, i + 2] as const)],
    samples: spec.samples.map((sample) => sampleOf(spec, sample)),
    badSamples: badSamplesOf(spec),
  });
}

const stateTypes = <A extends Attrs>(spec: UpdateSpec<A>, attrs: A, weight: TensorType): TensorType[] =>
  spec.state(attrs).map(() => weight);

/** Inputs that are the named ones of the weight's shape, then what `hyper` holds, then perhaps a factor. */
function requireInputs(inputs: readonly TensorType[], names: readonly string[], hyper: readonly string[]): void {
  const [least, most] = [names.length + 1, names.length + 2];
  require(inputs.length === least ||
    inputs.length ===
      most, `takes ${[...names, 'hyper'].join(', ')} [, factor]: ${least} or ${most} inputs, got ${inputs.length}`);
  for (const t of inputs) require(t.dtype === 'f32', `takes f32, got ${t.dtype}`);
  const weight = inputs[0]!.shape;
  names.forEach((name, i) => {
    const { shape } = inputs[i]!;
    require(sameShape(
      shape,
      weight,
    ), `${name} must have the weight's shape ${formatShape(weight)}, got ${formatShape(shape)}`);
  });
  const { shape } = inputs[names.length]!;
  require(sameShape(shape, [
    hyper.length,
  ]), `hyper must hold [${hyper.join(', ')}], got the shape ${formatShape(shape)}`);
  const factor = inputs[names.length + 1];
  if (factor) require(factor.shape.length === 0, `factor must be a scalar, got ${formatShape(factor.shape)}`);
}

function sampleOf<A extends Attrs>(spec: UpdateSpec<A>, { name, attrs, hyper, factor }: UpdateSample<A>): Sample<A> {
  const shape = [3, 5];
  return {
    name,
    inputs: [
      { shape },
      // Where all gradients were 0, a gradient over its own root mean square has a jump.
      { shape, awayFrom: [0], distinct: 0.01 },
      ...spec.state(attrs).map((state) => ({ shape, ...spec.range(state) })),
      { shape: [hyper.length], values: hyper },
      ...(factor === undefined ? [] : [{ shape: [], values: [factor] }]),
    ],
    attrs,
  };
}

function badSamplesOf<A extends Attrs>(spec: UpdateSpec<A>): BadSample<A>[] {
  const w: TensorType = { dtype: 'f32', shape: [4] };
  const attrs = spec.samples[0]!.attrs;
  const states = stateTypes(spec, attrs, w);
  const hyperType = (of: A, more = 0): TensorType => ({ dtype: 'f32', shape: [spec.hyper(of).length + more] });
  return [
    { inputs: [w], attrs, message: 'takes w, g' },
    {
      inputs: [w, { dtype: 'f32', shape: [5] }, ...states, hyperType(attrs)],
      attrs,
      message: "g must have the weight's shape [4], got [5]",
    },
    { inputs: [w, w, ...states, hyperType(attrs, 7)], attrs, message: 'hyper must hold [lr' },
    { inputs: [w, w, ...states, hyperType(attrs), w], attrs, message: 'factor must be a scalar, got [4]' },
    ...spec.badAttrs.map(({ attrs: bad, message }) => ({
      inputs: [w, w, ...stateTypes(spec, bad, w), hyperType(bad)],
      attrs: bad,
      message,
    })),
  ];
}

/** Whether a node of an update op clips its gradient. */
export const hasFactor = (inputs: readonly TensorType[], state: readonly string[]): boolean =>
  inputs.length === state.length + 4;

/** What an update reads besides the parameter, its gradient and its state. */
export interface UpdateScalars {
  readonly hyper: Tensor;
  /** Norm clipping's factor; undefined: nothing is clipped. */
  readonly factor?: Tensor;
}

/** Appends one update. Returns [w', ...state']. */
export const update = <A extends Attrs>(
  op: OpRecord<A>,
  w: Tensor,
  g: Tensor,
  state: readonly Tensor[],
  { hyper, factor }: UpdateScalars,
  attrs: A,
): readonly Tensor[] => w.graph.add(op, [w, g, ...state, hyper, ...(factor ? [factor] : [])], attrs);

export const requireFraction = (name: string, value: number): void =>
  require(value >= 0 && value < 1, `${name} must lie in [0, 1), got ${value}`);
export const requireNonNegative = (name: string, value: number): void =>
  require(value >= 0, `${name} must not be negative, got ${value}`);

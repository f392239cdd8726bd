import { hashName, philox4x32 } from '../core/random.ts';
import { elementCount, formatShape, type Shape, sameShape, type TensorType } from '../core/types.ts';
import type { Graph, Tensor } from '../graph/graph.ts';
import { type BadSample, type OpRecord, type RefTensor, require, type Sample } from '../graph/op-record.ts';
import { normalAxis } from './axes.ts';
import { mul } from './binary.ts';
import { elementwiseBytes } from './cost.ts';
import { defineOp } from './define.ts';

/**
 * Dropout (Srivastava et al., 2014) with a mask that is a function and not a state. Whether an element is kept depends on
 *
 *     the seed and the step        `key`, i32 [4], fed: seed low, seed high, step, 0
 *     the node                     `stream`, the hash of its name
 *     the sample                   `samples`, i32 [N], fed: its place in the whole batch
 *     its place inside the sample
 *
 * and on nothing else: it is the same for every partition, number of microbatches, schedule and recomputation, and the
 * gradient draws it again instead of keeping it.
 *
 *     (a, b, c, d) = philox(counter = key, key = stream)                          once a step and node
 *     words        = philox(counter = (place / 4, sample, c, d), key = (a, b))    four elements
 *     kept         = words[place mod 4] ≥ ratio·2³²
 */
export type DropoutAttrs = {
  /** Probability that an element is dropped, in [0, 1). */
  readonly ratio: number;
  /** Two words of 32 bits. */
  readonly stream: readonly number[];
  /**
   * The axis of the samples: its size is a multiple k of their number, and each owns k consecutive entries (a reshape may
   * have joined batch and time). null: one sample owns all of x.
   */
  readonly axis: number | null;
};
type MaskAttrs = DropoutAttrs & { readonly shape: readonly number[] };

/** x seen as [outer, samples, run]: element i of sample s's run in row o has the place o·run + i in the sample. */
export function dropoutLayout(x: Shape, axis: number | null, samples: number): { outer: number; run: number } {
  if (axis === null) return { outer: 1, run: elementCount(x) };
  const outer = elementCount(x.slice(0, axis));
  return { outer, run: elementCount(x) / outer / samples };
}

/** Words below it are dropped. */
export const dropoutThreshold = (ratio: number): number => Math.floor(ratio * 2 ** 32);

export function requireDropout(
  x: Shape,
  samples: TensorType,
  key: TensorType,
  { ratio, stream, axis }: DropoutAttrs,
): void {
  require(samples.dtype === 'i32' &&
    samples.shape.length === 1, `samples must be i32 [N], got ${samples.dtype}${formatShape(samples.shape)}`);
  require(key.dtype === 'i32' &&
    sameShape(key.shape, [4]), `the key must be i32 [4], got ${key.dtype}${formatShape(key.shape)}`);
  require(ratio >= 0 && ratio < 1, `ratio must lie in [0, 1), got ${ratio}`);
  const isWord = (n: number): boolean => Number.isInteger(n) && n >= 0 && n < 2 ** 32;
  require(stream.length === 2 && stream.every(isWord), `stream must be two words of 32 bits, got [${stream}]`);
  const n = samples.shape[0]!;
  if (axis === null) {
    require(n === 1, `without an axis one sample owns all of x, got ${n} samples`);
    return;
  }
  const rank = x.length;
  require(Number.isInteger(axis) &&
    axis >= 0 &&
    axis < rank, `axis ${axis < 0 ? axis - rank : axis} is out of range for rank ${rank}`);
  require(x[axis]! % n === 0, `axis ${axis} of size ${x[axis]} does not hold ${n} samples of equal size`);
}

/** 1 where an element of an x of that shape is kept. */
export function dropoutMaskValues(
  shape: Shape,
  samples: RefTensor,
  key: RefTensor,
  { ratio, stream, axis }: DropoutAttrs,
): Float64Array {
  const n = samples.data.length;
  const { outer, run } = dropoutLayout(shape, axis, n);
  const threshold = dropoutThreshold(ratio);
  const [k0, k1, k2, k3] = key.data as unknown as [number, number, number, number];
  const [a, b, c, d] = philox4x32([k0, k1, k2, k3], stream as [number, number]) as unknown as [
    number,
    number,
    number,
    number,
  ];
  const mask = new Float64Array(outer * n * run);
  const words = new Uint32Array(4);
  for (let at = 0; at < mask.length; at++) {
    const row = Math.floor(at / run);
    const place = Math.floor(row / n) * run + (at % run);
    // Neighbours share a block; the first element of a run may stand in the middle of one.
    if (at % run === 0 || place % 4 === 0) {
      philox4x32([Math.floor(place / 4), samples.data[row % n]!, c, d], [a, b], words);
    }
    mask[at] = words[place % 4]! >= threshold ? 1 : 0;
  }
  return mask;
}

/** Ten rounds of two multiplications and four exclusive ors make four words. */
export const flopsPerDraw = 20;

const sampleStream = hashName('sample');
const seed = { shape: [4], dtype: 'i32' as const, values: [7, 0, 3, 0] };
const half = (axis: number | null): DropoutAttrs => ({ ratio: 0.5, stream: sampleStream, axis });

const cases: readonly { name: string; shape: number[]; samples: number[]; attrs: DropoutAttrs; key?: number[] }[] = [
  { name: 'rows', shape: [3, 7], samples: [0, 1, 2], attrs: half(0) },
  { name: 'later samples of the batch', shape: [2, 5, 9], samples: [1000, 70000], attrs: { ...half(0), ratio: 0.25 } },
  { name: 'several entries a sample', shape: [6, 5], samples: [4, 9], attrs: half(0) },
  { name: 'second axis', shape: [3, 4, 5], samples: [5, 6, 7, 8], attrs: half(1) },
  { name: 'last axis', shape: [7, 2], samples: [5, 3], attrs: half(1) },
  { name: 'not batched', shape: [5, 21], samples: [0], attrs: half(null) },
  { name: 'nothing dropped', shape: [2, 3], samples: [0, 1], attrs: { ...half(0), ratio: 0 } },
  { name: 'large words', shape: [1, 33], samples: [2 ** 31 - 1], attrs: half(0), key: [-1, 2 ** 21 - 1, 10 ** 9, 0] },
];

const drawnFrom = (samples: number[], key = seed.values) => [
  { shape: [samples.length], dtype: 'i32' as const, values: samples },
  { ...seed, values: key },
];

const bad = (message: string, x: Shape, samples: Shape, attrs: DropoutAttrs, key: Shape = [4]) => ({
  message,
  x,
  inputs: [samples, key].map((shape): TensorType => ({ dtype: 'i32', shape })),
  attrs,
});
const badCases = [
  bad('ratio must lie in [0, 1), got 1', [2, 3], [2], { ...half(0), ratio: 1 }),
  bad('axis 0 of size 3 does not hold 2 samples', [3, 4], [2], half(0)),
  bad('axis 2 is out of range for rank 2', [3, 4], [3], half(2)),
  bad('one sample owns all of x, got 3 samples', [3, 4], [3], half(null)),
  bad('the key must be i32 [4], got i32[2]', [3, 4], [3], half(0), [2]),
  bad('samples must be i32 [N], got i32[3, 1]', [3, 4], [3, 1], half(0)),
  bad('stream must be two words', [3, 4], [3], { ...half(0), stream: [1, -1] }),
];

export const dropoutOp: OpRecord<DropoutAttrs> = defineOp<DropoutAttrs>({
  name: 'dropout',
  doc: 'y = x·mask / (1 − ratio), each element of the mask 0 with probability `ratio`, by seed, step, node, sample and place in the sample alone (ONNX Dropout in training, PyTorch dropout). x f32 of any shape, samples i32 [N], key i32 [4].',
  infer: (inputs, attrs) => {
    require(inputs.length === 3, `takes x, samples and key, got ${inputs.length} inputs`);
    const [x, samples, key] = inputs as [TensorType, TensorType, TensorType];
    require(x.dtype === 'f32', `x must be f32, got ${x.dtype}`);
    requireDropout(x.shape, samples, key, attrs);
    return [x];
  },
  reference: ([x, samples, key], attrs) => {
    const factor = 1 / (1 - attrs.ratio);
    return [dropoutMaskValues(x!.type.shape, samples!, key!, attrs).map((kept, i) => x!.data[i]! * (kept * factor))];
  },
  gradient: {
    kind: 'rule',
    rule: ({ inputs, attrs, grads }) => [
      grads[0]!.graph.add(dropoutOp, [grads[0]!, inputs[1]!, inputs[2]!], attrs)[0]!,
      undefined,
      undefined,
    ],
  },
  cost: (inputs, outputs) => ({
    flops: flopsPerDraw * elementCount(outputs[0]!.shape),
    bytes: elementwiseBytes(inputs, outputs),
  }),
  samples: [
    ...cases.map(
      ({ name, shape, samples, attrs, key }): Sample<DropoutAttrs> => ({
        name,
        inputs: [{ shape }, ...drawnFrom(samples, key)],
        attrs,
      }),
    ),
    {
      name: 'special values',
      inputs: [
        {
          shape: [2, 6],
          values: [NaN, NaN, Infinity, -Infinity, Infinity, NaN, NaN, -Infinity, Infinity, 0, -0, 1e-40],
        },
        ...drawnFrom([0, 1]),
      ],
      attrs: half(0),
      gradientOf: [],
    },
  ],
  badSamples: [
    ...badCases.map(({ message, x, inputs, attrs }) => ({
      inputs: [{ dtype: 'f32' as const, shape: x }, ...inputs],
      attrs,
      message,
    })),
    {
      inputs: [
        { dtype: 'i32', shape: [3] },
        { dtype: 'i32', shape: [3] },
        { dtype: 'i32', shape: [4] },
      ],
      attrs: half(0),
      message: 'x must be f32, got i32',
    },
  ],
});

export const dropoutMaskOp = defineOp<MaskAttrs>({
  name: 'dropoutMask',
  doc: 'The mask of dropout of an x of the given `shape`: true where an element is kept (the second output of ONNX Dropout). samples i32 [N], key i32 [4].',
  infer: (inputs, attrs) => {
    require(inputs.length === 2, `takes samples and key, got ${inputs.length} inputs`);
    const { shape } = attrs;
    require(shape.every(
      (d) => Number.isInteger(d) && d > 0,
    ), `shape ${formatShape(shape)} must hold positive integers`);
    requireDropout(shape, inputs[0]!, inputs[1]!, attrs);
    return [{ dtype: 'bool', shape }];
  },
  reference: ([samples, key], attrs) => [dropoutMaskValues(attrs.shape, samples!, key!, attrs)],
  gradient: { kind: 'none', why: 'it draws random booleans from integers' },
  cost: (inputs, outputs) => ({
    flops: flopsPerDraw * elementCount(outputs[0]!.shape),
    bytes: elementwiseBytes(inputs, outputs),
  }),
  samples: cases.map(({ name, shape, samples, attrs, key }) => ({
    name,
    inputs: drawnFrom(samples, key),
    attrs: { ...attrs, shape },
  })),
  badSamples: [
    ...badCases.map(
      ({ message, x, inputs, attrs }): BadSample<MaskAttrs> => ({ inputs, attrs: { ...attrs, shape: x }, message }),
    ),
    {
      inputs: [
        { dtype: 'i32', shape: [1] },
        { dtype: 'i32', shape: [4] },
      ],
      attrs: { ...half(null), shape: [0] },
      message: 'must hold positive integers',
    },
  ],
});

export interface DropoutOptions {
  /** Probability that an element is dropped; default 0.5. */
  readonly ratio?: number;
  /** The batch's axis in x, default 0; null where x is not batched, and the mask is the same for every microbatch. */
  readonly axis?: number | null;
  /** Samples in the chunk, where it is not the size of the axis: of an axis that joins the batch with another. */
  readonly samples?: number;
  /** Name of the node, from which the mask's stream follows; default `dropout`. */
  readonly name?: string;
}

/** What a node of this name draws from for an x of that shape, and how. */
export function dropoutDraw(
  graph: Graph,
  shape: Shape,
  { ratio = 0.5, axis = 0, samples, name = 'dropout' }: DropoutOptions,
) {
  const at = axis === null ? null : normalAxis(axis, shape.length);
  // Not batched: one sample, the same in every microbatch.
  const owners =
    at === null
      ? graph.constant({ type: { dtype: 'i32', shape: [1] }, data: Int32Array.of(0) }, 'sample')
      : graph.sampleIndices(samples ?? shape[at] ?? 1);
  const attrs: DropoutAttrs = { ratio, stream: hashName(graph.nextName(name)), axis: at };
  return { name, attrs, inputs: [owners, graph.randomKey()] };
}

/**
 * x with elements dropped at random and the others scaled by 1 / (1 − ratio), as PyTorch's `dropout` in training. The
 * mask depends on seed, step, node, sample and place alone: not on how the batch is cut, nor where it runs.
 */
export function dropout(x: Tensor, options: DropoutOptions = {}): Tensor {
  return dropoutWithMask(x, { ...options, mask: false }).y;
}

/** `dropout`, and where `mask` is asked for the bool tensor of what was kept. */
export function dropoutWithMask(
  x: Tensor,
  { mask = true, ...options }: DropoutOptions & { readonly mask?: boolean } = {},
): { readonly y: Tensor; readonly mask: Tensor | undefined } {
  const { graph } = x;
  const { name, attrs, inputs } = dropoutDraw(graph, x.shape, options);
  // All dropped: the limit, which the scale 1 / 0 would hide.
  if (attrs.ratio === 1) {
    const none = graph.constant({
      type: { dtype: 'bool', shape: x.shape },
      data: new Uint8Array(elementCount(x.shape)),
    });
    return { y: mul(x, 0), mask: mask ? none : undefined };
  }
  const [y] = graph.add(dropoutOp, [x, ...inputs], attrs, name);
  const kept = mask ? graph.add(dropoutMaskOp, inputs, { ...attrs, shape: x.shape }, `${name}.mask`)[0] : undefined;
  return { y: y!, mask: kept };
}

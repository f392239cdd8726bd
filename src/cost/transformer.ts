/**
 * What an iteration of a GPT-like transformer costs on accelerators, in closed form: the work of its parts by shape and
 * parallelism, and the seconds that a machine of a few fitted parameters takes for it. Tensor parallelism splits the matrices
 * of a layer (Shoeybi et al., Megatron-LM, 2019), data parallelism the batch; pipelining is not here: stages and their
 * schedule are played (`simulate/transformer-iteration.ts`).
 */

import { UsageError } from '../core/errors.ts';
import { type Names, type OptionNames, optionProblem, shown } from '../core/options.ts';

export interface TransformerShape {
  readonly hidden: number;
  readonly heads: number;
  readonly layers: number;
  readonly sequence: number;
  /** Rows of the embedding, which the head shares. */
  readonly vocabulary: number;
}

export interface Parallelism {
  readonly tensor: number;
  readonly data: number;
  readonly pipeline: number;
  /** Sequences of a microbatch. */
  readonly microbatch: number;
  /** Microbatches a replica runs in an iteration. */
  readonly microbatches: number;
}

/** One accelerator among others, by what it reaches in practice. All are positive, so that a fit can take their logarithms. */
export interface TransformerMachine {
  /** Of the layers' matrix products, as they grow large. */
  readonly flopsPerSecond: number;
  /** Elements of a layer's activations on one device at which half of that is reached. */
  readonly halfElements: number;
  /** Of what does no matrix product: normalisation, activation functions, dropout, softmax. */
  readonly bytesPerSecond: number;
  /** A layer's kernels take this long to launch, forward and backward, however small they are … */
  readonly layerSeconds: number;
  /** … and for each doubling of the tensor parallelism so much longer. */
  readonly layerSecondsPerDoubling: number;
  readonly tensorLinkBytesPerSecond: number;
  readonly headFlopsPerSecond: number;
  /** Over the logits where tensor parallelism splits the vocabulary, and where each device has all of it. */
  readonly splitLogitBytesPerSecond: number;
  readonly wholeLogitBytesPerSecond: number;
  /** Embedding, final norm and loss, a microbatch. */
  readonly headSeconds: number;
  readonly updatedParametersPerSecond: number;
  readonly dataLinkBytesPerSecond: number;
}

/** Work of one device. Numbers are 16 bits wide but for logits of 32. */
export interface TransformerWork {
  /** Forward and backward of one layer for one microbatch. */
  readonly layer: { readonly flops: number; readonly bytes: number; readonly allReduceBytes: number };
  readonly activationElements: number;
  readonly head: { readonly flops: number; readonly logitBytes: number };
  readonly layerParameters: number;
  readonly embeddingParameters: number;
  /** Bytes of an activation from stage to stage. */
  readonly boundaryBytes: number;
}

/** Seconds of the parts: forward and backward together, a microbatch; and what comes once an iteration. */
export interface TransformerTimes {
  readonly layerSeconds: number;
  readonly headSeconds: number;
  /** Gradient reduction and update of one layer. */
  readonly layerUpdateSeconds: number;
  readonly embeddingUpdateSeconds: number;
}

const halfPrecision = 2;

const shapeNames: OptionNames<TransformerShape> = {
  hidden: 'required',
  heads: 'required',
  layers: 'required',
  sequence: 'required',
  vocabulary: 'required',
};
const layoutNames: OptionNames<Parallelism> = {
  tensor: 'required',
  data: 'required',
  pipeline: 'required',
  microbatch: 'required',
  microbatches: 'required',
};

/** Throws UsageError for what is no record of whole numbers above 0 with these names. */
function requireCounts<O extends object>(what: string, counts: O, names: OptionNames<O>): void {
  const problem = optionProblem(counts, names as Names);
  const wrong = problem ? undefined : Object.entries(counts).find(([, n]) => !Number.isInteger(n) || n < 1);
  if (!problem && !wrong) return;
  const text = problem?.text ?? `${wrong![0]} must be a whole number above 0, got ${shown(wrong![1])}`;
  throw new UsageError('options-invalid', `transformer: ${what}: ${text}`, {
    fields: { function: 'transformer', where: what },
    remedy: `${what}: { ${Object.keys(names).join(', ')} }`,
  });
}

/** The work of each device. Throws UsageError for numbers that are none of a model or a layout. */
export function transformerWork(shape: TransformerShape, layout: Parallelism): TransformerWork {
  requireCounts('shape', shape, shapeNames);
  requireCounts('layout', layout, layoutNames);
  const { tensor, microbatch } = layout;
  const { hidden: h, heads, sequence: s, vocabulary } = shape;
  const tokens = microbatch * s;
  const activationElements = (tokens * h) / tensor;
  return {
    layer: {
      // 24·b·s·h² + 4·b·s²·h forward (Narayanan et al. 2021, appendix), twice that backward.
      flops: (3 * (24 * tokens * h * h + 4 * tokens * s * h)) / tensor,
      // 34·s·b·h + 5·a·s²·b bytes are written by a forward (Korthikanti et al. 2022, eq. 2); backward moves twice as many.
      bytes: (3 * (34 * tokens * h + 5 * heads * s * tokens)) / tensor,
      // Two sums forward and two backward, each 2(t − 1)/t of its bytes around a ring.
      allReduceBytes: (4 * 2 * (tensor - 1) * tokens * h * halfPrecision) / tensor,
    },
    activationElements,
    head: { flops: (3 * 2 * tokens * h * vocabulary) / tensor, logitBytes: (4 * tokens * vocabulary) / tensor },
    layerParameters: (12 * h * h) / tensor,
    embeddingParameters: (vocabulary * h) / tensor + s * h,
    boundaryBytes: tokens * h * halfPrecision,
  };
}

/** What a machine takes for that work. Throws UsageError as `transformerWork` does. */
export function transformerTimes(
  shape: TransformerShape,
  layout: Parallelism,
  machine: TransformerMachine,
): TransformerTimes {
  const work = transformerWork(shape, layout);
  const { tensor, data } = layout;
  const reached = machine.flopsPerSecond / (1 + machine.halfElements / work.activationElements);
  // Kernels are launched ahead of the device, so the slower of the two counts.
  const working =
    work.layer.flops / reached +
    work.layer.bytes / machine.bytesPerSecond +
    work.layer.allReduceBytes / machine.tensorLinkBytesPerSecond;
  const launching = machine.layerSeconds + machine.layerSecondsPerDoubling * Math.log2(tensor);
  const logits = tensor > 1 ? machine.splitLogitBytesPerSecond : machine.wholeLogitBytesPerSecond;
  const update = (parameters: number): number =>
    parameters / machine.updatedParametersPerSecond +
    ((2 * (data - 1)) / data) * ((parameters * halfPrecision) / machine.dataLinkBytesPerSecond);
  return {
    layerSeconds: Math.max(launching, working),
    headSeconds: machine.headSeconds + work.head.flops / machine.headFlopsPerSecond + work.head.logitBytes / logits,
    layerUpdateSeconds: update(work.layerParameters),
    embeddingUpdateSeconds: update(work.embeddingParameters),
  };
}

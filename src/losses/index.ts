/**
 * Losses of the whole batch, in a graph that sees only a chunk of it.
 *
 * A mean over the batch cannot be taken in a microbatch: chunks differ in size, and in how many of their targets are
 * ignored. So each loss here is the chunk's *share* — a sum, times a scalar 1 / (terms of the whole batch) that is fed at
 * every step (`inverseCount`, `inverseElements`). The shares of all microbatches add up to the loss of the whole batch,
 * and so do their gradients.
 *
 *     objective: [{ loss: losses.crossEntropy(logits, 'y'), weight: 1 }]
 */
import { GraphError } from '../core/errors.ts';
import { type OptionNames, optionProblem, shown } from '../core/options.ts';
import { elementCount, formatType, sameShape } from '../core/types.ts';
import { shownTensor, Tensor } from '../graph/graph.ts';
import { callerLine } from '../graph/source-line.ts';
import { negativeLogProbability } from '../ops/class-loss.ts';
import { add, log, maximum, mul, neg, sub } from '../ops/elementwise.ts';
import { crossEntropy as crossEntropySum } from '../ops/loss.ts';
import { sum as sumOver } from '../ops/reduce.ts';
import { reshape } from '../ops/shape.ts';
import { logSoftmax } from '../ops/softmax.ts';

/** Terms of the objective Σ weight·loss; each loss is a chunk's share, f32 []. */
export type Objective = readonly { readonly loss: Tensor; readonly weight: number }[];

export interface LossOptions {
  /** Scope of the loss's nodes; default `loss`. */
  readonly name?: string;
}

export interface BatchedLossOptions extends LossOptions {
  /** The batch's axis in the output (and its target), default 0; null where the output is not batched. */
  readonly batchAxis?: number | null;
  /** Samples in the chunk, where that axis holds more than one entry a sample (logits [batch · time, classes]). */
  readonly samples?: number;
}

export interface ClassLossOptions extends BatchedLossOptions {
  /** Targets with this value count nothing; default null, every target counts. */
  readonly ignoreIndex?: number | null;
}

const inScope = (like: Tensor, options: LossOptions, build: () => Tensor): Tensor =>
  like.graph.scope(options.name ?? 'loss', build);

const lossOptions = { name: true } as const;
const batchedOptions = { ...lossOptions, batchAxis: true, samples: true } as const;
const classOptions = { ...batchedOptions, ignoreIndex: true } as const;

/** A loss, all of it or nothing. Throws GraphError for options that it has not, and where what it is like is no tensor. */
function whole<O>(loss: string, like: Tensor, options: O, names: OptionNames<O>, build: () => Tensor): Tensor {
  if (!(like instanceof Tensor)) {
    throw new GraphError('loss-options', `${loss}: takes a tensor, got ${shownTensor(like)}${callerLine()}`, {
      fields: { loss, unknown: [] },
      remedy: `losses.${loss}(output, …) with a tensor of a graph`,
    });
  }
  const problem = optionProblem(options, names) ?? valueProblem(options as ClassLossOptions);
  if (problem === undefined) return like.graph.whole(build);
  throw new GraphError('loss-options', `${loss}(${formatType(like.type)}): ${problem.text}${callerLine()}`, {
    fields: { loss, unknown: problem.unknown },
    remedy: problem.remedy,
  });
}

/** What is wrong with the values of a loss's options; whether x has such an axis, and such samples, is not looked at here. */
function valueProblem({ name = 'loss', ignoreIndex = null }: ClassLossOptions) {
  const rules = [
    [typeof name === 'string', `name must be a string, got ${shown(name)}`, "name: 'loss'"],
    [
      ignoreIndex === null || Number.isInteger(ignoreIndex),
      `ignoreIndex must be a whole number or null, got ${shown(ignoreIndex)}`,
      'ignoreIndex: -100',
    ],
  ] as const;
  const [, text, remedy] = rules.find(([isRight]) => !isRight) ?? [];
  return text === undefined || remedy === undefined ? undefined : { text, remedy, unknown: [] };
}

/** A target is a tensor, or the name of an input. */
function requireTarget(output: Tensor, target: unknown): void {
  if (target instanceof Tensor || typeof target === 'string') return;
  throw new GraphError(
    'loss-target',
    `the target of ${output} must be a tensor, or the name of an input, got ${shownTensor(target)}${callerLine()}`,
    { fields: { output: output.name }, remedy: "the name of an input, as in losses.mse(output, 'y')" },
  );
}

/** The size of the batch's axis of x, which must be there; undefined where x is not batched. */
function requireAxis(x: Tensor, batchAxis: number | null): number | undefined {
  if (batchAxis === null) return undefined;
  const size = Number.isInteger(batchAxis) ? x.shape.at(batchAxis) : undefined;
  if (size !== undefined) return size;
  throw new GraphError('loss-batch-axis', `${x} has no axis ${shown(batchAxis)} for the batch`, {
    fields: { tensor: x.name, batchAxis },
    remedy: 'batchAxis: null for an output that is not batched',
  });
}

/** The class indices for logits […, C]: an input of the graph, or its name (made where it is not there yet). */
function classTarget(
  logits: Tensor,
  target: Tensor | string,
  { batchAxis = 0 }: BatchedLossOptions,
): { target: Tensor; name: string } {
  requireTarget(logits, target);
  if (typeof target === 'string') {
    requireAxis(logits, batchAxis);
    const axis = batchAxis !== null && batchAxis < 0 ? batchAxis + logits.rank : batchAxis;
    if (axis !== null && axis >= logits.rank - 1) {
      throw new GraphError(
        'loss-batch-axis',
        `${logits} has its classes on the last axis, and its batch on axis ${axis}`,
        {
          fields: { tensor: logits.name, batchAxis },
          remedy: 'put the classes last, and the batch before them',
        },
      );
    }
    const shape = logits.shape.slice(0, -1);
    return { target: logits.graph.input(target, { dtype: 'i32', shape, batchAxis: axis }), name: target };
  }
  const { source } = target.node;
  if (source?.kind !== 'input') {
    throw new GraphError('loss-target', `the target of a class loss must be an input of the graph, got ${target}`, {
      fields: { tensor: target.name },
      remedy: "the number of counted targets is fed by the target's name: pass graph.input(…) or a name",
    });
  }
  return { target, name: source.name };
}

/** 1 / (targets of the whole batch that count). */
function inverseCount(like: Tensor, target: string, ignoreIndex: number | null): Tensor {
  const name = ignoreIndex === null ? `scale/${target}` : `scale/${target}/ignore=${ignoreIndex}`;
  return like.graph.feed(name, { dtype: 'f32', shape: [] }, { kind: 'inverseCount', target, ignoreIndex });
}

/** 1 / (elements of `x` in the whole batch). */
function inverseElements(x: Tensor, { batchAxis = 0, ...options }: BatchedLossOptions): Tensor {
  const elements = elementCount(x.shape);
  if (batchAxis === null) return x.graph.scalar(1 / elements);
  const size = requireAxis(x, batchAxis)!;
  const { samples = size } = options;
  if (!Number.isInteger(samples) || samples < 1 || elements % samples !== 0) {
    throw new GraphError('loss-samples', `${x} does not hold ${shown(samples)} samples${callerLine()}`, {
      fields: { tensor: x.name, samples },
      remedy: 'samples: how many of the batch are in the chunk, where an axis holds several entries of each',
    });
  }
  const perSample = elements / samples;
  return x.graph.feed(
    `scale/elements/${perSample}`,
    { dtype: 'f32', shape: [] },
    { kind: 'inverseElements', perSample },
  );
}

/** An f32 target of the output's shape: a tensor, or the name of an input. */
function likeTarget(output: Tensor, target: Tensor | string, { batchAxis = 0 }: BatchedLossOptions): Tensor {
  requireTarget(output, target);
  const tensor = typeof target === 'string' ? output.graph.input(target, { shape: output.shape, batchAxis }) : target;
  if (tensor.dtype !== 'f32' || !sameShape(tensor.shape, output.shape)) {
    throw new GraphError(
      'loss-target',
      `the target must be ${formatType(output.type)} as the output is, got ${tensor}`,
      {
        fields: { output: output.name, target: tensor.name, shapes: [output.shape, tensor.shape] },
        remedy: `the name of an input, as in losses.mse(output, 'y'), or a tensor of the type ${formatType(output.type)}`,
      },
    );
  }
  return tensor;
}

/**
 * Mean of −log softmax(logits)[target] over the targets of the whole batch that are not `ignoreIndex`.
 * logits […, C], target i32 […].
 */
export const crossEntropy = (logits: Tensor, target: Tensor | string, options: ClassLossOptions = {}): Tensor =>
  whole('crossEntropy', logits, options, classOptions, () => {
    const { ignoreIndex = null } = options;
    const { target: indices, name } = classTarget(logits, target, options);
    const scale = inverseCount(logits, name, ignoreIndex);
    return inScope(logits, options, () => crossEntropySum(logits, indices, scale, { ignoreIndex }));
  });

/**
 * Mean of −logProbabilities[target] over the targets of the whole batch that are not `ignoreIndex` (PyTorch nll_loss).
 * A target that is no class makes the loss NaN.
 */
export const nll = (logProbabilities: Tensor, target: Tensor | string, options: ClassLossOptions = {}): Tensor =>
  whole('nll', logProbabilities, options, classOptions, () => {
    const { ignoreIndex = null } = options;
    const { target: indices, name } = classTarget(logProbabilities, target, options);
    const scale = inverseCount(logProbabilities, name, ignoreIndex);
    return inScope(logProbabilities, options, () =>
      mul(sumOver(negativeLogProbability(logProbabilities, indices, ignoreIndex)), scale),
    );
  });

/** Mean of (output − target)² over all elements of the whole batch. */
export const mse = (output: Tensor, target: Tensor | string, options: BatchedLossOptions = {}): Tensor =>
  whole('mse', output, options, batchedOptions, () => {
    const wanted = likeTarget(output, target, options);
    const scale = inverseElements(output, options);
    return inScope(output, options, () => {
      const difference = sub(output, wanted);
      return mul(sumOver(mul(difference, difference)), scale);
    });
  });

/** Least value of a logarithm in `bce`, as PyTorch: log 0 counts −100. */
const leastLog = -100;
/** The smallest f32 above 0: its logarithm, −103.3, is below the cut. */
const leastFloat = 2 ** -149;

/**
 * Binary cross entropy of probabilities, mean over all elements of the whole batch:
 * −(t·log p + (1 − t)·log(1 − p)), logarithms cut at −100 (where their gradient is 0).
 */
export const bce = (probabilities: Tensor, target: Tensor | string, options: BatchedLossOptions = {}): Tensor =>
  whole('bce', probabilities, options, batchedOptions, () => {
    const wanted = likeTarget(probabilities, target, options);
    const scale = inverseElements(probabilities, options);
    return inScope(probabilities, options, () => {
      const cutLog = (p: Tensor): Tensor => maximum(log(maximum(p, leastFloat)), leastLog);
      const yes = mul(wanted, cutLog(probabilities));
      const no = mul(sub(1, wanted), cutLog(sub(1, probabilities)));
      return mul(neg(sumOver(add(yes, no))), scale);
    });
  });

/** `bce` of sigmoid(logits), without its overflow: the two-class cross entropy of [x, 0] with targets [t, 1 − t]. */
export const bceWithLogits = (logits: Tensor, target: Tensor | string, options: BatchedLossOptions = {}): Tensor =>
  whole('bceWithLogits', logits, options, batchedOptions, () => {
    const wanted = likeTarget(logits, target, options);
    const scale = inverseElements(logits, options);
    return inScope(logits, options, () => {
      const { graph } = logits;
      const pair = (name: string, a: number, b: number): Tensor =>
        graph.constant({ type: { dtype: 'f32', shape: [2] }, data: Float32Array.of(a, b) }, name);
      const column = (t: Tensor): Tensor => reshape(t, [...t.shape, 1]);
      const logs = logSoftmax(mul(column(logits), pair('first', 1, 0)));
      const targets = add(mul(column(wanted), pair('slope', 1, -1)), pair('offset', 0, 1));
      return mul(neg(sumOver(mul(targets, logs))), scale);
    });
  });

/** Sum of all elements. */
export const sum = (output: Tensor, options: LossOptions = {}): Tensor =>
  whole('sum', output, options, lossOptions, () => {
    return inScope(output, options, () => sumOver(output));
  });

/** Mean of all elements of the whole batch. */
export const mean = (output: Tensor, options: BatchedLossOptions = {}): Tensor =>
  whole('mean', output, options, batchedOptions, () => {
    const scale = inverseElements(output, options);
    return inScope(output, options, () => mul(sumOver(output), scale));
  });

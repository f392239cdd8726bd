/** Lowering of softmax, normalisation, losses and updates to the WebAssembly kernels. */
import { elementCount, type Shape } from '../../core/types.ts';
import type { CrossEntropyAttrs } from '../../ops/loss.ts';
import type { AdamAttrs, SgdAttrs } from '../../ops/optimizer.ts';
import { type Arg, call, input, type LowerRule, type NodeSignature, output } from '../kernel-call.ts';

/** A pointer argument that is not there. */
const none = -1;

/** (rows, columns, inputs…, outputs…), rows being all axes of input 0 but the last. */
const byRows =
  (kernel: string): LowerRule =>
  ({ inputs, outputs }) =>
    call(kernel, ...rowsOf(inputs[0]!.shape), ...inputs.map((_, i) => input(i)), ...outputs.map((_, i) => output(i)));

function rowsOf(shape: Shape): [rows: number, columns: number] {
  const columns = shape.at(-1)!;
  return [elementCount(shape) / columns, columns];
}

/** What the loss kernels take for "no row is ignored": an index that no i32 class has. */
const ignoreNothing = -(2 ** 31);

const loss =
  (kernel: string): LowerRule =>
  ({ inputs, attrs }) =>
    call(
      kernel,
      ...rowsOf(inputs[0]!.shape),
      ...inputs.map((_, i) => input(i)),
      (attrs as CrossEntropyAttrs).ignoreIndex ?? ignoreNothing,
      output(0),
    );

/** The updates: what they write has its input's offset (`inPlace`), so that one pointer stands for both. */
const sgdUpdate: LowerRule = ({ inputs, attrs }) => {
  const { momentum, dampening, nesterov, weightDecay } = attrs as SgdAttrs;
  const buffer: Arg = momentum === 0 ? none : output(1);
  const numbers = [momentum, dampening, nesterov ? 1 : 0, weightDecay];
  return call('sgd', elementCount(inputs[0]!.shape), output(0), input(1), buffer, input(inputs.length - 1), ...numbers);
};

const adamUpdate: LowerRule = ({ inputs, attrs }) => {
  const { beta1, beta2, eps, weightDecay, decoupled, amsgrad } = attrs as AdamAttrs;
  return call(
    'adam',
    elementCount(inputs[0]!.shape),
    ...[output(0), input(1), output(1), output(2), input(inputs.length - 1)],
    // 1 − β in f64: in f32 it would lose three digits of 1 − 0.999.
    ...[beta1, beta2, 1 - beta1, 1 - beta2, eps, weightDecay],
    ...[decoupled ? 1 : 0, amsgrad ? 1 : 0],
    amsgrad ? output(3) : none,
  );
};

export const nnRules = {
  adamUpdate,
  crossEntropy: loss('crossEntropy'),
  crossEntropyGrad: loss('crossEntropyGrad'),
  layerNorm: ({ inputs, attrs }: NodeSignature) =>
    call(
      'layerNorm',
      ...rowsOf(inputs[0]!.shape),
      ...[input(0), input(1), input(2), output(0), output(1), output(2)],
      attrs.eps as number,
    ),
  layerNormInputGrad: byRows('layerNormInputGrad'),
  layerNormWeightGrad: byRows('layerNormWeightGrad'),
  logSoftmax: byRows('logSoftmax'),
  logSoftmaxGrad: byRows('logSoftmaxGrad'),
  sgdUpdate,
  softmax: byRows('softmax'),
  softmaxGrad: byRows('softmaxGrad'),
} satisfies Readonly<Record<string, LowerRule>>;

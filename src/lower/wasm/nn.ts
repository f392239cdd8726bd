/** Lowering of softmax, normalisation and losses to the WebAssembly kernels. */
import { elementCount, type Shape } from '../../core/types.ts';
import type { CrossEntropyAttrs } from '../../ops/loss.ts';
import { call, input, type LowerRule, type NodeSignature, output } from '../kernel-call.ts';

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

export const nnRules = {
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
  softmax: byRows('softmax'),
  softmaxGrad: byRows('softmaxGrad'),
} satisfies Readonly<Record<string, LowerRule>>;

/** Normalisations. Their derivatives are the graphs that the records stand for. */
import { elementCount } from '../../../core/types.ts';
import type { Tensor } from '../../../graph/graph.ts';
import { batchNormInputGradOp, batchNormWeightGradOp } from '../../../ops/batch-norm.ts';
import { add, mul, reciprocal, sqrt, sub } from '../../../ops/elementwise.ts';
import { groupNormInputGradOp, groupNormWeightGradOp } from '../../../ops/group-norm.ts';
import { layerNormInputGradOp, layerNormWeightGradOp } from '../../../ops/norm.ts';
import { channelColumn, channelsOf } from '../../../ops/norm-shapes.ts';
import { mean as meanOf } from '../../../ops/reduce.ts';
import { view } from '../../../ops/shape.ts';
import { choice, decomposed, type ExportTable, nodes, parts } from './exporter.ts';

/** Mean and biased variance over axes, which stay as 1. */
function statistics(x: Tensor, axes: readonly number[]): { deviation: Tensor; mean: Tensor; variance: Tensor } {
  const over = { axes, keepDims: true };
  const mean = meanOf(x, over);
  const deviation = sub(x, mean);
  return { deviation, mean, variance: meanOf(mul(deviation, deviation), over) };
}

const rootOf = (variance: Tensor, eps: number): Tensor => reciprocal(sqrt(add(variance, eps)));

export const normExporters = {
  batchNorm: parts(([x, gamma, beta], { eps }) => {
    const { deviation, mean, variance } = statistics(channelsOf(x!), [0, 2]);
    const slope = mul(rootOf(variance, eps), channelColumn(gamma!));
    const y = add(mul(deviation, slope), channelColumn(beta!));
    return [view(y, x!.shape), view(mean, gamma!.shape), view(variance, gamma!.shape)];
  }),
  batchNormInference: nodes(({ emit, inputs }, { eps }) => [
    emit('BatchNormalization', inputs, { epsilon: { float: eps } }),
  ]),
  batchNormInputGrad: decomposed(batchNormInputGradOp),
  batchNormWeightGrad: decomposed(batchNormWeightGradOp),
  groupNorm: choice(({ inputTypes: [x], wants }, { groups }) =>
    groups === x!.shape[1] && x!.shape.length > 2 && !wants(1) && !wants(2)
      ? nodes(({ emit, inputs }, { eps }) => [emit('InstanceNormalization', inputs, { epsilon: { float: eps } })])
      : parts(([v, gamma, beta], { eps }) => {
          const n = v!.shape[0]!;
          const { deviation, mean, variance } = statistics(
            view(v!, [n, groups, elementCount(v!.shape.slice(1)) / groups]),
            [2],
          );
          const rstd = rootOf(variance, eps);
          const normal = view(mul(deviation, rstd), channelsOf(v!).shape);
          const y = add(mul(normal, channelColumn(gamma!)), channelColumn(beta!));
          return [view(y, v!.shape), view(mean, [n, groups]), view(rstd, [n, groups])];
        }),
  ),
  groupNormInputGrad: decomposed(groupNormInputGradOp),
  groupNormWeightGrad: decomposed(groupNormWeightGradOp),
  // ONNX keeps the normalised axis of the statistics.
  layerNorm: nodes(({ emit, emitAll, inputs, integers, wants }, { eps }) => {
    const attributes = { axis: -1, epsilon: { float: eps } };
    if (!wants(1) && !wants(2)) return [emit('LayerNormalization', inputs, attributes), undefined, undefined];
    const [y, mean, rstd] = emitAll('LayerNormalization', inputs, 3, attributes);
    return [y, ...[mean, rstd].map((v) => emit('Squeeze', [v, integers([-1])]))];
  }),
  layerNormInputGrad: decomposed(layerNormInputGradOp),
  layerNormWeightGrad: decomposed(layerNormWeightGradOp),
} satisfies Partial<ExportTable>;

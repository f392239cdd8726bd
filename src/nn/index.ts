/**
 * Layers: plain functions from tensors to tensors that make their parameters on the way, with PyTorch's names, shapes,
 * defaults and first values. `name` opens a scope, which names parameters (`fc1.weight`) and nodes (for cuts). Layers that
 * differ in training and evaluation (dropout, batch normalisation) ask the graph what it is built for: `graph.mode`.
 */
export {
  gelu,
  glu,
  hardtanh,
  leakyRelu,
  logSigmoid,
  type PreluOptions,
  prelu,
  relu6,
  silu,
  softmin,
  tanhshrink,
} from './activations.ts';
export { type AttentionMasks, type AttentionOptions, multiheadAttention } from './attention.ts';
export { type BatchNormOptions, batchNorm1d, batchNorm2d, batchNorm3d } from './batch-norm.ts';
export { flatten, identity, type Layer, type ResidualOptions, residual, sequential } from './compose.ts';
export {
  type ConvLayerOptions,
  type ConvTransposeLayerOptions,
  conv1d,
  conv2d,
  conv3d,
  convTranspose1d,
  convTranspose2d,
  convTranspose3d,
  type PaddingMode,
} from './conv.ts';
export { type DropoutOptions, dropout, dropout1d, dropout2d, dropout3d } from './dropout.ts';
export { type EmbeddingTable, type EmbeddingWeight, embedding, embeddingWeight } from './embedding.ts';
export { type LinearOptions, linear } from './linear.ts';
export * as models from './models/index.ts';
export {
  type ChannelNormOptions,
  groupNorm,
  type InstanceNormOptions,
  instanceNorm1d,
  instanceNorm2d,
  instanceNorm3d,
  type LayerNormOptions,
  layerNorm,
} from './norm.ts';
export * from './op-layers.ts';
export {
  gru,
  type LstmLayerOptions,
  lstm,
  type RecurrentLayerOptions,
  type RecurrentLayerResult,
  type RnnLayerOptions,
  rnn,
} from './recurrent.ts';
export type { LayerOptions } from './scope.ts';
export {
  type TransformerBlockOptions,
  type TransformerDecoderLayerOptions,
  type TransformerDecoderOptions,
  type TransformerEncoderLayerOptions,
  type TransformerEncoderOptions,
  transformerBlock,
  transformerDecoder,
  transformerDecoderLayer,
  transformerEncoder,
  transformerEncoderLayer,
} from './transformer.ts';
export { type UpsampleMode, type UpsampleOptions, upsample } from './upsample.ts';

/**
 * Layers: plain functions from tensors to tensors that make their parameters on the way, with PyTorch's names, shapes,
 * defaults and first values. `name` opens a scope, which names parameters (`fc1.weight`) and nodes (for cuts).
 */
export { gelu, relu, sigmoid, tanh } from '../ops/elementwise.ts';
export { avgPool1d, avgPool2d, avgPool3d, maxPool1d, maxPool2d, maxPool3d } from '../ops/pool.ts';
export { logSoftmax, softmax } from '../ops/softmax.ts';
export { type AttentionMasks, type AttentionOptions, multiheadAttention } from './attention.ts';
export { flatten, type Layer, residual, sequential } from './compose.ts';
export {
  type ConvLayerOptions,
  type ConvTransposeLayerOptions,
  conv1d,
  conv2d,
  conv3d,
  convTranspose1d,
  convTranspose2d,
  convTranspose3d,
} from './conv.ts';
export { type EmbeddingTable, embedding, embeddingWeight } from './embedding.ts';
export { type LinearOptions, linear } from './linear.ts';
export * as models from './models/index.ts';
export { type LayerNormOptions, layerNorm } from './norm.ts';
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

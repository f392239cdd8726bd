/**
 * Layers that are ops under PyTorch's names: the public ones, which are held to the names of their options as every layer is.
 */
import { ops } from '../ops/public.ts';

export const {
  adaptiveAvgPool1d,
  adaptiveAvgPool2d,
  adaptiveAvgPool3d,
  adaptiveMaxPool1d,
  adaptiveMaxPool2d,
  adaptiveMaxPool3d,
  avgPool1d,
  avgPool2d,
  avgPool3d,
  celu,
  elu,
  globalAvgPool,
  globalMaxPool,
  hardSigmoid: hardsigmoid,
  hardSwish: hardswish,
  logSoftmax,
  maxPool1d,
  maxPool2d,
  maxPool3d,
  mish,
  pixelShuffle,
  pixelUnshuffle,
  relu,
  selu,
  sigmoid,
  softmax,
  softplus,
  softsign,
  tanh,
} = ops;

/** Activations under PyTorch's names that are an op with other defaults, several ops, or have a parameter. */
import { shown } from '../core/options.ts';
import type { Tensor } from '../graph/graph.ts';
import { constant } from '../init/index.ts';
import * as ops from '../ops/elementwise.ts';
import { reshape, slice } from '../ops/shape.ts';
import { softmax } from '../ops/softmax.ts';
import { refuse } from './refuse.ts';
import { checkOptions, type LayerOptions, plain, scoped } from './scope.ts';

/** x·Φ(x), or with `approximate: 'tanh'` its approximation (Hendrycks, Gimpel, 2016; PyTorch GELU). */
export const gelu = (x: Tensor, options: { readonly approximate?: 'none' | 'tanh' } = {}): Tensor => {
  checkOptions('gelu', x, options, { approximate: true });
  const { approximate = 'none' } = options;
  if (approximate !== 'none' && approximate !== 'tanh') {
    refuse('gelu', x, `approximate must be "none" or "tanh", got ${shown(approximate)}`);
  }
  return approximate === 'tanh' ? ops.geluTanh(x) : ops.gelu(x);
};

/** x above 0, negativeSlope·x below (PyTorch LeakyReLU). Default 0.01. */
export const leakyRelu = (x: Tensor, options: { readonly negativeSlope?: number } = {}): Tensor => {
  checkOptions('leakyRelu', x, options, { negativeSlope: true });
  return ops.leakyRelu(x, { slope: options.negativeSlope ?? 0.01 });
};

export interface PreluOptions extends LayerOptions {
  /** 1, or one slope for each channel (axis 1) of x; default 1. */
  readonly numParameters?: number;
  /** First value of the slopes; default 0.25. */
  readonly init?: number;
}

/** x above 0, slope·x below, the slope being learned (He et al., 2015; PyTorch PReLU). weight [numParameters]. */
export const prelu = (x: Tensor, options: PreluOptions = {}): Tensor =>
  scoped('prelu', x, options, { name: true, numParameters: true, init: true }, () => {
    const { numParameters = 1, init = 0.25 } = options;
    const channels = x.rank > 1 ? x.shape[1] : 1;
    if (numParameters !== 1 && numParameters !== channels) {
      refuse('prelu', x, `numParameters must be 1 or the ${channels} channels, got ${numParameters}`);
    }
    const weight = x.graph.parameter('weight', [numParameters], constant(init));
    return ops.prelu(
      x,
      numParameters === 1 ? weight : reshape(weight, [numParameters, ...x.shape.slice(2).map(() => 1)]),
    );
  });

/** x·σ(x) (PyTorch SiLU, also called swish). */
export const silu = plain('silu', (x) => ops.mul(x, ops.sigmoid(x)));

/** x limited to [minVal, maxVal] (PyTorch Hardtanh). Defaults −1 and 1. At the limits themselves the gradient is 1, PyTorch's 0. */
export const hardtanh = (x: Tensor, options: { readonly minVal?: number; readonly maxVal?: number } = {}): Tensor => {
  checkOptions('hardtanh', x, options, { minVal: true, maxVal: true });
  const { minVal = -1, maxVal = 1 } = options;
  if (!(minVal < maxVal)) refuse('hardtanh', x, `minVal ${minVal} must be less than maxVal ${maxVal}`);
  return ops.clip(x, { low: minVal, high: maxVal });
};

/** min(max(x, 0), 6) (PyTorch ReLU6). At 6 itself the gradient is 1, as of hardtanh; PyTorch's is 0 there. */
export const relu6 = plain('relu6', (x) => ops.clip(ops.relu(x), { high: 6 }));

/** −ln(1 + e⁻ˣ) = ln σ(x) (PyTorch LogSigmoid). */
export const logSigmoid = plain('logSigmoid', (x) => ops.neg(ops.softplus(ops.neg(x))));

/** x − tanh x (PyTorch Tanhshrink). */
export const tanhshrink = plain('tanhshrink', (x) => ops.sub(x, ops.tanh(x)));

/** Softmax of −x (PyTorch Softmin). */
export const softmin = (x: Tensor, options: { readonly axis?: number } = {}): Tensor => {
  checkOptions('softmin', x, options, { axis: true });
  const { axis = -1 } = options;
  if (!Number.isInteger(axis)) refuse('softmin', x, `axis must be a whole number, got ${shown(axis)}`, 'axis: -1');
  return x.graph.whole(() => softmax(ops.neg(x), { axis }));
};

/** a·σ(b) of the halves a, b of an axis (Dauphin et al., 2017; PyTorch GLU). Default the last axis. */
export const glu = (x: Tensor, options: { readonly axis?: number } = {}): Tensor => {
  checkOptions('glu', x, options, { axis: true });
  const { axis = -1 } = options;
  if (!Number.isInteger(axis)) refuse('glu', x, `axis must be a whole number, got ${shown(axis)}`, 'axis: -1');
  const at = axis < 0 ? axis + x.rank : axis;
  const size = x.shape[at] ?? refuse('glu', x, `there is no axis ${axis}`);
  if (size % 2 !== 0) refuse('glu', x, `axis ${axis} has ${size} entries, which do not make two halves`);
  return ops.mul(slice(x, { [at]: [0, size / 2] }), ops.sigmoid(slice(x, { [at]: [size / 2, size] })));
};

import type { Tensor } from '../graph/graph.ts';
import { add, gelu } from '../ops/elementwise.ts';
import { type AttentionOptions, multiheadAttention } from './attention.ts';
import { dropout } from './dropout.ts';
import { linear } from './linear.ts';
import { layerNorm } from './norm.ts';
import { scoped } from './scope.ts';

export interface TransformerBlockOptions extends AttentionOptions {
  /** Width of the hidden layer over the block's width; default 4. */
  readonly mlpRatio?: number;
  /** Dropout in training, of the attention's weights and of what both parts add to the shortcut; default 0. */
  readonly dropout?: number;
}

/**
 * Attention and a two-layer perceptron, each behind a normalisation and beside a shortcut ("pre-norm"). Parameters as
 * PyTorch's TransformerEncoderLayer with norm_first and gelu: norm1, self_attn, norm2, linear1, linear2.
 */
export const transformerBlock = (x: Tensor, options: TransformerBlockOptions): Tensor =>
  scoped(x, options, () => {
    const { heads, causal, mlpRatio = 4, dropout: p = 0 } = options;
    const width = x.shape.at(-1)!;
    const attention = multiheadAttention(layerNorm(x, { name: 'norm1' }), {
      heads,
      causal,
      dropout: p,
      name: 'self_attn',
    });
    const attended = add(x, dropout(attention, { p, name: 'dropout1' }));
    const hidden = gelu(linear(layerNorm(attended, { name: 'norm2' }), mlpRatio * width, { name: 'linear1' }));
    return add(attended, dropout(linear(hidden, width, { name: 'linear2' }), { p, name: 'dropout2' }));
  });

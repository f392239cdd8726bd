import { isOfKind } from '../core/kinds.ts';
import { type OptionNames, shown } from '../core/options.ts';
import type { Tensor } from '../graph/graph.ts';
import { add, gelu, relu } from '../ops/elementwise.ts';
import { type AttentionMasks, type AttentionOptions, multiheadAttention } from './attention.ts';
import type { Layer } from './compose.ts';
import { dropout } from './dropout.ts';
import { linear } from './linear.ts';
import { MOST_LAYERS } from './most-layers.ts';
import { layerNorm } from './norm.ts';
import { refuse } from './refuse.ts';
import { type LayerOptions, scoped } from './scope.ts';

export interface TransformerBlockOptions extends LayerOptions, Pick<AttentionOptions, 'heads' | 'causal' | 'fused'> {
  /** Width of the hidden layer over the block's width; default 4. */
  readonly mlpRatio?: number;
  /** Dropout in training, of the attention's weights and of what both parts add to the shortcut; default 0. */
  readonly dropout?: number;
}

const blockOptions = {
  name: true,
  heads: 'required',
  causal: true,
  fused: true,
  mlpRatio: true,
  dropout: true,
} as const;

/**
 * Attention and a two-layer perceptron, each behind a normalisation and beside a shortcut ("pre-norm"). Parameters as
 * PyTorch's TransformerEncoderLayer with norm_first and gelu: norm1, self_attn, norm2, linear1, linear2.
 */
export const transformerBlock = (x: Tensor, options: TransformerBlockOptions): Tensor =>
  scoped('transformerBlock', x, options, blockOptions, () => {
    const { heads, causal, fused, mlpRatio = 4, dropout: p = 0 } = options;
    const width = x.shape.at(-1)!;
    const attention = multiheadAttention(layerNorm(x, { name: 'norm1' }), {
      heads,
      causal,
      fused,
      dropout: p,
      name: 'self_attn',
    });
    const attended = add(x, dropout(attention, { p, name: 'dropout1' }));
    const hidden = gelu(linear(layerNorm(attended, { name: 'norm2' }), mlpRatio * width, { name: 'linear1' }));
    return add(attended, dropout(linear(hidden, width, { name: 'linear2' }), { p, name: 'dropout2' }));
  });

/** What encoder and decoder layers share; PyTorch's defaults. */
interface TransformerLayerOptions extends LayerOptions, Pick<AttentionOptions, 'fused'> {
  readonly heads: number;
  /** Width of the hidden layer; default 2048. */
  readonly dimFeedforward?: number;
  /** Of attention weights, of the hidden layer, and of what each part adds; in training only. Default 0.1. */
  readonly dropout?: number;
  /** Between the two linear layers: default relu. */
  readonly activation?: 'relu' | 'gelu' | Layer;
  /** default 1e-5 */
  readonly layerNormEps?: number;
  /** Normalises what goes into each part, and not the sum behind it; default false. */
  readonly normFirst?: boolean;
  /** Each position sees itself and earlier ones only; default false. */
  readonly causal?: boolean;
}

export interface TransformerEncoderLayerOptions extends TransformerLayerOptions {
  /** As `attnMask` of multiheadAttention. */
  readonly srcMask?: Tensor;
  /** [N, T] */
  readonly srcKeyPaddingMask?: Tensor;
}

export interface TransformerDecoderLayerOptions extends TransformerLayerOptions {
  /** As `attnMask` of multiheadAttention, for the attention of the target to itself. */
  readonly tgtMask?: Tensor;
  /** [N, T] */
  readonly tgtKeyPaddingMask?: Tensor;
  /** For the attention of the target to the memory, [T, S] and so on. */
  readonly memoryMask?: Tensor;
  /** [N, S] */
  readonly memoryKeyPaddingMask?: Tensor;
}

const layerOptions = {
  name: true,
  heads: 'required',
  fused: true,
  dimFeedforward: true,
  dropout: true,
  activation: true,
  layerNormEps: true,
  normFirst: true,
  causal: true,
} as const;
const encoderOptions = { ...layerOptions, srcMask: true, srcKeyPaddingMask: true } as const;
const decoderOptions = {
  ...layerOptions,
  tgtMask: true,
  tgtKeyPaddingMask: true,
  memoryMask: true,
  memoryKeyPaddingMask: true,
} as const;
const stackOptions = { numLayers: 'required', norm: true } as const;

/**
 * The parts of a layer one after the other, each beside a shortcut and with its normalisation and dropout:
 *
 *     normFirst   x ─┬─ norm ─ part ─ dropout ─ + ─►         else   x ─┬─ part ─ dropout ─ + ─ norm ─►
 *                    └────────────────────────── ┘                     └─────────────────── ┘
 */
function inParts(x: Tensor, options: TransformerLayerOptions, parts: readonly Layer[]): Tensor {
  const { normFirst = false, layerNormEps: eps, dropout: p = 0.1 } = options;
  return parts.reduce((h, part, i) => {
    const norm: Layer = (t) => layerNorm(t, { eps, name: `norm${i + 1}` });
    const added = add(h, dropout(part(normFirst ? norm(h) : h), { p, name: `dropout${i + 1}` }));
    return normFirst ? added : norm(added);
  }, x);
}

const attentionPart =
  (
    name: string,
    masks: AttentionMasks,
    { heads, fused, dropout: p = 0.1 }: TransformerLayerOptions,
    memory?: Tensor,
  ): Layer =>
  (x) =>
    multiheadAttention(x, { heads, fused, dropout: p, ...masks, ...(memory ? { key: memory } : {}), name });

const feedForward =
  ({ dimFeedforward = 2048, activation = 'relu', dropout: p = 0.1 }: TransformerLayerOptions): Layer =>
  (x) => {
    const activate = typeof activation === 'function' ? activation : { relu, gelu }[activation];
    if (!activate) {
      refuse('transformer layer', x, `activation must be "relu", "gelu" or a function, got "${activation}"`);
    }
    const hidden = dropout(activate(linear(x, dimFeedforward, { name: 'linear1' })), { p, name: 'dropout' });
    return linear(hidden, x.shape.at(-1)!, { name: 'linear2' });
  };

/**
 * A layer of a transformer's encoder (PyTorch TransformerEncoderLayer with batch_first): x [N, T, D] → [N, T, D].
 * Parameters as PyTorch's: self_attn, linear1, linear2, norm1, norm2.
 */
export const transformerEncoderLayer = (src: Tensor, options: TransformerEncoderLayerOptions): Tensor =>
  scoped('transformerEncoderLayer', src, options, encoderOptions, () => {
    const { causal, srcMask: attnMask, srcKeyPaddingMask: keyPaddingMask } = options;
    const masks = { causal, attnMask, keyPaddingMask };
    return inParts(src, options, [attentionPart('self_attn', masks, options), feedForward(options)]);
  });

/**
 * A layer of a transformer's decoder (PyTorch TransformerDecoderLayer with batch_first): the target [N, T, D] attends to
 * itself and to the encoder's output, the memory [N, S, D']. Parameters as PyTorch's: self_attn, multihead_attn, linear1,
 * linear2, norm1, norm2, norm3.
 */
export const transformerDecoderLayer = (tgt: Tensor, memory: Tensor, options: TransformerDecoderLayerOptions): Tensor =>
  scoped('transformerDecoderLayer', tgt, options, decoderOptions, () => {
    const { causal, tgtMask, tgtKeyPaddingMask, memoryMask, memoryKeyPaddingMask } = options;
    const own = { causal, attnMask: tgtMask, keyPaddingMask: tgtKeyPaddingMask };
    const other = { attnMask: memoryMask, keyPaddingMask: memoryKeyPaddingMask };
    return inParts(tgt, options, [
      attentionPart('self_attn', own, options),
      attentionPart('multihead_attn', other, options, memory),
      feedForward(options),
    ]);
  });

interface StackOptions {
  readonly numLayers: number;
  /** A last normalisation `norm`, of use with normFirst; default false. */
  readonly norm?: boolean;
}
export type TransformerEncoderOptions = TransformerEncoderLayerOptions & StackOptions;
export type TransformerDecoderOptions = TransformerDecoderLayerOptions & StackOptions;

/** Layers `layers.0`, `layers.1` … and the last normalisation, named as in PyTorch; each has first values of its own. */
function stack<O extends TransformerLayerOptions>(
  kind: string,
  x: Tensor,
  options: O & StackOptions,
  names: OptionNames<O & StackOptions>,
  layer: (h: Tensor, options: O) => Tensor,
): Tensor {
  return scoped(kind, x, options, names, () => {
    const { numLayers, norm = false, ...each } = options;
    if (!isOfKind('count', numLayers)) refuse(kind, x, `numLayers must be a positive integer, got ${shown(numLayers)}`);
    if (numLayers > MOST_LAYERS) refuse(kind, x, `numLayers must be at most ${MOST_LAYERS}, got ${numLayers}`);
    let h = x;
    for (let i = 0; i < numLayers; i++) h = layer(h, { ...(each as unknown as O), name: `layers.${i}` });
    return norm ? layerNorm(h, { eps: options.layerNormEps, name: 'norm' }) : h;
  });
}

/** `numLayers` encoder layers (PyTorch TransformerEncoder). */
export const transformerEncoder = (src: Tensor, options: TransformerEncoderOptions): Tensor =>
  stack('transformerEncoder', src, options, { ...encoderOptions, ...stackOptions }, transformerEncoderLayer);

/** `numLayers` decoder layers over one memory (PyTorch TransformerDecoder). */
export const transformerDecoder = (tgt: Tensor, memory: Tensor, options: TransformerDecoderOptions): Tensor =>
  stack('transformerDecoder', tgt, options, { ...decoderOptions, ...stackOptions }, (h, layer) =>
    transformerDecoderLayer(h, memory, layer),
  );

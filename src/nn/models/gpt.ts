import { normal } from '../../init/index.ts';
import { add } from '../../ops/elementwise.ts';
import { dropout } from '../dropout.ts';
import { embedding, embeddingWeight } from '../embedding.ts';
import { linear } from '../linear.ts';
import { layerNorm } from '../norm.ts';
import { transformerBlock } from '../transformer.ts';
import { classifier, type ModelBuilder, modelBuilder } from './built.ts';
import { type Check, flag, layerCount, oneOf, positive, positiveNumber, share } from './config.ts';

export interface GptConfig {
  /** Tokens there are. */
  readonly vocab: number;
  /** Tokens of one sequence. */
  readonly context: number;
  readonly layers: number;
  readonly heads: number;
  /** Size of a token's vector; a multiple of `heads`. */
  readonly width: number;
  /** Hidden width of a block's perceptron over `width`; default 4. */
  readonly mlpRatio?: number;
  /** The output layer shares the token embedding's weight; default true. */
  readonly tied?: boolean;
  /**
   * Probability that an element is dropped in training: of the embeddings, of the attention's weights and of what each part
   * of a block adds to the shortcut (GPT-2's embd, attn and resid dropout); default 0.
   */
  readonly dropout?: number;
  /**
   * `fused`: attention without its matrix of weights; `unfused`: with it, as a graph of ordinary ops. Default fused.
   */
  readonly attention?: 'fused' | 'unfused';
}

export const gptChecks: Readonly<Record<keyof GptConfig, Check>> = {
  vocab: positive,
  context: positive,
  layers: layerCount,
  heads: positive,
  width: positive,
  mlpRatio: positiveNumber,
  tied: flag,
  dropout: share,
  attention: oneOf('fused', 'unfused'),
};

/**
 * A decoder-only transformer (Radford et al., "Language Models are Unsupervised Multitask Learners", 2019): token and
 * position embeddings from N(0, 0.02²) as there, causal pre-norm blocks, a last normalisation, and the output layer tied
 * to the token embedding. Input `x` i32 [N, context], target `y` i32 [N, context] (the next tokens), output `logits`
 * [N, context, vocab]. Layers `embedding`, `block.0` …, `norm`, `head`.
 */
export const gpt: ModelBuilder<GptConfig> = modelBuilder(
  'gpt',
  gptChecks,
  ['vocab', 'context', 'layers', 'heads', 'width'],
  (graph, batch, config, options) => {
    const { vocab, context, layers, heads, width, mlpRatio, tied = true, dropout: p = 0, attention = 'fused' } = config;
    const init = normal(0, 0.02);
    const x = graph.input('x', { dtype: 'i32', shape: [batch, context] });
    const { tokens, embedded } = graph.scope('embedding', () => {
      const tokens = embeddingWeight(graph, { rows: vocab, dim: width, name: 'token', init });
      const positions = embeddingWeight(graph, { rows: context, dim: width, name: 'position', init });
      return { tokens, embedded: dropout(add(embedding(x, { weight: tokens }), positions), { p }) };
    });
    let h = embedded;
    for (let i = 0; i < layers; i++) {
      const fused = attention === 'fused';
      h = transformerBlock(h, { heads, mlpRatio, causal: true, fused, dropout: p, name: `block.${i}` });
    }
    const last = layerNorm(h, { name: 'norm' });
    const logits = linear(last, vocab, { bias: false, weight: tied ? tokens : undefined, name: 'head' });
    return classifier(x, logits, options);
  },
);

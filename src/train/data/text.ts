/**
 * A text as a language model's training data: sample i is the window of T tokens from i·stride on, its target the same
 * window one token later.
 *
 *     tokens   I n   t h e   b e g i …        T = 4, stride = 2
 *     sample 0 x │I n   t│    y n   t h
 *     sample 1     x │  t h e│
 */

import { UsageError } from '../../core/errors.ts';
import { shown } from '../../core/options.ts';
import { allocate } from '../../core/types.ts';
import { checkIndices, type Dataset, type Split } from './dataset.ts';

export interface TextOptions {
  /**
   * `bytes`: tokens are the UTF-8 bytes, a vocabulary of 256. `characters` (default): the text's code points, in their
   * order.
   */
  readonly unit?: 'bytes' | 'characters';
  /** T, tokens a sample. Default 64. */
  readonly context?: number;
  /** Tokens between the starts of samples. Default: the context, so that samples do not overlap. */
  readonly stride?: number;
  /** With characters: the vocabulary of another text, whose numbers this one takes over. Default: this text's own. */
  readonly vocabulary?: readonly string[];
}

export interface TextDataset extends Dataset {
  readonly classes: number;
  /** The token's text, by token; undefined where tokens are bytes. */
  readonly vocabulary: readonly string[] | undefined;
  encode(text: string): Int32Array;
  decode(tokens: ArrayLike<number>): string;
}

interface Tokenizer extends Pick<TextDataset, 'classes' | 'vocabulary' | 'encode' | 'decode'> {}

export function textFrom(text: string | Uint8Array, name: string, options: TextOptions = {}): TextDataset {
  const context = positive('context', options.context ?? 64);
  const stride = positive('stride', options.stride ?? context);
  if (options.unit === 'bytes') {
    const bytes = typeof text === 'string' ? new TextEncoder().encode(text) : text;
    return windows(name, Int32Array.from(bytes), context, stride, byteTokenizer);
  }
  const characters = typeof text === 'string' ? text : new TextDecoder().decode(text);
  const tokenizer = characterTokenizer(options.vocabulary ?? vocabularyOf(characters), name);
  return windows(name, tokenizer.encode(characters), context, stride, tokenizer);
}

function windows(name: string, tokens: Int32Array, context: number, stride: number, tokenizer: Tokenizer): TextDataset {
  if (tokens.length <= context) {
    throw new UsageError(
      'text-too-short',
      `${name}: ${tokens.length} tokens; one sample needs context + 1 = ${context + 1}`,
      {
        fields: { dataset: name, tokens: tokens.length, context },
        remedy: tokens.length < 2 ? 'give a longer text' : `set context to ${tokens.length - 1} or less`,
      },
    );
  }
  const size = Math.floor((tokens.length - context - 1) / stride) + 1;
  return {
    name,
    size,
    tensors: { x: { dtype: 'i32', sampleShape: [context] }, y: { dtype: 'i32', sampleShape: [context] } },
    ...tokenizer,
    batch(indices) {
      checkIndices(name, size, indices);
      const type = { dtype: 'i32', shape: [indices.length, context] } as const;
      const x = allocate(type);
      const y = allocate(type);
      indices.forEach((index, row) => {
        const start = index * stride;
        x.set(tokens.subarray(start, start + context), row * context);
        y.set(tokens.subarray(start + 1, start + 1 + context), row * context);
      });
      return { x: { type, data: x }, y: { type, data: y } };
    },
    contents(visit) {
      visit(JSON.stringify([context, stride, tokenizer.vocabulary ?? 'bytes']));
      visit(tokens);
    },
    holdOut: (fraction) => splitByPosition(name, tokens, context, stride, tokenizer, fraction),
  };
}

/** The text's end is held out: no token is in both parts, and held-out windows do not overlap each other. */
function splitByPosition(
  name: string,
  tokens: Int32Array,
  context: number,
  stride: number,
  tokenizer: Tokenizer,
  fraction: number,
): Split {
  const border = tokens.length - Math.round(tokens.length * fraction);
  requireSample(name, 'held-out', tokens.length - border, tokens.length, context);
  requireSample(name, 'training', border, tokens.length, context);
  return {
    train: windows(`${name} (train)`, tokens.subarray(0, border), context, stride, tokenizer),
    heldOut: windows(`${name} (held out)`, tokens.subarray(border), context, context, tokenizer),
  };
}

/** Refuses a part of a split text that does not hold one sample, and says which fraction would do. */
function requireSample(name: string, part: 'held-out' | 'training', size: number, all: number, context: number): void {
  if (size > context) return;
  const least = (context + 1) / all;
  // Rounded away from the part that is too short.
  const fraction = (part === 'held-out' ? Math.ceil(least * 1e4) : Math.floor((1 - least) * 1e4)) / 1e4;
  throw new UsageError(
    'split-size',
    `${name}: the ${part} part has ${size} of ${all} tokens; one sample needs context + 1 = ${context + 1}`,
    {
      fields: { dataset: name, part, tokens: size, context },
      remedy: least <= 0.5 && fraction > 0 && fraction < 1 ? `--eval.fraction ${fraction}` : 'a shorter context',
    },
  );
}

const byteTokenizer: Tokenizer = {
  classes: 256,
  vocabulary: undefined,
  encode: (text) => Int32Array.from(new TextEncoder().encode(text)),
  decode: (tokens) => new TextDecoder().decode(Uint8Array.from(tokens)),
};

/** The code points of a text, in their order. */
const vocabularyOf = (text: string): string[] =>
  [...new Set(text)].sort((a, b) => a.codePointAt(0)! - b.codePointAt(0)!);

function characterTokenizer(vocabulary: readonly string[], name: string): Tokenizer {
  const tokenOf = new Map(vocabulary.map((character, token) => [character, token]));
  return {
    classes: vocabulary.length,
    vocabulary,
    encode(text) {
      // At most as many characters as UTF-16 units.
      const tokens = new Int32Array(text.length);
      let at = 0;
      for (const character of text) {
        const token = tokenOf.get(character);
        if (token === undefined) {
          throw new UsageError(
            'text-vocabulary',
            `${name}: ${JSON.stringify(character)} (character ${at}) does not occur in the text the vocabulary is made of`,
            {
              fields: { dataset: name, character, at },
              remedy: '"unit": "bytes", which knows every text',
            },
          );
        }
        tokens[at++] = token;
      }
      return tokens.slice(0, at);
    },
    decode: (tokens) => Array.from(tokens, (token) => vocabulary[token] ?? '\ufffd').join(''),
  };
}

function positive(key: string, value: number): number {
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new UsageError('text-option', `${key} must be an integer ≥ 1, not ${shown(value)}`, {
    fields: { key, value },
    remedy: `${key}: 64`,
  });
}

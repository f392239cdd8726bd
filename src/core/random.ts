/**
 * Random numbers without a state: value i of a stream is a function of (seed, stream, i) alone.
 *
 * Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC'11) maps a 128-bit
 * counter and a 64-bit key to 128 random bits. Here
 *
 *     key     = hashName(stream)                            streams are named: a parameter, 'split', 'epoch/3' …
 *     counter = (index low, index high, seed low, seed high)
 *
 * so a parameter's first values depend on its name, not on its place in the model or on a device, and a shuffled epoch
 * needs none before it. All arithmetic is + − × ÷ √ and integer: the same bits in every JavaScript engine.
 */

import { UsageError } from './errors.ts';
import { shown } from './options.ts';
import { cosTurn, log, sinTurn } from './portable-math.ts';

export interface RandomKey {
  /** An integer from 0 to 2⁵³ − 1. */
  readonly seed: number;
  readonly stream: string;
}

/** One block: four words of 32 bits. */
export function philox4x32(
  counter: readonly [number, number, number, number],
  key: readonly [number, number],
  out: Uint32Array = new Uint32Array(4),
): Uint32Array {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < 10; round++) {
    const high0 = multiplyHigh(0xd2511f53, c0);
    const high1 = multiplyHigh(0xcd9e8d57, c2);
    const low0 = Math.imul(0xd2511f53, c0);
    const low1 = Math.imul(0xcd9e8d57, c2);
    c0 = high1 ^ c1 ^ k0;
    c1 = low1;
    c2 = high0 ^ c3 ^ k1;
    c3 = low0;
    k0 = (k0 + 0x9e3779b9) | 0; // golden ratio
    k1 = (k1 + 0xbb67ae85) | 0; // √3 − 1
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
  return out;
}

/** Upper 32 bits of the product of two unsigned words, as a signed word, by 16-bit halves. */
function multiplyHigh(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const cross = aHigh * bLow + ((aLow * bLow) >>> 16); // < 2³², exact
  const middle = aLow * bHigh + (cross & 0xffff);
  return (aHigh * bHigh + Math.floor(cross / 0x10000) + Math.floor(middle / 0x10000)) | 0;
}

/** 64-bit FNV-1a of the UTF-8 bytes, as two words [low, high]. */
export function hashName(name: string): [low: number, high: number] {
  let hash = 0xcbf29ce484222325n;
  for (const byte of new TextEncoder().encode(name))
    hash = ((hash ^ BigInt(byte)) * 0x100000001b3n) & 0xffff_ffff_ffff_ffffn;
  return [Number(hash & 0xffff_ffffn), Number(hash >> 32n)];
}

/** The stream's blocks: `block(i)` fills and returns one reused array of four words. */
export function blocksOf({ seed, stream }: RandomKey): (index: number) => Uint32Array {
  if (!Number.isSafeInteger(seed) || seed < 0) {
    throw new UsageError('seed-invalid', `seed ${shown(seed)} is not an integer from 0 to 2^53 − 1`, {
      fields: { seed },
      remedy: 'seed: 0',
    });
  }
  const key = hashName(stream);
  const [low, high] = words(seed);
  const out = new Uint32Array(4);
  return (index) => philox4x32([index >>> 0, Math.floor(index / 2 ** 32), low, high], key, out);
}

const words = (n: number): [number, number] => [n >>> 0, Math.floor(n / 2 ** 32)];

/** Two values from one block. */
type Pair = (block: Uint32Array, out: Float64Array) => void;

const uniformPair: Pair = (block, out) => {
  out[0] = unit(block[0]!, block[1]!);
  out[1] = unit(block[2]!, block[3]!);
};

/** Box–Muller. */
const normalPair: Pair = (block, out) => {
  const radius = Math.sqrt(-2 * log(1 - unit(block[0]!, block[1]!))); // 1 − u lies in (0, 1]
  const turn = unit(block[2]!, block[3]!);
  out[0] = radius * cosTurn(turn);
  out[1] = radius * sinTurn(turn);
};

/** 53 of two words' bits, in [0, 1). */
const unit = (a: number, b: number): number => ((a >>> 5) * 2 ** 26 + (b >>> 6)) * 2 ** -53;

/** Values `start` to `start + n − 1` of the stream, uniform in [0, 1) with 53 bits. */
export const uniform = (key: RandomKey, n: number, start = 0): Float64Array => draw(uniformPair, key, n, start);

/** Values `start` to `start + n − 1` of the stream, normal with mean 0 and deviation 1. */
export const normal = (key: RandomKey, n: number, start = 0): Float64Array => draw(normalPair, key, n, start);

/** Values 2b and 2b + 1 of a stream come from block b. */
function draw(pair: Pair, key: RandomKey, n: number, start: number): Float64Array {
  const block = blocksOf(key);
  const out = new Float64Array(n);
  const two = new Float64Array(2);
  for (let i = start - (start % 2); i < start + n; i += 2) {
    pair(block(i / 2), two);
    if (i >= start) out[i - start] = two[0]!;
    if (i + 1 < start + n) out[i + 1 - start] = two[1]!;
  }
  return out;
}

/**
 * A permutation of 0 … n − 1, every one equally likely: Fisher–Yates, step i drawing below i + 1 from counters of its own.
 * Words beyond the largest multiple of i + 1 are rejected, so no value is favoured.
 */
export function permutation(seed: number, stream: string, n: number): Int32Array {
  const block = blocksOf({ seed, stream });
  const order = Int32Array.from({ length: n }, (_, i) => i);
  for (let i = n - 1; i > 0; i--) {
    const j = below(i + 1, i, block);
    const taken = order[i]!;
    order[i] = order[j]!;
    order[j] = taken;
  }
  return order;
}

/** An integer in [0, bound): the first acceptable word of the blocks (index, 0), (index, 1) … */
function below(bound: number, index: number, block: (index: number) => Uint32Array): number {
  const limit = 2 ** 32 - (2 ** 32 % bound);
  for (let attempt = 0; ; attempt++) {
    for (const word of block(index + attempt * 2 ** 32)) if (word < limit) return word % bound;
  }
}

// Metrics by hand, from outputs and losses that a session might give.
import { describe, expect, it } from 'vitest';
import type { HostTensor } from '../../src/core/types.ts';
import { type ClassTerm, type EvaluatorOptions, makeEvaluator, type ValueTerm } from '../../src/train/evaluate.ts';
import type { Session } from '../../src/train/session.ts';

const f32 = (...data: number[]): HostTensor => ({
  type: { dtype: 'f32', shape: [data.length] },
  data: Float32Array.from(data),
});
const i32 = (...data: number[]): HostTensor => ({
  type: { dtype: 'i32', shape: [data.length] },
  data: Int32Array.from(data),
});

interface Batch {
  readonly size: number;
  readonly loss: number;
  readonly output: HostTensor;
  readonly target: HostTensor;
  /** The output `p` and the target `z`. */
  readonly second?: { readonly output: HostTensor; readonly target: HostTensor };
}

/** What an evaluator makes of the output `o` and the target `y` of these batches. */
function evaluated(batches: readonly Batch[], options: Partial<EvaluatorOptions>) {
  const evaluate = makeEvaluator({
    batches: batches.map(({ size, target, second }) => ({
      size,
      tensors: () => ({ y: target, ...(second ? { z: second.target } : {}) }),
    })),
    terms: [],
    single: false,
    perplexity: false,
    ...options,
  });
  let next = 0;
  const session = {
    plan: { programs: { eval: { feeds: [] } }, request: { programs: { eval: { mode: 'forward' } } } },
    run: async () => {
      const { loss, output, second } = batches[next++]!;
      return {
        loss,
        results: new Map([['output/o', output], ...(second ? [['output/p', second.output] as const] : [])]),
      };
    },
  };
  return evaluate(session as unknown as Session);
}

const logits: ClassTerm = { output: 'o', target: 'y', classes: 2, ignoreIndex: -1, values: 'logits' };
const binary = (kind: ValueTerm['kind']): ValueTerm => ({ output: 'o', target: 'y', kind });

describe('an evaluator is refused', () => {
  // biome-ignore lint/suspicious/noExplicitAny: wrong on purpose
  const loose = (value: unknown): any => value;
  const batch: Batch = { size: 2, loss: 1, output: f32(1, 2, 3, 4), target: i32(0, 1) };
  const cases: readonly (readonly [message: string, options: object])[] = [
    ['batches.0: options must be an object, got null', { batches: [null] }],
    ['batches.0: size must be a whole number of 1 or more', { batches: [{ size: '2', tensors: () => ({}) }] }],
    ['batches.0: tensors must be a function', { batches: [{ size: 2, tensors: {} }] }],
    [
      'terms.0: classes must be a whole number of 1 or more, got Infinity',
      { terms: [{ ...logits, classes: Infinity }] },
    ],
    ['terms.0.values has no "logit", did you mean "logits"?', { terms: [{ ...logits, values: 'logit' }] }],
    ['values.0.kind has no "mae"', { values: [{ ...binary('mse'), kind: 'mae' }] }],
    ['takes one of terms where single is true, got []', { single: true }],
    ['there is no output p; there are o', { terms: [{ ...logits, output: 'p' }] }],
    ['there is no target z; there are y', { terms: [{ ...logits, target: 'z' }] }],
    ['there is no target z; there are y', { values: [{ ...binary('bce'), target: 'z' }] }],
    ['o holds 4 values, and 2 targets y of 3 classes need 6', { terms: [{ ...logits, classes: 3 }] }],
    ['o holds 4 values, and 2 targets y of kind mse need 2', { values: [binary('mse')] }],
    ['o holds 4 values, and 2 targets y of kind bce need 2', { values: [binary('bce')] }],
  ];
  it.each(cases)('%s', async (message, options) => {
    const call = async () => evaluated([batch], loose(options));
    await expect(call()).rejects.toMatchObject({
      message: expect.stringContaining(message),
      remedy: expect.any(String),
    });
  });
});

describe('outputs of another size are mended by', () => {
  it.each([
    [4, 2, 'classes: 2'],
    [10, 3, 'output and target of one loss'],
    [4, 0, 'output and target of one loss'],
    [0, 2, 'output and target of one loss'],
  ])('of %i values for %i targets: %s', async (outputs, targets, remedy) => {
    const [output, target] = [new Array(outputs).fill(0), new Array(targets).fill(0)];
    const batch: Batch = { size: 2, loss: 1, output: f32(...output), target: i32(...target) };
    const call = evaluated([batch], { terms: [{ ...logits, classes: 7 }] });
    await expect(call).rejects.toMatchObject({ code: 'evaluation-classes', remedy });
  });
});

describe('an evaluation of classes', () => {
  it('counts a target that is met: the first of equal outputs, and none that is ignored', async () => {
    const output = f32(1, 2, 3, 3, 3, 3, 0, 9);
    const batch = { size: 4, loss: 1, output, target: i32(1, 0, 1, -1) };
    expect((await evaluated([batch], { terms: [logits] })).accuracy).toBe(2 / 3);
  });

  it('weighs batches by their counted targets where that is the whole objective, else by their samples', async () => {
    const batches: Batch[] = [
      { size: 2, loss: 3, output: f32(0, 0, 0, 0), target: i32(0, -1) },
      { size: 3, loss: 1, output: f32(0, 0, 0, 0, 0, 0), target: i32(0, 1, 1) },
    ];
    expect(await evaluated(batches, { terms: [logits], single: true })).toMatchObject({ samples: 5, loss: 6 / 4 });
    expect(await evaluated(batches, { terms: [logits] })).toMatchObject({ samples: 5, loss: 9 / 5 });
    // A further term is only measured.
    const whole: Batch[] = [{ ...batches[0]!, target: i32(0, 0) }, batches[1]!];
    const terms = [{ ...logits, ignoreIndex: 1 }, logits];
    expect((await evaluated(whole, { terms, single: true })).loss).toBe((2 * 3 + 1 * 1) / 3);
    // 0/0 of a batch without a counted target is no loss of it.
    const none = { size: 1, loss: Number.NaN, output: f32(0, 0), target: i32(-1) };
    expect((await evaluated([...batches, none], { terms: [logits], single: true })).loss).toBe(6 / 4);
  });

  it('has a perplexity of any logits, and of log probabilities as they are', async () => {
    const output = f32(1000, 1000, -1000, -1000);
    const batch = { size: 2, loss: 1, output, target: i32(0, 1) };
    const { perplexity } = await evaluated([batch], { terms: [logits], perplexity: true });
    expect(perplexity).toBeCloseTo(2, 12);
    const logProbabilities: ClassTerm = { ...logits, values: 'logProbabilities' };
    const quarter = { size: 1, loss: 1, output: f32(-1.25, -0.5), target: i32(0) };
    expect(await evaluated([quarter], { terms: [logProbabilities], perplexity: true })).toMatchObject({
      perplexity: Math.exp(1.25),
    });
    expect(await evaluated([quarter], { terms: [logProbabilities] })).not.toHaveProperty('perplexity');
  });
});

describe('an evaluation of values', () => {
  it('takes a target from 0.5 on for true, a probability from 0.5 on, and a logit from 0 on', async () => {
    const batch = {
      size: 6,
      loss: 1,
      output: f32(0.5, 0.25, 0, -0.25, 0.75, 0.25),
      target: f32(0.5, 1, 1, 1, 0.25, 0),
    };
    expect((await evaluated([batch], { values: [binary('bce')] })).accuracy).toBe(2 / 6);
    expect((await evaluated([batch], { values: [binary('bceWithLogits')] })).accuracy).toBe(3 / 6);
  });

  it('joins what is met of classes and of binary targets', async () => {
    const second = { output: f32(-1), target: f32(1) };
    const batch = { size: 2, loss: 1, output: f32(-1, 2), target: i32(1), second };
    const values = [{ ...binary('bceWithLogits'), output: 'p', target: 'z' }];
    const { accuracy } = await evaluated([batch], { terms: [logits], values });
    // The class is met, and of the only binary target, whose logit is −1, nothing.
    expect(accuracy).toBe(1 / 2);
  });

  it('has the root of all squares and the mean of all differences, over batches of other sizes', async () => {
    const batches: Batch[] = [
      { size: 2, loss: 1, output: f32(1, 5), target: f32(3, 4) },
      { size: 1, loss: 1, output: f32(0), target: f32(-2) },
    ];
    const { rmse, mae, ...rest } = await evaluated(batches, { values: [binary('mse')] });
    expect([rmse, mae]).toEqual([Math.sqrt(9 / 3), 5 / 3]);
    expect(rest).toEqual({ samples: 3, loss: 1 });
  });
});

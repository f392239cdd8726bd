import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { keysOf } from '../../../src/core/schema.ts';
import { writeSafetensors } from '../../../src/formats/safetensors.ts';
import { makePlan } from '../../../src/plan/plan.ts';
import { planFileOf, readPlanFile, withDecisions, writePlanFile } from '../../../src/plan/plan-file.ts';
import { summarizePlan } from '../../../src/plan/summary.ts';
import { parseExperiment } from '../../../src/train/experiment/parse.ts';
import { planRequestOf, prepareExperiment } from '../../../src/train/experiment/prepare.ts';
import { experimentSchema } from '../../../src/train/experiment/schema.ts';

const where = 'test';
const prepare = (raw: object) => prepareExperiment(parseExperiment(raw, where), { where });
const digits = { model: { kind: 'mlp' }, data: { kind: 'digits' } };

describe('an experiment', () => {
  it('is completed by the defaults of the contract', () => {
    expect(parseExperiment(digits, where)).toMatchObject({
      devices: 1,
      microbatches: 1,
      partition: 'auto',
      recompute: 'none',
      batchNorm: 'micro',
      invariant: false,
      optimizer: { kind: 'sgd', lr: 0.1, momentum: 0 },
      learningRate: { kind: 'constant' },
      seed: 0,
      frozen: [],
      batchAxis: {},
      simd: 'strict',
      blas: 'off',
      data: { kind: 'digits', mode: 'epochs', shuffle: 'seeded' },
    });
    expect(parseExperiment({ ...digits, data: { file: 'x' } }, where).data).toMatchObject({
      kind: 'file',
      mode: 'fixed',
    });
    expect(parseExperiment({ ...digits, optimizer: { kind: 'adamw' } }, where).optimizer).toEqual({
      kind: 'adamw',
      lr: 1e-3,
      betas: [0.9, 0.999],
      eps: 1e-8,
      weightDecay: 1e-2,
      amsgrad: false,
    });
  });

  it('describes every key it has', () => {
    const silent = keysOf(experimentSchema).filter(({ schemas }) => schemas.every((s) => s.doc === ''));
    expect(silent.map(({ path }) => path)).toEqual([]);
  });

  it('lets the data say what the model leaves open', () => {
    expect(prepare(digits).modelConfig).toMatchObject({ kind: 'mlp', inputs: [1, 8, 8], classes: 10 });
    expect(prepare({ ...digits, model: { kind: 'lenet' } }).modelConfig).toMatchObject({
      channels: 1,
      size: [8, 8],
      classes: 10,
    });
    expect(prepare({ ...digits, model: { kind: 'resnet' } }).modelConfig).toMatchObject({ size: [8, 8], classes: 10 });
    const text = { model: { kind: 'gpt', context: 12 }, data: { kind: 'text' } };
    expect(prepare(text).modelConfig).toMatchObject({ vocab: 60, context: 12 });
    expect(prepare({ model: { kind: 'gpt' }, data: { kind: 'text', context: 24 } }).modelConfig).toMatchObject({
      context: 24,
    });
    const recurrent = prepare({ model: { kind: 'lstm' }, data: { kind: 'text', context: 16 } });
    expect(recurrent.modelConfig).toMatchObject({ vocab: 60, context: 16, hidden: 128, cell: 'lstm' });
    expect(recurrent.modelConfig).not.toHaveProperty('inputs');
  });

  it('gives a held-out text the numbers of the text it trains on', () => {
    const folder = mkdtempSync(join(tmpdir(), 'partita-text-'));
    const file = (name: string, text: string) => {
      writeFileSync(join(folder, name), text);
      return join(folder, name);
    };
    const model = { kind: 'lstm', hidden: 4, context: 2 };
    const data = { kind: 'text', file: file('train.txt', 'the cat sat on the mat') };
    const heldOut = (text: string) =>
      prepare({ model, data, eval: { data: { kind: 'text', file: file('held.txt', text) } } }).heldOut!;
    // Its characters: space a c e h m n o s t.
    expect([...heldOut('tee').batches[0]!.tensors().y!.data]).toEqual([3, 3]);
    expect(() => heldOut('tree')).toThrow('held.txt: "r" (character 1) does not occur');
    expect(() => prepare({ model, data, eval: { fraction: 0.02 } })).toThrow('the held-out part has 0 of 22 tokens');
  });

  it('gives a held-out table the classes of the table it trains on', () => {
    const folder = mkdtempSync(join(tmpdir(), 'partita-table-'));
    const file = (name: string, text: string) => {
      writeFileSync(join(folder, name), text);
      return join(folder, name);
    };
    const model = { kind: 'mlp', hidden: [4] };
    const data = { kind: 'csv', file: file('train.csv', 'a,y\n1,ox\n2,ape\n3,cat\n') };
    const prepared = (held: string, train: object = data) =>
      prepare({ model, data: train, eval: { data: { kind: 'csv', file: file('held.csv', held) } } });
    expect(prepared('a,y\n1,ox\n').modelConfig).toMatchObject({ classes: 3 });
    expect([...prepared('a,y\n1,ox\n2,cat\n').heldOut!.batches[0]!.tensors().y!.data]).toEqual([2, 1]);
    expect(() => prepared('a,y\n1,emu\n')).toThrow('"emu" is no class of the data to train on');
    expect(() => prepared('a,y\n1,0\n')).toThrow(
      /the classes of \S*train.csv are words, and those of \S*held.csv are not/,
    );
    const numbers = { kind: 'csv', file: file('numbers.csv', 'a,y\n1,0\n2,1\n') };
    expect(() => prepared('a,y\n1,ox\n', numbers)).toThrow(/the classes of \S*held.csv are words/);
  });

  it('says which loss values need', () => {
    const file = join(mkdtempSync(join(tmpdir(), 'partita-values-')), 'values.csv');
    writeFileSync(file, 'a,y\n1,0.5\n2,0.25\n');
    const raw = { model: { kind: 'mlp' }, data: { kind: 'csv', file } };
    const objective = [{ kind: 'mse', output: 'logits', target: 'y' }];
    const asked = `--objective '[{"kind": "mse", "output": "logits", "target": "y"}]'`;
    const remedy = `${asked}, or write classes as 0, 1, 2 …: --data.task classes names the first row that is none`;
    const batch = (experiment: object) => prepare(experiment).source!.batchAt(0);
    expect(() => batch(raw)).toThrow(expect.objectContaining({ code: 'data-mismatch', remedy }));
    const values = { ...raw, data: { ...raw.data, task: 'values' } };
    expect(() => batch(values)).toThrow(expect.objectContaining({ code: 'data-mismatch', remedy: asked }));
    expect(batch({ ...raw, objective }).tensors.y!.type).toEqual({ dtype: 'f32', shape: [2, 1] });
  });

  it('takes sequences of numbers for an lstm', () => {
    const file = join(mkdtempSync(join(tmpdir(), 'partita-series-')), 'series.safetensors');
    const x = { type: { dtype: 'f32' as const, shape: [6, 4, 3] }, data: new Float32Array(72) };
    const y = { type: { dtype: 'i32' as const, shape: [6, 4] }, data: new Int32Array(24) };
    const t = { type: { dtype: 'f32' as const, shape: [6, 4, 2] }, data: new Float32Array(48) };
    writeFileSync(file, writeSafetensors(Object.entries({ x, y, t })));
    const classified = prepare({ model: { kind: 'lstm', classes: 2 }, data: { file } });
    expect(classified.modelConfig).toMatchObject({ inputs: 3, context: 4, classes: 2 });
    const objective = [{ kind: 'mse', output: 'logits', target: 't' }];
    expect(prepare({ model: { kind: 'lstm', classes: 2 }, data: { file }, objective }).batch).toBe(6);
    expect(() => prepare({ model: { kind: 'lstm' }, data: { file } })).toThrow('model.classes: required');
  });

  it.each([
    ['gpt', { kind: 'gpt', vocab: 200, context: 3, layers: 1, width: 4, heads: 2 }],
    ['lstm', { kind: 'lstm', vocab: 200, context: 3, hidden: 4 }],
  ])('refuses padding marks among the tokens of a %s, which a table would count from its end', (_, model) => {
    const file = join(mkdtempSync(join(tmpdir(), 'partita-tokens-')), 'tokens.safetensors');
    const tensor = (...values: number[]) => ({
      type: { dtype: 'i32' as const, shape: [2, 3] },
      data: Int32Array.from(values),
    });
    const objective = [{ kind: 'crossEntropy', output: 'logits', target: 'y', ignoreIndex: -100 }];
    const refused = (...tokens: number[]) => {
      writeFileSync(file, writeSafetensors(Object.entries({ x: tensor(...tokens), y: tensor(1, 2, -100, 3, 4, 5) })));
      return () => prepare({ model, data: { file }, objective });
    };
    expect(refused(0, 1, 199, 2, 3, 4)).not.toThrow();
    for (const wrong of [-1, -100, 200]) {
      expect(refused(0, 1, wrong, 2, 3, 4)).toThrow(
        `x holds ${wrong} (element 2), and the model has the tokens 0 to 199`,
      );
    }
  });

  it('gives unet a class a pixel, and others a class an image', () => {
    const shapeOf = (raw: object) => {
      const { source, modelConfig, heldOut } = prepare({ steps: 1, ...raw });
      const { classes } = modelConfig as { classes: number };
      return {
        classes,
        y: source!.batchAt(0).tensors.y!.type.shape,
        heldOut: heldOut?.batches[0]?.tensors().y?.type.shape,
      };
    };
    const unet = { model: { kind: 'unet', width: 2 }, data: { kind: 'digits', batchSize: 3 } };
    expect(shapeOf({ ...unet, eval: { fraction: 0.1 } })).toEqual({ classes: 11, y: [3, 8, 8], heldOut: [3, 8, 8] });
    expect(shapeOf({ ...unet, eval: { data: { kind: 'digits' } } }).heldOut).toEqual([3, 8, 8]);
    expect(shapeOf({ ...unet, model: { kind: 'resnet', widths: [2], blocks: 1 } })).toMatchObject({
      classes: 10,
      y: [3],
    });
    const segmented = { ...unet.data, task: 'segmentation' };
    const wrong = { model: { kind: 'lenet' }, data: segmented };
    expect(() => shapeOf(wrong)).toThrow('y is i32[3, 8, 8] and the model takes i32[3]');
    expect(() => shapeOf({ ...unet, data: { ...unet.data, task: 'classes' } })).toThrow('y is i32[3]');
    expect(() => prepare({ ...unet, model: { kind: 'unet', depth: 4 } })).toThrow('8 × 8 cannot be halved 4 times');
  });

  it('counts steps, and has programs for what is smaller than a batch', () => {
    const raw = { ...digits, data: { kind: 'digits', batchSize: 100 }, eval: { fraction: 0.1 }, epochs: 2 };
    const prepared = prepare(raw);
    // 1,797 = 1,617 + 180
    expect(prepared).toMatchObject({ steps: 34, batch: 100, tail: 17 });
    expect(planRequestOf(prepared, 'train').programs).toEqual({
      train: { batch: 100, mode: 'train', gradientNorm: true },
      tail: { batch: 17, mode: 'train', gradientNorm: true },
      eval: { batch: 100, mode: 'forward', outputs: true },
      evalTail: { batch: 80, mode: 'forward', outputs: true },
    });
    const short = prepare({ ...raw, epochs: undefined, steps: 16 });
    expect(short.tail).toBeUndefined();
    expect(prepare({ ...digits, data: { kind: 'digits', mode: 'fixed' } })).toMatchObject({ steps: 1, batch: 1797 });
  });

  it('takes another objective', () => {
    const objective = [
      { kind: 'crossEntropy', output: 'logits', target: 'y', weight: 0.5, ignoreIndex: 3 },
      { kind: 'mean', output: 'logits' },
    ];
    const { model } = prepare({ ...digits, objective });
    const { objective: terms } = model.build(4);
    expect(terms.map(({ weight }) => weight)).toEqual([0.5, 1]);
    expect(terms.map(({ loss }) => loss.shape)).toEqual([[], []]);
  });
});

describe('a plan', () => {
  const plan = makePlan(
    planRequestOf(
      prepare({ ...digits, devices: 3, microbatches: 2, partition: { cuts: ['layer.0', 'layer.1'] } }),
      'train',
    ),
  );

  it('sums up to its model', () => {
    const summary = summarizePlan(plan);
    expect(summary.stages.map((s) => s.device)).toEqual([0, 1, 2]);
    expect(summary.stages.map((s) => s.parameters)).toEqual([0, 64 * 64 + 64, 64 * 10 + 10]);
    expect(summary.stages[0]!.nodes + summary.stages[1]!.nodes + summary.stages[2]!.nodes).toBe(
      Object.keys(plan.partition.assignment).length,
    );
    for (const device of summary.devices) {
      const { byCategory, peakBytesPlanned, maxLiveBytes, naiveSumBytes } = device;
      expect(Object.values(byCategory).reduce((a, b) => a + b, 0)).toBe(peakBytesPlanned);
      expect(peakBytesPlanned).toBeGreaterThanOrEqual(maxLiveBytes);
      expect(naiveSumBytes).toBeGreaterThanOrEqual(maxLiveBytes);
    }
  });

  it('is the same after a round trip through its file', () => {
    const file = readPlanFile(writePlanFile(plan, {}), 'plan.json');
    expect(file).toEqual(JSON.parse(JSON.stringify(planFileOf(plan, {}))));
    const again = makePlan(withDecisions(planRequestOf(prepare({ ...digits, microbatches: 2 }), 'train'), file));
    // With the name of how it was cut: a stored partition is kept as it is.
    expect(planFileOf(again, {})).toEqual(planFileOf(plan, {}));
  });
});

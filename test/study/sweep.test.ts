import { describe, expect, it } from 'vitest';
import { UsageError } from '../../src/core/errors.ts';
import { designBatchStudy } from '../../src/study/batch/design.ts';
import { defaultOptions } from '../../src/study/batch/options.ts';
import { combinationsOf, expandSweep, labelOf } from '../../src/study/sweep.ts';
import { parseExperiment } from '../../src/train/experiment/parse.ts';

const base = (more: object = {}) =>
  parseExperiment({ model: { kind: 'mlp', hidden: [8] }, data: { kind: 'digits' }, ...more }, 'test');
const thrown = (run: () => unknown): UsageError => {
  try {
    run();
  } catch (error) {
    if (error instanceof UsageError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
};
const options = defaultOptions(false);
const design = (more: object = {}, given = options) => designBatchStudy(base(more), given, 'test');

describe('a sweep', () => {
  it('is every combination of its values, the last key changing fastest', () => {
    expect(combinationsOf({ a: [1, 2], b: ['x', 'y'] })).toEqual([
      { a: 1, b: 'x' },
      { a: 1, b: 'y' },
      { a: 2, b: 'x' },
      { a: 2, b: 'y' },
    ]);
    expect(combinationsOf({})).toEqual([{}]);
  });

  it('sets nested keys, whole objects and places in lists, over the experiment', () => {
    const found = expandSweep(
      base({ devices: 2, optimizer: { kind: 'sgd', lr: 0.5, momentum: 0.9 } }),
      { 'data.batchSize': [16], 'optimizer.kind': ['sgd', 'adam'], 'devices.1.memory': ['1MiB'] },
      'test',
    );
    const [sgd, adam] = found.map((c) => c.experiment);
    expect(sgd).toMatchObject({
      data: { batchSize: 16 },
      optimizer: { kind: 'sgd', lr: 0.5, momentum: 0.9 },
      devices: [{ backend: 'wasm' }, { memory: 2 ** 20 }],
    });
    // Another kind has other settings: the rate of the old one is none of its.
    expect(adam!.optimizer).toMatchObject({ kind: 'adam', lr: 1e-3 });
    expect(adam!.optimizer).not.toHaveProperty('momentum');
    expect(found[1]!.label).toBe('data.batchSize 16, optimizer.kind adam, devices.1.memory 1MiB');
  });

  it('takes counts of devices like the listed ones, and no more of unlike ones than are listed', () => {
    const alike = expandSweep(base({ devices: [{ memory: '1MiB', speed: 2 }] }), { devices: [1, 3] }, 'test');
    expect(alike.map((c) => c.label)).toEqual(['devices 1', 'devices 3']);
    expect(alike[1]!.experiment.devices).toEqual(new Array(3).fill({ backend: 'wasm', memory: 2 ** 20, speed: 2 }));
    const unlike = base({ devices: [{ memory: '1MiB' }, { memory: '2MiB' }] });
    const [first] = expandSweep(unlike, { devices: [1, 2] }, 'test');
    expect(first!.experiment.devices).toMatchObject([{ memory: 2 ** 20 }]);
    const error = thrown(() => expandSweep(unlike, { devices: [3] }, 'test'));
    expect(error.message).toContain('devices 3: the experiment lists 2 devices that differ (1 from 0)');
    expect(error.remedy).toContain('--memory');
    expect(expandSweep(base({ devices: 2 }), { devices: [3] }, 'test')[0]!.experiment.devices).toBe(3);
  });

  it('names a key that no experiment has, with the nearest one, and values that its key does not take', () => {
    const unknown = thrown(() => design({ sweep: { microbatch: [1, 2] } }));
    expect(unknown.message).toContain('sweep.microbatch: expected a key of the experiment');
    expect(unknown.message).toContain('did you mean "sweep.microbatches"');
    const wrong = thrown(() => design({ sweep: { microbatches: [1, 0], schedule: ['gpipe', 'gpip'] } }));
    expect(wrong.message).toContain('sweep.microbatches.1: expected an integer ≥ 1, got 0');
    expect(wrong.message).toContain('sweep.schedule.1');
    expect(thrown(() => design({ sweep: { microbatches: [2, 2] } })).message).toContain('each value once');
    expect(thrown(() => base({ sweep: { microbatches: [] } })).message).toContain('sweep.microbatches');
    expect(thrown(() => base({ sweep: { microbatches: 4 } })).message).toContain('sweep.microbatches');
  });

  it('names every combination that is no experiment, before anything runs', () => {
    const error = thrown(() => design({ sweep: { 'data.batchSize': [4, 64], microbatches: [1, 8, 16] } }));
    expect(error.code).toBe('sweep-combination');
    const { combinations } = error.fields as { combinations: { label: string }[] };
    expect(combinations.map((c) => c.label)).toEqual([
      'data.batchSize 4, microbatches 8',
      'data.batchSize 4, microbatches 16',
    ]);
    const large = thrown(() => design({ sweep: { 'data.batchSize': [9999] }, eval: { fraction: 0.5 } }));
    expect(large.message).toMatch(/data\.batchSize 9999, microbatches 1: the data have 89\d samples/);
  });

  it('leaves to the study what is the study’s', () => {
    for (const key of ['steps', 'epochs', 'seed', 'learningRate.kind']) {
      const value = key === 'learningRate.kind' ? 'cosine' : 3;
      const error = thrown(() => design({ sweep: { [key]: [value] } }));
      expect(error).toMatchObject({ code: 'sweep-key', fields: { key: `sweep.${key}` } });
    }
  });
});

describe('the design of a batch study', () => {
  it('takes batch sizes from 8 to 256 and 1 to 8 microbatches where nothing is said', () => {
    const { batchSizes, microbatches, layouts, variants, baseBatch, base: filled } = design();
    expect(batchSizes).toEqual([8, 16, 32, 64, 128, 256]);
    expect(microbatches).toEqual([1, 2, 4, 8]);
    expect(layouts).toHaveLength(24);
    expect(variants).toEqual([{ name: '', values: {} }]);
    expect(baseBatch).toBe(32);
    expect(filled).toMatchObject({ epochs: 10, eval: { fraction: 0.2 } });
  });

  it('fills in only what suits the given lists', () => {
    expect(design({ sweep: { microbatches: [1, 32] } }).batchSizes).toEqual([32, 64, 128, 256]);
    expect(design({ sweep: { 'data.batchSize': [2, 64] } }).microbatches).toEqual([1, 2]);
  });

  it('tells layouts, which share their trainings, from what changes the training', () => {
    const { layouts, variants } = design({
      sweep: {
        microbatches: [2],
        'data.batchSize': [16],
        schedule: ['gpipe', '1f1b'],
        'optimizer.kind': ['sgd', 'adam'],
      },
    });
    expect(layouts).toHaveLength(4);
    expect(variants.map((v) => v.name)).toEqual(['optimizer.kind sgd', 'optimizer.kind adam']);
    const single = design({ sweep: { schedule: ['gpipe', '1f1b'], 'data.batchSize': [16] } });
    expect([...new Set(single.layouts.map((l) => l.series))]).toEqual(['gpipe', '1f1b']);
    expect(single.variants).toHaveLength(1);
  });

  it('asks for held-out data where an accuracy is the target', () => {
    const given = { ...options, target: { metric: 'accuracy' as const, value: 0.9 } };
    expect(design({}, given).base.eval).toMatchObject({ fraction: 0.2 });
    const fixed = { data: { kind: 'digits', mode: 'fixed' } };
    expect(thrown(() => design(fixed, given))).toMatchObject({ code: 'study-target' });
  });
});

describe('labels', () => {
  it('say keys and values', () => {
    expect(labelOf({ schedule: 'gpipe', 'model.hidden': [8, 8] })).toBe('schedule gpipe, model.hidden [8,8]');
  });
});

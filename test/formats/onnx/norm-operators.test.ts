// Normalisations, softmax, dropout, class losses and training's optimizers: ONNX's own cases, and what those leave out
// (older versions, other attributes) against onnxruntime.
import { describe, expect, it } from 'vitest';
import { gradients } from '../../../src/autodiff/backward.ts';
import { uniform } from '../../../src/core/random.ts';
import { elementCount } from '../../../src/core/types.ts';
import { prepareImport } from '../../../src/formats/onnx/importer.ts';
import { evaluate } from '../../../src/graph/evaluate.ts';
import type { Tensor } from '../../../src/graph/graph.ts';
import type { RefTensor } from '../../../src/graph/op-record.ts';
import { caseNames, differs, hasCases, readCase, runCase } from './operator-case.ts';
import { decoded, graphOf, type NodeInput, type NodeModel, ours, theirs } from './runtime-compare.ts';

const families = [
  'batchnorm',
  'instancenorm',
  'layer_normalization',
  'lrn',
  'mvn',
  'softmax',
  'logsoftmax',
  'hardmax',
  'dropout',
  'training_dropout',
  'nllloss',
  'sce',
  'adam',
  'adagrad',
  'momentum',
  'nesterov',
];

/** Cases that no implementation could agree with, and why. */
const impossible: Readonly<Record<string, string>> = {
  test_adam_multiple: 'computed with epsilon 0.01, while its node states none: the default is 1e-6',
  test_training_dropout: 'the mask of NumPy’s generator',
  test_training_dropout_default: 'the mask of NumPy’s generator',
  test_training_dropout_mask: 'the mask of NumPy’s generator',
  test_training_dropout_default_mask: 'the mask of NumPy’s generator',
};

const shortName = (name: string): string => name.replace(/^.*\//, '');

const cases = hasCases
  ? caseNames().filter((name) => {
      const short = shortName(name);
      const ofFamily = families.some((family) => short.startsWith(`test_${family}`));
      const byTorch = /^pytorch.*(Norm\dd|oftmax)/.test(name);
      return (ofFamily || byTorch) && !short.endsWith('_expanded');
    })
  : [];

describe.runIf(hasCases)('the cases of ONNX', () => {
  it('are there', () => {
    expect(cases.length).toBeGreaterThan(110);
  });

  it.each(cases)('%s', (name) => {
    const c = readCase(name);
    const mode = /train/.test(name) ? 'training' : 'evaluation';
    const reason = impossible[shortName(name)];
    // Dropout's ratio is a float, and must be known in training.
    const constants = /training_dropout/.test(name) ? 'all' : 'integers';
    const difference = differs(runCase(c, { mode, constants }), c, 1e-4, 1e-5);
    if (reason) expect(difference, reason).toBeDefined();
    else expect(difference).toBeUndefined();
  });
});

const draw = (dims: readonly number[], seed = 1, [low, high] = [-2, 2]): NodeInput => ({
  dims,
  data: [...uniform({ seed, stream: 'onnx' }, elementCount(dims))].map((u) => Math.fround(low! + (high! - low!) * u)),
});
const channels = (c: number): NodeInput[] => [draw([c], 2), draw([c], 3)];
const statistics = (c: number): NodeInput[] => [draw([c], 4), draw([c], 5, [0.5, 2])];

const inRuntime: readonly (NodeModel & { readonly title: string })[] = [
  ...([1, 2, 3, -1] as const).flatMap((axis) =>
    (['Softmax', 'LogSoftmax', 'Hardmax'] as const).flatMap((opType) =>
      [11, 13].map((opset) => ({
        title: `${opType}-${opset} axis ${axis}`,
        opType,
        opset,
        inputs: [draw([2, 3, 4, 5])],
        attributes: { axis },
      })),
    ),
  ),
  ...[11, 13].flatMap((opset) =>
    (['Softmax', 'LogSoftmax', 'Hardmax'] as const).map((opType) => ({
      title: `${opType}-${opset} without axis`,
      opType,
      opset,
      inputs: [draw([2, 3, 4])],
    })),
  ),
  {
    title: 'Hardmax takes the first of equals',
    opType: 'Hardmax',
    opset: 13,
    inputs: [{ dims: [2, 4], data: [1, 3, 3, 0, -1, -1, -1, -1] }],
  },
  ...[1, 2].flatMap((p) =>
    [0, 1, -1].map((axis) => ({
      title: `LpNormalization p ${p} axis ${axis}`,
      opType: 'LpNormalization',
      opset: 17,
      inputs: [draw([3, 4, 5])],
      attributes: { p, axis },
    })),
  ),
  {
    title: 'LpNormalization of zeros',
    opType: 'LpNormalization',
    opset: 17,
    inputs: [{ dims: [2, 3], data: [0, 0, 0, 3, 0, 4] }],
  },
  ...[1, 3, 5, 9].map((size) => ({
    title: `LRN of ${size}`,
    opType: 'LRN',
    opset: 13,
    inputs: [draw([2, 4, 3, 3])],
    attributes: { size, alpha: 0.3, beta: 0.6, bias: { float: 2 } },
  })),
  {
    title: 'LRN of a window wider than all channels on both sides',
    opType: 'LRN',
    opset: 13,
    inputs: [draw([1, 2, 3, 3])],
    attributes: { size: 9 },
  },
  {
    title: 'InstanceNormalization of sequences',
    opType: 'InstanceNormalization',
    opset: 7,
    inputs: [draw([2, 3, 7]), ...channels(3)],
    attributes: { epsilon: 0.01 },
  },
  {
    title: 'LayerNormalization without bias',
    opType: 'LayerNormalization',
    opset: 17,
    inputs: [draw([2, 3, 4]), draw([3, 4], 2)],
    attributes: { axis: 1 },
    outputs: ['FLOAT', 'FLOAT', 'FLOAT'],
  },
  {
    title: 'MeanVarianceNormalization over other axes',
    opType: 'MeanVarianceNormalization',
    opset: 13,
    inputs: [draw([2, 3, 4, 5])],
    attributes: { axes: [1, 2, 3] },
  },
  ...[7, 9, 14, 15].map((opset) => ({
    title: `BatchNormalization-${opset} in evaluation`,
    opType: 'BatchNormalization',
    opset,
    inputs: [draw([3, 2, 5]), ...channels(2), ...statistics(2)],
    attributes: { epsilon: 0.01, momentum: 0.8 },
  })),
  ...(['none', 'sum', 'mean'] as const).map((reduction) => ({
    title: `SoftmaxCrossEntropyLoss, ${reduction}, weights, ignored class`,
    opType: 'SoftmaxCrossEntropyLoss',
    opset: 13,
    inputs: [
      draw([2, 4, 3]),
      { dtype: 'INT64' as const, dims: [2, 3], data: [0, 1, 3, 2, 1, 0] },
      draw([4], 2, [0.1, 2]),
    ],
    attributes: { reduction, ignore_index: 1 },
    outputs: ['FLOAT', 'FLOAT'] as const,
  })),
];

describe('as onnxruntime', () => {
  it.each(inRuntime)('$title', async (model) => {
    const expected = await theirs(model);
    const found = ours(model);
    expect(found.map((t) => t.type.shape)).toEqual(expected.map((t) => t.dims));
    expected.forEach(({ data }, k) => {
      data.forEach((wanted, i) => {
        const value = found[k]!.data[i]!;
        expect(Math.abs(value - wanted), `output ${k}[${i}]: ${value} for ${wanted}`).toBeLessThan(
          2e-5 * (1 + Math.abs(wanted)),
        );
      });
    });
  });
});

describe('LRN', () => {
  // onnxruntime takes odd sizes only.
  it.each([2, 4])('of %i channels has the lesser half before', (size) => {
    const x = draw([1, 5, 1, 1]);
    const [y] = ours({ opType: 'LRN', opset: 13, inputs: [x], attributes: { size, alpha: 0.3, beta: 0.5 } });
    x.data.forEach((v, c) => {
      const [from, to] = [c - Math.floor((size - 1) / 2), c + Math.ceil((size - 1) / 2)];
      const total = x.data.reduce((s, w, i) => (i >= from && i <= to ? s + w * w : s), 0);
      expect(y!.data[c]).toBeCloseTo(v / Math.sqrt(1 + (0.3 / size) * total), 6);
    });
  });
});

describe('GroupNormalization', () => {
  const x = draw([2, 4, 3]);
  const shared = { opType: 'GroupNormalization', attributes: { num_groups: 2, epsilon: 0.01 } };
  const instance = (weights: readonly NodeInput[]): NodeModel => ({
    opType: 'InstanceNormalization',
    opset: 17,
    inputs: [{ dims: [2, 2, 6], data: x.data }, ...weights],
    attributes: { epsilon: 0.01 },
  });

  it('scales and shifts groups in version 18', async () => {
    const weights = channels(2);
    const [wanted] = await theirs(instance(weights));
    const [found] = ours({ ...shared, opset: 18, inputs: [x, ...weights] });
    found!.data.forEach((v, i) => {
      expect(v).toBeCloseTo(wanted!.data[i]!, 4);
    });
  });

  it('scales and shifts channels in version 21', async () => {
    const weights = channels(4) as [NodeInput, NodeInput];
    const neutral = [
      { dims: [2], data: [1, 1] },
      { dims: [2], data: [0, 0] },
    ];
    const [plain] = await theirs(instance(neutral));
    const [found] = ours({ ...shared, opset: 21, inputs: [x, ...weights] });
    found!.data.forEach((v, i) => {
      const c = Math.floor(i / 3) % 4;
      expect(v).toBeCloseTo(plain!.data[i]! * weights[0].data[c]! + weights[1].data[c]!, 4);
    });
  });
});

describe('LayerNormalization', () => {
  it('takes weights that broadcast', () => {
    const x = draw([2, 3, 4]);
    const model = (scale: NodeInput, bias: NodeInput): NodeModel => ({
      opType: 'LayerNormalization',
      opset: 17,
      inputs: [x, scale, bias],
      attributes: { axis: -2 },
    });
    const [full] = ours(
      model({ dims: [3, 4], data: new Array(12).fill(2) }, { dims: [3, 4], data: new Array(12).fill(0.5) }),
    );
    const [one] = ours(model({ dims: [1], data: [2] }, { dims: [3, 1], data: [0.5, 0.5, 0.5] }));
    const [beyond] = ours(model({ dims: [2, 1, 1], data: [2, 2] }, { dims: [1], data: [0.5] }));
    const [lead] = ours(model({ dims: [1, 1, 4], data: [2, 2, 2, 2] }, { dims: [1, 3, 1], data: [0.5, 0.5, 0.5] }));
    for (const other of [one!, beyond!, lead!]) {
      other.data.forEach((v, i) => {
        expect(v).toBeCloseTo(full!.data[i]!, 12);
      });
    }
  });

  it('computes statistics in f32 only', () => {
    const inputs = [draw([2, 3]), draw([3])];
    expect(() => graphOf({ opType: 'LayerNormalization', opset: 17, inputs, attributes: { stash_type: 11 } })).toThrow(
      'stash_type 11',
    );
  });
});

describe('BatchNormalization in training', () => {
  const x = draw([3, 2, 4]);
  const [scale, bias] = channels(2);
  const [mean, variance] = statistics(2);
  const inputs = [x, scale!, bias!, mean!, variance!];
  const momentum = 0.75;
  const epsilon = 0.01;
  const ofChannel = (c: number): number[] => x.data.filter((_, i) => Math.floor(i / 4) % 2 === c);
  const batchMean = [0, 1].map((c) => ofChannel(c).reduce((s, v) => s + v, 0) / 12);
  const batchVariance = [0, 1].map((c) => ofChannel(c).reduce((s, v) => s + (v - batchMean[c]!) ** 2, 0) / 12);
  const normalized = x.data.map((v, i) => {
    const c = Math.floor(i / 4) % 2;
    return ((v - batchMean[c]!) / Math.sqrt(batchVariance[c]! + epsilon)) * scale!.data[c]! + bias!.data[c]!;
  });
  const mixed = (before: NodeInput, now: number[]) =>
    now.map((v, c) => before.data[c]! * momentum + v * (1 - momentum));
  const close = (found: RefTensor, wanted: readonly number[]) =>
    wanted.forEach((v, i) => {
      expect(found.data[i]).toBeCloseTo(v, 6);
    });

  const version9: NodeModel = {
    opType: 'BatchNormalization',
    opset: 9,
    inputs,
    attributes: { epsilon, momentum },
    outputs: ['FLOAT', 'FLOAT', 'FLOAT', 'FLOAT', 'FLOAT'],
  };
  const version15: NodeModel = {
    ...version9,
    opset: 15,
    attributes: { epsilon, momentum, training_mode: 1 },
    outputs: ['FLOAT', 'FLOAT', 'FLOAT'],
  };

  it.each([
    ['five outputs in version 9', version9],
    ['training_mode in version 15', version15],
  ])('by %s', (_, model) => {
    const found = ours(model, 'training');
    close(found[0]!, normalized);
    close(found[1]!, mixed(mean!, batchMean));
    close(found[2]!, mixed(variance!, batchVariance));
    if (model.opset === 9) {
      close(found[3]!, batchMean);
      close(found[4]!, batchVariance);
    }
  });

  it('uses the running statistics in a graph for evaluation, or where the node does not ask for training', () => {
    const plain = x.data.map((v, i) => {
      const c = Math.floor(i / 4) % 2;
      return ((v - mean!.data[c]!) / Math.sqrt(variance!.data[c]! + epsilon)) * scale!.data[c]! + bias!.data[c]!;
    });
    close(ours(version9, 'evaluation')[0]!, plain);
    close(ours(version15, 'evaluation')[0]!, plain);
    close(ours({ ...version9, outputs: ['FLOAT'] }, 'training')[0]!, plain);
    close(ours({ ...version15, attributes: { epsilon }, outputs: ['FLOAT'] }, 'training')[0]!, plain);
  });

  it('refuses statistics of every activation', () => {
    expect(() => graphOf({ ...version9, opset: 7, attributes: { spatial: 0 } })).toThrow('spatial = 0');
  });
});

describe('Dropout', () => {
  const ones: NodeInput = { dims: [8, 64], data: new Array(512).fill(1) };
  const known = (dtype: 'FLOAT' | 'BOOL', value: number): NodeInput => ({
    dtype,
    dims: [],
    data: [value],
    constant: true,
  });
  const model = (ratio: number, attributes: NodeModel['attributes'] = {}): NodeModel => ({
    opType: 'Dropout',
    opset: 13,
    inputs: [ones, known('FLOAT', ratio), known('BOOL', 1)],
    outputs: ['FLOAT', 'BOOL'],
    attributes,
  });
  const batched = (m: NodeModel, places: readonly number[], step = 0): RefTensor[] => {
    const one = { ...m, inputs: [{ ...ones, dims: [places.length, 64] }, ...m.inputs.slice(1)] };
    const graph = prepareImport(decoded(one), { batchAxes: { in0: 0 } }).build(places.length, 'training');
    const feeds = new Map<Tensor, RefTensor>();
    for (const t of graph.sources('input')) {
      const { name } = t.node.source!;
      const data = name === 'random/samples' ? places : name === 'random/key' ? [5, 0, step, 0] : ones.data;
      feeds.set(t, { type: t.type, data: Float64Array.from(data.slice(0, elementCount(t.shape))) });
    }
    return evaluate([...graph.outputs.values()], feeds);
  };
  const all = [0, 1, 2, 3, 4, 5, 6, 7];

  it('drops and scales in training, with its mask as second output', () => {
    const [y, mask] = batched(model(0.75), all);
    expect([...y!.data]).toEqual([...mask!.data].map((kept) => kept * 4));
    expect(Math.abs(mask!.data.reduce((s, v) => s + v, 0) / 512 - 0.25)).toBeLessThan(0.08);
  });

  it('gives a sample the same mask in any chunk, and another in the next step', () => {
    const whole = [...batched(model(0.5), all)[0]!.data];
    const parts = [all.slice(0, 3), all.slice(3)].flatMap((chunk) => [...batched(model(0.5), chunk)[0]!.data]);
    expect(parts).toEqual(whole);
    expect([...batched(model(0.5), all, 1)[0]!.data]).not.toEqual(whole);
    expect([...batched(model(0.5, { seed: 3 }), all)[0]!.data]).not.toEqual(whole);
  });

  it('is the identity in evaluation, before version 12, and where nothing is dropped', () => {
    for (const [m, mode] of [
      [model(0.5), 'evaluation'],
      [{ ...model(0.5), opset: 10, inputs: [ones] }, 'training'],
      [model(0), 'training'],
    ] as const) {
      const [y, mask] = ours(m, mode);
      expect([...y!.data]).toEqual(ones.data);
      expect(mask!.type).toEqual({ dtype: 'bool', shape: [8, 64] });
      expect(new Set(mask!.data)).toEqual(new Set([1]));
    }
  });

  it('refuses a ratio that is no probability', () => {
    expect(() => graphOf(model(1.5), 'training')).toThrow('the ratio must lie between 0 and 1, got 1.5');
  });
});

describe('gradients at values where a formula divides by zero', () => {
  it.each([
    ['LpNormalization', [2, 3], {}],
    ['MeanVarianceNormalization', [1, 1, 2, 2], {}],
    ['Hardmax', [2, 3], {}],
  ] as const)('%s of zeros', (opType, dims, attributes) => {
    const model: NodeModel = {
      opType,
      opset: 13,
      inputs: [{ dims, data: new Array(elementCount(dims)).fill(0) }],
      attributes,
    };
    const graph = graphOf(model);
    const x = graph.sources('input')[0]!;
    const y = [...graph.outputs.values()][0]!;
    const zero: RefTensor = { type: x.type, data: new Float64Array(elementCount(dims)) };
    const cotangent = graph.constant({
      type: y.type,
      data: Float32Array.from({ length: zero.data.length }, (_, i) => i),
    });
    const [dx] = gradients([{ tensor: y, cotangent }], [x]);
    if (dx) expect(evaluate([dx], new Map([[x, zero]]))[0]!.data.every(Number.isFinite)).toBe(true);
    else expect(opType).toBe('Hardmax');
  });
});

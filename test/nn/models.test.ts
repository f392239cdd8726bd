import { describe, expect, it } from 'vitest';
import { gradients } from '../../src/autodiff/backward.ts';
import { UsageError } from '../../src/core/errors.ts';
import { elementCount } from '../../src/core/types.ts';
import { Graph } from '../../src/graph/graph.ts';
import { models } from '../../src/nn/index.ts';
import { fillParameters, generator, nodeList, valuesOf } from './helpers.ts';

const configs: readonly models.ModelConfig[] = [
  { kind: 'mlp', inputs: [1, 4, 4], hidden: [6, 5], classes: 3, activation: 'tanh' },
  { kind: 'mlp', inputs: 7, hidden: [], classes: 2 },
  { kind: 'lenet', size: 8, classes: 10 },
  { kind: 'lenet', channels: 2, size: [5, 6], classes: 4, widths: [3], hidden: [], pool: 'avg' },
  { kind: 'mlp', inputs: 5, hidden: [6], classes: 3, dropout: 0.25 },
  { kind: 'lenet', size: 4, classes: 3, widths: [2], hidden: [5], dropout: 0.25 },
  { kind: 'resnet', size: 6, classes: 3, widths: [4, 8], blocks: [1, 2], norm: 'group', groups: 2 },
  {
    kind: 'resnet',
    channels: 2,
    size: [7, 5],
    classes: 3,
    widths: [4],
    blocks: 1,
    block: 'bottleneck',
    stem: 'imagenet',
    norm: 'none',
  },
  { kind: 'resnet', size: 4, classes: 2, widths: [2, 3], blocks: 1 },
  { kind: 'unet', size: [6, 4], classes: 2, depth: 1, width: 2, upsampling: 'nearest' },
  { kind: 'unet', channels: 2, size: [4, 8], classes: 3, depth: 2, width: 2, norm: 'none', dropout: 0.5 },
  { kind: 'unet', size: 4, classes: 2, depth: 1, width: 4, convs: 1, norm: 'group', groups: 4, upsampling: 'bilinear' },
  { kind: 'gpt', vocab: 5, context: 3, layers: 1, heads: 2, width: 4, dropout: 0.25 },
  { kind: 'gpt', vocab: 11, context: 5, layers: 2, heads: 2, width: 8 },
  { kind: 'gpt', vocab: 7, context: 4, layers: 1, heads: 1, width: 4, tied: false, mlpRatio: 2 },
  { kind: 'lstm', vocab: 9, context: 5, hidden: 6, numLayers: 2 },
  { kind: 'lstm', vocab: 9, context: 3, hidden: [5, 4], embedding: 3, cell: 'gru', bidirectional: true },
  { kind: 'lstm', inputs: 2, context: 4, hidden: 5, classes: 3, cell: 'rnn' },
];

const label = (config: models.ModelConfig): string => JSON.stringify(config);

describe.each(configs.map((config) => [label(config), config] as const))('%s', (_, config) => {
  const listAt = (batch: number, backward: boolean): string[] => {
    const { graph, objective } = models.modelOf(config).build(batch);
    const roots = objective.map(({ loss }) => ({ tensor: loss, cotangent: graph.scalar(1) }));
    if (backward) gradients(roots, graph.parameters);
    return nodeList(graph);
  };

  it('builds the same nodes at every batch size', () => {
    for (const batch of [1, 3, 8]) expect(listAt(batch, false)).toEqual(listAt(2, false));
    for (const batch of [3, 8]) expect(listAt(batch, true)).toEqual(listAt(2, true));
  });

  it('builds the same backward nodes for a chunk of one sample', () => {
    expect(listAt(1, true)).toEqual(listAt(2, true));
  });

  it('computes a loss, and its shares of two chunks add up to it', () => {
    const next = generator(3);
    const values = (n: number, high: number | undefined) =>
      Array.from({ length: n }, () => (high ? Math.floor(((next() + 1) / 2) * high) : next()));
    const vocab = 'vocab' in config ? config.vocab : undefined;
    const classes = vocab ?? ('classes' in config ? config.classes : undefined);
    // In training, batch normalisation gives a chunk other values.
    const isOfBatch = (config.kind === 'resnet' || config.kind === 'unet') && config.norm === undefined;
    const mode = isOfBatch ? 'evaluation' : 'training';
    const run = (batch: number, data: { x: number[]; y: number[] }, count: number, from = 0) => {
      const { graph, objective } = models.modelOf(config).build(batch, mode);
      const [loss] = objective;
      const isRandom = graph.sources('input').some((t) => t.name === 'random/key');
      const random = {
        'random/key': [1, 0, 2, 0],
        'random/samples': Array.from({ length: batch }, (_, i) => i + from),
      };
      return valuesOf(
        [loss!.loss, graph.outputs.get('logits')!],
        { ...data, ...(isRandom ? random : {}), 'scale/y': [1 / count] },
        fillParameters(graph),
      );
    };
    const whole = models.modelOf(config).build(3).graph;
    const sizeOf = (name: 'x' | 'y') => elementCount(whole.node(name).outputs[0]!.shape);
    const x = values(sizeOf('x'), vocab);
    const y = values(sizeOf('y'), classes);
    const [loss, logits] = run(3, { x, y }, y.length);
    const part = (list: number[], from: number, to: number) =>
      list.slice((from * list.length) / 3, (to * list.length) / 3);
    const first = run(2, { x: part(x, 0, 2), y: part(y, 0, 2) }, y.length);
    const second = run(1, { x: part(x, 2, 3), y: part(y, 2, 3) }, y.length, 2);
    expect(first[0]![0]! + second[0]![0]!).toBeCloseTo(loss![0]!, 12);
    expect([...first[1]!, ...second[1]!]).toEqual([...logits!]);
    expect(loss![0]).toBeGreaterThan(0);
    expect(logits!.every(Number.isFinite)).toBe(true);
  });

  it('can be built without target and loss', () => {
    const { graph, objective } = models.modelOf(config, { objective: false }).build(2);
    expect(objective).toEqual([]);
    const fed = graph.sources('input').map((t) => t.name);
    expect(fed.filter((name) => !name.startsWith('random/'))).toEqual(['x']);
    const { graph: evaluation } = models.modelOf(config, { objective: false }).build(2, 'evaluation');
    expect(evaluation.sources('input').map((t) => t.name)).toEqual(['x']);
    // A partition of one mode serves the other, and parameters are the same.
    for (const kind of ['parameter', 'buffer'] as const) {
      const types = (g: Graph) => g.sources(kind).map(String);
      expect(types(evaluation)).toEqual(types(graph));
    }
    expect(graph.outputs.has('logits')).toBe(true);
  });
});

describe('gpt', () => {
  const config = { vocab: 11, context: 6, layers: 2, heads: 2, width: 8 };

  it('is causal: a later token does not change earlier outputs, an earlier one changes later outputs', () => {
    const graph = new Graph();
    const { outputs } = models.gpt(graph, 1, config, { objective: false });
    const parameters = fillParameters(graph);
    const logits = (x: number[]) => valuesOf([outputs.logits!], { x }, parameters)[0]!;
    const base = logits([1, 2, 3, 4, 5, 6]);
    const late = logits([1, 2, 3, 9, 5, 6]);
    const rows = (data: Float64Array, from: number, to: number) => [...data.subarray(from * 11, to * 11)];
    expect(rows(late, 0, 3)).toEqual(rows(base, 0, 3));
    for (let t = 3; t < 6; t++) expect(rows(late, t, t + 1)).not.toEqual(rows(base, t, t + 1));
  });

  it('ties the output layer to the token embedding: one parameter, used twice', () => {
    const parametersOf = (tied: boolean) => {
      const graph = new Graph();
      models.gpt(graph, 2, { ...config, tied });
      return graph;
    };
    const tied = parametersOf(true);
    const names = tied.parameters.map((t) => t.name);
    expect(names).not.toContain('head.weight');
    const token = tied.node('embedding.token.weight').outputs[0]!;
    const users = tied.nodes.filter((n) => n.inputs.includes(token)).map((n) => n.name);
    expect(users).toEqual(['embedding.gather', 'head.matmul']);
    expect(parametersOf(false).parameters.map((t) => t.name)).toEqual([...names, 'head.weight']);
  });

  it("names a block's parameters as PyTorch's TransformerEncoderLayer does", () => {
    const graph = new Graph();
    models.gpt(graph, 1, config);
    const block = graph.parameters.filter((t) => t.name.startsWith('block.1.'));
    expect(Object.fromEntries(block.map((t) => [t.name.slice('block.1.'.length), [...t.shape]]))).toEqual({
      'norm1.weight': [8],
      'norm1.bias': [8],
      'self_attn.in_proj_weight': [24, 8],
      'self_attn.in_proj_bias': [24],
      'self_attn.out_proj.weight': [8, 8],
      'self_attn.out_proj.bias': [8],
      'norm2.weight': [8],
      'norm2.bias': [8],
      'linear1.weight': [32, 8],
      'linear1.bias': [32],
      'linear2.weight': [8, 32],
      'linear2.bias': [8],
    });
  });
});

describe('lstm', () => {
  const shapesOf = (config: models.LstmConfig) => {
    const graph = new Graph();
    models.lstm(graph, 2, config);
    return Object.fromEntries(graph.parameters.map((t) => [t.name, [...t.shape]]));
  };

  it('has PyTorch’s parameters in every layer, an embedding where it reads tokens, and an output at every step', () => {
    expect(shapesOf({ vocab: 7, context: 4, hidden: 3, numLayers: 2 })).toEqual({
      'embedding.weight': [7, 3],
      'layer.0.weight_ih_l0': [12, 3],
      'layer.0.weight_hh_l0': [12, 3],
      'layer.0.bias_ih_l0': [12],
      'layer.0.bias_hh_l0': [12],
      'layer.1.weight_ih_l0': [12, 3],
      'layer.1.weight_hh_l0': [12, 3],
      'layer.1.bias_ih_l0': [12],
      'layer.1.bias_hh_l0': [12],
      'head.weight': [7, 3],
      'head.bias': [7],
    });
    const both = shapesOf({ inputs: 2, classes: 5, context: 4, hidden: [3, 4], cell: 'gru', bidirectional: true });
    expect(both['layer.0.weight_ih_l0']).toEqual([9, 2]);
    expect(both['layer.1.weight_ih_l0_reverse']).toEqual([12, 6]);
    expect(both['head.weight']).toEqual([5, 8]);
    expect(Object.keys(both)).not.toContain('embedding.weight');
  });

  it('reads a sequence in one direction: a later token does not change earlier outputs', () => {
    const graph = new Graph();
    const { outputs } = models.lstm(graph, 1, { vocab: 5, context: 4, hidden: 3, numLayers: 2 }, { objective: false });
    const parameters = fillParameters(graph);
    const rows = (x: number[]) => Array.from(valuesOf([outputs.logits!], { x }, parameters)[0]!);
    const [a, b] = [rows([1, 2, 3, 4]), rows([1, 2, 0, 4])];
    expect(b.slice(0, 10)).toEqual(a.slice(0, 10));
    expect(b.slice(10, 15)).not.toEqual(a.slice(10, 15));
    expect(b.slice(15)).not.toEqual(a.slice(15));
  });

  it('drops between layers, in training only', () => {
    const dropped = (mode: 'training' | 'evaluation') => {
      const config = { kind: 'lstm', vocab: 5, context: 4, hidden: 3, numLayers: 3, dropout: 0.5 } as const;
      const { graph } = models.modelOf(config).build(2, mode);
      return graph.nodes.flatMap((n) => (n.op?.name === 'dropout' ? [[n.name, n.attrs.axis]] : []));
    };
    expect(dropped('training')).toEqual([
      ['layer.0.dropout', 1],
      ['layer.1.dropout', 1],
    ]);
    expect(dropped('evaluation')).toEqual([]);
  });

  it('refuses what contradicts itself', () => {
    expect(() => shapesOf({ context: 4, hidden: 3 })).toThrow('reads tokens (vocab) or numbers (inputs, with classes)');
    expect(() => shapesOf({ context: 4, hidden: 3, inputs: 2 })).toThrow('or numbers (inputs, with classes)');
    expect(() => shapesOf({ context: 4, hidden: [3, 4], numLayers: 3, vocab: 2 })).toThrow('does not list 3 layers');
  });
});

it('lenet works on images of 28 × 28', () => {
  const graph = new Graph();
  const { outputs } = models.lenet(graph, 2, { size: 28, classes: 10 });
  expect(outputs.logits!.shape).toEqual([2, 10]);
  expect(graph.node('fc.0.weight').outputs[0]!.shape).toEqual([64, 16 * 7 * 7]);
});

it('a wrong configuration names the key and the nearest one', () => {
  const wrong: [Record<string, unknown>, string][] = [
    [{ kind: 'mlpp' }, 'did you mean mlp?'],
    [{ kind: 'mlp', inputs: 4, hiden: [3], classes: 2 }, 'no key hiden; did you mean hidden?'],
    [{ kind: 'mlp', inputs: 4, hidden: [3] }, 'needs classes'],
    [{ kind: 'mlp', inputs: 4, hidden: [0], classes: 2 }, 'model.hidden must be a list of positive integers'],
    [{ kind: 'lenet', size: 8, classes: 2, pool: 'mean' }, 'model.pool must be "max" or "avg"'],
    [{ kind: 'lstm', vocab: 4, context: 2, hidden: 3, cell: 'lst' }, 'model.cell must be "lstm" or "gru" or "rnn"'],
    [{ kind: 'lstm', vocab: 4, hidden: 3 }, 'model lstm needs context'],
    [{ kind: 'gpt', vocab: 4, context: 2, layers: 1.5, heads: 1, width: 4 }, 'model.layers must be a positive integer'],
  ];
  for (const [config, message] of wrong) {
    expect(() => models.checkModel(config)).toThrow(UsageError);
    expect(() => models.checkModel(config)).toThrow(message);
  }
});

it('too many halvings are refused', () => {
  expect(() => models.lenet(new Graph(), 1, { size: 7, classes: 2, widths: [2, 2, 2] })).toThrow('7 × 7');
});

describe('resnet', () => {
  const build = (config: models.ResnetConfig) => {
    const graph = new Graph();
    models.resnet(graph, 1, config);
    return graph;
  };
  const count = (graph: Graph): number => graph.parameters.reduce((n, t) => n + elementCount(t.shape), 0);
  const large = { channels: 3, size: 64, classes: 1000, widths: [64, 128, 256, 512], stem: 'imagenet' } as const;

  it('has as many parameters as torchvision documents, and the paper', () => {
    expect(count(build({ ...large, blocks: [2, 2, 2, 2] }))).toBe(11_689_512); // resnet18
    expect(count(build({ ...large, blocks: [3, 4, 6, 3] }))).toBe(21_797_672); // resnet34
    expect(count(build({ ...large, blocks: [3, 4, 6, 3], block: 'bottleneck' }))).toBe(25_557_032); // resnet50
    // He et al., table 6, ResNet-20 and 56: 0.27 M and 0.85 M, without the projections (here 2,752 more).
    expect(count(build({ channels: 3, size: 32, classes: 10 }))).toBe(272_474);
    expect(count(build({ channels: 3, size: 32, classes: 10, blocks: 9 }))).toBe(855_770);
  });

  it("names and shapes everything as torchvision's state dict", () => {
    const graph = build({ ...large, blocks: [2, 2, 2, 2] });
    const names = [...graph.parameters, ...graph.sources('buffer')];
    const found = Object.fromEntries(names.map((t) => [t.name, [...t.shape]]));
    expect(found).toMatchObject({
      'conv1.weight': [64, 3, 7, 7],
      'bn1.weight': [64],
      'bn1.running_mean': [64],
      'layer1.0.conv1.weight': [64, 64, 3, 3],
      'layer1.1.bn2.running_var': [64],
      'layer2.0.conv1.weight': [128, 64, 3, 3],
      'layer2.0.downsample.0.weight': [128, 64, 1, 1],
      'layer2.0.downsample.1.bias': [128],
      'layer4.1.conv2.weight': [512, 512, 3, 3],
      'fc.weight': [1000, 512],
      'fc.bias': [1000],
    });
    // 20 convolutions and normalisations each, and fc.
    expect(names).toHaveLength(20 + 4 * 20 + 2);
    expect(graph.outputs.get('logits')!.shape).toEqual([1, 1000]);
  });

  it('says what does not fit', () => {
    expect(() => build({ size: 8, classes: 2, blocks: [1, 2] })).toThrow('widths has 3 stages and blocks 2');
    expect(() => build({ size: 8, classes: 2, norm: 'group', groups: 5 })).toThrow('16 channels do not make 5 groups');
  });
});

describe('unet', () => {
  it('gives a class a pixel, and needs a size that it can halve', () => {
    const graph = new Graph();
    const { inputs, outputs } = models.unet(graph, 2, { size: [8, 12], classes: 3, depth: 2, width: 4 });
    expect(outputs.logits!.shape).toEqual([2, 8, 12, 3]);
    expect(inputs.y!.type).toEqual({ dtype: 'i32', shape: [2, 8, 12] });
    expect(() => models.unet(new Graph(), 1, { size: [8, 12], classes: 3, depth: 3 })).toThrow(
      '8 × 12 cannot be halved 3 times',
    );
  });
});

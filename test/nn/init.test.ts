// First values: the distributions that PyTorch's documentation states, as they are drawn for a session.
import { describe, expect, it } from 'vitest';
import { elementCount } from '../../src/core/types.ts';
import { Graph, type Tensor } from '../../src/graph/graph.ts';
import * as nn from '../../src/nn/index.ts';
import { initialValue } from '../../src/train/fill.ts';

const drawn = (t: Tensor): number[] => [...initialValue(t.type, t.node.source!.init!, 3, t.name).data];

function parametersOf(shape: readonly number[], layer: (x: Tensor) => unknown, dtype: 'f32' | 'i32' = 'f32') {
  const graph = new Graph();
  layer(graph.input('x', { shape, dtype }));
  return Object.fromEntries(graph.parameters.map((t) => [t.name, drawn(t)]));
}

/** Compares mean, variance and range with those of a uniform or normal distribution. */
function expectDrawn(values: readonly number[], from: { uniform: number } | { normal: number }) {
  const n = values.length;
  const std = 'uniform' in from ? from.uniform / Math.sqrt(3) : from.normal;
  const mean = values.reduce((s, v) => s + v, 0) / n;
  const variance = values.reduce((s, v) => s + v * v, 0) / n;
  expect(Math.abs(mean)).toBeLessThan((5 * std) / Math.sqrt(n));
  // The variance of v² is 4/45 b⁴ (uniform) or 2 σ⁴ (normal), hence at most 2 σ⁴.
  expect(Math.abs(variance / std ** 2 - 1)).toBeLessThan(5 * Math.sqrt(2 / n));
  if ('uniform' in from) {
    const largest = Math.max(...values.map(Math.abs));
    expect(largest).toBeLessThanOrEqual(from.uniform);
    expect(largest).toBeGreaterThan(0.99 * from.uniform);
  } else expect(Math.max(...values.map(Math.abs))).toBeGreaterThan(2.5 * std);
}

describe('first values', () => {
  it.each<[string, number[], (x: Tensor) => unknown, number]>([
    ['linear', [1, 50], (x) => nn.linear(x, 400), 50],
    ['conv1d', [1, 8, 9], (x) => nn.conv1d(x, 400, { kernel: 5, groups: 2 }), 4 * 5],
    ['conv2d', [1, 6, 9, 9], (x) => nn.conv2d(x, 402, { kernel: [3, 2], groups: 3 }), 2 * 6],
    ['conv3d', [1, 2, 5, 5, 5], (x) => nn.conv3d(x, 400, { kernel: [1, 2, 3] }), 2 * 6],
    // PyTorch takes the second axis of a transposed weight [in, out / groups, …] for the inputs.
    ['convTranspose2d', [1, 40, 3, 3], (x) => nn.convTranspose2d(x, 400, { kernel: 2, groups: 10 }), 40 * 4],
  ])('%s: weight and bias uniform in ±1/√fanIn', (_, shape, layer, fan) => {
    const { weight, bias } = parametersOf(shape, layer);
    expectDrawn(weight!, { uniform: 1 / Math.sqrt(fan) });
    expectDrawn(bias!, { uniform: 1 / Math.sqrt(fan) });
  });

  it('embedding: N(0, 1), the padding row 0', () => {
    const table = (paddingIdx?: number) =>
      parametersOf([2], (x) => nn.embedding(x, { rows: 100, dim: 30, paddingIdx }), 'i32').weight!;
    expectDrawn(table(), { normal: 1 });
    const rows = (values: number[]) => Array.from({ length: 100 }, (_, i) => values.slice(i * 30, (i + 1) * 30));
    const plain = rows(table());
    expect(rows(table(4))).toEqual(plain.with(4, new Array(30).fill(0)));
    expect(rows(table(-1))).toEqual(plain.with(99, new Array(30).fill(0)));
  });

  it('normalisations: weight 1, bias 0, running mean 0 and variance 1; prelu 0.25', () => {
    const graph = new Graph();
    const x = graph.input('x', { shape: [2, 4, 3, 3] });
    nn.batchNorm2d(x, { name: 'batch' });
    nn.groupNorm(x, 2, { name: 'group' });
    nn.instanceNorm2d(x, { name: 'instance', affine: true, trackRunningStats: true });
    nn.layerNorm(x, { name: 'layer' });
    nn.prelu(x, { name: 'prelu' });
    for (const t of [...graph.parameters, ...graph.sources('buffer')]) {
      const value = t.name === 'prelu.weight' ? 0.25 : /weight|var/.test(t.name) ? 1 : 0;
      expect(drawn(t), t.name).toEqual(new Array(elementCount(t.shape)).fill(value));
    }
  });

  it('resnet: N(0, 2 / fanOut) as torchvision; unet: N(0, 2 / fanIn) as the paper', () => {
    const model = (config: nn.models.ModelConfig) =>
      Object.fromEntries(
        nn.models
          .modelOf(config)
          .build(1)
          .graph.parameters.map((t) => [t.name, drawn(t)]),
      );
    const resnet = model({ kind: 'resnet', size: 8, classes: 2, widths: [16, 64], blocks: 1 });
    expectDrawn(resnet['layer2.0.conv1.weight']!, { normal: Math.sqrt(2 / (64 * 9)) });
    expectDrawn(resnet['layer2.0.downsample.0.weight']!, { normal: Math.sqrt(2 / 64) });
    const unet = model({ kind: 'unet', size: 8, classes: 2, width: 16, depth: 1 });
    expectDrawn(unet['bottom.conv1.weight']!, { normal: Math.sqrt(2 / (16 * 9)) });
  });

  it('blocks without normalisation begin as the identity, others where asked', () => {
    const zeros = (more: object) => {
      const config = { kind: 'resnet', size: 4, classes: 2, widths: [8], blocks: 2, ...more } as nn.models.ModelConfig;
      const { graph } = nn.models.modelOf(config).build(1);
      return graph.parameters.filter((t) => /weight/.test(t.name) && drawn(t).every((v) => v === 0)).map((t) => t.name);
    };
    expect(zeros({})).toEqual([]);
    expect(zeros({ zeroInit: true })).toEqual(['layer1.0.bn2.weight', 'layer1.1.bn2.weight']);
    expect(zeros({ norm: 'none' })).toEqual(['layer1.0.conv2.weight', 'layer1.1.conv2.weight']);
    expect(zeros({ norm: 'none', zeroInit: false })).toEqual([]);
    expect(zeros({ norm: 'group', groups: 4, zeroInit: true, block: 'bottleneck' })).toEqual([
      'layer1.0.bn3.weight',
      'layer1.1.bn3.weight',
    ]);
  });
});

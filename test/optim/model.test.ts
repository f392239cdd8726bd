import { describe, expect, it } from 'vitest';
import { exportModel } from '../../src/formats/onnx/export.ts';
import { Graph, type Tensor } from '../../src/graph/graph.ts';
import * as nn from '../../src/nn/index.ts';
import type { Model } from '../../src/optim/model.ts';
import { planOf, squaredError } from '../support/models.ts';

const layers: Readonly<Record<string, (x: Tensor) => Tensor>> = {
  dropout: (x) => nn.dropout(x, { name: 'layer' }),
  runningAverage: (x) => nn.batchNorm1d(x, { name: 'layer' }),
};

const modelWith = (layer: (x: Tensor) => Tensor, told: boolean): Model => ({
  name: 'mine',
  build: (samples, mode) => {
    const graph = new Graph(told ? { mode } : {});
    const x = graph.input('x', { shape: [samples, 3] });
    const t = graph.input('t', { shape: [samples, 3] });
    const y = graph.output('y', nn.linear(layer(x), 3, { name: 'out' }));
    return { graph, objective: [{ loss: squaredError(y, t), weight: 1 }] };
  },
});

describe.each(Object.entries(layers))('a model with %s', (op, layer) => {
  const forward = { programs: { eval: { batch: 4, mode: 'forward', outputs: true } } } as const;
  const parameters = { weight: [3, 3], bias: [3] };
  const values = new Map(
    Object.entries(parameters).map(([name, shape]) => [
      `out.${name}`,
      { type: { dtype: 'f32', shape } as const, data: new Float32Array(shape.reduce((n, d) => n * d, 1)) },
    ]),
  );

  it('is refused for evaluation where its graph does not know of it', () => {
    const wrong = expect.objectContaining({
      code: 'training-graph',
      fields: expect.objectContaining({ op }),
      remedy: expect.stringContaining('new Graph({ mode })'),
    });
    expect(() => planOf(modelWith(layer, false), forward)).toThrow(wrong);
    expect(() => exportModel(modelWith(layer, false), { parameters: values })).toThrow(wrong);
    expect(() => planOf(modelWith(layer, false))).not.toThrow();
  });

  it('is planned and exported for evaluation where it does', () => {
    expect(planOf(modelWith(layer, true), forward).programs.eval).toBeDefined();
    expect(exportModel(modelWith(layer, true), { parameters: values }).batch).toBe('symbolic');
  });
});

// Whole models: written, run by onnxruntime, and read again.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { gradients } from '../../../src/autodiff/backward.ts';
import { allocate, elementCount, type HostTensor } from '../../../src/core/types.ts';
import { decodeOnnx } from '../../../src/formats/onnx/decode.ts';
import { encodeOnnx } from '../../../src/formats/onnx/encode.ts';
import { exportModel, exportOnnx } from '../../../src/formats/onnx/export.ts';
import { prepareImport } from '../../../src/formats/onnx/importer.ts';
import type { OnnxModel } from '../../../src/formats/onnx/model.ts';
import { evaluate, toReference } from '../../../src/graph/evaluate.ts';
import { Graph, type Tensor } from '../../../src/graph/graph.ts';
import * as nn from '../../../src/nn/index.ts';
import { type ModelConfig, modelOf } from '../../../src/nn/models/index.ts';
import { broadcastTo, dropout, mul, relu, sigmoid, softmax, sum } from '../../../src/ops/functions.ts';
import type { Model } from '../../../src/optim/model.ts';
import { initialValue } from '../../../src/train/fill.ts';
import { firstDifference } from '../../conformance/compare.ts';
import { Executor } from '../../conformance/executor.ts';
import { CaseFiles, type GradientCase } from '../../oracle/case-files.ts';
import { casePath } from '../../oracle/experiments.ts';
import { values } from '../../support/models.ts';
import { runOnnx, skipped } from '../../support/onnxruntime.ts';

type Tensors = ReadonlyMap<string, HostTensor>;

const models: readonly (readonly [name: string, config: ModelConfig])[] = [
  ['mlp', { kind: 'mlp', inputs: [1, 4, 4], hidden: [12, 7], classes: 5 }],
  ['lenet', { kind: 'lenet', size: [16, 16], classes: 10 }],
  ['resnet', { kind: 'resnet', size: [6, 5], classes: 3, widths: [4, 6], blocks: 1 }],
  ['unet', { kind: 'unet', size: [4, 8], classes: 3, width: 4, upsampling: 'nearest' }],
  // Written as several operators each: interpolation, normalisation of groups.
  [
    'unet, in parts',
    { kind: 'unet', size: [4, 8], classes: 3, width: 4, upsampling: 'bilinear', norm: 'group', groups: 4 },
  ],
  ['unet, transposed', { kind: 'unet', size: 4, classes: 3, depth: 1, width: 4, dropout: 0.5 }],
  ['gpt', { kind: 'gpt', vocab: 11, context: 6, layers: 2, heads: 2, width: 8, attention: 'unfused' }],
  ['gpt with fused attention, in parts', { kind: 'gpt', vocab: 11, context: 6, layers: 1, heads: 2, width: 8 }],
  ['lstm', { kind: 'lstm', vocab: 11, context: 5, hidden: 6, numLayers: 2 }],
  [
    'gru, both directions',
    { kind: 'lstm', inputs: 3, context: 4, hidden: [4, 5], classes: 2, cell: 'gru', bidirectional: true },
  ],
  [
    'gpt, untied',
    { kind: 'gpt', vocab: 11, context: 6, layers: 1, heads: 2, width: 8, tied: false, attention: 'unfused' },
  ],
];

/** First values of all parameters and buffers. */
const parametersOf = (model: Model): Map<string, HostTensor> => {
  const { graph } = model.build(2);
  return new Map(
    [...graph.parameters, ...graph.sources('buffer')].map((t) => [
      t.name,
      initialValue(t.type, t.node.source!.init!, 5, t.name),
    ]),
  );
};

/** Values of the inputs that a graph's outputs need; integers below 5. */
const dataOf = (graph: Graph): Record<string, HostTensor> =>
  Object.fromEntries(
    graph
      .sources('input')
      .filter((t) => t.node.source!.feed!.kind === 'data')
      .map((t, i) => {
        const data = allocate(t.type);
        data.set(values(data.length, i + 3).map((v) => (t.dtype === 'f32' ? v : Math.floor(Math.abs(v) * 5))));
        return [t.name, { type: t.type, data }];
      }),
  );

const sourcesOf = (graph: Graph, given: Tensors, data: Readonly<Record<string, HostTensor>>): Map<Tensor, HostTensor> =>
  new Map(
    (['input', 'parameter', 'buffer'] as const)
      .flatMap((kind) => graph.sources(kind))
      .flatMap((t) => {
        const value = data[t.name] ?? given.get(t.name) ?? fileValue(t);
        return value ? [[t, value] as const] : [];
      }),
  );

const fileValue = ({ type, node }: Tensor): HostTensor | undefined =>
  node.source?.init?.kind === 'data' ? { type, data: node.source.init.data } : undefined;

const inReference = (graph: Graph, given: Tensors, data: Readonly<Record<string, HostTensor>>) =>
  evaluate(
    [...graph.outputs.values()],
    new Map([...sourcesOf(graph, given, data)].map(([t, value]) => [t, toReference(value)])),
  );

const decoded = (bytes: Uint8Array): OnnxModel => decodeOnnx(bytes, { where: 'exported.onnx' });

describe('exported models', () => {
  let device: Executor;
  beforeAll(async () => {
    device = await Executor.create('wasm');
  });

  it.skipIf(skipped).each(models)('%s gives its values in onnxruntime, for any batch', async (_, config) => {
    const model = modelOf(config);
    const parameters = parametersOf(model);
    const { bytes, batch, why } = exportModel(model, { parameters });
    expect({ batch, why }).toEqual({ batch: 'symbolic', why: undefined });
    for (const samples of [1, 4]) {
      const { graph } = model.build(samples, 'evaluation');
      const data = dataOf(graph);
      const results = await runOnnx(bytes, data);
      expect(results.get('logits')!.shape).toEqual(graph.outputs.get('logits')!.shape);
      const [reference] = inReference(graph, parameters, data);
      expect(firstDifference(results.get('logits')!.data, reference!.data, { atol: 1e-5, rtol: 1e-4 })).toBeUndefined();
    }
  });

  it.each(models)(
    '%s is the same on our devices when it is read again: to the bit, or rounded where it is written in parts',
    (name, config) => {
      const model = modelOf(config);
      const parameters = parametersOf(model);
      const importer = prepareImport(decoded(exportModel(model, { parameters }).bytes));
      const own = model.build(3, 'evaluation').graph;
      const read = importer.build(3);
      expect(read.parameters.map((p) => p.name).sort()).toEqual(own.parameters.map((p) => p.name).sort());
      expect([...read.outputs.keys()]).toEqual([...own.outputs.keys()]);
      const data = dataOf(own);
      const [a, b] = [own, read].map((graph) =>
        device.run([...graph.outputs.values()], sourcesOf(graph, parameters, data)),
      );
      if (name.endsWith('in parts')) {
        expect(firstDifference(b![0]!.data, a![0]!.data, { atol: 1e-5, rtol: 1e-5 })).toBeUndefined();
      } else expect(b![0]!.data).toEqual(a![0]!.data);
      expect(read.outputs.get('logits')!.node.name).toBe(own.outputs.get('logits')!.node.name);
    },
  );

  it.each(models)('%s has the same gradients when it is read again', (name, config) => {
    const model = modelOf(config, { objective: false });
    const parameters = parametersOf(model);
    const importer = prepareImport(decoded(exportModel(model, { parameters }).bytes));
    const own = model.build(3, 'evaluation').graph;
    const read = importer.build(3);
    const names = own.parameters.map((p) => p.name);
    const [a, b] = [own, read].map((graph) => {
      const logits = graph.outputs.get('logits')!;
      const at = names.map((parameter) => graph.node(parameter).outputs[0]!);
      const loss = sum(mul(logits, sigmoid(logits)));
      const slopes = gradients([{ tensor: loss, cotangent: graph.scalar(1) }], at).map((slope) => slope!);
      return device.run(slopes, sourcesOf(graph, parameters, dataOf(own)));
    });
    // Recurrent layers are written step by step, and their gradients are those of the steps.
    const exact = !name.endsWith('in parts') && config.kind !== 'lstm';
    names.forEach((parameter, i) => {
      const [x, y] = [a![i]!.data, b![i]!.data];
      const difference = firstDifference(y, x, exact ? { atol: 0, rtol: 0 } : { atol: 2e-5, rtol: 1e-4 });
      expect({ parameter, difference }).toEqual({ parameter, difference: undefined });
    });
  });

  it('can be written again as they were read', () => {
    const gpt = modelOf(models.find(([name]) => name === 'gpt')![1]);
    const model = decoded(exportModel(gpt, { parameters: parametersOf(gpt) }).bytes);
    expect(decoded(encodeOnnx(model))).toEqual(model);
    expect(model).toMatchObject({
      irVersion: 8,
      producer: 'partita',
      opsets: new Map([
        ['', 17],
        ['partita', 1],
      ]),
    });
  });

  it('have fixed sizes where one batch is asked for', () => {
    const { graph } = decoded(
      exportModel(modelOf(models[0]![1]), { parameters: parametersOf(modelOf(models[0]![1])), batch: 6 }).bytes,
    );
    expect(graph.inputs).toEqual([{ name: 'x', dtype: 'FLOAT', shape: [6, 1, 4, 4] }]);
    expect(graph.outputs).toEqual([{ name: 'logits', dtype: 'FLOAT', shape: [6, 5] }]);
  });
});

const cases = readdirSync(casePath('gradients', ''));

describe.skipIf(skipped)('models of the oracle, read and written again', () => {
  const files = cases.flatMap((name) =>
    ['model.onnx', 'model_dynamic.onnx']
      .filter((file) => existsSync(casePath(`gradients/${name}`, file)))
      .map((file) => ({ name, file })),
  );

  it.each(files)('$name/$file', async ({ name, file }) => {
    const folder = `gradients/${name}`;
    const { json, tensors } = ((c: CaseFiles<GradientCase>) => ({
      json: c.json,
      tensors: c.tensors('inputs.safetensors'),
    }))(new CaseFiles<GradientCase>(folder));
    const original = readFileSync(casePath(folder, file));
    const batchAxes = Object.fromEntries([...json.inputs, ...json.outputs].map((t) => [t.name, t.batch_axis]));
    const importer = prepareImport(decodeOnnx(original, { where: file }), file === 'model.onnx' ? { batchAxes } : {});
    const model: Model = {
      name,
      ...(importer.fileBatch === undefined ? {} : { ownBatch: importer.fileBatch }),
      build: (batch, mode) => ({ graph: importer.build(batch, mode), objective: [] }),
    };
    const { bytes, batch, why } = exportModel(model);
    const rebatchable = file === 'model_dynamic.onnx' || json.microbatch.static_graph_rebatchable !== false;
    expect({ batch, why }).toEqual(
      rebatchable && json.microbatch.batch_size !== null
        ? { batch: 'symbolic', why: undefined }
        : { batch: importer.fileBatch ?? 2, why: expect.any(String) },
    );
    // The file in training mode normalises by its batch; what is written is the model in evaluation.
    if (decodeOnnx(original, { where: file }).graph.nodes.some((n) => n.attributes.has('training_mode'))) {
      const graph = importer.build(json.microbatch.batch_size!, 'evaluation');
      const reference = inReference(graph, new Map(), tensors);
      const written = await runOnnx(bytes, tensors);
      [...graph.outputs.keys()].forEach((output, i) => {
        const difference = firstDifference(written.get(output)!.data, reference[i]!.data, { atol: 1e-5, rtol: 1e-4 });
        expect({ output, difference }).toEqual({ output, difference: undefined });
      });
      return;
    }
    const [theirs, written] = [await runOnnx(original, tensors), await runOnnx(bytes, tensors)];
    expect([...written.keys()]).toEqual([...theirs.keys()]);
    for (const [output, { shape, dtype, data }] of theirs) {
      const other = written.get(output)!;
      expect({ shape: other.shape, dtype: other.dtype }).toEqual({ shape, dtype });
      const difference = firstDifference(other.data, data, { atol: 1e-6, rtol: 1e-5 });
      expect({ output, difference }).toEqual({ output, difference: undefined });
    }
  });
});

describe('what is written', () => {
  /** x [N, 4] → the slope of Σ softmax(relu-layer)² by x: a model that uses its gradient. */
  const slopes: Model = {
    name: 'slopes',
    build: (batch) => {
      const graph = new Graph();
      const x = graph.input('x', { shape: [batch, 4] });
      const p = softmax(relu(nn.linear(x, 6, { name: 'first' })));
      const loss = sum(mul(p, sigmoid(p)));
      const [slope] = gradients([{ tensor: loss, cotangent: graph.scalar(1) }], [x]);
      graph.output('slope', slope!);
      return { graph, objective: [] };
    },
  };

  it.skipIf(skipped)('runs a graph of gradients', async () => {
    const parameters = parametersOf(slopes);
    const { bytes, batch } = exportModel(slopes, { parameters });
    expect(batch).toBe('symbolic');
    const { graph } = slopes.build(5);
    const data = dataOf(graph);
    const [reference] = inReference(graph, parameters, data);
    const { shape, data: got } = (await runOnnx(bytes, data)).get('slope')!;
    expect(shape).toEqual([5, 4]);
    expect(firstDifference(got, reference!.data, { atol: 1e-6, rtol: 1e-5 })).toBeUndefined();
  });

  it.skipIf(skipped).each(models)(
    'runs the gradients of %s by input and parameters, for any batch',
    async (_, config) => {
      const model: Model = {
        name: 'gradients',
        build: (batch) => {
          const { graph } = modelOf(config, { objective: false }).build(batch, 'evaluation');
          const logits = graph.outputs.get('logits')!;
          const at = [...graph.sources('input').filter((t) => t.dtype === 'f32'), ...graph.parameters];
          const loss = sum(mul(logits, sigmoid(logits)));
          gradients([{ tensor: loss, cotangent: graph.scalar(1) }], at).forEach((slope, i) => {
            const name = at[i]!.name;
            graph.output(`d/${name}`, slope!, { batchAxis: name === 'x' ? 0 : null });
          });
          return { graph, objective: [] };
        },
      };
      const parameters = parametersOf(model);
      const { bytes, batch, why } = exportModel(model, { parameters });
      expect({ batch, why }).toEqual({ batch: 'symbolic', why: undefined });
      const { graph } = model.build(3);
      const data = dataOf(graph);
      const results = await runOnnx(bytes, data);
      inReference(graph, parameters, data).forEach(({ type, data: reference }, i) => {
        const name = [...graph.outputs.keys()][i]!;
        const { shape, data: got } = results.get(name)!;
        const difference = firstDifference(got, reference, { atol: 2e-5, rtol: 1e-4 });
        expect({ name, shape, difference }).toEqual({ name, shape: type.shape, difference: undefined });
      });
    },
  );

  it('keeps the names of the file that a model came from', () => {
    const file = readFileSync(casePath('gradients/lenet_relu', 'model_dynamic.onnx'));
    const original = decodeOnnx(file, { where: 'model_dynamic.onnx' });
    const importer = prepareImport(original);
    const model: Model = { name: 'lenet', build: (batch) => ({ graph: importer.build(batch), objective: [] }) };
    const { graph } = decoded(exportModel(model).bytes);
    const names = (nodes: OnnxModel['graph']['nodes']) =>
      new Set(nodes.filter((n) => n.opType !== 'Constant').flatMap((n) => [n.name, ...n.outputs]));
    const written = names(graph.nodes);
    expect([...names(original.graph.nodes)].filter((name) => !written.has(name))).toEqual([]);
    expect(graph.initializers.map((t) => t.name).sort()).toEqual(original.graph.initializers.map((t) => t.name).sort());
  });

  it('gives two values of one name names of their own', () => {
    const graph = new Graph();
    const x = graph.input('x', { shape: [2, 3], batchAxis: null });
    const hidden = relu(x);
    graph.label('y', hidden);
    graph.output('y', sigmoid(hidden));
    const { nodes } = decoded(exportOnnx(graph)).graph;
    expect(nodes.flatMap((n) => n.outputs)).toEqual(['y_1', 'y']);
    graph.output('x', hidden);
    expect(() => exportOnnx(graph)).toThrow(
      expect.objectContaining({ code: 'onnx-export-name', fields: { name: 'x' } }),
    );
  });

  it.skipIf(skipped)('computes sizes of the batch where no operator finds them', async () => {
    const model: Model = {
      name: 'states',
      build: (batch) => {
        const graph = new Graph();
        const x = graph.input('x', { shape: [3, batch, 2], batchAxis: 1 });
        const start = broadcastTo(graph.scalar(0.5), [batch, 2]);
        graph.output('start', start);
        graph.output('pairs', broadcastTo(graph.scalar(2), [2 * batch]));
        graph.output('x again', x, { batchAxis: 1 });
        graph.output('places', graph.sampleIndices(batch));
        return { graph, objective: [] };
      },
    };
    const { bytes, batch, why } = exportModel(model);
    expect({ batch, why }).toEqual({ batch: 'symbolic', why: undefined });
    const x: HostTensor = { type: { dtype: 'f32', shape: [3, 4, 2] }, data: values(24, 1) };
    const results = await runOnnx(bytes, { x });
    expect(results.get('start')).toMatchObject({ shape: [4, 2] });
    expect([...results.get('pairs')!.data]).toEqual(new Array(8).fill(2));
    expect([...results.get('x again')!.data]).toEqual([...x.data]);
    expect(results.get('places')).toMatchObject({ dtype: 'int64', data: Float64Array.of(0, 1, 2, 3) });
    expect(prepareImport(decoded(bytes)).build(5).outputs.get('pairs')!.shape).toEqual([10]);
  });

  it('keeps one batch where a constant has its size, and says where', () => {
    const model: Model = {
      name: 'fixed',
      build: (batch) => {
        const graph = new Graph();
        const x = graph.input('x', { shape: [batch, 2] });
        const type = { dtype: 'f32', shape: [batch, 1] } as const;
        graph.output('y', mul(x, graph.constant({ type, data: new Float32Array(elementCount(type.shape)) }, 'mask')));
        return { graph, objective: [] };
      },
    };
    expect(exportModel(model)).toMatchObject({ batch: 2, why: 'mask: a constant depends on the batch' });
  });

  it('names all that cannot be written at once', () => {
    const graph = new Graph();
    const x = graph.input('x', { shape: [2, 3] });
    const scale = graph.feed('scale', { dtype: 'f32', shape: [] }, { kind: 'inverseElements', perSample: 3 });
    graph.output('y', mul(dropout(x, { ratio: 0.5, samples: 2, name: 'drop' }), scale));
    expect(() => exportOnnx(graph)).toThrow(
      expect.objectContaining({
        code: 'onnx-export',
        fields: {
          problems: expect.arrayContaining([
            expect.objectContaining({ op: 'dropout' }),
            expect.objectContaining({ node: 'scale' }),
            expect.objectContaining({ node: 'random/key' }),
          ]),
        },
      }),
    );
  });

  it('needs a value of every parameter that is drawn', () => {
    const { graph } = modelOf(models[0]![1]).build(2);
    expect(() => exportOnnx(graph)).toThrow(
      expect.objectContaining({
        code: 'parameters-missing',
        fields: { parameters: expect.arrayContaining(['layer.0.weight']) },
      }),
    );
  });

  it.each([16, 20, 17.5])('refuses opset %s', (opset) => {
    expect(() => exportOnnx(new Graph(), { opset })).toThrow(expect.objectContaining({ code: 'onnx-opset' }));
  });
});

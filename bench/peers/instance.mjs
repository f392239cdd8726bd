/**
 * The models of the comparison: one set of first parameters and one batch each, written to a file that every contender
 * reads, so that losses can be compared. Parameters have Partita's names and PyTorch's layouts.
 */
import { Graph, losses, nn, ops, readSafetensors, writeSafetensors } from '../../dist/index.js';

/** Numerical Recipes' generator: the same numbers wherever somebody writes it again. */
export function uniform(seed) {
  let state = seed >>> 0;
  return () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;
}

const draw = (next, size, scale) => Float32Array.from({ length: size }, () => (next() * 2 - 1) * scale);
const product = (shape) => shape.reduce((a, b) => a * b, 1);
const f32 = (shape, data) => ({ type: { dtype: 'f32', shape }, data });
const i32 = (shape, data) => ({ type: { dtype: 'i32', shape }, data });
const classes = (next, size, count) => Int32Array.from({ length: size }, () => Math.floor(next() * count));

/** A matrix drawn as [inputs, outputs], kept as [outputs, inputs]. */
function linear(parameters, next, name, inputs, outputs, { bias = true, order = (i) => i } = {}) {
  const drawn = draw(next, inputs * outputs, 1 / Math.sqrt(inputs));
  const weight = new Float32Array(inputs * outputs);
  for (let i = 0; i < inputs; i++)
    for (let o = 0; o < outputs; o++) weight[o * inputs + order(i)] = drawn[i * outputs + o];
  parameters[`${name}.weight`] = f32([outputs, inputs], weight);
  if (bias) parameters[`${name}.bias`] = f32([outputs], new Float32Array(outputs));
}

function filters(parameters, next, name, out, into, kernel) {
  const shape = [out, into, kernel, kernel];
  parameters[`${name}.weight`] = f32(shape, draw(next, product(shape), 1 / Math.sqrt(into * kernel * kernel)));
  parameters[`${name}.bias`] = f32([out], new Float32Array(out));
}

function affine(parameters, name, width) {
  parameters[`${name}.weight`] = f32([width], new Float32Array(width).fill(1));
  parameters[`${name}.bias`] = f32([width], new Float32Array(width));
}

/** Parameters of a model of Partita in its own order: norms 1 and 0, biases 0, the rest uniform by fan-in. */
function inOrder(config, next) {
  const { graph } = nn.models.modelOf(config).build(1);
  return Object.fromEntries(
    graph.parameters.map(({ shape, node }) => {
      const { name } = node.source;
      const size = product(shape);
      if (shape.length > 1) return [name, f32([...shape], draw(next, size, 1 / Math.sqrt(product(shape.slice(1)))))];
      return [name, f32([...shape], new Float32Array(size).fill(name.endsWith('weight') ? 1 : 0))];
    }),
  );
}

/** A model as `makePlan` takes it: `build` gives the logits of x. */
function classifier(name, x, target, build) {
  return {
    name,
    build: (batch) => {
      const graph = new Graph();
      const logits = build(graph.input('x', { dtype: x.type.dtype, shape: [batch, ...x.type.shape.slice(1)] }), graph);
      graph.output('logits', logits);
      const y = graph.input('y', { dtype: 'i32', shape: [batch, ...target.type.shape.slice(1)] });
      return { graph, objective: [{ loss: losses.crossEntropy(logits, y), weight: 1 }] };
    },
  };
}

const pooled = (x) => nn.maxPool2d(nn.relu(x), { kernel: 2 });
const tanhGelu = (x) => nn.gelu(x, { approximate: 'tanh' });

const gptSizes = { layers: 4, width: 128, heads: 4, context: 64, batch: 16, vocab: 96 };
const resnetConfig = { kind: 'resnet', channels: 3, size: 32, classes: 10, widths: [16, 32, 64, 128], blocks: 2 };
const lstmConfig = { kind: 'lstm', vocab: 96, context: 64, hidden: 128 };

const makers = {
  mlp() {
    const next = uniform(1);
    const parameters = {};
    linear(parameters, next, 'l0', 784, 512);
    linear(parameters, next, 'l1', 512, 512);
    linear(parameters, next, 'l2', 512, 10);
    const data = uniform(2);
    const x = f32([128, 784], Float32Array.from({ length: 128 * 784 }, data));
    const y = i32([128], classes(data, 128, 10));
    const model = classifier('mlp', x, y, (h) => {
      for (const name of ['l0', 'l1']) h = nn.relu(nn.linear(h, 512, { name }));
      return nn.linear(h, 10, { name: 'l2' });
    });
    return { parameters, x, y, model };
  },

  gpt() {
    const { layers, width, heads, context, batch, vocab } = gptSizes;
    const next = uniform(1);
    const parameters = {};
    parameters['token.weight'] = f32([vocab, width], draw(next, vocab * width, 0.05));
    parameters['position.weight'] = f32([context, width], draw(next, context * width, 0.05));
    for (let i = 0; i < layers; i++) {
      const block = `block.${i}`;
      affine(parameters, `${block}.norm1`, width);
      linear(parameters, next, `${block}.self_attn.in_proj`, width, 3 * width);
      for (const part of ['weight', 'bias']) {
        parameters[`${block}.self_attn.in_proj_${part}`] = parameters[`${block}.self_attn.in_proj.${part}`];
        delete parameters[`${block}.self_attn.in_proj.${part}`];
      }
      linear(parameters, next, `${block}.self_attn.out_proj`, width, width);
      affine(parameters, `${block}.norm2`, width);
      linear(parameters, next, `${block}.linear1`, width, 4 * width);
      linear(parameters, next, `${block}.linear2`, 4 * width, width);
    }
    affine(parameters, 'norm', width);
    linear(parameters, next, 'head', width, vocab, { bias: false });
    const data = uniform(2);
    const text = classes(data, batch * (context + 1), vocab);
    const part = (from) =>
      Int32Array.from(
        { length: batch * context },
        (_, i) => text[Math.floor(i / context) * (context + 1) + (i % context) + from],
      );
    const x = i32([batch, context], part(0));
    const y = i32([batch, context], part(1));
    const model = classifier('gpt', x, y, (ids, graph) => {
      const weight = nn.embeddingWeight(graph, { rows: vocab, dim: width, name: 'token' });
      const positions = nn.embeddingWeight(graph, { rows: context, dim: width, name: 'position' });
      let h = ops.add(nn.embedding(ids, { weight }), positions);
      for (let i = 0; i < layers; i++)
        h = nn.transformerEncoderLayer(h, {
          heads,
          dimFeedforward: 4 * width,
          dropout: 0,
          activation: tanhGelu,
          normFirst: true,
          causal: true,
          name: `block.${i}`,
        });
      return nn.linear(nn.layerNorm(h, { name: 'norm' }), vocab, { bias: false, name: 'head' });
    });
    return { parameters, x, y, model };
  },

  cnn() {
    const next = uniform(1);
    const parameters = {};
    filters(parameters, next, 'c0', 6, 1, 5);
    filters(parameters, next, 'c1', 16, 6, 5);
    // Drawn for rows (height, width, channel) and kept for (channel, height, width).
    linear(parameters, next, 'l0', 400, 120, { order: (i) => (i % 16) * 25 + Math.floor(i / 16) });
    linear(parameters, next, 'l1', 120, 84);
    linear(parameters, next, 'l2', 84, 10);
    const data = uniform(2);
    const x = f32([64, 1, 28, 28], Float32Array.from({ length: 64 * 784 }, data));
    const y = i32([64], classes(data, 64, 10));
    const model = classifier('cnn', x, y, (h) => {
      h = pooled(nn.conv2d(h, 6, { kernel: 5, padding: 2, name: 'c0' }));
      h = nn.flatten(pooled(nn.conv2d(h, 16, { kernel: 5, name: 'c1' })));
      h = nn.relu(nn.linear(h, 120, { name: 'l0' }));
      h = nn.relu(nn.linear(h, 84, { name: 'l1' }));
      return nn.linear(h, 10, { name: 'l2' });
    });
    return { parameters, x, y, model };
  },

  resnet() {
    const data = uniform(2);
    return {
      parameters: inOrder(resnetConfig, uniform(1)),
      x: f32([32, 3, 32, 32], Float32Array.from({ length: 32 * 3072 }, data)),
      y: i32([32], classes(data, 32, 10)),
      model: nn.models.modelOf(resnetConfig),
    };
  },

  lstm() {
    const { vocab, context } = lstmConfig;
    const data = uniform(2);
    return {
      parameters: inOrder(lstmConfig, uniform(1)),
      x: i32([32, context], classes(data, 32 * context, vocab)),
      y: i32([32, context], classes(data, 32 * context, vocab)),
      model: nn.models.modelOf(lstmConfig),
    };
  },
};

/** { parameters by name, x, y, model for makePlan }. */
export const instanceOf = (name) => makers[name]();

/** Every update is plain SGD. With batch normalisation, 0.1 is so much that rounding decides where the losses go. */
export const learningRateOf = (name) => (name === 'resnet' ? 1e-4 : 0.1);

/** Batch normalisation of each microbatch by itself: with several, other losses than with the whole batch. */
export const hasOwnStatistics = (name) => name === 'resnet';

/** Models with images and filters, which may lie in memory in more than one order. */
export const hasImages = (name) => name === 'cnn' || name === 'resnet';

/** One file with all that a contender needs. */
export function writeInstance({ parameters, x, y }) {
  return writeSafetensors([
    ...Object.entries(parameters).map(([name, value]) => [`parameters/${name}`, value]),
    ['x', x],
    ['y', y],
  ]);
}

/** What JavaScript contenders read: { parameters, x, y }, each { shape, data }. */
export function readInstance(bytes, where) {
  const parameters = {};
  const rest = {};
  for (const [name, { dtype, shape, bytes: raw }] of readSafetensors(bytes, where)) {
    const whole = Uint8Array.from(raw); // aligned
    const value = { shape: [...shape], data: new { F32: Float32Array, I32: Int32Array }[dtype](whole.buffer) };
    if (name.startsWith('parameters/')) parameters[name.slice('parameters/'.length)] = value;
    else rest[name] = value;
  }
  return { parameters, ...rest };
}

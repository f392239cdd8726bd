// How many numbers a layer learns: the layer's formula beside what the graph has.
import { Graph, nn } from 'partita';
import { compare, say } from './lib.mjs';

/** Numbers in all parameters of what `build` makes of an input. */
function counted(shape, build, dtype = 'f32') {
  const graph = new Graph();
  build(graph.input('x', { shape: [1, ...shape], dtype }));
  return graph.parameters.reduce((sum, p) => sum + p.shape.reduce((n, d) => n * d, 1), 0);
}

const row = (name, shape, build, formula, count, dtype) => [name, counted(shape, build, dtype), formula, count];

say('Parameters of layers\n');
compare(
  [
    row(
      '32 filters of 5×5 on 3 channels',
      [3, 32, 32],
      (x) => nn.conv2d(x, 32, { kernel: 5 }),
      '32·(3·25 + 1)',
      32 * (3 * 25 + 1),
    ),
    row(
      'the same without biases',
      [3, 32, 32],
      (x) => nn.conv2d(x, 32, { kernel: 5, bias: false }),
      '32·3·25',
      32 * 3 * 25,
    ),
    row(
      '64 filters of 3×3 on 32 channels',
      [32, 9, 9],
      (x) => nn.conv2d(x, 64, { kernel: 3 }),
      '64·(32·9 + 1)',
      64 * (32 * 9 + 1),
    ),
    row(
      'the same in 4 groups',
      [32, 9, 9],
      (x) => nn.conv2d(x, 64, { kernel: 3, groups: 4 }),
      '64·(32/4·9 + 1)',
      64 * (8 * 9 + 1),
    ),
    row('max-pooling', [3, 32, 32], (x) => nn.maxPool2d(x, { kernel: 2 }), 'none', 0),
    row('linear, 128 to 10', [128], (x) => nn.linear(x, 10), '10·(128 + 1)', 10 * 129),
    row('layer normalisation of 64', [64], (x) => nn.layerNorm(x), '2·64', 128),
    row('embedding of 60 tokens in 64', [8], (x) => nn.embedding(x, { rows: 60, dim: 64 }), '60·64', 60 * 64, 'i32'),
    row('LSTM, 8 inputs, 16 units', [3, 8], (x) => nn.lstm(x, 16), '4·16·(8 + 16 + 2)', 4 * 16 * 26),
    row(
      'attention of width 64',
      [8, 64],
      (x) => nn.multiheadAttention(x, { heads: 4 }),
      '4·64² + 4·64',
      4 * 64 ** 2 + 4 * 64,
    ),
    row(
      'transformer block of width 64',
      [8, 64],
      (x) => nn.transformerBlock(x, { heads: 4 }),
      '12·64² + 13·64',
      12 * 64 ** 2 + 13 * 64,
    ),
  ],
  { head: ['layer', 'graph', 'formula', 'by hand'] },
);

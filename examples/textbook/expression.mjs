// g = (x + y)·z: the smallest graph with a product rule and a sum rule in it.
import { Graph, gradients, graphSvg, graphValues, graphView, ops } from 'partita';
import { compare, say, valuesOf } from './lib.mjs';

const graph = new Graph();
const number = { shape: [], batchAxis: null };
const [x, y, z] = ['x', 'y', 'z'].map((name) => graph.input(name, number));
const p = ops.add(x, y);
const g = graph.output('g', ops.mul(p, z), { batchAxis: null });
const values = { x: 1, y: 3, z: -3 };

// Values and gradients at every edge, as a picture: node examples/textbook/expression.mjs --svg > g.svg
if (process.argv.includes('--svg')) {
  const feeds = new Map([x, y, z].map((t) => [t, { type: t.type, data: Float64Array.of(values[t.name]) }]));
  const view = graphView(graph, { values: graphValues(graph, feeds, [{ loss: g, weight: 1 }]) });
  process.stdout.write(graphSvg(view, { title: 'g = (x + y)·z', notes: ['at x = 1, y = 3, z = -3'] }));
  process.exit();
}

// The derivative is a graph too: gradients() appends its nodes.
const edges = [x, y, z, p];
const found = gradients([{ tensor: g, cotangent: graph.scalar(1) }], edges);
const [gValue, pValue, ...grads] = valuesOf(graph, [g, p, ...found], values);

say('g = (x + y)·z at x = 1, y = 3, z = -3, with p = x + y\n');
compare([
  ['p', pValue, 'x + y', values.x + values.y],
  ['g', gValue, 'p·z', (values.x + values.y) * values.z],
  ['∂g/∂x', grads[0], '∂g/∂p · 1', values.z],
  ['∂g/∂y', grads[1], '∂g/∂p · 1', values.z],
  ['∂g/∂z', grads[2], 'p', values.x + values.y],
  ['∂g/∂p', grads[3], 'z', values.z],
]);

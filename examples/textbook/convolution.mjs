// A 5×5 image through a 2×2 convolution, 2×2 max-pooling, sigmoid and two linear layers; and the way of the gradient back:
// max-pooling hands it to the one pixel that was the largest of its window.
import { buildTrainingGraph, Graph, graphValues, losses, nn, ops } from 'partita';
import { check, compare, isMain, numbers, rows, say, valuesOf } from './lib.mjs';

export const model = {
  name: 'cnn-5x5',
  build: (n) => {
    const graph = new Graph();
    const x = graph.input('x', { shape: [n, 1, 5, 5] });
    const c = nn.conv2d(x, 1, { kernel: 2, name: 'conv' });
    const p = nn.maxPool2d(c, { kernel: 2 });
    const s = ops.sigmoid(p);
    const y = nn.linear(nn.linear(nn.flatten(s), 2, { name: 'fc1' }), 1, { name: 'fc2' });
    graph.output('y', y);
    return { graph, objective: [{ loss: losses.mse(y, 'target'), weight: 1 }], c };
  },
};

const sigmoid = (v) => 1 / (1 + Math.exp(-v));
const sum = (list) => list.reduce((a, b) => a + b, 0);
const grid = (size, f) => Array.from({ length: size }, (_, i) => Array.from({ length: size }, (_, j) => f(i, j)));

/** Places of the output with the taps of the kernel. */
const taps = grid(4, (i, j) => grid(2, (a, b) => [i, j, a, b]).flat()).flat(2);

/**
 * The gradients of the mean of (y − t)² over examples, by loops. Every value of `p` has the shape that its name suggests:
 * kernel [2][2], w1 [2][4], w2 [2]; images are [5][5].
 */
export function byHand(images, targets, { kernel, bias, w1, b1, w2, b2 }) {
  const total = {
    loss: 0,
    y: [],
    kernel: grid(2, () => 0),
    bias: 0,
    w1: w1.map((row) => row.map(() => 0)),
    b1: [0, 0],
    w2: [0, 0],
    b2: 0,
    x: [],
    c: [],
    map: [],
  };
  images.forEach((image, e) => {
    const c = grid(4, (i, j) => bias + sum(grid(2, (a, b) => kernel[a][b] * image[i + a][j + b]).flat()));
    // The pixel of each window that the pooling takes: the first of the largest.
    const best = grid(2, (i, j) => {
      const window = [
        [0, 0],
        [0, 1],
        [1, 0],
        [1, 1],
      ].map(([a, b]) => [2 * i + a, 2 * j + b]);
      return window.reduce((top, at) => (c[at[0]][at[1]] > c[top[0]][top[1]] ? at : top));
    }).flat();
    const s = best.map(([i, j]) => sigmoid(c[i][j]));
    const u = w1.map((row, k) => b1[k] + sum(row.map((w, m) => w * s[m])));
    const y = b2 + w2[0] * u[0] + w2[1] * u[1];

    const dY = (2 * (y - targets[e])) / images.length;
    const dU = w2.map((w) => w * dY);
    const dS = s.map((_, m) => sum(dU.map((d, k) => d * w1[k][m])));
    const dC = grid(4, () => 0);
    best.forEach(([i, j], m) => {
      dC[i][j] += dS[m] * s[m] * (1 - s[m]);
    });
    const dX = grid(5, () => 0);
    for (const [i, j, a, b] of taps) {
      dX[i + a][j + b] += kernel[a][b] * dC[i][j];
      total.kernel[a][b] += image[i + a][j + b] * dC[i][j];
    }
    total.loss += (y - targets[e]) ** 2 / images.length;
    total.y.push(y);
    total.bias += sum(dC.flat());
    dU.forEach((d, k) => {
      total.b1[k] += d;
      total.w2[k] += u[k] * dY;
      s.forEach((v, m) => {
        total.w1[k][m] += d * v;
      });
    });
    total.b2 += dY;
    total.x.push(dX);
    total.c.push(dC);
    total.map.push(c);
  });
  return total;
}

/** The same from the graph, in f64. */
export function fromGraph(n, values) {
  const graph = buildTrainingGraph(model.build(n), { fetch: { outputs: true, gradients: true, inputGradients: true } });
  const names = [...graph.outputs.keys()];
  const results = valuesOf(graph, [...graph.outputs.values()], { ...values, 'scale/elements/1': 1 / n });
  return Object.fromEntries(names.map((name, i) => [name, results[i]]));
}

/** A square of numbers, those that `marked` names with a star. */
function picture(square, marked = () => false) {
  const cell = (v, i, j) => `${(Math.abs(v) < 5e-4 ? 0 : v).toFixed(3).padStart(8)}${marked(i, j) ? '*' : ' '}`;
  return square
    .map((row, i) =>
      row
        .map((v, j) => cell(v, i, j))
        .join('')
        .trimEnd(),
    )
    .join('\n');
}

if (isMain(import.meta.url)) {
  const image = rows(numbers(25, 1), 5);
  const p = {
    kernel: rows(numbers(4, 2), 2),
    bias: 0.1,
    w1: rows(numbers(8, 3), 4),
    b1: numbers(2, 4),
    w2: numbers(2, 5),
    b2: -0.2,
  };
  const values = {
    x: image,
    target: 1,
    'conv.weight': p.kernel,
    'conv.bias': p.bias,
    'fc1.weight': p.w1,
    'fc1.bias': p.b1,
    'fc2.weight': p.w2,
    'fc2.bias': p.b2,
  };
  const want = byHand([image], [1], p);
  const got = fromGraph(1, values);

  // What every edge carries: here the gradient in front of the pooling.
  const { graph, objective, c } = model.build(1);
  const feeds = new Map(
    graph.nodes
      .filter((n) => n.source)
      .map((n) => {
        const [t] = n.outputs;
        return [t, { type: t.type, data: Float64Array.from([{ ...values, 'scale/elements/1': 1 }[t.name]].flat(9)) }];
      }),
  );
  const edges = graphValues(graph, feeds, objective);
  const routed = rows([...edges.gradientOf(c)], 4);

  say('The convolution of the image; * is the largest of its 2×2 window\n');
  say(picture(want.map[0], (i, j) => routed[i][j] !== 0));
  say('\nThe gradient that comes back to it: only those pixels get any\n');
  say(picture(routed));
  say('\nThe gradient of the image\n');
  say(picture(rows(got['grad_input/x'], 5)));
  say();
  const taken = routed.flat().filter((d) => d !== 0).length;
  check(
    taken === 4,
    'one pixel of each of the 4 windows has a gradient, 12 have none',
    `${taken} pixels have a gradient`,
  );
  compare([
    ['J', got.loss, '(y − t)²', want.loss],
    ['∂J/∂c', routed, 'at the largest of each window ∂J/∂p, elsewhere 0', want.c],
    ['∂J/∂w₂', got['grad/fc2.weight'], '2 (y − t)·u', want.w2],
    ['∂J/∂b₂', got['grad/fc2.bias'], '2 (y − t)', want.b2],
    ['∂J/∂W₁', got['grad/fc1.weight'], '∂J/∂u·sᵀ, ∂J/∂u = w₂·∂J/∂y', want.w1],
    ['∂J/∂b₁', got['grad/fc1.bias'], '∂J/∂u', want.b1],
    ['∂J/∂K', got['grad/conv.weight'], 'Σ ∂J/∂c[i,j]·x[i+a, j+b]', want.kernel],
    ['∂J/∂b', got['grad/conv.bias'], 'Σ ∂J/∂c', want.bias],
    ['∂J/∂x', got['grad_input/x'], 'Σ K[a,b]·∂J/∂c[i−a, j−b]', want.x],
  ]);
}

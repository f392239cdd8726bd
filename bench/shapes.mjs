// Shapes that a kernel is slow at: every kernel over many shapes, small and ragged ones too, and which of them take several
// times as long for each element (products: each operation) as the best shape of the same op.
//
//   node bench/shapes.mjs [families, e.g. pool,norm] [--factor 3] [--least 1.5] [--out FILE] [--against FILE]
//
//   --factor    how many times the best an op's shape must take to be listed
//   --least     microseconds below which a kernel is not listed: there the call itself counts
//   --out       keeps all times as JSON
//   --against   beside times that another run kept: lists what has become 1.5 times as fast or as slow
//
// A family is a graph with one small net for each shape, trained on one device: forwards and gradients are timed by its
// recorded steps, at the first decile, so that what they find in the caches is what a step leaves there. A factor of 5 needs
// no idle machine.
import { readFileSync, writeFileSync } from 'node:fs';
import { flagsOf, numberOf, refuse } from './flags.mjs';

const { values: flags, positionals } = flagsOf(
  import.meta.url,
  {
    factor: { type: 'string', default: '3' },
    least: { type: 'string', default: '1.5' },
    out: { type: 'string' },
    against: { type: 'string' },
  },
  { positionals: 99 },
);
const factor = numberOf(import.meta.url, 'factor', flags.factor, { atLeast: 1 });
const least = numberOf(import.meta.url, 'least', flags.least) / 1e6;

const { Graph, makeOptimizer, makePlan, ops, profile, table } = await import('partita');

/** Elements of most operands: 64 KiB, which a second-level cache holds beside others. */
const ELEMENTS = 16_384;
const planes = (channels, size) => Math.max(2, Math.round(ELEMENTS / (channels * size * size)));

/** Lists of numbers by `x`, their groups by `:`: "64x256:1 4096x4:1" are [[[64, 256], [1]], [[4096, 4], [1]]]. */
const cases = (text) => text.split(' ').map((word) => word.split(':').map((group) => group.split('x').map(Number)));

const pools = [
  ['maxPool2d', { kernel: 2 }],
  ['maxPool2d', { kernel: 3, stride: 2, padding: 1 }],
  ['maxPool2d', { kernel: 3, stride: 1, padding: 1 }],
  ['avgPool2d', { kernel: 2 }],
  ['avgPool2d', { kernel: 3, stride: 2, padding: 1 }],
];
const convolutions = [
  [3, 1, 1],
  [5, 1, 0],
  [1, 1, 0],
  [3, 2, 1],
  [5, 1, 2],
  [7, 2, 3],
];
const normalized = (c, s) => (value) => [value('x', [planes(c, s), c, s, s]), value('gamma', [c]), value('beta', [c])];

/** Each net takes `value(name, shape)`, which gives it parameters, and returns what it computes of them. */
const families = {
  pool: [
    ...pools.flatMap(([op, options]) =>
      [2, 4, 6, 7, 8, 12, 14, 16, 24, 28, 32, 56].map(
        (s) => (value) => ops[op](value('x', [planes(16, s), 16, s, s]), options),
      ),
    ),
    ...['globalAvgPool', 'globalMaxPool'].flatMap((op) =>
      [1, 2, 4, 7, 8, 16].map((s) => (value) => ops[op](value('x', [16, 32, s, s]))),
    ),
  ],

  reduce: ['sum', 'mean', 'max', 'prod', 'logSumExp', 'sumOfSquares'].flatMap((op) =>
    cases(
      '64x256:1 64x256:0 4096x4:1 4x4096:0 16384x1:0 5461x3:1 1638x10:1 16x32x32:0x2 16x32x32:1 64x16x4x4:0x2x3 ' +
        '256x16x2x2:0x2x3 2x7x13x91:1x3 128x128:0x1 2x8192:1 8192x2:1 8192x2:0',
    ).map(
      ([shape, axes]) =>
        (value) =>
          ops[op](value('x', shape), { axes }),
    ),
  ),

  softmax: [
    ...['softmax', 'logSoftmax'].flatMap((op) =>
      cases('64x256:1 64x256:0 4096x4:1 1638x10:1 16x32x32:1 2048x8:1 5461x3:1 8x2x1024:1').map(
        ([shape, [axis]]) =>
          (value) =>
            ops[op](value('x', shape), { axis }),
      ),
    ),
    ...[2, 3, 10, 16, 100, 1000].map((classes) => (value) => {
      const shape = [Math.round(ELEMENTS / classes), classes];
      return ops.crossEntropyLoss(value('x', shape), ops.argMax(value('labels', shape), { axis: 1 }));
    }),
  ],

  norm: [
    ...[1, 2, 3, 4, 5, 8, 10, 16, 31, 32, 64, 100, 128, 512, 1000].map((width) => (value) => {
      const x = value('x', [Math.round(ELEMENTS / width), width]);
      return ops.layerNorm(x, value('gamma', [width]), value('beta', [width]));
    }),
    ...[4, 16].flatMap((c) =>
      [1, 2, 4, 7, 8, 14, 16, 32].flatMap((s) => [
        (value) => {
          const [x, gamma, beta] = normalized(c, s)(value);
          return ops.groupNorm(x, 2, gamma, beta);
        },
        (value) => ops.instanceNorm(...normalized(c, s)(value)),
        (value) => ops.batchNorm(...normalized(c, s)(value)).y,
      ]),
    ),
  ],

  broadcast: ['add', 'mul', 'div', 'maximum', 'less'].flatMap((op) =>
    cases(
      '128x128:128x128 128x128:128 128x128:128x1 128x128:1 4096x4:4 4096x4:4096x1 5461x3:3 16x16x8x8:16x1x1 ' +
        '64x16x4x4:16x1x1 256x16x2x2:16x1x1 128x1:1x128 8x1x32:64x1',
    ).map(([a, b]) => (value) => {
      const y = ops[op](value('x', a), value('y', b));
      return op === 'less' ? ops.where(y, value('yes', y.shape), value('no', [1])) : y;
    }),
  ),

  move: [
    ...cases(
      '128x128:1x0 16x32x32:1x0x2 16x32x32:0x2x1 16x32x32:2x1x0 4096x4:1x0 4x4096:1x0 5461x3:1x0 8x4x64x8:0x2x1x3 ' +
        '16x16x8x8:0x2x3x1 64x4x4x16:0x3x1x2 2x2x2x2x2x512:5x4x3x2x1x0',
    ).map(
      ([shape, perm]) =>
        (value) =>
          ops.transpose(value('x', shape), perm),
    ),
    ...cases('128x128:64x128x1 4096x4:1x3x1 4096x4:1x2x1 128x128:0x128x2').map(
      ([shape, range]) =>
        (value) =>
          ops.slice(value('x', shape), { 1: range }),
    ),
    ...cases('128x64:1 64x128:0 4096x2:1 8192x1:1').map(
      ([shape, [axis]]) =>
        (value) =>
          ops.concat([value('x', shape), value('y', shape)], { axis }),
    ),
    ...['constant', 'reflect', 'edge'].flatMap((mode) =>
      cases('16x16x8x8:1x1 128x120:4x4 4096x3:1x1').map(
        ([shape, amount]) =>
          (value) =>
            ops.pad(value('x', shape), { [-1]: amount, [-2]: amount }, { mode }),
      ),
    ),
    ...[2, 4, 8, 16].flatMap((s) => [
      ...['nearest', 'linear'].map((mode) => (value) => {
        return ops.resize(value('x', [planes(16, s), 16, s, s]), { scales: [1, 1, 2, 2], mode });
      }),
      (value) => ops.depthToSpace(value('x', [planes(16, s), 16, s, s]), { blockSize: 2 }),
    ]),
    ...cases('128x128:1 128x128:0 4096x4:1 16x32x32:1').flatMap(([shape, [axis]]) => [
      (value) => ops.cumSum(value('x', shape), { axis }),
      (value) => ops.flip(value('x', shape), { axes: [axis] }),
    ]),
    ...cases('16x32x32 256x8x8').map(
      ([shape]) =>
        (value) =>
          ops.trilu(value('x', shape), { upper: false }),
    ),
    ...cases('64x1x512 64x4x512 64x64x512 10x3x1000').map(([[rows, width, count]]) => (value) => {
      const indices = ops.argMax(value('labels', [count, rows]), { axis: 1 });
      return ops.gather(value('x', [rows, width]), indices, { axis: 0 });
    }),
  ],

  unary: (
    'abs exp log sqrt relu gelu geluTanh sigmoid tanh sin cos tan erf softplus mish elu hardSwish leakyRelu reciprocal ' +
    'asin atan sinh asinh softsign'
  )
    .split(' ')
    .map((op) => (value) => ops[op](value('x', [ELEMENTS]))),

  conv: convolutions.flatMap(([kernel, stride, padding]) =>
    cases('1x6x28 6x16x12 1x16x8 16x32x4 16x32x8 3x16x32 32x32x8 64x64x4 64x64x2 16x16x16 128x128x4 32x64x1')
      .filter(([[, , s]]) => s + 2 * padding >= kernel)
      .map(([[c, o, s]]) => (value) => {
        const weight = value('w', [o, c, kernel, kernel]);
        return ops.conv2d(value('x', [16, c, s, s]), weight, undefined, { stride, padding });
      }),
  ),

  groups: [
    ...cases('16x4x3x1 16x8x3x1 16x16x3x1 16x32x3x1 32x8x3x2 32x2x3x1 32x8x5x1 64x7x3x1').map(
      ([[c, s, kernel, stride]]) =>
        (value) => {
          const options = { stride, padding: (kernel - 1) / 2, groups: c };
          return ops.conv2d(value('x', [16, c, s, s]), value('w', [c, 1, kernel, kernel]), undefined, options);
        },
    ),
    ...[2, 4].flatMap((groups) =>
      [4, 8, 16].map((s) => (value) => {
        const weight = value('w', [16, 16 / groups, 3, 3]);
        return ops.conv2d(value('x', [16, 16, s, s]), weight, undefined, { padding: 1, groups });
      }),
    ),
    ...[2, 4, 8].map((s) => (value) => {
      return ops.convTranspose2d(value('x', [16, 16, s, s]), value('w', [16, 16, 2, 2]), undefined, { stride: 2 });
    }),
    ...cases('16x64 64x16 32x256').map(([[c, length]]) => (value) => {
      return ops.conv1d(value('x', [16, c, length]), value('w', [c, c, 3]), undefined, { padding: 1 });
    }),
  ],

  matmul: cases(
    '1x256:256x256 256x256:256x1 1x1024:1024x10 32x784:784x10 64x64:64x10 16x128:128x64 128x3:3x128 128x128:128x3 ' +
      '3x128:128x128 64x1:1x64 256x4:4x256 1024x16:16x16 16x16:16x1024 9x512:512x33 33x33:33x33 64x4x4:64x4x4 ' +
      '64x8x8:64x8x8 128x1x16:128x16x16 128x16x16:128x16x1 256x3x3:256x3x3 16x32x8:16x8x32',
  ).map(
    ([a, b]) =>
      (value) =>
        ops.matmul(value('x', a), value('y', b)),
  ),

  recurrent: ['lstm', 'gru', 'rnn'].flatMap((op) =>
    cases('1x16x8x8 32x16x8x8 32x16x3x5 32x16x32x32 1x16x64x64 16x8x128x128 64x32x1x1 7x9x13x17').map(
      ([[batch, steps, inputs, hidden]]) =>
        (value) => {
          const rows = { lstm: 4, gru: 3, rnn: 1 }[op] * hidden;
          const weights = { weightIh: value('wi', [rows, inputs]), weightHh: value('wh', [rows, hidden]) };
          return ops[op](value('x', [steps, batch, inputs]), weights).output;
        },
    ),
  ),

  attention: [true, false].flatMap((causal) =>
    cases('4x4x4x4 4x4x8x8 16x8x16x8 4x4x64x8 4x4x64x16 4x4x64x32 2x2x64x64 1x4x128x32 64x4x1x16 4x4x7x13').map(
      ([shape]) =>
        (value) =>
          ops.scaledDotProductAttention(value('q', shape), value('k', shape), value('v', shape), { causal }),
    ),
  ),
};

const known = Object.keys(families);
const strange = positionals.find((name) => !name.split(',').every((n) => known.includes(n)));
if (strange !== undefined) refuse(import.meta.url, `there is no family "${strange}"; there are ${known.join(', ')}`);
const chosen = positionals.length > 0 ? positionals.flatMap((name) => name.split(',')) : known;
const before = flags.against === undefined ? undefined : kept(flags.against);

function kept(file) {
  try {
    const { version, seconds } = JSON.parse(readFileSync(file, 'utf8'));
    if (version === 1 && typeof seconds === 'object') return seconds;
  } catch {}
  refuse(import.meta.url, `--against ${file}: is not what --out has written`);
}

/** All nets of a family in one graph, the sum of whatever they compute its objective. */
const modelOf = (name, nets) => ({
  name,
  build() {
    const graph = new Graph();
    const normal = { kind: 'normal', mean: 0, std: 1 };
    const objective = nets.map((net, i) =>
      graph.scope(`net${i}`, () => {
        const y = net((parameter, shape) => graph.parameter(parameter, shape, normal));
        const cotangent = ops.detach(graph.parameter('cotangent', y.shape, normal));
        return { loss: ops.sum(ops.mul(y, cotangent)), weight: 1 };
      }),
    );
    return { graph, objective };
  },
});

/** What counts as an op's work: its operations where it multiplies matrices, else the elements of its largest operand. */
const multiplies = /conv|matmul|Scan|ttention/;
const count = (shape) => shape.reduce((a, b) => a * b, 1);

async function timesOf(name, nets) {
  const plan = makePlan({
    model: modelOf(name, nets),
    programs: { train: { batch: 1, mode: 'train' } },
    microbatches: 1,
    devices: [{ backend: 'wasm', memory: null, speed: 1 }],
    partition: 'auto',
    optimizer: makeOptimizer({ kind: 'sgd', lr: 0 }),
    lifetimes: 'plain',
  });
  const recorded = await profile.recordSteps(plan, { tensorsAt: () => ({}) }, { steps: 15, warmUp: 15 });
  const { instructions, buffers } = plan.programs.train.devices[0];
  const found = new Map();
  instructions.forEach((instruction, i) => {
    if (instruction.kind !== 'compute') return;
    const [{ signature }] = instruction.parts;
    const shapes = [...signature.inputs, ...instruction.outputs.map((id) => buffers[id].type)].map((t) => t.shape);
    // What the harness adds, and what every net has.
    if (['accumulate', 'sgdUpdate'].includes(signature.op)) return;
    const label = `${shapes.slice(0, signature.inputs.length).map((s) => `[${s}]`)} ${attributesOf(signature.attrs)}`;
    const work = multiplies.test(signature.op) ? instruction.flops : Math.max(...shapes.map(count));
    const { low } = recorded.instructions[0][i];
    const key = `${signature.op} ${label}`;
    const last = found.get(key);
    found.set(key, { op: signature.op, label, work, seconds: last ? Math.min(last.seconds, low) : low });
  });
  return found;
}

/** Attributes that shapes do not tell. */
const attributesOf = (attrs = {}) =>
  Object.entries(attrs)
    .filter(([name]) => !/shape/i.test(name))
    .map(([name, value]) => `${name}=${Array.isArray(value) ? value.join('x') : value}`)
    .join(' ');

const us = (seconds) => (1e6 * seconds).toFixed(1);
const all = {};
for (const name of chosen) {
  const times = await timesOf(name, families[name]);
  const rows = [];
  for (const op of new Set([...times.values()].map((time) => time.op))) {
    const counted = [...times.values()].filter((time) => time.op === op && time.seconds >= least);
    if (counted.length === 0) continue;
    const best = Math.min(...counted.map(({ seconds, work }) => seconds / work));
    for (const { label, seconds, work } of counted) {
      const times = seconds / work / best;
      if (times >= factor) rows.push([op, label, us(seconds), (1e9 * (seconds / work)).toFixed(3), times.toFixed(1)]);
    }
  }
  for (const [key, { seconds }] of times) all[key] = seconds;
  rows.sort((a, b) => b[4] - a[4]);
  console.log(`${name}: ${times.size} kernels, ${rows.length} take ${factor} times the best of their op or more`);
  if (rows.length > 0) console.log(`${table(['op', 'inputs', 'µs', 'ns each', 'times'], rows)}\n`);
}
if (before) {
  const moved = Object.entries(all)
    .filter(([key, seconds]) => Math.max(seconds, before[key] ?? 0) >= least && before[key] !== undefined)
    .map(([key, seconds]) => [key, us(before[key]), us(seconds), (seconds / before[key]).toFixed(2)])
    .filter(([, , , ratio]) => ratio <= 1 / 1.5 || ratio >= 1.5)
    .sort((a, b) => a[3] - b[3]);
  console.log(`beside ${flags.against}: ${moved.length} of ${Object.keys(all).length} have moved`);
  if (moved.length > 0) console.log(table(['kernel', 'µs there', 'µs', 'ratio'], moved));
}
if (flags.out) writeFileSync(flags.out, `${JSON.stringify({ version: 1, seconds: all }, null, 1)}\n`);

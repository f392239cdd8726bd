// Kernels beside the limits of this machine: GFLOP/s as a share of the register-only loop, bytes as a share of a copy.
//   node bench/kernels.mjs [names, e.g. gemm,exp] [--rounds 15] [--simd relaxed] [--json]
//   node bench/kernels.mjs --against OTHER.wasm     another build of the kernels, kernel by kernel in alternation
// Each round times a kernel, the register-only multiply-and-add loop (twelve chains; `peakMulAddChained`), a copy of 4 MiB and
// the clock, one right behind the other, since a machine's speed may change within a second. Printed are medians over the
// rounds, ± half the distance of their quartiles, and the medians of the ratios. Cycles are ns × clock. Run it on an idle
// machine.
import { existsSync, readFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { median, quantile } from './compare/statistics.mjs';
import { flagsOf, numberOf, refuse } from './flags.mjs';

const { values: flags, positionals } = flagsOf(
  import.meta.url,
  {
    rounds: { type: 'string', default: '15' },
    simd: { type: 'string', default: 'strict' },
    against: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
  { positionals: 99 },
);
const rounds = numberOf(import.meta.url, 'rounds', flags.rounds, { atLeast: 1, whole: true });
if (!['strict', 'relaxed'].includes(flags.simd))
  refuse(import.meta.url, `--simd ${flags.simd}: strict or relaxed was expected`);
if (flags.simd === 'relaxed') setFlagsFromString('--experimental-wasm-relaxed-simd');
const wanted = positionals.flatMap((names) => names.split(','));

const MIB = 2 ** 20;
const memory = new WebAssembly.Memory({ initial: 1024, maximum: 1024, shared: true });
const load = (file) =>
  new WebAssembly.Instance(new WebAssembly.Module(readFileSync(file)), { env: { memory } }).exports;
if (flags.against !== undefined && !existsSync(flags.against))
  refuse(import.meta.url, `--against ${flags.against}: there is no such file`);
const file = flags.simd === 'strict' ? 'kernels.wasm' : 'kernels-relaxed.wasm';
const ours = load(new URL(`../dist/${file}`, import.meta.url));
const other = flags.against === undefined ? undefined : load(flags.against);

// Eight areas of 4 MiB with values in (0, 1), then one of indices, then hyperparameters, then workspace.
const area = (i) => 4 * MIB * i;
const [x, y, z, u, v, out] = [0, 1, 2, 3, 4, 5].map(area);
const indices = area(8);
const hyper = area(9);
const ws = area(10);
const refill = () => {
  new Float32Array(memory.buffer, 0, 8 * MIB).forEach((_, i, all) => {
    all[i] = 0.5 + 0.49 * Math.sin(1.7 * i);
  });
  new Int32Array(memory.buffer, indices, MIB).forEach((_, i, all) => {
    all[i] = (i * 7919) % 64;
  });
  new Float32Array(memory.buffer, hyper, 5).set([1e-3, 0.5, 0.5, 0.9, 0.1]);
};

const none = -1;
const elements = 16_384; // 64 KiB an operand: in L2
const flat = [1, 1, 1, elements];
const ones = [0, 0, 0, 1];
const square = (n, ta, tb) => (k) =>
  k.gemm(n, n, n, x, ta ? 1 : n, ta ? n : 1, y, tb ? 1 : n, tb ? n : 1, out, n, 0, ws);
const image = (n, c, size, o, kernel) => {
  const pad = (kernel - 1) / 2;
  return [n, c, 1, size, size, o, 1, kernel, kernel, 1, 1, 1, 0, pad, pad, 1, 1, 1, 1, 1, size, size];
};
const convFlop = (n, c, size, o, kernel) => 2 * n * o * size * size * c * kernel * kernel;
const convolutions = [
  [16, 1, 28, 6, 5],
  [16, 6, 14, 16, 5],
  [4, 16, 32, 16, 3],
  [4, 64, 32, 64, 3],
  [4, 256, 8, 256, 3],
  [8, 128, 4, 128, 3],
  [4, 64, 32, 64, 1],
];
const rows = (columns) => [elements / columns, columns];

/** [name, floating-point operations or 0, elements, call]. */
const all = [
  ...[128, 256, 512].flatMap((n) =>
    [
      ['NN', 0, 0],
      ['NT', 0, 1],
      ['TN', 1, 0],
      ['TT', 1, 1],
    ].map(([form, ta, tb]) => [`gemm ${n} ${form}`, 2 * n ** 3, n * n, square(n, ta, tb)]),
  ),
  ['gemm 4×512×512', 2 * 4 * 512 * 512, 2048, (k) => k.gemm(4, 512, 512, x, 512, 1, y, 512, 1, out, 512, 0, ws)],
  ['gemm 512×10×512', 2 * 512 * 10 * 512, 5120, (k) => k.gemm(512, 10, 512, x, 512, 1, y, 10, 1, out, 10, 0, ws)],
  ['gemm 512×1×512', 2 * 512 * 512, 512, (k) => k.gemm(512, 1, 512, x, 512, 1, y, 1, 1, out, 1, 0, ws)],
  [
    'gemmBatched 64 of 64×32×64',
    2 * 64 * 64 * 32 * 64,
    131_072,
    (k) => k.gemmBatched(64, 64, 32, 64, x, 4096, 64, 1, y, 2048, 32, 1, out, 2048, 32, 0, ws),
  ],
  ...convolutions.flatMap((c) => {
    const name = `${c[0]}×${c[1]}×${c[2]}² → ${c[3]}, ${c[4]}×${c[4]}`;
    const flop = convFlop(...c);
    const count = c[0] * c[3] * c[2] * c[2];
    return [
      [`conv ${name}`, flop, count, (k) => k.conv(...image(...c), x, y, none, out, ws)],
      [`convInputGrad ${name}`, flop, count, (k) => k.convInputGrad(...image(...c), x, y, out, ws)],
      [`convWeightGrad ${name}`, flop, count, (k) => k.convWeightGrad(...image(...c), x, y, out, ws)],
    ];
  }),
  ...['relu', 'exp', 'log', 'tanh', 'sigmoid', 'gelu', 'geluTanh', 'sqrt'].map((name) => [
    name,
    0,
    elements,
    (k) => k[name](elements, x, out),
  ]),
  ...['reluGrad', 'tanhGrad', 'geluGrad', 'geluTanhGrad'].map((name) => [
    name,
    0,
    elements,
    (k) => k[name](elements, x, y, out),
  ]),
  ...['add', 'mul', 'div'].map((name) => [name, 0, elements, (k) => k[name](...flat, x, ...ones, y, ...ones, out)]),
  ['add, a row to rows of 512', 0, elements, (k) => k.add(1, 1, ...rows(512), x, 0, 0, 512, 1, y, 0, 0, 0, 1, out)],
  ['accumulate', 0, elements, (k) => k.accumulate(elements, out, x)],
  ['softmax rows of 64', 0, elements, (k) => k.softmax(...rows(64), x, out)],
  ['softmax rows of 512', 0, elements, (k) => k.softmax(...rows(512), x, out)],
  ['softmaxGrad rows of 64', 0, elements, (k) => k.softmaxGrad(...rows(64), x, y, out)],
  ['layerNorm rows of 128', 0, elements, (k) => k.layerNorm(...rows(128), x, y, z, out, u, v, 1e-5)],
  ['layerNormInputGrad', 0, elements, (k) => k.layerNormInputGrad(...rows(128), x, y, u, v, z, out)],
  ['layerNormWeightGrad', 0, elements, (k) => k.layerNormWeightGrad(...rows(128), x, u, v, z, out, y)],
  ['crossEntropyGrad', 0, elements, (k) => k.crossEntropyGrad(...rows(64), x, indices, hyper, hyper, none, out)],
  ['reduceSum, leading axis', 0, elements, (k) => k.reduceSum(1, ...rows(128), x, out, 1)],
  ['reduceSum, last axis', 0, elements, (k) => k.reduceSum(...rows(128), 1, x, out, 1)],
  ['transpose 128²', 0, elements, (k) => k.copy32(1, 1, 1, 1, 128, 128, 0, 0, 0, 0, 1, 128, x, out)],
  ['copy of every second row', 0, elements / 2, (k) => k.copy32(1, 1, 1, 1, 64, 128, 0, 0, 0, 0, 256, 1, x, out)],
  [
    'maxPool 2×2',
    0,
    elements,
    (k) => k.maxPool(16, 1, 32, 32, 1, 2, 2, 1, 2, 2, 0, 0, 0, 1, 1, 1, 1, 16, 16, x, out, u, ws),
  ],
  ['maxPoolGrad 2×2', 0, elements, (k) => k.maxPoolGrad(16, 1024, 256, x, indices, out)],
  ['batchNorm', 0, elements, (k) => k.batchNorm(4, 16, 256, x, y, z, out, u, v, 1e-5)],
  ['batchNormInputGrad', 0, elements, (k) => k.batchNormInputGrad(4, 16, 256, x, y, u, v, z, out, 1e-5)],
  ['sgd', 0, elements, (k) => k.sgd(elements, x, y, none, hyper, none, 1, 0, 0)],
  ['sgd, momentum', 0, elements, (k) => k.sgd(elements, x, y, z, hyper, none, 1, 0, 0)],
  ['adam', 0, elements, (k) => k.adam(elements, x, y, z, u, none, hyper, none, 0.999, 1e-3, 1e-8, 0, 0)],
  ['rmsprop', 0, elements, (k) => k.rmsprop(elements, x, y, z, none, none, hyper, none, 0.99, 0.01, 1e-8, 0)],
];

const isCalled =
  (word) =>
  ([name]) =>
    name === word || name.split(/[ ,]/)[0] === word;
const unknown = wanted.find((word) => !all.some(isCalled(word)));
if (unknown !== undefined)
  refuse(
    import.meta.url,
    `no kernel is called ${unknown}; there are ${[...new Set(all.map(([name]) => name.split(/[ ,]/)[0]))].join(', ')}`,
  );
const kernels = wanted.length === 0 ? all : all.filter((kernel) => wanted.some((word) => isCalled(word)(kernel)));

/** Nanoseconds of a call, of as many as take a fifth of a millisecond. */
function timed(call, repeats) {
  const start = performance.now();
  for (let i = 0; i < repeats; i++) call();
  return ((performance.now() - start) / repeats) * 1e6;
}

const CHAIN_ROUNDS = 12_000;
const ghz = () => (16 * CHAIN_ROUNDS) / timed(() => ours.clockChain(CHAIN_ROUNDS, 1), 1);

const PEAK_ROUNDS = 4000;
const peak = () => (96 * PEAK_ROUNDS) / timed(() => ours.peakMulAddChained(PEAK_ROUNDS), 1);
const copy = () => (4 * MIB) / timed(() => ours.copyBytes(4 * MIB, area(6), area(7)), 1);

const spread = (values) => (quantile(values, 0.75) - quantile(values, 0.25)) / 2;

refill();
for (let i = 0; i < 50; i++) {
  peak();
  ghz();
}
const results = kernels.map(([name, flop, count, of]) => {
  const call = () => of(ours);
  const theirs = other && (() => of(other));
  for (const c of [call, theirs]) if (c) for (let i = 0; i < 4; i++) c();
  const repeats = Math.max(1, Math.ceil(2e5 / timed(call, 1)));
  const samples = Array.from({ length: rounds }, () => {
    const limit = { peak: peak(), copy: copy(), ghz: ghz() };
    const ns = timed(call, repeats);
    return { ...limit, ns, ratio: theirs ? ns / timed(theirs, repeats) : undefined };
  });
  const of3 = (f) => median(samples.map(f));
  return {
    name,
    microseconds: of3((s) => s.ns / 1e3),
    spread: spread(samples.map((s) => s.ns / 1e3)),
    nsPerElement: of3((s) => s.ns / count),
    cyclesPerElement: of3((s) => (s.ns / count) * s.ghz),
    gflops: flop > 0 ? of3((s) => flop / s.ns) : null,
    shareOfPeak: flop > 0 ? of3((s) => flop / s.ns / s.peak) : null,
    peak: of3((s) => s.peak),
    copyBytesPerNs: of3((s) => s.copy),
    ghz: of3((s) => s.ghz),
    ratio: other ? of3((s) => s.ratio) : null,
  };
});

if (flags.json) {
  process.stdout.write(`${JSON.stringify({ version: 1, simd: flags.simd, rounds, kernels: results })}\n`);
} else {
  const cells = (row) => row.map((cell, i) => (i === 0 ? cell.padEnd(38) : cell.padStart(9))).join(' ');
  const number = (value, digits) => (value === null ? '' : value.toFixed(digits));
  const head = ['kernel', 'µs', '±', 'ns/elem', 'cyc/elem', 'GFLOP/s', 'of peak', 'peak', 'copy GB/s', 'GHz'];
  console.log(cells(other ? [...head, 'of other'] : head));
  for (const r of results) {
    const share = r.shareOfPeak === null ? '' : `${(100 * r.shareOfPeak).toFixed(0)} %`;
    const row = [
      r.name,
      number(r.microseconds, 1),
      number(r.spread, 1),
      number(r.nsPerElement, 3),
      number(r.cyclesPerElement, 2),
      number(r.gflops, 1),
      share,
      number(r.peak, 1),
      number(r.copyBytesPerNs, 1),
      number(r.ghz, 2),
    ];
    console.log(cells(other ? [...row, number(r.ratio, 2)] : row));
  }
}

import { closeSync, mkdtempSync, readdirSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { findBlas, openBlas, type Sgemm } from '../../src/backends/blas/library.ts';
import { probeBlasAside } from '../../src/backends/blas/probe.ts';
import { isForOneThread, proveBlas } from '../../src/backends/blas/self-test.ts';
import { tryProducts } from '../../src/backends/blas/try-products.ts';
import type { HostTensor, Shape } from '../../src/core/types.ts';
import { newProfile } from '../../src/cost/profile.ts';
import { Graph, type Tensor } from '../../src/graph/graph.ts';
import type { Attrs } from '../../src/graph/op-record.ts';
import type { BlasLibrary } from '../../src/lower/blas/index.ts';
import { flatten } from '../../src/nn/compose.ts';
import { conv2d } from '../../src/nn/conv.ts';
import { linear } from '../../src/nn/linear.ts';
import { relu, tanh } from '../../src/ops/elementwise.ts';
import { type OpName, recordOf } from '../../src/ops/index.ts';
import type { Model } from '../../src/optim/model.ts';
import { makePlan, type Plan } from '../../src/plan/plan.ts';
import { readPlanFile, withDecisions, writePlanFile } from '../../src/plan/plan-file.ts';
import { MeasurementCache } from '../../src/profile/cache.ts';
import { differencesOf, trainingIdentity } from '../../src/train/checkpoint/identity.ts';
import { Session } from '../../src/train/session.ts';
import { firstDifference } from '../conformance/compare.ts';
import { Executor } from '../conformance/executor.ts';
import { someMachine } from '../cost/machine.ts';
import { endlessLibrary, installedBlas, loading } from '../support/blas.ts';
import { f32, type PlanOverrides, planOf, squaredError, toHex } from '../support/models.ts';

const pads = (rank: number, by: number) => new Array<number>(2 * rank).fill(by);
const conv = (rank: number, { stride = 1, pad = 0, dilation = 1, groups = 1 } = {}): Attrs => ({
  stride: new Array<number>(rank).fill(stride),
  padding: pads(rank, pad),
  dilation: new Array<number>(rank).fill(dilation),
  groups,
});

const rows4 = (shape: Shape, count: number): Shape[] => new Array<Shape>(count).fill(shape);
const attention = (causal: boolean, layout = 'NHTD'): Attrs => ({ causal, scale: 0.2, layout });
const dropout = { ratio: 0.3, stream: [5, 6], axis: 0 };

const cases: readonly (readonly [title: string, op: OpName, shapes: readonly Shape[], attrs: Attrs])[] = [
  ...[0, 1, 2, 3].map((t) => {
    const [transA, transB] = [(t & 1) === 1, (t & 2) === 2];
    const shapes = [transA ? [33, 41] : [41, 33], transB ? [37, 33] : [33, 37]];
    return [`a product, transposes ${t}`, 'matmul', shapes, { transA, transB }] as const;
  }),
  [
    'a batch against one matrix',
    'matmul',
    [
      [3, 20, 33],
      [33, 37],
    ],
    { transA: false, transB: false },
  ],
  [
    'a column',
    'matmul',
    [
      [4096, 8],
      [4096, 1],
    ],
    { transA: true, transB: false },
  ],
  [
    'batches that repeat',
    'matmul',
    [
      [3, 1, 40, 33],
      [2, 33, 37],
    ],
    { transA: false, transB: false },
  ],
  ['a convolution with a bias', 'conv', [[3, 6, 14, 13], [8, 6, 5, 5], [8]], conv(2, { pad: 2 })],
  [
    'groups, strides and dilation',
    'conv',
    [[2, 16, 31, 30], [32, 8, 3, 3], [32]],
    conv(2, { stride: 2, pad: 1, dilation: 2, groups: 2 }),
  ],
  [
    'a convolution by single elements',
    'conv',
    [
      [2, 32, 20, 19],
      [24, 32, 1, 1],
    ],
    conv(2),
  ],
  [
    'a volume',
    'conv',
    [
      [2, 4, 6, 5, 7],
      [16, 4, 3, 3, 3],
    ],
    conv(3, { pad: 1 }),
  ],
  [
    'an input gradient',
    'convInputGrad',
    [
      [3, 8, 14, 13],
      [8, 6, 5, 5],
    ],
    { ...conv(2, { pad: 2 }), inputShape: [3, 6, 14, 13] },
  ],
  [
    'an input gradient by single elements',
    'convInputGrad',
    [
      [2, 24, 19, 17],
      [24, 32, 1, 1],
    ],
    { ...conv(2), inputShape: [2, 32, 19, 17] },
  ],
  [
    'an input gradient of groups',
    'convInputGrad',
    [
      [2, 32, 14, 14],
      [32, 8, 3, 3],
    ],
    { ...conv(2, { stride: 2, pad: 1, groups: 2 }), inputShape: [2, 16, 28, 28] },
  ],
  [
    'a weight gradient',
    'convWeightGrad',
    [
      [3, 6, 14, 13],
      [3, 16, 14, 13],
    ],
    { ...conv(2, { pad: 2 }), weightShape: [16, 6, 5, 5] },
  ],
  [
    'a weight gradient of groups',
    'convWeightGrad',
    [
      [2, 16, 28, 28],
      [2, 32, 14, 14],
    ],
    { ...conv(2, { stride: 2, pad: 1, groups: 2 }), weightShape: [32, 8, 3, 3] },
  ],
  [
    'a convolution of samples side by side, the last of them fewer',
    'conv',
    [[61, 6, 14, 13], [16, 6, 5, 5], [16]],
    conv(2),
  ],
  [
    'one of groups, apart along the width, without a bias',
    'conv',
    [
      [9, 32, 14, 15],
      [32, 16, 3, 3],
    ],
    { ...conv(2, { stride: 2, pad: 3, groups: 2 }), dilation: [1, 2] },
  ],
  ['one whose first rows of taps reach nothing', 'conv', [[16, 16, 6, 7], [16, 16, 3, 3], [16]], conv(2, { pad: 5 })],
  [
    'one along a single axis',
    'conv',
    [
      [16, 32, 65],
      [32, 32, 7],
    ],
    conv(1, { pad: 3 }),
  ],
  [
    'an input gradient of samples side by side, the last of them fewer',
    'convInputGrad',
    [
      [61, 16, 10, 9],
      [16, 6, 5, 5],
    ],
    { ...conv(2), inputShape: [61, 6, 14, 13] },
  ],
  [
    'one of groups, by strides and apart along the width',
    'convInputGrad',
    [
      [9, 32, 9, 9],
      [32, 16, 3, 3],
    ],
    { ...conv(2, { stride: 2, pad: 3, groups: 2 }), dilation: [1, 2], inputShape: [9, 32, 14, 15] },
  ],
  [
    'one of outputs that nothing reaches',
    'convInputGrad',
    [
      [16, 16, 14, 15],
      [16, 8, 3, 3],
    ],
    { ...conv(2, { pad: 5 }), inputShape: [16, 8, 6, 7] },
  ],
  [
    'a weight gradient of samples side by side, the last of them fewer',
    'convWeightGrad',
    [
      [61, 6, 14, 13],
      [61, 16, 10, 9],
    ],
    { ...conv(2), weightShape: [16, 6, 5, 5] },
  ],
  [
    'one of groups, by strides and apart along the width',
    'convWeightGrad',
    [
      [9, 32, 14, 15],
      [9, 32, 9, 9],
    ],
    { ...conv(2, { stride: 2, pad: 3, groups: 2 }), dilation: [1, 2], weightShape: [32, 16, 3, 3] },
  ],
  [
    'one of outputs that nothing reaches',
    'convWeightGrad',
    [
      [16, 8, 6, 7],
      [16, 16, 14, 15],
    ],
    { ...conv(2, { pad: 5 }), weightShape: [16, 8, 3, 3] },
  ],
  [
    'attention, causal, of heads side by side',
    'scaledDotProductAttention',
    rows4([2, 70, 2, 32], 3),
    attention(true, 'NTHD'),
  ],
  [
    'attention over several blocks of keys',
    'scaledDotProductAttention',
    [
      [70, 24],
      [300, 24],
      [300, 8],
    ],
    attention(false),
  ],
  [
    'its gradient, causal',
    'scaledDotProductAttentionGrad',
    [...rows4([2, 70, 2, 32], 4), [2, 2, 70], [2, 70, 2, 32]],
    attention(true, 'NTHD'),
  ],
  [
    'its gradient over several blocks of keys',
    'scaledDotProductAttentionGrad',
    [[70, 24], [300, 24], [300, 8], [70, 8], [70], [70, 8]],
    attention(false),
  ],
  [
    'attention that drops weights',
    'scaledDotProductAttention',
    rows4([2, 70, 2, 32], 3),
    { ...attention(true, 'NTHD'), dropout },
  ],
  [
    'its gradient',
    'scaledDotProductAttentionGrad',
    [...rows4([2, 70, 2, 32], 4), [2, 2, 70], [2, 70, 2, 32]],
    { ...attention(true, 'NTHD'), dropout },
  ],
  [
    'attention with masks',
    'scaledDotProductAttention',
    [
      [2, 70, 24],
      [2, 300, 24],
      [2, 300, 8],
      [70, 300],
      [2, 1, 300],
    ],
    { ...attention(true), masks: ['added', 'added'] },
  ],
  [
    'its gradient with masks',
    'scaledDotProductAttentionGrad',
    [...rows4([2, 70, 2, 32], 4), [2, 2, 70], [2, 70, 2, 32], [1, 2, 70, 70], [70]],
    { ...attention(true, 'NTHD'), masks: ['added', 'added'] },
  ],
  [
    'a recurrent scan',
    'gruScan',
    [
      [3, 8, 96],
      [96, 32],
      [8, 32],
    ],
    { gates: 'zrh', reset: 'before', reverse: false },
  ],
];

/** The op's outputs on random inputs, from its kernels with or without a library. */
function outputsOf(executor: Executor, op: OpName, shapes: readonly Shape[], attrs: Attrs): HostTensor[] {
  const graph = new Graph();
  const feeds = new Map<Tensor, HostTensor>();
  const inputs = shapes.map((shape, i) => {
    const tensor = graph.input(`x${i}`, { shape, batchAxis: null });
    feeds.set(tensor, f32(shape, i + 1));
    return tensor;
  });
  if (attrs.dropout) {
    const draw = { samples: Int32Array.of(5, 9), key: Int32Array.of(7, 0, 3, 0) };
    for (const [name, data] of Object.entries(draw)) {
      const type = { dtype: 'i32', shape: [data.length] } as const;
      inputs.push(graph.input(name, { ...type, batchAxis: null }));
      feeds.set(inputs.at(-1)!, { type, data });
    }
  }
  return executor.run(graph.add(recordOf(op), inputs, attrs), feeds);
}

describe('products by a native BLAS', () => {
  it.for(cases)('%s: those of our kernels within rounding', async ([, op, shapes, attrs], context) => {
    const library = openBlas(installedBlas(context).file);
    const own = outputsOf(await Executor.create('wasm'), op, shapes, attrs);
    const native = await Executor.create('wasm', undefined, library);
    const kernels = vi.spyOn(native.backend, 'bind');
    outputsOf(native, op, shapes, attrs).forEach((result, i) => {
      expect(firstDifference(result.data, own[i]!.data, { atol: 1e-4, rtol: 1e-5 }), `output ${i}`).toBeUndefined();
    });
    expect(kernels.mock.calls.filter(([call]) => call.kernel.startsWith('sgemm')).length).toBeGreaterThan(0);
  });

  it('are the same by the Fortran interface', async (context) => {
    const { file } = installedBlas(context);
    const c = openBlas(file);
    const fortran = openBlas(file, 'fortran');
    const values = new Float32Array(4 * 4096).map((_, i) => ((i * 7919) % 2003) / 1001 - 1);
    const base = c.addressOf(new Uint8Array(values.buffer));
    const [m, n, k] = [33, 37, 41];
    const product = (blas: typeof c, transA: number, transB: number, beta: number) => {
      const result = values.subarray(2 * 4096, 2 * 4096 + m * n).fill(0.5);
      const [lda, ldb] = [transA ? m : k, transB ? k : n];
      blas.sgemm(transA, transB, m, n, k, base, lda, base + 4 * 4096, ldb, beta, base + 8 * 4096, n);
      return [...result];
    };
    for (const [transA, transB, beta] of [
      [0, 0, 0],
      [1, 0, 0],
      [0, 1, 1],
      [1, 1, 1],
    ] as const) {
      const wanted = product(c, transA, transB, beta);
      expect(
        firstDifference(product(fortran, transA, transB, beta), wanted, { atol: 1e-5, rtol: 1e-5 }),
      ).toBeUndefined();
    }
  });
});

/** Every product of its step, forward and backward, is worth a native call. */
const wide: Model = {
  name: 'wide',
  build: (batch) => {
    const graph = new Graph();
    const x = graph.input('x', { shape: [batch, 4, 16, 16] });
    const t = graph.input('t', { shape: [batch, 64] });
    const image = relu(conv2d(x, 16, { kernel: 3, padding: 1, name: 'conv' }));
    const h = tanh(linear(flatten(image), 64, { name: 'hidden' }));
    const y = graph.output('y', linear(h, 64, { name: 'out' }));
    return { graph, objective: [{ loss: squaredError(y, t), weight: 1 }] };
  },
};
const batch = { x: f32([16, 4, 16, 16], 1), t: f32([16, 64], 2) };

async function train(plan: Plan, transport: 'threads' | 'local' = 'local'): Promise<string> {
  await using session = await Session.open(plan, { seed: 1, transport, audit: false });
  for (let step = 0; step < 2; step++) await session.run('train', batch, { step });
  // Planned = measured: nothing but what the plan counts is written in the devices' memories.
  expect(await session.measuredPeaks()).toEqual(plan.memory.map((m) => m.peakBytes));
  return [...(await session.parameters())].map(([name, value]) => `${name} ${toHex(value)}`).join();
}

const onBlas = (blas: BlasLibrary, devices: number, overrides: PlanOverrides = {}) => {
  const list = Array.from({ length: devices }, () => ({ backend: 'blas', memory: null, speed: 1 }) as const);
  const { devices: _, optimizer: __, ...rest } = overrides;
  return makePlan({ ...planOf(wide, { batch: 16, microbatches: 2 }).request, ...rest, devices: list, blas });
};

describe('devices with a native BLAS', () => {
  it('have the same bits on every layout, and the planned bytes', async (context) => {
    const blas = installedBlas(context);
    const one = await train(onBlas(blas, 1));
    const kernels = onBlas(blas, 1).programs.train!.devices[0]!.instructions.flatMap((i) =>
      i.kind === 'compute' ? i.parts.flatMap(({ calls }) => calls.map((call) => call.kernel)) : [],
    );
    expect(kernels.filter((kernel) => /^(gemm|conv)/.test(kernel))).toEqual([]);
    for (const plan of [
      onBlas(blas, 2, { partition: { cuts: ['hidden'] } }),
      onBlas(blas, 3, { partition: { cuts: ['hidden', 'out'] }, schedule: 'gpipe' }),
      onBlas(blas, 2, { recompute: 'stage', schedule: 'zb-h1', partition: { cuts: ['out'] } }),
    ]) {
      expect(await train(plan)).toBe(one);
    }
    expect(await train(onBlas(blas, 2, { partition: { cuts: ['hidden'] } }), 'threads')).toBe(one);
    expect(await train(planOf(wide, { batch: 16, microbatches: 2 }))).not.toBe(one);
  });

  it('are refused without a library', (context) => {
    const { blas: _, ...request } = onBlas(installedBlas(context), 1).request;
    expect(() => makePlan(request)).toThrow(/device 0 has the backend "blas", and the request names no library/);
  });

  it('are told in a stored plan, which neither has nor lacks a library silently', (context) => {
    const blas = installedBlas(context);
    const plan = onBlas(blas, 1);
    const stored = readPlanFile(writePlanFile(plan, {}), 'plan.json');
    expect(stored).toMatchObject({ blas, devices: [{ backend: 'blas' }] });
    expect(makePlan(withDecisions(plan.request, stored)).memory[0]!.peakBytes).toBe(plan.memory[0]!.peakBytes);
    const without = planOf(wide, { batch: 16, microbatches: 2 });
    const failure = /the plan was made with .*, and the experiment has none/;
    expect(() => withDecisions(without.request, stored)).toThrow(failure);
    const storedWithout = readPlanFile(writePlanFile(without, {}), 'plan.json');
    expect(() => withDecisions(plan.request, storedWithout)).toThrow(/made without a native BLAS/);
  });

  it('do not resume what another library has trained', (context) => {
    const blas = installedBlas(context);
    const data = {
      name: 'd',
      steps: 1,
      stepsPerEpoch: 1,
      batchAt: (step: number) => ({ step, tensors: batch, epoch: 0 }),
    };
    const identityOf = (library: BlasLibrary) => trainingIdentity({ plan: onBlas(library, 1), seed: 1, data });
    expect(differencesOf(identityOf(blas), identityOf({ ...blas, file: '/elsewhere.so' }))).toEqual([]);
    expect(differencesOf(identityOf(blas), identityOf({ ...blas, version: 'another' }))).toMatchObject([
      { key: 'blas' },
    ]);
  });

  it('have times of their own', (context) => {
    const blas = installedBlas(context);
    const folder = mkdtempSync(join(tmpdir(), 'partita-blas-'));
    const cache = new MeasurementCache(folder, () => {});
    const profile = newProfile(someMachine, 1, {});
    return cache.keepProfile(profile, blas).then(() => {
      expect(cache.profile(1, blas)).toEqual(profile);
      expect(cache.profile(1)).toBeUndefined();
      expect(cache.profile(1, { ...blas, version: 'another' })).toBeUndefined();
    });
  });
});

/** How the process of a trial ends. */
interface Trial {
  readonly answer: string;
  readonly errors: string;
  readonly signal: string | null;
  readonly status: number | null;
  /** Why spawnSync has ended it. */
  readonly stopped: 'ETIMEDOUT' | 'ENOBUFS';
  readonly error: Error;
}

/** The module of trials whose processes end like this. */
async function probing({
  answer = 'started\n',
  errors = '',
  signal = null,
  status = null,
  stopped,
  error,
}: Partial<Trial>) {
  const ended = stopped ? Object.assign(new Error('ended'), { code: stopped }) : error;
  const spawnSync = vi.fn(() => ({ output: [null, null, errors, answer], signal, status, error: ended }));
  vi.resetModules();
  vi.doMock('node:module', () => ({ createRequire: () => () => ({ spawnSync }) }));
  const { probeBlas } = await import('../../src/backends/blas/probe.ts');
  vi.doUnmock('node:module');
  return { probeBlas, spawnSync };
}

describe('a library', () => {
  it('that is not there, or multiplies nothing, is refused by name', (context) => {
    installedBlas(context);
    expect(() => findBlas('/nowhere/libblas.so')).toThrow(
      expect.objectContaining({ code: 'blas-not-found', message: expect.stringContaining('/nowhere/libblas.so') }),
    );
    if (process.platform !== 'linux') return;
    expect(() => findBlas('libm.so.6')).toThrow(expect.objectContaining({ code: 'blas-no-sgemm' }));
  });

  it('that was built for one thread is refused', async () => {
    const version = 'OpenBLAS 0.3.21 NO_LAPACKE DYNAMIC_ARCH NO_AFFINITY Zen SINGLE_THREADED';
    await expect(proveBlas({ file: '/serial.so', version })).rejects.toMatchObject({
      code: 'blas-self-test',
      message: expect.stringContaining('it says that it was built for one'),
      remedy: expect.stringContaining('libopenblas0-pthread'),
    });
    expect(isForOneThread('OpenBLAS 0.3.26 USE_LOCKING DYNAMIC_ARCH SINGLE_THREADED')).toBe(false);
    expect(isForOneThread('OpenBLAS 0.3.21 DYNAMIC_ARCH Zen MAX_THREADS=64')).toBe(false);
  });

  it('is tried by two threads at once, and told what is wrong', async (context) => {
    const blas = openBlas(installedBlas(context).file);
    await proveBlas(blas);
    expect(tryProducts(blas, 1, 0)).toBeNull();
    let calls = 0;
    // As if another thread had written over what one product of many had packed.
    const disturbed: Sgemm = (...args) => {
      blas.sgemm(...args);
      if (++calls === 700) blas.sgemm(args[0], args[1], 1, 1, 1, args[5], 9, args[7], 9, 1, args[10], 99);
    };
    expect(tryProducts({ ...blas, sgemm: disturbed }, 1, 0)).toMatch(/^an element of a product of \d+×\d+ and/);
  });

  it('that crashes takes only the process of its trial with it', (context) => {
    context.skip(process.platform !== 'linux', 'what is cut short is told elsewhere by the loader');
    const whole = readFileSync(installedBlas(context).file);
    const file = join(mkdtempSync(join(tmpdir(), 'partita-blas-')), 'libcut.so');
    writeFileSync(file, whole.subarray(0, whole.length >> 3));
    expect(() => findBlas(file)).toThrow(
      expect.objectContaining({
        code: 'blas-crashed',
        message: expect.stringMatching(/libcut\.so: .* ends the process with SIG/),
        fields: expect.objectContaining({ file }),
        remedy: expect.stringContaining('--blas off'),
      }),
    );
  });

  it('is tried once for all processes, until it or what picks its kernels is another', async (context) => {
    const { file } = installedBlas(context);
    const folder = mkdtempSync(join(tmpdir(), 'partita-blas-'));
    vi.stubEnv('PARTITA_CACHE', folder);
    const trials = async (): Promise<number> => {
      const { probeBlas, spawnSync } = await probing({ answer: 'started\n{"refused":null}' });
      for (let i = 0; i < 2; i++) probeBlas(file);
      return spawnSync.mock.calls.length;
    };
    try {
      expect(await trials()).toBe(1);
      expect(await trials()).toBe(0);
      vi.stubEnv('OPENBLAS_CORETYPE', 'Nehalem');
      expect(await trials()).toBe(1);
      for (const name of readdirSync(join(folder, 'blas'))) writeFileSync(join(folder, 'blas', name), '{}');
      expect(await trials()).toBe(1);
      vi.stubEnv('PARTITA_CACHE', 'off');
      expect(await trials()).toBe(1);
    } finally {
      vi.unstubAllEnvs();
    }
  });

  it.each<[string, Partial<Trial>, RegExp]>([
    ['blas-crashed', { signal: 'SIGBUS' }, /multiply by it ends the process with SIGBUS; it is cut short/],
    ['blas-crashed', { status: 3 }, /ends the process with exit code 3;/],
    ['blas-crashed', { stopped: 'ETIMEDOUT', signal: 'SIGKILL' }, /does not return within 30 s;/],
    ['blas-crashed', { stopped: 'ENOBUFS', signal: 'SIGKILL' }, /multiply by it writes without end;/],
    ['blas-probe', { signal: 'SIGINT' }, /the trial of \/some\.so was ended from outside, by SIGINT$/],
    ['blas-probe', { signal: 'SIGKILL' }, /was ended from outside, by SIGKILL$/],
    [
      'blas-probe',
      { answer: '', status: 1, errors: 'node:…\n\nError: Cannot find module x\n  at' },
      /does not start: Error: Cannot find module x$/,
    ],
    ['blas-probe', { answer: '', signal: 'SIGABRT' }, /the process that tries \/some\.so does not start: SIGABRT$/],
    [
      'blas-probe',
      { answer: 'started\n{"refused":null,"failed":"no thread"}' },
      /the trial of \/some\.so fails: no thread$/,
    ],
    ['blas-probe', { error: new Error('spawn EAGAIN') }, /cannot start a process to try \/some\.so: spawn EAGAIN$/],
  ])('is told from its trial: %s where that ends with %j', async (code, trial, message) => {
    const { probeBlas } = await probing(trial);
    expect(() => probeBlas('/some.so')).toThrow(
      expect.objectContaining({
        code,
        message: expect.stringMatching(message),
        fields: expect.objectContaining({ file: '/some.so' }),
      }),
    );
  });

  it('is tried beside the thread that opens a session, which goes on and ends it', async (context) => {
    context.skip(process.platform === 'win32', 'pipes have no path there');
    installedBlas(context);
    const file = endlessLibrary(mkdtempSync(join(tmpdir(), 'partita-blas-')));
    const controller = new AbortController();
    const { signal } = controller;
    const plan = onBlas({ file, version: 'none' }, 1);
    const opened = expect(Session.open(plan, { signal })).rejects.toThrow('enough');
    const descriptor = await loading(file);
    controller.abort(new Error('enough'));
    await opened;
    // Nobody reads from it any more.
    expect(() => writeSync(descriptor, 'x')).toThrow('EPIPE');
    closeSync(descriptor);
  });

  it('has one trial for all that wait for it, which goes on where one of them is ended', async (context) => {
    context.skip(process.platform === 'win32', 'pipes have no path there');
    installedBlas(context);
    const file = endlessLibrary(mkdtempSync(join(tmpdir(), 'partita-blas-')));
    const controller = new AbortController();
    const first = expect(probeBlasAside(file, controller.signal)).rejects.toThrow('enough');
    const second = expect(probeBlasAside(file)).rejects.toMatchObject({ code: 'blas-not-found' });
    const descriptor = await loading(file);
    controller.abort(new Error('enough'));
    await first;
    // A pipe without an end would keep each process that has opened it; what is empty is no library.
    closeSync(descriptor);
    await second;
  });

  it('is not called without koffi, which is told', async () => {
    vi.resetModules();
    vi.doMock('node:module', () => ({
      createRequire: () => () => {
        throw new Error("Cannot find module 'koffi'\nRequire stack:");
      },
    }));
    const { findBlas: find } = await import('../../src/backends/blas/library.ts');
    vi.doUnmock('node:module');
    expect(() => find('auto')).toThrow(
      expect.objectContaining({
        code: 'blas-koffi',
        message: expect.stringMatching(/does not load: Cannot find module 'koffi'$/),
        remedy: 'npm install koffi, or --blas off',
      }),
    );
  });
});

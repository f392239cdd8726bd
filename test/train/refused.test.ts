// What sessions, trainings and derivatives are given by callers in JavaScript, whom no compiler tells.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  compareGradients,
  compareTensors,
  epochsOf,
  exportModel,
  exportOnnx,
  formatBytes,
  Graph,
  gradientNoise,
  type HostTensor,
  holdOut,
  hvp,
  makeOptimizer,
  makePlan,
  openDataset,
  PartitaError,
  type Plan,
  programFor,
  Session,
  train,
  valueAndGrad,
  writeSafetensors,
} from '../../src/index.ts';
import { threeLayers } from '../support/models.ts';

// biome-ignore lint/suspicious/noExplicitAny: wrong on purpose
const loose = (value: unknown): any => value;
const zeros = (...shape: number[]): HostTensor => ({
  type: { dtype: 'f32', shape },
  data: new Float32Array(shape.reduce((n, d) => n * d, 1)),
});
const batch = (): Record<string, HostTensor> => ({ x: zeros(4, 6), t: zeros(4, 3) });

/** What it is refused with. */
async function refusal(call: () => unknown): Promise<PartitaError> {
  let error: unknown;
  try {
    await call();
  } catch (thrown) {
    error = thrown;
  }
  expect(error).toBeInstanceOf(PartitaError);
  return error as PartitaError;
}

describe('a session', () => {
  let plan: Plan;
  let session: Session;
  beforeAll(async () => {
    plan = makePlan({
      model: threeLayers,
      programs: { train: { batch: 4, mode: 'train' } },
      microbatches: 1,
      devices: [{ backend: 'wasm', memory: null, speed: 1 }],
      partition: 'auto',
      optimizer: makeOptimizer({ kind: 'sgd', lr: 0.1 }),
    });
    session = await Session.open(plan, { transport: 'local' });
  });
  afterAll(() => session.close());

  const opening: readonly (readonly [string, unknown, unknown])[] = [
    ['takes a plan, got an object with nothing', {}, {}],
    ['takes a plan, got nothing', undefined, {}],
    ['takes a plan, got null', null, {}],
    ["takes transport 'threads' or 'local', got \"thread\"", 'plan', { transport: 'thread' }],
    ['seed must be a whole number of 0 or more, got NaN', 'plan', { seed: Number.NaN }],
    ['audit must be true or false, got 1', 'plan', { audit: 1 }],
    ['takes a Map of tensors by name, got an object with a', 'plan', { parameters: { a: 1 } }],
    ['a must be a tensor, { type, data }, got [1, 2]', 'plan', { parameters: new Map([['a', [1, 2]]]) }],
    ['signal must be an AbortSignal, got an object with nothing', 'plan', { signal: {} }],
    ['onStart must be a function', 'plan', { onStart: 'now' }],
    ['poison has no "rest"; there are standard, complement', 'plan', { poison: 'rest' }],
    ['poison has no null', 'plan', { poison: null }],
    ['takes threads that can be taken, got an object with nothing', 'plan', { threads: {} }],
    ['takes a library, got "mkl"', 'plan', { blas: 'mkl' }],
    ['faults: takes lists by device, got []', 'plan', { faults: [] }],
    ['faults.1: takes a list, of a device below 1, got []', 'plan', { faults: { 1: [] } }],
    ['faults.0: takes a list, of a device below 1, got "throw"', 'plan', { faults: { 0: 'throw' } }],
    ['faults.0.0: option instruction is missing', 'plan', { faults: { 0: [{ kind: 'throw', step: 0 }] } }],
    [
      'faults.0.0.kind has no "threw", did you mean "throw"?',
      'plan',
      { faults: { 0: [{ kind: 'threw', step: 0, instruction: 1 }] } },
    ],
  ];
  it.each(opening)('is not opened: %s', async (message, given, options) => {
    const error = await refusal(() => Session.open(loose(given === 'plan' ? plan : given), loose(options)));
    expect(error.message).toContain(message);
    expect(error.message).toMatch(/^Session\.open/);
    expect(error.remedy).toBeTruthy();
  });

  const calls: readonly (readonly [string, (s: Session) => unknown])[] = [
    ['takes a Map of tensors by name, got an object with nothing', (s) => s.write(loose({}))],
    ['takes a Map of tensors by name, got [["a", 1]]', (s) => s.write(loose([['a', 1]]))],
    ['a must be a tensor, { type, data }, got null', (s) => s.write(new Map([['a', loose(null)]]))],
    ['12 values of shape [3, 3]', (s) => s.write(new Map([['a', { ...zeros(3, 4), type: zeros(3, 3).type }]]))],
    ['the model has no parameter, buffer or state B', (s) => s.write(new Map([['B', zeros(1)]]))],
    ['the plan has no program trian', (s) => s.run('trian', batch())],
    ['the plan has no program a symbol', (s) => s.run(loose(Symbol('train')), batch())],
    ['the plan has no program toString', (s) => s.stage('toString', batch())],
    ['takes a batch, tensors by name, got null', (s) => s.run('train', loose(null))],
    ['input x is no tensor, which has a type and data', (s) => s.run('train', loose({ ...batch(), x: 1 }))],
    [
      'input x is no tensor, which has a type and data',
      (s) => s.stage('train', { ...batch(), x: loose({ type: zeros(4, 6).type }) }),
    ],
    ['step must be a whole number of 0 or more, got 0.5', (s) => s.run('train', batch(), { step: 0.5 })],
    ['lr must be a number, got "0.1"', (s) => s.run('train', batch(), loose({ lr: '0.1' }))],
    ['meanwhile must be a function, got 1', (s) => s.run('train', batch(), loose({ meanwhile: 1 }))],
    ['this staged batch has run', (s) => s.runStaged(loose(undefined))],
  ];
  it.each(calls)('refuses: %s', async (message, call) => {
    const error = await refusal(() => call(session));
    expect(error.message).toContain(message);
    expect(error.remedy).toBeTruthy();
  });

  it('goes on behind a refusal', async () => {
    await refusal(() => session.write(loose({})));
    expect((await session.run('train', batch())).loss).toBeGreaterThanOrEqual(0);
  });

  const data = { name: 'zeros', steps: 2, stepsPerEpoch: 1, batchAt: () => ({ epoch: 0, step: 0, tensors: batch() }) };
  const trainings: readonly (readonly [string, object])[] = [
    ['takes a session, got an object with nothing', { session: {} }],
    ['steps must be a whole number of at least 0, not a symbol', { steps: Symbol('steps') }],
    ['learningRate must be a function of the step, and is a symbol', { learningRate: Symbol('rate') }],
    ['noise must be an object, got null', { noise: null }],
    ['signal must be an AbortSignal', { signal: 'SIGINT' }],
    ['checkpoint: dir must be a string, got 3', { checkpoint: { dir: 3 } }],
    ['checkpoint: options must be an object, got ""', { checkpoint: '' }],
    ['checkpoint: options must be an object, got null', { checkpoint: null }],
    ['evaluation: options must be an object, got null', { evaluation: null }],
    ['evaluation: evaluate must be a function, got "all"', { evaluation: { evaluate: 'all', every: 1 } }],
    [
      'evaluation.evaluate must return a record with a loss, and returned an object with accuracy',
      { evaluation: { evaluate: async () => ({ accuracy: 1 }), every: 1 } },
    ],
  ];
  it.each(trainings)('a training is refused: %s', async (message, change) => {
    const error = await refusal(() => train(loose({ session, data, steps: 1, ...change })).next());
    expect(error.message).toContain(message);
    expect(error.remedy).toBeTruthy();
  });

  it('programFor takes a plan', async () => {
    expect((await refusal(() => programFor(loose({}), 'train', loose({})))).message).toContain(
      'programs must be an object',
    );
  });
});

describe('derivatives', () => {
  const options = (change: object) => loose({ model: threeLayers, data: batch(), transport: 'local', ...change });
  const cases: readonly (readonly [string, () => unknown])[] = [
    ['valueAndGrad: takes a model', () => valueAndGrad(options({ model: {} }))],
    ['valueAndGrad: takes a batch', () => valueAndGrad(options({ data: null }))],
    ['valueAndGrad: x must be a tensor', () => valueAndGrad(options({ data: { x: [1] } }))],
    ['valueAndGrad: takes devices, a count or a list, got "2"', () => valueAndGrad(options({ devices: '2' }))],
    ['valueAndGrad: microbatches must be a whole number of 1', () => valueAndGrad(options({ microbatches: 0.5 }))],
    ['hvp: direction must be a Map by name, got an object', () => hvp(options({ direction: { a: zeros(6, 10) } }))],
    ['hvp: direction: a must be a tensor', () => hvp(options({ direction: new Map([['a', [1, 2]]]) }))],
    [
      'valueAndGrad: x must be a tensor',
      () => valueAndGrad(options({ data: { x: { ...zeros(4, 6), type: { shape: [4, 6] } } } })),
    ],
    ['gradientNoise: pairs must be a list, got 2', () => gradientNoise(options({ pairs: 2 }))],
    ['compareTensors: a must be a tensor', () => compareTensors(loose(null), zeros(1))],
    ['a must be a tensor', () => compareTensors(loose({ type: { shape: [3, 4] } }), zeros(1))],
    ['a must be a tensor', () => compareTensors(loose({ type: { shape: [2] }, data: [1, 2] }), zeros(2))],
    [
      'b must be a tensor',
      () =>
        compareTensors(zeros(1), loose({ type: { dtype: 'f32', shape: [Symbol('n')] }, data: new Float32Array(1) })),
    ],
    ['the pair of sizes null must be two whole numbers', () => gradientNoise(options({ pairs: [null] }))],
    ['compareGradients: takes a Map of tensors by name', () => compareGradients(new Map(), loose({}))],
  ];
  it.each(cases)('are refused: %s', async (message, call) => {
    const error = await refusal(call);
    expect(error.message).toContain(message);
    expect(error.remedy).toBeTruthy();
  });
});

describe('data and files', () => {
  const graph = () => new Graph({ mode: 'evaluation' });
  const digits = () => openDataset({ kind: 'digits' });
  const cases: readonly (readonly [string, () => unknown])[] = [
    ['exportOnnx: takes a graph, got an object with nothing', () => exportOnnx(loose({}))],
    ['exportOnnx: takes a graph, got null', () => exportOnnx(loose(null))],
    ['exportOnnx: unknown option opsets, did you mean "opset"?', () => exportOnnx(graph(), loose({ opsets: 17 }))],
    ['exportOnnx: parameters must be a Map by name', () => exportOnnx(graph(), loose({ parameters: {} }))],
    [
      "exportOnnx: takes integers 'INT64' or 'INT32', got \"INT8\"",
      () => exportOnnx(graph(), loose({ integers: 'INT8' })),
    ],
    ['opset must be one of 17 to 19, got a symbol', () => exportOnnx(graph(), loose({ opset: Symbol('17') }))],
    ['exportModel: takes a model', () => exportModel(loose(graph()))],
    ['exportModel: batch must be a whole number of 1 or more, got 0', () => exportModel(threeLayers, { batch: 0 })],
    ['epochsOf: seed must be a whole number', () => epochsOf(digits(), { batchSize: 4, seed: 0.5 })],
    [
      "epochsOf: takes shuffle 'seeded' or 'none', got \"yes\"",
      () => epochsOf(digits(), loose({ batchSize: 4, seed: 0, shuffle: 'yes' })),
    ],
    [
      'batchSize must be an integer ≥ 1, not a symbol',
      () => epochsOf(digits(), loose({ batchSize: Symbol('4'), seed: 0 })),
    ],
    ['holdOut: takes a data set', () => holdOut(loose({}), 0.1, 0)],
    ['holdOut: dataset.size must be a whole number', () => holdOut({ ...digits(), size: Infinity }, 0.1, 0)],
    [
      'openDataset: unknown option target, did you mean "targets"?',
      () => openDataset(loose({ kind: 'csv', file: 'a.csv', target: 'y' })),
    ],
    ['openDataset: option file is missing', () => openDataset(loose({ kind: 'csv' }))],
    ['openDataset: dir must be a string, got null', () => openDataset(loose({ kind: 'fashion-mnist', dir: null }))],
    [
      'openDataset: split has no "tests", did you mean "test"?',
      () => openDataset(loose({ kind: 'fashion-mnist', split: 'tests' })),
    ],
    [
      'openDataset: context must be a whole number of 1 or more, got 0',
      () => openDataset({ kind: 'text', context: 0 }),
    ],
    ['writeSafetensors: takes names with tensors, got nothing', () => writeSafetensors(loose(undefined))],
    ['writeSafetensors: takes names with tensors, got ["a", null]', () => writeSafetensors(loose([['a', null]]))],
    ['formatBytes: bytes must be a number, got "12"', () => formatBytes(loose('12'))],
  ];
  it.each(cases)('are refused: %s', async (message, call) => {
    const error = await refusal(call);
    expect(error.message).toContain(message);
    expect(error.remedy).toBeTruthy();
  });
});

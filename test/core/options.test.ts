import { describe, expect, it } from 'vitest';
import { shown } from '../../src/core/options.ts';
import {
  epochsOf,
  experiment,
  findBlas,
  Graph,
  GraphError,
  init,
  losses,
  makeLearningRate,
  makeOptimizer,
  makePlan,
  makeSchedule,
  nn,
  openDataset,
  PartitaError,
  type PlanRequest,
  readCheckpoint,
  Session,
  type Tensor,
  train,
  UsageError,
  valueAndGrad,
} from '../../src/index.ts';

/** What a caller in JavaScript can write. */
// biome-ignore lint/suspicious/noExplicitAny: misspelled on purpose
const loose = (options: unknown): any => options;

const thrown = (call: () => unknown): PartitaError => {
  try {
    call();
  } catch (error) {
    expect(error).toBeInstanceOf(PartitaError);
    return error as PartitaError;
  }
  throw new Error('nothing was thrown');
};

const rejected = async (promise: Promise<unknown>): Promise<PartitaError> => {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(PartitaError);
  return error as PartitaError;
};

const request = (): PlanRequest => ({
  model: nn.models.modelOf({ kind: 'mlp', inputs: 4, classes: 2, hidden: [3] }),
  programs: { train: { batch: 4, mode: 'train' } },
  microbatches: 1,
  devices: [{ backend: 'wasm', memory: null, speed: 1 }],
  partition: 'auto',
  optimizer: makeOptimizer({ kind: 'sgd', lr: 0.1 }),
});

describe('options of layers', () => {
  const input = (...shape: number[]) => new Graph().input('x', { shape });
  const image = () => input(2, 4, 6, 6);
  const series = () => input(3, 2, 4);
  const rows = () => input(2, 4);
  const cases: readonly [string, (options: unknown) => unknown][] = [
    ['linear', (o) => nn.linear(rows(), 3, loose(o))],
    ['conv2d', (o) => nn.conv2d(image(), 3, loose(Object.assign({ kernel: 3 }, o)))],
    ['convTranspose2d', (o) => nn.convTranspose2d(image(), 3, loose(Object.assign({ kernel: 3 }, o)))],
    ['layerNorm', (o) => nn.layerNorm(rows(), loose(o))],
    ['groupNorm', (o) => nn.groupNorm(image(), 2, loose(o))],
    ['instanceNorm2d', (o) => nn.instanceNorm2d(image(), loose(o))],
    ['batchNorm2d', (o) => nn.batchNorm2d(image(), loose(o))],
    ['dropout', (o) => nn.dropout(rows(), loose(o))],
    ['dropout2d', (o) => nn.dropout2d(image(), loose(o))],
    ['gelu', (o) => nn.gelu(rows(), loose(o))],
    ['leakyRelu', (o) => nn.leakyRelu(rows(), loose(o))],
    ['prelu', (o) => nn.prelu(rows(), loose(o))],
    ['hardtanh', (o) => nn.hardtanh(rows(), loose(o))],
    ['glu', (o) => nn.glu(rows(), loose(o))],
    ['flatten', (o) => nn.flatten(image(), loose(o))],
    ['sequential', (o) => nn.sequential([nn.relu], loose(o))(rows())],
    ['residual', (o) => nn.residual(nn.relu, loose(o))(rows())],
    ['multiheadAttention', (o) => nn.multiheadAttention(series(), loose(Object.assign({ heads: 2 }, o)))],
    ['transformerBlock', (o) => nn.transformerBlock(series(), loose(Object.assign({ heads: 2 }, o)))],
    ['transformerEncoderLayer', (o) => nn.transformerEncoderLayer(series(), loose(Object.assign({ heads: 2 }, o)))],
    [
      'transformerDecoderLayer',
      (o) => {
        const x = series();
        return nn.transformerDecoderLayer(x, x, loose(Object.assign({ heads: 2 }, o)));
      },
    ],
    [
      'transformerEncoder',
      (o) => nn.transformerEncoder(series(), loose(Object.assign({ heads: 2, numLayers: 1, norm: true }, o))),
    ],
    [
      'transformerDecoder',
      (o) => {
        const x = series();
        return nn.transformerDecoder(x, x, loose(Object.assign({ heads: 2, numLayers: 1, norm: true }, o)));
      },
    ],
    ['lstm', (o) => nn.lstm(series(), 3, loose(o))],
    ['gru', (o) => nn.gru(series(), 3, loose(o))],
    ['rnn', (o) => nn.rnn(series(), 3, loose(o))],
    ['upsample', (o) => nn.upsample(image(), loose(Object.assign({ scaleFactor: 2 }, o)))],
    [
      'embedding',
      (o) =>
        nn.embedding(
          new Graph().input('x', { shape: [3], dtype: 'i32' }),
          loose(Object.assign({ rows: 4, dim: 2 }, o)),
        ),
    ],
    ['crossEntropy', (o) => losses.crossEntropy(rows(), 'y', loose(o))],
    ['nll', (o) => losses.nll(rows(), 'y', loose(o))],
    ['mse', (o) => losses.mse(rows(), 'y', loose(o))],
    ['bce', (o) => losses.bce(rows(), 'y', loose(o))],
    ['bceWithLogits', (o) => losses.bceWithLogits(rows(), 'y', loose(o))],
    ['sum', (o) => losses.sum(rows(), loose(o))],
    ['mean', (o) => losses.mean(rows(), loose(o))],
  ];

  it.each(cases)('%s refuses one that it has not', (layer, build) => {
    build({});
    const error = thrown(() => build({ quux: 1 }));
    expect(error).toBeInstanceOf(GraphError);
    expect(error.message).toMatch(new RegExp(`^${layer}\\(.*unknown option quux`));
    expect(error.message).toContain('options.test.ts');
    expect(error.remedy).toMatch(/^options: /);
  });

  it('names the nearest', () => {
    const error = thrown(() => nn.conv2d(image(), 3, loose({ kernel: 3, pading: 1 })));
    expect(error.message).toContain('unknown option pading, did you mean "padding"?');
  });

  it('names what is missing, and what is no object', () => {
    expect(thrown(() => nn.conv2d(image(), 3, loose({}))).message).toContain('option kernel is missing');
    expect(thrown(() => nn.conv2d(image(), 3, loose(3))).message).toContain('options must be an object, got 3');
    expect(thrown(() => nn.linear(rows(), 3, loose('fc'))).message).toContain('options must be an object, got "fc"');
  });
});

describe('arguments that no compiler has seen', () => {
  const { models: _, sequential, residual, ...layers } = nn;
  const functions = Object.entries({ ...layers, ...losses });
  const wrong = [undefined, null, Number.NaN, -1, 'x', {}, [], () => 0];
  const inputs = [1, 2, 3, 4, 5].map((rank) => () => new Graph().input('x', { shape: new Array(rank).fill(4) }));

  it.each(functions)('%s refuses what is no tensor', (_, f) => {
    for (const value of wrong) {
      for (const rest of [[], ['y'], [3, { kernel: 3 }], [{ rows: 4, dim: 2 }]]) thrown(() => loose(f)(value, ...rest));
    }
  });

  it.each(functions)('%s takes no record that says nothing to it', (_, f) => {
    for (const input of inputs) {
      for (const before of [[], [3], ['y'], [input()]]) thrown(() => loose(f)(input(), ...before, { quux: 1 }));
    }
  });

  it('the target of a loss is a tensor or a name', () => {
    const y = () => new Graph().input('x', { shape: [2, 4] });
    for (const loss of [losses.mse, losses.bce, losses.bceWithLogits, losses.crossEntropy, losses.nll]) {
      for (const target of [undefined, null, 3, {}, []]) {
        expect(thrown(() => loss(y(), loose(target))).code).toBe('loss-target');
      }
    }
  });

  it.each([
    ['kaimingUniform', { a: 1, quux: 1 }],
    ['kaimingNormal', { mode: 'fan_out' }],
    ['kaimingNormal', { quux: 1 }],
    ['kaimingUniform', null],
  ] as const)('init.%s refuses the options %j', (name, options) => {
    expect(thrown(() => init[name]([2, 3], loose(options))).code).toBe('options-invalid');
    for (const shape of wrong) expect(thrown(() => init[name](loose(shape))).code).toBe('options-invalid');
  });

  it.each([
    init.constant(Number.NaN),
    init.constant(loose('0')),
    init.uniform(1, -1),
    init.uniform(0, Infinity),
    init.normal(0, -1),
    init.normal(loose(undefined), Number.NaN),
    { kind: 'zeroRow', of: init.constant(Number.NaN), row: 0 } as const,
    loose({ kind: 'kaiming' }),
  ])('a parameter refuses the first values %j', (first) => {
    const error = thrown(() => new Graph().parameter('weight', [2, 3], first));
    expect(error).toMatchObject({ code: 'bad-parameter', fields: { parameter: 'weight' } });
  });

  it.each([
    ['makeOptimizer', makeOptimizer],
    ['makeLearningRate', makeLearningRate],
    ['makeSchedule', (name: unknown) => makeSchedule(loose(name), { stages: 2, microbatches: 2 })],
    ['epochsOf', epochsOf],
    ['openDataset', openDataset],
    ['parseExperiment', experiment.parseExperiment],
  ] as const)('%s refuses what it cannot be', (_, f) => {
    for (const value of [null, Number.NaN, -1, 'x', { quux: 1 }, [], () => 0]) {
      expect(thrown(() => loose(f)(value, { batchSize: 4, seed: 0 }))).toBeInstanceOf(UsageError);
    }
  });

  it.each([
    ['makeOptimizer', makeOptimizer],
    ['makeSchedule', makeSchedule],
    ['epochsOf', epochsOf],
    ['openDataset', openDataset],
    ['readCheckpoint', readCheckpoint],
    ['findBlas', findBlas],
  ] as const)('%s refuses nothing at all', (_, f) => {
    expect(thrown(() => loose(f)(undefined))).toBeInstanceOf(UsageError);
    for (const path of [3, {}, []]) expect(thrown(() => loose(f)(path))).toBeInstanceOf(UsageError);
  });

  it('an optimizer is asked for by its kind', () => {
    const error = thrown(() => makeOptimizer(loose({ lr: 0.1 })));
    expect(error).toMatchObject({ code: 'options-invalid', message: expect.stringContaining('an object with lr') });
  });

  const planOf = (objective: (loss: Tensor) => unknown) =>
    thrown(() =>
      makePlan({
        ...request(),
        model: {
          name: 'one layer',
          build: (batch) => {
            const graph = new Graph();
            const y = nn.linear(graph.input('x', { shape: [batch, 4] }), 2);
            return { graph, objective: loose(objective(losses.mean(y))) };
          },
        },
      }),
    );

  it('an objective has terms, and they finite weights', () => {
    expect(planOf(() => []).code).toBe('no-objective');
    for (const weight of [Number.NaN, Infinity, undefined, '1']) {
      expect(planOf((loss) => [{ loss, weight }])).toMatchObject({ code: 'objective-weight', fields: { term: 0 } });
    }
    expect(planOf((loss) => [{ loss, weight: 1 }, { weight: 1 }])).toMatchObject({ code: 'objective-scalar' });
  });

  it('a training has an optimizer', async () => {
    const { optimizer: _, ...without } = request();
    await using session = await Session.open(makePlan(without));
    const data = epochsOf(openDataset({ kind: 'digits' }), { batchSize: 4, seed: 0 });
    const error = await rejected(train({ session, data, steps: 1 }).next());
    expect(error).toMatchObject({ code: 'train-without-optimizer', fields: { program: 'train' } });
  });
});

describe('options of requests', () => {
  it('makePlan refuses keys that it has not, at every depth', () => {
    const plan = request();
    const [device] = plan.devices;
    const of = (changes: object) => thrown(() => makePlan({ ...plan, ...changes }));
    const unknown = of({ microbatch: 2 });
    expect(unknown).toBeInstanceOf(UsageError);
    expect(unknown.message).toBe('makePlan: unknown option microbatch, did you mean "microbatches"?');
    expect(unknown.fields.unknown).toEqual(['microbatch']);
    expect(of({ programs: { train: { batch: 4, mode: 'train', output: true } } }).message).toBe(
      'makePlan: programs.train: unknown option output, did you mean "outputs"?',
    );
    expect(of({ devices: [device, { ...device, memmory: 1 }] }).message).toBe(
      'makePlan: devices.1: unknown option memmory, did you mean "memory"?',
    );
    expect(of({ partition: undefined }).message).toBe('makePlan: option partition is missing');
  });

  it('Session and train refuse keys that they have not', async () => {
    const plan = makePlan(request());
    expect((await rejected(Session.open(plan, loose({ sed: 1 })))).message).toContain('did you mean "seed"?');
    await using session = await Session.open(plan, { transport: 'local' });
    expect((await rejected(session.run('train', {}, loose({ rate: 1 })))).message).toContain('unknown option rate');
    expect(thrown(() => session.stage('train', {}, loose({ stp: 1 }))).message).toContain('did you mean "step"?');
    const options = {
      session,
      data: { name: 'none', steps: 0, stepsPerEpoch: 1, batchAt: () => ({ tensors: {} }) },
      steps: 0,
    };
    const end = (more: object) => train(loose({ ...options, ...more })).next();
    expect((await rejected(end({ learningrate: () => 1 }))).message).toContain('did you mean "learningRate"?');
    expect((await rejected(end({ checkpoint: { dir: 'x', evry: 1 } }))).message).toContain(
      'checkpoint: unknown option evry, did you mean "every"?',
    );
    expect((await end({})).done).toBe(true);
  });

  it('derivatives refuse keys that they have not', async () => {
    const { model } = request();
    expect((await rejected(valueAndGrad(loose({ model, data: {}, device: 2 })))).message).toContain(
      'valueAndGrad: unknown option device, did you mean "devices"?',
    );
  });
});

describe('a value in a message', () => {
  class Config {
    size = 2;
  }
  class Named {
    toString(): string {
      return 'weight: f32[2]';
    }
  }
  class Broken {
    toString(): string {
      throw new Error('no');
    }
  }
  const cyclic: unknown[] = [];
  cyclic.push(cyclic);
  it.each<[unknown, string]>([
    [undefined, 'nothing'],
    [null, 'null'],
    [Number.NaN, 'NaN'],
    [2n, '2n'],
    ['relu', '"relu"'],
    ['x'.repeat(1e6), `"${'x'.repeat(80)}…"`],
    [new Float32Array(1e6), 'a Float32Array of 1000000'],
    [Array.from({ length: 1e5 }, (_, i) => i), '[0, 1, 2, 3, 4, 5, 6, 7, … 100000 in all]'],
    [[1, ['a']], '[1, ["a"]]'],
    [cyclic, '[[[a list of 1]]]'],
    [{ lr: 1, beta: 2 }, 'an object with lr, beta'],
    [Object.create(null), 'an object with nothing'],
    [new Config(), 'a Config'],
    [new Named(), 'weight: f32[2]'],
    [new Broken(), 'a Broken'],
    [new Map(), 'a Map'],
    [() => 1, 'a function'],
    [Symbol('x'), 'a symbol'],
  ])('$1', (value, words) => {
    expect(shown(value)).toBe(words);
  });
});

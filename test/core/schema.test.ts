import { expect, expectTypeOf, it, describe as suite } from 'vitest';
import { UsageError } from '../../src/core/errors.ts';
import { parseBytes } from '../../src/core/memory-size.ts';
import {
  any,
  boolean,
  bytes,
  choice,
  describe,
  either,
  type Infer,
  integer,
  keysOf,
  lazy,
  list,
  nullable,
  number,
  object,
  optional,
  type Problem,
  parse,
  record,
  type Schema,
  string,
  union,
} from '../../src/core/schema.ts';
import { coerce, flagsOf, schemaAt, setPath } from '../../src/core/schema-flags.ts';

const optimizer = union(
  {
    sgd: { lr: number({ above: 0, default: 0.1, doc: 'learning rate' }), momentum: number({ min: 0, default: 0 }) },
    adam: {
      lr: number({ above: 0, default: 1e-3, doc: 'learning rate' }),
      betas: list(number({ min: 0, below: 1 }), { default: [0.9, 0.999] }),
    },
  },
  { fallback: 'sgd', default: {}, doc: 'the update rule' },
);
const device = object({ backend: choice(['wasm', 'webgpu'], { default: 'wasm' }), memory: optional(bytes()) });
const schema = object({
  model: string({ doc: 'an .onnx file' }),
  devices: either([integer({ min: 1 }), list(device, { minLength: 1 })], { default: 1 }),
  optimizer,
  batchAxis: record(nullable(integer()), { default: {} }),
  microbatches: integer({ min: 1, default: 1, doc: 'M' }),
  invariant: boolean({ default: false }),
  schedule: either([choice(['gpipe', '1f1b']), object({ file: string() })], { default: '1f1b' }),
  frozen: list(string(), { default: [] }),
  steps: optional(integer({ min: 1, max: 100 })),
  sweep: optional(record(list(any()))),
  fraction: optional(number({ check: (v) => (v === 0.5 ? 'anything but a half' : undefined) })),
});

function problems(value: unknown, of: Schema = schema): readonly Problem[] {
  try {
    parse(of, value, 'experiment.json');
  } catch (error) {
    expect(error).toBeInstanceOf(UsageError);
    const { code, message, fields } = error as UsageError;
    expect(code).toBe('experiment-invalid');
    expect(message).toContain('experiment.json');
    for (const { key } of fields.problems as Problem[]) expect(message).toContain(key);
    return fields.problems as Problem[];
  }
  return [];
}
const one = (value: object) => {
  const found = problems({ model: 'm', ...value });
  expect(found).toHaveLength(1);
  return found[0];
};

suite('a good value', () => {
  it('is typed and completed by defaults, nested ones too', () => {
    const config = parse(schema, { model: 'm.onnx' }, 'x');
    expect(config).toEqual({
      model: 'm.onnx',
      devices: 1,
      optimizer: { kind: 'sgd', lr: 0.1, momentum: 0 },
      batchAxis: {},
      microbatches: 1,
      invariant: false,
      schedule: '1f1b',
      frozen: [],
    });
    expectTypeOf(config.optimizer.kind).toEqualTypeOf<'sgd' | 'adam'>();
    expectTypeOf(config.steps).toEqualTypeOf<number | undefined>();
    expectTypeOf(config.batchAxis).toEqualTypeOf<Record<string, number | null>>();
    expectTypeOf<Infer<typeof device>['memory']>().toEqualTypeOf<number | undefined>();
  });

  it('takes every alternative', () => {
    const value = {
      model: 'm',
      devices: [{ memory: '64MiB' }, { backend: 'webgpu', memory: 100 }],
      optimizer: { kind: 'adam', lr: 1 },
      batchAxis: { x: 1, h0: null },
      schedule: { file: 's.csv' },
      steps: null,
      sweep: { microbatches: [1, 2], schedule: ['gpipe'] },
    };
    expect(parse(schema, value, 'x')).toMatchObject({
      devices: [
        { backend: 'wasm', memory: 2 ** 26 },
        { backend: 'webgpu', memory: 100 },
      ],
      optimizer: { kind: 'adam', lr: 1, betas: [0.9, 0.999] },
      batchAxis: { x: 1, h0: null },
      schedule: { file: 's.csv' },
    });
    expect(parse(schema, value, 'x')).not.toHaveProperty('steps');
  });

  it('may contain itself', () => {
    interface Tree {
      name: string;
      children: Tree[];
    }
    const tree: Schema<Tree> = object({
      name: string(),
      children: list(
        lazy(() => tree),
        { default: [] },
      ),
    });
    expect(parse(tree, { name: 'a', children: [{ name: 'b' }] }, 'x').children[0]!.children).toEqual([]);
    expect(problems({ name: 'a', children: [{ name: 'b', children: [{ name: 1 }] }] }, tree)).toEqual([
      { key: 'children.0.children.0.name', expected: 'a string', got: '1' },
    ]);
    expect(keysOf(tree).map(({ path }) => path)).toEqual(['name', 'children']);
    const chain: Schema = object({ next: optional(lazy(() => chain)) });
    expect(keysOf(chain).map(({ path }) => path)).toEqual(['next', 'next.next']);
  });
});

suite('problems', () => {
  it('are all told at once', () => {
    const found = problems({ modle: 'm', devices: 0, optimizer: { kind: 'adm' }, steps: '3' });
    expect(found.map(({ key }) => key)).toEqual(['modle', 'model', 'devices', 'optimizer.kind', 'steps']);
  });

  it('unknown key: the nearest one, or all, or where it belongs', () => {
    expect(one({ microbatch: 2 })).toMatchObject({ key: 'microbatch', nearest: 'microbatches' });
    expect(one({ optimizer: { kind: 'adam', beta: [] } })).toMatchObject({
      key: 'optimizer.beta',
      nearest: 'optimizer.betas',
    });
    expect(one({ momentum: 0.9 })).toMatchObject({ key: 'momentum', nearest: 'optimizer.momentum' });
    expect(one({ lr: 0.9 })).toMatchObject({ key: 'lr', nearest: 'optimizer.lr' });
    expect(one({ optimizer: { seteps: 3 } })).not.toMatchObject({ nearest: 'steps' });
    expect(one({ optimizer: { steps: 3 } })).toMatchObject({ key: 'optimizer.steps', nearest: 'steps' });
    expect(one({ optimizer: { kind: 'adam', momentum: 0 } })).toMatchObject({
      key: 'optimizer.momentum',
      expected: 'one of the keys kind, lr, betas',
    });
    expect(one({ zzzzzzzz: 0 })).toEqual({
      key: 'zzzzzzzz',
      expected: expect.stringContaining('model, devices'),
      got: 'an unknown key',
    });
    expect(problems(JSON.parse('{"model": "m", "__proto__": 1}'))).toMatchObject([{ key: '__proto__' }]);
    expect(one({ toString: 1 })).toMatchObject({ key: 'toString', got: 'an unknown key' });
  });

  it('missing key', () => {
    expect(problems({})).toEqual([{ key: 'model', expected: 'a string', got: 'nothing: it is required' }]);
    expect(problems({ model: null })).toMatchObject([{ key: 'model', got: 'null' }]);
  });

  it('not an object at all', () => {
    for (const value of [null, [], 3, 'x']) expect(problems(value)).toHaveLength(1);
  });

  it('wrong type or range', () => {
    expect(one({ microbatches: 1.5 })).toEqual({ key: 'microbatches', expected: 'an integer ≥ 1', got: '1.5' });
    expect(one({ microbatches: '2' })).toMatchObject({ got: '"2"' });
    expect(one({ steps: 101 })).toMatchObject({ expected: 'an integer ≥ 1 and ≤ 100' });
    expect(one({ optimizer: { lr: 0 } })).toMatchObject({ key: 'optimizer.lr', expected: 'a number > 0' });
    expect(one({ optimizer: { lr: Number.POSITIVE_INFINITY } })).toMatchObject({ got: 'Infinity' });
    expect(one({ optimizer: { kind: 'adam', betas: [0.9, 1] } })).toMatchObject({ key: 'optimizer.betas.1' });
    expect(one({ invariant: 'yes' })).toMatchObject({ expected: 'true or false' });
    expect(one({ frozen: 'w' })).toMatchObject({ expected: 'a list, each a string' });
    expect(one({ batchAxis: { x: 'a' } })).toMatchObject({ key: 'batchAxis.x' });
    expect(one({ fraction: 0.5 })).toMatchObject({ expected: 'anything but a half', got: '0.5' });
  });

  it('wrong word or kind', () => {
    expect(one({ devices: [{ backend: 'wams' }] })).toEqual({
      key: 'devices.0.backend',
      expected: '"wasm" | "webgpu"',
      got: '"wams"',
      nearest: 'wasm',
    });
    expect(one({ schedule: '1f1' })).toMatchObject({ key: 'schedule', nearest: '1f1b' });
    expect(one({ optimizer: { kind: 'adm' } })).toMatchObject({ key: 'optimizer.kind', nearest: 'adam' });
    expect(one({ optimizer: 'adam' })).toMatchObject({
      key: 'optimizer',
      expected: 'an object with the kind "sgd" | "adam"',
    });
    expect(one({ optimizer: { kind: 'toString' } })).toMatchObject({ key: 'optimizer.kind' });
  });

  it('wrong alternative: the problems of the one that was meant, or all alternatives', () => {
    expect(problems({ model: 'm', schedule: { fil: 's' } }).map(({ key }) => key)).toEqual([
      'schedule.fil',
      'schedule.file',
    ]);
    expect(one({ devices: 0 })).toMatchObject({ expected: 'an integer ≥ 1', got: '0' });
    expect(one({ devices: [] })).toMatchObject({ expected: expect.stringContaining('at least 1') });
    expect(one({ devices: true })).toMatchObject({ expected: expect.stringContaining('an integer ≥ 1, or a list') });
  });

  it('wrong memory size', () => {
    expect(one({ devices: [{ memory: '64MB' }] })).toMatchObject({ key: 'devices.0.memory', nearest: '64MiB' });
  });
});

suite('flags', () => {
  const flags = flagsOf(schema);
  const flag = (path: string) => flags.find((f) => f.path === path)!;

  it('are every key, with type, doc and default', () => {
    expect(flags.map(({ path }) => path)).toEqual([
      ...[
        'model',
        'devices',
        'optimizer',
        'optimizer.kind',
        'optimizer.lr',
        'optimizer.momentum',
        'optimizer.betas',
        'batchAxis',
      ],
      ...['microbatches', 'invariant', 'schedule', 'schedule.file', 'frozen', 'steps', 'sweep', 'fraction'],
    ]);
    expect(flag('microbatches')).toMatchObject({ expects: 'an integer ≥ 1', doc: 'M', default: 1 });
    expect(flag('optimizer.lr')).toMatchObject({ expects: 'a number > 0', doc: 'learning rate' });
    expect(flag('optimizer.lr')).not.toHaveProperty('default'); // the kinds differ
    expect(flag('optimizer.kind').default).toBe('sgd');
  });

  it.each([
    ['devices', '3', 3],
    ['devices', '[{"memory":"1MiB"}]', [{ memory: '1MiB' }]],
    ['devices', 'many', 'many'],
    ['optimizer', 'adam', { kind: 'adam' }],
    ['optimizer', '{"lr":1}', { lr: 1 }],
    ['optimizer.lr', '1e-3', 1e-3],
    ['optimizer.lr', '', ''],
    ['optimizer.betas', '0.8, 0.9', [0.8, 0.9]],
    ['invariant', 'true', true],
    ['invariant', 'maybe', 'maybe'],
    ['schedule', 'gpipe', 'gpipe'],
    ['schedule', '{"file":"s.csv"}', { file: 's.csv' }],
    ['frozen', 'a,b', ['a', 'b']],
    ['frozen', '', []],
    ['model', '3', '3'],
    ['batchAxis', '{"x":null}', { x: null }],
    ['batchAxis.x', 'null', null],
    ['batchAxis.x', '1', 1],
    ['devices.0.memory', '1GiB', '1GiB'],
    ['sweep.microbatches', '1,2,"a",gpipe', [1, 2, 'a', 'gpipe']],
  ])('--%s %s', (path, text, expected) => {
    expect(coerce(schemaAt(schema, path)!, text)).toEqual(expected);
  });

  it('know no other paths', () => {
    for (const path of ['modle', 'model.x', 'devices.x.memory', 'optimizer.gamma', 'toString']) {
      expect(schemaAt(schema, path)).toBeUndefined();
    }
  });

  it('refuse broken JSON', () => {
    expect(() => coerce(flag('batchAxis').schema, '{x:1}', '--batchAxis')).toThrow(
      expect.objectContaining({ code: 'flag-json', message: expect.stringContaining('--batchAxis') }),
    );
    expect(() => coerce(flag('devices').schema, '[1')).toThrow(expect.objectContaining({ code: 'flag-json' }));
  });

  it('set nested keys, make objects, replace what is in the way', () => {
    const config: Record<string, unknown> = { schedule: '1f1b', devices: [{ memory: 1 }] };
    setPath(config, 'optimizer.lr', 0.5);
    setPath(config, 'schedule.file', 's.csv');
    setPath(config, 'devices.0.memory', 2);
    setPath(config, 'devices.1', {});
    setPath(config, 'model', 'm');
    expect(config).toEqual({
      optimizer: { lr: 0.5 },
      schedule: { file: 's.csv' },
      devices: [{ memory: 2 }, {}],
      model: 'm',
    });
  });

  it('refuse paths that lead nowhere', () => {
    for (const path of ['', 'a..b', '__proto__.x', 'a.__proto__', 'devices.x', 'devices.5', 'devices.x.y']) {
      expect(() => setPath({ devices: [] }, path, 1)).toThrow(expect.objectContaining({ code: 'flag-path' }));
    }
    setPath({}, 'constructor.prototype.polluted', 1);
    expect({}).not.toHaveProperty('polluted');
  });
});

suite('memory sizes', () => {
  it.each([
    [0, 0],
    [65536, 65536],
    ['65536', 65536],
    ['64KiB', 65536],
    ['64 MiB', 2 ** 26],
    ['1.5GiB', 1.5 * 2 ** 30],
    ['7B', 7],
    ['0.3KiB', 307],
  ])('%s', (text, expected) => expect(parseBytes(text)).toBe(expected));

  it.each([
    ['64MB', '64MiB'],
    ['64mib', '64MiB'],
    ['1g', '1GiB'],
    ['2K', '2KiB'],
    ['1 bytes', null],
    [-1, null],
    ['-1', null],
    [1.5, null],
    ['1.5', null],
    ['', null],
    ['MiB', null],
    [null, null],
    ['99999999TiB', null],
    [Number.NaN, null],
  ])('refuses %s', (value, meant) => {
    expect(() => parseBytes(value, '--memory')).toThrow(
      expect.objectContaining({
        code: 'memory-size',
        message: expect.stringContaining('--memory'),
        fields: expect.objectContaining({ nearest: meant }),
      }),
    );
  });
});

it('describes itself', () => {
  expect(describe(device)).toBe('an object with the keys backend, memory');
  expect(describe(nullable(integer()))).toBe('null, or an integer');
});

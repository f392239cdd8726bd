import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { exitCodeOf, lineOf } from '../../src/cli/failure.ts';
import { planTraining } from '../../src/cli/train.ts';
import type { PartitaError } from '../../src/core/errors.ts';
import type { HostTensor } from '../../src/core/types.ts';
import { writeSafetensors } from '../../src/formats/safetensors.ts';
import { partita, workFolder } from './run.ts';

const folder = workFolder();
const good = { model: { kind: 'mlp', hidden: [8] }, data: { kind: 'digits' }, steps: 1 };

beforeAll(() => {
  const x: HostTensor = { type: { dtype: 'f32', shape: [2, 3] }, data: new Float32Array(6) };
  const y: HostTensor = { type: { dtype: 'i32', shape: [2] }, data: Int32Array.of(0, 7) };
  const file = writeSafetensors([
    ['x', x],
    ['y', y],
  ]);
  writeFileSync(join(folder, 'whole.safetensors'), file);
  writeFileSync(join(folder, 'truncated.safetensors'), file.subarray(0, file.length - 5));
  writeFileSync(join(folder, 'x-only.safetensors'), writeSafetensors([['x', x]]));
  writeFileSync(join(folder, 'broken.json'), '{"model": ');
  writeFileSync(join(folder, 'list.json'), '[]');
  writeFileSync(join(folder, 'utf-16.json'), Buffer.from(`\ufeff${JSON.stringify(good)}`, 'utf16le'));
  writeFileSync(join(folder, 'mark.json'), `\ufeff${JSON.stringify(good, null, 1).replaceAll('\n', '\r\n')}`);
  writeFileSync(join(folder, 'twice.json'), '{\n "model": {"kind": "mlp"},\n "optimizer": {"lr": 0.1, "lr": 0.2}\n}');
  writeFileSync(join(folder, 'deep.json'), `{"objective": ${'['.repeat(20_000)}${']'.repeat(20_000)}}`);
  writeFileSync(join(folder, 'bad.csv'), '0F0,0X1\n');
  writeFileSync(join(folder, 'other.csv'), '0F0,,,0B0\n,1F0,1B0,\n');
  writeFileSync(join(folder, 'small.csv'), 'a,b,c\n1,2,0\n3,4,1\n');
  mkdirSync(join(folder, 'taken'), { recursive: true });
});

/** What is wrong, the experiment, the exit code and what the line on standard error must name. */
const mistakes: [string, object, number, ...string[]][] = [
  ['no model', { model: undefined }, 2, 'model', 'required'],
  ['no data', { data: undefined }, 2, 'data', 'required'],
  ['an unknown key', { optmizer: {} }, 2, 'optmizer', 'unknown key', '"optimizer"'],
  [
    'an unknown nested key',
    { optimizer: { kind: 'sgd', momentun: 1 } },
    2,
    'optimizer.momentun',
    '"optimizer.momentum"',
  ],
  ['a key of another kind', { optimizer: { kind: 'adam', momentum: 1 } }, 2, 'optimizer.momentum'],
  ['a wrong type', { steps: '3' }, 2, 'steps', 'an integer ≥ 1', '"3"'],
  ['zero microbatches', { microbatches: 0 }, 2, 'microbatches', '≥ 1', 'got 0'],
  ['more devices than the memory has threads for', { devices: 1e6 }, 1, '1000000 devices', 'a thread each'],
  ['half a microbatch', { microbatches: 1.5 }, 2, 'microbatches', 'an integer'],
  ['more microbatches than samples', { microbatches: 33 }, 2, 'microbatches', 'at most the batch, 32'],
  ['a negative size', { model: { kind: 'mlp', hidden: [-8] } }, 2, 'model.hidden.0', '≥ 1', 'got -8'],
  ['an unknown model', { model: { kind: 'mpl' } }, 2, 'model.kind', '"mlp"'],
  ['an ONNX model that is not there', { model: 'net.onnx' }, 2, 'model.file', 'no such file', 'net.onnx'],
  ['an unknown schedule', { schedule: 'gpip' }, 2, 'schedule', '"gpipe"'],
  ['an unknown way to recompute', { recompute: 'optimum' }, 2, 'recompute', '"optimal"'],
  ['checkpoints nowhere', { checkpoint: { every: 1 } }, 2, 'checkpoint.dir', 'required'],
  ['checkpoints after no steps', { checkpoint: { dir: 'c', every: 0 } }, 2, 'checkpoint.every', '≥ 1'],
  ['resuming from no folder', { resume: 'c' }, 2, 'no such folder'],
  ['no .npy files', { data: { kind: 'npy', files: {} } }, 2, 'data.files', 'at least one file'],
  ['a missing .npy file', { data: { kind: 'npy', files: { x: 'no.npy' } } }, 2, 'data.files.x', 'no such file'],
  ['unknown SIMD', { simd: 'loose' }, 2, 'simd', '"relaxed"'],
  ['relaxed SIMD on the reference', { simd: 'relaxed', devices: [{ backend: 'reference' }] }, 2, 'simd', '"strict"'],
  ['a BLAS that is no path', { blas: 1 }, 2, 'blas', '"off" | "auto"', 'got 1'],
  ['a misspelled way to choose a BLAS', { blas: 'autoo' }, 2, 'no file autoo', '"auto"'],
  ['no BLAS at all', { blas: '' }, 2, 'blas: it is empty'],
  ['a link without a bandwidth', { links: [{ from: 0, to: 1 }] }, 2, 'links.0.bandwidth', '> 0', 'required'],
  [
    'a link to no device',
    { devices: 2, links: [{ from: 0, to: 2, bandwidth: 1e9 }] },
    2,
    'links.0',
    'devices 0 to 1',
    '0 to 2',
  ],
  ['a link to itself', { devices: 2, links: [{ from: 1, to: 1, bandwidth: 1e9 }] }, 2, 'links.0', 'two different'],
  [
    'a link twice',
    {
      devices: 2,
      links: [
        { from: 0, to: 1, bandwidth: 1e9 },
        { from: 0, to: 1, bandwidth: 2e9 },
      ],
    },
    2,
    'links.1',
    'each link once',
  ],
  ['no stage a device', { stagesPerDevice: 0 }, 2, 'stagesPerDevice', '≥ 1'],
  [
    'stages a device against the placement',
    { devices: 2, stagesPerDevice: 2, partition: { cuts: ['layer.1'], placement: [0, 1] } },
    2,
    'stagesPerDevice',
    '1 on device 0',
  ],
  [
    'stages a device beside devices',
    { devices: 2, stagesPerDevice: 2, partition: { devices: { '*': 0 } } },
    2,
    'stagesPerDevice',
    'partition.devices',
  ],
  [
    'a node on no device',
    { devices: 2, partition: { devices: { 'layer.0': 2 } } },
    2,
    'partition.devices.layer.0',
    'from 0 to 1',
  ],
  [
    'a node placed twice',
    { devices: 2, partition: { devices: { '*': 1 }, placement: [1] } },
    2,
    'partition.placement',
    'partition.devices',
  ],
  ['stages and devices', { partition: { devices: {}, cuts: [] } }, 2, 'partition', 'only one of'],
  ['devices of no node', { partition: { devices: {} } }, 2, 'names no node'],
  ['a device of an unknown layer', { partition: { devices: { 'layr.1': 0 } } }, 2, 'layr.1', 'layer.1'],
  ['WebGPU', { devices: [{ backend: 'webgpu' }] }, 2, 'devices.0.backend', 'webgpu'],
  ['a backend that is none', { devices: [{ backend: 'nul' }] }, 2, 'devices.0.backend', '"null"'],
  [
    'null devices beside others',
    { devices: [{ backend: 'null' }, { backend: 'wasm' }] },
    2,
    'devices.1.backend',
    '"null" as that of device 0',
  ],
  ['evaluating nothing', { devices: [{ backend: 'null' }], eval: { fraction: 0.1 } }, 2, 'eval', 'null devices'],
  ['noise of nothing', { devices: [{ backend: 'null' }], noise: true, microbatches: 2 }, 2, 'noise', 'null devices'],
  ['keeping nothing', { devices: [{ backend: 'null' }], checkpoint: { dir: 'c' } }, 2, 'checkpoint', 'null devices'],
  ['an unknown mode of batch normalisation', { batchNorm: 'exakt' }, 2, 'batchNorm', '"exact"'],
  ['the same for every M where M is a part', { model: { kind: 'resnet' }, invariant: true }, 2, 'bn1', 'joins'],
  ['nesterov alone', { optimizer: { nesterov: true } }, 2, 'optimizer.nesterov', 'momentum > 0'],
  ['steps and epochs', { epochs: 1 }, 2, 'epochs', 'one of steps and epochs'],
  ['an unknown optimizer', { optimizer: { kind: 'adamax' } }, 2, 'optimizer.kind', '"adam"'],
  ['rho beyond 1', { optimizer: { kind: 'adadelta', rho: 1.5 } }, 2, 'optimizer.rho', '≤ 1'],
  ['the rho of another', { optimizer: { kind: 'rmsprop', rho: 0.9 } }, 2, 'optimizer.rho', 'alpha'],
  ['a norm of 0', { clip: { globalNorm: 0 } }, 2, 'clip.globalNorm', '> 0'],
  ['clipping by nothing', { clip: {} }, 2, 'clip.globalNorm', 'required'],
  [
    'a cycle without its top',
    { learningRate: { kind: 'oneCycle', totalSteps: 9 } },
    2,
    'learningRate.maxLr',
    'required',
  ],
  [
    'a cycle shorter than the training',
    { steps: 9, learningRate: { kind: 'oneCycle', maxLr: 1, totalSteps: 8 } },
    2,
    'learningRate.totalSteps',
    'at least steps (9)',
  ],
  [
    'a cycle shorter than the epochs',
    { steps: undefined, epochs: 2, learningRate: { kind: 'oneCycle', maxLr: 1, totalSteps: 100 } },
    2,
    'totalSteps is 100, and there is a step 113',
  ],
  [
    'a cycle without a rise',
    { learningRate: { kind: 'oneCycle', maxLr: 1, totalSteps: 10, pctStart: 0.1 } },
    2,
    'pctStart · totalSteps is 1',
  ],
  [
    'the momentum of an optimizer without one',
    { optimizer: { kind: 'adagrad' }, learningRate: { kind: 'oneCycle', maxLr: 1, totalSteps: 8 } },
    2,
    'learningRate.cycleMomentum',
  ],
  ['too few rates', { steps: 3, learningRate: { kind: 'values', values: [1] } }, 2, 'learningRate.values', '3 steps'],
  [
    'a warm-up as long as all',
    { learningRate: { kind: 'warmupCosine', warmupSteps: 5, totalSteps: 5 } },
    2,
    'learningRate.totalSteps',
  ],
  ['betas of one', { optimizer: { kind: 'adam', betas: [0.9] } }, 2, 'optimizer.betas', 'two numbers'],
  ['a batch size that means nothing', { data: { kind: 'digits', mode: 'fixed', batchSize: 3 } }, 2, 'data.batchSize'],
  ['heads that do not divide', { model: { kind: 'gpt', width: 10, heads: 3 } }, 2, 'model.width', 'multiple of heads'],
  [
    'layers that are not listed',
    { model: { kind: 'lstm', hidden: [8, 8], numLayers: 3 } },
    2,
    'model.numLayers',
    'got 3',
  ],
  ['tokens and numbers', { model: { kind: 'lstm', vocab: 9, inputs: 3 } }, 2, 'model.inputs', 'one of vocab'],
  ['an image too small', { model: { kind: 'lenet', widths: [2, 2, 2, 2] } }, 2, 'halvings'],
  ['an image that cannot be halved', { model: { kind: 'unet', depth: 4 } }, 2, 'cannot be halved 4 times'],
  ['a dropout of all', { model: { kind: 'mlp', dropout: 1 } }, 2, 'model.dropout', '< 1'],
  ['stages without blocks', { model: { kind: 'resnet', blocks: [1] } }, 2, 'widths has 3 stages and blocks 1'],
  ['too few classes', { model: { kind: 'mlp', classes: 9 } }, 2, '10 classes', '9'],
  ['sizes that are not the data’s', { model: { kind: 'mlp', inputs: 63 } }, 2, 'digits', 'x is f32[32, 1, 8, 8]', '63'],
  ['a text for images', { data: { kind: 'text' }, model: { kind: 'lenet', classes: 3 } }, 2, 'model.size'],
  ['more cuts than nodes', { devices: 20, partition: { cuts: 'abcdefghij'.split('') } }, 2, '11 stages', 'nodes'],
  ['more stages than devices', { partition: { cuts: ['layer.1'] } }, 2, 'partition.cuts', '2 stages'],
  ['an unknown cut', { devices: 2, partition: { cuts: ['layer.2'] } }, 2, 'layer.2', 'layer.0'],
  ['two ways to cut', { partition: { cuts: [], balance: 'time' } }, 2, 'partition', 'only one'],
  ['a device that is not there', { partition: { placement: [0, 1] } }, 2, 'partition.placement', 'device 1'],
  ['an unknown parameter', { frozen: ['layer.0.wieght'] }, 2, 'frozen', '"layer.0.weight"'],
  ['an unknown penalised parameter', { l2: { lambda: 1, parameters: ['w'] } }, 2, 'l2.parameters', '"w"'],
  ['an unknown parameter without decay', { optimizer: { noDecay: ['b'] } }, 2, 'optimizer.noDecay', '"b"'],
  ['an unknown output', { objective: [{ kind: 'mean', output: 'logit' }] }, 2, 'objective.0.output', 'logits'],
  ['a missing target', { objective: [{ kind: 'mse', output: 'logits', target: 't' }] }, 2, 'digits', 't: f32[32, 10]'],
  ['another batch axis', { batchAxis: { x: 1 } }, 2, 'batchAxis.x', 'axis 0'],
  ['an unknown batched tensor', { batchAxis: { z: 0 } }, 2, 'batchAxis', '"z"'],
  ['a missing data file', { data: { file: 'no.safetensors' } }, 2, 'data.file', 'no such file', 'no.safetensors'],
  ['a missing schedule file', { schedule: { file: 'no.csv' } }, 2, 'schedule.file', 'no such file'],
  ['a schedule file with bad cells', { schedule: { file: 'bad.csv' } }, 1, 'row 1, column 2', '0X1'],
  ['a schedule file for others', { devices: 2, schedule: { file: 'other.csv' }, microbatches: 2 }, 2, '1 microbatches'],
  ['a truncated file', { data: { file: 'truncated.safetensors' }, model: { kind: 'mlp', classes: 8 } }, 1, 'truncated'],
  ['a file without the target', { data: { file: 'x-only.safetensors' }, model: { kind: 'mlp', classes: 8 } }, 1, '"y"'],
  ['a file and no classes', { data: { file: 'whole.safetensors' } }, 2, 'model.classes', 'required'],
  [
    'a target that is no class',
    { data: { file: 'whole.safetensors' }, model: { kind: 'mlp', classes: 7 } },
    2,
    'holds 7',
    '0 to 6',
  ],
  [
    'a file of microbatches',
    { data: { file: 'whole.safetensors' }, model: { kind: 'mlp', classes: 8 }, microbatches: 3 },
    2,
    'batch of 2',
  ],
  ['holding out of a file', { data: { file: 'whole.safetensors' }, eval: { fraction: 0.5 } }, 2, 'eval.fraction'],
  ['holding out twice', { eval: { fraction: 0.5, data: { kind: 'digits' } } }, 2, 'eval', 'one of fraction and data'],
  ['holding out all', { eval: { fraction: 1 } }, 2, 'eval.fraction', '< 1'],
  ['more devices than a plan can list', { devices: 1e9 }, 2, 'devices', 'at most 1048576 stages', '1000000000 devices'],
  ['a list of sweeps', { sweep: [{ devices: [1, 2] }] }, 2, 'sweep: '],
  ['more stages than a plan can list', { devices: 2, stagesPerDevice: 1e9 }, 2, 'stagesPerDevice', 'at most 1048576'],
  ['an unknown CSV column', { data: { kind: 'csv', file: 'small.csv', targets: ['d'] } }, 2, '"d"', 'a, b, c'],
  ['a memory size', { devices: [{ memory: '64mb' }] }, 2, 'devices.0.memory', '"64MiB"'],
  ['no memory', { devices: [{ memory: 65536 }], model: { kind: 'mlp', hidden: [300] } }, 1, 'device 0', '64.0 KiB'],
  ['a negative rate', { optimizer: { lr: -1 } }, 2, 'optimizer.lr', '≥ 0'],
  ['a negative seed', { seed: -1 }, 2, 'seed', '≥ 0'],
];

async function failureOf(file: string): Promise<unknown> {
  const { signal } = new AbortController();
  const invocation = { command: 'train', file, keys: [], memory: undefined, own: {}, json: true, quiet: true, signal };
  try {
    await planTraining(invocation);
  } catch (error) {
    return error;
  }
  throw new Error(`${file} was accepted`);
}

describe('a wrong experiment', () => {
  // In this process, for there are many; that the command hands errors on as they are is shown below.
  it.each(mistakes.map((m, i) => [m[0], i] as const))('%s', async (_, i) => {
    const [name, change, exitCode, ...texts] = mistakes[i]!;
    const file = join(folder, `${name.replace(/\W/g, '-')}.json`);
    writeFileSync(file, JSON.stringify({ ...good, ...change }));
    const error = await failureOf(file);
    const line = lineOf(error);
    expect(line.split('\n')).toHaveLength(1);
    for (const text of texts) expect(line).toContain(text);
    expect(exitCodeOf(error)).toBe(exitCode);
    const fields = (error as PartitaError).toJSON();
    expect(fields).toMatchObject({ code: expect.stringMatching(/^[a-z0-9-]+$/), message: expect.any(String) });
    expect(fields).toHaveProperty('remedy');
  });

  it('is one line, one JSON object and an exit code', async () => {
    const { code, stdout, stderr } = await partita(folder, ['train', join(folder, 'zero-microbatches.json'), '--json']);
    expect(code).toBe(2);
    expect(stderr).toBe(`${lineOf(await failureOf(join(folder, 'zero-microbatches.json')))}\n`);
    expect(stdout.trim().split('\n')).toHaveLength(1);
    expect(JSON.parse(stdout)).toEqual({
      version: 1,
      error: JSON.parse(JSON.stringify(await failureOf(join(folder, 'zero-microbatches.json')))),
    });
  });

  it('tells all problems at once', async () => {
    const all = {
      ...good,
      model: { kind: 'mlp', hiden: [1] },
      microbatches: 0,
      schedule: 'zb-w',
      optimizer: { lr: 'x' },
    };
    writeFileSync(join(folder, 'all.json'), JSON.stringify(all));
    const { stdout } = await partita(folder, ['plan', 'all.json', '--json']);
    const keys = JSON.parse(stdout).error.problems.map((p: { key: string }) => p.key);
    expect(keys.sort()).toEqual(['microbatches', 'model.hiden', 'optimizer.lr', 'schedule']);
  });
});

it('a target that is named as something every object has is one that the data lack', async () => {
  const objective = JSON.stringify([{ kind: 'crossEntropy', output: 'logits', target: '__proto__' }]);
  const args = ['plan', '--model.kind', 'mlp', '--data.kind', 'digits', '--objective', objective, '--json'];
  const { code, stdout } = await partita(folder, args);
  expect({ code, error: JSON.parse(stdout).error }).toMatchObject({ code: 2, error: { code: 'data-mismatch' } });
});

describe('one line of an error', () => {
  it('joins what stands in several', () => {
    expect(lineOf(new Error('x.json:\n  - a\n  - b'))).toBe('partita: x.json: a; b');
    expect(lineOf(new Error('a cycle:\n  stage 1 -> stage 0\n  stage 0 -> stage 1'))).toBe(
      'partita: a cycle: stage 1 -> stage 0; stage 0 -> stage 1',
    );
  });
});

describe('a wrong command line', () => {
  const lines: [string, string[], number, ...string[]][] = [
    ['no command', [], 2, 'Usage'],
    ['an unknown command', ['trian'], 2, 'trian', 'train'],
    ['no experiment', ['train'], 2, 'needs an experiment file'],
    ['a missing experiment', ['train', 'no.json'], 2, 'no such file: no.json'],
    ['no JSON', ['train', 'broken.json'], 2, 'broken.json', 'JSON'],
    ['a list', ['train', 'list.json'], 2, 'JSON object'],
    ['UTF-16', ['train', 'utf-16.json'], 2, 'utf-16.json is not UTF-8 text, but UTF-16', 'iconv -f UTF-16 -t UTF-8'],
    ['a key that stands twice', ['train', 'twice.json'], 2, '"lr" twice in optimizer, both in line 3', 'leave one'],
    ['a value without a bottom', ['train', 'deep.json'], 2, 'objective', 'a deeply nested value'],
    [
      'a key that stands twice in a flag',
      ['train', '--optimizer', '{"lr": 1, "lr": 2}'],
      2,
      '--optimizer',
      '"lr" twice',
    ],
    ['no name for a folder', ['train', '--model', 'mlp', '--data', 'digits', '--run-dir', ''], 2, 'expected a folder'],
    [
      'no name for parameters',
      ['train', '--model', 'mlp', '--data', 'digits', '--params', ''],
      2,
      '--params: expected a',
    ],
    ['no name for a plan', ['train', '--plan', ''], 2, '--plan: expected a file, got ""'],
    [
      'no name for checkpoints',
      ['train', 'mark.json', '--checkpoint.dir', ''],
      2,
      'checkpoint.dir: expected a path, got ""',
    ],
    ['no name for a checkpoint', ['train', 'mark.json', '--resume', ''], 2, 'resume: expected a path, got ""'],
    [
      'a batch beside data',
      ['plan', 'mark.json', '--batch', '4'],
      2,
      '--batch: the experiment has data',
      '--data.batchSize 4',
    ],
    [
      'a result over the experiment',
      ['plan', 'mark.json', '--plan-out', './mark.json'],
      2,
      'over the experiment, which is read',
    ],
    [
      'a result over the data',
      ['grad', '--model', 'mlp', '--data.file', 'whole.safetensors', '--out', 'whole.safetensors'],
      2,
      '--out whole.safetensors would be written over data.file',
    ],
    [
      'a result over the parameters',
      ['train', 'mark.json', '--params', 'whole.safetensors', '--out', 'whole.safetensors'],
      2,
      'over --params',
    ],
    ['a folder of parameters', ['train', 'mark.json', '--params', 'taken'], 2, 'it is a folder', 'a file within it'],
    ['two experiments', ['plan', 'a.json', 'b.json'], 2, 'too many arguments'],
    ['an unknown flag', ['train', '--optimizer.lrr', '1'], 2, '--optimizer.lrr', '--optimizer.lr'],
    ['a flag without its value', ['train', '--steps'], 2, '--steps', 'argument missing'],
    ['a flag of another command', ['grad', '--plan-out', 'x'], 2, '--plan-out'],
    ['broken JSON in a flag', ['plan', '--model', '{"kind"', '--data', 'digits'], 2, '--model', 'not JSON'],
    [
      'more memory sizes than devices',
      ['plan', '--model', 'mlp', '--data', 'digits', '--memory', '1MiB,1MiB'],
      2,
      '1 device',
    ],
    [
      'memory that is none',
      ['plan', '--model', 'mlp', '--data', 'digits', '--memory', 'much'],
      2,
      '--memory',
      '"much"',
    ],
    [
      'a fractional batch',
      ['plan', '--model', 'mlp', '--model.inputs', '2', '--model.classes', '2', '--batch', '1.5'],
      2,
      '--batch',
    ],
    ['a result in no folder', ['train', '--model', 'mlp', '--data', 'digits', '--out', 'no/a.st'], 1, 'no folder no'],
    ['a missing parameter file', ['grad', '--model', 'mlp', '--data', 'digits', '--params', 'no'], 2, 'no such file'],
    [
      'a folder that cannot be',
      ['grad', '--model', 'mlp', '--data', 'digits', '--out', 'no/such/file'],
      1,
      'no/such/file',
    ],
    ['a file that is a folder', ['train', 'taken'], 2, 'taken'],
  ];
  it.each(lines.map((m, i) => [m[0], i] as const))('%s', async (_, i) => {
    const [, args, exitCode, ...texts] = lines[i]!;
    const { code, stdout, stderr } = await partita(folder, args);
    for (const text of texts) expect(stderr).toContain(text);
    expect({ code, stdout }).toEqual({ code: exitCode, stdout: '' });
  });
});

it('tells of targets that are no classes how to find the first', async () => {
  writeFileSync(join(folder, 'signs.csv'), '1,2,-1\n3,4,1\n');
  const args = ['plan', '--model.kind', 'mlp', '--data.kind', 'csv', '--data.file', 'signs.csv'];
  const guessed = await partita(folder, args);
  expect(guessed).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('--data.task classes names the first row'),
  });
  const asked = await partita(folder, [...args, '--data.task', 'classes']);
  expect(asked).toMatchObject({ code: 1, stderr: expect.stringContaining('row 1: -1 is not a class') });
});

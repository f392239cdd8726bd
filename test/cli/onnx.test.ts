import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readSafetensors } from '../../src/formats/safetensors.ts';
import { onnxBytes } from '../formats/onnx/build.ts';
import { CaseFiles, type GradientCase } from '../oracle/case-files.ts';
import { casePath, classifierExperiment, gradientExperiment } from '../oracle/experiments.ts';
import { partita, workFolder } from './run.ts';

// ONNX files through the command, as a user has them: a file, its data, an experiment.

const folder = workFolder();
const write = (name: string, experiment: unknown): string => {
  writeFileSync(join(folder, name), JSON.stringify(experiment));
  return name;
};
const ok = async (...args: string[]) => {
  const outcome = await partita(folder, args);
  expect(outcome).toMatchObject({ code: 0 });
  return outcome;
};
const bytesOf = (name: string): Buffer => readFileSync(join(folder, name));

describe('an ONNX model', () => {
  it('trains with the same bytes on one device and on three', async () => {
    const experiment = { ...classifierExperiment('training/mlp_sgd', 'data.safetensors'), steps: 5, microbatches: 4 };
    write('train.json', experiment);
    await ok('train', 'train.json', '--out', 'one.st', '--run-dir', 'run1', '--quiet');
    await ok('train', 'train.json', '--out', 'three.st', '--run-dir', 'run3', '--quiet', '--devices', '3');
    expect(bytesOf('three.st').equals(bytesOf('one.st'))).toBe(true);
    const names = [...readSafetensors(bytesOf('one.st'), 'one.st').keys()];
    expect(names).toContain('final/fc1.weight');
  });

  it('that is made for one batch is refused where samples are computed singly, with a remedy that works', async () => {
    await ok('export', '--model.kind', 'mlp', '--data.kind', 'digits', '--batch', '3', '--out', 'static.onnx');
    const objective = [{ kind: 'crossEntropy', output: 'logits', target: 'y' }];
    write('static.json', { model: 'static.onnx', data: { kind: 'digits', batchSize: 3 }, objective, invariant: true });
    const asked = ['grad', 'static.json', '--microbatches', '3', '--json'];
    const { code, stdout } = await partita(folder, asked);
    const { error } = JSON.parse(stdout);
    expect({ exit: code, ...error }).toMatchObject({ exit: 1, code: 'onnx-batch-size', fileBatch: 3 });
    expect(error.message).toContain('invariant: each sample is computed by itself');
    const [remedy] = error.remedy.split(',');
    await ok(...asked, ...remedy.split(' '));
  });

  it('is planned, traced and trained from a stored plan', async () => {
    write('plan.json', { ...classifierExperiment('training/mlp_sgd', 'data.safetensors'), steps: 2 });
    const planned = await ok(
      'plan',
      'plan.json',
      '--devices',
      '2',
      '--partition.cuts',
      '/fc2/Gemm',
      '--plan-out',
      'p.json',
    );
    expect(planned.stdout).toContain('/fc2/Gemm');
    await ok('train', '--plan', 'p.json', '--quiet', '--run-dir', 'planned');
    await ok('trace', 'plan.json', '--devices', '2', '--out', 'trace.json');
  });

  it('with its batch on another axis: microbatches of a file with fixed sizes give what the whole batch gives', async () => {
    const { json } = new CaseFiles<GradientCase>('gradients/lstm_native');
    const experiment = gradientExperiment('gradients/lstm_native', 'model.onnx', json);
    write('lstm.json', { ...experiment, batchAxis: { x: 1 } });
    await ok('grad', 'lstm.json', '--microbatches', '4', '--devices', '2', '--out', 'lstm.st', '--quiet');
    const results = readSafetensors(bytesOf('lstm.st'), 'lstm.st');
    expect(results.get('grad_input/x')!.shape).toEqual([10, 16, 1]);
    expect(results.get('output/logits')!.shape).toEqual([16, 26]);
  });

  it('takes flags alone, and data sets where names and shapes match', async () => {
    writeFileSync(
      join(folder, 'digits.onnx'),
      onnxBytes({
        inputs: [{ name: 'x', shape: ['batch', 1, 8, 'width'] }],
        outputs: [{ name: 'logits' }],
        initializers: [
          { name: 'w', dims: [64, 10], values: Array.from({ length: 640 }, (_, i) => ((i % 7) - 3) / 10) },
        ],
        nodes: [
          { op: 'Flatten', in: ['x'], out: ['flat'] },
          { op: 'MatMul', in: ['flat', 'w'], out: ['logits'] },
        ],
      }),
    );
    const objective = '[{"kind": "crossEntropy", "output": "logits", "target": "y"}]';
    const flags = ['--model', 'digits.onnx', '--data.kind', 'digits', '--objective', objective, '--run-dir', 'digits'];
    const { stdout } = await ok('train', ...flags, '--steps', '3', '--json');
    expect(JSON.parse(stdout)).toMatchObject({ model: 'digits' });
  });
});

describe('mistakes', () => {
  writeFileSync(join(folder, 'bad.onnx'), 'no model');
  const gpt = new CaseFiles<GradientCase>('gradients/gpt_mini').json;
  const digits = { data: { kind: 'digits' }, objective: [{ kind: 'sum', output: 'y' }] };
  const file = (name: string, text: Parameters<typeof onnxBytes>[0]): string => {
    writeFileSync(join(folder, name), onnxBytes(text));
    return name;
  };
  const image = { name: 'x', shape: ['batch', 1, 8, 8] } as const;

  it.each([
    [
      'without objective',
      { ...classifierExperiment('training/mlp_sgd', 'data.safetensors'), objective: undefined },
      2,
      'objective',
    ],
    [
      'a batch that the file marks elsewhere',
      { ...classifierExperiment('training/mlp_sgd', 'data.safetensors'), batchAxis: { x: 1 } },
      2,
      'batchAxis.x',
    ],
    [
      'the batch size baked in',
      { ...gradientExperiment('gradients/gpt_mini', 'model.onnx', gpt), microbatches: 2 },
      1,
      'Reshape "/blocks.0/Reshape"',
    ],
    [
      'an operator that is not supported',
      {
        ...digits,
        model: file('nms.onnx', {
          inputs: [image],
          outputs: [{ name: 'y' }],
          nodes: [{ op: 'NonMaxSuppression', name: 'nms', in: ['x'], out: ['y'] }],
        }),
      },
      1,
      'NonMaxSuppression "nms"',
    ],
    [
      'an attribute that would be ignored',
      {
        ...digits,
        model: file('leak.onnx', {
          inputs: [image],
          outputs: [{ name: 'y' }],
          nodes: [{ op: 'LeakyRelu', name: 'leak', in: ['x'], out: ['y'], attrs: { slope: { float: 0.5 } } }],
        }),
      },
      1,
      'leak.onnx: LeakyRelu "leak": attribute slope (0.5)',
    ],
    [
      'an output without batch, and microbatches',
      {
        ...digits,
        microbatches: 2,
        model: file('mean.onnx', {
          inputs: [image],
          outputs: [{ name: 'y' }],
          nodes: [{ op: 'ReduceMean', in: ['x'], out: ['y'], attrs: { keepdims: 0 } }],
        }),
      },
      2,
      'output "y" is not batched',
    ],
    ['a damaged file', { ...digits, model: 'bad.onnx' }, 1, 'bad.onnx'],
    [
      'a size that no symbol has',
      {
        ...classifierExperiment('training/mlp_sgd', 'data.safetensors'),
        model: { kind: 'onnx', file: casePath('training/mlp_sgd', 'model.onnx'), dims: { seq: 4 } },
      },
      2,
      'model.dims.seq',
    ],
    [
      'a frozen name',
      { ...classifierExperiment('training/mlp_sgd', 'data.safetensors'), frozen: ['fc1.wieght'] },
      2,
      'did you mean "fc1.weight"?',
    ],
  ])('%s', async (_, experiment, code, text) => {
    const outcome = await partita(folder, ['grad', write('wrong.json', experiment)]);
    expect(outcome.stderr).toContain(text);
    expect(outcome.code).toBe(code);
  });
});

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { decodeOnnx } from '../../src/formats/onnx/decode.ts';
import { readOnnx } from '../../src/formats/onnx/read.ts';
import { readSafetensors } from '../../src/formats/safetensors.ts';
import { runOnnx, skipped } from '../support/onnxruntime.ts';
import { digits, partita, workFolder } from './run.ts';

const folder = workFolder();
const run = (...args: string[]) => partita(folder, ['export', ...args]);
const bytesOf = (name: string): Buffer => readFileSync(join(folder, name));

describe('partita export', () => {
  it('writes the built-in model with first values, and the same bytes when it is read and written again', async () => {
    const { code, stdout, stderr } = await run(...digits, '--out', 'mlp.onnx');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(
      /^mlp: 1,210 numbers \(first values of seed 0\), [\d.]+ KiB\nfor any batch: its size is the symbol "batch"\nwritten to mlp.onnx\n$/,
    );
    const { graph } = readOnnx(join(folder, 'mlp.onnx'));
    expect(graph.inputs).toEqual([{ name: 'x', dtype: 'FLOAT', shape: ['batch', 1, 8, 8] }]);
    expect(graph.outputs).toEqual([{ name: 'logits', dtype: 'FLOAT', shape: ['batch', 10] }]);
    const again = await run('mlp.onnx', '--out', 'again.onnx', '--json');
    expect(JSON.parse(again.stdout)).toEqual({
      version: 1,
      command: 'export',
      model: 'mlp',
      batch: 'symbolic',
      fixedBecause: null,
      parameters: 1210,
      from: 'those of its file',
      bytes: bytesOf('mlp.onnx').length,
      out: 'again.onnx',
    });
    const [first, second] = ['mlp.onnx', 'again.onnx'].map((name) => decodeOnnx(bytesOf(name), { where: name }));
    expect(second).toEqual(first);
  });

  it('writes what a training has found', async () => {
    const trained = await partita(folder, ['train', ...digits, '--steps', '3', '--run-dir', 'run', '--quiet']);
    expect(trained.code).toBe(0);
    const { code } = await run(
      ...digits,
      '--params',
      'run/params.safetensors',
      '--out',
      'trained.onnx',
      '--batch',
      '2',
    );
    expect(code).toBe(0);
    const parameters = readSafetensors(bytesOf('run/params.safetensors'), 'params');
    const { graph } = readOnnx(join(folder, 'trained.onnx'));
    expect(graph.inputs[0]!.shape).toEqual([2, 1, 8, 8]);
    expect(graph.initializers).toHaveLength(parameters.size);
    for (const { name, bytes } of graph.initializers) {
      expect(Buffer.compare(Buffer.from(bytes), Buffer.from(parameters.get(name)!.bytes))).toBe(0);
    }
  });

  it.skipIf(skipped)('gives a file that onnxruntime runs', async () => {
    await run(...digits, '--out', 'mlp.onnx', '--opset', '19');
    const x = { type: { dtype: 'f32', shape: [3, 1, 8, 8] }, data: new Float32Array(192).fill(0.5) } as const;
    expect((await runOnnx(bytesOf('mlp.onnx'), { x })).get('logits')!.shape).toEqual([3, 10]);
  });

  it.each([
    ['no file to write', [...digits], '--out model.onnx'],
    ['an opset that is not known', [...digits, '--out', 'x.onnx', '--opset', '20'], '--opset 19'],
    ['another type of integers', [...digits, '--out', 'x.onnx', '--integers', 'INT16'], '--integers INT64'],
    ['a batch of none', [...digits, '--out', 'x.onnx', '--batch', '0'], undefined],
  ])('refuses %s', async (_, args, remedy) => {
    const { code, stdout } = await run(...args, '--json');
    const { error } = JSON.parse(stdout);
    expect(code).toBe(2);
    if (remedy) expect(error.remedy).toBe(remedy);
  });

  it('refuses parameters of another model', async () => {
    writeFileSync(join(folder, 'broken.safetensors'), 'no');
    expect((await run(...digits, '--params', 'broken.safetensors', '--out', 'x.onnx')).code).toBe(1);
    await partita(folder, ['train', ...digits, '--model.hidden', '4', '--steps', '1', '--run-dir', 'other', '--quiet']);
    const { code, stdout } = await run(...digits, '--params', 'other/params.safetensors', '--out', 'x.onnx', '--json');
    expect(code).toBe(2);
    expect(JSON.parse(stdout).error.code).toBe('parameters-mismatch');
  });
});

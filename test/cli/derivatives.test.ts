import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { HostTensor } from '../../src/core/types.ts';
import { toHostTensor } from '../../src/formats/raw-tensor.ts';
import { readSafetensors, writeSafetensors } from '../../src/formats/safetensors.ts';
import { partita, workFolder } from './run.ts';

// 160 parameters: few enough for a Hessian.
const model = ['--model.kind', 'mlp', '--model.hidden', '2', '--model.activation', 'tanh'];
const small = [...model, '--data.kind', 'digits', '--data.batchSize', '12'];
const parameters = { 'layer.0.weight': [2, 64], 'layer.0.bias': [2], 'layer.1.weight': [10, 2], 'layer.1.bias': [10] };
const count = 2 * 64 + 2 + 20 + 10;

const bytesOf = (folder: string, name: string) => readFileSync(join(folder, name)).toString('hex');
const tensorsOf = (folder: string, name: string) =>
  new Map(
    [...readSafetensors(readFileSync(join(folder, name)), name)].map(([key, raw]) => [
      key,
      toHostTensor(raw, 'f32', key),
    ]),
  );

const direction = (of: (i: number) => number): (readonly [string, HostTensor])[] => {
  let next = 0;
  return Object.entries(parameters).map(([name, shape]) => [
    `v/${name}`,
    {
      type: { dtype: 'f32', shape },
      data: Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => of(next++)),
    },
  ]);
};

describe('second derivatives', () => {
  it('a Hessian-vector product is the Hessian times the vector; every layout gives the same files', async () => {
    const folder = workFolder();
    const v = (i: number) => Math.fround(Math.sin(1 + i));
    writeFileSync(join(folder, 'v.safetensors'), writeSafetensors(direction(v)));
    const layouts = [
      ['--devices', '1'],
      ['--devices', '3', '--schedule', 'gpipe'],
      ['--devices', '2'],
    ];
    for (const [i, layout] of layouts.entries()) {
      for (const [name, flags] of Object.entries({ hvp: ['--direction', 'v.safetensors'], hessian: [] })) {
        const args = [name, ...small, ...flags, ...layout, '--microbatches', '3', '--out', `${name}${i}`, '--quiet'];
        expect(await partita(folder, args)).toMatchObject({ code: 0, stderr: '' });
        expect(bytesOf(folder, `${name}${i}`)).toBe(bytesOf(folder, `${name}0`));
      }
    }
    const hvp = tensorsOf(folder, 'hvp0');
    const names = Object.keys(parameters);
    expect([...hvp.keys()].sort()).toEqual(
      ['loss', 'vhv', ...names.map((n) => `grad/${n}`), ...names.map((n) => `hvp/${n}`)].sort(),
    );
    expect(hvp.get('vhv')!.type.shape).toEqual([1]);
    const { type, data } = tensorsOf(folder, 'hessian0').get('hessian')!;
    expect(type.shape).toEqual([count, count]);
    const product = names.flatMap((name) => [...hvp.get(`hvp/${name}`)!.data]);
    let vhv = 0;
    for (let row = 0; row < count; row++) {
      let expected = 0;
      for (let column = 0; column < count; column++) expected += data[row * count + column]! * v(column);
      expect(Math.abs(product[row]! - expected)).toBeLessThan(1e-5 * Math.max(1, Math.abs(expected)));
      vhv += expected * v(row);
    }
    expect(hvp.get('vhv')!.data[0]).toBeCloseTo(vhv, 3);
  });

  it('a gradient penalty of an input, of a value in between, and of an output', async () => {
    const folder = workFolder();
    for (const at of ['x', 'layer.0.tanh', 'layer.1.add']) {
      const penalties: string[] = [];
      for (const devices of ['1', '3']) {
        const args = [
          'gradpen',
          ...small,
          '--at',
          at,
          '--devices',
          devices,
          '--microbatches',
          '2',
          '--out',
          'out',
          '--json',
        ];
        const { code, stdout } = await partita(folder, args);
        expect({ at, code }).toEqual({ at, code: 0 });
        const { penalty, devices: figures } = JSON.parse(stdout);
        expect(penalty).toBeGreaterThan(0);
        for (const d of figures) expect(d.peakBytesMeasured).toBe(d.peakBytesPlanned);
        penalties.push(bytesOf(folder, 'out'));
      }
      expect(penalties[1]).toBe(penalties[0]);
      expect([...tensorsOf(folder, 'out').keys()]).toEqual([
        'penalty',
        ...Object.keys(parameters).map((n) => `gradpen/${n}`),
      ]);
    }
  });

  it('a schedule from a file is one of the folded chain', async () => {
    const folder = workFolder();
    writeFileSync(join(folder, 'model.csv'), '0F0,0B0\n1F0,1B0\n');
    writeFileSync(join(folder, 'chain.csv'), '0F0,,,3F0,3B0,,,0B0\n,1F0,2F0,,,2B0,1B0,\n');
    const args = ['gradpen', ...small, '--at', 'x', '--devices', '2', '--quiet'];
    const refused = await partita(folder, [...args, '--schedule.file', 'model.csv']);
    expect(refused).toMatchObject({ code: 2 });
    expect(refused.stderr).toContain('a chain of 4 stages on devices 0, 1, 1, 0');
    expect(await partita(folder, [...args, '--schedule.file', 'chain.csv', '--out', 'file'])).toMatchObject({
      code: 0,
    });
    expect(await partita(folder, [...args, '--schedule', 'gpipe', '--out', 'named'])).toMatchObject({ code: 0 });
    expect(bytesOf(folder, 'file')).toBe(bytesOf(folder, 'named'));
  });

  it('says what is missing or wrong, and exits with 2', async () => {
    const folder = workFolder();
    writeFileSync(join(folder, 'short.safetensors'), writeSafetensors(direction(() => 1).slice(1)));
    const cases: [string[], string][] = [
      [['hvp', ...small], 'hvp needs a direction'],
      [['hvp', ...small, '--direction', 'short.safetensors'], 'lacks v/layer.0.weight'],
      [['hvp', ...small, '--direction', 'missing.safetensors'], 'no such file'],
      [['grad', ...small, '--params', 'missing.safetensors'], 'no such file'],
      [['gradpen', ...small], 'gradpen needs the tensor'],
      [['gradpen', ...small, '--at', 'layer.0.tan'], 'did you mean "layer.0.tanh"?'],
      [['gradpen', ...small, '--at', 'nothing.like.it'], 'try: --at x; partita graph lists the tensors'],
      [['gradpen', ...small, '--at', 'y'], 'y holds i32'],
      [['gradpen', ...small, '--at', 'elephant'], 'the model has no tensor "elephant"'],
      [['gradpen', ...small, '--at', 'layer.0.weight', '--microbatches', '2'], 'complete only behind the last'],
      [['hessian', '--model.kind', 'mlp', '--model.hidden', '400', '--data.kind', 'digits'], 'partita hvp'],
    ];
    for (const [given, message] of cases) {
      // No plan fits, but what is asked for is wrong: that is told first, for plans take their time.
      const args = [...given, '--memory', '1'];
      const { code, stderr } = await partita(folder, args);
      expect({ args, code, told: stderr.includes(message) ? message : stderr }).toEqual({
        args,
        code: 2,
        told: message,
      });
    }
  });
});

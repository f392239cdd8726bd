import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { HostTensor } from '../../src/core/types.ts';
import { readSafetensors, writeSafetensors } from '../../src/formats/safetensors.ts';
import { onBusyMachines } from '../support/busy.ts';
import { digits, partita, spawned, workFolder } from './run.ts';

const bytesOf = (folder: string, name: string) => readFileSync(join(folder, name)).toString('hex');
const tensorsOf = (folder: string, name: string) => readSafetensors(readFileSync(join(folder, name)), name);
const f32 = (shape: number[], of: (i: number) => number): HostTensor => ({
  type: { dtype: 'f32', shape },
  data: Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => of(i)),
});
const i32 = (values: number[]): HostTensor => ({
  type: { dtype: 'i32', shape: [values.length] },
  data: Int32Array.from(values),
});

const categories = [
  'communication',
  'gradients',
  'inputs',
  'optimizerState',
  'padding',
  'parameters',
  'savedActivations',
  'temporaries',
];

describe('train', () => {
  it('writes the same bytes for every layout with equal microbatches', async () => {
    const folder = workFolder();
    const layouts: Record<string, string[]> = {
      one: [],
      again: [],
      two: ['--devices', '2'],
      three: ['--devices', '3', '--schedule', 'gpipe', '--partition.balance', 'parameters'],
      byHand: ['--devices', '2', '--partition.cuts', 'layer.1', '--partition.placement', '1,0'],
    };
    for (const [name, flags] of Object.entries(layouts)) {
      const args = ['train', ...digits, '--microbatches', '3', '--steps', '4', '--out', name, '--quiet', ...flags];
      const run = name === 'again' ? spawned : partita; // in a process, and in this one
      expect(await run(folder, args)).toMatchObject({ code: 0, stderr: '' });
    }
    for (const name of Object.keys(layouts)) expect(bytesOf(folder, name)).toBe(bytesOf(folder, 'one'));
    const tensors = tensorsOf(folder, 'one');
    const names = ['layer.0.weight', 'layer.0.bias', 'layer.1.weight', 'layer.1.bias'];
    expect([...tensors.keys()]).toEqual(['loss', 'grad_norm', 'lr', ...names.map((n) => `final/${n}`)]);
    expect(tensors.get('loss')!.shape).toEqual([4]);
  });

  it('trains whole epochs, evaluates on all that is held out, and reports what it measured', async () => {
    const folder = workFolder();
    // 1,797 samples: 449 held out, 1,348 to train: 13 full batches of 100, then 48, in which 60 microbatches find no room.
    const flags = ['--data.batchSize', '100', '--microbatches', '60', '--devices', '2', '--eval.fraction', '0.25'];
    const args = [
      'train',
      ...digits,
      ...flags,
      '--optimizer',
      'adam',
      '--optimizer.lr',
      '0.03',
      '--epochs',
      '2',
      '--json',
    ];
    const { code, stdout, stderr } = await partita(folder, [...args, '--run-dir', 'run']);
    expect(code).toBe(0);
    expect(stderr).toContain('step 28/28');
    expect(stdout.trim().split('\n')).toHaveLength(1);
    const result = JSON.parse(stdout);
    expect(result).toMatchObject({ version: 1, steps: 28, epochs: 2, microbatches: 60, evaluation: { samples: 449 } });
    expect(result.evaluation.accuracy).toBeGreaterThan(0.5);
    expect(result.loss).toBeLessThan(result.firstLoss);
    for (const device of result.devices) {
      expect(device.peakBytesMeasured).toBe(device.peakBytesPlanned);
      expect(Object.keys(device.byCategory).sort()).toEqual(categories);
      const sum = Object.values<number>(device.byCategory).reduce((a, b) => a + b, 0);
      expect(sum).toBe(device.peakBytesPlanned);
    }
    const busy = result.devices.reduce((sum: number, d: { busySeconds: number }) => sum + d.busySeconds, 0);
    expect(result.bubbleFraction).toBeCloseTo(1 - busy / (2 * result.stepSeconds), 9);

    const log = readFileSync(join(folder, 'run', 'log.jsonl'), 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(log.map((r) => r.step)).toEqual(Array.from({ length: 28 }, (_, i) => i));
    expect(log.filter((r) => r.evaluation).map((r) => r.step)).toEqual([13, 27]);
    for (const file of ['params.safetensors', 'result.json', 'plan.json', 'experiment.json']) {
      expect(existsSync(join(folder, 'run', file))).toBe(true);
    }
    // The folder's experiment is one: it runs again, from the parameters that were learnt.
    const again = ['train', 'run/experiment.json', '--epochs', '1', '--params', 'run/params.safetensors', '--json'];
    const more = JSON.parse((await partita(folder, [...again, '--quiet', '--run-dir', 'more'])).stdout);
    expect(more.firstLoss).toBeLessThan(result.firstLoss / 2);
  });

  it('takes parameters from the run’s folder, and names it where its result is given instead', async () => {
    const folder = workFolder();
    const own = ['--model.kind', 'mlp', '--model.hidden', '8', '--data.kind', 'digits', '--quiet'];
    await partita(folder, ['train', ...own, '--steps', '1', '--run-dir', 'run', '--out', 'result']);
    await partita(folder, ['grad', ...own, '--out', 'gradients']);
    for (const [file, what] of [
      ['result', 'is the result of a training'],
      ['gradients', 'is the result of a derivative'],
    ] as const) {
      const { code, stdout } = await partita(folder, ['train', ...own, '--steps', '1', '--json', '--params', file]);
      expect(code).toBe(2);
      expect(JSON.parse(stdout).error).toMatchObject({
        code: 'parameters-mismatch',
        message: expect.stringContaining(`${file} ${what}`),
        remedy: expect.stringContaining('params.safetensors'),
      });
    }
    // Before the plan, which may take long: this one cannot even be made.
    const early = ['train', ...own, '--steps', '1', '--json', '--params', 'result', '--memory', '1KiB'];
    const { stdout } = await partita(folder, early);
    expect(JSON.parse(stdout).error.code).toBe('parameters-mismatch');
    const from = ['train', ...own, '--steps', '1', '--run-dir', 'more', '--params', 'run/params.safetensors'];
    expect(await partita(folder, from)).toMatchObject({ code: 0 });
  });

  it('tells the perplexity of a text model', async () => {
    const folder = workFolder();
    const model = ['--model.kind', 'gpt', '--model.layers', '1', '--model.width', '16', '--model.context', '8'];
    const data = ['--data.kind', 'text', '--data.batchSize', '4', '--eval.fraction', '0.002'];
    const args = ['train', ...model, ...data, '--steps', '2', '--devices', '2', '--audit', '--json', '--quiet'];
    const { evaluation } = JSON.parse((await partita(folder, args)).stdout);
    expect(evaluation.perplexity).toBeCloseTo(Math.exp(evaluation.loss), 2);
    expect(evaluation.samples).toBe(Math.floor((Math.round(196_818 * 0.002) - 1) / 8));
  });

  it('reads stream and epochs files relative to the experiment', async () => {
    const folder = workFolder();
    mkdirSync(join(folder, 'sub'));
    const steps = f32([3, 2, 4], (i) => Math.sin(i));
    const labels = { type: { dtype: 'i32' as const, shape: [3, 2] }, data: Int32Array.of(0, 1, 2, 0, 1, 2) };
    const tensors = [
      ['x', steps],
      ['y', labels],
      ['ignored', i32([1])],
    ] as const;
    writeFileSync(join(folder, 'sub', 'stream.safetensors'), writeSafetensors(tensors.slice(0, 2)));
    writeFileSync(
      join(folder, 'sub', 'samples.safetensors'),
      writeSafetensors([['x', f32([5, 4], (i) => Math.cos(i))], ['y', i32([0, 1, 2, 0, 1])], tensors[2]]),
    );
    const model = { kind: 'mlp', hidden: [3], classes: 3 };
    const experiment = {
      model,
      data: { file: 'stream.safetensors', mode: 'stream' },
      learningRate: { kind: 'values', values: [0.5, 0.25, 0.125] },
    };
    writeFileSync(join(folder, 'sub', 'e.json'), JSON.stringify(experiment));
    expect((await partita(folder, ['train', 'sub/e.json', '--quiet', '--out', 'out'])).code).toBe(0);
    expect([...new Float32Array(new Uint8Array(tensorsOf(folder, 'out').get('lr')!.bytes).buffer)]).toEqual([
      0.5, 0.25, 0.125,
    ]);
    const tooMany = await partita(folder, [
      'train',
      'sub/e.json',
      '--steps',
      '4',
      '--learningRate',
      'constant',
      '--quiet',
    ]);
    expect(tooMany).toMatchObject({ code: 2, stderr: expect.stringContaining('holds 3 steps, and 4 are asked for') });

    const epochs = ['--data.file', 'sub/samples.safetensors', '--data.mode', 'epochs', '--data.batchSize', '2'];
    const run = await partita(folder, [
      'train',
      'sub/e.json',
      ...epochs,
      '--learningRate',
      'constant',
      '--json',
      '--quiet',
    ]);
    expect(JSON.parse(run.stdout)).toMatchObject({ steps: 3, epochs: 1 });
  });

  it('stops on SIGINT with every thread joined', async () => {
    const args = ['train', ...digits, '--devices', '2', '--epochs', '100000', '--json', '--run-dir', 'run'];
    const { code, stdout, stderr } = await spawned(workFolder(), args, async (child) => {
      await once(child.stderr!, 'data'); // the first step has been told
      child.kill('SIGINT');
    });
    expect(code).toBe(130);
    expect(JSON.parse(stdout)).toMatchObject({ version: 1, error: { code: 'interrupted' } });
    expect(stderr).toContain('interrupted');
  });

  it('ends on SIGINT while it plans, at the latest when it looks around before', onBusyMachines, async () => {
    const model = ['--model.kind', 'gpt', '--model.layers', '64', '--model.width', '16', '--data.kind', 'text'];
    const folder = workFolder();
    const layout = ['--devices', '8', '--microbatches', '8', '--no-cache', '--run-dir', 'run'];
    let child: { kill(signal: 'SIGINT' | 'SIGKILL'): boolean } | undefined;
    let sent = Number.POSITIVE_INFINITY;
    try {
      const { code } = await spawned(folder, ['train', ...model, ...layout], (process) => {
        child = process;
        setTimeout(() => {
          sent = performance.now();
          process.kill('SIGINT');
        }, 3000);
      });
      expect([null, 130]).toContain(code);
      expect(performance.now() - sent).toBeLessThan(2000);
      expect(existsSync(join(folder, 'run'))).toBe(false);
    } finally {
      child?.kill('SIGKILL');
    }
  });
});

describe('grad', () => {
  it('writes loss, outputs and gradients of the whole batch, the same for every layout', async () => {
    const folder = workFolder();
    writeFileSync(
      join(folder, 'data.safetensors'),
      writeSafetensors([
        ['x', f32([6, 5], (i) => Math.sin(i))],
        ['y', i32([0, 1, 2, 0, 1, 2])],
      ]),
    );
    const flags = [
      '--model.kind',
      'mlp',
      '--model.hidden',
      '4',
      '--model.classes',
      '3',
      '--data.file',
      'data.safetensors',
    ];
    const objective = ['--l2', '{"lambda": 0.1, "parameters": ["layer.1.weight"]}', '--frozen', 'layer.0.bias'];
    const args = ['grad', ...flags, ...objective, '--microbatches', '4', '--quiet', '--out'];
    expect((await partita(folder, [...args, 'one'])).code).toBe(0);
    expect((await partita(folder, [...args, 'two', '--devices', '2'])).code).toBe(0);
    expect(bytesOf(folder, 'two')).toBe(bytesOf(folder, 'one'));
    const shapes = Object.fromEntries([...tensorsOf(folder, 'one')].map(([name, { shape }]) => [name, shape]));
    expect(shapes).toEqual({
      loss: [],
      'output/logits': [6, 3],
      'grad/layer.0.weight': [4, 5],
      'grad/layer.1.weight': [3, 4],
      'grad/layer.1.bias': [3],
      'grad_input/x': [6, 5],
    });
  });

  it('takes parameters by name', async () => {
    const folder = workFolder();
    writeFileSync(
      join(folder, 'data.safetensors'),
      writeSafetensors([
        ['x', f32([2, 2], () => 1)],
        ['y', i32([0, 1])],
      ]),
    );
    const zeros = [
      ['layer.0.weight', f32([2, 2], () => 0)],
      ['layer.0.bias', f32([2], () => 0)],
    ] as const;
    writeFileSync(join(folder, 'zeros.safetensors'), writeSafetensors(zeros));
    const flags = [
      'grad',
      '--model.kind',
      'mlp',
      '--model.hidden',
      '',
      '--model.classes',
      '2',
      '--data.file',
      'data.safetensors',
      '--json',
    ];
    const { stdout } = await partita(folder, [...flags, '--params', 'zeros.safetensors']);
    expect(JSON.parse(stdout).loss).toBeCloseTo(Math.log(2), 6);
    writeFileSync(
      join(folder, 'other.safetensors'),
      writeSafetensors([['layer.0.weigth', f32([2, 2], () => 0)], zeros[1]]),
    );
    const other = await partita(folder, [...flags, '--params', 'other.safetensors']);
    expect(other.code).toBe(2);
    expect(JSON.parse(other.stdout).error).toMatchObject({
      code: 'parameters-mismatch',
      missing: ['layer.0.weight'],
      foreign: ['layer.0.weigth'],
    });
  });
});

describe('trace', () => {
  it('draws tasks, instructions, transfers and planned memory of a real step', async () => {
    const folder = workFolder();
    const args = ['trace', ...digits, '--devices', '2', '--microbatches', '2', '--partition.cuts', 'layer.1', '--json'];
    const { code, stdout } = await partita(folder, args);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ command: 'trace', step: 3, out: 'trace.json' });
    const { traceEvents } = JSON.parse(readFileSync(join(folder, 'trace.json'), 'utf8')) as {
      traceEvents: { ph: string; pid: number; name: string; cat?: string; dur?: number; args?: object }[];
    };
    const tasks = traceEvents.filter((e) => e.cat === 'task' && e.pid === 1).map((e) => e.name);
    expect(tasks.slice(0, 4)).toEqual(['1F0', '1BW0', '1F1', '1BW1']);
    const starts = traceEvents.filter((e) => e.ph === 's').length;
    expect(starts).toBeGreaterThanOrEqual(4); // an activation and a gradient a microbatch
    expect(traceEvents.filter((e) => e.ph === 'f')).toHaveLength(starts);
    expect(traceEvents.some((e) => e.ph === 'C' && e.name === 'planned live bytes' && 'parameters' in e.args!)).toBe(
      true,
    );
  });
});

describe('help', () => {
  it('names the commands, the flags, their defaults and an example', async () => {
    const folder = workFolder();
    const [top, train] = await Promise.all([spawned(folder, ['--help']), spawned(folder, ['train', '--help'])]);
    expect(top).toMatchObject({ code: 0, stderr: '' });
    for (const command of ['train', 'plan', 'grad', 'trace']) expect(top.stdout).toContain(command);
    for (const text of [
      '--optimizer.lr <',
      '--partition.cuts',
      '--microbatches <n>',
      'default 1f1b',
      'Example:',
      '--run-dir',
    ]) {
      expect(train.stdout).toContain(text);
    }
    expect(await partita(folder, ['help', 'grad'])).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('grad_input'),
    });
    expect((await partita(folder, ['--version'])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});

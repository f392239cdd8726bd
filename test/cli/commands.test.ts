import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { HostTensor } from '../../src/core/types.ts';
import { readSafetensors, writeSafetensors } from '../../src/formats/safetensors.ts';
import { readPlanFile } from '../../src/plan/plan-file.ts';
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

describe('plan', () => {
  it('prints stages, grid and memory', async () => {
    const { code, stdout } = await spawned(workFolder(), [
      'plan',
      ...digits,
      '--devices',
      '2',
      '--microbatches',
      '2',
      '--partition.cuts',
      'layer.1',
    ]);
    expect(code).toBe(0);
    expect(stdout).toContain('device 0  F0 F1 .. B0 .. B1 U\ndevice 1  .. F0 B0 F1 B1 .. U\n');
    for (const text of ['layer.1.matmul', 'saved activations', 'sum without reuse', 'Predicted:'])
      expect(stdout).toContain(text);
  });

  it('gives one JSON object with predictions', async () => {
    const { stdout } = await partita(workFolder(), ['plan', ...digits, '--devices', '2', '--json']);
    const plan = JSON.parse(stdout);
    expect(plan).toMatchObject({ version: 1, basis: 'predicted', partition: { gap: 0 } });
    expect(plan.devices).toHaveLength(2);
    for (const device of plan.devices) expect(device.peakBytesMeasured).toBeNull();
    expect(plan.stepSeconds).toBeGreaterThan(0);
  });

  it('needs no data where the model names its sizes', async () => {
    const model = ['--model.kind', 'gpt', '--model.vocab', '50', '--model.context', '8', '--batch', '6'];
    const { code, stdout } = await partita(workFolder(), ['plan', ...model, '--json']);
    expect(code).toBe(0);
    expect(JSON.parse(stdout).programs).toEqual([{ name: 'train', mode: 'train', batch: 6, microbatches: 1 }]);
  });

  it('refuses what does not fit, with the figures and a remedy that works', async () => {
    const folder = workFolder();
    const args = ['plan', ...digits, '--model.hidden', '256', '--memory', '128KiB', '--json'];
    const { code, stdout, stderr } = await partita(folder, args);
    expect(code).toBe(1);
    expect(stderr.trim().split('\n')).toHaveLength(1);
    const { error } = JSON.parse(stdout);
    expect(error).toMatchObject({ code: 'plan-does-not-fit', devices: [{ device: 0, capacityBytes: 131_072 }] });
    expect(error.devices[0].needBytes).toBeGreaterThan(131_072);
    const remedied = [...args.filter((a) => a !== '--memory' && a !== '128KiB'), ...error.remedy.split(' ')];
    expect((await partita(folder, remedied)).code).toBe(0);
  });

  it('finds the least memory, in a table and with flags that make the plan', async () => {
    const folder = workFolder();
    const model = ['--model.kind', 'mlp', '--model.inputs', '64', '--model.classes', '10', '--model.hidden', '256'];
    const plan = ['plan', ...model, '--batch', '32'];
    const lists = ['--search-devices', '1,2', '--search-microbatches', '1,4', '--search-schedules', 'gpipe,1f1b'];
    const { code, stdout } = await partita(folder, [...plan, '--least-memory', ...lists, '--json']);
    expect(code).toBe(0);
    const { leastMemory } = JSON.parse(stdout);
    expect(leastMemory.map((e: { devices: number; microbatches: number }) => [e.devices, e.microbatches])).toEqual([
      [1, 1],
      [1, 4],
      [2, 1],
      [2, 4],
    ]);
    const last = leastMemory[3];
    expect(last.complete).toBe(true);
    expect(Math.max(...last.peakBytes)).toBeLessThanOrEqual(last.capacityBytes);
    const made = await partita(folder, [...plan, ...last.flags.split(' '), '--json']);
    expect([made.code, JSON.parse(made.stdout).binding.capacityBytes]).toEqual([0, last.capacityBytes]);

    // A row for each way to recompute, and flags that make its plan.
    const modes = ['--microbatches', '4', '--schedule', 'gpipe', '--search-recompute', 'none,stage'];
    const deep = ['--model.hidden', '[64,64,64,64]', '--batch', '512', '--evaluations', '3'];
    const ways = await partita(folder, [...plan, ...deep, '--least-memory', ...modes, '--json']);
    const [none, stage] = JSON.parse(ways.stdout).leastMemory;
    expect([none.recompute, stage.recompute]).toEqual(['none', 'stage']);
    expect(stage.capacityBytes).toBeLessThan(none.capacityBytes);
    expect(stage.flags).toContain('--recompute stage');

    // The curve stands beside a plan that is refused.
    const curve = await partita(folder, [...plan, '--memory', '64KiB', '--recompute-curve']);
    expect(curve).toMatchObject({ code: 1, stderr: expect.stringContaining('the plan does not fit') });
    expect(curve.stdout).toMatch(/^optimal +\d[\s\S]*\nWithin 64\.0 KiB a device: none of these/m);

    const refusals = [
      ['--least-memory', '--memory', '1MiB'],
      ['--search', '--search-recompute', 'none'],
      ['--least-memory', '--search'],
      ['--least-memory', '--plan-out', 'x.json'],
      ['--search-devices', '2'],
    ];
    for (const flags of refusals) expect((await partita(folder, [...plan, ...flags])).code).toBe(2);
  });

  it('is searched: what the experiment leaves open is chosen, stored and run', async () => {
    const folder = workFolder();
    const search = [...digits, '--devices', '2', '--search', '--evaluations', '6'];
    // Two numbers of microbatches: each has its own partitions, which take most of the time.
    const few = [...search, '--search-microbatches', '1,4'];
    const { code, stdout } = await partita(folder, ['plan', ...few, '--json', '--plan-out', 'plan.json']);
    expect(code).toBe(0);
    const found = JSON.parse(stdout);
    const { best, pareto, candidates, objective, lowerBound, gap } = found.search;
    expect(candidates).toHaveLength(6);
    expect(objective).toBe(Math.min(...candidates.map((c: { stepSeconds: number }) => c.stepSeconds)));
    expect(gap).toBeCloseTo((objective - lowerBound) / objective, 12);
    expect(pareto[0]).toEqual(best);
    expect(found).toMatchObject({
      stepSeconds: objective,
      microbatches: best.microbatches,
      schedule: best.schedule,
      partition: { placement: best.placement },
    });
    const run = await partita(folder, ['train', '--plan', 'plan.json', '--steps', '2', '--json', '--quiet']);
    expect(run.code).toBe(0);
    const trained = JSON.parse(run.stdout);
    expect(trained.devices.map((d: { peakBytesMeasured: number }) => d.peakBytesMeasured)).toEqual(
      found.devices.map((d: { peakBytesPlanned: number }) => d.peakBytesPlanned),
    );

    const given = ['--microbatches', '3', '--schedule', 'gpipe', '--stagesPerDevice', '2'];
    const kept = await partita(folder, ['plan', ...search, '--json', ...given]);
    for (const c of JSON.parse(kept.stdout).search.candidates)
      expect(c).toMatchObject({ microbatches: 3, schedule: 'gpipe', stagesPerDevice: 2 });
    for (const [flags, text] of [
      [['--search-microbatches', '0'], '--search-microbatches'],
      [['--search-schedules', 'gpip'], 'gpipe'],
      // The first layer alone, 64 KiB of weights and as much of gradients, is too large.
      [['--memory', '64KiB', '--model.hidden', '256', '--search-microbatches', '1,8'], '--memory'],
    ] as const) {
      const refused = await partita(folder, ['plan', ...search, ...flags]);
      expect(refused.code).toBe(flags[0] === '--memory' ? 1 : 2);
      expect(refused.stderr).toContain(text);
    }
    for (const [flags, text] of [
      [['--search', '--trials', '1'], '--trials: expected'],
      [['--search', '--trial-time', '3'], '--trial-time 3: no plans are tried'],
      [['--trials', '3'], '--trials is of a search'],
      [['--least-memory', '--trials', '3'], 'leave out --trials'],
      [['--search', '--trials', '3', '--links', '{"bandwidth": 1e9, "latency": 1e-6}'], '--trials'],
      [['--search', '--trials', '3', '--backend', 'null'], 'null devices'],
    ] as const) {
      const refused = await partita(folder, ['plan', ...digits, '--devices', '2', ...flags]);
      expect(refused.stderr).toContain(text);
      expect(refused.code).toBe(2);
    }
    const alone = await partita(folder, ['plan', ...digits, '--evaluations', '3']);
    expect(alone).toMatchObject({ code: 2, stderr: expect.stringContaining('--search') });
  });

  it('is searched by steps that are run', async () => {
    const folder = workFolder();
    const asked = ['--devices', '2', '--search', '--search-microbatches', '1,2', '--evaluations', '4', '--no-cache'];
    const args = ['plan', ...digits, ...asked, '--trials', '3', '--trial-time', '0.2'];
    const { code, stdout, stderr } = await partita(folder, [...args, '--json']);
    expect(code).toBe(0);
    expect(stderr).toContain('running steps of 3 plans, about 0.2 s');
    const { search, stepSeconds, microbatches } = JSON.parse(stdout);
    const { trials, candidates, best } = search;
    expect(trials.length).toBeGreaterThanOrEqual(2);
    const times = trials.map((t: { stepSeconds: number }) => t.stepSeconds);
    expect(times).toEqual([...times].sort((a, b) => a - b));
    expect(candidates[trials[0].candidate]).toEqual(best);
    expect({ stepSeconds, microbatches }).toEqual({ stepSeconds: best.stepSeconds, microbatches: best.microbatches });
    const text = await partita(folder, args);
    expect(text.stdout).toMatch(/step +measured +bubble/);
    expect(text.stdout).toMatch(/Best by steps that were run, of \d plans/);
  });

  it('is searched among the schedules that are named, auto one of them', async () => {
    const asked = ['--devices', '2', '--microbatches', '4', '--search', '--evaluations', '2'];
    const { code, stdout } = await partita(workFolder(), [
      ...['plan', ...digits, ...asked],
      ...['--search-schedules', 'auto', '--json'],
    ]);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ schedule: 'auto' });
  });

  it('is stored and run again exactly', async () => {
    const folder = workFolder();
    const flags = [...digits, '--devices', '2', '--microbatches', '2', '--steps', '3', '--eval.fraction', '0.1'];
    await partita(folder, ['plan', ...flags, '--plan-out', 'plan.json', '--quiet']);
    expect((await partita(folder, ['train', ...flags, '--out', 'direct', '--quiet', '--run-dir', 'a'])).code).toBe(0);
    expect(
      (await partita(folder, ['train', '--plan', 'plan.json', '--out', 'planned', '--quiet', '--run-dir', 'b'])).code,
    ).toBe(0);
    expect(bytesOf(folder, 'planned')).toBe(bytesOf(folder, 'direct'));
    const [stored, again] = ['plan.json', 'b/plan.json'].map((f) =>
      readPlanFile(readFileSync(join(folder, f), 'utf8'), f),
    );
    expect(again!.devices).toEqual(stored!.devices);
    // One step needs no smaller last batch; without the flag the stored bytes have to be met.
    const epoch = ['--model.kind', 'mlp', '--data.kind', 'digits', '--data.batchSize', '500', '--devices', '2'];
    await partita(folder, ['plan', ...epoch, '--plan-out', 'epoch.json', '--quiet']);
    const text = readFileSync(join(folder, 'epoch.json'), 'utf8');
    expect(readPlanFile(text, 'epoch.json').programs).toEqual(['train', 'tail']);
    const short = await partita(folder, ['train', '--plan', 'epoch.json', '--steps', '1', '--quiet', '--run-dir', 'c']);
    expect(short).toMatchObject({ code: 0, stderr: '' });
    expect(readPlanFile(readFileSync(join(folder, 'c/plan.json'), 'utf8'), 'c').programs).toEqual(['train']);
    const fuller = text.replace(/"plannedBytes": \d/, (found) => `${found}0`);
    writeFileSync(join(folder, 'other.json'), fuller);
    expect(await partita(folder, ['train', '--plan', 'other.json', '--quiet'])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('is not the plan of this experiment: device 0 is planned with'),
    });
    expect(again!.schedule).toEqual(stored!.schedule);

    // The name of a schedule is that of its order of tasks.
    const planned = readFileSync(join(folder, 'epoch.json'), 'utf8');
    writeFileSync(join(folder, '1f1b.csv'), '0F0,0F1,,0B0,,0B1\n,1F0,1B0,1F1,1B1,\n');
    const own = ['--microbatches', '2', '--schedule', '1f1b.csv', '--steps', '1', '--quiet'];
    await partita(folder, ['plan', ...epoch, ...own, '--plan-out', 'own.json']);
    for (const [file, name, problem] of [
      ['epoch.json', 'gpip', 'schedule.name: there is no schedule "gpip"'],
      ['epoch.json', 'zb-h1', 'is not the plan of this experiment: the schedule differs'],
      ['own.json', 'gpipe', 'is not the plan of this experiment: its schedule is not "gpipe"'],
      ['own.json', '1f1b', undefined],
      ['own.json', 'mine', undefined],
    ] as const) {
      const { schedule, ...others } = JSON.parse(readFileSync(join(folder, file), 'utf8'));
      expect(schedule.named).toBe(file === 'own.json' ? 'no' : 'yes');
      writeFileSync(join(folder, 'named.json'), JSON.stringify({ ...others, schedule: { ...schedule, name } }));
      const { code, stderr } = await partita(folder, ['train', '--plan', 'named.json', '--quiet']);
      expect({ name, code }).toEqual({ name, code: problem === undefined ? 0 : 1 });
      expect(stderr).toContain(problem ?? '');
    }
    writeFileSync(join(folder, 'twice.json'), planned.replace('"version": 1', '"version": 1,\n"version": 1'));
    expect(await partita(folder, ['train', '--plan', 'twice.json', '--quiet'])).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/twice.json: a damaged plan: it has the key "version" twice, in lines 3 and 4/),
    });

    const layout = await partita(folder, ['train', '--plan', 'plan.json', '--devices', '3']);
    expect(layout).toMatchObject({ code: 2, stderr: expect.stringContaining('--devices') });
    const other = await partita(folder, ['train', '--plan', 'plan.json', '--model.hidden', '17', '--quiet']);
    expect(other).toMatchObject({ code: 1, stderr: expect.stringContaining('is planned with') });
    writeFileSync(join(folder, 'half.json'), readFileSync(join(folder, 'plan.json'), 'utf8').slice(0, 500));
    writeFileSync(join(folder, 'foreign.json'), '{"a": 1}');
    writeFileSync(join(folder, 'later.json'), '{"format": "partita-plan", "version": 9}');
    for (const [file, text] of [
      ['half', 'not JSON'],
      ['foreign', 'not a plan'],
      ['later', 'version 9'],
    ]) {
      const run = await partita(folder, ['train', '--plan', `${file}.json`, '--json']);
      expect(run.code).toBe(1);
      expect(JSON.parse(run.stdout).error).toMatchObject({
        code: 'plan-file',
        message: expect.stringContaining(text!),
      });
    }
  });

  it('of a file names it in what is wrong with its experiment and with what is made of it', async () => {
    const folder = workFolder();
    const flags = [...digits, '--devices', '2', '--microbatches', '2', '--steps', '1'];
    await partita(folder, ['plan', ...flags, '--plan-out', 'plan.json', '--quiet']);
    const { experiment, ...plan } = JSON.parse(readFileSync(join(folder, 'plan.json'), 'utf8'));
    writeFileSync(join(folder, 'exp.json'), JSON.stringify({ ...experiment, schedule: '1f1b' }));
    const [first] = Object.keys(plan.partition.assignment);
    const moved = { ...plan.partition, assignment: { ...plan.partition.assignment, [first!]: 1 } };
    const lost = { ...plan, partition: moved };
    for (const [name, file, code, ...texts] of [
      ['steps', { ...plan, experiment: { ...experiment, steps: 'x' } }, 2, 'the experiment in steps.json: steps:'],
      ['moved', { ...lost, experiment }, 2, "moved.json: stages need each other's results"],
      ['batch', { ...plan, microbatches: 999, experiment }, 2, 'the experiment in batch.json: microbatches'],
    ] as const) {
      writeFileSync(join(folder, `${name}.json`), JSON.stringify(file));
      const { stdout, ...run } = await partita(folder, ['train', '--plan', `${name}.json`, '--json']);
      const { error } = JSON.parse(stdout);
      expect({ name, code: run.code, error }).toMatchObject({ name, code, error: { remedy: expect.any(String) } });
      for (const text of texts) expect(error.message).toContain(text);
      expect(error.message).not.toContain('command line');
    }
    // What a flag sets is not blamed on the file.
    writeFileSync(join(folder, 'other.json'), JSON.stringify({ ...experiment, model: { kind: 'lenet' } }));
    const lenet = ['--model', '{"kind": "lenet"}'];
    for (const [args, code, text] of [
      [['--optimizer.lr', '-1'], 'experiment-invalid', 'the experiment in plan.json with the flags: optimizer.lr:'],
      [lenet, 'plan-other-model', 'plan.json is a plan for the model mlp, and the command line has lenet'],
      [['other.json'], 'plan-other-model', 'plan.json is a plan for the model mlp, and other.json has lenet'],
    ] as const) {
      const run = await partita(folder, ['train', ...args, '--plan', 'plan.json', '--json']);
      expect(JSON.parse(run.stdout).error).toMatchObject({ code, message: expect.stringContaining(text) });
    }
    // One that a program wrote has none, and is checked against the experiment that is given.
    writeFileSync(join(folder, 'bare.json'), JSON.stringify({ ...plan, experiment: null }));
    const bare = await partita(folder, ['train', 'exp.json', '--plan', 'bare.json', '--quiet', '--run-dir', 'd']);
    expect(bare).toMatchObject({ code: 0, stderr: '' });
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

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readPlanFile } from '../../src/plan/plan-file.ts';
import { digits, partita, spawned, workFolder } from './run.ts';

const bytesOf = (folder: string, name: string) => readFileSync(join(folder, name)).toString('hex');

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
      [['exp.json', ...lenet], 'plan-other-model', 'for the model mlp, and the command line has lenet'],
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

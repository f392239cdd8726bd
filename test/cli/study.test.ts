import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { digits, partita, workFolder } from './run.ts';

const text = (folder: string, ...path: string[]) => readFileSync(join(folder, ...path), 'utf8');
/** Rows of a table without quoted fields, as the study writes these. */
function csv(content: string): Record<string, string>[] {
  const [head, ...lines] = content.trim().split('\n');
  const names = head!.split(',');
  return lines.map((line) => Object.fromEntries(line.split(',').map((value, i) => [names[i]!, value])));
}
const small = [
  ...digits,
  '--devices',
  '2',
  '--sweep.data.batchSize',
  '32,128',
  '--sweep.microbatches',
  '1,4',
  '--epochs',
  '1',
  '--quick',
  '--noise-samples',
  '32',
  '--timed-steps',
  '3',
] as const;

describe('study batch', () => {
  it('writes tables, JSON and a page that agree, and goes on where it was', async () => {
    const folder = workFolder();
    const args = ['study', 'batch', ...small, '--lr-rules', 'none,retuned', '--study-dir', 'study', '--json'];
    const first = await partita(folder, args);
    expect({ code: first.code, error: first.code === 0 ? '' : first.stdout }).toEqual({ code: 0, error: '' });
    expect(first.stdout.trim().split('\n')).toHaveLength(1);
    expect(first.stderr).toContain('4 layouts (batch 32, 128; M 1, 4) on digits');
    const study = JSON.parse(first.stdout);
    expect(study).toMatchObject({ version: 1, command: 'study', study: 'batch', folder: 'study' });
    expect(JSON.parse(text(folder, 'study', 'study.json'))).toEqual(study);
    for (const file of study.files) expect(existsSync(join(folder, 'study', file)), file).toBe(true);

    for (const [name, rows] of Object.entries<object[]>(study.tables)) {
      const file = `${name.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)}.csv`;
      const written = csv(text(folder, 'study', file));
      expect(written, file).toEqual(
        rows.map((row) => Object.fromEntries(Object.entries(row).map(([k, v]) => [k, v === null ? '' : String(v)]))),
      );
    }
    const { timing, memory, gradients, curves, targets, noise, capacity } = study.tables;
    expect(timing.map((r: { batch: number; microbatches: number }) => [r.batch, r.microbatches])).toEqual([
      [32, 1],
      [32, 4],
      [128, 1],
      [128, 4],
    ]);
    expect(timing.map((r: { bubbleClosedForm: number }) => r.bubbleClosedForm)).toEqual([0.5, 0.2, 0.5, 0.2]);
    for (const row of timing) {
      expect(row.samplesPerSecond).toBeCloseTo(row.batch / row.stepSeconds, 9);
      expect(row.stepSecondsLow).toBeLessThanOrEqual(row.stepSeconds);
    }
    expect(timing.filter((r: { sweetSpot: boolean }) => r.sweetSpot)).toHaveLength(2);
    expect(memory).toHaveLength(8);
    for (const row of memory) expect(row.peakBytesMeasured).toBe(row.peakBytesPlanned);
    expect(capacity[1].largestBatch).toBeGreaterThan(capacity[0].largestBatch);
    expect(gradients).toHaveLength(4);
    for (const row of gradients) expect(row).toMatchObject({ within: true });
    // An epoch of 1,438 samples: 45 steps of 32, the last one smaller.
    const ends = curves.filter((r: { rule: string; batch: number }) => r.rule === 'none' && r.batch === 32).at(-1);
    expect(ends).toMatchObject({ step: 45, samples: 1438 });
    expect(targets).toHaveLength(4);
    expect(noise[0]).toMatchObject({ step: 0, samples: 32 });
    expect(noise.at(-1)).toMatchObject({ step: 45 });

    const html = text(folder, 'study', 'index.html');
    for (const { text: claim } of study.summary) expect(html).toContain(claim.replaceAll("'", '&#39;'));

    // Started again, it finds everything finished, and its figures are the same.
    const again = await partita(folder, args);
    expect(again.code).toBe(0);
    expect(JSON.parse(again.stdout).tables).toEqual(study.tables);
    expect(text(folder, 'study', 'finished.jsonl').split('\n').length).toBe(
      new Set(text(folder, 'study', 'finished.jsonl').split('\n')).size,
    );
  });

  it('learns the same in a pool as in turn, and only the parts that are asked for', async () => {
    const folder = workFolder();
    const args = ['study', 'batch', ...small, '--parts', 'learning', '--lr-rules', 'linear', '--quiet', '--json'];
    const [turn, pool] = [await partita(folder, args), await partita(folder, [...args, '--parallel', '2'])];
    expect([turn.code, pool.code, turn.stderr]).toEqual([0, 0, '']);
    const [a, b] = [turn, pool].map(({ stdout }) => JSON.parse(stdout));
    expect(readdirSync(join(folder, 'studies'))).toEqual(['mlp-1', 'mlp-2']);
    const byPlace = (rows: { batch: number; step: number }[]) =>
      [...rows].sort((x, y) => x.batch - y.batch || x.step - y.step);
    expect(byPlace(b.tables.curves)).toEqual(byPlace(a.tables.curves));
    expect(b.tables.cutTraining).toEqual(a.tables.cutTraining);
    expect(a.tables.runs).toEqual([]);
    expect(a.tables.curves[0].seconds).toBeNull();
  });

  it('gives every training the step time of its own model', async () => {
    const folder = workFolder();
    const args = ['study', 'batch', ...small, '--sweep.model.hidden', '16,512', '--lr-rules', 'none'];
    const { code, stdout } = await partita(folder, [...args, '--parts', 'timing,learning', '--json', '--quiet']);
    expect(code).toBe(0);
    const { tables } = JSON.parse(stdout);
    expect(new Set(tables.curves.map((r: { variant: string }) => r.variant)).size).toBe(2);
    for (const { variant, batch, step, seconds } of tables.curves) {
      const sweet = tables.timing.find(
        (r: { series: string; batch: number; sweetSpot: boolean }) =>
          r.series === variant && r.batch === batch && r.sweetSpot,
      );
      expect(seconds / step).toBeCloseTo(sweet.stepSeconds, 12);
    }
  });

  it('records what does not fit with its need, and runs the rest', async () => {
    const folder = workFolder();
    const args = ['study', 'batch', ...small, '--memory', '64KiB', '--parts', 'timing,capacity', '--json', '--quiet'];
    const { code, stdout } = await partita(folder, args);
    expect(code).toBe(0);
    const { tables, settings, summary } = JSON.parse(stdout);
    const unfit = tables.timing.filter((r: { fits: boolean }) => !r.fits);
    expect(unfit.length).toBeGreaterThan(0);
    expect(unfit.length).toBeLessThan(4);
    for (const row of unfit) expect(row.stepSeconds).toBeNull();
    const short = tables.memory.filter((r: { fits: boolean }) => !r.fits);
    for (const row of short) expect(row.peakBytesPlanned).toBeGreaterThan(row.capacityBytes);
    expect(settings).toMatchObject({ capacities: [65536], capacityFrom: 'devices' });
    expect(summary.map((c: { text: string }) => c.text).join(' ')).toMatch(/of 4 layouts do not fit/);
  });

  it('takes swept paths of a file relative to it, whatever lies in the current folder', async () => {
    const folder = workFolder();
    const own = join(folder, 'own');
    mkdirSync(own);
    writeFileSync(join(own, 'two.csv'), 'a,b,c\n1,2,0\n3,4,1\n');
    writeFileSync(join(own, 'three.csv'), 'a,b,c,d\n1,2,3,0\n3,4,5,1\n');
    writeFileSync(join(own, 'sch.csv'), '0F0,,,0B0\n,1F0,1B0,\n');
    writeFileSync(join(folder, 'two.csv'), 'a,b,c,d,e,f\n1,2,3,4,5,0\n3,4,5,6,7,1\n');
    const sweep = { 'data.file': ['two.csv', 'three.csv'], schedule: ['gpipe', { file: 'sch.csv' }] };
    const experiment = {
      model: { kind: 'mlp', hidden: [4] },
      data: { kind: 'csv', file: 'two.csv', mode: 'fixed' },
      devices: 2,
      sweep,
    };
    writeFileSync(join(own, 'sweep.json'), JSON.stringify(experiment));
    const flags = ['--parts', 'training', '--study-dir', 'study', '--json', '--quiet'];
    const { code, stdout } = await partita(folder, ['study', 'memory', 'own/sweep.json', ...flags]);
    expect({ code, error: code === 0 ? '' : stdout }).toEqual({ code: 0, error: '' });
    const { tables } = JSON.parse(stdout);
    // 2 and 3 features; hidden 4; 2 classes
    const parameters = tables.layouts.map((row: { parameterCount: number }) => row.parameterCount);
    expect([...new Set(parameters)].sort()).toEqual([22, 26]);
    // What the study keeps of it stands for the same experiments.
    expect(JSON.parse(text(folder, 'study', 'experiment.json')).sweep['data.file'].every(isAbsolute)).toBe(true);
  });

  it('refuses wrong sweeps, topics and flags before anything runs', async () => {
    const folder = workFolder();
    writeFileSync(
      join(folder, 'sweep.json'),
      JSON.stringify({ model: { kind: 'mlp' }, data: { kind: 'digits' }, sweep: { microbatches: [1, 2] } }),
    );
    const cases: [string[], string][] = [
      [['study', 'batch', 'sweep.json', '--sweep.microbatch', '1,2'], 'did you mean \\"sweep.microbatches\\"'],
      [
        ['study', 'batch', ...digits, '--sweep.data.batchSize', '2,64', '--sweep.microbatches', '4'],
        'data.batchSize 2, microbatches 4',
      ],
      [['study', 'batch', ...digits, '--sweep.seed', '1,2'], '--seeds'],
      [['study', 'bath', ...digits], 'expected batch, memory, partition, schedule, scaling, got'],
      [['study'], 'expected batch, memory, partition, schedule, scaling, got nothing'],
      [
        ['study', 'schedule', ...digits, '--seeds', '2'],
        '--seeds: is of the study batch; study schedule does not obey it',
      ],
      [['study', 'scaling', ...digits, '--methods', 'auto'], '--methods: is of the study partition'],
      [['study', 'partition', ...digits, '--methods', 'idels'], 'ideals'],
      [['study', 'scaling', ...digits, '--parts', 'weak,strongg'], 'strong'],
      [['study', 'batch'], 'partita study batch --model.kind mlp'],
      [['study', 'batch', ...digits, '--parts', 'timing,memry'], 'memory'],
      [['study', 'batch', ...digits, '--repeat', '0'], '--repeat: expected an integer ≥ 1'],
      [['study', 'batch', ...digits, '--target-accuracy', '1.5'], '--target-accuracy: expected a number > 0 and ≤ 1'],
      [['train', 'sweep.json'], 'sweep: partita train takes a single experiment'],
      // Also of keys that a study walks through by itself.
      [
        ['study', 'schedule', ...digits, '--sweep.schedule', '1f1b,gpipe,1f1b'],
        'sweep.schedule.2: expected each value once',
      ],
      [['study', 'partition', ...digits, '--sweep.devices', '2,2'], 'sweep.devices.1: expected each value once'],
      [['study', 'scaling', ...digits, '--sweep.devices', '0,2'], 'sweep.devices.0: expected an integer ≥ 1'],
      [
        ['study', 'scaling', ...digits, '--sweep.microbatches', '4,4'],
        'sweep.microbatches.1: expected each value once',
      ],
      [['study', 'memory', ...digits, '--sweep.resume', 'a,b'], 'it keeps and resumes no checkpoint'],
      [['study', 'memory', ...digits, '--sweep.checkpoint.every', '1,2'], 'it keeps and resumes no checkpoint'],
      [['study', 'memory', ...digits, '--sweep.microbatches', '1,1'], 'sweep.microbatches.1: expected each value once'],
    ];
    for (const [args, message] of cases) {
      const { code, stdout } = await partita(folder, [...args, '--json']);
      expect({ args, code }).toEqual({ args, code: 2 });
      expect(stdout).toContain(message);
    }
    expect(readdirSync(folder)).toEqual(['sweep.json']);
  });
});

describe('study partition, schedule and scaling', () => {
  const quick = [
    ...digits,
    '--model.hidden',
    '[16,16]',
    '--data.batchSize',
    '16',
    '--devices',
    '2',
    '--quick',
  ] as const;

  it.each([
    ['partition', ['--methods', 'chain-time,equal', '--sweep.devices', '2', '--timed-steps', '2'], 'partitions', 2],
    [
      'schedule',
      ['--sweep.schedule', 'gpipe,zb-h1', '--sweep.microbatches', '2', '--timed-steps', '2'],
      'schedules',
      2,
    ],
    [
      'scaling',
      ['--sweep.devices', '1,2', '--sweep.schedule', '1f1b', '--sweep.microbatches', '4', '--parts', 'weak,links'],
      'scaling',
      2,
    ],
  ] as const)(
    '%s writes tables, JSON and a page that agree, and goes on where it was',
    async (topic, own, main, rows) => {
      const folder = workFolder();
      const args = ['study', topic, ...quick, ...own, '--study-dir', 'study', '--json'];
      const { code, stdout } = await partita(folder, args);
      expect({ code, error: code === 0 ? '' : stdout }).toEqual({ code: 0, error: '' });
      expect(stdout.trim().split('\n')).toHaveLength(1);
      const study = JSON.parse(stdout);
      expect(study).toMatchObject({ version: 1, command: 'study', study: topic, folder: 'study' });
      expect(JSON.parse(text(folder, 'study', 'study.json'))).toEqual(study);
      expect(study.tables[main]).toHaveLength(rows);
      for (const file of study.files) expect(existsSync(join(folder, 'study', file)), file).toBe(true);
      for (const [name, table] of Object.entries<object[]>(study.tables)) {
        if (table.length === 0) continue;
        expect(csv(text(folder, 'study', `${name}.csv`)), name).toEqual(
          table.map((row) => Object.fromEntries(Object.entries(row).map(([k, v]) => [k, v === null ? '' : String(v)]))),
        );
      }
      for (const row of study.tables[main]) {
        // What was timed measured the bytes that were planned.
        if (row.stepSeconds !== null && 'peakBytesMeasured' in row)
          expect(row.peakBytesMeasured).toBe(row.peakBytesPlanned);
      }
      const html = text(folder, 'study', 'index.html');
      for (const { text: claim } of study.summary) expect(html).toContain(claim.replaceAll("'", '&#39;'));
      const again = await partita(folder, args);
      const withoutTime = ({ methodSeconds: _, ...row }: { methodSeconds?: number }) => row;
      expect(JSON.parse(again.stdout).tables[main].map(withoutTime)).toEqual(study.tables[main].map(withoutTime));
    },
  );
});

describe('study memory', () => {
  it('writes tables that agree with its JSON, and the measured peaks beside the planned', async () => {
    const folder = workFolder();
    const args = ['study', 'memory', ...digits, '--devices', '2', '--sweep.microbatches', '1,4', '--measure'];
    const { code, stdout, stderr } = await partita(folder, [...args, '--study-dir', 'study', '--json']);
    expect({ code, error: code === 0 ? '' : stdout }).toEqual({ code: 0, error: '' });
    expect(stderr).toContain('memory study: 2 layouts of mlp, training and prediction, measured');
    const study = JSON.parse(stdout);
    expect(study).toMatchObject({ version: 1, command: 'study', study: 'memory', skipped: [] });
    expect(study.files).toEqual([
      'index.html',
      'study.json',
      'layouts.csv',
      'devices.csv',
      'holders.csv',
      'over-time.csv',
    ]);
    for (const [name, file] of [
      ['layouts', 'layouts.csv'],
      ['overTime', 'over-time.csv'],
    ] as const) {
      expect(csv(text(folder, 'study', file))).toEqual(
        study.tables[name].map((row: object) =>
          Object.fromEntries(Object.entries(row).map(([k, v]) => [k, v === null ? '' : String(v)])),
        ),
      );
    }
    expect(study.tables.devices).toHaveLength(8);
    for (const row of study.tables.devices) expect(row.peakBytesMeasured).toBe(row.peakBytes);
    const again = await partita(folder, [...args, '--study-dir', 'study', '--quiet', '--json']);
    expect(JSON.parse(again.stdout).tables).toEqual(study.tables);
  });

  it.each([
    [['study', 'memory', ...digits, '--quick'], '--quick: is of the study batch, partition, schedule, scaling'],
    [['study', 'schedule', ...digits, '--measure'], '--measure: is of the study memory'],
    [['study', 'memory', ...digits, '--batch', '8'], '--batch: the experiment has data'],
    [['study', 'memory', '--model.kind', 'mlp', '--batch', '8,x'], '--batch: expected integers ≥ 1'],
    [['study', 'memory', ...digits, '--parts', 'timing'], 'training, prediction'],
  ])('refuses %j', async (args, message) => {
    const { code, stderr } = await partita(workFolder(), args);
    expect(code).toBe(2);
    expect(stderr).toContain(message);
  });
});

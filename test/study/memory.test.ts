import { describe, expect, it } from 'vitest';
import { memoryCategories } from '../../src/program/instruction.ts';
import { drawChart } from '../../src/report/chart.ts';
import { sideBySideChart } from '../../src/report/memory-side-by-side.ts';
import { memoryStudyPage } from '../../src/report/memory-study.ts';
import { lackingOf } from '../../src/study/memory/fit.ts';
import { korthikantiBytes, textbookBytes, trainingStateBytes } from '../../src/study/memory/formulas.ts';
import { samplesOf } from '../../src/study/memory/over-time.ts';
import { scalesOf } from '../../src/study/memory/scales.ts';
import { designMemoryStudy, type MemoryStudy, runMemoryStudy } from '../../src/study/memory/study.ts';
import { memoryColumns, purposes } from '../../src/study/memory/tables.ts';
import { parseExperiment } from '../../src/train/experiment/parse.ts';

interface Cell {
  readonly title: { readonly subtitle: readonly string[] };
  readonly vconcat: {
    readonly layer: { readonly mark: { type: string }; readonly encoding: { readonly y: { scale: object } } }[];
  }[];
}

const studyOf = (more: object, options: object = {}): Promise<MemoryStudy> => {
  const base = { model: { kind: 'mlp', hidden: [24], activation: 'tanh' }, data: { kind: 'digits', batchSize: 16 } };
  const parsed = parseExperiment({ ...base, ...more }, 'test');
  const chosen = { purposes, measure: false, ...options };
  return runMemoryStudy(designMemoryStudy(parsed, chosen, 'test'), chosen);
};
const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);

describe('a study of memory', () => {
  it('accounts for every byte, by device, category, tensor and time, of training and of prediction', async () => {
    const study = await studyOf({ devices: 2, optimizer: { kind: 'adam' }, sweep: { microbatches: [1, 4] } });
    const { layouts, devices, holders, overTime } = study.tables;
    expect(layouts.map((r) => [r.purpose, r['sweep.microbatches'], r.microbatches])).toEqual([
      ['training', 1, 1],
      ['training', 4, 4],
      ['prediction', 1, 1],
      ['prediction', 4, 4],
    ]);
    for (const row of devices) {
      const same = (r: typeof row | (typeof holders)[number] | (typeof overTime)[number]) =>
        r.layout === row.layout && r.purpose === row.purpose && r.device === row.device;
      expect(sum([...memoryCategories, 'padding' as const].map((c) => row[c]))).toBe(row.peakBytes);
      expect(row.layoutWasteBytes).toBe(row.peakBytes - row.maxLiveBytes);
      expect(sum(holders.filter(same).map((h) => h.bytes))).toBe(row.maxLiveBytes);
      const times = overTime.filter(same);
      const high = times.reduce((a, b) => (b.liveBytes > a.liveBytes ? b : a));
      expect([high.liveBytes, high.instruction]).toEqual([row.maxLiveBytes, row.peakInstruction]);
      expect(Math.max(...times.map((t) => t.reachBytes))).toBe(row.peakBytes);
      if (row.purpose === 'prediction')
        expect([row.gradients, row.optimizerState, row.savedActivations]).toEqual([0, 0, 0]);
      else expect(row.optimizerState).toBeGreaterThan(0);
    }
    for (const row of layouts) {
      const own = devices.filter((d) => d.layout === row.layout && d.purpose === row.purpose);
      expect(row.sumOfPeakBytes).toBe(sum(own.map((d) => d.peakBytes)));
      expect(row.peakBytes).toBe(Math.max(...own.map((d) => d.peakBytes)));
      // Adam in f32: 16 bytes a parameter; to predict takes 4.
      expect(row.statesFormulaBytes).toBe((row.purpose === 'training' ? 16 : 4) * row.parameterCount);
    }
    const columns = memoryColumns(study.settings.swept);
    for (const [name, rows] of Object.entries(study.tables))
      expect(Object.keys(rows[0]!).sort()).toEqual([...columns[name as 'layouts']].sort());

    const html = await memoryStudyPage(study, (text) => expect.fail(text));
    for (const { question } of study.summary) expect(html).toContain(question.replaceAll("'", '&#39;'));
    expect(html).toContain('What holds the peak of device 1, prediction');
    expect(html).not.toMatch(/<script|(src|href)="(https?:)?\/\//);
  });

  it('finds activations in proportion to the batch, and the textbook’s formula below every one-layer peak but for the input', async () => {
    const study = await studyOf({ sweep: { 'data.batchSize': [64, 512], 'model.hidden': [[32], [64, 64]] } });
    const growth = study.summary.find((c) => c.question.includes('grow'))!.text;
    expect(growth).toContain('with data.batchSize to the power 1.00');
    const known = study.tables.layouts.filter((r) => r.textbookBytes !== null);
    expect(known).toHaveLength(4);
    for (const row of known) {
      expect(row['sweep.model.hidden']).toBe('[32]');
      // Above the formula stand constants, alignment, workspaces and results that overwrite nothing; the textbook keeps the
      // 64 numbers of each sample's input to train, and here they are fetched again.
      const inputBytes = row.purpose === 'training' ? 4 * 64 * Number(row['sweep.data.batchSize']) : 0;
      expect(row.peakBytes / (row.textbookBytes! - inputBytes)).toBeGreaterThan(1);
      expect(row.peakBytes / row.textbookBytes!).toBeLessThan(1.7);
    }
    const [training, prediction] = [known[1]!, known[3]!];
    expect([training.purpose, prediction.purpose]).toEqual(['training', 'prediction']);
    expect(training.peakBytes).toBeGreaterThan(prediction.peakBytes);
  });

  it('measures null devices too, without data, and models that none could hold', async () => {
    const study = await studyOf(
      {
        model: { kind: 'mlp', inputs: 64, hidden: [60_000, 60_000], classes: 10 },
        data: undefined,
        devices: [{ backend: 'null' }, { backend: 'null' }],
        microbatches: 4,
      },
      { measure: true },
    );
    const { devices } = study.tables;
    expect(devices).toHaveLength(4);
    for (const row of devices) expect(row.peakBytesMeasured).toBe(row.peakBytes);
    expect(Math.max(...devices.map((d) => d.peakBytes))).toBeGreaterThan(2 ** 34);
    expect(study.skipped).toEqual([]);
  });

  it('stands layouts side by side, and says which are refused, and what computing again brings', async () => {
    const study = await studyOf(
      {
        model: { kind: 'mlp', hidden: [32, 32, 32, 32, 32, 32] },
        data: { kind: 'digits', batchSize: 256 },
        devices: [{ memory: '192KiB' }],
        microbatches: 4,
        schedule: 'gpipe',
        sweep: { recompute: ['none', 'optimal'], devices: [1, 3] },
      },
      { purposes: ['training'] },
    );
    const { layouts, devices } = study.tables;
    expect(layouts.map((r) => [r.recompute, r.devices, r.fits, r.flopsAgain > 0])).toEqual([
      ['none', 1, false, false],
      ['none', 3, true, false],
      ['optimal', 1, true, true],
      ['optimal', 3, true, false],
    ]);
    for (const row of layouts) {
      const lacking = lackingOf(study.tables, row);
      expect(lacking.length > 0).toBe(!row.fits);
      for (const { device, bytes, needBytes } of lacking) {
        const own = devices.find((d) => d.layout === row.layout && d.device === device)!;
        expect([needBytes, bytes]).toEqual([own.peakBytes, own.peakBytes - 192 * 1024]);
      }
    }
    const fit = study.summary.find((c) => c.question === 'Which layouts fit the devices?')!.text;
    expect(fit).toMatch(/^3 of 4\. Refused before anything runs: recompute none, devices 1 \(device 0 needs /);

    const chart = sideBySideChart(study)!;
    const { concat: cells, ...grid } = chart.spec as unknown as { concat: Cell[]; columns: number; align: string };
    expect(cells.map((cell) => cell.vconcat.length)).toEqual([1, 3, 1, 3]);
    expect(grid).toMatchObject({ columns: 2, align: 'each' });
    expect(cells.map((c) => c.title.subtitle[0])).toEqual(['refused', 'fits', 'fits', 'fits']);
    // One scale of bytes for all, the capacity on it.
    const scales = cells.flatMap((c) => c.vconcat.map((p) => JSON.stringify(p.layer[0]!.encoding.y.scale)));
    expect(new Set(scales).size).toBe(1);
    for (const c of cells) for (const p of c.vconcat) expect(p.layer.some((l) => l.mark.type === 'rule')).toBe(true);
    const drawn = await drawChart(chart, (text) => expect.fail(text));
    expect(drawn.match(/>refused</g)).toHaveLength(1);
  });

  it('measures what it planned when asked to', async () => {
    const study = await studyOf({ devices: 2, microbatches: 2 }, { measure: true });
    expect(study.tables.devices).toHaveLength(4);
    for (const row of study.tables.devices) expect(row.peakBytesMeasured).toBe(row.peakBytes);
    expect(study.summary.some((c) => c.text.startsWith('Yes: all 4 device memories'))).toBe(true);
  });

  it('takes batch sizes of an experiment without data, and leaves out what cannot be planned, with its reason', async () => {
    const gpt = { model: { kind: 'gpt', vocab: 11, context: 8, layers: 2, width: 16, heads: 2 }, data: undefined };
    const study = await studyOf({ ...gpt, devices: 2 }, { batch: [2, 4], measure: true });
    expect(study.settings.swept).toEqual(['batch']);
    expect(study.tables.layouts.map((r) => r.batch)).toEqual([2, 4, 2, 4]);
    expect(study.skipped[0]).toEqual({ what: 'measuring batch 2', why: 'the experiment has no data' });
    const [two, four] = study.tables.layouts;
    expect(four!.savedBytes / two!.savedBytes).toBeCloseTo(2, 1);
    expect(four!.korthikanti16Bytes).toBe(2 * two!.korthikanti16Bytes!);
    expect(() =>
      designMemoryStudy(
        parseExperiment({ ...gpt, data: { kind: 'digits' } }, 'test'),
        { purposes, measure: false, batch: [2] },
        'test',
      ),
    ).toThrow(/--batch: the experiment has data/);
  });
});

describe('formulas', () => {
  it('Korthikanti et al.: 5as/h is 80 for GPT-3 and 64 for MT-NLG, and a device of a pipeline holds its share in flight', () => {
    const gpt3 = { layers: 96, heads: 96, width: 12288, sequence: 2048, microbatch: 1 };
    expect(korthikantiBytes({ ...gpt3, inFlight: [1] })).toBe(96 * 2048 * 12288 * (34 + 80));
    const mtNlg = { layers: 105, heads: 128, width: 20480, sequence: 2048, microbatch: 1 };
    expect(korthikantiBytes({ ...mtNlg, inFlight: [1] })).toBe(105 * 2048 * 20480 * (34 + 64));
    // 1F1B with as many microbatches as stages: the first holds all its p, so L layers' worth; the sum is (p + 1)/2 of it.
    expect(korthikantiBytes({ ...gpt3, inFlight: [4, 3, 2, 1] })).toBe(2.5 * 96 * 2048 * 12288 * 114);
  });

  it('the textbook’s network, counted by hand', () => {
    // W₁ 6 + b₁ 3, W₂ 3 + b₂ 1. ∂h: 13 weights, 4 gradients, x 8, h 12, ∂o 4, ∂h 12; predict: 13, x 8, z 12.
    const small = { inputs: 2, hidden: 3, outputs: 1, batch: 4 };
    expect(textbookBytes(small)).toEqual({ training: 4 * 53, prediction: 4 * 33 });
    // One sample: the gradient of W₁ is what counts, 2·13 + x 2 + ∂z 3.
    expect(textbookBytes({ ...small, batch: 1 }).training).toBe(4 * 31);
    expect(trainingStateBytes(10, 2)).toBe(160);
  });
});

describe('samples over time', () => {
  const live = (temporaries: number) => ({
    ...(Object.fromEntries(memoryCategories.map((c) => [c, 0])) as Record<(typeof memoryCategories)[number], number>),
    temporaries,
  });

  it('are all there where they are few, and of many the highest of each stretch', () => {
    const samples = Array.from({ length: 1000 }, (_, i) => ({
      seconds: i / 1000,
      live: live(i === 617 ? 5000 : i % 7),
      reachBytes: i,
    }));
    const whole = { device: 0, samples, peakBytes: 999, peakSeconds: 0.999 };
    expect(samplesOf(whole, 1000)).toHaveLength(1000);
    const kept = samplesOf(whole, 10);
    expect(kept).toHaveLength(10);
    expect(kept[6]).toMatchObject({ instruction: 617, seconds: 0.617, liveBytes: 5000 });
    for (const [i, s] of kept.entries()) expect(Math.floor(10 * s.seconds)).toBe(i);
    expect(kept.filter((s) => s.liveBytes < 6)).toEqual([]);
  });
});

describe('sizes of swept values', () => {
  it('are numbers, the lengths of lists, or the widths of lists as long', () => {
    const rows = (key: string, values: readonly (string | number)[]) =>
      values.map((v) => ({ [`sweep.${key}`]: v })) as unknown as MemoryStudy['tables']['layouts'];
    const sizes = (values: readonly (string | number)[]) => {
      const all = rows('k', values);
      return scalesOf(all, ['k']).map(({ title, of }) => [title, ...all.map(of)]);
    };
    expect(sizes([1, 4, 16])).toEqual([['k', 1, 4, 16]]);
    expect(sizes(['[8]', '[8,8]'])).toEqual([['entries of k', 1, 2]]);
    expect(sizes(['[8]', '[32]'])).toEqual([['width of k', 8, 32]]);
    expect(sizes(['gpipe', '1f1b'])).toEqual([]);
    expect(sizes([4, 4])).toEqual([]);
  });
});

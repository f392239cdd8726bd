import { afterEach, describe, expect, it, vi } from 'vitest';
import { analyticCosts } from '../../src/cost/model.ts';
import { partitionStudyPage } from '../../src/report/partition-study.ts';
import { scalingStudyPage } from '../../src/report/scaling-study.ts';
import { scheduleStudyPage } from '../../src/report/schedule-study.ts';
import { scheduleNames } from '../../src/schedule/index.ts';
import { designBatchStudy } from '../../src/study/batch/design.ts';
import { defaultOptions } from '../../src/study/batch/options.ts';
import { runBatchStudy } from '../../src/study/batch/study.ts';
import { designMemoryStudy, runMemoryStudy } from '../../src/study/memory/study.ts';
import { cutMethods } from '../../src/study/partition/methods.ts';
import { designPartitionStudy, runPartitionStudy } from '../../src/study/partition/study.ts';
import { playPipeline, type StageFigures } from '../../src/study/scaling/pipelines.ts';
import { designScalingStudy, runScalingStudy } from '../../src/study/scaling/study.ts';
import { summarizeScaling } from '../../src/study/scaling/summary.ts';
import { designScheduleStudy, runScheduleStudy } from '../../src/study/schedule/study.ts';
import { parseExperiment } from '../../src/train/experiment/parse.ts';

const base = (more: object = {}) =>
  parseExperiment(
    {
      model: { kind: 'mlp', hidden: [24, 24, 24] },
      data: { kind: 'digits', batchSize: 16 },
      devices: 2,
      ...more,
    },
    'test',
  );
const timing = { repeats: 1, timedSteps: 2 };
const onPaper = { ...timing, parts: ['prediction'] as const, quick: true };
const scalingOnPaper = { ...timing, parts: ['strong'] as const, quick: true };
const noWarning = (text: string) => expect.fail(text);
/** What a page may not have: it opens from disk and asks for nothing. */
const loadsNothing = (html: string) => expect(html).not.toMatch(/<script|(src|href)="(https?:)?\/\//);

describe('a study of partitions', () => {
  it('measures every way by one rule: none beats the exact ones, nor any bound', async () => {
    const options = { ...onPaper, methods: undefined, timeLimitSeconds: 5 };
    const design = designPartitionStudy(base({ sweep: { devices: [2, 3] } }), options, 'test');
    expect(design.methods).toEqual(cutMethods);
    const study = await runPartitionStudy(design, options);
    const { partitions, devices, runs } = study.tables;
    expect(runs).toEqual([]);
    for (const count of [2, 3]) {
      const rows = partitions.filter((r) => r.devices === count);
      expect(rows.length).toBeGreaterThan(4);
      const exact = rows.find((r) => r.method === 'ideals')!;
      expect(exact.gap).toBeLessThan(1e-9);
      for (const row of rows) {
        expect(row.loadSeconds).toBeGreaterThanOrEqual(exact.loadSeconds * (1 - 1e-9));
        expect(row.predictedSeconds).toBeGreaterThanOrEqual(row.stepBoundSeconds);
        expect(row.gap).toBeCloseTo(1 - row.loadBoundSeconds / row.loadSeconds, 12);
        const own = devices.filter((d) => d.devices === count && d.method === row.method);
        expect(own).toHaveLength(count);
        expect(Math.max(...own.map((d) => d.loadSeconds))).toBeCloseTo(row.loadSeconds, 12);
        expect(Math.max(...own.map((d) => d.peakBytesPlanned))).toBe(row.peakBytesPlanned);
      }
    }
    const memory = partitions.filter((r) => r.devices === 3);
    const least = Math.min(...memory.map((r) => r.peakBytesPlanned));
    expect(memory.find((r) => r.method === 'chain-memory')!.peakBytesPlanned).toBeLessThan(1.1 * least);
    const html = await partitionStudyPage(study, noWarning);
    for (const { question } of study.summary) expect(html).toContain(question);
    loadsNothing(html);
  });

  it('and of schedules sweeps what is computed again: less memory for more time, layout by layout', async () => {
    const sweep = { recompute: ['none', 'stage'] };
    const experiment = base({ data: { kind: 'digits', batchSize: 256 }, schedule: 'gpipe', microbatches: 4, sweep });
    const partitions = { ...onPaper, methods: ['chain-time'], timeLimitSeconds: 1 };
    const cut = await runPartitionStudy(designPartitionStudy(experiment, partitions, 'test'), partitions);
    const ordered = await runScheduleStudy(
      await designScheduleStudy({ ...experiment, sweep: { ...sweep, schedule: ['gpipe'] } }, onPaper, 'test'),
      onPaper,
    );
    for (const rows of [cut.tables.partitions, ordered.tables.schedules.filter((r) => r.microbatches === 4)]) {
      expect(rows.map((r) => r.series)).toEqual(['recompute none', 'recompute stage']);
      expect(rows[1]!.peakBytesPlanned).toBeLessThan(rows[0]!.peakBytesPlanned);
      expect(rows[1]!.predictedSeconds).toBeGreaterThan(rows[0]!.predictedSeconds);
    }
  });

  it('has the split by layers among them, where there are layers enough', async () => {
    const options = { ...onPaper, methods: ['layers'], timeLimitSeconds: 1 };
    const design = designPartitionStudy(base({ sweep: { devices: [4, 5] } }), options, 'test');
    const study = await runPartitionStudy(design, options);
    expect(study.tables.partitions.map((r) => [r.method, r.devices])).toEqual([['layers', 4]]);
    expect(study.skipped).toContainEqual({
      what: 'layers on 5 devices',
      why: 'the model has fewer layers than 5 stages',
    });
  });

  it('takes the experiment’s own cut beside the others, and refuses to sweep what it walks through itself', async () => {
    const options = { ...onPaper, methods: ['chain-time'], timeLimitSeconds: 1 };
    const own = base({ partition: { cuts: ['layer.1'] } });
    const study = await runPartitionStudy(designPartitionStudy(own, options, 'test'), options);
    expect(study.tables.partitions.map((r) => r.method)).toEqual(['experiment', 'chain-time']);
    expect(() => designPartitionStudy(base({ sweep: { partition: ['auto'] } }), options, 'test')).toThrow(
      /sweep\.partition: this study cuts in every way/,
    );
  });
});

describe('a study of schedules', () => {
  it('holds clock and closed form side by side, and memory within the schedule’s bound', async () => {
    const design = await designScheduleStudy(base({ sweep: { microbatches: [1, 4] } }), onPaper, 'test');
    const study = await runScheduleStudy(design, onPaper);
    const { schedules, devices, timelines } = study.tables;
    expect(schedules).toHaveLength(2 * scheduleNames.length);
    const known = schedules.filter((r) => r.bubbleClosedForm !== null);
    expect(known.length).toBeGreaterThan(scheduleNames.length);
    for (const row of known) expect(row.bubbleEqualStages).toBeCloseTo(row.bubbleClosedForm!, 9);
    const of = (name: string, M: number) => schedules.find((r) => r.schedule === name && r.microbatches === M)!;
    expect([of('gpipe', 4).bubbleClosedForm, of('1f1b', 4).bubbleClosedForm]).toEqual([0.2, 0.2]);
    expect([of('gpipe', 4).peakInFlight, of('1f1b', 4).peakInFlight]).toEqual([4, 2]);
    for (const row of schedules) expect(row.peakInFlight).toBeLessThanOrEqual(row.inFlightBound!);
    // Of layouts that are not on the front, another is as good in both and better in one.
    for (const row of schedules) {
      const better = schedules.some(
        (o) =>
          o.predictedSeconds <= row.predictedSeconds &&
          o.peakBytesPlanned <= row.peakBytesPlanned &&
          (o.predictedSeconds < row.predictedSeconds || o.peakBytesPlanned < row.peakBytesPlanned),
      );
      expect(row.pareto).toBe(!better);
    }
    expect(devices).toHaveLength(2 * schedules.length);
    expect(study.grids.find((g) => g.schedule === '1f1b')!.lines[0]).toMatch(/^device 0 {2}F0 F1/);
    const drawn = timelines.filter((t) => t.schedule === 'gpipe' && t.device === 0);
    expect(drawn.map((t) => `${t.kind}${t.microbatch}`).join(' ')).toBe('F0 F1 F2 F3 BW0 BW1 BW2 BW3');
    const html = await scheduleStudyPage(study, noWarning);
    expect(html).toContain('as a clock grid');
    loadsNothing(html);
  });

  it('refuses schedules that are asked for and cannot be', async () => {
    const wrong = base({ sweep: { microbatches: [4, 32] } });
    await expect(designScheduleStudy(wrong, onPaper, 'test')).rejects.toThrow(
      /microbatches 32, schedule gpipe: microbatches: expected at most the batch, 16/,
    );
  });
});

describe('a study of scaling', () => {
  it('says what it measured beside the same schedule on one device', async () => {
    const few = base({ sweep: { devices: [1, 2], schedule: ['gpipe'], microbatches: [2] } });
    const study = await runScalingStudy(designScalingStudy(few, scalingOnPaper, 'test'), scalingOnPaper);
    const row = study.tables.scaling[0]!;
    const timed = (schedule: string, devices: number, stepSeconds: number, measuredSeconds: number) => ({
      ...row,
      ...{ schedule, devices, stepSeconds, measuredSeconds },
    });
    const scaling = [
      timed('gpipe', 1, 9, 90),
      timed('zb-h1', 1, 3, 20),
      timed('gpipe', 2, 5, 50),
      timed('zb-h1', 2, 2, 16),
    ];
    const claims = summarizeScaling({ ...study, tables: { ...study.tables, scaling, links: [] } });
    expect(claims.find((c) => c.question === 'Does it hold when it runs?')?.text).toContain(
      `zb-h1 with M = ${row.microbatches} is 1.25 times as fast as on one; predicted are 1.50 times.`,
    );
  });

  const figures = (stages: number, seconds = 1): StageFigures => ({
    durations: Array.from({ length: stages }, () => ({ F: seconds, B: seconds, W: seconds })),
    stepSeconds: new Array(stages).fill(0),
    forwardBytes: new Array(stages - 1).fill(8),
    backwardBytes: new Array(stages - 1).fill(8),
  });
  const free = { bytesPerSecond: Number.POSITIVE_INFINITY, secondsLatency: 0 };

  it('plays pipelines as the closed forms say where links are free, and slower where they are not', () => {
    for (const devices of [1, 2, 16, 256]) {
      const pipeline = {
        schedule: '1f1b',
        devices,
        stagesPerDevice: 1,
        microbatches: 32,
        costs: analyticCosts(),
      } as const;
      const { simulation, bubbleClosedForm } = playPipeline({ ...pipeline, figures: figures(devices), link: free });
      expect(bubbleClosedForm).toBeCloseTo((devices - 1) / (32 + devices - 1), 12);
      expect(simulation.bubbleFraction).toBeCloseTo(bubbleClosedForm!, 9);
      expect(simulation.stepSeconds).toBeCloseTo(3 * (32 + devices - 1), 6);
      const slow = playPipeline({ ...pipeline, figures: figures(devices), link: { ...free, bytesPerSecond: 80 } });
      if (devices > 1)
        expect(slow.simulation.stepSeconds).toBeGreaterThan(simulation.stepSeconds + 0.1 * (devices - 1));
    }
  });

  it('knows weak from strong, ends where the model has no more parts, and has no faster step with slower links', async () => {
    const options = { ...timing, parts: ['strong', 'weak', 'links'] as const, quick: true };
    const swept = base({
      devices: 1,
      sweep: { devices: [1, 2, 64], microbatches: [8], schedule: ['gpipe', '1f1b'], 'links.bandwidth': [1e6, 1e9] },
    });
    const study = await runScalingStudy(designScalingStudy(swept, options, 'test'), options);
    const { scaling, links } = study.tables;
    const strong = scaling.filter((r) => r.mode === 'strong' && r.schedule === '1f1b');
    const weak = scaling.filter((r) => r.mode === 'weak' && r.schedule === '1f1b');
    expect(strong.map((r) => r.devices)).toEqual([1, 2]);
    expect(study.skipped.map((s) => s.what).join()).toContain('strong scaling beyond');
    expect(weak.map((r) => r.devices)).toEqual([1, 2, 64]);
    expect(strong[0]!.efficiency).toBe(1);
    expect(strong[1]!.stepSeconds).toBeLessThan(strong[0]!.stepSeconds);
    expect(weak[0]!.stepSeconds).toBeCloseTo(strong[0]!.stepSeconds, 12);
    for (const row of weak) expect(row.efficiency).toBeLessThanOrEqual(8 / (8 + row.devices - 1) + 1e-9);
    for (const row of weak) expect(row.bubbleClosedForm).toBeCloseTo((row.devices - 1) / (8 + row.devices - 1), 12);
    for (const row of links) expect(row.slowdown).toBeGreaterThanOrEqual(1);
    const [narrow, wide] = links.filter((r) => r.schedule === '1f1b');
    expect(narrow!.slowdown).toBeGreaterThan(wide!.slowdown);
    const html = await scalingStudyPage(study, noWarning);
    loadsNothing(html);
  });

  it('refuses lists of devices, schedules from files and other keys of links', () => {
    const options = { ...timing, parts: ['weak'] as const, quick: true };
    const design = (sweep: object) => () => designScalingStudy(base({ sweep }), options, 'test');
    expect(design({ devices: [[{ speed: 2 }]] })).toThrow(/sweep\.devices: devices are counted here/);
    expect(design({ schedule: [{ file: 's.csv' }] })).toThrow(/sweep\.schedule/);
    expect(design({ 'links.latency': [1e-6] })).toThrow(/sweep\.links\.latency/);
  });
});

describe('a signal between two computations', () => {
  afterEach(() => {
    vi.restoreAllMocks();
  });

  /** A clock on which every task takes long, and an interruption that the process hears once it is idle. */
  function interrupted(): AbortSignal {
    let now = 0;
    vi.spyOn(performance, 'now').mockImplementation(() => (now += 1000));
    const controller = new AbortController();
    setTimeout(() => controller.abort(new Error('SIGINT')), 0);
    return controller.signal;
  }
  const heardAfter = async (study: (told: { signal: AbortSignal; progress: () => void }) => Promise<unknown>) => {
    let begun = 0;
    await expect(study({ signal: interrupted(), progress: () => begun++ })).rejects.toThrow('SIGINT');
    return begun;
  };

  it('ends the planning of a study of schedules', async () => {
    await expect(designScheduleStudy(base(), onPaper, 'test', interrupted())).rejects.toThrow('SIGINT');
  });

  it('ends every study on paper before its next task', async () => {
    const schedules = await designScheduleStudy(base(), onPaper, 'test');
    expect(await heardAfter((told) => runScheduleStudy(schedules, onPaper, told))).toBeLessThan(2);
    const cuts = { ...onPaper, methods: undefined, timeLimitSeconds: 5 };
    const partitions = designPartitionStudy(base(), cuts, 'test');
    expect(await heardAfter((told) => runPartitionStudy(partitions, cuts, told))).toBeLessThan(2);
    const scaling = designScalingStudy(base(), scalingOnPaper, 'test');
    expect(await heardAfter((told) => runScalingStudy(scaling, scalingOnPaper, told))).toBeLessThan(2);
    const batches = { ...defaultOptions(true), parts: ['capacity'] as const, capacities: [2 ** 20] };
    const sizes = designBatchStudy(base({ sweep: { microbatches: [1, 2, 4] } }), batches, 'test');
    expect(await heardAfter((told) => runBatchStudy(sizes, batches, told))).toBeLessThan(2);
    const memory = { purposes: ['training'] as const, measure: false, batch: undefined };
    const layouts = designMemoryStudy(base({ sweep: { microbatches: [1, 2, 4, 8] } }), memory, 'test');
    expect(await heardAfter((told) => runMemoryStudy(layouts, memory, told))).toBeLessThan(2);
  });
});

import { describe, expect, it } from 'vitest';
import { type Claim, type Findings, summarize } from '../../src/study/batch/summary.ts';
import { findings, memoryRow, targetRow, timingRow } from './findings.ts';

const say = (about: Claim['about'], given: Findings): string | undefined =>
  summarize(given).find((c) => c.about === about)?.text;

describe('what the summary says of memory', () => {
  it('how much cutting saves, what the batch adds, and that the plan was exact', () => {
    const text = say('memory', findings());
    expect(text).toContain('A batch of 64 needs 200.0 KiB on its fullest device in one piece');
    expect(text).toContain('150.0 KiB cut into 4 microbatches: 25 % less.');
    expect(text).toContain('From a batch of 8 to one of 64 the need grew from 120.0 KiB to 200.0 KiB.');
    expect(text).toContain('All 5 measured peaks equal the planned ones to the byte.');
  });
  it('that cutting saves little, and why', () => {
    const text = say('memory', findings({}, { memory: [memoryRow(64, 1, 20), memoryRow(64, 4, 18)] }));
    expect(text).toContain('cutting saves only 1.7 % here. Parameters, gradients and optimizer state');
    expect(text).toContain('85 % of it');
    const none = say('memory', findings({}, { memory: [memoryRow(64, 1, 20), memoryRow(64, 4, 25)] }));
    expect(none).toContain('cutting saves nothing here');
  });
  it('that measurements differ, or that layouts do not fit', () => {
    const wrong = { ...memoryRow(64, 1, 20), peakBytesMeasured: 7 };
    expect(say('memory', findings({}, { memory: [wrong] }))).toContain('1 of 1 measured peaks differ');
    const unfit = timingRow(64, 1, 1, { fits: false, stepSeconds: null });
    expect(say('memory', findings({}, { timing: [unfit] }))).toContain('1 of 1 layouts do not fit');
  });
});

describe('what the summary says of the largest batch', () => {
  it('with the gain, where there is one', () => {
    expect(say('capacity', findings())).toBe(
      'With 256.0 KiB a device, the largest batch is 100 samples in one piece and 330 samples cut into 4 microbatches, 3.3 times as many.',
    );
    const rows = findings().tables.capacity.map((r) => ({
      ...r,
      largestBatch: r.microbatches === 1 ? 0 : 5,
      atLimit: false,
    }));
    expect(say('capacity', findings({}, { capacity: rows }))).toContain(
      'no batch at all in one piece and 5 samples cut',
    );
  });
});

describe('what the summary says of time', () => {
  it('the sweet spot, its idle share beside the closed form, and one device', () => {
    const text = say('time', findings());
    expect(text).toContain(
      'takes 20.00 ms in one piece and 15.00 ms cut into 4 microbatches: 25 % less, the sweet spot',
    );
    expect(text).toContain('the devices idle 40 % of the time; 20 % is what (p−1)/(M+p−1) says');
    expect(text).toContain('2 devices do the step 1.50 times as fast as one device');
  });
  it('that no cut is faster, or that the difference is within the spread', () => {
    const slower = [timingRow(64, 1, 10, { sweetSpot: true }), timingRow(64, 4, 15)];
    expect(say('time', findings({}, { timing: slower }))).toContain(
      'and 50 % more cut into 4 microbatches: no cut is faster',
    );
    const alike = [timingRow(64, 1, 10, { sweetSpot: true }), timingRow(64, 4, 10.1)];
    expect(say('time', findings({}, { timing: alike }))).toContain('no difference beyond the spread');
    const less = [timingRow(64, 1, 10), timingRow(64, 4, 10.1, { sweetSpot: true })];
    expect(say('time', findings({}, { timing: less }))).toContain(
      'no difference beyond the spread of the steps, and needs less memory',
    );
    expect(say('short', findings({}, { timing: less }))).toContain(
      '25 % less memory, the same time a step within the spread',
    );
  });
  it('nothing of devices where there is one, and nothing at all where nothing was timed', () => {
    const { settings } = findings();
    const one = findings(
      { settings: { ...settings, devices: 1 } },
      { timing: [timingRow(64, 1, 10, { devices: 1, sweetSpot: true })] },
    );
    expect(say('time', one)).toBe('A step of 64 samples takes 10.00 ms in one piece.');
    expect(say('time', findings({}, { timing: [] }))).toBeUndefined();
  });
});

describe('what the summary says of gradients and trainings', () => {
  const [row] = findings().tables.gradients;
  it('how far gradients are apart, and whether that is rounding', () => {
    expect(say('gradient', findings())).toContain("differ by at most 4.0e-7 of a parameter's gradient");
    expect(say('gradient', findings())).toContain('1 computed bound, of which at most 10 % is used');
    const unbound = { bound: null, boundUsed: null, within: null };
    const near = [{ ...row!, ...unbound }];
    expect(say('gradient', findings({}, { gradients: near }))).toContain('the size of another order');
    const far = [{ ...row!, ...unbound, relative: 0.01 }];
    expect(say('gradient', findings({}, { gradients: far }))).toContain(
      'more than another order of additions usually makes',
    );
    const outside = [{ ...row!, bound: 1e-9, within: false }];
    expect(say('gradient', findings({}, { gradients: outside }))).toContain('1 of 1 comparisons exceed');
    expect(say('gradient', findings({ batchStatistics: true }))).toContain('M is part of it');
    const equal = [{ ...row!, equalBits: true, relative: 0 }];
    expect(say('gradient', findings({}, { gradients: equal }))).toContain('Yes, bit for bit');
  });
  it('whether the trainings were the same', () => {
    expect(say('cut', findings())).toMatch(
      /^Yes\. Trained 3 steps.*never further apart than 0\.000045 %.*90\.0 % each/,
    );
    const apart = findings().tables.cutTraining.map((r) => ({
      ...r,
      difference: r.microbatches === 1 ? 0 : 0.1 * r.step,
    }));
    expect(say('cut', findings({}, { cutTraining: apart }))).toMatch(/^Not step by step/);
  });
  it('what the target took, by which rule', () => {
    const text = say('learning', findings());
    expect(text).toContain('380 steps and 3,040 samples with batch 8 (the rate retuned)');
    expect(text).toContain('100 steps and 6,400 samples with batch 64 (the rate retuned)');
    expect(text).toContain('3.8 times fewer steps for 8 times the batch, so 2.1 times the samples');
    expect(text).toContain('batch 64 gets there first');
    const lost = say('learning', findings({}, { targets: [targetRow(8, 400), targetRow(64, null)] }));
    expect(lost).toContain('Batch 64 did not get there in 10 epochs.');
    const none = say('learning', findings({}, { targets: [targetRow(8, null)] }));
    expect(none).toBe('No batch size reached a held-out loss of 0.300 in 10 epochs.');
  });
  it('where the critical batch lies, by both ways, and that it is not known', () => {
    const text = say('critical', findings());
    expect(text).toContain('from 20 at the first values to 30 at step 10');
    expect(text).toContain('bend at a batch of about 30');
    expect(text).toContain('within a factor of 3');
    const far = { variant: '', minSteps: 1, minSamples: 1, criticalBatch: 900, error: 0 };
    expect(say('critical', findings({ tradeOffs: [far] }))).toContain('30 times off');
    expect(say('critical', findings({ tradeOffs: [] }))).toContain('no clear bend between batches of 8 and 64');
  });
});

describe('what the summary does not claim', () => {
  it('a speed-up that the number of devices does not explain, without saying so', () => {
    const rows = [
      timingRow(64, 1, 20, { efficiency: 1.6 }),
      timingRow(64, 4, 10, { efficiency: 3.2, sweetSpot: true }),
    ];
    expect(say('time', findings({}, { timing: rows }))).toContain(
      '6.40 times as fast as one device with the batch in one piece, which is more than their number explains',
    );
  });
  it('that trainings are the same where their held-out accuracies are not', () => {
    const rows = findings().tables.cutTraining.map((r) => ({ ...r, accuracy: r.microbatches === 1 ? 0.9 : 0.8 }));
    expect(say('cut', findings({}, { cutTraining: rows }))).toMatch(
      /^By the training loss, yes; by the held-out accuracy, no\..*80\.0 % to 90\.0 %/,
    );
  });
  it('that a target was learned which the first step meets, or that equally many steps are fewer', () => {
    const met = findings({}, { targets: [targetRow(8, 1), targetRow(64, 1)] });
    expect(say('learning', met)).toMatch(
      /^Every batch size meets a held-out loss of 0\.300 with its first step, so nothing/,
    );
    const equal = findings({}, { targets: [targetRow(8, 100), targetRow(64, 101)] });
    expect(say('learning', equal)).toContain('as many steps for 8 times the batch, so 8.1 times the samples');
  });
  it('a distance of 0 % where the losses are the same to the bit', () => {
    const cutTraining = findings().tables.cutTraining.map((r) => ({ ...r, difference: 0 }));
    expect(say('cut', findings({}, { cutTraining }))).toContain('with 1, 4 microbatches are the same to the bit.');
  });
  it('that an estimate of the noise is of the first values or the end, where it is not', () => {
    const noise = findings().tables.noise.map((r) => (r.step === 0 ? { ...r, noiseScale: null } : r));
    const text = say('critical', findings({}, { noise }));
    expect(text).toContain('went from 21 at step 1 to 30 at step 10');
    expect(text).toContain('In 2 of 4 estimates the noise hides the gradient');
  });
  it('anything of several trainings together: it tells the first, by name', () => {
    const { settings, tables } = findings();
    const two = { settings: { ...settings, variants: ['batchNorm exact', 'batchNorm micro'] } };
    const [row] = tables.gradients;
    const gradients = [
      { ...row!, variant: 'batchNorm exact' },
      { ...row!, variant: 'batchNorm micro', relative: 0.5, within: null, bound: null, boundUsed: null },
    ];
    const claims = summarize(findings(two, { gradients }));
    expect(claims.find((c) => c.about === 'caveat')?.text).toContain(
      'The sentences tell batchNorm exact; pictures and tables have batchNorm micro too.',
    );
    expect(claims.find((c) => c.about === 'gradient')).toMatchObject({
      question: 'Is it the same gradient? (batchNorm exact)',
      text: expect.stringContaining('at most 4.0e-7 of a parameter'),
    });
  });
});

describe('what the summary warns of', () => {
  it('the machine, few seeds, rates at an edge, what was left out', () => {
    const { settings, machine } = findings();
    const text = say(
      'caveat',
      findings({
        settings: { ...settings, seeds: 1, quick: true },
        machine: { ...machine, cores: 1, loadBefore: 3 },
        edgeRates: [64],
        skipped: [{ part: 'noise', why: 'a reason' }],
      }),
    );
    expect(text).toContain('2 devices share 1 cores');
    expect(text).toContain('busy with other work');
    expect(text).toContain('a single seed');
    expect(text).toContain('For batch 64 the best rate lies at the end');
    expect(text).toContain('Without noise: a reason.');
    expect(text).toContain('a quick run');
    expect(say('caveat', findings())).not.toMatch(/share|busy|single seed|quick/);
  });
});

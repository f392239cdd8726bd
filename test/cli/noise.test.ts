import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readSafetensors } from '../../src/formats/safetensors.ts';
import { digits, partita, workFolder } from './run.ts';

const small = [...digits, '--data.batchSize', '24'];
const fileOf = (folder: string, name: string) => readFileSync(join(folder, name));

describe('partita noise', () => {
  it('writes the same file on every layout, and says what the figures mean', async () => {
    const folder = workFolder();
    const layouts = [['--quiet'], ['--devices', '2', '--microbatches', '5', '--json']];
    for (const [i, layout] of layouts.entries()) {
      const { code, stdout } = await partita(folder, ['noise', ...small, ...layout, '--out', `out${i}`]);
      expect(code).toBe(0);
      if (i === 0) expect(stdout).toBe('');
      else {
        const result = JSON.parse(stdout);
        expect(result).toMatchObject({ version: 1, command: 'noise', batch: 24, microbatches: 5, out: 'out1' });
        expect(result.bSimple).toBeCloseTo(result.trSigma / result.meanGradNormSq, 10);
        expect(result.summary).toMatch(/near-perfect scaling|larger than they can tell/);
        expect(result.pairs[0]).toMatchObject({ small: 1, big: 24, first: { normSqSmall: expect.any(Number) } });
        for (const d of result.devices) expect(d.peakBytesMeasured).toBe(d.peakBytesPlanned);
      }
    }
    expect(fileOf(folder, 'out1').equals(fileOf(folder, 'out0'))).toBe(true);
    const tensors = readSafetensors(fileOf(folder, 'out0'), 'out0');
    expect([...tensors.keys()].filter((name) => !name.includes('/'))).toEqual([
      'loss',
      'per_example_loss',
      'per_example_grad_norm',
      'mean_grad_norm_sq',
      'tr_sigma',
      'b_simple',
      'tr_sigma_biased',
      'b_simple_biased_sigma',
      'g2_unbiased',
      'b_simple_unbiased',
      'pairs',
    ]);
    expect(tensors.get('pairs')).toMatchObject({ dtype: 'I64', shape: [7, 2] });
    expect(tensors.get('per_example_loss')).toMatchObject({ dtype: 'F32', shape: [24] });
  });

  it('refuses what cannot be, with exit code 2 and a remedy', async () => {
    const folder = workFolder();
    const cases: [string[], string][] = [
      [['--pairs', '4'], '--pairs: expected pairs of sizes such as 1:64,8:64, got "4"'],
      [['--pairs', '1:24,8:48'], 'the pair of sizes 8:48'],
      [['--pairs', '8:8'], 'the pair of sizes 8:8'],
      [['--data.batchSize', '1'], 'two examples or more'],
    ];
    for (const [flags, told] of cases) {
      const { code, stderr } = await partita(folder, ['noise', ...small, ...flags]);
      expect({ flags, code, told: stderr.includes(told) ? told : stderr }).toEqual({ flags, code: 2, told });
      expect(stderr).toContain('try: ');
    }
  });
});

describe('partita train with noise', () => {
  it('logs the noise scale, the same on every layout', async () => {
    const folder = workFolder();
    for (const [i, layout] of [[], ['--devices', '2', '--schedule', 'gpipe']].entries()) {
      const args = ['train', ...small, ...layout, '--microbatches', '3', '--steps', '4', '--noise.decay', '0.5'];
      const { code, stdout, stderr } = await partita(folder, [
        ...args,
        '--run-dir',
        `run${i}`,
        '--out',
        `o${i}`,
        '--json',
      ]);
      expect(code).toBe(0);
      expect(stderr).toMatch(/step 4\/4 {2}loss [\d.]+ {2}noise scale -?[\d.e+]+ /);
      const lines = fileOf(folder, `run${i}/log.jsonl`).toString().trim().split('\n');
      const last = JSON.parse(lines.at(-1)!).noise;
      expect(last.bSimple).toBeCloseTo(last.sAverage / last.g2Average, 10);
      expect(JSON.parse(stdout).noise).toEqual(last);
    }
    expect(fileOf(folder, 'o1').equals(fileOf(folder, 'o0'))).toBe(true);
    expect(readSafetensors(fileOf(folder, 'o0'), 'o0').get('noise/b_simple')).toMatchObject({ shape: [4] });
  });

  it('needs two microbatches, and a decay below 1', async () => {
    const folder = workFolder();
    const one = await partita(folder, ['train', ...small, '--noise', 'true']);
    expect(one).toMatchObject({ code: 2 });
    expect(one.stderr).toContain('try: --microbatches 2');
    writeFileSync(
      join(folder, 'e.json'),
      JSON.stringify({ model: 'mlp', data: { kind: 'digits' }, microbatches: 2, noise: { decay: 1 } }),
    );
    const wrong = await partita(folder, ['train', 'e.json']);
    expect(wrong).toMatchObject({ code: 2 });
    expect(wrong.stderr).toContain('noise.decay');
  });
});

describe('partita grad --compare-full-batch', () => {
  it('prints a line a gradient, and changes no result', async () => {
    const folder = workFolder();
    const args = ['grad', ...small, '--microbatches', '4', '--devices', '2'];
    const shown = await partita(folder, [...args, '--compare-full-batch', '--out', 'with']);
    expect(shown).toMatchObject({ code: 0 });
    expect(shown.stdout.match(/^layer\.\d\.\w+ .* inside$/gm)).toHaveLength(4);
    expect(shown.stdout).toContain('4 microbatches against the full batch');
    expect(shown.stdout).toContain('4 lie within what another order of additions can explain');
    expect(await partita(folder, [...args, '--out', 'without', '--quiet'])).toMatchObject({ code: 0 });
    expect(fileOf(folder, 'with').equals(fileOf(folder, 'without'))).toBe(true);
    const { code, stdout } = await partita(folder, [...args, '--compare-full-batch', '--json']);
    expect(code).toBe(0);
    const { comparison, summary } = JSON.parse(stdout);
    expect(comparison).toMatchObject({ microbatches: 4, losses: [expect.any(Number), expect.any(Number)] });
    expect(comparison.rows[0]).toMatchObject({ parameter: 'layer.0.weight', terms: 24, within: true, sameTerms: true });
    expect(summary).toContain('4 microbatches against the full batch');
  });

  it('needs two microbatches', async () => {
    const { code, stderr } = await partita(workFolder(), ['grad', ...small, '--compare-full-batch']);
    expect(code).toBe(2);
    expect(stderr).toContain('try: --microbatches 4');
  });
});

import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readProfile } from '../../src/cost/profile.ts';
import { MeasurementCache } from '../../src/profile/cache.ts';
import { someMachine } from '../cost/machine.ts';
import { digits, partita, workFolder } from './run.ts';

const quick = ['--timed-steps', '2', '--warm-up', '1'] as const;
interface Result {
  readonly costs: string;
  readonly stepSeconds: number;
  readonly error: { readonly message: string; readonly remedy: string | null };
  readonly devices: readonly { readonly peakBytesPlanned: number; readonly peakBytesMeasured: number }[];
  readonly ops: readonly { readonly name: string; readonly share: number }[];
  readonly kernels: Result['ops'];
  readonly shapes: Result['ops'];
}

const json = (stdout: string) => JSON.parse(stdout) as Result;

describe('partita profile', () => {
  const cwd = workFolder();

  beforeAll(async () => {
    process.env.PARTITA_CACHE = join(cwd, 'cache');
    await new MeasurementCache(process.env.PARTITA_CACHE, () => {}).keepMachine(someMachine);
  });
  afterAll(() => {
    process.env.PARTITA_CACHE = 'off';
  });

  it('tells where the time goes, and stores it for a plan', async () => {
    const args = [
      'profile',
      ...digits,
      '--devices',
      '2',
      '--microbatches',
      '2',
      '--out',
      'p.json',
      '--json',
      ...quick,
      '--html',
      'p.html',
    ];
    const { code, stdout, stderr } = await partita(cwd, args);
    // What this machine is was measured before.
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const result = json(stdout);
    expect(result).toMatchObject({ version: 1, command: 'profile', model: 'mlp', out: 'p.json', html: 'p.html' });
    // The page opens from disk, and draws each op and device that the numbers have.
    const page = readFileSync(join(cwd, 'p.html'), 'utf8');
    expect(page).toMatch(/^<!doctype html>/);
    expect(page).not.toMatch(/<script|https?:\/\/(?!www\.w3\.org)/);
    expect(page.match(/<svg/g)?.length).toBe(4);
    for (const { name } of [...result.ops, ...result.kernels]) expect(page).toContain(`>${name}<`);
    expect(page).toContain('>device 1<');
    const shares = (rows: Result['ops']) => rows.reduce((sum, r) => sum + r.share, 0);
    for (const rows of [result.ops, result.kernels, result.shapes]) {
      expect(shares(rows)).toBeGreaterThan(0);
      expect(shares(rows)).toBeLessThanOrEqual(1 + 1e-9);
    }
    for (const d of result.devices) expect(d.peakBytesMeasured).toBe(d.peakBytesPlanned);
    const profile = readProfile(readFileSync(join(cwd, 'p.json'), 'utf8'), 'p.json');
    expect(Object.keys(profile.entries).length).toBeGreaterThanOrEqual(result.shapes.length);

    // All kernels a thousand times as slow: the plan believes the file, which knows ops by themselves and products that add.
    for (const entry of Object.values(profile.entries)) entry.seconds = 0.1;
    writeFileSync(join(cwd, 'slow.json'), JSON.stringify(profile));
    const plan = ['plan', ...digits, '--devices', '2', '--microbatches', '2', '--profile', 'slow.json', '--json'];
    const planned = json((await partita(cwd, plan)).stdout);
    expect(planned.costs).toBe('profile');
    expect(planned.stepSeconds).toBeGreaterThan(2);
  });

  it('prints tables', async () => {
    const { code, stdout } = await partita(cwd, ['profile', ...digits, '--rows', '2', '--quiet', ...quick]);
    expect({ code, stdout }).toEqual({ code: 0, stdout: '' });
    const shown = await partita(cwd, ['profile', ...digits, '--rows', '2', ...quick]);
    expect(shown.stdout).toMatch(/^op +runs +a step +share +GFLOP\/s +GB\/s +of roofline$/m);
    expect(shown.stdout).toMatch(/^shape \(2 of \d+\)/m);
    expect(shown.stdout).toMatch(/^matmul /m);
  });

  it('times the kernels of a plan once', async () => {
    const args = ['plan', ...digits, '--microbatches', '2', '--json', '--profile'];
    const first = await partita(cwd, args);
    // On a busy machine it says that, too.
    expect(first.stderr).toMatch(/^partita: timing the kernels of mlp, 20 s at most …$/m);
    const second = await partita(cwd, args);
    expect(second.stderr).toBe('');
    expect(json(second.stdout).stepSeconds).toBe(json(first.stdout).stepSeconds);
  });

  it('finds a search of an earlier run, and says so', async () => {
    // Certainly longer than what is not worth keeping.
    const limits = ['--search-schedules', 'gpipe,1f1b', '--search-microbatches', '2', '--stagesPerDevice', '1'];
    const args = ['plan', ...digits, '--model.hidden', '32,32,32', '--devices', '2', '--search', ...limits];
    const first = await partita(cwd, [...args, '--json']);
    const second = await partita(cwd, [...args, '--json']);
    const anew = await partita(cwd, [...args, '--json', '--no-cache']);
    expect([first, second, anew].map(({ stdout }) => (JSON.parse(stdout) as { cached: boolean }).cached)).toEqual([
      false,
      true,
      false,
    ]);
    expect(second.stderr).toMatch(/found by an earlier search with the same limits; --no-cache searches again/);
    expect(JSON.parse(second.stdout)).toEqual({ ...JSON.parse(first.stdout), cached: true });
  });

  it('refuses what it cannot do, with a remedy', async () => {
    const cases: readonly (readonly [args: string[], code: number, says: RegExp])[] = [
      [['profile', '--model.kind', 'mlp', '--model.inputs', '4', '--model.classes', '2'], 2, /data: required/],
      [['profile', ...digits, '--timed-steps', '0'], 2, /--timed-steps: expected an integer ≥ 1/],
      [['plan', '--profile', 'experiment.json'], 2, /there is no experiment beside the profile/],
      [['plan', ...digits, '--profile-time', '5'], 2, /--profile-time 5: no kernels are timed/],
      [['plan', ...digits, '--profile-time', 'long', '--profile'], 2, /--profile-time: expected/],
      [['plan', ...digits, '--profile=missing.json'], 2, /no such file: missing\.json/],
      [['plan', ...digits, '--profile=not.json'], 1, /not\.json: not a profile/],
      [['plan', '--model.kind', 'mlp', '--model.inputs', '4', '--model.classes', '2', '--profile'], 2, /no data/],
    ];
    writeFileSync(join(cwd, 'not.json'), '{"format": "partita-plan"}');
    for (const [args, code, says] of cases) {
      const outcome = await partita(cwd, [...args, '--json']);
      expect({ args, code: outcome.code }).toEqual({ args, code });
      expect(json(outcome.stdout).error.message).toMatch(says);
    }
    for (const flag of ['--html', '--out']) {
      const { code, stdout } = await partita(cwd, ['profile', ...digits, ...quick, flag, 'nowhere/p.html', '--json']);
      expect({ flag, code }).toEqual({ flag, code: 1 });
      const { message, remedy } = json(stdout).error;
      expect({ message, remedy }).toEqual({
        message: `${flag}: cannot write nowhere/p.html: there is no folder nowhere`,
        remedy: 'mkdir -p nowhere',
      });
      expect(existsSync(join(cwd, 'nowhere'))).toBe(false);
    }
    mkdirSync(join(cwd, 'folder'));
    for (const [out, says, remedy] of [
      ['folder', 'cannot write folder: it is a folder', '--out folder/FILE'],
      ['', 'expected a file, got ""', '--out FILE, or leave it out'],
    ] as const) {
      const { stdout } = await partita(cwd, ['profile', ...digits, ...quick, '--out', out, '--json']);
      expect(json(stdout).error).toMatchObject({ message: `--out: ${says}`, remedy });
    }
    const missing = await partita(cwd, ['plan', ...digits, '--profile=missing.json', '--json']);
    expect(json(missing.stdout).error.remedy).toContain('partita profile');
  });
});

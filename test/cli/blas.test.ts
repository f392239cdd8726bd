import type { ChildProcess } from 'node:child_process';
import { closeSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { endlessLibrary, installedBlas, loading } from '../support/blas.ts';
import { partita, spawned, workFolder } from './run.ts';

const folder = workFolder();
const reportHeader = () => (process.report.getReport() as { header: object }).header;
const model = ['--model.kind', 'mlp', '--model.hidden', '48', '--data.kind', 'digits'];

describe('--blas on the command line', () => {
  it('trains by the library that it finds, and tells which', async (context) => {
    const blas = installedBlas(context);
    const args = ['train', ...model, '--steps', '3', '--blas', 'auto', '--run-dir', 'run', '--json', '--quiet'];
    const { code, stdout, stderr } = await partita(folder, args);
    expect(stderr).toBe('');
    expect(code).toBe(0);
    const result = JSON.parse(stdout);
    expect(result).toMatchObject({ blas, devices: [{ backend: 'blas' }] });
    expect(result.devices[0].peakBytesMeasured).toBe(result.devices[0].peakBytesPlanned);
    expect(JSON.parse(readFileSync(join(folder, 'run', 'plan.json'), 'utf8')).blas).toEqual(blas);
    // The plan is one of this library: it runs without being told, and not without.
    const again = await partita(folder, [
      'train',
      '--plan',
      'run/plan.json',
      '--run-dir',
      'again',
      '--json',
      '--quiet',
    ]);
    expect(JSON.parse(again.stdout)).toMatchObject({ blas, loss: result.loss });
    const without = await partita(folder, ['train', '--plan', 'run/plan.json', '--blas', 'off']);
    expect(without).toMatchObject({ code: 2, stderr: expect.stringContaining('--plan says how to run; --blas') });
  });

  it('is interrupted in the midst of a trial, which says nothing against the library', async (context) => {
    context.skip(process.platform === 'win32', 'pipes have no path there');
    installedBlas(context);
    const file = endlessLibrary(workFolder());
    let child: ChildProcess | undefined;
    const run = spawned(folder, ['plan', ...model, '--blas', file], (started) => (child = started), { detached: true });
    const descriptor = await loading(file);
    // As a terminal does: to the process, and to that of the trial.
    process.kill(-child!.pid!, 'SIGINT');
    expect(await run).toEqual({ code: 130, stdout: '', stderr: 'partita: interrupted; all devices have ended\n' });
    closeSync(descriptor);
  });

  it('takes a path, of a file relative to it, and says in a plan what multiplies', async (context) => {
    const { file, version } = installedBlas(context);
    const { stdout } = await partita(folder, ['plan', ...model, '--blas', file]);
    expect(stdout).toContain(`Products by ${version}, ${file}`);
    writeFileSync(
      join(folder, 'e.json'),
      JSON.stringify({ model: { kind: 'mlp' }, data: { kind: 'digits' }, blas: 'lib/no.so' }),
    );
    const missing = await partita(join(folder, '..'), ['plan', join(folder, 'e.json')]);
    expect(missing.code).toBe(2);
    expect(missing.stderr).toContain(`cannot load ${join(folder, 'lib/no.so')}`);
    expect(missing.stderr).toContain('apt-get install libopenblas0-pthread');
    writeFileSync(join(folder, 'word'), 'a file, if not a library');
    const word = await partita(folder, ['plan', ...model, '--blas', 'word']);
    expect(word).toMatchObject({ code: 2, stderr: expect.stringContaining(`cannot load ${join(folder, 'word')}`) });
  });

  it('asks for the file of an experiment beside it, whatever the current folder has', async (context) => {
    installedBlas(context);
    mkdirSync(join(folder, 'beside'), { recursive: true });
    writeFileSync(join(folder, 'here'), 'a file of the current folder');
    const experiment = { model: { kind: 'mlp' }, data: { kind: 'digits' } };
    writeFileSync(join(folder, 'beside', 'e.json'), JSON.stringify({ ...experiment, blas: 'here' }));
    const word = await partita(folder, ['plan', 'beside/e.json']);
    expect(word).toMatchObject({ code: 2, stderr: expect.stringContaining('cannot load here:') });
    writeFileSync(join(folder, 'beside', 's.json'), JSON.stringify({ ...experiment, sweep: { blas: ['here'] } }));
    const swept = await partita(folder, ['study', 'memory', 'beside/s.json']);
    expect(swept.code).toBe(2);
    expect(swept.stderr).not.toContain(join(folder, 'here'));
  });

  it('gives a name that is no file to the loader, from a flag and from an experiment file', async (context) => {
    installedBlas(context);
    const nowhere = await partita(folder, ['plan', ...model, '--blas', 'libpartita-none.so.0']);
    expect(nowhere).toMatchObject({ code: 2, stderr: expect.stringContaining('cannot load libpartita-none.so.0: ') });
    const name = 'libc.so.6';
    context.skip(process.platform !== 'linux' || !('glibcVersionRuntime' in reportHeader()), 'glibc has another name');
    writeFileSync(
      join(folder, 'name.json'),
      JSON.stringify({ model: { kind: 'mlp' }, data: { kind: 'digits' }, blas: name }),
    );
    for (const args of [[...model, '--blas', name], ['name.json']]) {
      const found = await partita(folder, ['plan', ...args]);
      expect(found.stderr).toContain(`blas: ${name} has neither cblas_sgemm nor sgemm_`);
    }
  });

  it('refuses a word that is no file', async () => {
    const wrong = await partita(folder, ['plan', ...model, '--blas', 'autoo']);
    expect(wrong).toMatchObject({ code: 2, stdout: '' });
    expect(wrong.stderr).toContain('there is no file autoo; did you mean "auto"?');
    expect(wrong.stderr).toContain('--blas auto, --blas off or --blas PATH');
    const empty = await partita(folder, ['plan', ...model, '--blas', '']);
    expect(empty).toMatchObject({ code: 2, stderr: expect.stringContaining('blas: it is empty') });
  });

  it('is refused where no device would take it', async () => {
    const nothing = await partita(folder, ['plan', ...model, '--backend', 'null', '--blas', 'auto']);
    expect(nothing).toMatchObject({ code: 2, stderr: expect.stringContaining('blas: expected "off" where no device') });
    writeFileSync(join(folder, 'cluster.json'), JSON.stringify({ devices: 2 }));
    const paper = await partita(folder, ['plan', ...model, '--cluster', 'cluster.json', '--blas', 'auto']);
    expect(paper).toMatchObject({ code: 2, stderr: expect.stringContaining('is played on paper') });
  });
});

// Two commands that write into one folder would replace each other's files: the second is refused, and touches nothing.
import type { ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { digits, partita, spawned, workFolder } from './run.ts';

describe('a folder that is written into', () => {
  it('is refused to a second training, and free behind the first', { timeout: 60_000 }, async () => {
    const folder = workFolder();
    const log = join(folder, 'run', 'log.jsonl');
    const into = ['train', ...digits, '--quiet', '--json', '--run-dir', 'run'];
    const during = async (child: ChildProcess) => {
      while (!existsSync(log) || statSync(log).size === 0) await setTimeout(5);
      const kept = readFileSync(join(folder, 'run', 'experiment.json'), 'utf8');
      const second = await partita(folder, [...into, '--steps', '1']);
      expect(second.code).toBe(1);
      expect(JSON.parse(second.stdout).error).toMatchObject({
        code: 'run-dir-locked',
        message: `run: a training of process ${child.pid} writes its files there`,
        remedy: 'wait until it has ended, or give another --run-dir',
        pid: child.pid,
      });
      expect(readFileSync(join(folder, 'run', 'experiment.json'), 'utf8')).toBe(kept);
      expect(JSON.parse(readFileSync(log, 'utf8').split('\n')[0]!).step).toBe(0);
    };
    let looked: Promise<void> | undefined;
    const first = await spawned(folder, [...into, '--steps', '1000000'], (child) => {
      looked = during(child).finally(() => child.kill('SIGTERM'));
    });
    await looked;
    expect(first.code).toBe(143);
    expect(await partita(folder, [...into, '--steps', '1'])).toMatchObject({ code: 0 });
    expect(readdirSync(join(folder, 'run')).filter((name) => name.startsWith('.'))).toEqual([]);
  });

  it('that a killed training left is taken over', async () => {
    const folder = workFolder();
    mkdirSync(join(folder, 'run'));
    const another = JSON.stringify({ pid: process.pid, host: hostname(), began: 'at another time' });
    for (const lock of ['', ...(existsSync('/proc/self/stat') ? [another] : [])]) {
      writeFileSync(join(folder, 'run', '.run.lock'), lock);
      const { code } = await partita(folder, ['train', ...digits, '--quiet', '--steps', '1', '--run-dir', 'run']);
      expect(code).toBe(0);
      expect(existsSync(join(folder, 'run', '.run.lock'))).toBe(false);
    }
  });

  it('may hold the checkpoints of the same training', async () => {
    const folder = workFolder();
    const args = ['train', ...digits, '--quiet', '--steps', '2', '--run-dir', 'run', '--checkpoint.dir', 'run'];
    expect(await partita(folder, args)).toMatchObject({ code: 0, stderr: '' });
    expect(readdirSync(join(folder, 'run')).sort()).toEqual(
      ['experiment.json', 'log.jsonl', 'params.safetensors', 'plan.json', 'result.json', 'step-2'].sort(),
    );
  });

  it('is refused to a second study', async () => {
    const folder = workFolder();
    mkdirSync(join(folder, 'study'));
    const held = JSON.stringify({ pid: process.ppid, host: hostname(), began: null });
    writeFileSync(join(folder, 'study', '.study.lock'), held);
    const args = ['study', 'memory', ...digits, '--parts', 'training', '--quiet', '--json', '--study-dir', 'study'];
    const { code, stdout } = await partita(folder, args);
    expect(code).toBe(1);
    expect(JSON.parse(stdout).error).toMatchObject({
      code: 'study-dir-locked',
      message: `study: a study of process ${process.ppid} writes its files there`,
      remedy: 'wait until it has ended, or give another --study-dir',
    });
    expect(readdirSync(join(folder, 'study'))).toEqual(['.study.lock']);
    writeFileSync(join(folder, 'study', '.study.lock'), '');
    expect(await partita(folder, args)).toMatchObject({ code: 0 });
    expect(readdirSync(join(folder, 'study'))).not.toContain('.study.lock');
  });
});

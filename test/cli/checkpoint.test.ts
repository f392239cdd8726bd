import { cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { digits, partita, spawned, workFolder } from './run.ts';

const folder = workFolder();
const bytesOf = (name: string) => readFileSync(join(folder, name)).toString('hex');
/** The lines of a log without what is of time. */
const logOf = (run: string) =>
  readFileSync(join(folder, run, 'log.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => {
      const { seconds, busySeconds, bubbleFraction, ...rest } = JSON.parse(line);
      return rest;
    });

const flags = [
  ...digits,
  ...['--data.batchSize', '200', '--microbatches', '2', '--optimizer', 'adam', '--epochs', '2'],
  ...['--eval.fraction', '0.25', '--eval.every', '2', '--learningRate', 'cosine', '--learningRate.tMax', '14'],
  ...['--clip.globalNorm', '1', '--noise'],
];

/** 14 steps; the whole training, and one whose last checkpoint kept is that of step 8: epochs are 7 steps long. */
beforeAll(async () => {
  const whole = await partita(folder, [
    'train',
    ...flags,
    '--quiet',
    '--run-dir',
    'whole',
    '--out',
    'whole.safetensors',
  ]);
  expect(whole).toMatchObject({ code: 0, stderr: '' });
  const checkpoint = ['--checkpoint.dir', 'ckpt', '--checkpoint.every', '4', '--checkpoint.keep', '9'];
  const part = await partita(folder, ['train', ...flags, ...checkpoint, '--quiet', '--run-dir', 'part']);
  expect(part).toMatchObject({ code: 0, stderr: '' });
  expect(readdirSync(join(folder, 'ckpt')).sort()).toEqual(['step-12', 'step-14', 'step-4', 'step-8']);
  for (const step of [12, 14]) rmSync(join(folder, 'ckpt', `step-${step}`), { recursive: true });
});

const copied = (name: string): string => {
  cpSync(join(folder, 'ckpt'), join(folder, name), { recursive: true });
  return name;
};

describe('train --resume', () => {
  it('brings its own experiment, runs on another layout, and ends with the same files', async () => {
    const dir = copied('alone');
    const args = ['train', '--resume', dir, '--checkpoint.dir', dir, '--devices', '2', '--run-dir', 'part'];
    const { code, stdout, stderr } = await partita(folder, [...args, '--out', 'alone.safetensors', '--json']);
    expect(code).toBe(0);
    expect(bytesOf('alone.safetensors')).toBe(bytesOf('whole.safetensors'));
    for (const file of ['params.safetensors', 'best.safetensors']) {
      expect(bytesOf(`part/${file}`), file).toBe(bytesOf(`whole/${file}`));
    }
    expect(logOf('part')).toEqual(logOf('whole'));
    const result = JSON.parse(stdout);
    const whole = JSON.parse(readFileSync(join(folder, 'whole', 'result.json'), 'utf8'));
    expect(whole.noise.bSimple).toBeTypeOf('number');
    for (const key of ['steps', 'epochs', 'firstLoss', 'loss', 'evaluation', 'best', 'noise']) {
      expect(result[key], key).toEqual(whole[key]);
    }
    expect(result).toMatchObject({ resumed: { step: 8 }, devices: [{}, {}] });
    expect(result.devices[1].peakBytesMeasured).toBe(result.devices[1].peakBytesPlanned);
    expect(stderr).toContain('step 14/14');
    expect(readdirSync(join(folder, dir)).sort()).toEqual(['step-12', 'step-14', 'step-4', 'step-8']);
  });

  it('takes the experiment as a file, a plan, or flags that add to the checkpoint’s', async () => {
    const experiment = JSON.parse(readFileSync(join(folder, 'whole', 'experiment.json'), 'utf8'));
    writeFileSync(join(folder, 'e.json'), JSON.stringify({ ...experiment, resume: 'ckpt' }));
    await partita(folder, ['plan', ...flags, '--devices', '2', '--plan-out', 'plan.json', '--quiet']);
    const runs = {
      file: ['e.json', '--devices', '2', '--schedule', 'gpipe'],
      plan: ['--plan', 'plan.json', '--resume', 'ckpt'],
      own: ['--resume', 'ckpt/step-4', '--devices', '2', '--partition.cuts', 'layer.1', '--partition.placement', '1,0'],
    };
    for (const [name, args] of Object.entries(runs)) {
      // The checkpoint's own experiment would keep checkpoints among the others.
      const elsewhere = name === 'own' ? ['--checkpoint.dir', 'elsewhere'] : [];
      const out = ['--out', `${name}.safetensors`, '--quiet', '--run-dir', `run-${name}`];
      expect(await partita(folder, ['train', ...args, ...elsewhere, ...out])).toMatchObject({ code: 0, stderr: '' });
      expect(bytesOf(`${name}.safetensors`), name).toBe(bytesOf('whole.safetensors'));
      expect(logOf(`run-${name}`)).toEqual(logOf('whole'));
    }
    expect(readdirSync(join(folder, 'elsewhere')).sort()).toEqual(['step-12', 'step-14', 'step-8']);
  });

  it('on other devices leaves behind a partition that was written for the old ones', async () => {
    const byHand = ['--devices', '2', '--partition.cuts', 'layer.1', '--partition.placement', '1,0', '--steps', '1'];
    const args = ['train', ...digits, ...byHand, '--checkpoint.dir', 'by-hand', '--quiet'];
    expect((await partita(folder, args)).code).toBe(0);
    const more = ['train', '--resume', 'by-hand', '--steps', '2', '--quiet'];
    expect(await partita(folder, more)).toMatchObject({ code: 0, stderr: '' });
    expect(await partita(folder, [...more, '--devices', '1'])).toMatchObject({ code: 0, stderr: '' });
  });

  it('behind the last step only writes the results', async () => {
    const args = ['train', '--resume', copied('done'), '--checkpoint.dir', 'done', '--quiet'];
    expect((await partita(folder, args)).code).toBe(0);
    const again = await partita(folder, [...args, '--out', 'done.safetensors', '--run-dir', 'again', '--json']);
    expect(JSON.parse(again.stdout)).toMatchObject({ resumed: { step: 14 }, basis: 'predicted' });
    expect(bytesOf('done.safetensors')).toBe(bytesOf('whole.safetensors'));
    expect(bytesOf('again/best.safetensors')).toBe(bytesOf('whole/best.safetensors'));
  });

  it('takes its parameters elsewhere: they are a file for --params', async () => {
    const params = ['--params', 'ckpt/step-8/params.safetensors'];
    const { stdout } = await partita(folder, ['grad', ...flags, ...params, '--json', '--quiet']);
    const first = JSON.parse(readFileSync(join(folder, 'whole', 'result.json'), 'utf8')).firstLoss;
    expect(JSON.parse(stdout).loss).toBeLessThan(first);
  });

  const refused: [string, string[], number, string, ...string[]][] = [
    ['no folder', ['train', '--resume', 'nowhere'], 2, 'checkpoint-none', 'nowhere', 'no such folder'],
    ['a folder without', ['train', '--resume', 'whole'], 2, 'checkpoint-none', 'holds no checkpoint'],
    ['another microbatches', ['train', '--resume', 'ckpt', '--microbatches', '3'], 2, 'checkpoint-mismatch', '2', '3'],
    ['another rate', ['train', '--resume', 'ckpt', '--optimizer.lr', '1'], 2, 'checkpoint-mismatch', 'rate of step 0'],
    [
      'another activation',
      ['train', '--resume', 'ckpt', '--model.activation', 'tanh'],
      2,
      'checkpoint-mismatch',
      'something else',
    ],
    ['another clipping', ['train', '--resume', 'ckpt', '--clip.globalNorm', '2'], 2, 'checkpoint-mismatch', 'clip.'],
    ['another average', ['train', '--resume', 'ckpt', '--noise', '{"decay": 0.5}'], 2, 'checkpoint-mismatch', 'noise.'],
    ['another split', ['train', '--resume', 'ckpt', '--eval.fraction', '0.5'], 2, 'checkpoint-mismatch', 'held-out'],
    ['fewer steps', ['train', '--resume', 'ckpt', '--steps', '3'], 2, 'checkpoint-steps', 'step 8', '3 steps'],
    ['first values', ['train', '--resume', 'ckpt', '--params', 'x'], 2, 'params-and-resume', '--params'],
    ['another command', ['grad', ...digits, '--resume', 'ckpt'], 2, 'resume-not-training', 'grad'],
    ['checkpoints of a gradient', ['grad', ...digits, '--checkpoint.dir', 'x'], 2, 'checkpoint-not-training', 'grad'],
    ['a folder that is taken', ['train', ...flags, '--checkpoint.dir', 'ckpt'], 2, 'checkpoint-dir-taken', 'step 8'],
    ['a folder that is a file', ['train', ...flags, '--checkpoint.dir', 'whole.safetensors'], 1, 'checkpoint-dir'],
  ];
  it.each(refused.map((r, i) => [r[0], i] as const))('%s is refused before anything is written', async (_, i) => {
    const [, args, exitCode, code, ...texts] = refused[i]!;
    const out = ['--run-dir', 'whole', '--json', '--quiet'];
    const log = bytesOf('whole/log.jsonl');
    const run = await partita(folder, args[0] === 'train' ? [...args, ...out] : [...args, '--json']);
    const { error } = JSON.parse(run.stdout);
    expect({ exit: run.code, code: error.code }).toEqual({ exit: exitCode, code });
    for (const text of texts) expect(error.message).toContain(text);
    expect(error.remedy).toBeTruthy();
    expect(run.stderr.trim().split('\n')).toHaveLength(1);
    expect(bytesOf('whole/log.jsonl')).toBe(log);
  });

  it('of a damaged checkpoint names an older one that works', async () => {
    const dir = copied('flipped');
    const file = join(folder, dir, 'step-8', 'optimizer.safetensors');
    const bytes = readFileSync(file);
    bytes[bytes.length - 5]! ^= 4;
    writeFileSync(file, bytes);
    const { code, stdout } = await partita(folder, ['train', '--resume', dir, '--json', '--quiet']);
    expect(code).toBe(1);
    const { error } = JSON.parse(stdout);
    expect(error).toMatchObject({ code: 'checkpoint-damaged', older: join(folder, dir, 'step-4') });
    const remedied = ['train', ...error.remedy.split(' '), '--checkpoint.dir', dir, '--quiet'];
    expect((await partita(folder, [...remedied, '--out', 'flipped.safetensors'])).code).toBe(0);
    expect(bytesOf('flipped.safetensors')).toBe(bytesOf('whole.safetensors'));
  });
});

describe('SIGINT', () => {
  it('tells how to go on, and that works', async () => {
    const dir = ['--checkpoint.dir', 'interrupted', '--checkpoint.every', '2'];
    const args = ['train', ...flags, '--epochs', '2000', ...dir, '--quiet'];
    const { code, stderr } = await spawned(folder, args, (child) => {
      const timer = setInterval(() => {
        if (!existsSync(join(folder, 'interrupted', 'step-4'))) return;
        clearInterval(timer);
        child.kill('SIGINT');
      }, 5);
    });
    expect(code).toBe(130);
    const told = /note: (\d+) steps are kept; to go on: partita (train --resume \S+)\n/.exec(stderr)!;
    const more = [...told[2]!.split(' '), '--steps', String(Number(told[1]) + 1), '--json', '--quiet'];
    const { stdout } = await partita(folder, more);
    expect(JSON.parse(stdout)).toMatchObject({ resumed: { step: Number(told[1]) } });
  });
});

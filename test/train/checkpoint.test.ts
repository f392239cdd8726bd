import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import type { HostTensor } from '../../src/core/types.ts';
import { lockFolder } from '../../src/formats/folder-lock.ts';
import { readSafetensors, writeSafetensors } from '../../src/formats/safetensors.ts';
import { checkpoints, readCheckpoint, writeCheckpoint } from '../../src/train/checkpoint/folder.ts';
import { trainingIdentity } from '../../src/train/checkpoint/identity.ts';
import { makeLearningRate } from '../../src/train/learning-rate.ts';
import { Session } from '../../src/train/session.ts';
import { type TrainOptions, train } from '../../src/train/trainer.ts';
import { f32, planOf, threeLayers, toHex } from '../support/models.ts';
import { type StatefulOptions, stateful } from '../support/stateful.ts';
import { bitsOf, expectUntouched, failing, newFolder, readFailure, run } from './checkpoint-runs.ts';

describe('checkpoints', () => {
  it('are written behind every so many steps and the last, the newest two kept', async () => {
    const dir = newFolder();
    const seen: string[] = [];
    const { plan, seed, training } = stateful();
    await using session = await Session.open(plan, { seed, transport: 'local', audit: false });
    for await (const _ of train({ session, ...training, steps: 8, checkpoint: { dir, every: 3 } })) {
      const names = readdirSync(dir).sort();
      expect(names[0]).toBe('.lock');
      seen.push(names.slice(1).join());
    }
    expect(seen).toEqual(['', '', 'step-3', 'step-3', 'step-3', 'step-3,step-6', 'step-3,step-6', 'step-6,step-8']);
    expect(readdirSync(join(dir, 'step-8')).sort()).toEqual([
      'best.safetensors',
      'history.safetensors',
      'optimizer.safetensors',
      'params.safetensors',
      'state.json',
    ]);
  });

  it('are an epoch apart by default, and as many as asked for are kept', async () => {
    const dir = newFolder();
    await run({}, { steps: 9, checkpoint: { dir, keep: 1 } });
    expect(readdirSync(dir)).toEqual(['step-9']);
    const many = newFolder();
    await run({}, { steps: 9, checkpoint: { dir: many, keep: 5 } });
    expect(readdirSync(many).sort()).toEqual(['step-4', 'step-8', 'step-9']);
  });

  it('hold tensors by parameter name, the same bytes for every layout', async () => {
    const dirs = [newFolder(), newFolder()];
    const layouts: StatefulOptions[] = [{}, { devices: 2, schedule: 'gpipe' }];
    for (const [i, layout] of layouts.entries())
      await run(layout, { steps: 5, checkpoint: { dir: dirs[i]!, every: 5 } });
    for (const file of ['params.safetensors', 'optimizer.safetensors', 'best.safetensors']) {
      const [a, b] = dirs.map((dir) => readFileSync(join(dir, 'step-5', file)).toString('hex'));
      expect(b, file).toBe(a);
    }
    const names = (file: string) => [...readSafetensors(readFileSync(join(dirs[0]!, 'step-5', file)), file).keys()];
    expect(names('params.safetensors')).toEqual([
      ...['a.weight', 'a.gamma', 'a.beta', 'b.weight', 'b.gamma', 'b.beta', 'last'],
      ...['a.mean', 'a.variance', 'b.mean', 'b.variance'],
    ]);
    expect(names('optimizer.safetensors').slice(0, 2).sort()).toEqual(['m/a.weight', 'v/a.weight']);
  });

  it('hold what was known when they were written', async () => {
    const dir = newFolder();
    const { records } = await run({}, { steps: 7, checkpoint: { dir, every: 7, experiment: { a: 1 } } });
    const read = readCheckpoint(dir);
    expect(read).toMatchObject({ step: 7, experiment: { a: 1 }, folder: join(dir, 'step-7') });
    expect(read.records).toEqual(records);
    // For people: steps are 4 an epoch, and the last of 7 was of the second.
    expect(JSON.parse(readFileSync(join(dir, 'step-7', 'state.json'), 'utf8')).state.epoch).toBe(1);
    const evaluated = records.flatMap((r) => (r.evaluation ? [r] : []));
    expect(evaluated.map((r) => r.step)).toEqual([2, 5, 6]);
    const least = evaluated.reduce((a, b) => (b.evaluation!.loss < a.evaluation!.loss ? b : a));
    expect(read.best).toMatchObject({ step: least.step, evaluation: least.evaluation });
    // With what a training has that ends there.
    const { bits } = await run({}, { steps: least.step + 1 });
    const best = [...read.best!.parameters].map(([name, t]) => `${name} ${toHex(t)}`);
    expect(best.length).toBe(read.parameters.size + read.buffers.size);
    expect(bits).toEqual(expect.arrayContaining(best));
  });

  it('keep losses that are no numbers', async () => {
    const dir = newFolder();
    const { plan, seed, training } = stateful();
    await using session = await Session.open(plan, { seed, transport: 'local', audit: false });
    const state = await session.state();
    const odd = { step: 0, epoch: 0, lr: 0.1, seconds: 1, busySeconds: [0.5], bubbleFraction: 0.5 };
    const evaluation = { samples: 1, loss: Number.NaN, perplexity: Number.POSITIVE_INFINITY, mae: -Infinity };
    const records = [{ ...odd, loss: Number.NaN, gradNorm: Number.POSITIVE_INFINITY, evaluation }];
    const identity = trainingIdentity({ plan, seed, data: training.data });
    await writeCheckpoint(dir, { ...state, step: 1, identity, experiment: null, records });
    expect(readCheckpoint(dir).records).toEqual(records);
  });

  it('give way, from a later step on, to those of a training that was taken up before them', async () => {
    const dir = newFolder();
    await run({}, { steps: 8, checkpoint: { dir, every: 2, keep: 9 } });
    writeFileSync(join(dir, 'step-8', 'params.safetensors'), 'damaged');
    const resume = (readFailure(dir).remedy ?? '').replace('--resume ', '');
    expect(resume).toBe(join(dir, 'step-6'));
    const { bits } = await run({}, { steps: 8, checkpoint: { dir, every: 1, keep: 9 }, resume });
    expect(bits).toEqual((await run({}, { steps: 8 })).bits);
    expect(readdirSync(dir).sort()).toEqual(['step-2', 'step-4', 'step-6', 'step-7', 'step-8']);
    expect(readCheckpoint(dir).step).toBe(8);
  });

  it('rid their folder of what killed processes left, and leave what living ones write', async () => {
    const dir = newFolder();
    const dead = '.step-3.999999999.0badcafe.tmp';
    const living = '.step-3.1.0badcafe.tmp';
    for (const name of [dead, living]) mkdirSync(join(dir, name));
    writeFileSync(join(dir, dead, 'params.safetensors'), 'half');
    await run({}, { steps: 1, checkpoint: { dir } });
    expect(readdirSync(dir).sort()).toEqual([living, 'step-1']);
  });

  it('are those of one training: a second one in their folder is refused as long as the first runs', async () => {
    const dir = newFolder();
    const { plan, seed, training } = stateful();
    const checkpoint = { dir, every: 1 };
    await using session = await Session.open(plan, { seed, transport: 'local', audit: false });
    for await (const { step } of train({ session, ...training, steps: 8, checkpoint })) {
      const other = run({}, { steps: 4, checkpoint, ...(step > 0 ? { resume: dir } : {}) });
      await expect(other).rejects.toThrow(failing('checkpoint-dir-locked', 'a training of this process'));
      if (step === 1) break;
    }
    await run({}, { steps: 4, checkpoint, resume: dir });
    expect(readdirSync(dir).sort()).toEqual(['step-3', 'step-4']);
    await expect(run({}, { steps: 4, checkpoint })).rejects.toThrow(failing('checkpoint-dir-taken'));
    await expect(run({}, { steps: 5, checkpoint: { dir, every: 0 }, resume: dir })).rejects.toThrow('every');
    expect(readdirSync(dir).sort()).toEqual(['step-3', 'step-4']);
  });

  it('take over the lock of a training that is gone, and no other', async () => {
    const host = hostname();
    const gone = [
      JSON.stringify({ pid: 999_999_999, host, began: null }),
      // A number that has been given again.
      ...(process.platform === 'linux' ? [JSON.stringify({ pid: process.pid, host, began: '1' })] : []),
      ...['', '{}', '3', JSON.stringify({ pid: 'none', host, began: null })],
    ];
    for (const lock of gone) {
      const dir = newFolder();
      writeFileSync(join(dir, '.lock'), lock);
      await run({}, { steps: 1, checkpoint: { dir } });
      expect(readdirSync(dir)).toEqual(['step-1']);
    }
    const held = [
      { pid: process.ppid, host, began: null },
      { pid: 999_999_999, host: `not-${host}`, began: null },
    ];
    for (const lock of held) {
      const dir = newFolder();
      writeFileSync(join(dir, '.lock'), JSON.stringify(lock));
      const refused = run({}, { steps: 1, checkpoint: { dir } });
      await expect(refused).rejects.toThrow(failing('checkpoint-dir-locked', `process ${lock.pid}`));
      expect(readFileSync(join(dir, '.lock'), 'utf8')).toBe(JSON.stringify(lock));
    }
  });

  it('leave a lock that is somebody else’s by now', () => {
    const dir = newFolder();
    const lock = lockFolder(dir, checkpoints);
    expect(() => lockFolder(dir, checkpoints)).toThrow('a training of this process');
    writeFileSync(join(dir, '.lock'), 'of another');
    lock[Symbol.dispose]();
    expect(readFileSync(join(dir, '.lock'), 'utf8')).toBe('of another');
    rmSync(join(dir, '.lock'));
    lockFolder(dir, checkpoints)[Symbol.dispose]();
    expect(readdirSync(dir)).toEqual([]);
  });

  it('refuse options that mean nothing', async () => {
    for (const more of [{ every: 0 }, { every: 1.5 }, { keep: 0 }]) {
      await expect(run({}, { steps: 1, checkpoint: { dir: newFolder(), ...more } })).rejects.toThrow(
        failing('checkpoint-option', 'integer ≥ 1'),
      );
    }
  });
});

/** A folder with one checkpoint behind step 5 of 8, to be copied. */
let template: string;
beforeAll(async () => {
  template = newFolder();
  await run({}, { steps: 5, checkpoint: { dir: template, every: 5 } });
});

function copy(): string {
  const dir = newFolder();
  cpSync(template, dir, { recursive: true });
  return dir;
}

describe('a damaged checkpoint', () => {
  const files = ['params', 'optimizer', 'history', 'best'].map((name) => `${name}.safetensors`);
  const damages: [string, (folder: string) => void, string, ...string[]][] = [
    ...files.map((file): [string, (folder: string) => void, string, ...string[]] => [
      `without ${file}`,
      (folder) => rmSync(join(folder, file)),
      'checkpoint-damaged',
      `${file} is missing`,
    ]),
    [
      'with a folder for a file',
      (f) => {
        rmSync(join(f, 'best.safetensors'));
        mkdirSync(join(f, 'best.safetensors'));
      },
      'checkpoint-damaged',
      'best.safetensors cannot be read',
    ],
    ['without state.json', (f) => rmSync(join(f, 'state.json')), 'checkpoint-damaged', 'state.json is missing'],
    [
      'that was cut short',
      (f) => {
        const path = join(f, 'optimizer.safetensors');
        writeFileSync(path, readFileSync(path).subarray(0, 100));
      },
      'checkpoint-damaged',
      'optimizer.safetensors has 100 bytes of',
    ],
    [
      'whose state was cut short',
      (f) => {
        const path = join(f, 'state.json');
        writeFileSync(path, readFileSync(path).subarray(0, 300));
      },
      'checkpoint-damaged',
      'state.json is not JSON',
    ],
    [
      'of another version',
      (f) => editState(f, (text) => text.replace('"version": 1', '"version": 2')),
      'checkpoint-version',
      'version 2',
      'reads 1',
    ],
    [
      'that is none',
      (f) => writeFileSync(join(f, 'state.json'), '{"a": 1}'),
      'checkpoint-damaged',
      'partita-checkpoint',
    ],
    [
      'of another format',
      (f) => editState(f, (text) => text.replace('"partita-checkpoint"', '"another"')),
      'checkpoint-damaged',
      'state.json is not a checkpoint',
    ],
    [
      'whose state was edited',
      (f) => editState(f, (text) => text.replace('"step": 5', '"step": 4')),
      'checkpoint-damaged',
      'SHA-256',
    ],
    [
      'with two faults, both told',
      (f) => {
        rmSync(join(f, 'best.safetensors'));
        writeFileSync(join(f, 'params.safetensors'), '');
      },
      'checkpoint-damaged',
      'params.safetensors has 0 bytes',
      'best.safetensors is missing',
    ],
  ];
  const editState = (folder: string, edit: (text: string) => string) => {
    const path = join(folder, 'state.json');
    writeFileSync(path, edit(readFileSync(path, 'utf8')));
  };

  it.each(damages.map((d, i) => [d[0], i] as const))('%s is refused', (_, i) => {
    const [, damage, code, ...texts] = damages[i]!;
    const dir = copy();
    damage(join(dir, 'step-5'));
    const error = readFailure(dir);
    expect(error).toEqual(failing(code, ...texts));
    expect(error.remedy).toBeTruthy();
  });

  it('is found at any flipped bit of any file', () => {
    let seed = 7;
    const below = (n: number) => (seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) % n;
    for (const file of readdirSync(join(template, 'step-5'))) {
      const path = join(copy(), 'step-5', file);
      const whole = readFileSync(path);
      for (let i = 0; i < 60; i++) {
        const bytes = Buffer.from(whole);
        bytes[below(bytes.length)]! ^= 1 << below(8);
        writeFileSync(path, bytes);
        const folder = join(path, '..');
        try {
          // Blanks between the state's words mean nothing.
          expect(JSON.parse(readFileSync(path, 'utf8')), `${file} changed unseen`).toEqual(
            JSON.parse(whole.toString()),
          );
        } catch {
          expect(readFailure(folder).code, file).toMatch(/^checkpoint-(damaged|version)$/);
        }
      }
    }
  });

  it('leaves the session as it is', async () => {
    const dir = copy();
    rmSync(join(dir, 'step-5', 'best.safetensors'));
    await expectUntouched({}, { steps: 8, resume: dir }, 'checkpoint-damaged');
  });
});

describe('a checkpoint of another training', () => {
  const others: [string, StatefulOptions, ...string[]][] = [
    ['another width', { hidden: 6 }, 'a.weight is f32[5, 4] in the checkpoint and f32[5, 6] here'],
    ['another optimizer', { optimizer: { kind: 'sgd', lr: 0.02 } }, 'optimizer.kind is adam in the checkpoint and sgd'],
    [
      'other settings',
      { optimizer: { kind: 'adam', betas: [0.8, 0.9] } },
      'optimizer.betas is [0.9,0.999] in the checkpoint and [0.8,0.9] here',
    ],
    ['other microbatches', { microbatches: 3 }, 'microbatches is 2 in the checkpoint and 3 here', 'another order'],
    ['other kernels', { simd: 'relaxed' }, 'simd is strict in the checkpoint and relaxed here', 'rounds otherwise'],
    ['another seed', { seed: 4 }, 'seed is 3 in the checkpoint and 4 here'],
    ['other batches', { batchSize: 5 }, 'batches of 6', 'batches of 5'],
    ['other samples', { samplesSeed: 12 }, 'the data hold other samples'],
    ['a penalty', { l2: { lambda: 0.1, parameters: ['last'] } }, 'l2 is not in the checkpoint'],
    ['clipping', { clip: { globalNorm: 0.5 } }, 'clip is not in the checkpoint, and {"globalNorm":0.5} here'],
    ['another batchNorm', { batchNorm: 'deferred' }, 'batchNorm is micro in the checkpoint and deferred here'],
    [
      'invariant mode',
      { batchNorm: 'exact', schedule: 'gpipe', invariant: true },
      'invariant is not in the checkpoint',
    ],
    ['noise that is told', { noise: {} }, 'noise is not in the checkpoint, and {"decay":0.95} here'],
    [
      'rates that cycle momentum',
      { rule: { kind: 'oneCycle', maxLr: 0.02, totalSteps: 20 } },
      'the rate of step 0 was',
    ],
  ];
  it.each(others.map((o, i) => [o[0], i] as const))('is told by %s', async (_, i) => {
    const [, options, ...texts] = others[i]!;
    const error = await expectUntouched(options, { steps: 8, resume: template }, 'checkpoint-mismatch');
    expect(error).toEqual(failing('checkpoint-mismatch', ...texts));
    expect(error.fields.differences).toBeInstanceOf(Array);
    expect(error.remedy).toContain('--resume');
  });

  it('is told by what was changed, and not by what follows from it', async () => {
    const other: StatefulOptions = { batchNorm: 'exact', schedule: 'gpipe', invariant: true };
    const { fields } = await expectUntouched(other, { steps: 8, resume: template }, 'checkpoint-mismatch');
    expect((fields.differences as { key: string }[]).map(({ key }) => key)).toEqual(['batchNorm', 'invariant']);
    const optimizer = { kind: 'adagrad', lr: 0.02 } as const;
    const kind = await expectUntouched({ optimizer }, { steps: 8, resume: template }, 'checkpoint-mismatch');
    expect(kind.fields.differences).toEqual([
      { key: 'optimizer.kind', text: 'optimizer.kind is adam in the checkpoint and adagrad here' },
    ]);
  });

  it('is told by the momentum of its steps', async () => {
    const dir = newFolder();
    const rule = { kind: 'oneCycle', maxLr: 0.02, totalSteps: 20 } as const;
    await run({ rule }, { steps: 3, checkpoint: { dir } });
    const more = { steps: 6, resume: dir };
    const still = await expectUntouched({ rule }, { ...more, momentum: undefined }, 'checkpoint-mismatch');
    expect(still.message).toContain('the momentum of step 0 was 0.95 and is not set here');
    const flat = { ...rule, baseMomentum: 0.9 };
    const other = await expectUntouched({ rule: flat }, more, 'checkpoint-mismatch');
    expect(other.message).toContain('the momentum of step 1 was');
  });

  it('is told by how its noise was averaged', async () => {
    const dir = newFolder();
    await run({ noise: { decay: 0.5 } }, { steps: 3, checkpoint: { dir } });
    const error = await expectUntouched({ noise: {} }, { steps: 6, resume: dir }, 'checkpoint-mismatch');
    expect(error.message).toContain('noise.decay is 0.5 in the checkpoint and 0.95 here');
    const none = await expectUntouched({}, { steps: 6, resume: dir }, 'checkpoint-mismatch');
    expect(none.message).toContain('noise is {"decay":0.5} in the checkpoint, and not there here');
  });

  it('is told by the rates of its steps, and by having more of them', async () => {
    const learningRate = makeLearningRate({ kind: 'constant' }, 0.02);
    const error = await expectUntouched({}, { steps: 8, resume: template, learningRate }, 'checkpoint-mismatch');
    expect(error.message).toContain('the rate of step 0 was');
    const few = await expectUntouched({}, { steps: 4, resume: template }, 'checkpoint-steps');
    expect(few).toMatchObject({ fields: { step: 5, steps: 4 } });
  });

  it('is told by tensors that are missing, foreign or of another type', async () => {
    const { optimizerState, ...rest } = readCheckpoint(template);
    const [[first, value], ...others] = [...optimizerState] as [[string, HostTensor], ...[string, HostTensor][]];
    const wrong = { type: { dtype: 'f32' as const, shape: [2] }, data: new Float32Array(2) };
    for (const [tensors, text] of [
      [others, `${first} is missing`],
      [[...optimizerState, ['m/other', wrong]], 'm/other is none'],
      [[[first, wrong], ...others], `${first} is f32[2]`],
    ] as const) {
      const resume = { ...rest, optimizerState: new Map(tensors as typeof others) };
      const error = await expectUntouched({}, { steps: 8, resume }, 'checkpoint-mismatch');
      expect(error.message).toContain(text);
    }
    expect(value.type.shape).toEqual([5, 4]);
    const unfollowed = { ...rest, optimizerState, buffers: new Map() };
    const error = await expectUntouched({}, { steps: 8, resume: unfollowed }, 'checkpoint-mismatch');
    expect(error.message).toContain('a.mean is missing');
  });

  it('is not written over', async () => {
    const dir = copy();
    const before = readFileSync(join(dir, 'step-5', 'state.json'));
    const error = await expectUntouched({}, { steps: 8, checkpoint: { dir } }, 'checkpoint-dir-taken');
    expect(error.remedy).toContain(`--resume ${dir}`);
    await expectUntouched({}, { steps: 8, checkpoint: { dir }, resume: template }, 'checkpoint-dir-taken');
    expect(readFileSync(join(dir, 'step-5', 'state.json'))).toEqual(before);
  });

  it('or none at all: the folder is named', () => {
    expect(readFailure(join(template, 'no'))).toEqual(failing('checkpoint-none', 'no such folder'));
    expect(readFailure(newFolder())).toEqual(failing('checkpoint-none', 'holds no checkpoint'));
  });
});

describe('resuming', () => {
  it('goes on with more steps, and does nothing behind the last', async () => {
    const whole = await run({}, { steps: 8 });
    const more = await run({ devices: 2 }, { steps: 8, resume: template });
    expect(more.records.map((r) => r.step)).toEqual([5, 6, 7]);
    expect(more.bits).toEqual(whole.bits);
    const none = await run({}, { steps: 5, resume: template });
    expect(none).toEqual({ records: [], bits: (await run({}, { steps: 5 })).bits });
  });

  it('remembers the best evaluation where those that follow are worse', async () => {
    const dir = newFolder();
    const { contents } = stateful().training.evaluation;
    const losing = (loss: number) => ({ evaluate: async () => ({ samples: 1, loss }), every: 1, contents });
    await run({}, { steps: 2, checkpoint: { dir }, evaluation: losing(1) });
    const before = readCheckpoint(dir).best;
    await run({}, { steps: 3, checkpoint: { dir }, evaluation: losing(2), resume: dir });
    expect(before).toMatchObject({ step: 0, evaluation: { loss: 1 } });
    expect(readCheckpoint(dir)).toMatchObject({ step: 3, best: before });
  });

  it('takes what was read already, and a checkpoint’s own folder', async () => {
    const whole = await run({}, { steps: 6 });
    for (const resume of [readCheckpoint(template), join(template, 'step-5')]) {
      expect((await run({}, { steps: 6, resume })).bits).toEqual(whole.bits);
    }
  });

  it('takes an optimizer whose defaults are written out', async () => {
    const optimizer = { kind: 'adam', lr: 0.02, betas: [0.9, 0.999], eps: 1e-8, weightDecay: 0, noDecay: [] } as const;
    expect((await run({ optimizer }, { steps: 6, resume: template })).bits).toEqual((await run({}, { steps: 6 })).bits);
  });

  it('goes on with the averages of the noise', async () => {
    const dir = newFolder();
    const options: StatefulOptions = { noise: { decay: 0.7 } };
    const whole = await run(options, { steps: 9 });
    await run(options, { steps: 5, checkpoint: { dir } });
    const { records } = await run({ ...options, devices: 2 }, { steps: 9, resume: dir });
    const noises = [...readCheckpoint(dir).records, ...records].map((r) => r.noise);
    expect(noises).toEqual(whole.records.map((r) => r.noise));
    expect(noises.every((noise) => Number.isFinite(noise?.bSimple))).toBe(true);
  });

  it('takes another number of microbatches in invariant mode, where all give the same bits', async () => {
    const dir = newFolder();
    const batch = { x: f32([8, 6], 1), t: f32([8, 3], 2) };
    const data = {
      name: 'one',
      steps: 9,
      stepsPerEpoch: 1,
      batchAt: (step: number) => ({ epoch: step, step, tensors: batch }),
    };
    const trained = async (microbatches: number, more: Partial<TrainOptions> & { readonly steps: number }) => {
      const programs = { train: { batch: 8, mode: 'train', gradientNorm: true, gradientNoise: true } } as const;
      const optimizer = { kind: 'adam', lr: 0.01 } as const;
      const clip = { globalNorm: 0.2 };
      const plan = planOf(threeLayers, { microbatches, invariant: true, optimizer, clip, programs });
      await using session = await Session.open(plan, { seed: 1, transport: 'local', audit: false });
      const noises = [];
      for await (const { noise } of train({ session, data, ...more })) noises.push(noise);
      return { noises, bits: await bitsOf(session) };
    };
    await trained(2, { steps: 3, checkpoint: { dir } });
    const [rest, whole] = [await trained(4, { steps: 6, resume: dir }), await trained(1, { steps: 6 })];
    expect(rest.bits).toEqual(whole.bits);
    expect(rest.noises).toEqual(whole.noises.slice(3));
    expect(rest.noises[0]?.s).toBeGreaterThan(0);
  });

  it('works with data that tell neither order nor contents, by their batches', async () => {
    const dir = newFolder();
    const { data } = stateful().training;
    const bare = ({ name, steps, stepsPerEpoch, batchAt }: typeof data) => ({ name, steps, stepsPerEpoch, batchAt });
    await run({}, { steps: 3, data: bare(data), checkpoint: { dir } });
    const whole = await run({}, { steps: 6 });
    expect((await run({}, { steps: 6, data: bare(data), resume: dir })).bits).toEqual(whole.bits);
    const other = bare(stateful({ samplesSeed: 12 }).training.data);
    await expectUntouched({}, { steps: 6, data: other, resume: dir }, 'checkpoint-mismatch');
  });
});

it('writes safetensors of raw tensors as they are', () => {
  const raw = { dtype: 'F64', shape: [1], bytes: new Uint8Array(new Float64Array([Math.PI]).buffer) } as const;
  expect(readSafetensors(writeSafetensors([['pi', raw]]), 'f').get('pi')).toEqual(raw);
});

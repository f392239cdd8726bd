// What a checkpoint holds and knows its training again by, piece by piece: no session runs.
import { createHash } from 'node:crypto';
import { appendFileSync, cpSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { RawTensor } from '../../src/formats/raw-tensor.ts';
import { readSafetensors, writeSafetensors } from '../../src/formats/safetensors.ts';
import { Graph, type Tensor } from '../../src/graph/graph.ts';
import { add, leakyRelu, mul, relu, sub, tanh } from '../../src/ops/elementwise.ts';
import { matmul } from '../../src/ops/matmul.ts';
import { sum } from '../../src/ops/reduce.ts';
import type { Model } from '../../src/optim/model.ts';
import { type Checkpoint, isBetter } from '../../src/train/checkpoint/checkpoint.ts';
import { decodeCheckpoint, encodeCheckpoint } from '../../src/train/checkpoint/files.ts';
import { newestStep, openCheckpointFolder, readCheckpoint } from '../../src/train/checkpoint/folder.ts';
import { decodeHistory, encodeHistory } from '../../src/train/checkpoint/history.ts';
import { differencesOf, type IdentityOptions, trainingIdentity } from '../../src/train/checkpoint/identity.ts';
import type { BatchSource } from '../../src/train/data/source.ts';
import type { StepRecord } from '../../src/train/trainer.ts';
import { f32, planOf } from '../support/models.ts';
import { newFolder, readFailure } from './checkpoint-runs.ts';

describe('the history of the steps', () => {
  it('is what it was, also where steps differ in devices and in what is known of them', () => {
    const noise = { g2: 1.5, s: -2, g2Average: 1.25, sAverage: 0, bSimple: Number.NaN };
    const step = (over: Partial<StepRecord> & Pick<StepRecord, 'step' | 'busySeconds'>): StepRecord => {
      const busy = over.busySeconds.reduce((a, b) => a + b, 0);
      const seconds = 1 + over.step;
      const bubbleFraction = 1 - busy / (over.busySeconds.length * seconds);
      return {
        epoch: over.step >> 1,
        loss: 0.1 * over.step,
        lr: 1e-3,
        gradNorm: null,
        seconds,
        bubbleFraction,
        ...over,
      };
    };
    const records: StepRecord[] = [
      step({ step: 0, busySeconds: [0.5, 0.25], momentum: 0.95, gradNorm: 0 }),
      step({ step: 1, busySeconds: [0.125], noise, evaluation: { samples: 3, loss: 0.5 } }),
      step({ step: 2, busySeconds: [1, 2, 0.5], momentum: 0, gradNorm: 3 }),
      step({ step: 3, busySeconds: [0.75, 0], gradNorm: Number.POSITIVE_INFINITY }),
    ];
    const evaluations = new Map([[1, records[1]!.evaluation!]]);
    expect(decodeHistory(encodeHistory(records), 'f', 4, evaluations)).toEqual(records);
    expect(decodeHistory(encodeHistory([]), 'f', 0, new Map())).toEqual([]);
    for (const steps of [3, 5]) {
      expect(() => decodeHistory(encodeHistory(records), 'f', steps, evaluations)).toThrow(`is not I32 [${steps}]`);
    }
  });

  it('keeps a momentum that is 0 at every step', () => {
    const bubbleFraction = 0.5;
    const still = { epoch: 0, loss: 1, lr: 0.1, gradNorm: null, seconds: 1, busySeconds: [0.5], bubbleFraction };
    const records: StepRecord[] = [
      { ...still, step: 0, momentum: 0 },
      { ...still, step: 1, momentum: 0 },
    ];
    expect(decodeHistory(encodeHistory(records), 'f', 2, new Map())).toEqual(records);
  });

  it('is refused where a column is missing, or is of another type or shape', () => {
    const columns = readSafetensors(encodeHistory([]), 'f');
    const loss = columns.get('loss')!;
    const others: (RawTensor | undefined)[] = [
      undefined,
      { ...loss, dtype: 'F32' },
      { ...loss, shape: [0, 2] },
      { ...loss, shape: [1], bytes: new Uint8Array(8) },
    ];
    for (const other of others) {
      const changed = [...columns].flatMap(([name, tensor]): [string, RawTensor][] =>
        name !== 'loss' ? [[name, tensor]] : other ? [[name, other]] : [],
      );
      expect(() => decodeHistory(writeSafetensors(changed), 'f', 0, new Map())).toThrow('f: "loss" is not F64 [0]');
    }
  });
});

describe('the files', () => {
  const written = (over: Partial<Checkpoint>): string => {
    const none = new Map();
    const folder = newFolder();
    const files = encodeCheckpoint({
      ...{ step: 0, identity: {}, experiment: null, records: [] },
      ...{ parameters: none, buffers: none, optimizerState: none },
      ...over,
    });
    for (const [name, contents] of files) writeFileSync(join(folder, name), contents);
    return folder;
  };

  const recordOf = (step: number): StepRecord => ({
    ...{ step, epoch: 0, loss: 1, lr: 0.1, gradNorm: null, seconds: 1, busySeconds: [1], bubbleFraction: 0 },
  });

  /** The same with another state, of which they have the checksum. */
  const restated = (folder: string, change: (state: Record<string, Record<string, unknown>>) => void): string => {
    const path = join(folder, 'state.json');
    const guarded = JSON.parse(readFileSync(path, 'utf8'));
    change(guarded.state);
    guarded.sha256 = createHash('sha256').update(JSON.stringify(guarded.state)).digest('hex');
    writeFileSync(path, JSON.stringify(guarded));
    return folder;
  };
  const damaged = (text: string) =>
    expect.objectContaining({ code: 'checkpoint-damaged', message: expect.stringContaining(text) });

  /** A folder of checkpoints of these steps; those that are damaged lack their parameters. */
  const several = (steps: readonly number[], damaged: readonly number[]): string => {
    const dir = newFolder();
    for (const step of steps) {
      const folder = join(dir, `step-${step}`);
      cpSync(written({}), folder, { recursive: true });
      if (damaged.includes(step)) rmSync(join(folder, 'params.safetensors'));
    }
    return dir;
  };

  it('are those of a folder with their names, whatever its own is, or of one that has a checkpoint’s', () => {
    const dir = several([1, 2], []);
    const renamed = join(dir, 'kept');
    renameSync(join(dir, 'step-2'), renamed);
    expect(readCheckpoint(renamed).folder).toBe(renamed);
    expect(readCheckpoint(dir).folder).toBe(join(dir, 'step-1'));
    rmSync(join(dir, 'step-1', 'state.json'));
    expect(readFailure(join(dir, 'step-1'))).toEqual(damaged('state.json is missing'));
    expect(readFailure(join(dir, 'step-3'))).toMatchObject({ code: 'checkpoint-none' });
    mkdirSync(join(dir, 'step-1', 'state.json'));
    expect(readFailure(join(dir, 'step-1'))).toEqual(damaged('state.json cannot be read'));
  });

  it('that are damaged are told with the newest whole checkpoint of an earlier step, if there is one', () => {
    const dir = several([1, 2, 3, 4, 5], [2, 4]);
    const older = (folder: string) => readFailure(join(dir, folder)).fields.older;
    expect([older('step-4'), older('step-2')]).toEqual([join(dir, 'step-3'), join(dir, 'step-1')]);
    rmSync(join(dir, 'step-1'), { recursive: true });
    expect(older('step-2')).toBeNull();
    // Of which step another folder is, nobody knows.
    renameSync(join(dir, 'step-4'), join(dir, 'kept'));
    expect(older('kept')).toBeNull();
  });

  it('have a folder that is held by nobody who only looks at it, and refused to them while a training holds it', async () => {
    const dir = newFolder();
    expect(await openCheckpointFolder(dir, undefined, false)).toBeUndefined();
    using lock = await openCheckpointFolder(dir, undefined, true);
    expect(lock).toBeDefined();
    await expect(openCheckpointFolder(dir, undefined, false)).rejects.toMatchObject({ code: 'checkpoint-dir-locked' });
  });

  it('of another version are refused with its own remedy, also where there are older ones', () => {
    const dir = several([1, 2], []);
    const path = join(dir, 'step-2', 'state.json');
    writeFileSync(path, readFileSync(path, 'utf8').replace('"version": 1', '"version": 2'));
    const { code, remedy, fields } = readFailure(dir);
    expect([code, remedy, 'older' in fields]).toEqual([
      'checkpoint-version',
      'resume it with the version that wrote it',
      false,
    ]);
  });

  it('hold tensors of any type, and the best evaluation among others', () => {
    const evaluations = [2, 3].map((loss) => ({ samples: 1, loss }));
    const records = evaluations.map((evaluation, step): StepRecord => ({ ...recordOf(step), evaluation }));
    const count = { type: { dtype: 'i32', shape: [1] } as const, data: Int32Array.of(2 ** 24 + 1) };
    const buffers = new Map([['count', count]]);
    const best = { step: 0, evaluation: evaluations[0]!, parameters: buffers };
    const read = decodeCheckpoint(written({ step: 2, records, buffers, best }));
    expect(read).toMatchObject({ buffers, best, records });
  });

  it('are refused where the state does not name one, is no text, or is of other steps than the history', () => {
    const unnamed = restated(written({}), ({ files }) => delete files!['optimizer.safetensors']);
    expect(() => decodeCheckpoint(unnamed)).toThrow(damaged('state.json does not name optimizer.safetensors'));
    const binary = written({});
    appendFileSync(join(binary, 'state.json'), Uint8Array.of(0xff));
    expect(() => decodeCheckpoint(binary)).toThrow(damaged('state.json is not UTF-8 text'));
    expect(() => decodeCheckpoint(written({ step: 1 }))).toThrow(damaged('"epoch" is not I32 [1]'));
  });

  it('are refused where the best evaluation is none of those that are told', () => {
    expect(decodeCheckpoint(written({})).records).toEqual([]);
    const best = { step: 0, evaluation: { samples: 1, loss: 1 }, parameters: new Map() };
    expect(() => decodeCheckpoint(written({ best }))).toThrow('state.json has no evaluation of step 0, the best');
  });

  it('are refused where an evaluation is of a step that is not done, or told twice', () => {
    const folder = (...steps: number[]) =>
      restated(written({ step: 2, records: [0, 1].map(recordOf) }), (state) => {
        (state as Record<string, unknown>).evaluations = steps.map((step) => ({
          step,
          evaluation: { samples: 1, loss: 1 },
        }));
      });
    const { records } = decodeCheckpoint(folder(0, 1));
    expect(records.map((r) => r.evaluation?.loss)).toEqual([1, 1]);
    expect(() => decodeCheckpoint(folder(0, 2))).toThrow(damaged('an evaluation of step 2, behind step 2'));
    expect(() => decodeCheckpoint(folder(1, 0, 1))).toThrow(damaged('an evaluation of step 1, twice'));
  });

  it('are refused where the state names a buffer that the parameters’ file has not', () => {
    const folder = restated(written({}), (state) => ((state as Record<string, unknown>).buffers = ['mean']));
    expect(() => decodeCheckpoint(folder)).toThrow(
      damaged('state.json names the buffer mean, which params.safetensors has not'),
    );
  });
});

describe('the best evaluation', () => {
  it('is the first of the least, and never one without a loss', () => {
    const of = (loss: number) => ({ samples: 1, loss });
    const best = (loss: number) => ({ evaluation: of(loss) });
    expect(isBetter(of(3), undefined)).toBe(true);
    expect([2, 3, 4, Number.NaN].map((loss) => isBetter(of(loss), best(3)))).toEqual([true, false, false, false]);
    expect(isBetter(of(Number.NaN), undefined)).toBe(false);
  });
});

describe('the newest checkpoint', () => {
  it('is that of the largest number, and nothing else in the folder is one', () => {
    const dir = newFolder();
    expect([newestStep(dir), newestStep(join(dir, 'none'))]).toEqual([undefined, undefined]);
    writeFileSync(join(dir, 'file'), '');
    expect(newestStep(join(dir, 'file'))).toBeUndefined();
    for (const name of ['step-9', 'step-10', 'step-2', 'step-011', 'step-', 'step-11x', 'xstep-12', '.step-13.1.tmp']) {
      mkdirSync(join(dir, name));
    }
    expect(newestStep(dir)).toBe(10);
  });
});

const batchAt = (step: number) => ({ epoch: step, step, tensors: { x: f32([4, 3], 1), t: f32([4, 2], 2) } });
const bare: BatchSource = { name: 'd', steps: 9, stepsPerEpoch: 3, batchAt };

interface Parts {
  readonly activation: (x: Tensor) => Tensor;
  readonly swapped?: boolean;
  readonly constant?: number;
  readonly weight?: number;
  readonly output?: 'y' | 'twice';
  readonly frozen?: boolean;
}
/** Of x [B, 3] and parameters a [3, 3], b [3, 2]: always the same ones. */
const model = ({ activation, swapped, constant = 2, weight = 1, output = 'y', frozen = false }: Parts): Model => ({
  name: 'parts',
  build: (batch) => {
    const graph = new Graph();
    const x = graph.input('x', { shape: [batch, 3] });
    const t = graph.input('t', { shape: [batch, 2] });
    const a = graph.parameter('a', [3, 3], { kind: 'ones' }, { frozen });
    const b = graph.parameter('b', [3, 2], { kind: 'ones' });
    const c = graph.constant({ type: { dtype: 'f32', shape: [1] }, data: Float32Array.of(constant) }, 'c');
    const h = activation(matmul(x, a));
    const y = matmul(swapped ? sub(mul(x, c), h) : sub(h, mul(x, c)), b);
    const twice = add(h, h);
    graph.output('out', output === 'y' ? y : twice);
    const d = sub(y, t);
    return { graph, objective: [{ loss: sum(mul(d, d)), weight }] };
  },
});
const identityOf = (parts: Parts, over: Partial<IdentityOptions> = {}) => {
  const plan = planOf(model(parts), { batch: 4 });
  return trainingIdentity({ plan, seed: 1, data: bare, ...over });
};
const keys = (saved: Parameters<typeof differencesOf>[0], here: typeof saved) =>
  differencesOf(saved, here).map(({ key }) => key);

describe('a training is known again', () => {
  const saved = identityOf({ activation: tanh });

  it('by what its model computes', () => {
    expect(keys(saved, identityOf({ activation: tanh }))).toEqual([]);
    const others: Parts[] = [
      { activation: relu },
      { activation: tanh, swapped: true },
      { activation: tanh, constant: 3 },
      { activation: tanh, weight: 0.5 },
      { activation: tanh, output: 'twice' },
    ];
    for (const other of others) expect(keys(saved, identityOf(other))).toEqual(['model.graph']);
    const withSlope = (slope: number) => identityOf({ activation: (x) => leakyRelu(x, { slope }) });
    expect(keys(withSlope(0.25), withSlope(0.5))).toEqual(['model.graph']);
    expect(keys(saved, identityOf({ activation: tanh, frozen: true }))).toEqual(['model.parameters.a']);
  });

  it('by all that its data tell, part by part', () => {
    const of = (...parts: (string | ArrayBufferView)[]) =>
      identityOf(
        { activation: tanh },
        { data: { ...bare, contents: (visit) => parts.forEach((part) => void visit(part)) } },
      );
    const bytes = Uint8Array.of(1, 2, 3, 4);
    expect(keys(of('ab', 'c'), of('ab', 'c'))).toEqual([]);
    expect(keys(of('ab', 'c'), of('a', 'bc'))).toEqual(['data.samples']);
    expect(keys(of(bytes.subarray(0, 2)), of(bytes.subarray(2)))).toEqual(['data.samples']);
    expect(keys(of(bytes.subarray(2)), of(Uint8Array.of(3, 4)))).toEqual([]);
    expect(keys(saved, identityOf({ activation: tanh }, { data: { ...bare, order: 'another' } }))).toEqual([
      'data.order',
    ]);
  });

  it('by the batches at both ends of an epoch where the data do not tell', () => {
    const of = (change: (step: number) => ReturnType<typeof f32>) =>
      identityOf(
        { activation: tanh },
        {
          data: {
            ...bare,
            batchAt: (step) => ({ ...batchAt(step), tensors: { x: change(step), t: f32([4, 2], 2) } }),
          },
        },
      );
    expect(
      keys(
        saved,
        of(() => f32([4, 3], 1)),
      ),
    ).toEqual([]);
    expect(
      keys(
        saved,
        of((step) => f32([4, 3], step === 0 ? 5 : 1)),
      ),
    ).toEqual(['data.samples']);
    expect(
      keys(
        saved,
        of((step) => f32([4, 3], step === 2 ? 5 : 1)),
      ),
    ).toEqual(['data.samples']);
    // The same values in another shape.
    expect(
      keys(
        saved,
        of(() => ({ ...f32([4, 3], 1), type: { dtype: 'f32', shape: [3, 4] } })),
      ),
    ).toEqual(['data.samples']);
  });

  it('by the samples that are held out', () => {
    const held = (text: string) =>
      identityOf({ activation: tanh }, { evaluation: { contents: (visit) => visit(text) } });
    expect(keys(held('a'), held('a'))).toEqual([]);
    expect(keys(held('a'), held('b'))).toEqual(['heldOut']);
    expect(keys(saved, held('a'))).toEqual(['heldOut']);
  });
});

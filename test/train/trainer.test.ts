import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  experiment,
  type HostTensor,
  makePlan,
  openDataset,
  programFor,
  Session,
  type StepRecord,
  train,
} from '../../src/index.ts';

const prepared = (more: object = {}) =>
  experiment.prepareExperiment(
    experiment.parseExperiment(
      {
        model: { kind: 'mlp', hidden: [12] },
        data: { kind: 'digits', batchSize: 60 },
        devices: 2,
        microbatches: 2,
        ...more,
      },
      'test',
    ),
    { where: 'test' },
  );

async function open(more: object = {}) {
  const run = prepared(more);
  const plan = makePlan(experiment.planRequestOf(run, 'train'));
  const session = await Session.open(plan, { seed: run.experiment.seed, transport: 'local' });
  return { ...run, session, data: run.source! };
}

async function take(records: AsyncIterable<StepRecord>, n = Number.POSITIVE_INFINITY): Promise<StepRecord[]> {
  const taken: StepRecord[] = [];
  for await (const record of records) if (taken.push(record) === n) break;
  return taken;
}

describe('train', () => {
  it('yields one record a step, epochs counted, the smaller last batch included', async () => {
    const { session, data, steps, learningRate } = await open({
      learningRate: { kind: 'step', stepSize: 20, gamma: 0.5 },
    });
    await using _ = session;
    expect(steps).toBe(30); // 29 · 60 + 57
    const records = await take(train({ session, data, steps: 31, learningRate }));
    expect(records.map((r) => r.step)).toEqual(Array.from({ length: 31 }, (_, i) => i));
    expect(records.map((r) => r.epoch)).toEqual([...new Array(30).fill(0), 1]);
    expect(records.map((r) => r.lr).slice(18, 22)).toEqual([0.1, 0.1, 0.05, 0.05]);
    expect(records.at(-1)!.loss).toBeLessThan(records[0]!.loss);
    for (const { busySeconds, bubbleFraction, seconds } of records) {
      expect(bubbleFraction).toBeCloseTo(1 - (busySeconds[0]! + busySeconds[1]!) / (2 * seconds), 12);
    }
  });

  it('may be left early', async () => {
    const { session, data } = await open();
    await using _ = session;
    const [first] = await take(train({ session, data, steps: 100 }), 1);
    const [again] = await take(train({ session, data, steps: 100 }), 1);
    expect(again!.loss).toBeLessThan(first!.loss); // the same batch behind one update
  });

  it('throws on an abort between steps, and the session holds what the last whole step left', async () => {
    const { session, data } = await open();
    await using _ = session;
    const controller = new AbortController();
    const steps: number[] = [];
    const run = async () => {
      for await (const { step } of train({ session, data, steps: 100, signal: controller.signal })) {
        steps.push(step);
        if (step === 2) controller.abort(new Error('enough'));
      }
    };
    await expect(run()).rejects.toThrow(expect.objectContaining({ message: expect.stringContaining('enough') }));
    expect(steps).toEqual([0, 1, 2]);
    const again = await open();
    await using other = again.session;
    for await (const _ of train({ session: other, data: again.data, steps: 3 }));
    expect(await session.parameters()).toEqual(await other.parameters());
  });

  it.each([-1, 1.5, Number.NaN])('refuses %d steps', async (steps) => {
    const { session, data } = await open();
    await using _ = session;
    await expect(take(train({ session, data, steps }))).rejects.toThrow(
      expect.objectContaining({ code: 'steps-range', fields: { steps } }),
    );
  });

  it("reads the next batch while a step runs, the rate when its step begins; what fails is the failing step's", async () => {
    const { session, data } = await open();
    await using _ = session;
    const events: string[] = [];
    const source = {
      ...data,
      batchAt: (step: number) => {
        events.push(`batch ${step}`);
        if (step === 2) throw new Error('the disk is gone');
        return data.batchAt(step);
      },
    };
    const learningRate = (step: number) => {
      events.push(`rate ${step}`);
      return 0.1;
    };
    const run = async () => {
      for await (const { step } of train({ session, data: source, steps: 3, learningRate }))
        events.push(`record ${step}`);
    };
    await expect(run()).rejects.toThrow('the disk is gone');
    expect(events).toEqual(['batch 0', 'rate 0', 'batch 1', 'record 0', 'rate 1', 'batch 2', 'record 1']);
    expect((await session.parameters()).size).toBeGreaterThan(0); // both steps are whole, and may be read
  });

  it.each([
    ['rate that ran out', { learningRate: (k: number) => [0.1, 0.1][k]! }, 'learningRate(2) is undefined'],
    ['rate that is no number', { learningRate: (k: number) => 0.1 / (k - 2) }, 'learningRate(2) is Infinity'],
    ['momentum that is no number', { momentum: (k: number) => (k === 2 ? Number.NaN : 0.9) }, 'momentum(2) is NaN'],
  ])('refuses a %s before its step: the parameters stay whole', async (_, rules, message) => {
    const { session, data } = await open({
      optimizer: { kind: 'sgd', momentum: 0.9 },
      learningRate: { kind: 'oneCycle', maxLr: 0.1, totalSteps: 4 },
      steps: 4,
    });
    await using _session = session;
    const seen: number[] = [];
    const run = async () => {
      for await (const { step } of train({ session, data, steps: 4, ...rules })) seen.push(step);
    };
    await expect(run()).rejects.toMatchObject({ code: 'rate-not-finite', message: expect.stringContaining(message) });
    expect(seen).toEqual([0, 1]);
    for (const { data } of (await session.parameters()).values()) expect([...data].every(Number.isFinite)).toBe(true);
    expect(await take(train({ session, data, steps: 1 }))).toHaveLength(1);
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY, 1e39])('a step by the rate %d changes nothing', async (lr) => {
    const { session, data } = await open();
    await using _ = session;
    const bits = async () =>
      [...(await session.parameters()).values()].map((t) => Buffer.from(t.data.buffer).toString('hex'));
    const { tensors } = data.batchAt(0);
    await session.run('train', tensors);
    const before = await bits();
    await expect(session.run('train', tensors, { lr })).rejects.toMatchObject({ code: 'rate-not-finite' });
    expect(await bits()).toEqual(before);
    await session.run('train', tensors, { lr: 0.1 });
    expect(await bits()).not.toEqual(before);
  });

  it.each([
    ['a promise', async () => ({ tensors: {}, epoch: 0 })],
    ['object without tensors', () => ({ x: 1 })],
    ['undefined without tensors', () => undefined],
    ['null', () => null],
  ])('refuses %s where a batch is asked for', async (got, batchAt) => {
    const { session } = await open();
    await using _ = session;
    const data = { name: 'mine', steps: 3, stepsPerEpoch: 3, batchAt: batchAt as never };
    await expect(take(train({ session, data, steps: 1 }))).rejects.toMatchObject({
      code: 'source-batch',
      message: `mine: batchAt(0) must return {tensors, epoch}, and returned ${got}`,
    });
  });

  it.each([
    ['a rate that is no function', { learningRate: 0.1 }, 'learningRate must be a function of the step, and is 0.1'],
    ['a list of batches', { data: [] }, 'data must be a source of batches, and is a list'],
    ['a data set', { data: openDataset({ kind: 'digits' }) }, 'data must be a source of batches, and is a data set'],
    ['no source', { data: null }, 'data must be a source of batches, and is null'],
  ])('refuses %s, and the session lives on', async (_, options, message) => {
    const { session, data } = await open();
    await using _session = session;
    await expect(take(train({ session, data, steps: 1, ...(options as object) }))).rejects.toMatchObject({
      code: 'options-invalid',
      message: expect.stringContaining(message),
    });
    expect(await take(train({ session, data, steps: 1 }))).toHaveLength(1);
  });

  it.each([
    ['an array', (t: HostTensor) => t.data, 'input x is no tensor'],
    ['too few values', (t: HostTensor) => ({ ...t, data: t.data.subarray(1) }), 'and was given 3839 in a Float32Array'],
    ['values of another type', (t: HostTensor) => ({ ...t, data: Float64Array.from(t.data) }), 'in a Float64Array'],
    ['bytes', (t: HostTensor) => ({ ...t, data: new Uint8Array(t.data.buffer) }), 'in a Uint8Array'],
  ])('refuses a batch with %s: nothing of the batch before is taken for it', async (_, change, message) => {
    const { session, data } = await open();
    await using _session = session;
    const source = {
      ...data,
      batchAt: (step: number) => {
        const batch = data.batchAt(step);
        return step === 0
          ? batch
          : { ...batch, tensors: { ...batch.tensors, x: change(batch.tensors.x!) as HostTensor } };
      },
    };
    const seen: number[] = [];
    const run = async () => {
      for await (const { step } of train({ session, data: source, steps: 2 })) seen.push(step);
    };
    await expect(run()).rejects.toMatchObject({ code: 'feed-value', message: expect.stringContaining(message) });
    expect(seen).toEqual([0]);
  });

  it('evaluates with a method of its object', async () => {
    class Own {
      readonly every = 1;
      #calls = 0;
      async evaluate() {
        return { samples: 1, loss: ++this.#calls };
      }
    }
    const { session, data } = await open();
    await using _ = session;
    const records = await take(train({ session, data, steps: 2, evaluation: new Own() }));
    expect(records.map((r) => r.evaluation?.loss)).toEqual([1, 2]);
  });

  it.each([0, -1, 1.5, Number.NaN])('refuses an evaluation behind every %s steps', async (every) => {
    const { session, data } = await open();
    await using _ = session;
    const evaluation = { evaluate: () => expect.fail('nothing is evaluated'), every };
    await expect(take(train({ session, data, steps: 1, evaluation }))).rejects.toMatchObject({
      code: 'evaluation-every',
    });
  });

  it('asks for no batch behind the last step', async () => {
    const { session, data } = await open();
    await using _ = session;
    const asked: number[] = [];
    const source = { ...data, batchAt: (step: number) => data.batchAt(asked.push(step) - 1) };
    await take(train({ session, data: source, steps: 2 }));
    expect(asked).toEqual([0, 1]);
  });

  it('refuses more steps than the data hold before the first', async () => {
    const { session } = await open();
    await using _ = session;
    const data = { name: 'three', steps: 3, stepsPerEpoch: 3, batchAt: () => expect.fail('no batch is asked for') };
    await expect(take(train({ session, data, steps: 4 }))).rejects.toThrow(
      expect.objectContaining({ code: 'data-exhausted' }),
    );
  });
});

describe('evaluation', () => {
  it('is over all held-out samples: loss and accuracy do not depend on the batches', async () => {
    const results = [];
    for (const batchSize of [100, 59, 449]) {
      const { session, evaluation } = await open({ data: { kind: 'digits', batchSize }, eval: { fraction: 0.25 } });
      await using _ = session;
      results.push(await evaluation!.evaluate(session));
    }
    const [first] = results;
    expect(first!.samples).toBe(449);
    for (const r of results) {
      expect(r).toMatchObject({ samples: 449, accuracy: first!.accuracy });
      expect(r.loss).toBeCloseTo(first!.loss, 6);
    }
  });

  it('changes no parameter', async () => {
    const { session, evaluation, data } = await open({ eval: { fraction: 0.1 } });
    await using _ = session;
    await take(train({ session, data, steps: 1 }));
    const before = await session.parameters();
    const record = await evaluation!.evaluate(session);
    expect(await session.parameters()).toEqual(before);
    expect(await evaluation!.evaluate(session)).toEqual(record);
  });

  it('of values has rmse and mae, of binary targets accuracy, over all held-out elements', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'partita-metrics-'));
    const rows = Array.from({ length: 10 }, (_, i) => [Math.sin(i), Math.cos(3 * i), i % 3 === 0 ? 1 : 0]);
    const file = join(folder, 'rows.csv');
    writeFileSync(file, rows.map((row) => `${row.join()}\n`).join(''));
    const model = { kind: 'mlp', hidden: [3] };
    const data = { kind: 'csv', file, task: 'values', batchSize: 4 };
    const outputsOf = async (kind: 'mse' | 'bceWithLogits') => {
      const objective = [{ kind, output: 'logits', target: 'y' }];
      const { session, evaluation, heldOut } = await open({
        model,
        data,
        objective,
        eval: { data: { kind: 'csv', file, task: 'values' } },
      });
      await using _ = session;
      // The reference sees the same outputs, batch by batch: 4, 4 and 2 samples.
      const pairs: [number, number][] = [];
      for (const { tensors } of heldOut!.batches) {
        const batch = { epoch: 0, step: 0, tensors: tensors() };
        const { results } = await session.run(programFor(session.plan, 'forward', batch), batch.tensors);
        const output = results.get('output/logits')!.data;
        pairs.push(...Array.from(batch.tensors.y!.data, (y, i): [number, number] => [output[i]!, y]));
      }
      expect(pairs).toHaveLength(10);
      return { pairs, record: await evaluation!.evaluate(session) };
    };
    const { pairs, record } = await outputsOf('mse');
    const mean = (of: (d: number) => number) => pairs.reduce((sum, [o, y]) => sum + of(o - y), 0) / 10;
    expect(record.rmse).toBeCloseTo(Math.sqrt(mean((d) => d * d)), 12);
    expect(record.mae).toBeCloseTo(mean(Math.abs), 12);
    // The mean over samples, batches of 4, 4 and 2 weighted by their sizes.
    expect(record.loss).toBeCloseTo(record.rmse! ** 2, 6);
    expect(record).not.toHaveProperty('accuracy');
    const binary = await outputsOf('bceWithLogits');
    expect(binary.record.accuracy).toBe(binary.pairs.filter(([o, y]) => o >= 0 === (y === 1)).length / 10);
    expect(binary.record).not.toHaveProperty('rmse');
  });

  it('leaves ignored targets out of loss and accuracy', async () => {
    const objective = [{ kind: 'crossEntropy', output: 'logits', target: 'y', ignoreIndex: 3 }];
    const { session, evaluation, heldOut } = await open({ objective, eval: { fraction: 0.3 } });
    await using _ = session;
    const { accuracy } = await evaluation!.evaluate(session);
    const counted = heldOut!.batches
      .flatMap(({ tensors }) => [...tensors().y!.data])
      .filter((label) => label !== 3).length;
    expect(accuracy! * counted).toBeCloseTo(Math.round(accuracy! * counted), 6);
  });
});

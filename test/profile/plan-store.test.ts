import { mkdirSync, mkdtempSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { measuredCosts } from '../../src/cost/machine.ts';
import { analyticCosts } from '../../src/cost/model.ts';
import { newProfile, profiledCosts } from '../../src/cost/profile.ts';
import { Graph } from '../../src/graph/graph.ts';
import { printGraph } from '../../src/graph/print.ts';
import { cast } from '../../src/ops/compare.ts';
import { mul, relu, tanh } from '../../src/ops/elementwise.ts';
import { matmul } from '../../src/ops/matmul.ts';
import { topK } from '../../src/ops/order.ts';
import type { Model } from '../../src/optim/model.ts';
import { makeOptimizer } from '../../src/optim/optimizer.ts';
import { PlanCache } from '../../src/plan/cache.ts';
import { contentOf } from '../../src/plan/content.ts';
import { makePlan, type Plan, type PlanRequest } from '../../src/plan/plan.ts';
import { writePlanFile } from '../../src/plan/plan-file.ts';
import { planOfStored, storedPlanOf } from '../../src/plan/stored-plan.ts';
import { PlanStore, type PlanStoreOptions } from '../../src/profile/plan-store.ts';
import { makeSchedule } from '../../src/schedule/index.ts';
import { someMachine } from '../cost/machine.ts';
import { smallModelKinds, smallModels } from '../support/built-in.ts';
import { planOf, squaredError, threeLayers } from '../support/models.ts';
import { randomModel } from '../support/random-model.ts';

const temporary = () => mkdtempSync(join(tmpdir(), 'partita-plans-'));
const storeIn = (folder: string | undefined, options: PlanStoreOptions = {}) =>
  new PlanStore(folder, { worthSeconds: 0, planner: 'test', ...options });
const entriesOf = ({ folder }: PlanStore): string[] => readdirSync(folder!).sort();

const devices = (count: number, memory: number | null = null): PlanRequest['devices'] =>
  Array.from({ length: count }, () => ({ backend: 'wasm', memory, speed: 1 }) as const);
const base: PlanRequest = {
  ...planOf(threeLayers, { devices: 2, schedule: 'gpipe' }).request,
  microbatches: 2,
  programs: { train: { batch: 8, mode: 'train' }, eval: { batch: 3, mode: 'forward', outputs: true } },
};

/** All but the graphs, which hold functions: they are compared as text. */
const valuesOf = ({ graphs, request, constants, partition, ...rest }: Plan) => ({
  ...rest,
  // How long it took is no decision.
  partition: { ...partition, objective: partition.objective && { ...partition.objective, seconds: 0 } },
  constants: [...constants],
  request: JSON.stringify({ ...request, partition: null }),
});

function expectSame(again: Plan, plan: Plan): void {
  expect(valuesOf(again)).toEqual(valuesOf(plan));
  expect(writePlanFile(again, null)).toBe(writePlanFile(plan, null));
  for (const [name, graph] of Object.entries(plan.graphs))
    expect(printGraph(again.graphs[name]!)).toBe(printGraph(graph));
}

/** A search of no time to speak of. */
const narrow = { partitions: ['chain-time'], schedules: ['gpipe', '1f1b'], stagesPerDevice: [1] } as const;

const textOf = (request: PlanRequest): string | undefined =>
  contentOf(request, new PlanCache())?.map(String).join('\n');

/** x → activation(x·w) with a square weight, squared error. */
const oneLayer = (width: number, activation: typeof tanh, name = 'one layer'): Model => ({
  name,
  build: (batch) => {
    const graph = new Graph();
    const x = graph.input('x', { shape: [batch, width] });
    const t = graph.input('t', { shape: [batch, width] });
    const y = graph.output('y', activation(matmul(x, graph.parameter('w', [width, width], { kind: 'ones' }))));
    return { graph, objective: [{ loss: squaredError(y, t), weight: 1 }] };
  },
});

describe('plans kept between runs', () => {
  it('are the same in every field, whatever the model, the schedule and the memories', async () => {
    const store = storeIn(temporary());
    const schedules = ['gpipe', '1f1b', 'zb-h1', 'zb-v', 'interleaved-1f1b', 'auto'] as const;
    const recomputes = ['none', 'stage', 'selective', 'optimal'] as const;
    await fc.assert(
      fc.asyncProperty(
        fc.nat({ max: smallModelKinds.length }),
        fc.constantFrom(...schedules),
        fc.constantFrom(...recomputes),
        fc.integer({ min: 1, max: 4 }),
        fc.boolean(),
        async (kind, schedule, recompute, microbatches, isLimited) => {
          const model = kind === smallModelKinds.length ? randomModel(7) : smallModels[smallModelKinds[kind]!];
          const request = {
            ...base,
            model,
            schedule,
            recompute,
            microbatches,
            devices: devices(2, isLimited ? 65536 : null),
            fusion: microbatches % 2 === 0 ? ('on' as const) : ('off' as const),
          };
          const { plan } = await store.draft(request);
          const again = await store.draft(request);
          expect(again.cached).toBe(true);
          expectSame(again.plan, plan);
        },
      ),
      { numRuns: 8 },
    );
  });

  it('are of devices as the request has them, also where a file of a plan does not say so', async () => {
    const store = storeIn(temporary());
    // More than a WebAssembly memory addresses: only devices that are simulated have it.
    const simulated = devices(2, 8 * 2 ** 30).map((d, i) => ({ ...d, speed: 1 + i, simulated: true }));
    const request = { ...base, devices: simulated, simd: 'relaxed' as const };
    const { plan } = await store.draft(request);
    const again = await store.draft(request);
    expect(again.cached).toBe(true);
    expectSame(again.plan, plan);
  });

  it('are refused where what is made of them is not what is stored', () => {
    const stored = storedPlanOf(makePlan(base));
    const [first, ...others] = stored.file.devices;
    const device = { ...first!, plannedBytes: first!.plannedBytes! + 16 };
    const other = { ...stored, file: { ...stored.file, devices: [device, ...others] } };
    expect(() => planOfStored(base, stored)).not.toThrow();
    expect(() => planOfStored(base, other)).toThrow('the stored plan is not the plan of this experiment: device 0');
  });

  it('hold what a search has found, for the limits it had', async () => {
    const store = storeIn(temporary());
    const options = { ...narrow, evaluations: 4, microbatches: [1, 2] };
    const first = await store.search(base, options);
    expect(first.cached).toBe(false);
    const again = await store.search(base, options);
    expect(again.cached).toBe(true);
    expectSame(again.found.plan, first.found.plan);
    expect({ ...again.found, plan: null }).toEqual({ ...first.found, plan: null });
    // Those that are told apart by being the same: the best, and those of the Pareto front.
    expect(again.found.evaluated).toContain(again.found.best);
    for (const one of again.found.pareto) expect(again.found.evaluated).toContain(one);
    expect((await store.search(base, { ...options, evaluations: 5 })).cached).toBe(false);
    const { signal } = new AbortController();
    expect((await store.search(base, { ...options, signal })).cached).toBe(true);
    expect((await store.draft(base)).cached).toBe(false);
  });

  it("are not kept of a search that has plans tried: what steps take is this machine's, now", async () => {
    const store = storeIn(temporary());
    let sign = 1;
    const time = vi.fn(async (plans: readonly Plan[]) =>
      plans.map((_, i) => ({ stepSeconds: 10 + sign * i, mad: 0.5, turns: 2 })),
    );
    const options = { ...narrow, evaluations: 4, microbatches: [1, 2], trials: { plans: 3, time } };
    const first = await store.search(base, options);
    sign = -1;
    const again = await store.search(base, options);
    expect([first.cached, again.cached]).toEqual([false, false]);
    expect(again.found.best).not.toEqual(first.found.best);
    expect((await store.search(base, { ...options, trials: undefined })).cached).toBe(false);
  });

  it('are not kept of a search that was interrupted', async () => {
    const store = storeIn(temporary());
    const stop = new AbortController();
    const options = { ...narrow, microbatches: [1, 2], signal: stop.signal, onEvaluated: () => stop.abort() };
    expect((await store.search(base, options)).found.interrupted).toBe(true);
    expect((await store.search(base, { ...options, signal: new AbortController().signal })).cached).toBe(false);
  });

  // A key that a request gets one day does not compile without its line.
  const changes: { readonly [K in keyof Required<PlanRequest>]: readonly Partial<PlanRequest>[] } = {
    model: [{ model: { ...threeLayers, name: 'another' } }, { model: smallModels.mlp }, { model: oneLayer(4, tanh) }],
    programs: [
      { programs: { train: { batch: 6, mode: 'train' } } },
      { programs: { train: { batch: 8, mode: 'train' } } },
      { programs: { ...base.programs, eval: { batch: 4, mode: 'forward', outputs: true } } },
      { programs: { ...base.programs, train: { batch: 8, mode: 'train', gradientNorm: true } } },
    ],
    microbatches: [{ microbatches: 1 }, { microbatches: 4 }],
    devices: [
      { devices: devices(1) },
      { devices: devices(2, 64 * 2 ** 20) },
      { devices: [base.devices[0]!, { ...base.devices[1]!, speed: 2 }] },
      { devices: devices(2).map((d) => ({ ...d, backend: 'reference' as const })) },
      { devices: devices(2).map((d) => ({ ...d, simulated: true })) },
    ],
    schedule: [{ schedule: '1f1b' }, { schedule: makeSchedule('gpipe', { stages: 2, devices: 2, microbatches: 2 }) }],
    partition: [
      { partition: { balance: 'memory' } },
      { partition: { balance: 'parameters' } },
      { partition: { cuts: ['relu'] } },
    ],
    placement: [{ placement: [1, 0] }],
    stagesPerDevice: [{ stagesPerDevice: 1 }],
    decided: [{ decided: {} }],
    stageSeconds: [{ stageSeconds: [1, 2].map((F) => ({ F, B: F, W: F })) }],
    optimizer: [
      { optimizer: makeOptimizer({ kind: 'adam', lr: 0.1 }) },
      { optimizer: makeOptimizer({ kind: 'sgd', lr: 0.1, momentum: 0.9 }) },
    ],
    clip: [{ clip: { globalNorm: 1 } }, { clip: { globalNorm: 2 } }],
    l2: [{ l2: { lambda: 0.5, parameters: ['a'] } }, { l2: { lambda: 0.25, parameters: ['a'] } }],
    recompute: [{ recompute: 'stage' }, { recompute: 'selective' }],
    batchNorm: [{ batchNorm: 'deferred' }],
    inputGradients: [{ inputGradients: true }],
    simd: [{ simd: 'relaxed' }],
    fusion: [{ fusion: 'on' }],
    blas: [{ blas: { file: '/lib/b.so', version: '1' } }, { blas: { file: '/lib/b.so', version: '2' } }],
    invariant: [{ invariant: true }],
    lifetimes: [{ lifetimes: 'plain' }],
    costs: [
      { costs: analyticCosts({ link: { bytesPerSecond: 1e9, secondsLatency: 1e-6 } }) },
      { costs: analyticCosts({ link: (from) => ({ bytesPerSecond: 1e9 + from, secondsLatency: 1e-6 }) }) },
      { costs: analyticCosts({ device: { flopsPerSecond: 1e9, bytesPerSecond: 1e9, secondsPerKernel: 0, speed: 1 } }) },
      { costs: measuredCosts(someMachine) },
      { costs: measuredCosts({ ...someMachine, secondsPerInstruction: 1 }) },
      { costs: measuredCosts({ ...someMachine, step: { ...someMachine.step, seconds: 1 } }) },
      { costs: profiledCosts(newProfile(someMachine, 1, {})) },
    ],
    cluster: [
      { cluster: { devices: devices(2), costs: analyticCosts() } },
      { cluster: { devices: devices(2), costs: measuredCosts(someMachine) } },
      {
        cluster: {
          devices: devices(2),
          costs: analyticCosts(),
          media: [{ name: 'bus', bytesPerSecond: 1, carries: () => true }],
        },
      },
      {
        cluster: {
          devices: devices(2),
          costs: analyticCosts(),
          media: [{ name: 'bus', bytesPerSecond: 1, carries: (a) => a > 0 }],
        },
      },
    ],
  };

  it('are told apart by every key of a request, and by every value of it', () => {
    const all = [{}, ...Object.values(changes).flat()].map((change) => textOf({ ...base, ...change }));
    expect(all).not.toContain(undefined);
    expect(new Set(all).size).toBe(all.length);
    const names = [oneLayer(4, tanh), oneLayer(4, relu), oneLayer(5, tanh)].map((model) => textOf({ ...base, model }));
    expect(new Set(names).size).toBe(3);
    // By what a graph knows beside its nodes, by values, and by which output of a node is read.
    const varied = ['plain', 'labelled', 'constant', 'indices'].map((what) => {
      const build: Model['build'] = (batch) => {
        const graph = new Graph();
        const t = graph.input('t', { shape: [batch, 2] });
        const wide = graph.input('x', { shape: [batch, 4] });
        const top = topK(wide, { k: 2 });
        const y = mul(what === 'indices' ? cast(top.indices, 'f32') : top.values, what === 'constant' ? 2 : 3);
        if (what === 'labelled') graph.label('outside', y);
        return {
          graph,
          objective: [{ loss: squaredError(mul(y, graph.parameter('w', [2], { kind: 'ones' })), t), weight: 1 }],
        };
      };
      return textOf({ ...base, model: { name: 'varied', build } });
    });
    expect(new Set(varied).size).toBe(4);
    fc.assert(
      fc.property(fc.nat(1000), fc.nat(1000), (a, b) => {
        const [one, other] = [a, b].map((seed) => textOf({ ...base, model: { ...randomModel(seed), name: 'random' } }));
        expect(textOf({ ...base, model: { ...randomModel(a), name: 'random' } })).toBe(one);
        // Few choices: different seeds may make the same graph, but then all of it.
        const nodes = (seed: number) =>
          randomModel(seed)
            .build(8)
            .graph.nodes.map((n) => [n.name, n.attrs, n.inputs.map(String), n.outputs.map(String)]);
        expect(one === other).toBe(JSON.stringify(nodes(a)) === JSON.stringify(nodes(b)));
      }),
      { numRuns: 20 },
    );
  });

  it('are not kept where costs are functions that nobody has described', async () => {
    const own = analyticCosts();
    const costs = { ...own, kernelSeconds: () => 1e-6 };
    expect(textOf({ ...base, costs })).toBeUndefined();
    // A description belongs to the function: what is taken over keeps it.
    expect(textOf({ ...base, costs: { ...own } })).toBe(textOf(base));
    const store = storeIn(temporary());
    await store.draft({ ...base, costs });
    expect((await store.draft({ ...base, costs })).cached).toBe(false);
  });

  it('are not found by another planner, nor kept where they are quickly made', async () => {
    const folder = temporary();
    await storeIn(folder).draft(base);
    expect((await storeIn(folder).draft(base)).cached).toBe(true);
    expect((await storeIn(folder, { planner: 'newer' }).draft(base)).cached).toBe(false);
    const quick = storeIn(temporary(), { worthSeconds: 60 });
    await quick.draft(base);
    expect((await quick.draft(base)).cached).toBe(false);
    expect((await new PlanStore(undefined, { worthSeconds: 0 }).draft(base)).cached).toBe(false);
  });

  it('are replaced where they are damaged, of another version, or of other code', async () => {
    const store = storeIn(temporary());
    const { plan } = await store.draft(base);
    const [name] = entriesOf(store);
    const file = join(store.folder!, name!);
    const whole = readFileSync(file, 'utf8');
    const [head, body] = whole.split('\n') as [string, string];
    const damaged = [
      '',
      whole.slice(0, whole.length / 2),
      whole.replace('"method"', '"mathod"'),
      `${head.replace('"version":2', '"version":1')}\n${body}`,
      `{}\n${body}`,
    ];
    for (const text of damaged) {
      writeFileSync(file, text);
      const { cached, plan: again } = await store.draft(base);
      expect(cached).toBe(false);
      expectSame(again, plan);
      expect(readFileSync(file, 'utf8').length).toBeGreaterThan(0.9 * whole.length);
      expect((await store.draft(base)).cached).toBe(true);
    }
    // Whole, but of another plan: a layout that is none of this program's is never taken.
    const other = storeIn(temporary());
    await other.draft({ ...base, microbatches: 4 });
    writeFileSync(file, readFileSync(join(other.folder!, entriesOf(other)[0]!)));
    const { cached, plan: again } = await store.draft(base);
    expect(cached).toBe(false);
    expectSame(again, plan);
  });

  it('go when there are too many, those first that were not used for longest', async () => {
    const folder = temporary();
    const store = storeIn(folder);
    const requests = [1, 2, 4].map((microbatches) => ({ ...base, microbatches }));
    const names: string[] = [];
    for (const [i, request] of requests.entries()) {
      await store.draft(request);
      const added = entriesOf(store).find((name) => !names.includes(name))!;
      names.push(added);
      utimesSync(join(store.folder!, added), 1000 + i, 1000 + i);
    }
    await store.draft(requests[0]!); // used now
    const bytes = (name: string) => readFileSync(join(store.folder!, name)).length;
    const mostBytes = names.reduce((sum, name) => sum + bytes(name), 0) + 100;
    await storeIn(folder, { mostBytes }).draft({ ...base, schedule: '1f1b' });
    const left = entriesOf(store);
    expect(left).toContain(names[0]);
    expect(left).not.toContain(names[1]);
  });

  it('go in the order of their use, the last that fit stay to the byte', async () => {
    // An entry says how long its partition took, whose digits are bytes: the clock stands, so that each has one size.
    const clock = vi.spyOn(performance, 'now').mockReturnValue(0);
    onTestFinished(() => clock.mockRestore());
    const folder = temporary();
    const store = storeIn(folder);
    for (const microbatches of [1, 2, 4]) await store.draft({ ...base, microbatches });
    const names = entriesOf(store);
    const bytes = names.map((name) => readFileSync(join(store.folder!, name)).length);
    names.forEach((name, i) => {
      utimesSync(join(store.folder!, name), 1000 + i, 1000 + i);
    });
    // Room for a new entry and for the two of those there that were used last, and not for a byte more.
    const again = temporary();
    const added = storeIn(again);
    await added.draft({ ...base, schedule: '1f1b' });
    const [own] = entriesOf(added);
    const mostBytes = readFileSync(join(added.folder!, own!)).length + bytes[1]! + bytes[2]!;
    await storeIn(folder, { mostBytes }).draft({ ...base, schedule: '1f1b' });
    expect(entriesOf(store)).toEqual([own!, names[1]!, names[2]!].sort());
  });

  it('are not kept where one is more than all may be, which stay', async () => {
    const folder = temporary();
    const store = storeIn(folder);
    await store.draft(base);
    const [name] = entriesOf(store);
    const { length } = readFileSync(join(store.folder!, name!));
    const small = storeIn(folder, { mostBytes: length });
    const large = { ...base, model: smallModels.gpt, microbatches: 4, programs: { train: base.programs.train! } };
    expect((await small.draft(large)).cached).toBe(false);
    expect((await small.draft(large)).cached).toBe(false);
    expect(entriesOf(store)).toEqual([name]);
  });

  it('clear away what killed processes left of theirs, and leave what living ones write', async () => {
    const store = storeIn(temporary());
    const [dead, living] = ['.a.json.999999999.0badcafe.tmp', `.a.json.${process.ppid}.0badcafe.tmp`];
    mkdirSync(store.folder!);
    for (const name of [dead, living]) writeFileSync(join(store.folder!, name), 'half');
    await store.draft(base);
    const left = entriesOf(store);
    expect(left).toHaveLength(2);
    expect(left).toContain(living);
    expect(left).not.toContain(dead);
  });

  it('stay whole when several write and read at once', async () => {
    const folder = temporary();
    const plans = await Promise.all(
      Array.from({ length: 6 }, () =>
        storeIn(folder)
          .draft(base)
          .then(({ plan }) => writePlanFile(plan, null)),
      ),
    );
    expect(new Set(plans)).toEqual(new Set([writePlanFile(makePlan(base), null)]));
    const store = storeIn(folder);
    expect(entriesOf(store)).toHaveLength(1);
    expect((await store.draft(base)).cached).toBe(true);
  });

  it('of a request or a search that is wrong say what they say without a folder', async () => {
    for (const folder of [undefined, temporary()]) {
      const store = storeIn(folder);
      const searched = (request: unknown, options?: unknown) =>
        store.search(request as PlanRequest, options as Parameters<PlanStore['search']>[1]);
      await expect(searched(base, null)).rejects.toThrow('searchPlan: options must be an object, got null');
      await expect(searched(undefined)).rejects.toThrow('searchPlan: options must be an object, got nothing');
      await expect(searched(base, { microbatches: [] })).rejects.toThrow('searchPlan: microbatches must be a list of');
      await expect(store.draft({ ...base, microbatches: 0 })).rejects.toMatchObject({ code: 'microbatches-range' });
    }
  });

  it('cost no more than a warning where the folder cannot be written', async () => {
    const folder = join(temporary(), 'file');
    writeFileSync(folder, '');
    const warnings: string[] = [];
    const { plan, cached } = await storeIn(folder, { warn: (w) => warnings.push(w) }).draft(base);
    expect(cached).toBe(false);
    expectSame(plan, makePlan(base));
    expect(warnings).toEqual([expect.stringMatching(/^cannot keep the plan: /)]);
  });
});

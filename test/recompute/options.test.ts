import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { byteSize } from '../../src/core/types.ts';
import { analyticCosts, nodeSeconds } from '../../src/cost/model.ts';
import type { Graph, Node, Tensor } from '../../src/graph/graph.ts';
import { rootOf } from '../../src/graph/values.ts';
import { modelOf } from '../../src/nn/models/index.ts';
import { ColumnList, RowList } from '../../src/partition/milp-rows.ts';
import { solveMilp } from '../../src/partition/milp-solver.ts';
import { stageMap } from '../../src/partition/stage-of.ts';
import { shapeOf } from '../../src/recompute/alike.ts';
import { cutRecompute } from '../../src/recompute/cut.ts';
import {
  recomputedStages,
  type StageForward,
  StageOptions,
  selectiveRecompute,
  sqrtRecompute,
  stageForwards,
  stageOptions,
  weigh,
  withRecompute,
} from '../../src/recompute/index.ts';
import { asksForward } from '../../src/recompute/stage-forward.ts';
import { smallModelKinds, smallModels } from '../support/built-in.ts';
import { planOf } from '../support/models.ts';
import { randomModel } from '../support/random-model.ts';

const onOne = (): number => 0;
const graphOf = (model: Parameters<typeof planOf>[0], batch = 4): Graph => planOf(model, { batch }).graphs.train!;
const forwardOf = (graph: Graph): StageForward => stageForwards(graph, onOne).get(0)!;

describe('the options of a stage', () => {
  it.each(smallModelKinds)('weigh what the rewritten graph of %s does', (kind) => {
    const graph = graphOf(smallModels[kind]);
    const forward = forwardOf(graph);
    const costs = analyticCosts();
    const options = stageOptions(forward, 3);
    for (const { recompute } of options.filter((_, i) => i % Math.ceil(options.length / 6) === 0)) {
      if (!recompute) continue;
      const again = withRecompute(graph, onOne, new Map([[0, recompute]]));
      const clones = again.nodes.filter((n) => n.recomputes);
      const { seconds, keptBytes, peakBytes } = weigh(forward, recompute);
      expect(seconds).toBeCloseTo(
        clones.reduce((sum, n) => sum + nodeSeconds(n, costs), 0),
        12,
      );
      // What arrives at the stage is kept beside what the choice keeps.
      const [report] = recomputedStages(again, onOne);
      const arriving = [...forward.values.values()].filter((v) => v.arrives && isRead(again, v.root.name));
      expect(report!.keptBytes).toBe(keptBytes + arriving.reduce((sum, v) => sum + v.bytes, 0));
      expect(peakBytes).toBe(peakOf(again, forward));
    }
  });

  it('begin with keeping everything, and need less the more time they take', () => {
    for (const kind of smallModelKinds) {
      const options = stageOptions(forwardOf(graphOf(smallModels[kind])), 4);
      expect(options.length).toBeGreaterThan(2);
      expect(options[0]).toMatchObject({ seconds: 0, recompute: undefined });
      options.slice(1).forEach((o, i) => {
        expect(o.seconds).toBeGreaterThan(options[i]!.seconds);
        expect(o.bytes).toBeLessThan(options[i]!.bytes);
      });
    }
  });

  it('are never slower than a checkpoint at every √n-th block, or the cheap again, in as much memory', () => {
    const chain = modelOf({ kind: 'mlp', inputs: 8, hidden: new Array<number>(16).fill(8), classes: 3 });
    for (const model of [chain, ...smallModelKinds.map((kind) => smallModels[kind])]) {
      const forward = forwardOf(graphOf(model));
      for (const inFlight of [1, 4]) {
        const options = stageOptions(forward, inFlight);
        for (const other of [sqrtRecompute(forward), selectiveRecompute(forward), { kept: new Set<string>() }]) {
          const { keptBytes, peakBytes, seconds } = weigh(forward, other);
          const within = options.filter((o) => o.bytes <= (inFlight - 1) * keptBytes + peakBytes);
          expect(Math.min(...within.map((o) => o.seconds))).toBeLessThanOrEqual(seconds);
        }
      }
    }
  });

  it('are on small graphs what HiGHS finds: least time for what many microbatches keep', async () => {
    let compared = 0;
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 1_000_000 }), async (seed) => {
        const forward = forwardOf(graphOf(randomModel(seed), 3));
        fc.pre([...forward.values.values()].filter((v) => !v.arrives).length <= 9);
        // So many in flight that the one which is gone back through does not count.
        const options = stageOptions(forward, 1e6);
        const least = new Map<number, number>();
        for (const { bytes, seconds } of options) {
          const kept = Math.floor(bytes / (1e6 - 1));
          least.set(kept, Math.min(seconds, least.get(kept) ?? Number.POSITIVE_INFINITY));
        }
        // The first few, and the last.
        for (const [budget, seconds] of [...least].filter((_, i) => i < 3 || i === least.size - 1)) {
          const found = await leastAgain(forward, budget);
          if (found === undefined) return;
          expect(seconds).toBeCloseTo(found, 9);
          compared++;
        }
      }),
      { numRuns: 5 },
    );
    expect(compared).toBeGreaterThan(3);
  });
});

describe('a cut', () => {
  it('has the least sum of bytes kept and prices of what runs again, of all sets of values, and of such runs least', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1_000_000 }), fc.constantFrom(0, 0.3, 1, 3, 20), (seed, factor) => {
        const forward = forwardOf(graphOf(randomModel(seed), 3));
        const made = [...forward.values.values()].filter((v) => !v.arrives);
        fc.pre(made.length <= 10);
        const bytes = made.reduce((sum, v) => sum + v.bytes, 0);
        const whole = forward.nodes.reduce((sum, n) => sum + forward.seconds(n), 0);
        const rate = (factor * bytes) / whole;
        const costOf = (kept: ReadonlySet<string>) => costsOf(forward, kept, rate);
        const all = Array.from({ length: 2 ** made.length }, (_, set) =>
          costOf(new Set(made.flatMap((v, i) => (Math.floor(set / 2 ** i) % 2 === 1 ? [v.root.name] : [])))),
        );
        const least = Math.min(...all.map(({ cost }) => cost));
        const found = costOf(cutRecompute(forward, (node) => rate * forward.seconds(node)).kept);
        expect(found.cost).toBeCloseTo(least, 6);
        const fastest = Math.min(...all.flatMap(({ cost, seconds }) => (cost <= least + 1e-6 ? [seconds] : [])));
        expect(found.seconds).toBeCloseTo(fastest, 12);
      }),
      { numRuns: 8 },
    );
  });
});

describe('stages that are alike', () => {
  /** A chain cut into stages of so many layers each, the stages from `wide` on of another width. */
  const cutByLayers = (stages: number, wide = stages, layers = 2) => {
    const hidden = Array.from({ length: layers * stages }, (_, i) => (i < layers * wide ? 8 : 12));
    const model = modelOf({ kind: 'mlp', inputs: 8, hidden, classes: 3 });
    const cuts = Array.from({ length: stages - 1 }, (_, i) => `layer.${layers * (i + 1)}`);
    const plan = planOf(model, { batch: 8, devices: stages, partition: { cuts }, microbatches: 2 });
    const graph = plan.graphs.train!;
    const stageOf = stageMap(graph, plan.partition);
    return { graph, stageOf, forwards: stageForwards(graph, stageOf) };
  };

  it('have the options of one of them, under their own names', () => {
    const { forwards } = cutByLayers(6);
    const options = new StageOptions();
    for (const [stage, forward] of forwards) {
      for (const inFlight of [1, 3]) {
        const own = stageOptions(forward, inFlight);
        expect(options.of(forward, inFlight), `stage ${stage}`).toEqual(own);
      }
    }
    const keys = [...forwards.values()].map((f) => shapeOf(f).key);
    // The first reads the batch, the last the targets.
    expect(new Set(keys.slice(1, -1)).size).toBe(1);
    expect(new Set(keys).size).toBe(3);
  });

  it('have those of a deep one too, with its blocks and what is retained in them under their own names', () => {
    const { forwards } = cutByLayers(4, 4, 12);
    const options = new StageOptions();
    const [, first, second, last] = [...forwards.values()];
    expect([first, second, last].map((f) => shapeOf(f!).key === shapeOf(first!).key)).toEqual([true, true, false]);
    // What comes from the stage before is not its own.
    expect([...second!.values.values()].flatMap((v) => (v.arrives ? [v.root.name] : []))).toEqual(['layer.23.relu']);
    options.of(first!, 1);
    const own = stageOptions(second!, 1);
    expect(options.of(second!, 1)).toEqual(own);
    expect(own.some((o) => o.recompute?.retained?.some((names) => names.size > 1))).toBe(true);
  });

  it('are not those of other sizes, times or readers', () => {
    const { forwards } = cutByLayers(6, 3);
    const keys = [...forwards.values()].map((f) => shapeOf(f).key);
    expect(keys[1]).toBe(keys[2]);
    expect(keys[4]).not.toBe(keys[1]);
    const forward = forwards.get(1)!;
    const slower = { ...forward, seconds: (n: Node) => 2 * forward.seconds(n) };
    expect(shapeOf(slower).key).not.toBe(shapeOf(forward).key);
    const unread = new Map([...forward.values].map(([t, v]) => [t, { ...v, backward: v.backward.slice(1) }]));
    expect(shapeOf({ ...forward, values: unread }).key).not.toBe(shapeOf(forward).key);
    expect(shapeOf({ ...forward, asking: forward.asking.slice(1) }).key).not.toBe(shapeOf(forward).key);
  });

  it('are rewritten alike: an option made for one runs again the same nodes of another', () => {
    const { graph, stageOf, forwards } = cutByLayers(5);
    const options = new StageOptions();
    const again = [1, 2, 3].map((stage) => {
      const { recompute } = options.of(forwards.get(stage)!, 2).at(-1)!;
      const rewritten = withRecompute(graph, stageOf, new Map([[stage, recompute!]]));
      return rewritten.nodes.filter((n) => n.recomputes).map((n) => n.op!.name);
    });
    expect(again[0]!.length).toBeGreaterThan(0);
    expect(again[1]).toEqual(again[0]);
    expect(again[2]).toEqual(again[0]);
  });
});

/** Of each value that is asked for, its bytes where it arrives or is kept, else the price of its node, which asks for what it reads. */
function costsOf({ values, seconds }: StageForward, kept: ReadonlySet<string>, rate: number) {
  const asked = new Set([...values.values()].filter((v) => v.backward.length > 0).map((v) => v.root));
  const runs = new Set<Node>();
  let bytes = 0;
  // A set is gone through to its end, with what is added meanwhile.
  for (const root of asked) {
    const value = values.get(root)!;
    if (value.arrives || kept.has(root.name)) bytes += value.bytes;
    else runs.add(root.node);
    if (runs.has(root.node)) for (const t of root.node.inputs) if (values.has(rootOf(t))) asked.add(rootOf(t));
  }
  const time = [...runs].reduce((sum, n) => sum + seconds(n), 0);
  return { cost: bytes + rate * time, seconds: time };
}

/** Bytes of kept values, from the start on, and of clones, from where they are made on, until their last reader: most at any time. */
function peakOf(graph: Graph, forward: StageForward): number {
  const kept = new Set([...forward.values.values()].filter((v) => !v.arrives).map((v) => v.root.name));
  const readers = graph.nodes.filter((n) => (n.recomputes || asksForward(n)) && !n.op!.alias);
  const lives = new Map<Tensor, { from: number; to: number }>();
  readers.forEach((node, at) => {
    for (const root of node.inputs.map(rootOf)) {
      if (lives.has(root)) lives.get(root)!.to = at;
      else if (root.node.pass === 0 && kept.has(root.name)) lives.set(root, { from: 0, to: at });
    }
    if (node.recomputes) for (const t of node.outputs) lives.set(t, { from: at, to: at });
  });
  const alive = (at: number): number =>
    [...lives].reduce((sum, [t, { from, to }]) => (from <= at && at <= to ? sum + byteSize(t.type) : sum), 0);
  return Math.max(...readers.map((_, at) => alive(at)));
}

/** Whether the backward pass reads a forward value, or makes a clone from it. */
const isRead = (graph: Graph, name: string): boolean =>
  graph.nodes.some(
    (n) => n.pass > 0 && n.region === 'micro' && !n.op?.accumulates && n.inputs.some((t) => rootOf(t).name === name),
  );

/** A MILP: which values are kept within a budget and which nodes run again, all that is asked for being there, in least time. */
async function leastAgain({ nodes, values, seconds }: StageForward, budget: number): Promise<number | undefined> {
  const columns = new ColumnList();
  const rows = new RowList();
  const runs = nodes.filter((n) => !n.op!.alias);
  const scale = 1e6;
  const total = columns.add(0, scale, false);
  const again = new Map(runs.map((n) => [n, columns.add(0, 1, true)]));
  const made = [...values.values()].filter((v) => !v.arrives);
  const kept = new Map(made.map((v) => [v.root, columns.add(0, 1, true)]));
  const sourceOf = (node: Node): number => again.get(node)!;
  // total = Σ seconds of what runs again, in µs
  rows.add([total, ...runs.map(sourceOf)], [1, ...runs.map((n) => -seconds(n) * 1e6)], 0, 0);
  rows.add(
    made.map((v) => kept.get(v.root)!),
    made.map((v) => v.bytes),
    0,
    budget,
  );
  for (const v of made) {
    const there = [kept.get(v.root)!, sourceOf(v.root.node)];
    if (v.backward.length > 0) rows.add(there, [1, 1], 1, 2);
    for (const reader of runs) {
      if (!reader.inputs.some((t) => rootOf(t) === v.root)) continue;
      rows.add([...there, sourceOf(reader)], [1, 1, -1], 0, 2);
    }
  }
  const answer = await solveMilp(
    { columns: columns.count, ...columns.data(), ...rows.data() },
    { deadline: performance.now() + 20_000, seed: 0 },
  );
  return answer === 'missing' ? undefined : answer.bound / 1e6;
}

import { describe, expect, it } from 'vitest';
import { defaultDevice } from '../../src/cost/analytic.ts';
import { described } from '../../src/cost/described.ts';
import { analyticCosts, type CostModel } from '../../src/cost/model.ts';
import type { Graph, Node, Tensor } from '../../src/graph/graph.ts';
import type { Source } from '../../src/graph/source.ts';
import { PlanCache } from '../../src/plan/cache.ts';
import { contentOf } from '../../src/plan/content.ts';
import { graphsOf } from '../../src/plan/graphs.ts';
import type { PlanRequest } from '../../src/plan/request.ts';
import type { Cluster } from '../../src/simulate/cluster.ts';
import { smallModels } from '../support/built-in.ts';
import { planOf } from '../support/models.ts';

// Whatever a graph tells of itself counts: two that differ in one field only have other contents.

type Loose<T> = { -readonly [K in keyof T]: T[K] };

const { request } = planOf(smallModels.mlp, { batch: 4, optimizer: { kind: 'sgd', lr: 0.1, momentum: 0.9 } });
const cache = new PlanCache();
const { largest: graph } = graphsOf(request, 'train', cache);
const textOf = (): string => contentOf(request, cache)!.map(String).join('\n');
const plain = textOf();

/** The content while `object` is another in one field. */
function changed<T extends object, K extends keyof T>(object: T, field: K, value: T[K]): string {
  const loose = object as Loose<T>;
  const had = Object.getOwnPropertyDescriptor(object, field);
  const before = object[field];
  loose[field] = value;
  try {
    return textOf();
  } finally {
    if (had) loose[field] = before;
    else delete loose[field];
  }
}

const node = graph.nodes.find((n) => n.op?.name === 'matmul' && n.pass === 0)!;
const parameter = graph.parameters[0]!.node;
const input = graph.nodes.find((n) => n.source?.kind === 'input' && n.source.feed?.kind === 'data')!;
const constant = graph.nodes.find((n) => n.source?.value)!;
const other = graph.nodes.find((n) => n.op && n.op !== node.op && n.inputs.length > 0)!;

/** A field that a node gets one day does not compile without its line. `null`: it says what others say already. */
const nodes: { readonly [K in keyof Required<Node>]: readonly [Node, Node[K]] | null } = {
  graph: null,
  id: null, // its line
  name: [node, 'another'],
  op: [node, other.op],
  source: [parameter, input.source],
  inputs: [node, node.inputs.toReversed()],
  outputs: [node, []],
  attrs: [node, { ...node.attrs, another: 1 }],
  region: [node, 'step'],
  origin: [node, other],
  pass: [node, 2],
  order: [node, 1],
  joins: [node, true],
  recomputes: [node, true],
};

const sources: { readonly [K in keyof Required<Source>]: readonly [Node, Source[K]] } = {
  kind: [parameter, 'buffer'],
  name: [parameter, 'another'],
  feed: [input, { kind: 'data', batchAxis: null }],
  init: [parameter, undefined], // what it begins with decides nothing, that it begins with something does
  frozen: [parameter, true],
  value: [constant, new Float32Array(constant.source!.value!.length).fill(7)],
};

describe('what a plan follows from', () => {
  it.each(Object.keys(nodes) as (keyof Node)[])('tells the %s of a node', (field) => {
    const change = nodes[field];
    if (change) expect(changed(change[0], field, change[1])).not.toBe(plain);
    expect(textOf()).toBe(plain);
  });

  it.each(Object.keys(sources) as (keyof Source)[])('tells the %s of a source', (field) => {
    const [of, value] = sources[field];
    expect(changed(of.source!, field, value)).not.toBe(plain);
    expect(textOf()).toBe(plain);
  });

  it('tells type and shape of every value, and which output of a node is read', () => {
    const [out] = node.outputs;
    for (const type of [
      { ...out!.type, dtype: 'i32' },
      { ...out!.type, shape: out!.shape.toReversed() },
    ] as const)
      expect(changed(out!, 'type', type)).not.toBe(plain);
    expect(changed(node.inputs[0]!, 'index', 1)).not.toBe(plain);
  });

  it("tells a graph's mode, results, labels, assignments, and gradients of the whole batch", () => {
    expect(changed(graph, 'mode', graph.mode === 'training' ? 'evaluation' : 'training')).not.toBe(plain);
    const [target, ...rest] = graph.assignments;
    expect(changed(graph, 'assignments', rest)).not.toBe(plain);
    expect(changed(graph, 'assignments', [{ ...target!, value: rest[0]!.value }, ...rest])).not.toBe(plain);
    expect(changed(graph, 'assignments', [{ ...target!, target: rest[0]!.target }, ...rest])).not.toBe(plain);
    const one = new Map([['one', node.outputs[0]!]]);
    expect(changed(graph, 'outputs', one)).not.toBe(changed(graph, 'outputs', new Map([...one].map(renamed))));
    expect(changed(graph, 'outputs', one)).not.toBe(changed(graph, 'outputs', new Map([['one', other.outputs[0]!]])));
    expect(changed(graph, 'labels', one)).not.toBe(changed(graph, 'labels', new Map([...one].map(renamed))));
    expect(changed(graph, 'labels', one)).not.toBe(plain);
    expect(changed(graph, 'gradientsOfWholeBatch', new Set(['x']))).not.toBe(plain);
  });

  it('tells the axis of the batch in a result, and whether it has an entry a microbatch', () => {
    expect(changed<Graph, 'batchAxisOf'>(graph, 'batchAxisOf', () => 7)).not.toBe(plain);
    const answers = [true, false].map((is) => changed<Graph, 'isPerMicrobatch'>(graph, 'isPerMicrobatch', () => is));
    expect(new Set(answers).size).toBe(2);
    expect(textOf()).toBe(plain);
  });

  it('tells numbers apart that JSON writes alike', () => {
    const texts = [0, -0, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, null, 'null'].map((value) =>
      changed(node, 'attrs', { value } as Node['attrs']),
    );
    expect(new Set(texts).size).toBe(texts.length);
    const lists = [
      ['a,b'],
      ['a', 'b'],
      [['a', 'b']],
      new Set(['a', 'b']),
      new Set(['c']),
      new Map([['a', 'b']]),
      { a: 'b' },
    ];
    const told = lists.map((value) => changed(node, 'attrs', { value } as unknown as Node['attrs']));
    expect(new Set(told).size).toBe(lists.length);
  });
});

describe('beside the graphs', () => {
  const devices = [0, 1].map(() => request.devices[0]!);
  const base = analyticCosts();
  const told = (change: Partial<PlanRequest>) =>
    contentOf({ ...request, devices, ...change }, cache)
      ?.map(String)
      .join('\n');
  const { kernelSeconds } = analyticCosts({ device: { ...defaultDevice, flopsPerSecond: 1 } });
  const far = { bytesPerSecond: 1, secondsLatency: 1 };
  /** Each differs from `base` in what it says of one thing, at times of the second device alone. */
  const others: readonly CostModel[] = [
    { ...base, source: 'another' },
    { ...base, kernelSeconds },
    {
      ...base,
      instructionSeconds: described(
        () => 1,
        () => 'one',
      ),
    },
    { ...base, stepSeconds: () => 0 },
    { ...base, stepSeconds: (count) => (count === 2 ? 1 : 0) },
    { ...base, startSeconds: () => 0 },
    { ...base, startSeconds: (device) => device },
    { ...base, link: () => far },
    { ...base, link: (from, to) => (from > to ? far : base.link(from, to)) },
  ];
  const clusters: readonly Cluster[] = [
    { devices, costs: base },
    { devices: devices.map((d) => ({ ...d, speed: 2 })), costs: base },
    ...others.map((costs) => ({ devices, costs })),
    ...['bus', 'card'].flatMap((name) =>
      [1, 2].flatMap((bytesPerSecond) =>
        [true, false].map((is) => ({ devices, costs: base, media: [{ name, bytesPerSecond, carries: () => is }] })),
      ),
    ),
  ];

  it('costs and clusters count by all that they answer', () => {
    const texts = [{}, ...others.map((costs) => ({ costs })), ...clusters.map((cluster) => ({ cluster }))].map(told);
    expect(texts).not.toContain(undefined);
    expect(new Set(texts).size).toBe(texts.length);
    expect(told({ costs: analyticCosts() })).toBe(told({}));
  });

  it('costs that nobody has described cannot be told, nor pairs of very many devices', () => {
    for (const undescribed of [{ kernelSeconds: () => 1 }, { instructionSeconds: () => 1 }]) {
      const costs = { ...base, ...undescribed };
      expect(told({ costs })).toBeUndefined();
      expect(told({ cluster: { devices, costs } })).toBeUndefined();
    }
    const many = (count: number) => told({ devices: Array.from({ length: count }, () => devices[0]!) });
    expect(many(256)).toBeDefined();
    expect(many(257)).toBeUndefined();
  });

  it('all numbers of microbatches count, with how the batch is cut, and the graphs of all sizes', () => {
    const uneven = { ...planOf(smallModels.mlp, { batch: 5 }).request, microbatches: 3 };
    const own = new PlanCache();
    const text = (...counts: number[]) => contentOf(uneven, own, counts)!.map(String).join('\n');
    // Chunks of two samples and one, both.
    expect(text(3)).not.toBe(text(4));
    expect(text(3)).not.toBe(text(3, 4));
    const before = text(3);
    const { nodes } = graphsOf(uneven, 'train', own).graphs.get(1)!;
    (nodes[0] as { name: string }).name = 'another';
    expect(text(3)).not.toBe(before);
  });
});

const renamed = ([name, tensor]: [string, Tensor]): [string, Tensor] => [`${name}!`, tensor];

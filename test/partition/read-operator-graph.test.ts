import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { FormatError } from '../../src/core/errors.ts';
import type { ForeignRequest } from '../../src/partition/foreign-graph.ts';
import { solvePlacement } from '../../src/partition/methods.ts';
import { readOperatorGraph } from '../../src/partition/read-operator-graph.ts';

const instance = (name: string): string =>
  readFileSync(new URL(`instances/operator-graphs/${name}.json`, import.meta.url), 'utf8');

interface NodeGiven {
  readonly id: number;
  readonly fpgaLatency?: number;
  readonly cpuLatency?: number;
  readonly size?: number;
  readonly isBackwardNode?: boolean | number;
  readonly colorClass?: number;
  readonly supportedOnFpga?: boolean | number;
}
type EdgeGiven = readonly [from: number, to: number, cost?: number];

const file = (nodes: readonly NodeGiven[], edges: readonly EdgeGiven[], more: object = {}): string =>
  JSON.stringify({
    maxFPGAs: 2,
    maxCPUs: 1,
    maxSizePerFPGA: 100,
    nodes: nodes.map((n) => ({ fpgaLatency: 1, cpuLatency: 10, size: 1, supportedOnFpga: 1, isBackwardNode: 0, ...n })),
    edges: edges.map(([sourceId, destId, cost = 1]) => ({ sourceId, destId, cost })),
    ...more,
  });

const read = (nodes: readonly NodeGiven[], edges: readonly EdgeGiven[], request?: ForeignRequest) =>
  readOperatorGraph(file(nodes, edges), 'g.json', request);

/** Groups of nodes that are one part. */
function partsOf(graph: ReturnType<typeof read>): string[] {
  const each = graph.problem.parts.map((_, p) => p);
  const groups = new Map<number, string[]>();
  for (const [id, part] of Object.entries(graph.assignmentOf(each)))
    groups.set(part, [...(groups.get(part) ?? []), id]);
  return [...groups.values()].map((g) => g.join(' ')).sort();
}

describe('operator graphs', () => {
  // Published optima; contiguous, without and with one CPU.
  it.each([
    ['layer/bert24_training', 41.7458, 41.7458],
    ['layer/resnet50_inference', 34.2229, 33.7747],
    ['op/bert_l-3_training', 65.3031, 65.3031],
  ])(
    '%s: the published optimum',
    async (name, alone, withCpu) => {
      for (const [cpus, optimum] of [
        [0, alone],
        [1, withCpu],
      ] as const) {
        const { problem } = readOperatorGraph(instance(name), name, { cpus });
        const { objective, lowerBound } = await solvePlacement(problem, { method: 'ideals' });
        expect(Math.abs(objective / optimum! - 1)).toBeLessThan(1e-5);
        expect(lowerBound).toBe(objective);
      }
    },
    30_000,
  );

  it('bert24_training on one device: the published sum', async () => {
    const { problem } = readOperatorGraph(instance('layer/bert24_training'), 'g.json');
    expect((await solvePlacement(problem, { method: 'single' })).objective).toBeCloseTo(217.813, 3);
  });

  it('takes devices and capacity from the file, CPUs from the request alone', () => {
    const devices = (request?: ForeignRequest) =>
      read([{ id: 1 }], [], request).problem.devices.map((d) => [d.kind, d.capacity]);
    expect(devices()).toEqual([
      ['accelerator', 100],
      ['accelerator', 100],
    ]);
    expect(devices({ devices: 1, cpus: 1, memory: 7 })).toEqual([
      ['accelerator', 7],
      ['cpu', Infinity],
    ]);
  });

  it('adds up a colour class, and forbids accelerators what one of its nodes cannot run there', () => {
    const { problem } = read(
      [
        { id: 1, colorClass: 5 },
        { id: 2 },
        { id: 3, colorClass: 5, isBackwardNode: 1, fpgaLatency: 4, cpuLatency: 40, size: 7 },
        { id: 4, supportedOnFpga: 0 },
      ],
      [
        [1, 2],
        [2, 3, 3],
        [2, 4, 3],
      ],
    );
    expect(problem.parts).toEqual([
      { name: '1 +1', work: 5, cpuWork: 50, bytes: 8 },
      { name: '2', work: 1, cpuWork: 10, bytes: 1 },
      { name: '4', work: Infinity, cpuWork: 10, bytes: 1 },
    ]);
    expect(problem.values).toEqual([
      { producer: 0, consumers: [1], cost: 1 },
      { producer: 1, consumers: [0, 2], cost: 3 },
    ]);
    // Only forward nodes are in order.
    expect(problem.edges).toEqual([
      [0, 1],
      [1, 2],
    ]);
  });

  it('moves nothing where moving costs nothing, and takes costs of one output as one only where they are', () => {
    const three = [{ id: 1 }, { id: 2 }, { id: 3 }];
    const values = (...edges: EdgeGiven[]) => read(three, edges).problem.values;
    expect(values([1, 2, 0], [1, 3, 0], [2, 3, 4])).toEqual([{ producer: 1, consumers: [2], cost: 4 }]);
    expect(values([1, 2, 1], [1, 3, 1 + 1e-9])).toHaveLength(1);
    expect(() => values([1, 2, 1], [1, 3, 1.001])).toThrow(/the output of node 1 costs 1.001 here and 1 on another/);
  });

  it('joins what takes no time beyond contiguity too, where nothing keeps parts apart: neither memory nor a device', () => {
    const chain: EdgeGiven[] = [
      [1, 2],
      [2, 3],
    ];
    const parts = (request: ForeignRequest, last: object = {}) =>
      partsOf(read([{ id: 1, fpgaLatency: 0, cpuLatency: 0 }, { id: 2 }, { id: 3, ...last }], chain, request));
    const anywhere = { contiguous: false, devices: 2 };
    expect(parts({ ...anywhere, memory: 3 })).toEqual(['1 2', '3']);
    expect(parts({ ...anywhere, memory: 2 })).toEqual(['1', '2', '3']);
    expect(parts({ ...anywhere, cpus: 1, memory: 3 }, { supportedOnFpga: 0 })).toEqual(['1', '2', '3']);
    expect(parts({ devices: 2, memory: 2 })).toEqual(['1 2', '3']);
  });

  it('takes a time without end as a device that cannot run the node, and a class that is null as none', async () => {
    const text = file(
      [
        { id: 1, fpgaLatency: 8888 },
        { id: 2, cpuLatency: 8888 },
      ],
      [[1, 2]],
    );
    const given = text.replaceAll('8888', '1e999').replaceAll('"size"', '"colorClass":null,"size"');
    const { problem, assignmentOf } = readOperatorGraph(given, 'given', { cpus: 1 });
    const { objective, deviceOf } = await solvePlacement(problem);
    expect(objective).toBe(10);
    expect(assignmentOf(deviceOf)[1]).toBe(2);
    expect([0, 1]).toContain(assignmentOf(deviceOf)[2]);
    const endless = file([{ id: 1, size: 8888 }], []).replace('8888', '1e999');
    expect(() => readOperatorGraph(endless, 'given')).toThrow('"size" must be a number of at least 0, got Infinity');
  });

  it('fuses classes in a circle where stages are contiguous, and only there', () => {
    const nodes = [{ id: 1, colorClass: 1 }, { id: 2 }, { id: 3, colorClass: 1 }, { id: 4 }];
    const edges: EdgeGiven[] = [
      [1, 2],
      [2, 3],
      [3, 4],
    ];
    expect(partsOf(read(nodes, edges))).toEqual(['1 2 3', '4']);
    const free = read(nodes, edges, { contiguous: false });
    expect(partsOf(free)).toEqual(['1 3', '2', '4']);
    expect(free.problem.edges).toHaveLength(2);
  });

  it('puts classes of backward nodes alone where their mirrored edges say', () => {
    const { problem } = read(
      [
        { id: 1, colorClass: 1 },
        { id: 2, colorClass: 2 },
        { id: 12, isBackwardNode: 1, colorClass: 2 },
        { id: 9, isBackwardNode: 1, colorClass: 9 },
        { id: 11, isBackwardNode: 1, colorClass: 1 },
      ],
      [
        [1, 2],
        [12, 9],
        [9, 11],
      ],
    );
    const name = (p: number): string => problem.parts[p]!.name;
    expect(problem.edges.map(([a, b]) => `${name(a)} → ${name(b)}`).sort()).toEqual([
      '1 +1 → 2 +1',
      '1 +1 → 9',
      '9 → 2 +1',
    ]);
  });

  it('joins what takes no time and hangs on one neighbour, again and again', () => {
    const idle = { fpgaLatency: 0, cpuLatency: 0 };
    const nodes = [{ id: 1, ...idle }, { id: 2, ...idle }, { id: 3 }, { id: 4, ...idle }, { id: 5 }];
    // 4 has two neighbours.
    expect(
      partsOf(
        read(nodes, [
          [1, 2],
          [2, 3],
          [3, 4],
          [4, 5],
        ]),
      ),
    ).toEqual(['1 2 3', '4', '5']);
    // A backward neighbour keeps it apart.
    const backward = { id: 6, isBackwardNode: 1 };
    expect(
      partsOf(
        read(
          [...nodes, backward],
          [
            [2, 3],
            [2, 6],
            [3, 4],
            [4, 5],
          ],
        ),
      ),
    ).toContain('2');
  });

  it.each([
    ['no JSON', '{', /is not JSON/],
    ['no nodes', '{}', /"nodes" must be a list/],
    ['an unknown id', file([{ id: 1 }], [[1, 2]]), /edges\[0\]: "destId" 2 is no node's id/],
    ['two equal ids', file([{ id: 1 }, { id: 1 }], []), /two nodes have the id 1/],
    ['a negative cost', file([{ id: 1 }, { id: 2 }], [[1, 2, -1]]), /"cost" must be a number of at least 0, got -1/],
    ['a time that is none', file([{ id: 1, fpgaLatency: -2 }], []), /node 1: "fpgaLatency" must be .* got -2/],
    [
      'two costs of one output',
      file(
        [{ id: 1 }, { id: 2 }, { id: 3 }],
        [
          [1, 2, 1],
          [1, 3, 2],
        ],
      ),
      /the output of node 1 costs 2 here and 1 on another edge/,
    ],
    [
      'a circle',
      file(
        [{ id: 1 }, { id: 2 }],
        [
          [1, 2],
          [2, 1],
        ],
      ),
      /circle among nodes 1, 2/,
    ],
    ['an edge to itself', file([{ id: 1 }], [[1, 1]]), /edges\[0\] leads from node 1 to itself/],
    [
      'backward to forward',
      file([{ id: 1, isBackwardNode: true }, { id: 2 }], [[1, 2]]),
      /from backward node 1 to forward node 2/,
    ],
    ['a flag that is none', file([{ id: 1, supportedOnFpga: 2 }], []), /"supportedOnFpga" must be true, false/],
  ])('refuses %s', (_, text, message) => {
    expect(() => readOperatorGraph(text, 'g.json')).toThrow(FormatError);
    expect(() => readOperatorGraph(text, 'g.json')).toThrow(message);
  });

  it('refuses more devices than there can be, as a file may ask for', () => {
    const nodes = [{ id: 1, fpgaLatency: 1, cpuLatency: 1, size: 1, supportedOnFpga: 1, isBackwardNode: 0 }];
    const text = JSON.stringify({ maxFPGAs: 2 ** 31, nodes, edges: [] });
    expect(() => readOperatorGraph(text, 'g.json')).toThrow(
      expect.objectContaining({
        code: 'too-many-devices',
        message: expect.stringContaining('g.json: 2147483648 devices'),
      }),
    );
  });

  it.each([
    [{ devices: 2 ** 17 }, '--devices 2'],
    [{ cpus: 70000 }, '--cpus 1'],
    [{ devices: 60000, cpus: 60000 }, '--devices 2'],
    [{ devices: 2, cpus: 2 ** 16 - 1 }, '--cpus 1'],
    [{ devices: 70000, cpus: 70000 }, '--devices 2 --cpus 1'],
    [{ devices: 70000, cpus: 80000 }, '--devices 2 --cpus 1'],
  ])('of too many devices, %j, names a number that there can be: %s', (asked, remedy) => {
    const one = (request: object) => read([{ id: 1 }], [], request);
    expect(() => one(asked)).toThrow(expect.objectContaining({ code: 'too-many-devices', remedy }));
    const flags = remedy.matchAll(/--(\w+) (\d+)/g);
    const obeyed = Object.fromEntries([...flags].map(([, name, value]) => [name, Number(value)]));
    expect(() => one({ ...asked, ...obeyed })).not.toThrow();
  });

  it('refuses to place anything on no device', () => {
    expect(() => read([{ id: 1 }], [], { devices: 0 })).toThrow(/no device/);
  });
});

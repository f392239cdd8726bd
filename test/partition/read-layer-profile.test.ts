import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { FormatError } from '../../src/core/errors.ts';
import { solvePlacement } from '../../src/partition/methods.ts';
import { readLayerProfile } from '../../src/partition/read-layer-profile.ts';

const profile = (name: string): string =>
  readFileSync(new URL(`instances/layer-profiles/${name}.txt`, import.meta.url), 'utf8');

const line = (id: string, figures: string, description = 'Linear(in=1, out=2)'): string =>
  `${id} -- ${description} -- ${figures}`;
const figures = (f: number, b: number, a: number | string, p: number): string =>
  `forward_compute_time=${f}, backward_compute_time=${b}, activation_size=${a}, parameter_size=${p}`;

const small = [
  line('node1', figures(900, 0, 5000, 0), 'Input0'),
  line('node2', figures(1.5, 2, '[1000; 24.0]', 10)),
  line('node3', figures(3, 4, 50, 20), 'a -- b'),
  line('node4', figures(7, 7, 7, 0), '__getitem__(1)'),
  '\tnode1 -- node2',
  '\tnode2 -- node3',
  '\tnode2 -- node4',
  '',
].join('\n');

describe('layer profiles', () => {
  // PipeDream's own optimizer, straight pipeline, seconds: with links of 10 GB/s, and without communication.
  it.each([
    ['alexnet', 2, 0.0431, 0.0431],
    ['alexnet', 4, 0.0322, 0.0287],
    ['alexnet', 8, 0.0322, 0.0287],
    ['vgg16', 2, 0.3709, 0.3709],
    ['vgg16', 4, 0.2356, 0.2165],
    ['vgg16', 8, 0.2356, 0.1595],
    ['resnet18', 2, 0.1302, 0.1302],
    ['resnet18', 4, 0.0718, 0.0695],
    ['resnet18', 8, 0.0584, 0.0352],
  ])("%s on %i devices: PipeDream's published bottleneck", async (name, devices, linked, free) => {
    for (const [linkBandwidth, published] of [
      [10e9, linked],
      [undefined, free],
    ] as const) {
      const { problem } = readLayerProfile(profile(name), name, { devices, linkBandwidth });
      for (const method of ['ideals', 'pipedream']) {
        const { objective } = await solvePlacement(problem, { method });
        expect(Math.abs(objective / 1000 - published)).toBeLessThan(1e-4);
      }
    }
  });

  it('reads times, lists of sizes and descriptions with anything in them; inputs have no part in it', () => {
    const { problem, assignmentOf } = readLayerProfile(small, 'p.txt', { devices: 2, linkBandwidth: 1000 });
    expect(problem.parts).toEqual([
      { name: 'node2', work: 3.5, bytes: 10, heldBytes: 1024 },
      { name: 'node3', work: 7, bytes: 20, heldBytes: 50 },
    ]);
    // There and back: 2 · 1024 bytes at 1000 bytes a second, in milliseconds.
    expect(problem.values).toEqual([{ producer: 0, consumers: [1], cost: 2048 }]);
    expect(problem.unit).toBe('ms');
    expect(assignmentOf([0, 1])).toEqual({ node1: 0, node2: 0, node3: 1, node4: 0 });
  });

  it('leaves out inputs that nothing leads to and items that nobody reads, and no others; they go with the first beside them', () => {
    const figuresInWords = `Layer(forward_compute_time=9) -- x`;
    const text = [
      line('a', figures(1, 0, 1, 0), figuresInWords),
      line('b', figures(2, 0, 1, 0), 'Input behind a layer'),
      line('c', figures(3, 0, 1, 0), '__getitem__(0)'),
      line('d', figures(4, 0, 1, 0)),
      line('in', figures(5, 0, 1, 0), 'Input0'),
      line('out', figures(6, 0, 1, 0), '__getitem__(1)'),
      ...['a -- b', 'b -- c', 'c -- d', 'in -- d', 'in -- c', 'd -- out', 'b -- out'].map((edge) => `\t${edge}`),
    ].join('\n');
    const { problem, assignmentOf } = readLayerProfile(text, 'p.txt', { devices: 4 });
    expect(problem.parts.map((p) => [p.name, p.work])).toEqual([
      ['a', 1],
      ['b', 2],
      ['c', 3],
      ['d', 4],
    ]);
    expect(problem.edges).toEqual([
      [0, 1],
      [1, 2],
      [2, 3],
    ]);
    expect(assignmentOf([0, 1, 2, 3])).toEqual({ a: 0, b: 1, c: 2, d: 3, in: 2, out: 1 });
  });

  it('holds activations for the microbatches of 1F1B where memory is limited', () => {
    const { devices } = readLayerProfile(small, 'p.txt', { devices: 3, memory: 5000 }).problem;
    expect(devices.map((d) => [d.capacity, d.inFlight])).toEqual([
      [5000, 3],
      [5000, 2],
      [5000, 1],
    ]);
  });

  it.each([
    ['nothing', '', /no line of a layer/],
    ['a line without figures', 'node1 -- Linear', /line 1: a layer is/],
    [
      'a missing figure',
      line('node1', 'forward_compute_time=1, activation_size=1'),
      /line 1: "backward_compute_time" .* got nothing/,
    ],
    ['a size that is none', line('node1', figures(1, 1, '[1; x]', 1)), /"activation_size" must be .* got \[1; x\]/],
    ['an unknown node', `${line('node1', figures(1, 1, 1, 1))}\n\tnode1 -- node7`, /line 2: there is no node7/],
    [
      'a circle',
      `${line('a', figures(1, 1, 1, 1))}\n${line('b', figures(1, 1, 1, 1))}\n\ta -- b\n\tb -- a`,
      /circle among a, b/,
    ],
    ['a node twice', `${line('a', figures(1, 1, 1, 1))}\n${line('a', figures(1, 1, 1, 1))}`, /line 2: a second a/],
  ])('refuses %s', (_, text, message) => {
    expect(() => readLayerProfile(text, 'p.txt')).toThrow(FormatError);
    expect(() => readLayerProfile(text, 'p.txt')).toThrow(message);
  });

  it('says ten things that are wrong, and how many more there are', () => {
    const broken = (count: number) =>
      [line('a', figures(1, 1, 1, 1)), ...Array.from({ length: count }, (_, i) => `node${i} -- Linear`)].join('\n');
    expect(() => readLayerProfile(broken(12), 'p.txt')).toThrow(/line 11: (?!.*line 12:).*\b2 more/s);
    expect(() => readLayerProfile(broken(10), 'p.txt')).toThrow(/line 11: (?!.* more)/s);
  });

  it('has no times of a CPU', () => {
    expect(() => readLayerProfile(small, 'p.txt', { cpus: 1 })).toThrow(/no times of a CPU/);
  });
});

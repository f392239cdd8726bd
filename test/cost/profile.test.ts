import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BRIEF_LOOK_SECONDS, LOOK_SECONDS } from '../../src/cost/analytic.ts';
import { type MachineCosts, measuredCosts, threadLink } from '../../src/cost/machine.ts';
import { type CostModel, type KernelRun, nodeSeconds } from '../../src/cost/model.ts';
import {
  kernelKey,
  mergeProfiles,
  missingKeys,
  newProfile,
  type Profile,
  profiledCosts,
  profileEntry,
  readProfile,
  sortedJson,
  writeProfile,
} from '../../src/cost/profile.ts';
import { Graph } from '../../src/graph/graph.ts';
import type { AttrValue } from '../../src/graph/op-record.ts';
import { matmul } from '../../src/ops/matmul.ts';
import { makePartition } from '../../src/partition/index.ts';
import { someMachine } from './machine.ts';

const machine: MachineCosts = someMachine;

const matmulRun = (m: number, k: number, n: number, attrs: KernelRun['signature']['attrs'] = {}): KernelRun => ({
  signature: {
    op: 'matmul',
    inputs: [
      { dtype: 'f32', shape: [m, k] },
      { dtype: 'f32', shape: [k, n] },
    ],
    outputs: [{ dtype: 'f32', shape: [m, n] }],
    attrs,
  },
  flops: 2 * m * k * n,
  bytes: 4 * (m * k + k * n + m * n),
});

function profileOf(...runs: (readonly [KernelRun, seconds: number])[]): Profile {
  const entries = runs.map(([run, seconds]) => {
    const entry = profileEntry(run, 'wasm', { seconds, samples: 3, mad: 0 });
    return [kernelKey(run.signature, 'wasm'), entry] as const;
  });
  return newProfile(machine, 1, Object.fromEntries(entries));
}

describe('kernel keys', () => {
  it('are what they were: a stored profile must be found again', () => {
    expect(kernelKey(matmulRun(2, 3, 4, { transposeB: true, axes: [1, { b: 1, a: null }] }).signature, 'wasm')).toBe(
      'wasm matmul(f32[2, 3], f32[3, 4]) -> f32[2, 4] {"axes":[1,{"a":null,"b":1}],"transposeB":true}',
    );
  });

  it('do not depend on the order of attributes, and tell everything else apart', () => {
    const { signature } = matmulRun(2, 3, 4, { a: 1, b: 2 });
    const key = kernelKey(signature, 'wasm');
    expect(kernelKey(matmulRun(2, 3, 4, { b: 2, a: 1 }).signature, 'wasm')).toBe(key);
    const others = [
      kernelKey(signature, 'reference'),
      kernelKey({ ...signature, op: 'add' }, 'wasm'),
      kernelKey(matmulRun(2, 3, 5, { a: 1, b: 2 }).signature, 'wasm'),
      kernelKey(matmulRun(2, 3, 4, { a: 1, b: 3 }).signature, 'wasm'),
      kernelKey({ ...signature, outputs: [{ dtype: 'i32', shape: [2, 4] }] }, 'wasm'),
      kernelKey({ ...signature, inputs: [] }, 'wasm'),
    ];
    expect(new Set([key, ...others]).size).toBe(7);
  });

  it('write any attributes as JSON that reads back', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 3 }), (value) => {
        expect(JSON.parse(sortedJson(value as AttrValue))).toEqual(JSON.parse(JSON.stringify(value)));
      }),
      { numRuns: 200 },
    );
  });
});

describe('profiled costs', () => {
  const costs = (profile: Profile, fallback?: CostModel) => profiledCosts(profile, fallback);

  it('are the measured seconds of a run that was timed', () => {
    const run = matmulRun(64, 64, 64);
    expect(costs(profileOf([run, 1.25e-3])).kernelSeconds(run, 'wasm')).toBe(1.25e-3);
  });

  it('tell runs of equal work apart by their shapes', () => {
    const [wide, tall] = [matmulRun(2, 8, 64), matmulRun(64, 8, 2)];
    const model = costs(profileOf([wide, 1e-3], [tall, 2e-3]));
    expect([wide, tall].map((run) => model.kernelSeconds(run, 'wasm'))).toEqual([1e-3, 2e-3]);
  });

  it('scale the nearest shape of the same op by the ratio of the rooflines', () => {
    const [small, large, asked] = [matmulRun(16, 16, 16), matmulRun(256, 256, 256), matmulRun(200, 256, 256)];
    const model = measuredCosts(machine);
    const expected = 7e-3 * (model.kernelSeconds(asked, 'wasm') / model.kernelSeconds(large, 'wasm'));
    expect(costs(profileOf([small, 1e-6], [large, 7e-3])).kernelSeconds(asked, 'wasm')).toBeCloseTo(expected, 15);
  });

  it('prefer equal attributes among shapes that are as near', () => {
    const [plain, other] = [matmulRun(64, 64, 64), matmulRun(64, 64, 64, { transposeA: true })];
    const profile = profileOf([plain, 1e-3], [other, 2e-3]);
    const model = costs(profile);
    const near = (attrs: KernelRun['signature']['attrs']) => model.kernelSeconds(matmulRun(64, 64, 65, attrs), 'wasm');
    expect(near({ transposeA: true }) / near({})).toBeCloseTo(2, 9);
  });

  it('are the fallback’s for other ops and backends, and for all that is no kernel', () => {
    const run = { ...matmulRun(8, 8, 8), signature: { ...matmulRun(8, 8, 8).signature, op: 'conv' } };
    const fallback = measuredCosts(machine);
    const model = costs(profileOf([matmulRun(8, 8, 8), 1]));
    expect(model.kernelSeconds(run, 'wasm')).toBe(fallback.kernelSeconds(run, 'wasm'));
    const matmulThere = matmulRun(8, 8, 8);
    expect(model.kernelSeconds(matmulThere, 'reference')).toBe(fallback.kernelSeconds(matmulThere, 'reference'));
    expect(model.instructionSeconds('wasm', 1000)).toBe(fallback.instructionSeconds('wasm', 1000));
    expect(model.link(0, 1)).toEqual({ ...machine.link, wakes: true, secondsLook: expect.any(Number) });
    const looks = (platform: string) =>
      threadLink({ ...machine, identity: { ...machine.identity, platform } }).secondsLook;
    // Only Linux tells whether others want the cores.
    expect([looks('linux x64'), looks('darwin arm64')]).toEqual([LOOK_SECONDS, BRIEF_LOOK_SECONDS]);
    expect(model.stepSeconds!(2)).toBe(machine.step.seconds);
    expect([0, 1, 3].map(model.startSeconds!)).toEqual([0, 1, 3].map((d) => d * machine.step.secondsPerDevice));
    const { secondsBetween, hostSeconds } = machine.step;
    // Of two cores, one device leaves the host one of its own.
    expect([1, 2, 3].map(model.betweenSteps!)).toEqual(
      [0, hostSeconds, hostSeconds].map((s) => ({ secondsBetween, hostSeconds: s })),
    );
    expect(model.source).toBe('profile');
  });

  it('decide where a partition cuts', () => {
    const graph = new Graph();
    let h = graph.input('x', { shape: [8, 8] });
    const nodes = [0, 1, 2, 3].map((i) => {
      h = matmul(h, graph.parameter(`w${i}`, [8, 8], { kind: 'zeros' }));
      return h.node;
    });
    graph.output('y', h);
    const signature = {
      op: 'matmul',
      inputs: nodes[0]!.inputs.map((t) => t.type),
      outputs: nodes[0]!.outputs.map((t) => t.type),
      attrs: nodes[0]!.attrs,
    };
    const run = { signature, flops: 2 * 8 ** 3, bytes: 4 * 3 * 64 };
    const model = costs(profileOf([run, 0.5]));
    expect(nodeSeconds(nodes[1]!, model)).toBe(0.5);
    const partition = makePartition(graph, 'auto', {
      stages: 2,
      exactly: true,
      microbatches: 1,
      costs: model,
      devices: [0, 1],
      speeds: [1, 1],
    });
    expect(partition.objective!.value).toBeGreaterThanOrEqual(1);
    expect(partition.objective!.value).toBeLessThan(1.01);
  });
});

describe('profile files', () => {
  const profile = profileOf([matmulRun(8, 8, 8), 1e-6], [matmulRun(4, 4, 4, { transposeA: true }), 2e-6]);

  it('read back as they were written, the same bytes whatever the order', () => {
    const text = writeProfile(profile);
    expect(readProfile(text, 'p.json')).toEqual(profile);
    const reversed = { ...profile, entries: Object.fromEntries(Object.entries(profile.entries).reverse()) };
    expect(writeProfile(reversed)).toBe(text);
  });

  it('merge: the newer entries win, the others stay', () => {
    const run = matmulRun(8, 8, 8);
    const merged = mergeProfiles(profile, profileOf([run, 9]));
    expect(Object.keys(merged.entries).length).toBe(2);
    expect(merged.entries[kernelKey(run.signature, 'wasm')]!.seconds).toBe(9);
    expect(missingKeys(merged, [[run, 'wasm']])).toEqual([]);
    expect(missingKeys(merged, [[run, 'reference']])).toEqual([kernelKey(run.signature, 'reference')]);
  });

  const broken: readonly (readonly [what: string, text: string, says: RegExp])[] = [
    ['no JSON', '{', /not JSON/],
    ['another format', '{"format": "partita-plan"}', /"format": "partita-profile"/],
    ['null', 'null', /"format"/],
    ['another version', JSON.stringify({ ...profile, version: 2 }), /version 2; this version of Partita reads 1/],
    ['a negative time', writeProfile(profileOf([matmulRun(8, 8, 8), -1])), /seconds/],
    [
      'a time beyond all machines',
      writeProfile(profileOf([matmulRun(8, 8, 8), 1e308])),
      /seconds: expected a number from 0/,
    ],
    // Under its own key, so that nothing else is wrong.
    ['attributes that are no JSON', writeProfile(profile).replaceAll('{}', '{'), /attrs/],
    ['no machine', JSON.stringify({ ...profile, machine: undefined }), /machine/],
    ['an unknown key', JSON.stringify({ ...profile, entires: {} }), /entires/],
    [
      'an entry under another key',
      writeProfile(profile).replace('"wasm matmul(f32[8, 8]', '"wasm matmul(f32[8, 9]'),
      /describes/,
    ],
  ];
  it.each(broken)('are refused by name: %s', (_, text, says) => {
    expect(() => readProfile(text, 'p.json')).toThrow(says);
    expect(() => readProfile(text, 'p.json')).toThrow(/^p\.json: /);
  });
});

// Every file of JSON that a command reads, with one thing wrong in it: refused with an error of ours that names the file and
// says what to do, or read.
import { createHash } from 'node:crypto';
import { cpSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { PartitaError } from '../../../src/core/errors.ts';
import { packageRoot } from '../../../src/core/package-root.ts';
import { profiledCosts, readProfile } from '../../../src/cost/profile.ts';
import { makeOptimizer } from '../../../src/optim/optimizer.ts';
import { readOperatorGraph } from '../../../src/partition/read-operator-graph.ts';
import { makePlan, type PlanRequest } from '../../../src/plan/plan.ts';
import { checkSamePlan, readPlanFile, withDecisions, writePlanFile } from '../../../src/plan/plan-file.ts';
import { readCluster, simulate } from '../../../src/simulate/index.ts';
import { readCheckpoint } from '../../../src/train/checkpoint/folder.ts';
import { parseExperiment } from '../../../src/train/experiment/parse.ts';
import { someMachine } from '../../cost/machine.ts';
import { threeLayers } from '../../support/models.ts';
import { run } from '../../train/checkpoint-runs.ts';
import { jsonMutants } from './json-mutants.ts';

const device = { backend: 'wasm', memory: null, speed: 1 } as const;
const request: PlanRequest = {
  model: threeLayers,
  programs: { train: { batch: 4, mode: 'train' }, last: { batch: 2, mode: 'train' } },
  microbatches: 2,
  devices: [device, device],
  schedule: 'auto',
  partition: { balance: 'time' },
  recompute: 'stage',
  optimizer: makeOptimizer({ kind: 'sgd', lr: 0.1 }),
};
const plan = makePlan(request);

const entry = {
  backend: 'wasm',
  op: 'neg',
  inputs: [{ dtype: 'f32', shape: [2] }],
  outputs: [{ dtype: 'f32', shape: [2] }],
  attrs: '{}',
  flops: 2,
  bytes: 16,
  seconds: 1e-6,
  samples: 3,
  mad: 1e-8,
};
const profile = {
  format: 'partita-profile',
  version: 1,
  busyDevices: 1,
  machine: someMachine,
  entries: { 'wasm neg(f32[2]) -> f32[2] {}': entry },
};
const cluster = {
  devices: [
    {
      count: 2,
      backend: 'wasm',
      speed: 1,
      memory: '64MiB',
      flopsPerSecond: 1e9,
      bytesPerSecond: 1e9,
      secondsPerKernel: 0,
    },
  ],
  groups: [
    { devices: 1, bandwidth: 1e9, latency: 1e-5, bus: 2e9, uplink: 1e9 },
    { bandwidth: 1e8, latency: 1e-4 },
  ],
};
const experiment = {
  model: { kind: 'gpt', context: 8, layers: 1, heads: 2, width: 8 },
  data: { kind: 'text', batchSize: 4, context: 8 },
  objective: [{ kind: 'crossEntropy', output: 'logits', target: 'y', weight: 1, ignoreIndex: -100 }],
  devices: [{ backend: 'wasm', memory: '8MiB', speed: 1 }],
  links: [{ from: 0, to: 1, bandwidth: 1e9, latency: 1e-6 }],
  partition: { cuts: ['blocks.0'], placement: [0, 1] },
  optimizer: { kind: 'adamw', lr: 0.01, betas: [0.9, 0.99], noDecay: ['b'] },
  learningRate: { kind: 'oneCycle', maxLr: 0.1, totalSteps: 10, anneal: 'cos' },
  clip: { globalNorm: 1 },
  l2: { lambda: 0.1, parameters: ['w'] },
  batchAxis: { logits: 0 },
  eval: { every: 1, fraction: 0.1 },
  checkpoint: { dir: 'c', every: 1 },
  sweep: { microbatches: [1, 2] },
};

function readPlan(text: string, where: string): void {
  const stored = readPlanFile(text, where);
  const again = makePlan(withDecisions(request, stored));
  checkSamePlan(again, stored, where);
}

const costs = profiledCosts(JSON.parse(JSON.stringify(profile)));

/** The plan's step on the cluster of the file: of times that are finite numbers. */
function simulated(text: string, where: string): void {
  const { devices, link, media } = readCluster(text, where);
  if (devices.length !== 2) return;
  const played = { devices, costs: { ...costs, ...(link ? { link } : {}) }, media };
  expect(Number.isFinite(simulate(plan.programs.train!, played).stepSeconds)).toBe(true);
}

function readCosts(text: string, where: string): void {
  const run = { signature: { ...entry, attrs: {} }, flops: 4, bytes: 32 };
  const seconds = profiledCosts(readProfile(text, where)).kernelSeconds(run as never, 'wasm');
  expect(seconds).toBeGreaterThanOrEqual(0);
  expect(Number.isFinite(seconds)).toBe(true);
}

const operators = readFileSync(join(packageRoot(), 'examples', 'placement', 'graph.json'), 'utf8');

interface Tried {
  readonly read: number;
  readonly refused: number;
  /** What is not an error of ours, or does not say enough. */
  readonly wrong: readonly string[];
}

/** `names`: whether what is made of the file names it too; makers of plans are told by whoever reads the file. */
function tried(
  good: string,
  where: string,
  read: (text: string, where: string) => void,
  names: 'always' | 'readers',
): Tried {
  const wrong: string[] = [];
  let [accepted, refused] = [0, 0];
  for (const { what, text } of jsonMutants(good)) {
    try {
      read(text, where);
      accepted++;
    } catch (error) {
      refused++;
      if (!(error instanceof PartitaError)) wrong.push(`${what}: ${(error as Error).stack?.slice(0, 300)}`);
      else if (!error.remedy) wrong.push(`${what}: no remedy: ${error.message}`);
      else if (/undefined|\[object/.test(error.message)) wrong.push(`${what}: ${error.message}`);
      else if (names === 'always' && !error.message.includes(where)) wrong.push(`${what}: no file: ${error.message}`);
    }
  }
  return { read: accepted, refused, wrong };
}

describe('a file with one thing wrong', () => {
  const cases = [
    ['plan', writePlanFile(plan, null), (text, where) => void readPlanFile(text, where), 'always', 300],
    ['plan that is made again', writePlanFile(plan, null), readPlan, 'readers', 700],
    ['cluster', JSON.stringify(cluster), simulated, 'always', 100],
    ['profile', JSON.stringify(profile), readCosts, 'always', 300],
    [
      'experiment',
      JSON.stringify(experiment),
      (text, where) => parseExperiment(JSON.parse(text), where),
      'always',
      700,
    ],
    ['operator graph', operators, (text, where) => void readOperatorGraph(text, where), 'always', 100],
  ] as const satisfies readonly (readonly [
    string,
    string,
    (text: string, where: string) => void,
    'always' | 'readers',
    number,
  ])[];
  it.each(cases)('is refused or read: %s', (name, good, read, names, least) => {
    const where = `${name.replaceAll(' ', '-')}.json`;
    expect(() => read(good, where)).not.toThrow();
    const own = name === 'experiment' ? withoutSyntax(read) : read;
    const { wrong, refused } = tried(good, where, own, names);
    expect(wrong).toEqual([]);
    expect(refused).toBeGreaterThan(least);
  });
});

/** An experiment's text is parsed by whoever reads it. */
const withoutSyntax = (read: (text: string, where: string) => void) => (text: string, where: string) => {
  try {
    JSON.parse(text);
  } catch {
    return;
  }
  read(text, where);
};

describe('a checkpoint', () => {
  let template: string;
  beforeAll(async () => {
    template = mkdtempSync(join(tmpdir(), 'partita-mutants-'));
    await run({}, { steps: 5, checkpoint: { dir: template, every: 5 } });
  });

  it('whose state has one thing wrong and a checksum that fits is refused or read', () => {
    const folder = join(mkdtempSync(join(tmpdir(), 'partita-mutants-')), 'step-5');
    cpSync(join(template, 'step-5'), folder, { recursive: true });
    const file = join(folder, 'state.json');
    const { state, ...guard } = JSON.parse(readFileSync(file, 'utf8'));
    const read = (text: string): void => {
      let own: unknown;
      try {
        own = JSON.parse(text);
      } catch {
        return; // torn: the checksum is not met
      }
      const sha256 = createHash('sha256').update(JSON.stringify(own)).digest('hex');
      writeFileSync(file, JSON.stringify({ ...guard, sha256, state: own }));
      for (const { evaluation } of readCheckpoint(folder).records) expect(evaluation?.loss ?? 0).toBeTypeOf('number');
    };
    const { wrong, refused } = tried(JSON.stringify(state), folder, read, 'always');
    expect(wrong).toEqual([]);
    expect(refused).toBeGreaterThan(100);
  });
});

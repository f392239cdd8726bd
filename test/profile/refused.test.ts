// What functions that measure, and studies, are given by callers in JavaScript, whom no compiler tells.
import { describe, expect, it } from 'vitest';
import {
  makeOptimizer,
  makePlan,
  PartitaError,
  partition,
  plan as plans,
  profile,
  recompute,
  simulate,
  study,
} from '../../src/index.ts';
import { someMachine } from '../cost/machine.ts';
import { threeLayers } from '../support/models.ts';

// biome-ignore lint/suspicious/noExplicitAny: wrong on purpose
const loose = (value: unknown): any => value;
const request = {
  model: threeLayers,
  programs: { train: { batch: 4, mode: 'train' } },
  microbatches: 2,
  devices: [{ backend: 'wasm', memory: null, speed: 1 }],
  partition: 'auto',
  optimizer: makeOptimizer({ kind: 'sgd', lr: 0.1 }),
} as const;
const plan = makePlan(request);
const feed: profile.Feed = { tensorsAt: () => ({}) };
const cut = { parts: ['prediction'], quick: true, methods: undefined, timeLimitSeconds: 1, repeats: 1, timedSteps: 1 };

type Case = readonly [message: string, call: () => unknown];

async function check(message: string, call: () => unknown): Promise<void> {
  let error: unknown;
  try {
    await call();
  } catch (thrown) {
    error = thrown;
  }
  expect(error).toBeInstanceOf(PartitaError);
  expect((error as PartitaError).message).toContain(message);
  expect((error as PartitaError).remedy).toBeTruthy();
}

describe('what measures is refused', () => {
  const cases: readonly Case[] = [
    ['recordSteps: takes a plan', () => profile.recordSteps(loose({}), feed)],
    ['recordSteps: takes a feed with tensorsAt(step), got nothing', () => profile.recordSteps(plan, loose(undefined))],
    [
      'recordSteps: unknown option step, did you mean "steps"?',
      () => profile.recordSteps(plan, feed, loose({ step: 1 })),
    ],
    ['recordSteps: parameters: takes a Map', () => profile.recordSteps(plan, feed, { parameters: loose({}) })],
    ['timePlans: plans must be a list, got a', () => profile.timePlans(loose(new Map()), feed)],
    ['timePlans: takes a plan, got null', () => profile.timePlans([loose(null)], feed)],
    ['timePlans: takes a feed', () => profile.timePlans([plan], loose({ inputs: {} }))],
    [
      'timePlans: memoryBytes must be a number of 0 or more',
      () => profile.timePlans([], feed, { memoryBytes: Number.NaN }),
    ],
    ['profileModels: requests must be a list', () => profile.profileModels(loose(request), feed, someMachine)],
    ['profileModels: takes at least one request, got []', () => profile.profileModels([], feed, someMachine)],
    [
      'profileModels: options must be an object, got null',
      () => profile.profileModels([request], feed, someMachine, loose(null)),
    ],
    [
      'profileModels: statistic has no "avg"; there are median, mean',
      () => profile.profileModels([request], feed, someMachine, { statistic: loose('avg') }),
    ],
    ['makePlan: options must be an object', () => profile.profileModels([loose(null)], feed, someMachine)],
    ['profileModels: takes the constants of a machine', () => profile.profileModel(request, feed, loose({}))],
    ['profileModels: machine must be an object, got null', () => profile.profileModel(request, feed, loose(null))],
    [
      'breakdownOf: takes recorded steps, got an object with nothing',
      () => profile.breakdownOf(loose({}), someMachine),
    ],
    ['profileOf: takes recorded steps, got nothing', () => profile.profileOf(loose(undefined), someMachine)],
    [
      'profileOf: takes the constants',
      () => profile.profileOf(loose({ plan, program: 'train', instructions: [] }), loose({})),
    ],
    ['speedTraces: takes recorded steps', () => profile.speedTraces(loose(null), { copies: [] })],
    ['machineCosts: options must be an object, got nothing', () => profile.machineCosts(loose(undefined))],
    ['machineCosts: takes a cache of measurements, got an object', () => profile.machineCosts({ cache: loose({}) })],
    ['profileFor: option cache is missing', () => profile.profileFor(request, () => feed, loose({}))],
    ['makePlan: options must be an object', () => profile.profileFor(loose(undefined), () => feed, loose({}))],
    ['contentOf: options must be an object', () => plans.contentOf(loose(undefined))],
    ['contentOf: takes a PlanCache', () => plans.contentOf(request, loose({}))],
    ['contentOf: microbatches must be a list of whole numbers', () => plans.contentOf(request, undefined, [0])],
    ['memoryOverTime: program must be an object', () => simulate.memoryOverTime(loose(null), loose({}), [], loose({}))],
    [
      'layout must be an object',
      () => simulate.memoryOverTime(plan.programs.train!.devices[0]!, loose(null), [], loose({})),
    ],
  ];
  it.each(cases)('%s', check);

  it('a content needs no cache', () => {
    expect(plans.contentOf(request)).toBeDefined();
  });
});

describe('parts of a plan are refused', () => {
  const graph = plan.graphs.train!;
  const chain = { seconds: [1, 1], checkpoint: () => 1, saved: () => 1, inner: () => 1 };
  const cases: readonly Case[] = [
    [
      "makePartition: takes 'auto', or balance, cuts,",
      () => partition.makePartition(graph, loose(null), { stages: 1 }),
    ],
    ["makePartition: takes 'auto', or balance, cuts,", () => partition.makePartition(graph, loose('x'), { stages: 1 })],
    ['BackwardTable: chain must be an object', () => new recompute.BackwardTable(loose(null), 1)],
    ['chain.seconds must be a list of numbers', () => new recompute.BackwardTable({ ...chain, seconds: loose(2) }, 1)],
    ['forwardPlans: takes a table', () => recompute.forwardPlans(chain, loose({}), 1)],
  ];
  it.each(cases)('%s', check);
});

describe('a study is refused', () => {
  const cases: readonly Case[] = [
    ['runBatchStudy: design must be an object, got nothing', () => study.runBatchStudy(loose(undefined), loose({}))],
    ['runMemoryStudy: design.layouts must be a list', () => study.runMemoryStudy(loose({}), loose({ purposes: [] }))],
    ['runPartitionStudy: options must be an object', () => study.runPartitionStudy(loose({ ...cut }), loose(null))],
    [
      'runPartitionStudy: options.parts must be a list',
      () => study.runPartitionStudy(loose({ combinations: [], methods: [] }), loose({})),
    ],
    ['runScalingStudy: design.variants must be a list', () => study.runScalingStudy(loose({}), loose(cut))],
    ['runScheduleStudy: design must be an object, got null', () => study.runScheduleStudy(loose(null), loose(cut))],
  ];
  it.each(cases)('%s', check);
});

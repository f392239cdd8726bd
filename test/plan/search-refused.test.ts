// What searches are given by callers in JavaScript, whom no compiler tells.
import { describe, expect, it } from 'vitest';
import { leastMemory, makeOptimizer, PartitaError, searchPlan } from '../../src/index.ts';
import { threeLayers } from '../support/models.ts';

// biome-ignore lint/suspicious/noExplicitAny: wrong on purpose
const loose = (value: unknown): any => value;
const device = { backend: 'wasm', memory: null, speed: 1 } as const;
const request = {
  model: threeLayers,
  programs: { train: { batch: 4, mode: 'train' } },
  microbatches: 2,
  devices: [device, device],
  partition: 'auto',
  optimizer: makeOptimizer({ kind: 'sgd', lr: 0.1 }),
} as const;

type Case = readonly [message: string, request: unknown, options: unknown];

const requests: readonly Case[] = [
  ['options must be an object, got nothing', undefined, {}],
  ['option model must be { name, build(samples) }', { ...request, model: { name: 'm' } }, {}],
  ['option programs must be at least one program', { ...request, programs: {} }, {}],
  ['programs.train: options must be an object', { ...request, programs: { train: null } }, {}],
  ['devices.0: options must be an object', { ...request, devices: [null] }, {}],
];
const limits: readonly Case[] = [
  ['options must be an object, got null', request, null],
  ['unknown option evaluation, did you mean "evaluations"?', request, { evaluation: 2 }],
  ['evaluations must be a whole number of 1 or more', request, { evaluations: Number.NaN }],
  ['timeLimitSeconds must be a number of 0 or more', request, { timeLimitSeconds: Symbol('1') }],
  ['signal must be an AbortSignal', request, { signal: {} }],
];

async function check(call: () => Promise<unknown>, message: string): Promise<void> {
  const error = await call().catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(PartitaError);
  expect((error as PartitaError).message).toContain(message);
  expect((error as PartitaError).remedy).toBeTruthy();
}

describe('a search', () => {
  const cases: readonly Case[] = [
    ...requests,
    ...limits,
    ['microbatches must be a list of whole numbers of 1 or more, at least one', request, { microbatches: [2, '4'] }],
    ['microbatches must be a list of whole numbers of 1 or more, at least one', request, { microbatches: [] }],
    ['stagesPerDevice must be a list of whole numbers', request, { stagesPerDevice: [0] }],
    ['schedules must be a list of strings', request, { schedules: '1f1b' }],
    ['schedules has no "1f1", did you mean "1f1b"?', request, { schedules: ['gpipe', '1f1'] }],
    ['partitions has no "block", did you mean "blocks"?', request, { partitions: ['block'] }],
    ['recompute has no "optimum", did you mean "optimal"?', request, { recompute: 'optimum' }],
    ['trials must be an object, got null', request, { trials: null }],
    ['trials.plans: expected a whole number of at least 2', request, { trials: { plans: 1, time: async () => [] } }],
  ];
  it.each(cases)('is refused: %s', async (message, asked, options) => {
    await check(() => searchPlan(loose(asked), loose(options)), message);
  });
  it.each(requests)('names itself where the request is wrong: %s', async (message, asked) => {
    await check(() => searchPlan(loose(asked)), `searchPlan: ${message}`);
  });
});

describe('the least memory', () => {
  const cases: readonly Case[] = [
    ...requests,
    ...limits,
    ['devices must be a whole number of 1 or more, got 0', request, { devices: 0 }],
    ['takes a PlanCache, got an object with nothing', request, { cache: {} }],
  ];
  it.each(cases)('is refused: %s', async (message, asked, options) => {
    await check(() => leastMemory(loose(asked), loose(options)), message);
  });
  it.each(requests)('names itself where the request is wrong: %s', async (message, asked) => {
    await check(() => leastMemory(loose(asked)), `leastMemory: ${message}`);
  });
});

// What callers in JavaScript may get wrong, whom no compiler tells.
import { describe, expect, it } from 'vitest';
import { Graph } from '../../src/graph/graph.ts';
import { makePlan, type PlanRequest } from '../../src/plan/plan.ts';
import { threeLayers } from '../support/models.ts';

const request = {
  model: threeLayers,
  programs: { train: { batch: 8, mode: 'train' } },
  microbatches: 2,
  devices: [{ backend: 'wasm', memory: null, speed: 1 }],
  partition: 'auto',
} satisfies PlanRequest;
const planWith = (change: object) => () => makePlan({ ...request, ...change } as never);
const device = request.devices[0]!;

describe('a request for a plan', () => {
  it('is one that a plan can be made for', () => {
    expect(planWith({})().memory).toHaveLength(1);
  });

  it.each([
    ['model', threeLayers.build, '{ name, build(samples) }, and is a function'],
    ['model', null, '{ name, build(samples) }, and is null'],
    ['programs', {}, 'at least one program, and is an object'],
    ['programs', { train: { batch: 8, mode: 'training' } }, "'train' | 'gradients' | 'forward', and is training"],
    ['devices', 2, 'a list, one entry a device, and is 2'],
    ['partition', ['matmul_1'], 'and is a list'],
    ['partition', { cut: ['matmul_1'] }, "with 'balance' | 'cuts' | 'stages' | 'devices' | 'ready', and is an object"],
    ['partition', 'time', "'auto', or an object with"],
    ['optimizer', { kind: 'sgd', lr: 0.1 }, 'what makeOptimizer returns, and is an object'],
    ['recompute', true, "'none' | 'stage' | 'selective' | 'optimal', and is true"],
    ['recompute', 'optimum', 'and is optimum'],
    ['partition.balance', 'work', "'time' | 'memory' | 'parameters', and is work"],
    ['batchNorm', 'sync', "'micro' | 'deferred' | 'exact', and is sync"],
    ['simd', 'fast', "'strict' | 'relaxed', and is fast"],
    ['fusion', true, "'off' | 'on', and is true"],
    ['lifetimes', 'long', "'short' | 'plain', and is long"],
    ['schedule', { name: 'mine' }, 'a name, or what makeSchedule returns, and is an object'],
    ['placement', 0.5, 'a list of devices, one a stage, and is 0.5'],
    ['partition.cuts', 'layer.1', 'a list of names, and is layer.1'],
    ['partition.cuts', [1], 'a list of names, and is a list'],
    ['partition.cuts', null, 'a list of names, and is null'],
    ['l2', { lambda: 0.1, parameters: 'w' }, '{ lambda, parameters }, a number and names, and is an object'],
    ['l2', { lambda: '0.1', parameters: ['w'] }, '{ lambda, parameters }, a number and names'],
    ['costs', {}, 'a cost model, and is an object'],
    ['cluster', 2, 'devices, with costs and links, and is 2'],
  ])('refuses %s %j', (option, value, message) => {
    const [name, within] = option.split('.') as [string, string?];
    const change = { [name]: within === undefined ? value : { [within]: value } };
    expect(planWith(change)).toThrow(
      expect.objectContaining({ code: 'options-invalid', message: expect.stringContaining(message) }),
    );
    expect(planWith(change)).toThrow(`option ${option}`);
  });

  it('refuses a batch of half a sample', () => {
    expect(planWith({ programs: { train: { batch: 1.5, mode: 'train' } } })).toThrow(
      'option programs.train.batch must be a whole number of samples, and is 1.5',
    );
  });

  it('names the backend that is near', () => {
    expect(planWith({ devices: [device, { ...device, backend: 'wsm' }] })).toThrow(
      expect.objectContaining({
        code: 'device-invalid',
        message: "devices.1.backend must be 'wasm' | 'blas' | 'reference' | 'null', not wsm",
        fields: expect.objectContaining({ device: 1, nearest: 'wasm' }),
      }),
    );
  });

  it.each([
    ['a graph', () => new Graph(), 'object without them'],
    ['nothing', () => undefined, 'undefined without them'],
    ['null', () => null, 'null without them'],
    ['a promise', async (n: number) => threeLayers.build(n), 'a promise'],
    ['no list', (n: number) => ({ ...threeLayers.build(n), objective: {} }), 'object without them'],
  ])('refuses a model that builds %s', (_, build, what) => {
    expect(planWith({ model: { name: 'mine', build } })).toThrow(
      expect.objectContaining({
        code: 'model-graph',
        message: expect.stringMatching(
          new RegExp(`^model mine: build\\(\\d+\\) must return { graph, objective }, and returned ${what}$`),
        ),
      }),
    );
  });
});

// Plans' files with one thing wrong in them: told with the file and the key, before anything is made of them.
import { describe, expect, it } from 'vitest';
import { FormatError, PlanError } from '../../src/core/errors.ts';
import { modelOf } from '../../src/nn/models/index.ts';
import { makeOptimizer } from '../../src/optim/optimizer.ts';
import { draftPlan, makePlan } from '../../src/plan/plan.ts';
import {
  checkSamePlan,
  type PlanFile,
  planFileOf,
  readPlanFile,
  withDecisions,
  writePlanFile,
} from '../../src/plan/plan-file.ts';
import { smallModels } from '../support/built-in.ts';
import { planOf, threeLayers } from '../support/models.ts';

const device = { backend: 'wasm', memory: null, speed: 1 } as const;
const plan = makePlan({
  model: threeLayers,
  programs: { train: { batch: 4, mode: 'train' }, last: { batch: 2, mode: 'train' } },
  microbatches: 2,
  devices: [device, device],
  schedule: 'auto',
  partition: { balance: 'time' },
  recompute: 'stage',
  optimizer: makeOptimizer({ kind: 'sgd', lr: 0.1 }),
});
const good = JSON.parse(JSON.stringify(planFileOf(plan, null))) as PlanFile;

/** The file with the value of a dotted key replaced. */
function changed(key: string, value: unknown): string {
  const copy = structuredClone(good) as unknown as Record<string, unknown>;
  const names = key.split('.');
  const last = names.pop()!;
  const place = names.reduce((at, name) => at[name] as Record<string, unknown>, copy);
  place[last] = value;
  return JSON.stringify(copy);
}

it('reads what was written', () => {
  expect(readPlanFile(JSON.stringify(good), 'plan.json')).toEqual(good);
});

it('reads what was written of blocks of which nothing is said to be retained', () => {
  const [first, second] = Object.keys(plan.partition.assignment);
  const blockOf = new Map([
    [first!, 0],
    [second!, 1],
  ]);
  for (const retained of [undefined, [], [new Set<string>()]]) {
    const choice = { kept: new Set<string>(), blockOf, ...(retained ? { retained } : {}) };
    const made = makePlan({ ...plan.request, recompute: new Map([[0, choice]]) });
    const file = readPlanFile(writePlanFile(made, null), 'plan.json');
    expect(file.recompute).toEqual({ 0: { kept: [], blocks: Object.fromEntries(blockOf), retained: [[], []] } });
    const again = makePlan(withDecisions(made.request, file));
    expect(() => checkSamePlan(again, file, 'plan.json')).not.toThrow();
  }
  // Without blocks it says nothing.
  const alone = { kept: new Set<string>(), retained: [new Set<string>()] };
  const made = makePlan({ ...plan.request, recompute: new Map([[0, alone]]) });
  expect(readPlanFile(writePlanFile(made, null), 'plan.json').recompute).toEqual({ 0: { kept: [] } });
});

it('writes no experiment that it would not read', () => {
  for (const experiment of ['notes', ['x'], 1]) {
    expect(() => writePlanFile(plan, experiment as object)).toThrow(
      'planFileOf: takes null, or an experiment as an object, got',
    );
  }
  /** What is no record by its type is one by its names. */
  interface Settings {
    readonly steps: number;
  }
  const settings: Settings = { steps: 3 };
  expect(readPlanFile(writePlanFile(plan, settings), 'plan.json').experiment).toEqual(settings);
});

describe('a plan file is refused', () => {
  const [node] = Object.keys(good.partition.assignment);
  const cases: readonly (readonly [message: string, key: string, value: unknown])[] = [
    ['a plan of no version; this version of Partita reads 1', 'version', undefined],
    ['a plan of version {}; this version of Partita reads 1', 'version', {}],
    ['experiment: expected null, or an object of names', 'experiment', 'x'],
    [`partition.assignment.${node}: expected an integer from 0 to 1, got 2`, `partition.assignment.${node}`, 2],
    ['placement: expected 2 entries, one a stage of the partition, got 1', 'placement', [0]],
    ['placement.1: expected an integer from 0 to 1, got 7', 'placement.1', 7],
    ['schedule.rows: expected 2 entries, one a device, got 1', 'schedule.rows', [['0F0']]],
    ['schedule.rows.0.1: expected a task such as 2F0, 2B0, 2W0 or 2BW0, got "0X0"', 'schedule.rows.0.1', '0X0'],
    ['schedule.overlaps.0.0: expected an integer from 0 to', 'schedule.overlaps', [[99], []]],
    ['schedule.seconds: expected 2 entries, one a stage, got 1', 'schedule.seconds', [[1, 1, 1]]],
    ['schedule.seconds.1: expected 3 entries, those of F, B and W, got 2', 'schedule.seconds.1', [1, 1]],
    ['schedule.seconds.0.0: expected a number from 0 to 1e+30, got 1e+308', 'schedule.seconds.0.0', 1e308],
    [
      'schedule.others.none: expected one of train, last, got none',
      'schedule.others.none',
      { microbatches: 1, rows: [[], []] },
    ],
    ['recompute.9: expected a stage from 0 to 1, got 9', 'recompute.9', { kept: [] }],
    ['recompute.01: expected a stage from 0 to 1, got 01', 'recompute.01', { kept: [] }],
    [
      'recompute.0: expected blocks and retained together, got blocks alone',
      'recompute.0',
      { kept: [], blocks: { a: 0 } },
    ],
    [
      'recompute.0.blocks.a: expected an integer from 0 to 0, got 1',
      'recompute.0',
      { kept: [], blocks: { a: 1 }, retained: [[]] },
    ],
    ['programs: expected at least one name, got none', 'programs', []],
  ];
  it.each(cases)('%s', (message, key, value) => {
    let error: unknown;
    try {
      readPlanFile(changed(key, value), 'plan.json');
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(FormatError);
    expect((error as FormatError).message).toContain(message);
    expect((error as FormatError).message).toMatch(/^plan\.json: /);
    expect((error as FormatError).remedy).toContain('partita plan');
    // Each problem by itself too, but for what is no plan of this version at all.
    if (key === 'version') return;
    const told = expect.objectContaining({ key: expect.any(String), expected: expect.any(String) });
    expect((error as FormatError).fields).toMatchObject({
      file: 'plan.json',
      problems: expect.arrayContaining([told]),
    });
  });
});

describe('the partition of a training plan', () => {
  it.each(Object.entries(smallModels))('of %s serves its forward program, also from a file', (_, model) => {
    const trained = planOf(model, { devices: 2 });
    const forward = draftPlan({
      ...trained.request,
      programs: { test: { batch: 8, mode: 'forward' } },
      schedule: '1f1b',
      partition: { ready: trained.partition },
      placement: trained.placement,
    });
    expect(forward.placement).toEqual(trained.placement);
    const file = readPlanFile(writePlanFile(forward, null), 'plan.json');
    const again = draftPlan(withDecisions(forward.request, file));
    expect(() => checkSamePlan(again, file, 'plan.json')).not.toThrow();
  });

  it('serves a model without some of its nodes, whose plan is read from a file as its own', () => {
    const mlp = (dropout: number) => modelOf({ kind: 'mlp', inputs: 5, hidden: [6, 4], classes: 3, dropout });
    const wider = planOf(mlp(0.25), { devices: 2 });
    const { request } = planOf(mlp(0), { devices: 2 });
    const made = draftPlan({ ...request, partition: { ready: wider.partition }, placement: wider.placement });
    const file = readPlanFile(writePlanFile(made, null), 'plan.json');
    expect(Object.keys(file.partition.assignment)).not.toContain('layer.0.dropout');
    expect(Object.keys(wider.partition.assignment)).toContain('layer.0.dropout');
    expect(() => checkSamePlan(draftPlan(withDecisions(request, file)), file, 'plan.json')).not.toThrow();
  });

  it('is refused by a model without some of its nodes, as another plan and not as a name in a pattern', () => {
    const mlp = (dropout: number) => modelOf({ kind: 'mlp', inputs: 5, hidden: [6, 4], classes: 3, dropout });
    const made = planOf(mlp(0.25), { devices: 2 });
    const file = planFileOf(made, null);
    const again = makePlan(withDecisions({ ...made.request, model: mlp(0) }, file));
    // That the bytes differ too is no part of it.
    const devices = file.devices.map((d, i) => ({ ...d, plannedBytes: again.memory[i]!.peakBytes }));
    let error: unknown;
    try {
      checkSamePlan(again, { ...file, devices }, 'plan.json');
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(PlanError);
    expect(error).toMatchObject({
      code: 'plan-differs',
      fields: { differences: ["2 of its nodes are none of the model's, first layer.0.dropout"] },
      remedy: 'make it again: partita plan experiment.json --plan-out plan.json',
    });
  });
});

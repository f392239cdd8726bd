// What is planned, scheduled, simulated and reported, given wrongly by callers in JavaScript, whom no compiler tells.
import { describe, expect, it } from 'vitest';
import {
  analyticCosts,
  draftPlan,
  makeLearningRate,
  makeMomentum,
  makeOptimizer,
  makePlan,
  makeSchedule,
  measuredCosts,
  NoiseTracker,
  PartitaError,
  partition,
  plan as plans,
  printGraph,
  printPlan,
  printProgram,
  recompute,
  schedule as schedules,
  simulate as simulation,
  table,
  validateProgram,
  wrap,
} from '../../src/index.ts';
import type { Partition } from '../../src/partition/partition.ts';
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
const asked = (change: object) => () => makePlan(loose({ ...request, ...change }));
const plan = makePlan(request);
const graph = plan.graphs.train!;
const program = plan.programs.train!;
const cluster = { devices: request.devices, costs: analyticCosts() };
const oneFOneB = makeSchedule('1f1b', { stages: 2, microbatches: 4 });
const problem: partition.PlacementProblem = {
  parts: [
    { name: 'a', work: 1, bytes: 1 },
    { name: 'b', work: 1, bytes: 1 },
  ],
  values: [{ producer: 0, consumers: [1], cost: 0.1 }],
  edges: [[0, 1]],
  devices: [{ kind: 'accelerator', speed: 1, capacity: 8, linkSpeed: 1 }],
  load: 'sum',
  unit: 's',
};
const { evaluatePlacement: evaluated } = partition;
const objectiveOf = (objective: unknown) =>
  asked({ model: { name: 'm', build: (n: number) => ({ ...threeLayers.build(n), objective }) } });

type Case = readonly [message: string, call: () => unknown];

function check(message: string, call: () => unknown): void {
  let error: unknown;
  try {
    call();
  } catch (thrown) {
    error = thrown;
  }
  expect(error).toBeInstanceOf(PartitaError);
  expect((error as PartitaError).message).toContain(message);
  expect((error as PartitaError).remedy).toBeTruthy();
}

describe('a request', () => {
  const cases: readonly Case[] = [
    ['option partition.stages must be numbers by name pattern, and is null', asked({ partition: { stages: null } })],
    ['option partition.stages must be numbers by name pattern', asked({ partition: { stages: { '*': '0' } } })],
    ['option partition.devices must be numbers by name pattern, and is a list', asked({ partition: { devices: [0] } })],
    ['option partition.ready must be a partition, and is null', asked({ partition: { ready: null } })],
    ['clip must be an object, got "x"', asked({ clip: 'x' })],
    ['globalNorm must be a positive number, got "1"', asked({ clip: { globalNorm: '1' } })],
    ['globalNorm must be a positive number, got nothing', asked({ clip: {} })],
    ['stagesPerDevice must be a number, got "2"', asked({ stagesPerDevice: '2' })],
    ['stagesPerDevice must be a whole number from 1, not 0', asked({ stagesPerDevice: 0 })],
    ['invariant must be true or false, got 1', asked({ invariant: 1 })],
    [
      'programs.train: outputs must be true or false',
      asked({ programs: { train: { batch: 4, mode: 'train', outputs: 1 } } }),
    ],
    ['devices.0.speed must be a number > 0, not a symbol', asked({ devices: [{ ...device, speed: Symbol('1') }] })],
    ['option recompute must be', asked({ recompute: Symbol('none') })],
    ['objective.0.loss must be f32[] and is nothing', objectiveOf([null])],
    ['objective.1.loss must be f32[] and is nothing', objectiveOf([...threeLayers.build(2).objective, undefined])],
    [
      'the cost model "mine" gives matmul NaN seconds',
      asked({ costs: { ...analyticCosts(), source: 'mine', kernelSeconds: () => Number.NaN } }),
    ],
    ['the cost model "analytic" gives', asked({ costs: analyticCosts({ device: loose({}) }) })],
    ['makePlan: options must be an object, got null', () => draftPlan(loose(null))],
  ];
  it.each(cases)('%s', check);

  it('that is refused for its objective leaves the results of its graph', () => {
    const built = { ...threeLayers.build(2), objective: loose([null]) };
    const outputs = [...built.graph.outputs.keys()];
    check('objective.0.loss', asked({ model: { name: 'm', build: () => built } }));
    expect([...built.graph.outputs.keys()]).toEqual(outputs);
  });
});

describe('plans, graphs and programs', () => {
  const part = loose({ stages: 1, assignment: {}, method: 'cuts' }) as Partition;
  const cases: readonly Case[] = [
    ['printPlan: takes a plan, got an object with nothing', () => printPlan(loose({}))],
    ['printPlan: takes a plan', () => printPlan(loose({ ...plan, prediction: null }))],
    ['printPlan: width must be a positive number, got "80"', () => printPlan(plan, loose({ width: '80' }))],
    ['summarizePlan: takes a plan, got null', () => plans.summarizePlan(loose(null))],
    [
      'shortages: plan.memory must be a list, got nothing',
      () => plans.shortages(loose({ ...plan, memory: undefined })),
    ],
    ['readPlanFile: text must be a string, got nothing', () => plans.readPlanFile(loose(undefined), 'plan.json')],
    ['recomputeCurve: points must be a whole number of 1', () => plans.recomputeCurve(request, Infinity)],
    ['printGraph: takes a graph, got a function', () => printGraph(loose(() => graph))],
    ['printGraph: options must be an object, got null', () => printGraph(graph, loose(null))],
    ['printProgram: takes a program, got an object with nothing', () => printProgram(loose({}))],
    ['validateProgram: takes a program', () => validateProgram(loose({ ...program, devices: [null] }))],
    ['partitionByCuts: cuts must be a list of strings', () => partition.partitionByCuts(graph, loose([null]))],
    ['partitionByStages: takes a graph', () => partition.partitionByStages(loose(plan), { '*': 0 })],
    ['partitionByDevices: patterns must be an object', () => partition.partitionByDevices(graph, loose(null))],
    [
      "partitionByBalance: takes 'time', 'memory' or 'parameters', got \"work\"",
      () => partition.partitionByBalance(graph, loose('work'), { stages: 2 }),
    ],
    ['stageMap: options must be an object', () => partition.stageMap(graph, part, loose(null))],
    ['convexStages: deviceOf must be a function, got 0', () => partition.convexStages(graph, loose(0))],
    ['stageForwards: takes a graph', () => recompute.stageForwards(loose([]), () => 0)],
  ];
  it.each(cases)('are refused: %s', check);
});

describe('schedules', () => {
  const shape = { stages: 2, microbatches: 4 };
  const cases: readonly Case[] = [
    ['there is no schedule a symbol', () => makeSchedule(loose(Symbol('1f1b')), shape)],
    [
      'makeSchedule: placement must be a list of numbers, got "01"',
      () => makeSchedule('gpipe', loose({ ...shape, placement: '01' })),
    ],
    [
      'at least one of microbatches, got a symbol',
      () => makeSchedule('gpipe', loose({ ...shape, microbatches: Symbol('4') })),
    ],
    [
      'a schedule has stages, devices, microbatches, placement and rows, got nothing',
      () => schedules.playClock(loose(undefined)),
    ],
    ['a schedule has stages', () => schedules.peakInFlight(loose({ ...oneFOneB, stages: Infinity }))],
    ['a schedule has stages', () => schedules.validateSchedule(loose({ ...oneFOneB, rows: [null, null] }))],
    ['a schedule has stages', () => schedules.writeScheduleCsv(loose({ ...oneFOneB, rows: undefined }))],
    ['validateSchedule: options must be an object, got null', () => schedules.validateSchedule(oneFOneB, loose(null))],
    ['readScheduleCsv: text must be a string, got 3', () => schedules.readScheduleCsv(loose(3))],
    ['schedulePlacement: devices must be a whole number of 1', () => schedules.schedulePlacement('1f1b', 0.5)],
    [
      "placementBy: takes a rule, 'straight', 'looped' or 'v', got \"loop\"",
      () => schedules.placementBy(loose('loop'), 2, 2),
    ],
    ['placementOver: stages must be a whole number', () => schedules.placementOver('v', Infinity, 2)],
    ['inFlightBounds: stages must be a whole number', () => schedules.inFlightBounds('1f1b', Infinity, 2)],
    ['closedFormBubble: devices must be a whole number', () => schedules.closedFormBubble('1f1b', loose('2'), 4)],
    ['bubbleFraction: takes a clock, got an object with nothing', () => schedules.bubbleFraction(loose({}))],
    ['walkInFlight: visit must be a function', () => schedules.walkInFlight(oneFOneB, loose(null))],
  ];
  it.each(cases)('are refused: %s', check);
});

describe('simulations and placements', () => {
  const cases: readonly Case[] = [
    ['simulate: takes a program, got null', () => simulation.simulate(loose(null), cluster)],
    [
      'simulate: takes a cluster, whose devices have a speed',
      () => simulation.simulate(program, loose({ ...cluster, devices: [null] })),
    ],
    [
      'simulate: takes a cluster with a cost model, got nothing',
      () => simulation.simulate(program, loose({ devices: cluster.devices })),
    ],
    ['simulate: options must be an object, got null', () => simulation.simulate(program, cluster, loose(null))],
    ['criticalPath: takes a simulation', () => simulation.criticalPath(loose({}))],
    [
      'whyIdle: device must be a whole number',
      () => simulation.whyIdle(simulation.simulate(program, cluster), loose('0'), 0),
    ],
    ['readCluster: text must be a string', () => simulation.readCluster(loose({}), 'cluster.json')],
    ['fitPositive: residuals must be a function', () => simulation.fitPositive(loose([1]), [1])],
    ['takes a problem with parts, values, edges and devices, got nothing', () => evaluated(loose(undefined), [])],
    ['a part with work and bytes of 0 or more as parts.0', () => evaluated({ ...problem, parts: [loose(null)] }, [0])],
    [
      'with a cost of 0 or more as values.0',
      () => evaluated({ ...problem, values: [{ producer: 9, consumers: [], cost: 0 }] }, [0, 0]),
    ],
    ['two parts as edges.0', () => evaluated({ ...problem, edges: [loose([0, 5])] }, [0, 0])],
    ['with speed, linkSpeed and capacity as devices.0', () => evaluated({ ...problem, devices: [loose({})] }, [0, 0])],
    [
      "'accelerator' or 'cpu' as devices.0.kind, got \"gpu\"",
      () => evaluated({ ...problem, devices: [{ ...problem.devices[0]!, kind: loose('gpu') }] }, [0, 0]),
    ],
    [
      'a number of 0 or more as parts.0.cpuWork, got NaN',
      () => evaluated({ ...problem, parts: [{ ...problem.parts[0]!, cpuWork: Number.NaN }] }, [0]),
    ],
    [
      'a number of 0 or more as parts.0.heldBytes, got -1',
      () => evaluated({ ...problem, parts: [{ ...problem.parts[0]!, heldBytes: -1 }] }, [0]),
    ],
    [
      'a number of 0 or more as devices.0.inFlight, got NaN',
      () => evaluated({ ...problem, devices: [{ ...problem.devices[0]!, inFlight: Number.NaN }] }, [0, 0]),
    ],
    ["takes load 'sum' or 'max', got \"mean\"", () => evaluated({ ...problem, load: loose('mean') }, [0, 0])],
    ["takes deviceOrder 'given' or 'any', got null", () => evaluated({ ...problem, deviceOrder: loose(null) }, [0, 0])],
    ['takes a device of 1 for each of 2 parts, got [0, 1]', () => evaluated(problem, [0, 1])],
    ['takes a device of 1 for each of 2 parts, got nothing', () => evaluated(problem, loose(undefined))],
    [
      'evaluatePlacement: unknown option contigous, did you mean "contiguous"?',
      () => evaluated(problem, [0, 0], loose({ contigous: true })),
    ],
    ['chain.weight must be a list of numbers, got nothing', () => partition.cutChain(loose({}), { most: 2 })],
    [
      'cutChain: chain.weight[1] must be a number, got NaN',
      () => partition.cutChain({ weight: [1, Number.NaN, 2] }, { most: 2 }),
    ],
    ['most or exactly must be a number, got nothing', () => partition.cutChain({ weight: [1] }, loose({}))],
  ];
  it.each(cases)('are refused: %s', check);

  it('a cut into exactly so many may leave the most undefined', () => {
    const chain = { weight: [1, 1, 1, 1] };
    expect(partition.cutChain(chain, loose({ most: undefined, exactly: 2 })).cuts).toEqual([2]);
  });

  it('a placement that is asked for refuses its options', async () => {
    const asking = partition.solvePlacement(problem, loose({ timeLimitSeconds: '1' }));
    await expect(asking).rejects.toMatchObject({
      message: 'solvePlacement: timeLimitSeconds must be a number of 0 or more, got "1"',
      remedy: 'timeLimitSeconds: 0',
    });
  });
});

describe('rates, noise and tables', () => {
  const cases: readonly Case[] = [
    [
      'a learning rate: step must be a whole number of 0 or more, got Infinity',
      () => makeLearningRate({ kind: 'step', stepSize: 1 }, 1)(Infinity),
    ],
    ['makeMomentum: takes a rule with its kind, got nothing', () => makeMomentum(loose(undefined))],
    ['makeOptimizer: options must be an object, got null', () => makeOptimizer({ kind: 'sgd' }, loose(null))],
    ['NoiseTracker: decay must be a number, got "0.9"', () => new NoiseTracker(loose({ decay: '0.9' }))],
    ['analyticCosts: unknown option devices, did you mean "device"?', () => analyticCosts(loose({ devices: {} }))],
    ['measuredCosts: machine must be an object, got null', () => measuredCosts(loose(null))],
    ['table: rows.0 must be a list, got 1', () => table(['a'], loose([1]))],
    ['wrap: width must be a positive number, got 0', () => wrap('a b', '', 0)],
  ];
  it.each(cases)('are refused: %s', check);

  it('null stands for no names without decay, as in an experiment', () => {
    expect(makeOptimizer(loose({ kind: 'sgd', noDecay: null })).settings.noDecay).toEqual([]);
  });
});

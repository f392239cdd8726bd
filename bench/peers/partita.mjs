// node partita.mjs MODEL FLAGS, FLAGS as JSON: { devices, schedule, microbatches } and what else `makePlan` takes of variants.
// Without `microbatches`, several devices take the plan that the planner finds best under the kernels' measured times.
import {
  findBlas,
  makeOptimizer,
  makePlan,
  profile,
  profiledCosts,
  Session,
  searchPlan,
  simulate,
} from '../../dist/index.js';
import { instanceOf, learningRateOf } from './instance.mjs';
import { decline, serve } from './serve.mjs';

const [name, flags = '{}'] = process.argv.slice(2);
const { devices = 1, microbatches, schedule = '1f1b', blas, ...variant } = JSON.parse(flags);

const { parameters, x, y, model } = instanceOf(name);
let library;
try {
  library = blas ? findBlas(blas) : undefined;
} catch (error) {
  decline(error);
}
const request = {
  model,
  programs: { train: { batch: x.type.shape[0], mode: 'train' } },
  microbatches: microbatches ?? 1,
  schedule,
  partition: 'auto',
  devices: Array.from({ length: devices }, () => ({ backend: library ? 'blas' : 'wasm', memory: null, speed: 1 })),
  optimizer: makeOptimizer({ kind: 'sgd', lr: learningRateOf(name) }),
  ...(library ? { blas: library } : {}),
  ...variant,
};

/** Seconds of one device's third step: how long it takes to measure kernels by steps. */
async function stepSeconds() {
  const session = await Session.open(makePlan({ ...request, devices: request.devices.slice(0, 1) }), { seed: 0 });
  try {
    let seconds = 0;
    for (let step = 0; step < 3; step++) ({ seconds } = await session.run('train', { x, y }, { step }));
    return seconds;
  } finally {
    await session.close();
  }
}

/** As many recorded steps as take some 40 s, three of each count of microbatches in turn: 4 to 20. */
const recordedSteps = (counts, seconds) => Math.max(4, Math.min(20, Math.round(40 / (3 * counts * seconds))));

async function planned() {
  if (devices === 1 || microbatches) return makePlan(request);
  const counts = [1, 2, 4, 8];
  const machine = await profile.measureMachine();
  const requests = counts.map((m) => ({ ...request, microbatches: m }));
  const steps = recordedSteps(counts.length, await stepSeconds());
  const timed = await profile.profileModels(requests, { tensorsAt: () => ({ x, y }) }, machine, {
    busyDevices: devices,
    steps,
    warmUp: Math.min(5, steps),
  });
  const { schedule: _, ...open } = request;
  const { plan } = await searchPlan(
    { ...open, costs: profiledCosts(timed) },
    { microbatches: counts, fewerDevices: false, timeLimitSeconds: 30 },
  );
  return plan;
}

/**
 * What the plan's schedule would speed up a step by on links that take no time: the program played with the stages' times as
 * they were measured, however unequal they are. Null without measured times.
 */
function idealOf({ request, programs }) {
  if (devices === 1) return 1;
  if (!request.costs) return null;
  const free = { ...request.costs, link: () => ({ bytesPerSecond: Number.POSITIVE_INFINITY, secondsLatency: 0 }) };
  return devices * (1 - simulate.predict(programs.train, request.devices, free).bubbleFraction);
}

try {
  const plan = await planned();
  const session = await Session.open(plan, { seed: 0, parameters: new Map(Object.entries(parameters)) });
  const { microbatches: m, schedule: chosen } = plan.request;
  // As a training runs: the next batch is staged while the devices compute, and begun without waiting for the host.
  let count = 0;
  const stage = (ahead) => session.stage('train', { x, y }, { step: count++, ahead });
  let next;
  const meanwhile = () => {
    next = stage(true);
  };
  await serve(
    {
      peer: 'partita',
      plannedBytes: plan.memory.map((device) => device.peakBytes),
      microbatches: m,
      ...(devices > 1 ? { schedule: typeof chosen === 'string' ? chosen : chosen.name } : {}),
      ...(library ? { blas: library.version } : {}),
      idealSpeedUp: idealOf(plan),
    },
    async () => (await session.runStaged((next ??= stage(false)), { meanwhile })).loss,
    () => session.measuredPeaks(),
  );
} catch (error) {
  decline(error);
}

// node partita.mjs MODEL FLAGS, FLAGS as JSON: { devices, schedule, microbatches } and what else `makePlan` takes of variants.
// Without `microbatches`, several devices take the plan that the planner finds best by the kernels' measured times and trials. It is
// made by a process of its own, as `partita plan --search --profile --trials 8 --plan-out FILE` and `train --plan FILE` do: what measuring
// and searching hold is none of the training's. That process is this script with { planOut: FILE }.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  findBlas,
  makeOptimizer,
  makePlan,
  plan as plans,
  profile,
  profiledCosts,
  Session,
  searchPlan,
  simulate,
} from '../../dist/index.js';
import { instanceOf, learningRateOf } from './instance.mjs';
import { decline, serve } from './serve.mjs';

const [name, flags = '{}'] = process.argv.slice(2);
const { devices = 1, microbatches, schedule = '1f1b', blas, planOut, ...variant } = JSON.parse(flags);

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

/** The best plan by kernels that are measured now, and what its schedule promises. */
async function searched() {
  const counts = [1, 2, 4, 8];
  const machine = await profile.measureMachine();
  const requests = counts.map((m) => ({ ...request, microbatches: m }));
  const timed = await profile.profileModels(requests, { tensorsAt: () => ({ x, y }) }, machine, {
    busyDevices: devices,
    timeLimitSeconds: 30,
  });
  const { schedule: _, ...open } = request;
  const time = (tried) => profile.timePlans(tried, { tensorsAt: () => ({ x, y }) }, { timeLimitSeconds: 20 });
  const { plan } = await searchPlan(
    { ...open, costs: profiledCosts(timed) },
    { microbatches: counts, fewerDevices: false, timeLimitSeconds: 30, trials: { plans: 8, time } },
  );
  return { file: plans.planFileOf(plan, null), idealSpeedUp: idealOf(plan) };
}

/** The plan, and by how much its schedule would speed up a step; null where that was not measured. */
function planned() {
  if (devices === 1) return { plan: makePlan(request), idealSpeedUp: 1 };
  if (microbatches) return { plan: makePlan(request), idealSpeedUp: null };
  const folder = mkdtempSync(join(tmpdir(), 'partita-peer-'));
  try {
    const out = join(folder, 'plan.json');
    const given = JSON.stringify({ ...JSON.parse(flags), planOut: out });
    const { status, stderr } = spawnSync(process.execPath, [fileURLToPath(import.meta.url), name, given]);
    if (status !== 0) throw new Error(`no plan was found: ${stderr}`);
    const { file, idealSpeedUp } = JSON.parse(readFileSync(out, 'utf8'));
    const plan = makePlan(plans.withDecisions(request, plans.readPlanFile(JSON.stringify(file), out)));
    plans.checkSamePlan(plan, file, out);
    return { plan, idealSpeedUp };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * What the plan's schedule would speed up a training's steps by on links that take no time, with a host that takes none: the program
 * played from barrier to barrier, as steps that are begun ahead follow each other, with the stages' times as they were measured, however unequal they are.
 */
function idealOf(plan) {
  const link = () => ({ bytesPerSecond: Number.POSITIVE_INFINITY, secondsLatency: 0 });
  const costs = { ...plan.request.costs, link, betweenSteps: undefined };
  const free = { ...plan, request: { ...plan.request, costs } };
  // A plan whose steps can not be begun ahead is played from start to end.
  const { bubbleFraction } = plans.steadyStepOf(free) ?? simulate.predict(free);
  return devices * (1 - bubbleFraction);
}

if (planOut) {
  writeFileSync(planOut, JSON.stringify(await searched()));
  process.exit(0);
}

try {
  const { plan, idealSpeedUp } = planned();
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
      idealSpeedUp,
    },
    async () => (await session.runStaged((next ??= stage(false)), { meanwhile })).loss,
    () => session.measuredPeaks(),
  );
} catch (error) {
  decline(error);
}

// Does the prediction hold? Predicted against measured step time of this machine, over models, partitions, schedules and
// microbatches. Steps are those of a training under way, begun ahead: from one barrier to the next.
//
//   node bench/predict.mjs [--minutes 16] [--only mlp,lenet] [--schedules zb-h2,auto] [--rounds 4] [--out bench/predict.md]
//                          [--json predict.json]
//
//   --only, --schedules   some models; on two devices some schedules
//   --rounds              turns of each layout at least, the first of which warms up
//
// For each model, in turns of some steps: its kernels are timed on one device (on two at once for layouts of two), then a
// layout that they predict runs. Means over all turns are compared: a shared machine's cores change their speed within
// seconds, and a mean step is made of mean kernels. The prediction plays each program with the speeds that the cores had
// while the kernels were timed; the column "steady" is the same with constant speeds. Run it on an idle machine with at least two
// cores.
import { writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { scheduleNames } from '../dist/schedule/named.js';
import { median } from './compare/statistics.mjs';
import { flagsOf, namesOf, numberOf } from './flags.mjs';

const { values: flags } = flagsOf(import.meta.url, {
  minutes: { type: 'string', default: '16' },
  only: { type: 'string' },
  schedules: { type: 'string', default: scheduleNames.join() },
  rounds: { type: 'string', default: '4' },
  out: { type: 'string' },
  json: { type: 'string' },
});

const digits = (batchSize) => ({ kind: 'digits', batchSize });
const models = {
  mlp: { model: { kind: 'mlp', hidden: [512, 512, 512] }, data: digits(128) },
  lenet: { model: { kind: 'lenet', widths: [16, 32] }, data: digits(128) },
  resnet: { model: { kind: 'resnet', widths: [8, 16, 32], blocks: 1 }, data: digits(64) },
  unet: { model: { kind: 'unet', depth: 2, width: 8 }, data: digits(32) },
  gpt: { model: { kind: 'gpt', layers: 4, width: 64, context: 64 }, data: { kind: 'text', batchSize: 16 } },
  lstm: { model: { kind: 'lstm', hidden: 64, numLayers: 3, context: 32 }, data: { kind: 'text', batchSize: 32 } },
};

const minutes = numberOf(import.meta.url, 'minutes', flags.minutes);
const leastRounds = numberOf(import.meta.url, 'rounds', flags.rounds, { atLeast: 2, whole: true });
const schedules = namesOf(import.meta.url, 'schedules', flags.schedules, scheduleNames);
const chosen = namesOf(import.meta.url, 'only', flags.only ?? Object.keys(models).join(), Object.keys(models));

const { experiment, makePlan, plan: plans, profile, profiledCosts, Session, schedule, table } = await import('partita');

const layoutsOf = () => {
  const list = [
    { devices: 1, microbatches: 1 },
    { devices: 1, microbatches: 4 },
  ];
  for (const name of schedules) {
    for (const microbatches of name === 'gpipe' || name === '1f1b' ? [4, 8] : [4]) {
      list.push({ devices: 2, microbatches, schedule: name, placement: schedule.schedulePlacement(name, 2) });
    }
  }
  for (const name of ['gpipe', '1f1b'].filter((n) => schedules.includes(n))) {
    list.push({ devices: 2, microbatches: 4, schedule: name, placement: [0, 1, 0, 1] });
    list.push({ devices: 2, microbatches: 4, schedule: name, placement: [0, 0, 1, 1] });
  }
  return list;
};

const mean = (list) => (list.length > 0 ? list.reduce((a, b) => a + b, 0) / list.length : null);
const milliseconds = (s) => (s * 1e3).toFixed(3);
const percent = (x) => (x === null || Number.isNaN(x) ? '-' : `${(100 * x).toFixed(2)} %`);

/** Spearman's: the correlation of the ranks, ties at their mean. */
function rankCorrelation(xs, ys) {
  if (xs.length < 2) return null;
  const ranks = (list) =>
    list.map((v) => list.filter((w) => w < v).length + (list.filter((w) => w === v).length + 1) / 2);
  const [a, b] = [ranks(xs), ranks(ys)];
  const [ma, mb] = [mean(a), mean(b)];
  const sum = (f) => a.reduce((total, _, i) => total + f(i), 0);
  return sum((i) => (a[i] - ma) * (b[i] - mb)) / Math.sqrt(sum((i) => (a[i] - ma) ** 2) * sum((i) => (b[i] - mb) ** 2));
}

function requestOf(config, layout) {
  const parsed = experiment.parseExperiment({ ...config, microbatches: layout.microbatches, steps: 1e6 }, 'bench');
  const prepared = experiment.prepareExperiment(parsed, { where: 'bench' });
  const request = experiment.planRequestOf(prepared, 'train');
  return {
    prepared,
    request: {
      ...request,
      programs: { train: request.programs.train },
      devices: Array.from({ length: layout.devices }, () => ({ backend: 'wasm', memory: null, speed: 1 })),
      ...(layout.schedule ? { schedule: layout.schedule } : {}),
      ...(layout.placement ? { placement: layout.placement } : {}),
    },
  };
}

/** About so long a plan runs before another has its turn, and before what counts of it. */
const WINDOW_SECONDS = 0.25;
const LEADING_SECONDS = 0.05;

/** Called between turns: the figures and tensors of this comparison are garbage that no training has. */
setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc');

/** Places in each recorded window at which a simulated step begins. */
const BEGINS = [0, 0.21, 0.43, 0.67];

const stepsWithin = (seconds, window = WINDOW_SECONDS) => Math.max(2, Math.min(100, Math.round(window / seconds)));

/** A turn of a layout as a training runs: seconds are from the end of one step to the next one's, as from barrier to barrier. */
async function trained({ session, leading, counted }, feed) {
  collectGarbage();
  const turn = leading + counted;
  const own = [];
  const stage = (step) => session.stage('train', feed.tensorsAt(step), { step, ahead: step > 0 });
  let next = stage(0);
  let last = performance.now();
  for (let i = 0; i < turn; i++) {
    const meanwhile = () => {
      if (i + 1 < turn) next = stage(i + 1);
    };
    const { reports } = await session.runStaged(next, { lr: 1e-3, meanwhile });
    const before = last;
    last = performance.now();
    if (i >= leading) own.push({ seconds: (last - before) / 1000, busy: reports.map((r) => r.busySeconds) });
  }
  return own;
}

/** A model's layouts by how many microbatches and devices they have, each with what times the kernels that it runs. */
async function openLayouts(name, config, machine) {
  const groups = new Map();
  for (const layout of layoutsOf()) {
    const { prepared, request } = requestOf(config, layout);
    const key = `${layout.microbatches} ${layout.devices}`;
    if (!groups.has(key)) groups.set(key, await openRecorder(prepared, request, layout, machine));
    const group = groups.get(key);
    let plan;
    try {
      plan = makePlan({ ...request, costs: group.costs });
    } catch (error) {
      console.error(`${name} ${JSON.stringify(layout)}: ${error.message}`);
      continue;
    }
    const session = await Session.open(plan, { seed: 0, audit: false });
    group.runs.push({ layout, plan, session, leading: 2, counted: 20, steps: [] });
  }
  return [...groups.values()];
}

async function openRecorder(prepared, request, { devices }, machine) {
  const feed = profile.feedOf(prepared);
  const alone = makePlan(profile.onOneDevice(request, 'wasm'));
  const recorder = await profile.StepRecorder.open(alone, feed, { busyDevices: devices, seed: 0 });
  const first = await recorder.summary([await recorder.run(8, 6)]);
  const steps = stepsWithin(first.stepSeconds, LEADING_SECONDS);
  return { feed, recorder, steps, windows: [], runs: [], costs: profiledCosts(profile.profileOf(first, machine)) };
}

/**
 * In turns of some steps each: before every turn the model's kernels are timed on one device, or on two at once, so that over
 * all turns kernels and layouts have met the same machine.
 */
async function takeTurns(groups, until) {
  for (let round = 0; round < leastRounds || performance.now() < until; round++) {
    for (const { feed, recorder, windows, runs, steps } of groups) {
      for (const run of round % 2 ? [...runs].reverse() : runs) {
        const window = await recorder.run(steps, 1);
        const own = await trained(run, feed);
        const seconds = median(own.map((s) => s.seconds));
        [run.leading, run.counted] = [stepsWithin(seconds, LEADING_SECONDS), stepsWithin(seconds)];
        if (round === 0) continue; // warms up
        windows.push(window);
        run.steps.push(...own);
      }
    }
  }
}

async function runModel(name, config, machine, until) {
  const groups = await openLayouts(name, config, machine);
  await takeTurns(groups, until);
  const rows = [];
  for (const { recorder, windows, runs } of groups) {
    const recorded = await recorder.summary(windows, 'mean');
    await recorder.close();
    const costs = profiledCosts(profile.profileOf(recorded, machine));
    const traces = windows.map((window) => profile.speedTraces(recorded, window)).filter((t) => t !== undefined);
    if (traces.length === 0) throw new Error(`${name}: others took the cores all the time; run it on an idle machine`);
    for (const run of runs) rows.push(await rowOf(name, run, costs, traces));
  }
  return rows;
}

async function rowOf(name, { layout, plan, session, steps }, costs, traces) {
  const planned = session.plannedPeaks();
  const peaks = await session.measuredPeaks();
  await session.close();
  const priced = { ...plan, request: { ...plan.request, costs } };
  const steady = plans.steadyStepOf(priced);
  if (!steady) throw new Error(`${name}: steps of ${layout.schedule} can not be begun ahead`);
  // Which core a device has is not known: each device meets each core's trace.
  const simulated = traces.flatMap((speeds, i) =>
    BEGINS.map((share, k) =>
      plans.steadyStepOf(priced, {
        begin: share * speeds[0].seconds,
        speeds: (i + k) % 2 ? [...speeds].reverse() : speeds,
      }),
    ),
  );
  const predicted = mean(simulated.map((s) => s.stepSeconds));
  const measured = mean(steps.map((s) => s.seconds));
  return {
    model: name,
    devices: layout.devices,
    stages: plan.partition.stages,
    placement: plan.placement,
    schedule: plan.schedules.train.name,
    microbatches: layout.microbatches,
    predictedSeconds: predicted,
    steadySeconds: steady.stepSeconds,
    measuredSeconds: measured,
    error: predicted / measured - 1,
    steadyError: steady.stepSeconds / measured - 1,
    busyErrors: plan.request.devices.map(
      (_, d) => mean(simulated.map((s) => s.busySeconds[d])) / mean(steps.map((s) => s.busy[d])) - 1,
    ),
    memoryErrorBytes: Math.max(...planned.map((p, d) => Math.abs(p - peaks[d]))),
    steps: steps.length,
  };
}

const end = performance.now() + minutes * 60e3;
console.error('machine …');
const machine = await profile.measureMachine({ quantile: 0.5 });
console.error(JSON.stringify(machine));
const rows = [];
for (const [i, name] of chosen.entries()) {
  const share = (end - performance.now()) / (chosen.length - i);
  rows.push(...(await runModel(name, models[name], machine, performance.now() + share)));
  console.error(`${name}: done`);
}

const errors = rows.map((row) => Math.abs(row.error));
const busyErrors = rows.flatMap((row) => row.busyErrors.map(Math.abs));
const figures = {
  layouts: rows.length,
  meanError: mean(errors),
  meanSteadyError: mean(rows.map((row) => Math.abs(row.steadyError))),
  bias: mean(rows.map((row) => row.error)),
  largestError: errors.length > 0 ? Math.max(...errors) : null,
  rankCorrelation: rankCorrelation(
    rows.map((row) => row.predictedSeconds),
    rows.map((row) => row.measuredSeconds),
  ),
  meanBusyError: mean(busyErrors),
  memoryErrorBytes: Math.max(...rows.map((row) => row.memoryErrorBytes)),
};
const text = `${table(
  [
    'model',
    'devices',
    'placement',
    'schedule',
    'M',
    'predicted ms',
    'measured ms',
    'error',
    'steady',
    'busy error',
    'memory',
    'steps',
  ],
  rows.map((r) => [
    r.model,
    r.devices,
    r.placement.join(' '),
    r.schedule,
    r.microbatches,
    milliseconds(r.predictedSeconds),
    milliseconds(r.measuredSeconds),
    percent(r.error),
    percent(r.steadyError),
    r.busyErrors.map(percent).join(', '),
    `${r.memoryErrorBytes} B`,
    r.steps,
  ]),
)}

${figures.layouts} layouts
mean error ${percent(figures.meanError)}, bias ${percent(figures.bias)}, largest ${percent(figures.largestError)}; with constant speeds ${percent(figures.meanSteadyError)}
rank correlation ${figures.rankCorrelation?.toFixed(4) ?? '-'}
mean error of a device's busy time ${percent(figures.meanBusyError)}
largest error of memory ${figures.memoryErrorBytes} B`;
console.log(text);
if (flags.out) {
  writeFileSync(
    flags.out,
    `# Predicted and measured step times

\`node bench/predict.mjs\` on ${cpus()[0].model.trim()}, ${cpus().length} cores, Node ${process.versions.node}. What is compared, and how:
[docs/costs.md](../docs/costs.md).

\`\`\`
${text}
\`\`\`
`,
  );
}
if (flags.json) writeFileSync(flags.json, `${JSON.stringify({ version: 1, machine, figures, rows }, null, 1)}\n`);

// Does the prediction hold? Predicted against measured step time of this machine, over models, partitions, schedules and
// microbatches.
//
//   node bench/predict.mjs [--minutes 7] [--models mlp,lenet] [--out bench/predict.md] [--json predict.json]
//
// For each model: its kernels are timed in steps of one device (two at once for layouts of two), then all of its layouts
// run in turn, a few steps each, round after round. Steps that other processes have held up do not count (Linux tells);
// a layout with fewer than MINIMUM undisturbed steps is listed, and left out of the figures. Run it on an idle machine
// with at least two cores.
import { writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { experiment, makePlan, profile, profiledCosts, Session, schedule, table } from 'partita';

const { values: flags } = parseArgs({
  options: {
    minutes: { type: 'string', default: '7' },
    models: { type: 'string' },
    out: { type: 'string' },
    json: { type: 'string' },
  },
});

/** Undisturbed steps that a layout needs. */
const MINIMUM = 5;
/** Where there are so many of each, a model is done. */
const ENOUGH = 40;

const digits = (batchSize) => ({ kind: 'digits', batchSize });
const models = {
  mlp: { model: { kind: 'mlp', hidden: [512, 512, 512] }, data: digits(128) },
  lenet: { model: { kind: 'lenet', widths: [16, 32] }, data: digits(128) },
  resnet: { model: { kind: 'resnet', widths: [8, 16, 32], blocks: 1 }, data: digits(64) },
  unet: { model: { kind: 'unet', depth: 2, width: 8 }, data: digits(32) },
  gpt: { model: { kind: 'gpt', layers: 4, width: 64, context: 64 }, data: { kind: 'text', batchSize: 16 } },
  lstm: { model: { kind: 'lstm', hidden: 64, numLayers: 3, context: 32 }, data: { kind: 'text', batchSize: 32 } },
};

const layoutsOf = () => {
  const list = [
    { devices: 1, microbatches: 1 },
    { devices: 1, microbatches: 4 },
  ];
  for (const name of schedule.scheduleNames) {
    for (const microbatches of name === 'gpipe' || name === '1f1b' ? [4, 8] : [4]) {
      list.push({ devices: 2, microbatches, schedule: name, placement: schedule.schedulePlacement(name, 2) });
    }
  }
  for (const name of ['gpipe', '1f1b']) {
    list.push({ devices: 2, microbatches: 4, schedule: name, placement: [0, 1, 0, 1] });
    list.push({ devices: 2, microbatches: 4, schedule: name, placement: [0, 0, 1, 1] });
  }
  return list;
};

const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];
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

async function runModel(name, config, machine, until) {
  const profiles = new Map();
  const runs = [];
  for (const layout of layoutsOf()) {
    const { prepared, request } = requestOf(config, layout);
    const feed = profile.feedOf(prepared);
    const key = `${layout.microbatches} ${layout.devices}`;
    if (!profiles.has(key)) {
      profiles.set(key, await profile.profileModel(request, feed, machine, { steps: 25, warmUp: 8 }));
    }
    const costs = profiledCosts(profiles.get(key));
    let plan;
    try {
      plan = makePlan({ ...request, costs });
    } catch (error) {
      console.error(`${name} ${JSON.stringify(layout)}: ${error.message}`);
      continue;
    }
    runs.push({ name, layout, plan, feed, steps: [], session: await Session.open(plan, { seed: 0, audit: false }) });
  }
  // One round beyond the first at least, however long the profiles have taken.
  for (let round = 0; round < 2 || performance.now() < until; round++) {
    for (const run of round % 2 ? [...runs].reverse() : runs) {
      for (let i = 0; i < (round === 0 ? 8 : 4); i++) {
        const tensors = run.feed.tensorsAt(i);
        const before = profile.runDelaySeconds() ?? 0;
        const { seconds, reports } = await run.session.run('train', tensors, { step: i, lr: 1e-3 });
        const delaySeconds = (profile.runDelaySeconds() ?? 0) - before;
        // The first of a visit finds other models' data in the caches.
        if (round > 0 && i > 0) run.steps.push({ seconds, delaySeconds, busy: reports.map((r) => r.busySeconds) });
      }
    }
    if (runs.every((run) => run.steps.filter(profile.isUndisturbed).length >= ENOUGH)) break;
  }
  const rows = [];
  for (const { layout, plan, steps, session } of runs) {
    const quiet = steps.filter(profile.isUndisturbed);
    const counted = profile.leastDisturbed(steps);
    const measured = median(counted.map((s) => s.seconds));
    const busy = plan.request.devices.map((_, d) => median(counted.map((s) => s.busy[d])));
    const { stepSeconds, busySeconds } = plan.prediction;
    const planned = session.plannedPeaks();
    const peaks = await session.measuredPeaks();
    await session.close();
    rows.push({
      model: name,
      devices: layout.devices,
      stages: plan.partition.stages,
      placement: plan.placement,
      schedule: plan.schedules.train.name,
      microbatches: layout.microbatches,
      predictedSeconds: stepSeconds,
      measuredSeconds: measured,
      error: stepSeconds / measured - 1,
      busyErrors: busy.map((b, d) => busySeconds[d] / b - 1),
      memoryErrorBytes: Math.max(...planned.map((p, d) => Math.abs(p - peaks[d]))),
      undisturbedSteps: quiet.length,
      counts: quiet.length >= MINIMUM,
    });
  }
  return rows;
}

const chosen = Object.entries(models).filter(([name]) => !flags.models || flags.models.split(',').includes(name));
const end = performance.now() + Number(flags.minutes) * 60e3;
console.error('machine …');
const machine = await profile.measureMachine();
console.error(JSON.stringify(machine));
const rows = [];
for (const [i, [name, config]] of chosen.entries()) {
  const share = (end - performance.now()) / (chosen.length - i);
  rows.push(...(await runModel(name, config, machine, performance.now() + share)));
  console.error(`${name}: done`);
}

const counted = rows.filter((row) => row.counts);
const errors = counted.map((row) => Math.abs(row.error));
const busyErrors = counted.flatMap((row) => row.busyErrors.map(Math.abs));
const figures = {
  layouts: rows.length,
  counted: counted.length,
  meanError: mean(errors),
  bias: mean(counted.map((row) => row.error)),
  largestError: errors.length > 0 ? Math.max(...errors) : null,
  rankCorrelation: rankCorrelation(
    counted.map((row) => row.predictedSeconds),
    counted.map((row) => row.measuredSeconds),
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
    r.busyErrors.map(percent).join(', '),
    `${r.memoryErrorBytes} B`,
    `${r.undisturbedSteps}${r.counts ? '' : ' (too few)'}`,
  ]),
)}

${figures.counted} of ${figures.layouts} layouts counted (with ${MINIMUM} undisturbed steps or more)
mean error ${percent(figures.meanError)}, bias ${percent(figures.bias)}, largest ${percent(figures.largestError)}
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

// Does the prediction hold? Predicted against measured step time of this machine, over models, partitions, schedules and
// microbatches.
//
//   node bench/predict.mjs [--minutes 7] [--models mlp,lenet] [--out bench/predict.md] [--json predict.json]
//
// For each model, round after round: its kernels are timed in steps of one device (two at once for layouts of two), and right
// behind all layouts that they predict run a few steps each; of these the least disturbed half counts (Linux tells which
// waited for a core). Errors are medians over the rounds. Run it on an idle machine with at least two cores.
import { writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { experiment, makePlan, profile, profiledCosts, Session, schedule, simulate, table } from 'partita';

const { values: flags } = parseArgs({
  options: {
    minutes: { type: 'string', default: '7' },
    models: { type: 'string' },
    out: { type: 'string' },
    json: { type: 'string' },
  },
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

/**
 * The layouts of a model in rounds. In each, the kernels are timed anew right before the layouts that they predict: the
 * clock of a shared machine and its neighbours change within seconds, and a prediction is held to steps of its own time.
 */
async function runModel(name, config, machine, until) {
  const groups = new Map();
  for (const layout of layoutsOf()) {
    const { prepared, request } = requestOf(config, layout);
    const key = `${layout.microbatches} ${layout.devices}`;
    let group = groups.get(key);
    if (!group) {
      const feed = profile.feedOf(prepared);
      const first = await profile.profileModel(request, feed, machine, { steps: 15, warmUp: 6 });
      groups.set(key, (group = { request, feed, costs: profiledCosts(first), runs: [] }));
    }
    let plan;
    try {
      plan = makePlan({ ...request, costs: group.costs });
    } catch (error) {
      console.error(`${name} ${JSON.stringify(layout)}: ${error.message}`);
      continue;
    }
    group.runs.push({ layout, plan, rounds: [], session: await Session.open(plan, { seed: 0, audit: false }) });
  }
  for (let round = 0; round < 3 || performance.now() < until; round++) {
    for (const { request, feed, runs } of groups.values()) {
      const costs = profiledCosts(await profile.profileModel(request, feed, machine, { steps: 8, warmUp: 3 }));
      for (const run of round % 2 ? [...runs].reverse() : runs) {
        const steps = [];
        for (let i = 0; i < (round === 0 ? 8 : 6); i++) {
          const tensors = feed.tensorsAt(i);
          const before = profile.runDelaySeconds() ?? 0;
          const { seconds, reports } = await run.session.run('train', tensors, { step: i, lr: 1e-3 });
          const delaySeconds = (profile.runDelaySeconds() ?? 0) - before;
          // The first of a visit finds other models' data in the caches.
          if (i > 0) steps.push({ seconds, delaySeconds, busy: reports.map((r) => r.busySeconds) });
        }
        if (round === 0) continue; // warms up
        const counted = profile.leastDisturbed(steps);
        const { devices } = run.plan.request;
        const { stepSeconds, busySeconds } = simulate.predict(run.plan.programs.train, devices, costs);
        const measured = median(counted.map((s) => s.seconds));
        const busy = devices.map((_, d) => median(counted.map((s) => s.busy[d])));
        run.rounds.push({ predicted: stepSeconds, measured, busyErrors: busy.map((b, d) => busySeconds[d] / b - 1) });
      }
    }
  }
  const rows = [];
  for (const { runs } of groups.values()) {
    for (const { layout, plan, rounds, session } of runs) {
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
        predictedSeconds: median(rounds.map((r) => r.predicted)),
        measuredSeconds: median(rounds.map((r) => r.measured)),
        error: median(rounds.map((r) => r.predicted / r.measured - 1)),
        busyErrors: planned.map((_, d) => median(rounds.map((r) => r.busyErrors[d]))),
        memoryErrorBytes: Math.max(...planned.map((p, d) => Math.abs(p - peaks[d]))),
        rounds: rounds.length,
      });
    }
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

const errors = rows.map((row) => Math.abs(row.error));
const busyErrors = rows.flatMap((row) => row.busyErrors.map(Math.abs));
const figures = {
  layouts: rows.length,
  meanError: mean(errors),
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
    'busy error',
    'memory',
    'rounds',
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
    r.rounds,
  ]),
)}

${figures.layouts} layouts
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

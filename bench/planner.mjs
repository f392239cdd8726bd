// Is the plan that the search chooses as fast as the best that other systems' rules would have made, measured?
//
//   node bench/planner.mjs [--rounds 9] [--steps 4] [--models unet,resnet,lstm]
//                          [--microbatches 2,4,8] [--out bench/planner.md]
//
// Three models whose graphs branch or skip, on two devices of this machine. The baselines are the cuts of others (equal
// numbers of nodes, equal parameters, torchgpipe's blocks, PipeDream's rule) under gpipe and 1f1b with the numbers of
// microbatches given; the search has the same numbers, and whatever cuts and schedules it likes. The model's kernels are
// timed first (profiled costs). All plans then run in turn, a few steps each, round after round, every other one in
// reverse. What is compared is the median over the rounds, of a round the median of its undisturbed steps. Two cores must be
// free.
import { writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { median } from './compare/statistics.mjs';
import { flagsOf, namesOf, numberOf, wholesOf } from './flags.mjs';

const { values: flags } = flagsOf(import.meta.url, {
  rounds: { type: 'string', default: '9' },
  steps: { type: 'string', default: '4' },
  models: { type: 'string', default: 'unet,resnet,lstm' },
  microbatches: { type: 'string', default: '2,4,8' },
  out: { type: 'string' },
});
const self = import.meta.url;
const [turns, stepsAVisit] = ['rounds', 'steps'].map((name) =>
  numberOf(self, name, flags[name], { atLeast: 1, whole: true }),
);
const counts = wholesOf(self, 'microbatches', flags.microbatches);

const models = {
  unet: { model: { kind: 'unet', depth: 2, width: 8 }, data: { kind: 'digits', batchSize: 32 } },
  resnet: { model: { kind: 'resnet', widths: [8, 16, 32], blocks: 1 }, data: { kind: 'digits', batchSize: 64 } },
  lstm: {
    model: { kind: 'lstm', hidden: 64, numLayers: 3, context: 32 },
    data: { kind: 'text', batchSize: 32 },
  },
};
const chosen = namesOf(self, 'models', flags.models, Object.keys(models));
const theirs = ['equal', 'parameters', 'blocks', 'pipedream'];

const { experiment, profile, profiledCosts, Session, searchPlan, table } = await import('partita');

async function compare(name) {
  const parsed = experiment.parseExperiment({ ...models[name], devices: 2, steps: 1e6 }, 'bench');
  const prepared = experiment.prepareExperiment(parsed, { where: 'bench' });
  const asked = experiment.planRequestOf(prepared, 'train');
  const request = { ...asked, programs: { train: asked.programs.train } };
  const feed = profile.feedOf(prepared);
  const machine = await profile.measureMachine({ quantile: 0.5 });
  // Microbatches of every size, on two devices at once, in turns.
  const requests = counts.map((microbatches) => ({ ...request, microbatches }));
  const timed = await profile.profileModels(requests, feed, machine, { steps: 40, warmUp: 6, statistic: 'mean' });
  const costs = profiledCosts(timed);
  const limits = { microbatches: counts, evaluations: 60, timeLimitSeconds: 60 };
  const chosen = await searchPlan({ ...request, costs }, limits);
  const baselines = [];
  for (const microbatches of counts) {
    for (const way of theirs) {
      for (const schedule of ['gpipe', '1f1b']) {
        const found = await searchPlan(
          { ...request, costs },
          {
            microbatches: [microbatches],
            partitions: [way],
            schedules: [schedule],
            stagesPerDevice: [1],
            fewerDevices: false,
          },
        ).catch(() => undefined);
        if (found) baselines.push({ name: `${way} ${schedule} M=${microbatches}`, plan: found.plan });
      }
    }
  }
  const { best } = chosen;
  const ours = { name: `search: ${best.partition} ${best.schedule} M=${best.microbatches}`, plan: chosen.plan };
  const runs = [];
  for (const { name: label, plan } of [ours, ...baselines]) {
    runs.push({ label, plan, session: await Session.open(plan, { seed: 0, audit: false }), rounds: [] });
  }
  for (let round = 0; round <= turns; round++) {
    for (const run of round % 2 ? [...runs].reverse() : runs) {
      const steps = [];
      for (let i = 0; i <= stepsAVisit; i++) {
        const tensors = feed.tensorsAt(i);
        const delay = profile.watchRunDelay();
        const { seconds } = await run.session.run('train', tensors, { step: i, lr: 1e-3 });
        const delaySeconds = delay();
        // The first round warms up, and the first step of a visit finds other models' data in the caches.
        if (round > 0 && i > 0) steps.push({ seconds, delaySeconds });
      }
      if (round > 0) run.rounds.push(median(profile.leastDisturbed(steps).map((s) => s.seconds)));
    }
  }
  for (const run of runs) await run.session.close();
  const rows = runs.map(({ label, plan, rounds }) => ({
    label,
    measured: median(rounds),
    predicted: plan.prediction.stepSeconds,
  }));
  const [own, ...others] = rows;
  others.sort((a, b) => a.measured - b.measured);
  return { name, own, others, ratio: own.measured / others[0].measured, gap: chosen.gap };
}

const lines = [];
for (const name of chosen) {
  console.error(`${name} …`);
  const { own, others, ratio, gap } = await compare(name);
  const ms = (s) => (s * 1e3).toFixed(3);
  lines.push(
    `${name}: the search's plan takes ${ratio.toFixed(3)} of the best baseline's time (its own gap to the bound ${(100 * gap).toFixed(1)} %)`,
    table(
      ['plan', 'measured ms', 'predicted ms'],
      [own, ...others.slice(0, 6)].map((r) => [r.label, ms(r.measured), ms(r.predicted)]),
      { align: ['left', 'right', 'right'] },
    ),
    '',
  );
}
console.log(lines.join('\n'));
if (flags.out) {
  const head = `# The search's plans beside other systems' rules, measured\n\n\`node bench/planner.mjs\` on ${cpus()[0].model.trim()}, ${cpus().length} cores, Node ${process.versions.node}; two devices, microbatches ${counts.join(', ')}.\n`;
  writeFileSync(flags.out, `${head}\n\`\`\`\n${lines.join('\n').trimEnd()}\n\`\`\`\n`);
}

import { experiment, makePlan, profile, profiledCosts, Session, schedule, simulate } from 'partita';
const [name, sched = 'gpipe', secs = '15'] = process.argv.slice(2);
const digits = (batchSize) => ({ kind: 'digits', batchSize });
const models = { lenet: { model: { kind: 'lenet', widths: [16, 32] }, data: digits(128) }, resnet: { model: { kind: 'resnet', widths: [8, 16, 32], blocks: 1 }, data: digits(64) }, mlp: { model: { kind: 'mlp', hidden: [512, 512, 512] }, data: digits(128) } };
const parsed = experiment.parseExperiment({ ...models[name], microbatches: 4, steps: 1e6 }, 'bench');
const prepared = experiment.prepareExperiment(parsed, { where: 'bench' });
const base = { ...experiment.planRequestOf(prepared, 'train') }; base.programs = { train: base.programs.train };
const machine = await profile.measureMachine({ quantile: .5 });
const feed = profile.feedOf(prepared);
const devs = (n) => Array.from({ length: n }, () => ({ backend: 'wasm', memory: null, speed: 1 }));
const one = makePlan(profile.onOneDevice({ ...base, devices: devs(1) }, 'wasm'));
const rec = await profile.StepRecorder.open(one, feed, { busyDevices: 2, seed: 0 });
await rec.run(5, 5);
const two = makePlan({ ...base, devices: devs(2), schedule: sched, placement: schedule.schedulePlacement(sched, 2) });
const S = await Session.open(two, { seed: 0, audit: false });
const windows = [], pipe = [], plain = [];
const end = performance.now() + 1e3 * secs;
while (performance.now() < end) {
  windows.push(await rec.run(4, 1));
  for (let i = 0; i < 9; i++) { const d = profile.watchRunDelay(); const r = await S.run('train', feed.tensorsAt(i), { step: i, lr: 1e-3, profile: i % 2 === 1 }); const delay = d(); if (i > 0) (i % 2 ? pipe : plain).push({ ...r, delay }); }
}
const mean = (l) => l.reduce((a, b) => a + b, 0) / l.length;
const sum = await rec.summary(windows, 'mean');
const costs = profiledCosts(profile.profileOf(sum, machine));
const sim = simulate.simulate(two.programs.train, { devices: two.request.devices, costs }, {});
const okPipe = pipe.filter((r) => r.delay < .02 * r.seconds), okPlain = plain.filter((r) => r.delay < .02 * r.seconds);
console.log('recorded ok', sum.counted, 'pipe ok', okPipe.length, pipe.length, okPlain.length);
console.log('step: recorded', mean(okPipe.map((r) => r.seconds)) * 1e3, 'plain', mean(okPlain.map((r) => r.seconds)) * 1e3, 'all plain', mean(plain.map((r) => r.seconds)) * 1e3, 'sim', sim.stepSeconds * 1e3, 'host', sim.hostSeconds * 1e3);
two.programs.train.devices.forEach(({ instructions }, d) => {
  const kinds = {};
  instructions.forEach((ins, i) => { const k = kinds[ins.kind] ??= { meas: 0, sim: 0, n: 0 }; k.n++; k.meas += mean(okPipe.map((r) => r.reports[d].times[2 * i + 1] - r.reports[d].times[2 * i])); const a = sim.timeline.at(d, i); k.sim += 1e3 * (a.end - a.begin); });
  const first = mean(okPipe.map((r) => Math.min(...r.reports.map((x) => x.times[0])) )), span = mean(okPipe.map((r) => r.reports[d].times.at(-1) - r.reports[d].times[0]));
  const late = mean(okPipe.map((r) => r.reports[d].times[0] - Math.min(...r.reports.map((x) => x.times[0]))));
  const gaps = mean(okPipe.map((r) => { let g = 0; const t = r.reports[d].times; for (let i = 1; i < instructions.length; i++) g += t[2 * i] - t[2 * i - 1]; return g; }));
  console.log('device', d, 'span', span.toFixed(3), 'starts late', late.toFixed(3), 'gaps', gaps.toFixed(3), Object.entries(kinds).map(([k, v]) => `${k} n${v.n} ${v.meas.toFixed(3)}/${v.sim.toFixed(3)}`).join('  '), 'busy', mean(okPipe.map((r) => r.reports[d].busySeconds)) * 1e3, mean(okPlain.map((r) => r.reports[d].busySeconds)) * 1e3, 'sim', sim.devices[d].busySeconds * 1e3);
});
await rec.close(); await S.close();

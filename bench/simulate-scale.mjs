// How long does it take to simulate a pipeline that nobody has? 1F1B over devices and microbatches, generated as it is read.
//
//   node bench/simulate-scale.mjs [--devices 64,256,1024] [--microbatches 64,256,1024] [--sums] [--out bench/simulate-scale.md]
//       [--csv bench/simulate-scale.csv]
//
// Each size runs in a process of its own, so that its memory is its own. `--sums` keeps no timeline: a critical path and
// causes of idling need one.
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { flagsOf, refuse, wholesOf } from './flags.mjs';

const { values: flags } = flagsOf(import.meta.url, {
  devices: { type: 'string', default: '64,256,1024' },
  microbatches: { type: 'string', default: '64,256,1024' },
  sums: { type: 'boolean', default: false },
  out: { type: 'string' },
  csv: { type: 'string' },
  one: { type: 'string' },
});

const self = import.meta.url;
const sizes = {
  devices: wholesOf(self, 'devices', flags.devices),
  microbatches: wholesOf(self, 'microbatches', flags.microbatches),
};
if (flags.one !== undefined && !/^[1-9]\d*x[1-9]\d*$/.test(flags.one))
  refuse(self, `--one ${flags.one}: devices x microbatches was expected, as in 64x256`);

const { formatCount, formatSeconds, schedule, simulate, table } = await import('partita');

/** The row of a device under 1F1B: warm-up, one forward one backward, cool-down. */
function* row(device, devices, microbatches) {
  const warmUp = Math.min(devices - device, microbatches);
  for (let m = 0; m < microbatches + warmUp; m++) {
    if (m >= warmUp) yield schedule.task('BW', device, m - warmUp);
    if (m < microbatches) yield schedule.task('F', device, m);
  }
}

/** Nodes of 8 devices with a network card each; stages of 1 ms forward, 2 ms backward, 16 MB between them. */
function play(devices, microbatches) {
  const cluster = simulate.readCluster(
    JSON.stringify({
      devices,
      groups: [
        { devices: 8, bandwidth: 300e9, latency: 2e-6, uplink: 50e9 },
        { bandwidth: 25e9, latency: 1e-5 },
      ],
    }),
    'the bench',
  );
  const costs = { source: 'bench', kernelSeconds: () => 0, instructionSeconds: () => 0, link: cluster.link };
  const program = simulate.pipelineProgram({
    stages: devices,
    devices,
    microbatches,
    placement: Array.from({ length: devices }, (_, s) => s),
    row: (d) => row(d, devices, microbatches),
    seconds: (t) => (t.kind === 'F' ? 1e-3 : 2e-3),
    messageBytes: () => 16e6,
  });
  return simulate.simulate(program, { ...cluster, costs }, { record: !flags.sums });
}

if (flags.one !== undefined) {
  const [devices, microbatches] = flags.one.split('x').map(Number);
  const [begin, cpu] = [performance.now(), process.cpuUsage()];
  const { stepSeconds, bubbleFraction, actions } = play(devices, microbatches);
  const seconds = (performance.now() - begin) / 1000;
  const cpuSeconds = process.cpuUsage(cpu).user / 1e6;
  const peakBytes = process.resourceUsage().maxRSS * 1024;
  console.log(
    JSON.stringify({ devices, microbatches, stepSeconds, bubbleFraction, actions, seconds, cpuSeconds, peakBytes }),
  );
} else {
  const rows = [];
  const lines = ['devices,microbatches,actions,seconds,cpuSeconds,peakBytes'];
  for (const devices of sizes.devices) {
    for (const microbatches of sizes.microbatches) {
      const args = [fileURLToPath(self), '--one', `${devices}x${microbatches}`, ...(flags.sums ? ['--sums'] : [])];
      const { stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
      if (stderr) process.stderr.write(stderr);
      const r = JSON.parse(stdout);
      const perAction = `${((r.cpuSeconds / r.actions) * 1e6).toFixed(2)} µs`;
      const shown = [formatSeconds(r.stepSeconds), `${(100 * r.bubbleFraction).toFixed(1)} %`, formatCount(r.actions)];
      const spent = [
        formatSeconds(r.seconds),
        formatSeconds(r.cpuSeconds),
        perAction,
        `${Math.round(r.peakBytes / 2 ** 20)} MiB`,
      ];
      rows.push([r.devices, r.microbatches, ...shown, ...spent]);
      lines.push([devices, microbatches, r.actions, r.seconds, r.cpuSeconds, r.peakBytes].join());
      process.stderr.write(`${devices} devices, ${microbatches} microbatches: ${formatSeconds(r.seconds)}\n`);
    }
  }
  const head = [
    'devices',
    'microbatches',
    'step',
    'bubble',
    'actions',
    'seconds',
    'CPU',
    'CPU an action',
    'peak memory',
  ];
  const text = `${table(head, rows, { align: head.map(() => 'right') })}\n`;
  process.stdout.write(text);
  if (flags.csv) writeFileSync(flags.csv, `${lines.join('\n')}\n`);
  if (flags.out) {
    const about = `1F1B on ${cpus()[0].model}, Node ${process.versions.node}, ${flags.sums ? 'sums only' : 'with the timeline'}.`;
    writeFileSync(flags.out, `# Simulating large pipelines\n\n${about}\n\n\`\`\`\n${text}\`\`\`\n`);
  }
}

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { digits, partita, workFolder } from './run.ts';

const experiment = [...digits, '--devices', '2', '--microbatches', '4'];

describe('partita simulate of an experiment', () => {
  it('gives one JSON object: planned memory, times that add up, path and causes', async () => {
    const folder = workFolder();
    const [simulated, planned] = await Promise.all(
      (['simulate', 'plan'] as const).map(async (command) => {
        const { code, stdout } = await partita(folder, [command, ...experiment, '--json']);
        expect(code).toBe(0);
        return JSON.parse(stdout);
      }),
    );
    expect(simulated).toMatchObject({ version: 1, command: 'simulate', basis: 'simulated', steps: null });
    // What a plan predicts is the same play.
    expect(simulated.stepSeconds).toBe(planned.stepSeconds);
    expect(simulated.bubbleFraction).toBe(planned.bubbleFraction);
    expect(simulated.criticalPath.seconds).toBe(simulated.stepSeconds);
    // Steps of a training overlap: one is shorter than alone, and no shorter than what a device has to do.
    expect(simulated.steadyStepSeconds).toBe(planned.steadyStepSeconds);
    expect(simulated.steadyStepSeconds).toBeLessThan(simulated.stepSeconds);
    const busiest = Math.max(...simulated.devices.map((d: { busySeconds: number }) => d.busySeconds));
    expect(simulated.steadyStepSeconds).toBeGreaterThanOrEqual(busiest);
    const printed = await partita(folder, ['simulate', ...experiment]);
    expect(printed.stdout).toMatch(
      /\nIn a training, whose steps are begun ahead: \S+ \S+ from barrier to barrier, bubble \S+ %\n/,
    );
    let idle = 0;
    simulated.devices.forEach((d: Record<string, never>, i: number) => {
      const { peakBytesPlanned, byCategory, capacityBytes } = planned.devices[i];
      expect(d).toMatchObject({ peakBytesPlanned, peakBytesMeasured: null, byCategory, capacityBytes });
      const waited = Object.values<number>(d.waitingSeconds!).reduce((a, b) => a + b, 0);
      expect(d.busySeconds! + waited).toBeCloseTo(simulated.stepSeconds, 12);
      idle += waited;
    });
    const causes = simulated.idleCauses.reduce((sum: number, c: { seconds: number }) => sum + c.seconds, 0);
    expect(causes).toBeCloseTo(idle, 12);
  });

  it('takes a schedule from a file by the flag that plays it without an experiment', async () => {
    const folder = workFolder();
    writeFileSync(join(folder, 's.csv'), '0F0,0F1,,0B0,0B1\n1F0,1B0,1F1,1B1,\n');
    writeFileSync(join(folder, 'bad.csv'), '0F0,0B0\nx,\n');
    const play = (name: string) =>
      partita(folder, ['simulate', ...digits, '--devices', '2', '--microbatches', '2', '--schedule', name, '--json']);
    const [good, bad, none] = await Promise.all([play('s.csv'), play('bad.csv'), play('none.csv')]);
    expect(good.code).toBe(0);
    expect(JSON.parse(good.stdout)).toMatchObject({ schedule: join(folder, 's.csv'), microbatches: 2 });
    expect(bad.code).toBe(1);
    expect(JSON.parse(bad.stdout).error.message).toMatch(/bad\.csv is not a schedule: row 2, column 1: "x"/);
    expect(none.code).toBe(2);
    expect(JSON.parse(none.stdout).error.message).toContain('no such file');
  });

  it('draws steps with a seed, and writes a timeline', async () => {
    const folder = workFolder();
    const jitter = ['--jitter', '0.2', '--draws', '5', '--json'];
    const play = async (...more: string[]) => {
      const { code, stdout } = await partita(folder, ['simulate', ...experiment, ...jitter, ...more]);
      expect(code).toBe(0);
      return JSON.parse(stdout);
    };
    const [one, same, other] = await Promise.all([play('--trace', 't.json'), play(), play('--jitter-seed', '1')]);
    expect(same).toEqual(one);
    expect(other.stepSeconds).not.toBe(one.stepSeconds);
    expect(one.steps).toMatchObject({ draws: 5 });
    expect(one.steps.p5).toBeLessThan(one.steps.p95);
    const trace = JSON.parse(readFileSync(join(folder, 't.json'), 'utf8'));
    expect(trace.otherData.counters).toContain('times are simulated');
    const slices = trace.traceEvents.filter((e: { ph: string }) => e.ph === 'X');
    const end = Math.max(...slices.map((e: { ts: number; dur: number }) => e.ts + e.dur));
    expect(end / 1e6).toBeCloseTo(one.stepSeconds, 9);
  });

  it('plays on a cluster of a file, the first devices of it, and refuses what does not fit there', async () => {
    const folder = workFolder();
    const write = (name: string, cluster: unknown) => writeFileSync(join(folder, name), JSON.stringify(cluster));
    const fast = { flopsPerSecond: 1e15, bytesPerSecond: 1e15, secondsPerKernel: 0 };
    write('big.json', { devices: [{ count: 4, memory: '16GiB', ...fast }], links: { bandwidth: 1e6, latency: 0 } });
    write('small.json', { devices: [{ count: 2, memory: '64KiB' }] });
    const on = (cluster: string, ...more: string[]) =>
      partita(folder, ['simulate', ...digits, '--microbatches', '4', '--cluster', cluster, '--json', ...more]);
    const [three, tooMany, tooSmall, twice, links] = await Promise.all([
      on('big.json', '--devices', '3'),
      on('big.json', '--devices', '5'),
      on('small.json', '--data.batchSize', '1024', '--model.hidden', '512'),
      on('big.json', '--memory', '1MiB'),
      on('big.json', '--links.bandwidth', '1e9'),
    ]);
    const { devices, criticalPath } = JSON.parse(three.stdout);
    expect(devices.map((d: { capacityBytes: number }) => d.capacityBytes)).toEqual([1, 2, 3].map(() => 16 * 2 ** 30));
    // Devices next to infinitely fast, links slow: sending is all.
    expect(criticalPath.secondsByKind.send / criticalPath.seconds).toBeGreaterThan(0.99);
    expect([tooMany.code, JSON.parse(tooMany.stdout).error.code]).toEqual([2, 'cluster-small']);
    expect([tooSmall.code, JSON.parse(tooSmall.stdout).error.code]).toEqual([1, 'plan-does-not-fit']);
    expect(JSON.parse(tooSmall.stdout).error.remedy).toMatch(/^(--microbatches|give the devices of the cluster)/);
    expect([twice.code, JSON.parse(twice.stdout).error.code]).toEqual([2, 'cluster-devices']);
    expect([links.code, JSON.parse(links.stdout).error.code]).toEqual([2, 'cluster-links']);
  });

  it('plans and searches for a cluster by what it is played on, and stores no plan of one', async () => {
    const folder = workFolder();
    const groups = (more: object) => [
      { devices: 1, bandwidth: 1e8, latency: 0, ...more },
      { bandwidth: 1e8, latency: 0 },
    ];
    const write = (name: string, more: object) =>
      writeFileSync(join(folder, name), JSON.stringify({ devices: 3, groups: groups(more) }));
    write('narrow.json', { uplink: 1e5 });
    const run = async (command: string, cluster: string, ...more: string[]) => {
      const flags = [...digits, '--microbatches', '4', '--cluster', cluster, '--json', ...more];
      const { code, stdout } = await partita(folder, [command, ...flags]);
      return { code, ...JSON.parse(stdout) };
    };
    const [played, planned, searched, stored] = await Promise.all([
      run('simulate', 'narrow.json'),
      run('plan', 'narrow.json'),
      run('plan', 'narrow.json', '--search', '--search-schedules', 'gpipe', '--evaluations', '3'),
      run('plan', 'narrow.json', '--plan-out', 'p.json'),
    ]);
    expect(planned.stepSeconds).toBe(played.stepSeconds);
    expect(planned.devices).toHaveLength(3);
    // Its links are as slow as the ways out of its blocks: one device is best.
    expect(searched.search.best.placement).toEqual([0]);
    expect(searched.stepSeconds).toBeLessThan(planned.stepSeconds);
    expect(stored).toMatchObject({ code: 2, error: { code: 'command-line', flag: 'plan-out' } });
  });

  it('tells why a device is idle, and refuses flags that say nothing', async () => {
    const folder = workFolder();
    const run = (...flags: string[]) => partita(folder, ['simulate', ...experiment, ...flags]);
    const [why, place, device, draws, stages] = await Promise.all([
      run('--why', '--why-at', '1:0'),
      run('--why-at', 'here'),
      run('--why-at', '2:0'),
      run('--draws', '5'),
      run('--why', '--times', '1,1,1'),
    ]);
    expect(why.code).toBe(0);
    expect(why.stdout).toContain('while in truth');
    expect(why.stdout).toMatch(/Device 1 at 0 s is (busy|idle)/);
    for (const refused of [place, device, draws, stages]) expect(refused.code).toBe(2);
    expect(place.stderr).toContain('--why-at 1:0.0005');
    expect(device.stderr).toContain('no device 2');
    expect(draws.stderr).toContain('--jitter 0.05 --draws 5');
    expect(stages.stderr).toContain('--why is of experiments, and --times of given stages');
  });
});

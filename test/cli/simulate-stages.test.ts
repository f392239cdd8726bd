import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { exitCodeOf } from '../../src/cli/failure.ts';
import { run } from '../../src/cli/simulate-stages.ts';
import { PartitaError } from '../../src/core/errors.ts';
import { onBusyMachines } from '../support/busy.ts';
import { partita, spawned, workFolder } from './run.ts';

const folder = workFolder();
const data = new URL('../schedule/data/', import.meta.url).pathname;
const file = (name: string, content: unknown): string => {
  writeFileSync(join(folder, name), typeof content === 'string' ? content : JSON.stringify(content));
  return name;
};

async function figures(...args: string[]) {
  const { code, stdout, stderr } = await partita(folder, ['simulate', ...args, '--json']);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return JSON.parse(stdout);
}

/** In this process: flags as `main.ts` hands them over. */
async function failure(args: string): Promise<PartitaError> {
  const words = args.split(' ');
  const own: Record<string, string> = {};
  const keys: [string, string][] = [];
  let experiment: string | undefined;
  for (let i = 0; i < words.length; i++) {
    const [, flag, glued] = /^--([^=]+)(?:=(.*))?$/.exec(words[i]!) ?? [];
    if (flag === undefined) experiment = words[i]!;
    else if (/^(stages|times|link|costs|minimize|in-flight|kept-for-weights)$/.test(flag)) {
      own[flag.replace(/-(.)/g, (_, c: string) => c.toUpperCase())] = glued ?? words[++i]!;
    } else if (flag !== 'memory') keys.push([flag, glued ?? words[++i]!]);
    else own.memory = words[++i]!;
  }
  const { memory, ...flags } = own;
  const paths = (text: string): string => (/\.(json|csv)$/.test(text) ? join(folder, text) : text);
  const invocation = {
    command: 'simulate',
    file: experiment,
    keys: keys.map(([key, text]) => [key, paths(text)] as const),
    memory,
    own: Object.fromEntries(Object.entries(flags).map(([flag, text]) => [flag, paths(text)])),
    json: true,
    quiet: false,
    signal: new AbortController().signal,
  };
  try {
    await run(invocation);
  } catch (error) {
    expect(error).toBeInstanceOf(PartitaError);
    return error as PartitaError;
  }
  throw new Error(`accepted: ${args}`);
}

describe('partita simulate of stages', () => {
  it('gives the published bubble, with the fields of the contract', async () => {
    const result = await figures(
      ...'--stages 8 --microbatches 24 --schedule zb-h1 --times 18.522,18.086,9.337 --link 0.601'.split(' '),
    );
    expect(result).toMatchObject({ version: 1, schedule: 'zb-h1', stages: 8, microbatches: 24 });
    expect(result.bubbleFraction.toFixed(4)).toBe('0.1585');
    expect(result.devices).toHaveLength(8);
    for (const { busy, idle, peakInFlight } of result.devices) {
      expect(busy).toBeCloseTo(24 * (18.522 + 18.086 + 9.337), 6);
      expect(idle).toBeCloseTo(result.makespan - busy, 6);
      expect(peakInFlight).toBe(8);
    }
    expect(result.bubbleFractionMakespan).toBeCloseTo(1 - result.devices[0].busy / result.makespan, 12);
  });

  it('plays unequal stages of a graph over links that differ, by hand', async () => {
    const costs = {
      stages: [
        [1, 1, 0],
        [2, 2, 0],
        [3, 3, 0],
      ],
      link: [
        [0, 1, 1],
        [2, 0, 5],
        [0, 2, 4],
      ],
      edges: [
        [0, 1],
        [0, 2],
      ],
    };
    const result = await figures('--costs', file('costs.json', costs), '--schedule', 'gpipe');
    // 0F0 [0,1]; 1F0 [2,4] 1B0 [4,6]; 2F0 [5,8] 2B0 [8,11]; 0B0 waits for 1 until 7, for 2 until 16.
    expect(result.makespan).toBe(17);
    expect(result.devices.map((d: { busy: number }) => d.busy)).toEqual([2, 4, 6]);
    expect(result.bubbleFraction).toBeCloseTo(1 - 6 / 17, 12);
    // A flag wins over the file.
    expect((await figures('--costs', 'costs.json', '--schedule', 'gpipe', '--link', '0')).makespan).toBe(8);
  });

  it('lays stages over devices as the schedule does, in blocks, or as asked', async () => {
    const common = ['--stages', '4', '--microbatches', '2', '--times', '1,1,1'];
    const placed = async (...args: string[]) => (await figures(...common, ...args)).placement;
    expect(await placed('--schedule', 'zb-v')).toEqual([0, 1, 1, 0]);
    expect(await placed('--schedule', 'interleaved-1f1b')).toEqual([0, 1, 0, 1]);
    expect(await placed('--devices', '2')).toEqual([0, 0, 1, 1]);
    expect(await placed('--devices', '3')).toEqual([0, 0, 1, 2]);
    expect(await placed('--schedule', 'zb-h1', '--partition.placement', '0,1,0,1')).toEqual([0, 1, 0, 1]);
  });

  it("replays a file: PyTorch's, and what it wrote itself", async () => {
    const golden = await figures('--schedule', join(data, 'dualpipev_4rank_10mb.csv'), '--times', '1,1,1');
    expect(golden).toMatchObject({ stages: 8, microbatches: 10, placement: [0, 1, 2, 3, 3, 2, 1, 0] });
    const ours = ['--stages', '8', '--microbatches', '10', '--schedule', 'dualpipe-v', '--times', '1,1,1'];
    expect((await figures(...ours)).makespan).toBe(golden.makespan);
    const written = await figures(...ours, '--schedule-out', 'own.csv');
    expect(readFileSync(join(folder, 'own.csv'), 'utf8')).toContain('OVERLAP_F_B');
    const again = await figures('--schedule', 'own.csv', '--times', '1,1,1');
    expect(again).toEqual({ ...written, schedule: 'own.csv' });
  });

  it('searches with auto, and says how far from the best it may be', async () => {
    const result = await figures('--stages', '3', '--microbatches', '4', '--schedule', 'auto', '--times', '1,2,1');
    expect(result.gap).toBeGreaterThanOrEqual(0);
    expect(result.lowerBound).toBeLessThanOrEqual(result.makespan);
  });

  it('keeps to what may be in flight, and shortens the span where it is asked to', async () => {
    const shape = ['--stages', '3', '--microbatches', '6', '--times', '2,2,1', '--schedule'];
    const free = await figures(...shape, 'auto', '--minimize', 'span');
    const tight = await figures(...shape, 'auto', '--minimize', 'span', '--in-flight', '2');
    expect(free).toMatchObject({ minimize: 'span', gap: 0 });
    expect(tight.bubbleFraction).toBeGreaterThan(free.bubbleFraction);
    for (const d of tight.devices) expect(d).toMatchObject({ peakHeld: d.peakInFlight, mayHold: 2 });
    expect(Math.max(...tight.devices.map((d: { peakHeld: number }) => d.peakHeld))).toBe(2);
    // A B leaves half of its microbatch for W: zb-h1 on device 2 has F0 B0 F1 B1 F2 B2 W0, 3 at once before W0.
    const named = await figures(...shape, 'zb-h1', '--in-flight', '3,3,2.5', '--kept-for-weights', '0.5');
    expect(named.devices[2]).toMatchObject({ peakInFlight: 3, peakHeld: 2, mayHold: 2.5 });
    const { stdout } = await partita(folder, ['simulate', ...shape, 'gpipe', '--in-flight', '6']);
    expect(stdout).toMatch(/in flight +held +may hold\n +0 .* 6 +6 +6\n/);
  });

  it('ends on SIGINT in the midst of a search', onBusyMachines, async () => {
    const args = '--stages 768 --microbatches 768 --schedule auto --times 1,1,1'.split(' ');
    let sent = 0;
    const { code } = await spawned(folder, ['simulate', ...args], (child) => {
      setTimeout(() => {
        sent = performance.now();
        child.kill('SIGINT');
      }, 3000);
    });
    expect(code).toBe(null);
    expect(performance.now() - sent).toBeLessThan(2000);
  });

  it('prints grid and table, cut to the width', async () => {
    const { stdout } = await partita(folder, ['simulate', '--stages', '3', '--microbatches', '50', '--times', '1,1,1']);
    expect(stdout).toMatch(/^1f1b: 3 stages on 3 devices, 50 microbatches\ndevice 0 {2}F0 .* …/);
    expect(stdout).toMatch(/\ndevice +busy +idle +idle share +in flight\n +0 +150 +6 +3\.8 % +3\n/);
    for (const line of stdout.split('\n')) expect(line.length).toBeLessThanOrEqual(120);
    expect(stdout).toMatch(/leaves out \d+ of \d+ columns; --schedule-out FILE.csv writes them/);
  });

  describe('refuses', () => {
    beforeAll(() => {
      file('short.json', { stages: [[1, 2]] });
      file('typo.json', { stages: [[1, 2, 3]], lnk: 1 });
      file('edge.json', { stages: [[1, 2, 3]], edges: [[1, 0]] });
      file('link.json', { stages: [[1, 2, 3]], link: [[0, 9, 1]] });
      file('self.json', { stages: [[1, 2, 3]], link: [[0, 0, 1]] });
      file('twice.json', {
        stages: [
          [1, 2, 3],
          [1, 2, 3],
        ],
        link: [
          [0, 1, 1],
          [0, 1, 2],
        ],
      });
      file('one.json', { stages: [[1, 2, 3]] });
      file('text.json', 'stages');
      file('bad.csv', '0F0,0W0,0I0\n');
    });
    it.each<[number, string, RegExp, string]>([
      [2, 'command-line', /expected three numbers F,B,W/, '--stages 2 --times 1,1'],
      [2, 'command-line', /times of the stages are missing/, '--stages 2'],
      [2, 'command-line', /how many\?/, '--times 1,1,1'],
      [2, 'command-line', /--link: expected a number from 0/, '--stages 2 --times 1,1,1 --link=-1'],
      [2, 'command-line', /--optimizer says nothing about stages/, '--stages 2 --times 1,1,1 --optimizer adam'],
      [2, 'command-line', /--memory says nothing/, '--stages 2 --times 1,1,1 --memory 1MiB'],
      [
        2,
        'command-line',
        /6 stages, where --stages says 2/,
        '--stages 2 --times 1,1,1 --devices 3 --stagesPerDevice 2',
      ],
      [2, 'command-line', /--microbatches: expected an integer ≥ 1/, '--stages 2 --times 1,1,1 --microbatches 0'],
      [2, 'command-line', /numbers of devices, got "x"/, '--times 1,1,1 --partition.placement 0,x'],
      [2, 'command-line', /either e.json or stages/, 'e.json --stages 2 --times 1,1,1'],
      [2, 'command-line', /1 stages, asked are 2/, '--stages 2 --costs one.json'],
      [2, 'unknown-schedule', /expected gpipe, .* got "zb-h3"/, '--stages 2 --times 1,1,1 --schedule zb-h3'],
      [2, 'experiment-invalid', /stages.0: expected three times/, '--costs short.json'],
      [2, 'experiment-invalid', /lnk: unknown key; did you mean "link"/, '--costs typo.json'],
      [2, 'experiment-invalid', /edges.0: expected \[from, to\]/, '--costs edge.json'],
      [2, 'experiment-invalid', /link.0: expected \[from stage/, '--costs link.json'],
      [2, 'experiment-invalid', /link.0: expected .* two stages/, '--costs self.json'],
      [2, 'experiment-invalid', /link.1: expected one time from stage 0 to stage 1/, '--costs twice.json'],
      [2, 'command-line', /from 0 to 1e\+100, got "1e308,1,1"/, '--stages 2 --times 1e308,1,1'],
      [2, 'schedule-size', /stages · microbatches may be at most/, '--stages 1000000000 --times 1,1,1'],
      [2, 'schedule-size', /devices: they may be at most/, '--stages 2 --devices 1000000000 --times 1,1,1'],
      [
        2,
        'command-line',
        /--minimize is of the schedule auto, not of 1f1b/,
        '--stages 2 --times 1,1,1 --minimize span',
      ],
      [2, 'command-line', /--minimize: expected makespan, span/, '--stages 2 --times 1,1,1 --minimize spam'],
      [2, 'command-line', /--in-flight: expected numbers from 0/, '--stages 2 --times 1,1,1 --in-flight x'],
      [2, 'command-line', /--in-flight: 3 numbers for 2 devices/, '--stages 2 --times 1,1,1 --in-flight 1,2,3'],
      [2, 'command-line', /is of --in-flight/, '--stages 2 --times 1,1,1 --kept-for-weights 0.5'],
      [2, 'command-line', /one number from 0 to 1/, '--stages 2 --times 1,1,1 --in-flight 2 --kept-for-weights 2'],
      [
        1,
        'schedule-memory-budget',
        /gpipe holds 4 microbatches on device 0, where 3/,
        '--stages 2 --times 1,1,1 --microbatches 4 --schedule gpipe --in-flight 3',
      ],
      [
        1,
        'schedule-memory-budget',
        /device 0 has a budget of 0.5/,
        '--stages 2 --times 1,1,1 --schedule auto --in-flight 0.5',
      ],
      [2, 'costs-json', /is not JSON/, '--costs text.json'],
      [1, 'schedule-weight-before-backward', /0W0 comes before 0B0/, '--schedule bad.csv --times 1,1,1'],
      [
        2,
        'command-line',
        /--microbatches 3, where .*bad.csv has 1/,
        '--schedule bad.csv --times 1,1,1 --microbatches 3',
      ],
    ])('%i %s %s', async (exit, code, message, args) => {
      const error = await failure(args);
      expect({ code: error.code, exit: exitCodeOf(error) }).toEqual({ code, exit });
      expect(error.message).toMatch(message);
    });

    it('as a command does', async () => {
      const { code, stdout, stderr } = await partita(folder, ['simulate', '--costs', 'typo.json', '--json']);
      expect(code).toBe(2);
      expect(JSON.parse(stdout)).toMatchObject({ version: 1, error: { code: 'experiment-invalid' } });
      expect(stderr.trimEnd().split('\n')).toHaveLength(1);
    });
  });
});

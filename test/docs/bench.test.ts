import { readdirSync, readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { describe, expect, it } from 'vitest';
import { node, rootFile, textOf } from './run.ts';

const load = (file: string) => import(/* @vite-ignore */ pathToFileURL(rootFile(`bench/${file}`)).href);
const { commandsOf, parts } = await load('compare/commands.mjs');
const { Together } = await load('compare/contender.mjs');
const { goalsOf, twoDevices } = await load('compare/goals.mjs');
const { machineName } = await load('compare/machine.mjs');
const { overheadSection } = await load('compare/overhead-page.mjs');
const { machineSection, goalsTable, pairsTable, productsTable, renderPage, sentences, stepsTable } =
  await load('compare/page.mjs');
const { agree, race, ratios } = await load('compare/race.mjs');
const { keptFigures } = await load('compare/renew.mjs');
const { merged } = await load('compare/results.mjs');
const { fitCurve, scalingSection } = await load('compare/scaling-page.mjs');
const { fitPower, median, spreadOf } = await load('compare/statistics.mjs');
const { loopsSentence } = await load('compare/text.mjs');
const page = textOf('docs/performance.md');

type Values = number[];
interface Goal {
  what: string;
  of: string;
  measured: Values;
  note?: string;
  reached: boolean;
}
const looks = (count: number) => ({
  chained: Array(count).fill(40),
  independent: Array(count).fill(30),
  ghz: Array(count).fill(3),
});
const row = (label: string, milliseconds: Values, more = {}) => ({
  label,
  milliseconds,
  machine: looks(milliseconds.length),
  ...more,
});
const raceOf = (...rows: object[]) => ({ title: 'MLP 784, batch 128', rows, declined: [], processor: 'P', node: '20' });
const toldOf = (results: object) => sentences(results, goalsOf(results));

/** All of a list done, so many at a time. */
async function inTurns<T, R>(list: readonly T[], atOnce: number, run: (item: T) => Promise<R>): Promise<R[]> {
  const done: R[] = [];
  let next = 0;
  const turn = async () => {
    for (let i = next++; i < list.length; i = next++) done[i] = await run(list[i]!);
  };
  await Promise.all(Array.from({ length: atOnce }, turn));
  return done;
}

describe('the page of speed', () => {
  it('has the tables and sentences that the kept figures make, and no others', () => {
    expect(renderPage(page, keptFigures())).toBe(page);
  });

  it('says whose figures they are, and where they are of several machines', () => {
    const results = { models: { mlp: raceOf() } };
    expect(machineSection({ results, overhead: {}, curves: {} })).toBe(
      'Figures of this page are those of one machine: P, with Node 20.',
    );
    const overhead = { version: 1, steps: { mlp: { processor: 'Q', node: '24' } } };
    const several = machineSection({ results, overhead, curves: {} });
    expect(several).toContain('the races on P; what stands beside the kernels on Q');
  });

  it('names a core by what its maker counts', () => {
    const cpuinfo = (vendor: string, family: number, model: number) =>
      `vendor_id\t: ${vendor}\ncpu family\t: ${family}\nmodel\t\t: ${model}\nflags\t\t: fpu hypervisor\n`;
    expect(machineName('AMD EPYC', 2, cpuinfo('AuthenticAMD', 25, 1))).toBe('AMD EPYC (Zen 3), 2 virtual cores');
    expect(machineName('AMD EPYC', 2, cpuinfo('AuthenticAMD', 25, 17))).toContain('Zen 4');
    expect(machineName('AMD EPYC', 2, cpuinfo('AuthenticAMD', 26, 2))).toContain('Zen 5');
    expect(machineName('Xeon', 4, cpuinfo('GenuineIntel', 6, 85))).toBe('Xeon, 4 virtual cores');
    expect(machineName('M2', 1)).toBe('M2, 1 core');
  });
});

describe('goals', () => {
  const ours = row('Partita', [10, 20, 10], { peakResidentBytes: 100 });

  it('compare round by round, and say so where one is missed', () => {
    const results = { models: { mlp: raceOf(ours, row('jax-js', [15, 31, 15])) } };
    const [goal] = goalsOf(results);
    expect(goal).toMatchObject({ of: 'MLP', goal: 1.6, reached: false });
    expect(goal.measured).toEqual([1.5, 1.5, 1.525]);
    expect(toldOf(results)).toContain('0 of 1 goals are reached; missed are one device over jax-js (MLP).');
    const slower = { models: { mlp: raceOf(ours, row('jax-js', [17, 33, 17])) } };
    expect(goalsOf(slower)[0].reached).toBe(true);
    expect(toldOf(slower)).toContain('All 1 goals are reached.');
  });

  it('take each window of a product with the loops beside it, the faster of the two', () => {
    // The medians of rates and of loops are 30 and 40: their quotient is nobody's share.
    const milliseconds = [36, 30, 20].map((rate) => 36 / rate);
    const machine = { chained: [40, 33, 20], independent: [30, 20, 22], ghz: [3, 3, 3] };
    const product = row('Partita', milliseconds, { flops: 36e6, machine });
    const products = { '256x256x256-NT': raceOf(product) };
    const [goal] = goalsOf({ products });
    expect(goal.measured.map((s: number) => s.toFixed(3))).toEqual(['0.909', '0.905', '0.909']);
    expect(goal).toMatchObject({ reached: true, note: 'least, of 256 × 256 × 256 NT; of all in quiet windows 0.90' });
    expect(productsTable(products)).toContain('| 0.90 (1 of 3) |');
  });

  it('compare elements with the prototype beside them, and without it cycles', () => {
    const exp = row('Partita', [1, 2, 1], { elements: 1e6 });
    const [beside] = goalsOf({ elementwise: { exp: raceOf(exp, row('prototype', [2, 1, 1])) } });
    expect(beside).toMatchObject({
      of: 'exp',
      goal: 1.1,
      measured: [1, 0.75, 1.5],
      note: 'side by side',
      reached: true,
    });
    const [alone] = goalsOf({ elementwise: { exp: raceOf(exp) } });
    expect(alone.measured[0]).toBeCloseTo((1 * 3) / (0.7 * 3.9));
    expect(alone.note).toContain('cycles');
  });

  it('set what two devices reach against their schedule, and against what two cores give', () => {
    const pair = row('Partita, 2 devices', [6, 12, 6], { schedule: 'zb-h1', microbatches: 4, idealSpeedUp: 1.8 });
    const both = row('Partita, two at once', [6.25, 12.5, 6.25], { atOnce: 2 });
    const { speedUp, share, atOnce, shareOfCores } = twoDevices(raceOf(ours, pair, both));
    expect(speedUp[0]).toBeCloseTo(10 / 6);
    expect(share[0]).toBeCloseTo(10 / 6 / 1.8);
    expect(atOnce[0]).toBeCloseTo(1.6);
    expect(shareOfCores[0]).toBeCloseTo(10 / 6 / (1.8 * 0.8));
    expect(pairsTable({ mlp: raceOf(ours, pair, both) })).toContain('| 1.60 [1.60–1.60] | 1.16 [1.16–1.16] |');
    expect(stepsTable(raceOf(ours, pair, both))).not.toContain('at once');
  });

  it('compare two devices with one that takes as many microbatches, where those decide the losses', () => {
    const pair = row('Partita, 2 devices', [6], { microbatches: 4, idealSpeedUp: 2 });
    const split = row('Partita, one device, M = 4', [9]);
    expect(twoDevices(raceOf(row('Partita', [8]), pair, split)).speedUp[0]).toBe(1.5);
  });

  it('take memory as a bound from above', () => {
    const torch = row('torch', [5, 5, 5], { peakResidentBytes: 190 });
    const goal = goalsOf({ models: { mlp: raceOf(ours, torch) } }).find((g: Goal) => g.what.startsWith('peak'));
    expect(goal).toMatchObject({ atMost: true, reached: false });
    const activationBytes = { unfused: { none: 100, selective: 50 }, fused: { none: 36, selective: 20 } };
    const [attention] = goalsOf({ plans: { attention: { context: 512, activationBytes } } });
    expect(attention).toMatchObject({ measured: [0.36], reached: false });
    expect(attention.note).toBe('0.20 with `recompute: selective`, 0.40 with it in both');
  });

  it('have what stands beside the kernels, in the units of its goals', () => {
    const overhead = {
      call: { beyondSeconds: 0.3e-6, bareSeconds: 1e-9 },
      launch: { helpSeconds: 0.1, firstStepSeconds: 0.5, bareSeconds: 0.08 },
      steps: { cnn: { instructions: 65, wall: 0.011, step: 0.01, ratio: [1.2, 1.1, 1.3], ahead: [1.05, 1, 1.1] } },
    };
    const goals: Goal[] = goalsOf({}, overhead);
    expect(goals.map(({ measured, reached }) => [measured[0]!.toFixed(2), reached])).toEqual([
      ['1.20', false],
      ['0.30', false],
      ['100.00', true],
      ['500.00', true],
    ]);
    const section = overheadSection(overhead);
    expect(section).toContain('| 0.300 µs | the bare call 0.001 µs | ≤ 0.2 µs |');
    expect(section).toContain("The host's part of a step that is asked for is 1.00 ms of cnn.");
  });

  it('are on the page all', () => {
    const goals: Goal[] = goalsOf(keptFigures().results, keptFigures().overhead);
    const count = (what: RegExp) => goals.filter((goal) => what.test(goal.what)).length;
    const all = [/register loop/, /prototype/, /jax-js/, /TensorFlow/, /PyTorch with the same/, /two devices over one/];
    expect(
      [...all, /share of the ideal/, /two threads/, /resident/, /activation/, /sum of its kernels/].map(count),
    ).toEqual([2, 6, 3, 3, 3, 3, 3, 2, 3, 1, 3]);
    expect(goals).toHaveLength(32 + 5);
  });
});

describe('what stands beside figures', () => {
  const machine = { chained: [50, 52], independent: [40, 44], ghz: [3.4, 3.5] };
  const sentence = 'Beside these: loops 51.0, 42.0 GFLOP/s; 3.45 GHz.';

  it('is the machine as it was, where it was looked at', () => {
    expect(loopsSentence([{ machine }, {}])).toBe(sentence);
    expect(loopsSentence([{}])).toBe('');
    const instruction = { seconds: 1e-6 };
    expect(overheadSection({ instruction: { ...instruction, machine } })).toContain(`\n\n${sentence}`);
    expect(overheadSection({ instruction })).not.toContain('Beside');
    const points = [1, 2].map((size) => ({ size, milliseconds: [size], peakBytes: size }));
    expect(scalingSection({ batch: { points, machine } })).toContain(`\n\n${sentence}\n\nTwice the batch`);
    expect(scalingSection({ batch: { points } })).not.toContain('Beside');
  });

  it('is in the table of two devices too', () => {
    const pair = row('Partita, 2 devices', [6], { schedule: '1f1b', microbatches: 4 });
    expect(pairsTable({ mlp: raceOf(row('Partita', [9]), pair) })).toMatch(/\| 40\.0, 30\.0 \| 3\.00 \|$/);
  });

  it('is a digit more where a missed goal would look reached', () => {
    const goal = { what: 'w', of: 'o', goal: 0.95, reached: false };
    expect(goalsTable([{ ...goal, measured: [0.9457, 0.9, 1] }])).toContain('| 0.946 [0.900–1.000] | **no** |');
    expect(goalsTable([{ ...goal, measured: [0.9499, 0.9, 1] }])).toContain('| 0.9499 [');
    expect(goalsTable([{ ...goal, measured: [0.94, 0.9, 1] }])).toContain('| 0.94 [0.90–1.00] | **no** |');
    expect(goalsTable([{ ...goal, measured: [0.951, 0.9, 1], reached: true }])).toContain('| 0.95 [');
    const atMost = { ...goal, goal: 1.1, atMost: true, measured: [1.104] };
    expect(goalsTable([atMost])).toContain('| ≤ 1.1 | 1.104 | **no** |');
  });
});

describe('the command for all of it', () => {
  const only = Object.keys(parts);

  it('runs every script that keeps figures of the page, and lets each write', () => {
    const writers = readdirSync(rootFile('bench')).filter(
      (file) => file.endsWith('.mjs') && textOf(`bench/${file}`).includes('renewPage('),
    );
    expect(only.map((name) => `${name}.mjs`).sort()).toEqual(writers.sort());
    const commands = commandsOf({ only, quick: false, python: 'python3.11' });
    expect(commands.map(({ args }: { args: string[] }) => args)).toEqual([
      ['--write'],
      ['--write', '--python', 'python3.11'],
      ['--write'],
    ]);
  });

  it('writes nothing in a short try, and gives flags that there are', () => {
    for (const { name, args } of commandsOf({ only, quick: true })) {
      expect(args).not.toContain('--write');
      for (const flag of args.filter((word: string) => word.startsWith('--')))
        expect(textOf(`bench/${name}.mjs`)).toContain(`  ${flag.slice(2)}: { type: 'string'`);
    }
  });
});

describe('races', () => {
  it('count nobody whose losses are further than 1e-4 away', () => {
    expect(agree([2, 1.9], [2.00015, 1.9])).toBe(true);
    expect(agree([2, 1.9], [2, 1.9004])).toBe(false);
    expect(agree([2], [2])).toBe(false);
  });

  it('set a slow contender, who was timed once, against the median', () => {
    expect(ratios({ milliseconds: [60] }, { milliseconds: [1, 2, 3] })).toEqual([30]);
    expect(ratios({ milliseconds: [60, 90] }, { milliseconds: [20, 30] })).toEqual([3, 3]);
  });

  /** A contender whose windows take 1, 2, 3, … ms, between looks that find the loop at such rates. */
  async function raceAt(rates: Values, rounds: number) {
    let [window, look] = [0, 0];
    const contender = { label: 'a', info: { losses: [1, 1] }, window: async () => window++ };
    const machine = { ask: async () => ({ chained: rates[look++]!, independent: 1, ghz: 3 }) };
    const [found] = await race([contender], machine, { rounds, seconds: 1 });
    return found;
  }

  it('take a window again in which the machine changed, and say how often', async () => {
    expect(await raceAt([40, 30, 31, 40, 40], 2)).toMatchObject({ milliseconds: [2, 4], discarded: 2 });
    expect((await raceAt([40, 30, 31, 40, 40], 2)).machine.chained).toEqual([30.5, 40]);
    expect(await raceAt([40, 36, 40], 2)).toMatchObject({ milliseconds: [1, 2] });
  });

  it('give up on a machine that never stands still, and say that too', async () => {
    const found = await raceAt([40, 20, 40, 20, 40], 2);
    expect(found).toMatchObject({ milliseconds: [3, 4], discarded: 2, unsteady: 2 });
  });

  it('add up the rates of who runs at the same time', async () => {
    const member = (milliseconds: number) => ({ info: { losses: [] }, window: async () => milliseconds });
    const both = new Together('both', [member(10), member(15)]);
    expect(await both.window(1)).toBeCloseTo(6);
    expect(await both.end()).toBe(null);
  });

  it('take the place of their own older figures alone', () => {
    const before = { version: 2, products: {}, models: { mlp: 'old', gpt: 'old' } };
    expect(merged(before, 'models', 'mlp', 'new').models).toEqual({ mlp: 'new', gpt: 'old' });
  });
});

it('a power law is found with its exponent, and noise lowers R²', () => {
  const exact = [1, 2, 4, 8].map((x) => [x, 3 * x ** 1.5]);
  expect(fitPower(exact)).toMatchObject({ exponent: expect.closeTo(1.5), factor: expect.closeTo(3), r2: 1 });
  expect(fitPower(exact.map(([x, y], i) => [x, y! * (i % 2 ? 2 : 1)])).r2).toBeLessThan(0.99);
  const points = exact.map(([size, y]) => ({ size, milliseconds: [y, 2 * y!], peakBytes: size }));
  const { time, memory } = fitCurve({ points });
  expect([time.exponent, time.low, time.high, memory.exponent]).toEqual(
    [1.5, 1.5, 1.5, 1].map((e) => expect.closeTo(e)),
  );
});

it('a median lies between the two middle values where they are even, and so do quartiles', () => {
  expect(median([1, 3])).toBe(2);
  expect(spreadOf([4, 1, 3, 2])).toEqual([2.5, 1.75, 3.25]);
});

describe('command lines', () => {
  const scripts = readdirSync(rootFile('bench')).filter((file) => file.endsWith('.mjs') && file !== 'flags.mjs');

  it('all read their flags in one way', () => {
    for (const file of scripts) expect(textOf(`bench/${file}`), file).toContain('flagsOf(');
  });

  it('have help, and a sentence for what they do not know', async () => {
    const refusals: [string, string][] = [
      ['compare.mjs --ony mlp', 'there is no --ony; did you mean --only?'],
      ['compare.mjs --only mpl', '--only: there is no mpl; there are products, elementwise, attention, mlp, '],
      ['compare.mjs --prototype kernels.js', '--prototype kernels.js: a file ending in .wasm or .ts was expected'],
      ['compare.mjs --prototype none.ts', '--prototype none.ts: there is no such file'],
      ['overhead.mjs --parts cores', '--parts: there is no cores; there are core, hand-over'],
      ['scaling.mjs --rounds many', '--rounds many: a whole number from 1 on was expected'],
      ['gemm.mjs 64 3 more', '"more" is one word too many'],
    ];
    const run = (line: string) => node(`bench/${line}`.split(' '));
    const [help, ...refused] = await Promise.all(['compare.mjs --help', ...refusals.map(([line]) => line)].map(run));
    expect(help).toMatchObject({ code: 0, stderr: '' });
    expect(help!.stdout).toContain('--only');
    for (const [i, [line, why]] of refusals.entries()) {
      const file = line.split(' ')[0];
      expect(refused[i]!.code, line).toBe(2);
      expect(refused[i]!.stderr).toContain(`bench/${file}: ${why}`);
      expect(refused[i]!.stderr).toContain(`\n  remedy: node bench/${file} --help\n`);
    }
  });

  /** Of each script, flags that take a number or numbers, and those that take names. */
  const flagsWithValues: [script: string, numbers: string, names: string][] = [
    ['all', '', 'only'],
    ['bubble', 'rounds steps microbatches', 'schedules'],
    ['compare', 'rounds seconds devices', 'only forms contenders shapes'],
    ['fusion', 'seconds', 'models'],
    ['kernels', 'rounds', 'simd against'],
    ['largest-models', 'devices memory batch microbatches verify', ''],
    ['overhead', 'rounds', 'parts models'],
    ['planner', 'rounds steps microbatches', 'models'],
    ['predict', 'minutes rounds', 'only schedules'],
    ['resident-memory', 'steps devices', 'models case'],
    ['scaling', 'rounds seconds', 'only'],
    ['shapes', 'factor least', 'against'],
    ['simulate-scale', 'devices microbatches', 'one'],
  ];
  const words: [script: string, word: string][] = [
    ['gemm', 'x'],
    ['kernels', 'nosuch'],
    ['partition-scale', 'x'],
    ['shapes', 'nosuch'],
  ];

  it('refuse what is no number, and names that there are not, by the name of the flag', async () => {
    const lines = flagsWithValues.flatMap(([script, numbers, names]) =>
      `${numbers} ${names}`.split(' ').flatMap((flag) => (flag ? [[script, `--${flag}`, 'nosuch']] : [])),
    );
    const all = [...lines, ...words];
    const ended = await inTurns(all, 4, ([script, ...args]) => node([`bench/${script}.mjs`, ...args]));
    for (const [i, [script, ...args]] of all.entries()) {
      const line = `${script} ${args.join(' ')}`;
      expect(ended[i]!.code, line).toBe(2);
      expect(ended[i]!.stdout, line).toBe('');
      expect(ended[i]!.stderr, line).toMatch(new RegExp(`^bench/${script}.mjs: .*${args[0]}.*\n  remedy: .*\n$`));
    }
  }, 60_000);

  it('have all flags with a value in that table, but for those that name files', () => {
    const files = ['json', 'out', 'csv', 'python', 'prototype', 'results'];
    for (const file of scripts) {
      const [script] = file.split('.');
      const declared = [...textOf(`bench/${file}`).matchAll(/^ +(\w+): \{ type: 'string'/gm)].map((m) => m[1]!);
      const row = flagsWithValues.find(([name]) => name === script);
      const tried = row ? `${row[1]} ${row[2]}`.trim().split(' ') : [];
      expect([...tried].sort(), file).toEqual(declared.filter((flag) => !files.includes(flag)).sort());
    }
  });
});

it('the documented commands are flags that there are', () => {
  const help = (file: string) => readFileSync(rootFile(`bench/${file}`), 'utf8');
  for (const [, file, flag] of page.matchAll(/node bench\/(\S+\.mjs) (--\w+)/g))
    expect(help(file!)).toContain(`${flag}`);
});

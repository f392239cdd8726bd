import { readdirSync, readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { describe, expect, it } from 'vitest';
import { node, rootFile, textOf } from './run.ts';

const load = (file: string) => import(/* @vite-ignore */ pathToFileURL(rootFile(`bench/${file}`)).href);
const { goalsOf, twoDevices } = await load('compare/goals.mjs');
const { renderPage, sentences } = await load('compare/page.mjs');
const { agree, ratios } = await load('compare/race.mjs');
const { merged, withSection } = await load('compare/results.mjs');
const { scalingSection, fitCurve } = await load('compare/scaling-page.mjs');
const { fitPower } = await load('compare/statistics.mjs');
const page = textOf('docs/performance.md');
const kept = (file: string) => JSON.parse(textOf(`bench/${file}`));

describe('the page of speed', () => {
  it('has the tables and sentences that its races make, and no others', () => {
    expect(renderPage(page, kept('compare.json'))).toBe(page);
  });

  it('has the exponents that its curves make', () => {
    expect(withSection(page, 'scaling', scalingSection(kept('scaling.json').curves))).toBe(page);
  });
});

const machine = { chained: 40, independent: 30, ghz: 3 };
const row = (label: string, milliseconds: number[], more = {}) => ({ label, milliseconds, machine, ...more });
const race = (...rows: object[]) => ({ title: 'MLP 784, batch 128', rows, declined: [] });

describe('goals', () => {
  const ours = row('Partita', [10, 20, 10], { peakResidentBytes: 100 });

  it('compare round by round, and say so where one is missed', () => {
    const jax = row('jax-js', [15, 31, 15]);
    const results = { products: {}, models: { mlp: race(ours, jax) } };
    const [goal] = goalsOf(results);
    expect(goal).toMatchObject({ of: 'MLP', goal: 1.6, reached: false });
    expect(goal.measured).toEqual([1.5, 1.5, 1.55]);
    expect(sentences(results)).toContain('0 of 1 goals are reached; missed are one device over jax-js (MLP).');
    const slower = { products: {}, models: { mlp: race(ours, row('jax-js', [17, 33, 17])) } };
    expect(goalsOf(slower)[0].reached).toBe(true);
    expect(sentences(slower)).toContain('All 1 goals are reached.');
  });

  it('have the faster of the two loops as the limit of products', () => {
    const products = { '256x256x256-NT': race(row('Partita', [1], { flops: 36e6 })) };
    expect(goalsOf({ products, models: {} })[0]).toMatchObject({ measured: [0.9], reached: true });
  });

  it('set what two devices reach against the ideal of their schedule', () => {
    const pair = row('Partita, 2 devices', [6, 12, 6], { schedule: 'zb-h1', microbatches: 4, idealSpeedUp: 1.8 });
    const { speedUp, share } = twoDevices(race(ours, pair));
    expect(speedUp[0]).toBeCloseTo(10 / 6);
    expect(share).toBeCloseTo(10 / 6 / 1.8);
  });

  it('take memory as a bound from above', () => {
    const torch = row('torch', [5, 5, 5], { peakResidentBytes: 190 });
    const goal = goalsOf({ products: {}, models: { mlp: race(ours, torch) } }).find((g: { what: string }) =>
      g.what.startsWith('peak'),
    );
    expect(goal).toMatchObject({ atMost: true, reached: false });
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

  it('take the place of their own older figures alone', () => {
    const before = { version: 1, products: {}, models: { mlp: 'old', gpt: 'old' } };
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

describe('command lines', () => {
  const scripts = readdirSync(rootFile('bench')).filter((file) => file.endsWith('.mjs') && file !== 'flags.mjs');

  it('all read their flags in one way', () => {
    for (const file of scripts) expect(textOf(`bench/${file}`), file).toContain('flagsOf(');
  });

  it('have help, and a sentence for what they do not know', async () => {
    const help = await node(['bench/compare.mjs', '--help']);
    expect(help).toMatchObject({ code: 0, stderr: '' });
    expect(help.stdout).toContain('--only');
    const typo = await node(['bench/compare.mjs', '--ony', 'mlp']);
    expect(typo.code).toBe(2);
    expect(typo.stderr).toBe(
      'bench/compare.mjs: there is no --ony; did you mean --only?\n  remedy: node bench/compare.mjs --help\n',
    );
    const model = await node(['bench/compare.mjs', '--only', 'mpl']);
    expect(model.stderr).toContain('--only: there is no mpl; there are products, mlp');
    const rounds = await node(['bench/scaling.mjs', '--rounds', 'many']);
    expect(rounds.stderr).toContain('--rounds many: a whole number from 1 on was expected');
    const word = await node(['bench/gemm.mjs', '64', '3', 'more']);
    expect(word.stderr).toContain('"more" is one word too many');
  });
});

it('the documented commands are flags that there are', () => {
  const help = (file: string) => readFileSync(rootFile(`bench/${file}`), 'utf8');
  for (const [, file, flag] of page.matchAll(/node bench\/(\S+\.mjs) (--\w+)/g))
    expect(help(file!)).toContain(`${flag}`);
});

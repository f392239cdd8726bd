import { describe, expect, it } from 'vitest';
import { batchStudyPage } from '../../src/report/batch-study/page.ts';
import { ordered, palette } from '../../src/report/chart.ts';
import { htmlTable } from '../../src/report/html.ts';
import { findings, studyOf, timingRow } from '../study/findings.ts';

const strict = (text: string): never => {
  throw new Error(text);
};
const page = (given = findings()) => batchStudyPage(studyOf(given), strict);
const textOf = (svg: string): string[] => [...svg.matchAll(/<text[^>]*>([^<]*)<\/text>/g)].map((m) => m[1]!);

describe('the page of a batch study', () => {
  it('draws every picture, with titled axes and units', async () => {
    const html = await page();
    const pictures = [...html.matchAll(/<svg .*?<\/svg>/gs)].map((m) => textOf(m[0]));
    const axes = [
      [
        'microbatches M',
        'median step time / ms',
        'samples / s',
        'idle device time / %',
        'efficiency / %',
        '(p−1)/(M+p−1)',
      ],
      ['planned peak / KiB', 'held at the peak', 'saved activations'],
      ['batch size / samples', 'planned peak / KiB'],
      ['largest batch / samples', '330'],
      ['relative difference', 'difference / ulps', 'difference / % of bound', 'layer.0.weight'],
      ['step', 'training loss', '|difference| / loss'],
      ['steps', 'samples', 'time / s', 'held-out loss', 'Rate retuned'],
      ['learning rate', 'loss at the end'],
      ['batch size / samples', 'steps to the target', 'samples to the target', 'perfect scaling'],
      ['B_simple / samples', 'squared gradient', 'from measured steps'],
    ];
    expect(pictures).toHaveLength(axes.length);
    for (const [i, titles] of axes.entries()) expect(pictures[i]).toEqual(expect.arrayContaining(titles));
  });

  it('says the summary first, and has the figures of every picture', async () => {
    const html = await page();
    for (const { text } of studyOf(findings()).summary) {
      const escaped = text.replaceAll('&', '&amp;').replaceAll("'", '&#39;');
      expect(html).toContain(escaped);
      expect(html.indexOf(escaped)).toBeLessThan(html.indexOf('<svg'));
    }
    expect([...html.matchAll(/<details>/g)]).toHaveLength(10);
    expect(html).toContain('<td class="n">15.000</td>');
    expect(html).toContain('<td class="n">204,800</td>');
  });

  it('asks nothing of a network, and runs nothing', async () => {
    const html = await page();
    expect(html).toContain(`content="default-src 'none'; style-src 'unsafe-inline'"`);
    expect(html).not.toMatch(/<script|<link|<img|<iframe|@import|src=|href=/);
    const addresses = new Set([...html.matchAll(/https?:\/\/[^"' )<]+/g)].map((m) => m[0]));
    // Names of the SVG language, which no reader loads.
    expect([...addresses].filter((a) => !a.startsWith('http://www.w3.org/'))).toEqual([]);
    const names = [...html.matchAll(/ id="([^"]+)"/g)].map((m) => m[1]!);
    expect(names).toEqual([...new Set(names)]);
  });

  it('keeps names of the user from being markup', async () => {
    const { settings } = findings();
    const html = await page(
      findings(
        { model: '<b>&', settings: { ...settings, series: ['<i>'] } },
        { timing: [timingRow(64, 1, 1, { series: '<i>', sweetSpot: true })] },
      ),
    );
    expect(html).not.toMatch(/<b>|<i>/);
  });

  it('leaves out what was not studied', async () => {
    const none = {
      runs: [],
      timing: [],
      gradients: [],
      cutTraining: [],
      curves: [],
      tuning: [],
      targets: [],
      noise: [],
    };
    const html = await page(findings({ target: null, tradeOffs: [] }, none));
    expect([...html.matchAll(/<svg /g)]).toHaveLength(3);
  });

  it('draws several series and variants, each under its name', async () => {
    const { settings, tables } = findings();
    const twice = <R extends object>(rows: readonly R[], key: string): R[] =>
      ['one', 'two'].flatMap((name) => rows.map((row) => ({ ...row, [key]: name })));
    const html = await page(
      findings(
        { settings: { ...settings, series: ['one', 'two'], variants: ['one', 'two'] }, tradeOffs: [] },
        {
          timing: twice(tables.timing, 'series'),
          memory: twice(tables.memory, 'series'),
          capacity: twice(tables.capacity, 'series'),
          gradients: twice(tables.gradients, 'variant'),
          cutTraining: twice(tables.cutTraining, 'variant'),
          curves: twice(tables.curves, 'variant'),
          tuning: twice(tables.tuning, 'variant'),
          targets: twice(tables.targets, 'variant'),
          noise: twice(tables.noise, 'variant'),
        },
      ),
    );
    expect([...html.matchAll(/<svg /g)]).toHaveLength(14);
    expect(html).toContain('Gradient noise along training, two');
  });

  it('shows every one of as many parameters as there are colours', async () => {
    const [row] = findings().tables.gradients;
    const gradients = palette.map((_, i) => ({ ...row!, parameter: `p${i}` }));
    const svg = (await page(findings({}, { gradients }))).match(
      /<svg [^>]*Difference between the gradient.*?<\/svg>/s,
    )![0];
    const symbols = [...svg.matchAll(/<path aria-label="[^"]*parameter: (p\d)[^>]* d="([^"]*)"/g)];
    expect(new Set(symbols.map((m) => m[1])).size).toBe(palette.length);
    // A stroke, "M-4,0L4,0", has no area to fill.
    for (const [, name, path] of symbols) expect(path, name).not.toMatch(/^M[^,]+,0L[^,]+,0$/);
  });

  it('draws no distance between trainings that are the same to the bit', async () => {
    const cutTraining = findings().tables.cutTraining.map((r) => ({ ...r, difference: 0 }));
    const html = await page(findings({}, { cutTraining }));
    expect(html).toContain('training loss');
    expect(html).not.toMatch(/\|difference\| \/ loss|NaN|Infinity/);
  });
});

describe('the house style', () => {
  it('has a colour of its own for each of many ordered values', () => {
    expect(new Set(ordered(8)).size).toBe(8);
    expect(ordered(1)).toEqual(['#440154']);
  });
  it('puts numbers on the right, with units in the head', () => {
    const html = htmlTable(
      [{ title: 'a', unit: 'ms' }, { title: 'b' }],
      [
        ['1.5', 'x'],
        [null, '<y>'],
      ],
    );
    expect(html).toContain('<th class="n">a<br><span class="unit">ms</span></th>');
    expect(html).toContain('<td class="n">–</td><td>&lt;y&gt;</td>');
  });
});

/** The page of a study of memory. */

import { formatCount } from '../core/format.ts';
import { requireKinds } from '../core/options.ts';
import { categoryName, peakCategories } from '../memory/categories.ts';
import { type Scale, scalesOf } from '../study/memory/scales.ts';
import type { MemoryStudy } from '../study/memory/study.ts';
import { type MemoryDeviceRow, type MemoryKey, type MemoryLayoutRow, memoryColumns } from '../study/memory/tables.ts';
import { countAxis, cycle, panel, type Spec } from './axes.ts';
import { type Chart, dashes, ink, palette, shapes } from './chart.ts';
import { htmlPage } from './html.ts';
import { categoryChannel, overTimeCharts, picturedDevices } from './memory-over-time.ts';
import { sideBySideChart } from './memory-side-by-side.ts';
import { byteUnit, capacityColour } from './memory-style.ts';
import {
  byteForms,
  type ColumnForms,
  drawSection,
  methodBlock,
  type Section,
  studyTable,
  summaryBlock,
} from './study-page.ts';

export async function memoryStudyPage(study: MemoryStudy, warn?: (text: string) => void): Promise<string> {
  requireKinds('memoryStudyPage', {
    study: ['object', study],
    settings: ['object', study?.settings],
    tables: ['object', study?.tables],
  });
  const { settings, tables, machine, seconds, model, parameters } = study;
  const columns = memoryColumns(settings.swept);
  const shown = picturedLayouts(study);
  const beside = sideBySideChart(study);
  const sections: Section[] = [
    {
      title: 'Side by side',
      text: `Every layout on one scale of bytes, ${settings.purposes[0]}: live bytes by category on each device over the step. Red is the capacity; a layout in which a device needs more is refused before anything runs. The dashed line is the end of the highest value alive.`,
      charts: beside ? [beside] : [],
      tables: [],
    },
    ...shown.map(
      (layout, i): Section => ({
        title: `Over a step${layout === '' ? '' : `: ${layout}`}`,
        text: `Live bytes by category on each device in the course of ${settings.purposes.join(' and of ')}. The dashed line is the end of the highest value alive, which the device's memory must reach; the ring marks the moment with most live bytes; red is the capacity. Below is what holds it.`,
        charts: overTimeCharts(study, layout),
        tables: [
          ...holderTables(study, layout),
          ...(i === 0 && tables.overTime.length > 0
            ? [note('All samples are in over-time.csv, all tensors in holders.csv.')]
            : []),
        ],
      }),
    ),
    {
      title: 'By category, against capacity',
      text: `At each device's peak. Grey is what the layout adds: gaps, and rounding to 16 bytes. A red line is the capacity${settings.measured ? ', a black one the measured peak' : ''}.`,
      charts: settings.purposes.map((purpose) => barChart(study, purpose)),
      tables: [studyTable('Every device', columns.devices, tables.devices, { ...byteForms, ...forms(settings.swept) })],
    },
    {
      title: 'What it grows with',
      text: 'Left: saved activations of a training step, each device at its most, summed. Right: the peak of the fullest device, training solid, prediction dashed. Both axes are logarithmic, so that growth in proportion has slope 1.',
      charts: scalesOf(tables.layouts, settings.swept).map((scale) => growthChart(study, scale)),
      tables: [],
    },
    {
      title: 'Training against prediction: the textbook’s network',
      text: 'One hidden layer. Points are planned peaks, lines what the formula says must be there at least: weights W, samples n, d inputs, h hidden units and q outputs; prediction 4·(W + n·max(d + h, h + q)), training 4·(W + max(W₂ + n(d + 2h + q), W + n(d + h))) bytes. What is above it are kernels’ workspaces and results that do not overwrite what they are computed of.',
      charts: [textbookChart(study)],
      tables: [],
    },
    {
      title: 'Beside other people’s formulas',
      text: 'Saved activations by Korthikanti et al. (2022): s·b·h·(34 + 5·a·s/h) bytes a layer in 16 bits with dropout masks; doubled, as if every number took 32 bits. Ours are f32, without masks where there is no dropout, and with embedding, head and loss. Weights, gradients and optimizer state by formula: 4 bytes of each a parameter, with Adam 16 in all.',
      charts: [transformerChart(study)],
      tables: [studyTable('All layouts', columns.layouts, tables.layouts, forms(settings.swept))],
    },
  ];
  const body = [summaryBlock(study.summary)];
  for (const section of sections) body.push(...(await drawSection(section, warn)));
  body.push(
    methodBlock(machine, seconds, [
      ['bytes', measuredText(settings)],
      ['costs of the times', settings.costs],
    ]),
  );
  const swept = settings.swept.length > 0 ? `; swept: ${settings.swept.join(', ')}` : '';
  return htmlPage({
    title: `Where do the bytes go? ${model}${study.data ? ` on ${study.data}` : ''}`,
    subtitle: `${formatCount(parameters)} parameters, batch ${study.batch}${swept}`,
    body,
  });
}

const note = (text: string): string => `<p>${text}</p>`;

const forms = (swept: readonly string[]): ColumnForms => ({
  ...Object.fromEntries(
    ['peakBytes', 'peakBytesMeasured', 'sumOfPeakBytes', 'naiveSumBytes', 'savedBytes', 'maxLiveBytes']
      .concat(['layoutWasteBytes', 'capacityBytes', 'bytes'])
      .map((c) => [c, { title: titles[c] ?? c, unit: 'bytes', form: formatCount }]),
  ),
  heightOverMaxLive: { title: 'height / most live', form: (v) => v.toFixed(4) },
  peakSeconds: { title: 'peak at', unit: 'ms', form: (v) => (1000 * v).toFixed(3) },
  peakInstruction: { title: 'instruction', form: formatCount },
  peakAt: { title: 'which is' },
  stepSecondsPredicted: { title: 'predicted step', unit: 'ms', form: (v) => (1000 * v).toFixed(3) },
  parameterCount: { title: 'parameters', form: formatCount },
  flopsAgain: { title: 'computed again', unit: 'FLOPs', form: formatCount },
  statesFormulaBytes: { title: 'formula: weights, gradients, state', unit: 'bytes', form: formatCount },
  korthikanti16Bytes: { title: 'formula: Korthikanti, 16 bit', unit: 'bytes', form: rounded },
  korthikantiF32Bytes: { title: 'formula: Korthikanti, doubled', unit: 'bytes', form: rounded },
  textbookBytes: { title: 'formula: textbook', unit: 'bytes', form: formatCount },
  ...Object.fromEntries(swept.map((key) => [`sweep.${key}`, { title: key }])),
});

const titles: Readonly<Record<string, string>> = {
  peakBytes: 'planned peak',
  peakBytesMeasured: 'measured peak',
  sumOfPeakBytes: 'peaks of all devices',
  naiveSumBytes: 'without reuse',
  savedBytes: 'saved activations',
  maxLiveBytes: 'most live',
  layoutWasteBytes: 'layout adds',
  capacityBytes: 'capacity',
};

const measuredText = ({ measured, played }: MemoryStudy['settings']): string => {
  if (!measured) return 'planned; nothing ran';
  return played
    ? 'planned, and counted by null devices as they played the steps'
    : 'planned, and found by the devices in their own memories';
};

function rounded(value: number): string {
  return formatCount(Math.round(value));
}

/** The first layout, and those that need least and most. */
function picturedLayouts({ tables }: MemoryStudy): string[] {
  const purpose = tables.layouts[0]!.purpose;
  const rows = tables.layouts.filter((r) => r.purpose === purpose);
  const by = (better: (a: MemoryLayoutRow, b: MemoryLayoutRow) => boolean) =>
    rows.reduce((a, b) => (better(b, a) ? b : a)).layout;
  const least = by((a, b) => a.peakBytes < b.peakBytes);
  const most = by((a, b) => a.peakBytes > b.peakBytes);
  return [...new Set([rows[0]!.layout, least, most])];
}

/** Of each pictured device the tensors of its peak, for the first purpose and the second. */
function holderTables(study: MemoryStudy, layout: string): string[] {
  const { tables, settings } = study;
  return settings.purposes.flatMap((purpose) =>
    picturedDevices(study, layout).map((device) => {
      const rows = tables.holders.filter((h) => h.layout === layout && h.purpose === purpose && h.device === device);
      const own = tables.devices.find((d) => d.layout === layout && d.purpose === purpose && d.device === device);
      return studyTable(
        `What holds the peak of device ${device}, ${purpose}, at ${own?.peakAt ?? ''}`,
        ['tensor', 'type', 'bytes', 'category', 'first', 'last', 'from', 'why'],
        rows.map((r) => ({ ...r, category: categoryName(r.category) })),
        {
          bytes: { unit: 'bytes', form: formatCount },
          first: { title: 'from', unit: 'instruction', form: formatCount },
          last: { title: 'to', unit: 'instruction', form: formatCount },
          from: { title: 'written by' },
          why: { title: 'why it is alive' },
        },
      );
    }),
  );
}

/** Bars that a picture can hold; of more layouts, their fullest devices stand for them. */
const MOST_BARS = 36;

function barChart({ tables, settings }: MemoryStudy, purpose: MemoryKey['purpose']): Chart | undefined {
  const all = tables.devices.filter((d) => d.purpose === purpose);
  if (all.length === 0) return undefined;
  const isMany = all.length > MOST_BARS;
  const rows = (isMany ? fullestOfEach(all) : all).slice(0, 2 * MOST_BARS);
  const { unit, divisor } = byteUnit(Math.max(...rows.map((r) => r.peakBytes)));
  const name = (r: MemoryDeviceRow) => [r.layout, `device ${r.device}`].filter((t) => t !== '').join(', ');
  const order = rows.map(name);
  const used = peakCategories.filter((c) => rows.some((r) => r[c] > 0));
  const bars = rows.flatMap((r) =>
    used.map((c, rank) => ({ bar: name(r), category: categoryName(c), rank, bytes: r[c] / divisor })),
  );
  const ticks = (of: (r: MemoryDeviceRow) => number | null) =>
    rows.flatMap((r) => {
      const bytes = of(r);
      return bytes === null ? [] : [{ bar: name(r), bytes: bytes / divisor }];
    });
  const highest = Math.max(...rows.map((r) => r.peakBytes));
  const y: Spec = { field: 'bar', type: 'nominal', title: null, sort: order, axis: { grid: false, labelLimit: 420 } };
  const x: Spec = { field: 'bytes', type: 'quantitative', title: `bytes at the peak / ${unit}` };
  const tick = (values: object[], color: string): Spec[] =>
    values.length === 0
      ? []
      : [
          {
            data: { values },
            mark: { type: 'tick', color, thickness: 2.5, size: 18, orient: 'vertical' },
            encoding: { x, y },
          },
        ];
  return {
    label: `Bytes of each device at its peak by category, ${purpose}`,
    spec: {
      title: `${purpose === 'training' ? 'Training' : 'Prediction'}${isMany ? ', the fullest device of each layout' : ''}`,
      width: 520,
      height: { step: 20 },
      layer: [
        {
          data: { values: bars },
          mark: { type: 'bar', height: 15 },
          encoding: { x: { ...x, stack: 'zero' }, y, color: categoryChannel(used), order: { field: 'rank' } },
        },
        // A capacity far to the right would squeeze the bars; the table has it.
        ...tick(
          ticks((r) => (r.capacityBytes !== null && r.capacityBytes < 2.5 * highest ? r.capacityBytes : null)),
          capacityColour,
        ),
        ...tick(settings.measured ? ticks((r) => r.peakBytesMeasured) : [], '#000'),
      ],
    },
  };
}

/** Of each layout the first of its fullest devices. */
function fullestOfEach(rows: readonly MemoryDeviceRow[]): MemoryDeviceRow[] {
  const found = new Map<string, MemoryDeviceRow>();
  for (const row of rows) {
    if (row.peakBytes > (found.get(row.layout)?.peakBytes ?? -1)) found.set(row.layout, row);
  }
  return [...found.values()];
}

/** The other swept values of a row, as its line's name. */
const lineOf = (row: MemoryLayoutRow, swept: readonly string[], key: string): string =>
  swept
    .filter((k) => k !== key)
    .map((k) => `${k} ${String(row[`sweep.${k}`])}`)
    .join(', ');

function lineChannels(names: readonly string[]): { color: Spec; shape: Spec } {
  const one = (range: readonly unknown[]): Spec => ({
    field: 'line',
    type: 'nominal',
    title: null,
    sort: null,
    scale: { domain: names, range: cycle(range, names.length) },
    ...(names.length > 1 ? {} : { legend: null }),
  });
  return { color: one(palette), shape: one(shapes) };
}

const logBytes = (values: readonly number[], title: string): Spec => {
  const positive = values.filter((v) => v > 0);
  return {
    field: 'bytes',
    type: 'quantitative',
    title,
    scale: { type: 'log', base: 2, domain: [Math.min(...positive) / 1.15, 1.15 * Math.max(...positive)], nice: false },
    axis: { tickCount: 6, format: '.3~g' },
  };
};

function growthChart({ tables, settings }: MemoryStudy, { key, title, of }: Scale): Chart | undefined {
  const rows = tables.layouts.map((r) => ({
    ...r,
    size: of(r),
    line: lineOf(r, settings.swept, key),
  }));
  const saved = rows.filter((r) => r.purpose === 'training' && r.savedBytes > 0);
  const lines = [...new Set(rows.map((r) => r.line))];
  const { color, shape } = lineChannels(lines);
  const sizes = [...new Set(rows.map((r) => r.size))].sort((a, b) => a - b);
  const x = countAxis('size', title, sizes);
  const dash: Spec = {
    field: 'purpose',
    type: 'nominal',
    title: null,
    sort: null,
    scale: { domain: ['training', 'prediction'], range: [dashes[0], dashes[1]] },
  };
  const chart = (name: string, given: readonly { bytes: number }[], withPurpose: boolean): Spec => {
    const { unit, divisor } = byteUnit(Math.max(...given.map((r) => r.bytes)));
    const values = given.map((r) => ({ ...r, bytes: r.bytes / divisor }));
    return {
      title: name,
      ...panel,
      data: { values },
      encoding: {
        x,
        y: logBytes(
          values.map((v) => v.bytes),
          unit,
        ),
      },
      layer: [
        {
          mark: { type: 'line', strokeWidth: 2 },
          encoding: { color, ...(withPurpose ? { strokeDash: dash } : {}), detail: { field: 'line' } },
        },
        { mark: { type: 'point', filled: true, size: 50 }, encoding: { color, shape } },
      ],
    };
  };
  const panels = [
    ...(saved.length > 0
      ? [
          chart(
            'Saved activations, training',
            saved.map(({ size, line, savedBytes }) => ({ size, line, bytes: savedBytes })),
            false,
          ),
        ]
      : []),
    chart(
      'Peak of the fullest device',
      rows.map(({ size, line, purpose, peakBytes }) => ({ size, line, purpose, bytes: peakBytes })),
      settings.purposes.length > 1,
    ),
  ];
  return {
    label: `Saved activations and peak memory against ${key}`,
    spec: { hconcat: panels, spacing: 30 },
  };
}

/** Planned against formula, over the first swept number; the lines are the other swept values. */
function formulaChart(
  { tables, settings }: MemoryStudy,
  what: { readonly label: string; readonly title: string; readonly planned: (r: MemoryLayoutRow) => number },
  formulas: readonly { readonly name: string; readonly of: (r: MemoryLayoutRow) => number | null }[],
  rows: readonly MemoryLayoutRow[],
): Chart | undefined {
  const [scale] = scalesOf(tables.layouts, settings.swept);
  if (!scale || rows.length === 0) return undefined;
  const values = rows.flatMap((r) => {
    const own = {
      size: scale.of(r),
      line: [r.purpose, lineOf(r, settings.swept, scale.key)].filter(Boolean).join(', '),
    };
    return [
      { ...own, kind: 'planned', bytes: what.planned(r) },
      ...formulas.flatMap(({ name, of }) => {
        const bytes = of(r);
        return bytes === null ? [] : [{ ...own, kind: name, bytes }];
      }),
    ];
  });
  const { unit, divisor } = byteUnit(Math.max(...values.map((v) => v.bytes)));
  const scaled = values.map((v) => ({ ...v, bytes: v.bytes / divisor }));
  const lines = [...new Set(values.map((v) => v.line))];
  const { color } = lineChannels(lines);
  const sizes = [...new Set(values.map((v) => v.size))].sort((a, b) => a - b);
  return {
    label: what.label,
    spec: {
      data: { values: scaled },
      ...panel,
      width: 520,
      height: 270,
      encoding: {
        x: countAxis('size', scale.title, sizes),
        y: logBytes(
          scaled.map((v) => v.bytes),
          `${what.title} / ${unit}`,
        ),
      },
      layer: [
        {
          transform: [{ filter: "datum.kind !== 'planned'" }],
          mark: { type: 'line', strokeWidth: 1.8 },
          encoding: {
            color,
            strokeDash: {
              field: 'kind',
              type: 'nominal',
              title: null,
              sort: null,
              scale: { domain: formulas.map((f) => f.name), range: formulas.map((_, i) => dashes[i]) },
            },
          },
        },
        {
          transform: [{ filter: "datum.kind === 'planned'" }],
          mark: { type: 'point', filled: true, size: 70, stroke: ink, strokeWidth: 0.5 },
          encoding: { color },
        },
      ],
    },
  };
}

const textbookChart = (study: MemoryStudy): Chart | undefined =>
  formulaChart(
    study,
    {
      label: 'Planned peaks of training and prediction beside the textbook’s formula',
      title: 'peak',
      planned: (r) => r.peakBytes,
    },
    [{ name: 'formula', of: (r) => r.textbookBytes }],
    study.tables.layouts.filter((r) => r.textbookBytes !== null),
  );

const transformerChart = (study: MemoryStudy): Chart | undefined =>
  formulaChart(
    study,
    {
      label: 'Saved activations beside Korthikanti’s formula',
      title: 'saved activations',
      planned: (r) => r.savedBytes,
    },
    [
      { name: 'Korthikanti, 16 bit', of: (r) => r.korthikanti16Bytes },
      { name: 'Korthikanti, doubled', of: (r) => r.korthikantiF32Bytes },
    ],
    study.tables.layouts.filter((r) => r.korthikanti16Bytes !== null),
  );

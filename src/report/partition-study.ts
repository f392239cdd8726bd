/** The page of a study of partitions. */

import { formatCount } from '../core/format.ts';
import { requireKinds } from '../core/options.ts';
import type { PartitionStudy } from '../study/partition/study.ts';
import { type PartitionRow, partitionColumns } from '../study/partition/tables.ts';
import type { Spec } from './axes.ts';
import { type Chart, ink, palette } from './chart.ts';
import { htmlPage } from './html.ts';
import { byteUnit, peakBars, peakParts } from './memory-style.ts';
import { byteForms, drawSection, methodBlock, studyTable, summaryBlock, timingText } from './study-page.ts';

export async function partitionStudyPage(study: PartitionStudy, warn?: (text: string) => void): Promise<string> {
  requireKinds('partitionStudyPage', {
    study: ['object', study],
    settings: ['object', study?.settings],
    tables: ['object', study?.tables],
  });
  const { settings, tables, machine, seconds, model, parameters } = study;
  const { partitions, devices, runs } = partitionColumns;
  const timed = tables.runs.length > 0;
  const many = settings.series.length > 1;
  const sections = settings.series.flatMap((series, i) => {
    const suffix = many ? `, ${series || 'as it is'}` : '';
    const first = i === 0;
    return [
      {
        title: `Step time and memory of every cut${suffix}`,
        text: `Each way to cut, the fastest prediction on top. The dashed line is a step time that no plan goes below under the same costs.${timed ? ' Measured steps are medians with quartiles.' : ''} Memory is the peak of the fullest device.`,
        charts: settings.deviceCounts.map((count) => stepChart(study, series, count)),
        tables: first
          ? [studyTable('All cuts', partitions, tables.partitions), studyTable('Every session', runs, tables.runs)]
          : [],
      },
      {
        title: `How even the stages are${suffix}`,
        text: 'Time of a microbatch on each device, transfers included, over the mean of its cut: 1.00 everywhere is perfect balance, and the largest number of a row holds up all devices.',
        charts: settings.deviceCounts.map((count) => loadChart(study, series, count)),
        tables: [],
      },
      {
        title: `Memory at the peak of each device${suffix}`,
        text: 'What the plan holds at the peak of each device, by category; the black tick is the peak that a device measured itself, the red line its capacity.',
        charts: settings.deviceCounts.map((count) => memoryChart(study, series, count)),
        tables: first ? [studyTable('Every device', devices, tables.devices, byteForms)] : [],
      },
    ];
  });
  const body = [summaryBlock(study.summary)];
  for (const section of sections) body.push(...(await drawSection(section, warn)));
  body.push(
    methodBlock(machine, seconds, [
      ['ways to cut', settings.methods.join(', ')],
      ['costs', settings.costs],
      ['timing', timed ? timingText(settings, 'cut') : 'none'],
      ['time limit of a way', `${settings.timeLimitSeconds} s`],
    ]),
  );
  return htmlPage({
    title: `Where to cut? ${model}${study.data ? ` on ${study.data}` : ''}`,
    subtitle: `${formatCount(parameters)} parameters, batch ${study.batch}; ${settings.methods.length} ways to cut on ${settings.deviceCounts.join(', ')} devices`,
    body,
  });
}

const rowsOf = ({ tables }: PartitionStudy, series: string, count: number): PartitionRow[] =>
  tables.partitions
    .filter((r) => r.series === series && r.devices === count)
    .sort((a, b) => a.predictedSeconds - b.predictedSeconds);

/** Where every value is one of few, an axis from zero hides what differs; where they differ much, it shows it. */
const fromZero = (values: readonly number[]): boolean => Math.min(...values) < 0.6 * Math.max(...values);

function stepChart(study: PartitionStudy, series: string, count: number): Chart | undefined {
  const rows = rowsOf(study, series, count);
  if (rows.length === 0) return undefined;
  const { unit, divisor } = byteUnit(Math.max(...rows.map((r) => r.peakBytesPlanned)));
  const values = rows.map((r) => ({
    method: r.method,
    predicted: 1000 * r.predictedSeconds,
    measured: r.stepSeconds === null ? null : 1000 * r.stepSeconds,
    low: r.stepSecondsLow === null ? null : 1000 * r.stepSecondsLow,
    high: r.stepSecondsHigh === null ? null : 1000 * r.stepSecondsHigh,
    peak: r.peakBytesPlanned / divisor,
    peakMeasured: r.peakBytesMeasured === null ? null : r.peakBytesMeasured / divisor,
    fits: r.fits,
    bound: 1000 * r.stepBoundSeconds,
  }));
  const seconds = values.flatMap((v) => [v.low, v.high].flatMap((s) => s ?? []));
  return {
    label: `Step time and memory of each way to cut, ${count} devices`,
    spec: {
      data: { values },
      hconcat: [
        stepPanel(`${count} devices: predicted step`, values, true, predictedLayers(values)),
        ...(seconds.length > 0
          ? [
              {
                ...stepPanel('measured step', values, false, measuredLayers(seconds)),
                transform: [{ filter: 'isValid(datum.measured)' }],
              },
            ]
          : []),
        stepPanel('peak of the fullest device', values, false, peakLayers(unit, seconds.length > 0)),
      ],
      spacing: 24,
    },
  };
}

/** A panel with a row for each way to cut, in the order of the values; the first says which. */
function stepPanel(
  title: string,
  values: readonly { readonly method: string }[],
  labels: boolean,
  layer: Spec[],
): Spec {
  const y: Spec = {
    field: 'method',
    type: 'nominal',
    title: null,
    sort: values.map((v) => v.method),
    axis: labels ? { grid: true } : { labels: false, ticks: false, grid: true },
  };
  return { title, width: 235, height: { step: 22 }, encoding: { y }, layer };
}

const stepAxis = (field: string, title: string, zero: boolean): Spec => ({
  field,
  type: 'quantitative',
  title,
  scale: { zero, nice: true, padding: 8 },
  axis: { tickCount: 5 },
});

const stepPoint = (color: string, shape: string): Spec => ({
  type: 'point',
  filled: true,
  size: 80,
  color,
  shape,
  opacity: 1,
});

function predictedLayers(values: readonly { readonly predicted: number; readonly bound: number }[]): Spec[] {
  const zero = fromZero([...values.map((v) => v.predicted), values[0]!.bound]);
  return [
    {
      mark: { type: 'rule', color: ink, strokeDash: [5, 4], strokeWidth: 1.5 },
      encoding: { y: null, x: { ...stepAxis('bound', 'ms', zero), aggregate: 'min' } },
    },
    { mark: stepPoint(palette[0], 'circle'), encoding: { x: stepAxis('predicted', 'ms', zero) } },
  ];
}

function measuredLayers(seconds: readonly number[]): Spec[] {
  const zero = fromZero(seconds);
  return [
    {
      mark: { type: 'rule', color: palette[1], strokeWidth: 2 },
      encoding: { x: stepAxis('low', 'ms', zero), x2: { field: 'high' } },
    },
    { mark: stepPoint(palette[1], 'square'), encoding: { x: stepAxis('measured', 'ms', zero) } },
  ];
}

function peakLayers(unit: string, isMeasured: boolean): Spec[] {
  const planned: Spec = {
    mark: { type: 'bar', color: palette[5], height: 12 },
    encoding: { x: stepAxis('peak', unit, true) },
  };
  if (!isMeasured) return [planned];
  const measured: Spec = {
    transform: [{ filter: 'isValid(datum.peakMeasured)' }],
    mark: { type: 'tick', color: '#000', thickness: 2.5, size: 16 },
    encoding: { x: stepAxis('peakMeasured', unit, true) },
  };
  return [planned, measured];
}

function loadChart(study: PartitionStudy, series: string, count: number): Chart | undefined {
  const order = rowsOf(study, series, count).map((r) => r.method);
  const rows = study.tables.devices.filter((r) => r.series === series && r.devices === count);
  if (order.length === 0 || count < 2) return undefined;
  const values = rows.map((r) => {
    const loads = rows.filter((o) => o.method === r.method).map((o) => o.loadSeconds);
    const share = r.loadSeconds / (loads.reduce((a, b) => a + b, 0) / loads.length);
    return {
      method: r.method,
      device: `device ${r.device}`,
      share,
      text: share.toFixed(2),
      most: r.loadSeconds === Math.max(...loads),
    };
  });
  return {
    label: `Load of each device over the mean, ${count} devices`,
    spec: {
      title: `${count} devices`,
      data: { values },
      width: { step: Math.max(44, Math.min(84, 760 / count)) },
      height: { step: 22 },
      encoding: {
        x: {
          field: 'device',
          type: 'nominal',
          title: null,
          sort: [...new Set(values.map((v) => v.device))],
          axis: { labelAngle: 0, orient: 'top', ticks: false, domain: false },
        },
        y: { field: 'method', type: 'nominal', title: null, sort: order, axis: { ticks: false, domain: false } },
      },
      layer: [
        {
          mark: { type: 'rect', stroke: '#fff', strokeWidth: 1.5 },
          encoding: {
            color: {
              field: 'share',
              type: 'quantitative',
              title: 'load / mean',
              // Blue below the mean, white at it, vermilion above: told apart by any colour vision.
              scale: {
                domain: [0, 1, Math.max(2, ...values.map((v) => v.share))],
                range: ['#56A0D3', '#FFFFFF', '#D55E00'],
                interpolate: 'rgb',
              },
            },
          },
        },
        {
          mark: { type: 'text', fontSize: 11 },
          encoding: { text: { field: 'text' }, color: { value: '#111' } },
        },
      ],
    },
  };
}

function memoryChart(study: PartitionStudy, series: string, count: number): Chart | undefined {
  const order = rowsOf(study, series, count).map((r) => r.method);
  const rows = study.tables.devices.filter((r) => r.series === series && r.devices === count);
  if (order.length === 0) return undefined;
  const { unit, divisor } = byteUnit(Math.max(...rows.map((r) => r.peakBytesPlanned)));
  const values = rows.flatMap((r) => [
    ...peakParts(r, divisor).map((part) => ({ method: r.method, device: String(r.device), ...part })),
    ...(r.peakBytesMeasured === null
      ? []
      : [{ method: r.method, device: String(r.device), measured: r.peakBytesMeasured / divisor }]),
    ...(r.capacityBytes === null
      ? []
      : [{ method: r.method, device: String(r.device), capacity: r.capacityBytes / divisor }]),
  ]);
  return {
    label: `Peak memory of each device by category, ${count} devices`,
    spec: {
      title: `${count} devices`,
      data: { values },
      facet: { field: 'method', type: 'nominal', title: null, sort: order },
      columns: 4,
      spec: {
        width: 165,
        height: 120,
        encoding: { x: { field: 'device', type: 'nominal', title: 'device', axis: { labelAngle: 0 } } },
        layer: [
          peakBars({ title: unit, axis: { tickCount: 4 } }),
          ...(rows.some((r) => r.peakBytesMeasured !== null)
            ? [
                {
                  transform: [{ filter: 'isValid(datum.measured)' }],
                  mark: {
                    type: 'tick',
                    color: '#000',
                    thickness: 2,
                    orient: 'horizontal',
                    size: Math.min(26, 130 / count),
                  },
                  encoding: { y: { field: 'measured', type: 'quantitative' } },
                },
              ]
            : []),
          ...(rows.some((r) => r.capacityBytes !== null)
            ? [
                {
                  transform: [{ filter: 'isValid(datum.capacity)' }],
                  mark: {
                    type: 'tick',
                    color: '#B00020',
                    thickness: 2,
                    orient: 'horizontal',
                    size: Math.min(34, 150 / count),
                  },
                  encoding: { y: { field: 'capacity', type: 'quantitative' } },
                },
              ]
            : []),
        ],
      },
    },
  };
}

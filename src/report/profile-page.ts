/** The page of a profile: the roofline with the kernels on it, the step by op and device, and every table. */
import { formatCount, formatPercent, formatSeconds } from '../core/format.ts';
import type { MachineCosts } from '../cost/machine.ts';
import type { ProfileBreakdown, ProfileRow } from '../profile/breakdown.ts';
import type { RecordedSteps } from '../profile/record.ts';
import { type Chart, ink, palette } from './chart.ts';
import { htmlPage } from './html.ts';
import { countedWork, notAddingUp } from './profile.ts';
import { type ColumnForms, drawSection, studyTable, summaryBlock } from './study-page.ts';

/** Rows of a picture; the tables have all. */
const mostBars = 16;

/** Names on the roofline: more would hide each other. */
const mostLabels = 7;

const microseconds = (value: number): string => (1e6 * value).toFixed(value < 1e-4 ? 2 : 1);

const giga = (value: number): string => (value / 1e9).toFixed(2);

const forms: ColumnForms = {
  name: { title: 'what' },
  runs: { title: 'runs a step', form: formatCount },
  seconds: { title: 'a step', unit: 'µs', form: microseconds },
  share: { unit: '%', form: (v) => (100 * v).toFixed(1) },
  flopsPerSecond: { title: 'GFLOP/s', form: giga },
  bytesPerSecond: { title: 'GB/s', form: giga },
  intensity: { title: 'FLOPs over bytes', form: (v) => v.toPrecision(3) },
  roofline: { title: 'of the roofline', unit: '%', form: (v) => (100 * v).toFixed(0) },
  busySeconds: { title: 'busy', unit: 'µs', form: microseconds },
  computeSeconds: { title: 'kernels', unit: 'µs', form: microseconds },
  copySeconds: { title: 'copies', unit: 'µs', form: microseconds },
  exchangeSeconds: { title: 'exchange and waiting', unit: 'µs', form: microseconds },
  overheadSeconds: { title: 'overhead', unit: 'µs', form: microseconds },
};

const columns = ['name', 'runs', 'seconds', 'share', 'flopsPerSecond', 'bytesPerSecond', 'intensity', 'roofline'];
const deviceColumns = [
  'device',
  'backend',
  'busySeconds',
  'computeSeconds',
  'copySeconds',
  'exchangeSeconds',
  'overheadSeconds',
];

/** One HTML file that opens from disk. `warn` hears what the drawing library complains of. */
export async function profilePage(
  breakdown: ProfileBreakdown,
  { plan, counted }: RecordedSteps,
  machine: MachineCosts,
  warn?: (text: string) => void,
): Promise<string> {
  const { stepSeconds, ops, kernels, shapes, devices } = breakdown;
  const { request } = plan;
  const { flopsPerSecond, bytesPerSecond, secondsPerKernel } = machine.device;
  const sections = [
    {
      title: 'Kernels under the roofline',
      text: `Each circle is a kernel, its area the share of the step. Below the slope the memory is the limit (${giga(bytesPerSecond)} GB/s), below the flat part arithmetic (${giga(flopsPerSecond)} GFLOP/s, of our own products), both as measured on this machine. Above the slope lie kernels whose data come from a cache. ${countedWork} So a convolution of small images may lie above the flat part.`,
      charts: [rooflineChart(kernels, flopsPerSecond, bytesPerSecond)],
      tables: [studyTable('All kernels', columns, kernels, forms)],
    },
    {
      title: 'Where the time of a step goes',
      text: 'Time in each op, the largest first. The black tick is what the roofline allows: what lies right of it is left to win.',
      charts: [barChart('op', ops)],
      tables: [studyTable('All ops', columns, ops, forms)],
    },
    {
      title: 'By shape',
      text: 'The same by op and shape of its operands.',
      charts: [barChart('op and shape', shapes)],
      tables: [studyTable('All shapes', columns, shapes, forms)],
    },
    {
      title: 'Devices',
      text: `Each device’s step. Exchange is what it copies to others and waits for them; overhead what lies between instructions.${counted.undisturbed ? '' : ` ${notAddingUp}`}`,
      charts: [deviceChart(breakdown)],
      tables: [studyTable('Every device', deviceColumns, devices, forms)],
    },
  ];
  const body = [summaryBlock(claims(breakdown))];
  for (const section of sections) body.push(...(await drawSection(section, warn)));
  const disturbed = counted.undisturbed ? '' : ' (the least disturbed ones, as the machine was busy)';
  return htmlPage({
    title: `Where does a step's time go? ${request.model.name}`,
    subtitle: `${formatSeconds(stepSeconds)} a step on ${devices.length} ${devices.length === 1 ? 'device' : 'devices'}, ${request.microbatches} ${request.microbatches === 1 ? 'microbatch' : 'microbatches'}; ${counted.steps} of ${counted.of} steps counted${disturbed}; an empty kernel takes ${formatSeconds(secondsPerKernel)}`,
    body,
  });
}

function claims({ ops, kernels, overheadShare, devices }: ProfileBreakdown) {
  const [first] = ops;
  const lost = (row: ProfileRow) => row.seconds * Math.max(0, 1 - (row.roofline ?? 1));
  const [slowest] = [...kernels].sort((a, b) => lost(b) - lost(a));
  const kernelSeconds = kernels.reduce((sum, row) => sum + row.seconds, 0);
  const waiting = devices.reduce((sum, d) => sum + d.exchangeSeconds, 0);
  if (!first || !slowest) return [];
  return [
    {
      about: 'largest',
      question: 'What takes the time?',
      text: `${first.name}: ${formatPercent(first.share)} of the work${ratesOf(first)}. All kernels take ${formatSeconds(kernelSeconds)}.`,
    },
    {
      about: 'loss',
      question: 'What is left to win?',
      text:
        lost(slowest) > 0
          ? `Most with ${slowest.name}: ${formatSeconds(lost(slowest))} a step above its roofline, ${formatPercent(lost(slowest) / kernelSeconds)} of all kernels’ time.`
          : 'Every kernel is at its roofline.',
    },
    {
      about: 'overhead',
      question: 'What is not work?',
      text: `${formatPercent(overheadShare)} of the devices’ work lies between instructions; exchange and waiting take ${formatSeconds(waiting)} over all devices.`,
    },
  ];
}

/** `, at 45.10 GFLOP/s and 97 % of the roofline`, of what computes or moves anything. */
function ratesOf({ flopsPerSecond, roofline }: ProfileRow): string {
  const rates = [
    flopsPerSecond === null ? [] : [`${giga(flopsPerSecond)} GFLOP/s`],
    roofline === null ? [] : [`${formatPercent(roofline, 0)} of the roofline`],
  ].flat();
  return rates.length > 0 ? `, at ${rates.join(' and ')}` : '';
}

function rooflineChart(kernels: readonly ProfileRow[], flopsPerSecond: number, bytesPerSecond: number): Chart {
  const values = kernels.flatMap(({ name, intensity, flopsPerSecond: rate, share }) =>
    intensity && rate ? [{ name, intensity, rate: rate / 1e9, share: 100 * share }] : [],
  );
  const ridge = flopsPerSecond / bytesPerSecond;
  const [low, high] = [
    Math.min(ridge / 4, ...values.map((v) => v.intensity / 2)),
    Math.max(4 * ridge, ...values.map((v) => 2 * v.intensity)),
  ];
  const roof = [low, ridge, high].map((intensity) => ({
    intensity,
    rate: Math.min(flopsPerSecond, intensity * bytesPerSecond) / 1e9,
  }));
  const encoding = {
    x: {
      field: 'intensity',
      type: 'quantitative',
      title: 'FLOPs over bytes',
      scale: { type: 'log', domain: [low, high] },
    },
    y: { field: 'rate', type: 'quantitative', title: 'GFLOP/s', scale: { type: 'log' } },
  };
  return {
    label: 'Roofline of this machine, and the kernels of a step below it',
    spec: {
      width: 760,
      height: 380,
      layer: [
        {
          data: { values: roof },
          mark: { type: 'line', color: ink, strokeWidth: 2 },
          encoding,
        },
        {
          data: { values },
          mark: { type: 'point', filled: true, opacity: 0.75, color: palette[0] },
          encoding: {
            ...encoding,
            size: {
              field: 'share',
              type: 'quantitative',
              title: '% of the step',
              scale: { domain: [0, 100], range: [30, 2000] },
            },
          },
        },
        {
          data: { values: [...values].sort((a, b) => b.share - a.share).slice(0, mostLabels) },
          mark: { type: 'text', align: 'left', dx: 9, dy: -7, fontSize: 11, color: '#111' },
          encoding: { ...encoding, text: { field: 'name' } },
        },
      ],
    },
  };
}

function barChart(title: string, rows: readonly ProfileRow[]): Chart | undefined {
  const largest = rows.slice(0, mostBars);
  if (largest.length === 0) return undefined;
  const thousandths = largest[0]!.seconds < 1e-3;
  const scale = thousandths ? 1e6 : 1e3;
  const values = largest.map(({ name, seconds, roofline }) => ({
    name,
    time: seconds * scale,
    roof: seconds * (roofline ?? 0) * scale,
  }));
  const y = { field: 'name', type: 'nominal', title: null, sort: values.map((v) => v.name), axis: { labelLimit: 420 } };
  const x = (field: string) => ({ field, type: 'quantitative', title: `${thousandths ? 'µs' : 'ms'} a step` });
  return {
    label: `Time by ${title}`,
    spec: {
      width: 520,
      height: { step: 21 },
      data: { values },
      encoding: { y },
      layer: [
        { mark: { type: 'bar', color: palette[5], height: 13 }, encoding: { x: x('time') } },
        { mark: { type: 'tick', color: '#000', thickness: 2.5, size: 15 }, encoding: { x: x('roof') } },
      ],
    },
  };
}

function deviceChart({ devices }: ProfileBreakdown): Chart {
  const kinds = [
    ['kernels', 'computeSeconds', palette[0]],
    ['copies', 'copySeconds', palette[2]],
    ['exchange and waiting', 'exchangeSeconds', '#c8c8c8'],
    ['overhead', 'overheadSeconds', palette[1]],
  ] as const;
  const values = devices.flatMap((d) =>
    kinds.map(([kind, key], order) => ({ device: `device ${d.device}`, kind, order, time: 1e3 * d[key] })),
  );
  return {
    label: 'The step of each device',
    spec: {
      width: 640,
      height: { step: 30 },
      data: { values },
      mark: { type: 'bar', height: 20 },
      encoding: {
        y: { field: 'device', type: 'nominal', title: null },
        x: { field: 'time', type: 'quantitative', stack: true, title: 'ms a step' },
        order: { field: 'order' },
        color: {
          field: 'kind',
          type: 'nominal',
          title: null,
          scale: { domain: kinds.map(([kind]) => kind), range: kinds.map(([, , colour]) => colour) },
        },
      },
    },
  };
}

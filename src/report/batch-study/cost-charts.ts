/** What batch size and microbatches cost: time, memory, and the largest batch that fits. */
import { formatBytes, formatCount } from '../../core/format.ts';
import { fullestDevices } from '../../study/batch/peaks.ts';
import type { BatchStudy } from '../../study/batch/study.ts';
import {
  batchChannels,
  countAxis,
  cycle,
  faceted,
  lineAndPoints,
  logAxis,
  logColumn,
  named,
  panel,
  type Spec,
  wide,
} from '../axes.ts';
import { type Chart, ink, palette, shapes } from '../chart.ts';
import { byteUnit, peakBars, peakParts } from '../memory-style.ts';

/** (a) Step time, throughput, idle share and efficiency against M. */
export function timingChart({ tables, settings }: BatchStudy): Chart | undefined {
  const rows = timedRows(tables.timing);
  if (rows.length === 0) return undefined;
  const all = settings.series.flatMap((s) => {
    const values = rows.filter((r) => r.series === s);
    return values.length === 0
      ? []
      : [timingPanels(values, rows, settings, settings.series.length > 1 ? named(s) : '')];
  });
  return {
    label:
      'Step time, throughput, idle share and efficiency against the number of microbatches, a line for each batch size',
    spec: { vconcat: all, spacing: 40 },
  };
}

/** What was timed, in milliseconds and percent. */
const timedRows = (timing: BatchStudy['tables']['timing']) =>
  timing
    .filter((r) => r.stepSeconds !== null)
    .map((r) => ({
      ...r,
      batch: String(r.batch),
      ms: 1000 * r.stepSeconds!,
      msLow: 1000 * r.stepSecondsLow!,
      msHigh: 1000 * r.stepSecondsHigh!,
      idle: 100 * r.bubble!,
      idleLow: 100 * r.bubbleLow!,
      idleHigh: 100 * r.bubbleHigh!,
      share: r.efficiency === null ? null : 100 * r.efficiency,
    }));

type TimedRow = ReturnType<typeof timedRows>[number];

/** The four panels of a series; axes of time and throughput are those of all rows. */
function timingPanels(
  values: readonly TimedRow[],
  rows: readonly TimedRow[],
  { batchSizes, microbatches }: BatchStudy['settings'],
  title: string,
): Spec {
  const x = countAxis('microbatches', 'microbatches M', microbatches);
  const { color, shape } = batchChannels(batchSizes);
  const lines = lineAndPoints(color, shape);
  const make = (name: string, y: Spec, layer: Spec[]): Spec => ({
    title: name,
    ...panel,
    data: { values },
    encoding: { x, y },
    layer,
  });
  const rule = (low: string, high: string): Spec => ({
    mark: { type: 'rule', strokeWidth: 1.5, opacity: 0.6 },
    encoding: { y: { field: low, type: 'quantitative' }, y2: { field: high }, color },
  });
  const sweet: Spec = {
    transform: [{ filter: 'datum.sweetSpot' }],
    mark: { type: 'point', shape: 'circle', size: 260, filled: false, strokeWidth: 1.8, color: ink },
  };
  const times = rows.flatMap((r) => [r.ms, r.msLow, r.msHigh]);
  const percent = (field: string, name: string, scale: Spec): Spec => ({
    field,
    type: 'quantitative',
    title: name,
    scale,
  });
  const time = make('Time of a step (ring: sweet spot)', logAxis('ms', 'median step time / ms', times), [
    rule('msLow', 'msHigh'),
    ...lines,
    sweet,
  ]);
  const throughput = make('Throughput', logColumn(rows, 'samplesPerSecond', 'samples / s', '~s'), lines);
  const idle = make(
    'Idle share of the devices (bubble)',
    percent('idle', 'idle device time / %', { domain: [0, 100] }),
    [rule('idleLow', 'idleHigh'), ...lines, ...closedFormLayers(values)],
  );
  const efficiency = make(
    'Efficiency: speed-up over one device / devices',
    percent('share', 'efficiency / %', { zero: true }),
    lines,
  );
  return {
    ...(title === '' ? {} : { title: { text: title, fontSize: 16 } }),
    vconcat: [{ hconcat: [time, throughput] }, { hconcat: [idle, efficiency] }],
  };
}

/** The idle share that schedules with a closed form have by it, and the form beside its last point. */
function closedFormLayers(values: readonly TimedRow[]): Spec[] {
  const closed = values
    .filter((r) => r.bubbleClosedForm !== null)
    .map((r) => ({ microbatches: r.microbatches, idle: 100 * r.bubbleClosedForm!, schedule: r.schedule }));
  if (closed.length === 0) return [];
  const last = Math.max(...closed.map((c) => c.microbatches));
  return [
    {
      data: { values: closed },
      mark: { type: 'line', color: ink, strokeDash: [6, 4], strokeWidth: 2 },
      encoding: { detail: { field: 'schedule' } },
    },
    {
      data: { values: closed.filter((c) => c.microbatches === last).slice(0, 1) },
      mark: { type: 'text', align: 'right', dy: 14, color: ink, fontStyle: 'italic' },
      encoding: { text: { value: '(p−1)/(M+p−1)' } },
    },
  ];
}

/** (b) What the memory at the peak holds, device by device, against M, at the largest batch. */
export function memoryChart({ tables, settings }: BatchStudy): Chart | undefined {
  const batch = settings.batchSizes.at(-1)!;
  const rows = tables.memory.filter((r) => r.batch === batch);
  if (rows.length === 0) return undefined;
  const { unit, divisor } = byteUnit(Math.max(...rows.map((r) => r.peakBytesPlanned)));
  const place = (r: (typeof rows)[number]) => ({
    M: String(r.microbatches),
    device: settings.series.length > 1 ? `${named(r.series)}: device ${r.device}` : `device ${r.device}`,
  });
  const bars = rows.flatMap((r) => peakParts(r, divisor).map((part) => ({ ...place(r), ...part })));
  const measured = rows.flatMap((r) =>
    r.peakBytesMeasured === null
      ? []
      : [{ ...place(r), measured: r.peakBytesMeasured / divisor, what: 'measured peak' }],
  );
  const capacity = rows.flatMap((r) =>
    r.capacityBytes === null ? [] : [{ ...place(r), capacity: r.capacityBytes / divisor, what: 'capacity' }],
  );
  const devices = new Set(bars.map((b) => b.device)).size;
  const x = {
    field: 'M',
    type: 'nominal',
    title: 'microbatches M',
    sort: settings.microbatches.map(String),
    axis: { labelAngle: 0 },
  };
  return {
    label: `Peak memory of each device by category against the number of microbatches, batch ${batch}`,
    spec: {
      data: { values: [...bars, ...measured, ...capacity] },
      facet: { field: 'device', type: 'nominal', title: null, sort: [...new Set(bars.map((b) => b.device))] },
      columns: Math.min(4, devices),
      spec: {
        width: devices <= 2 ? 300 : 190,
        height: 260,
        encoding: { x },
        layer: [
          peakBars({ title: `planned peak / ${unit}` }),
          {
            transform: [{ filter: 'isValid(datum.measured)' }],
            mark: { type: 'tick', color: '#000', thickness: 2.5, orient: 'horizontal', size: 34 },
            encoding: { y: { field: 'measured', type: 'quantitative' } },
          },
          ...(capacity.length === 0
            ? []
            : [
                {
                  transform: [{ filter: 'isValid(datum.capacity)' }],
                  mark: { type: 'rule', strokeDash: [5, 3], color: '#B00020', strokeWidth: 2 },
                  encoding: { x: null, y: { field: 'capacity', type: 'quantitative', aggregate: 'max' } },
                },
              ]),
        ],
      },
    },
  };
}

/** (b) The peak of the fullest device against the batch size, a line for each M. */
export function growthChart({ tables, settings }: BatchStudy): Chart | undefined {
  const peaks = fullestDevices(tables.memory);
  if (settings.batchSizes.length < 2 || peaks.length === 0) return undefined;
  const { unit, divisor } = byteUnit(Math.max(...peaks.map((r) => r.peakBytesPlanned)));
  const values = peaks.map((r) => ({
    batch: r.batch,
    M: String(r.microbatches),
    series: named(r.series),
    bytes: r.peakBytesPlanned / divisor,
  }));
  const domain = settings.microbatches.map(String);
  const color = {
    field: 'M',
    type: 'nominal',
    title: 'microbatches M',
    scale: { domain, range: cycle(palette, domain.length) },
  };
  const shape = { ...color, scale: { domain, range: cycle(shapes, domain.length) } };
  const one = {
    ...wide,
    encoding: {
      x: countAxis('batch', 'batch size / samples', settings.batchSizes),
      y: logColumn(values, 'bytes', `planned peak / ${unit}`),
    },
    layer: lineAndPoints(color, shape),
  };
  return {
    label: 'Peak memory of the fullest device against the batch size, a line for each number of microbatches',
    spec: faceted(values, 'series', settings.series.map(named), one),
  };
}

/** (c) The largest batch that fits, against M. */
export function capacityChart({ tables, settings }: BatchStudy): Chart | undefined {
  if (tables.capacity.length === 0) return undefined;
  const values = tables.capacity.map((r) => ({
    M: String(r.microbatches),
    largest: r.largestBatch,
    text: `${r.atLimit ? '≥ ' : ''}${formatCount(r.largestBatch)}`,
    capacity: formatBytes(r.capacityBytes),
    series: named(r.series),
  }));
  const capacities = [...new Set(values.map((v) => v.capacity))];
  const offset = capacities.length > 1 ? { xOffset: { field: 'capacity', sort: capacities } } : {};
  const one = {
    width: Math.max(260, 90 * settings.microbatches.length * Math.sqrt(capacities.length)),
    height: 250,
    encoding: {
      x: {
        field: 'M',
        type: 'nominal',
        title: 'microbatches M',
        sort: settings.microbatches.map(String),
        axis: { labelAngle: 0 },
      },
      y: { field: 'largest', type: 'quantitative', title: 'largest batch / samples' },
      ...offset,
    },
    layer: [
      {
        mark: { type: 'bar', ...(capacities.length === 1 ? { width: { band: 0.6 } } : {}) },
        encoding: {
          color: {
            field: 'capacity',
            type: 'nominal',
            title: 'capacity of each device',
            scale: { domain: capacities, range: cycle(palette, capacities.length) },
          },
        },
      },
      { mark: { type: 'text', dy: -8 }, encoding: { text: { field: 'text' } } },
    ],
  };
  return {
    label: 'The largest batch that fits the devices, planned, against the number of microbatches',
    spec: faceted(values, 'series', settings.series.map(named), one),
  };
}

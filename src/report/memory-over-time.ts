/** A device's memory over a step, drawn: areas by category, the end of the highest value, the capacity, the peak. */
import { formatBytes } from '../core/format.ts';
import { categoryName, type PeakCategory, peakCategories } from '../memory/categories.ts';
import type { MemoryStudy } from '../study/memory/study.ts';
import type { MemoryDeviceRow, MemoryKey } from '../study/memory/tables.ts';
import type { Spec } from './axes.ts';
import type { Chart } from './chart.ts';
import { byteUnit, capacityColour, categoryColours } from './memory-style.ts';

const MOST_DEVICES = 4;

/** All, or of many the first, the last and the fullest ones between them. */
export function picturedDevices({ tables }: MemoryStudy, layout: string): number[] {
  const rows = tables.devices.filter((d) => d.layout === layout);
  const all = [...new Set(rows.map((r) => r.device))];
  if (all.length <= MOST_DEVICES) return all;
  const peak = (d: number) => Math.max(...rows.filter((r) => r.device === d).map((r) => r.peakBytes));
  const between = all.slice(1, -1).sort((a, b) => peak(b) - peak(a) || a - b);
  return [all[0]!, ...between.slice(0, MOST_DEVICES - 2), all.at(-1)!].sort((a, b) => a - b);
}

const ofLayout =
  (layout: string) =>
  (row: MemoryKey): boolean =>
    row.layout === layout;

/** Colours by category, those that occur; `order` stacks them as the legend lists them. */
export function categoryChannel(used: readonly string[]): Spec {
  const kept = peakCategories.filter((c) => used.includes(c));
  return {
    field: 'category',
    type: 'nominal',
    title: null,
    sort: null,
    scale: { domain: kept.map(categoryName), range: kept.map((c) => categoryColours[peakCategories.indexOf(c)]) },
  };
}

function timeUnit(seconds: number): { unit: string; factor: number } {
  return seconds < 1e-3
    ? { unit: 'µs', factor: 1e6 }
    : seconds < 1
      ? { unit: 'ms', factor: 1e3 }
      : { unit: 's', factor: 1 };
}

/** A row a device; training on the left, prediction on the right, on the same scale of bytes. */
export function overTimeCharts(study: MemoryStudy, layout: string): Chart[] {
  const { tables, settings } = study;
  const rows = tables.overTime.filter(ofLayout(layout));
  const devices = tables.devices.filter(ofLayout(layout));
  const highest = Math.max(...devices.map((d) => d.peakBytes));
  const { unit, divisor } = byteUnit(highest);
  const used = peakCategories.filter((c) => c !== 'padding' && rows.some((r) => r[c] > 0));
  return picturedDevices(study, layout).map((device): Chart => {
    const panels = settings.purposes.flatMap((purpose) => {
      const samples = rows.filter((r) => r.purpose === purpose && r.device === device);
      const own = devices.find((d) => d.purpose === purpose && d.device === device);
      const step = tables.layouts.find((r) => r.layout === layout && r.purpose === purpose)?.stepSecondsPredicted ?? 0;
      if (samples.length === 0 || !own) return [];
      return [timePanel({ samples, own, step, used, unit, divisor, highest })];
    });
    return {
      label: `Live bytes of device ${device} over a step, by category`,
      spec: { hconcat: panels, spacing: 24 },
    };
  });
}

interface TimePanel {
  readonly samples: MemoryStudy['tables']['overTime'];
  readonly own: MemoryDeviceRow;
  readonly step: number;
  readonly used: readonly PeakCategory[];
  readonly unit: string;
  readonly divisor: number;
  readonly highest: number;
  /** Default: what device it is, its purpose and its peak. */
  readonly title?: string;
  readonly width?: number;
  readonly height?: number;
  /** Where the axis of time ends. Default: with the step. */
  readonly untilSeconds?: number;
}

export function timePanel(given: TimePanel): Spec {
  const { samples, own, step, used, unit, divisor, highest, width = 380, height = 170 } = given;
  const end = Math.max(step, samples.at(-1)!.seconds);
  const { untilSeconds = end } = given;
  const time = timeUnit(untilSeconds);
  // The last sample holds until the step ends.
  const points = [...samples, { ...samples.at(-1)!, seconds: end }];
  const areas = points.flatMap((s) =>
    used.map((c) => ({ t: time.factor * s.seconds, category: categoryName(c), bytes: s[c as 'inputs'] / divisor })),
  );
  const reach = points.map((s, at) => ({ at, t: time.factor * s.seconds, bytes: s.reachBytes / divisor }));
  const live = own.maxLiveBytes / divisor;
  const capacity = own.capacityBytes !== null && own.capacityBytes < 2.5 * highest ? own.capacityBytes / divisor : null;
  const above = own.capacityBytes !== null && capacity === null ? `, capacity ${formatBytes(own.capacityBytes)}` : '';
  const top = (1.08 * Math.max(highest, capacity === null ? 0 : capacity * divisor)) / divisor;
  const x = (field: string): Spec => ({
    field,
    type: 'quantitative',
    title: `time / ${time.unit}`,
    scale: { domain: [0, time.factor * untilSeconds], nice: false },
    axis: { grid: false, tickCount: width < 300 ? 4 : 6 },
  });
  const y: Spec = {
    field: 'bytes',
    type: 'quantitative',
    title: `live / ${unit}`,
    scale: { domain: [0, top], nice: false },
    axis: { tickCount: Math.round(height / 28) },
  };
  return {
    title: `${given.title ?? `Device ${own.device}, ${own.purpose}: ${formatBytes(own.peakBytes)}`}${above}`,
    width,
    height,
    layer: [
      {
        data: { values: areas },
        mark: { type: 'area', interpolate: 'step-after', opacity: 0.9 },
        encoding: {
          x: x('t'),
          y: { ...y, stack: 'zero' },
          // No order: of areas it would group as well, an area for each moment. They are sorted by time.
          color: categoryChannel(used),
        },
      },
      {
        data: { values: reach },
        mark: { type: 'line', interpolate: 'step-after', color: '#000', strokeWidth: 1, strokeDash: [3, 2] },
        encoding: { x: x('t'), y, order: { field: 'at' } },
      },
      ...(capacity === null
        ? []
        : [
            {
              data: { values: [{ bytes: capacity }] },
              mark: { type: 'rule', color: capacityColour, strokeWidth: 2 },
              encoding: { y },
            },
          ]),
      {
        data: { values: [{ t: time.factor * own.peakSeconds, bytes: live }] },
        mark: { type: 'point', shape: 'circle', size: 90, filled: false, color: '#000', strokeWidth: 1.8 },
        encoding: { x: x('t'), y },
      },
    ],
  };
}

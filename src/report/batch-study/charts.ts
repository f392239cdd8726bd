/** The pictures of a batch study, from the rows of its tables. Each is given only where its rows are there. */
import { formatBytes, formatCount } from '../../core/format.ts';
import { memoryCategories } from '../../program/instruction.ts';
import { fullestDevices } from '../../study/batch/peaks.ts';
import type { BatchStudy } from '../../study/batch/study.ts';
import type { CurveRow } from '../../study/batch/tables.ts';
import { bestOfBatch } from '../../study/batch/training.ts';
import { median } from '../../study/statistics.ts';
import { type Chart, dashes, ink, ordered, palette, shapes } from '../chart.ts';

type Spec = Record<string, unknown>;

const panel = { width: 380, height: 230 };
const wide = { width: 430, height: 280 };
const narrow = { width: 265, height: 200 };

/** Axes whose ticks are the values that occur: counts of microbatches, batch sizes. */
const countAxis = (field: string, title: string, values: readonly number[]): Spec => ({
  field,
  type: 'quantitative',
  title,
  scale: { type: 'log', base: 2, domain: [Math.min(...values), Math.max(...values)], nice: false, padding: 12 },
  axis: { values: [...values], format: 'd', grid: false },
});

/**
 * A logarithmic axis over these values, a little beyond both ends, with ticks at round numbers only: Vega's own draw a line
 * for each of 1 … 9.
 */
function logAxis(field: string, title: string, values: readonly (number | null)[], format = '~g'): Spec {
  const positive = values.filter((v): v is number => v !== null && v > 0);
  const [low, high] = [Math.min(...positive), Math.max(...positive)];
  const margin = Math.max(1.06, (high / low) ** 0.05);
  const domain = [low / margin, high * margin];
  return {
    field,
    type: 'quantitative',
    title,
    scale: { type: 'log', domain, nice: false },
    axis: { format, values: roundNumbers(domain[0]!, domain[1]!) },
  };
}

/** Within a range: powers of ten where it spans many, else 1, 2 and 5 times them, else nearer ones. */
function roundNumbers(low: number, high: number): number[] {
  const decades = Math.log10(high / low);
  const digits =
    decades > 3.5 ? [1] : decades > 0.8 ? [1, 2, 5] : decades > 0.35 ? [1, 1.5, 2, 3, 4, 5, 6, 8] : undefined;
  if (digits === undefined) return evenNumbers(low, high);
  const found: number[] = [];
  for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e++) {
    for (const m of digits) {
      const value = Number(`${m}e${e}`);
      if (value >= low && value <= high) found.push(value);
    }
  }
  return found;
}

/** About five multiples of 1, 2 or 5 times a power of ten. */
function evenNumbers(low: number, high: number): number[] {
  const rough = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((m) => m >= rough) ?? power;
  const first = Math.ceil(low / step);
  return Array.from({ length: Math.floor(high / step) - first + 1 }, (_, i) =>
    Number(((first + i) * step).toPrecision(6)),
  );
}

/** Colour and shape of a batch size; light is small. */
function batchChannels(batches: readonly number[]): { color: Spec; shape: Spec } {
  const domain = batches.map(String);
  return {
    color: {
      field: 'batch',
      type: 'nominal',
      title: 'batch size',
      scale: { domain, range: ordered(domain.length) },
      sort: null,
    },
    shape: {
      field: 'batch',
      type: 'nominal',
      title: 'batch size',
      scale: { domain, range: cycle(shapes, domain.length) },
      sort: null,
    },
  };
}

const cycle = <T>(values: readonly T[], count: number): T[] =>
  Array.from({ length: count }, (_, i) => values[i % values.length]!);

/** Line and points with the same channels: colour, and shape or dash beside it. */
const lineAndPoints = (color: Spec, second: Spec, detail?: Spec): Spec[] => [
  { mark: { type: 'line', strokeWidth: 2 }, encoding: { color, ...(detail ? { detail } : {}) } },
  { mark: { type: 'point', filled: true, size: 55 }, encoding: { color, shape: second } },
];

const named = (name: string): string => (name === '' ? 'experiment' : name);

/** (a) Step time, throughput, idle share and efficiency against M. */
export function timingChart({ tables, settings }: BatchStudy): Chart | undefined {
  const rows = tables.timing
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
  if (rows.length === 0) return undefined;
  const x = countAxis('microbatches', 'microbatches M', settings.microbatches);
  const { color, shape } = batchChannels(settings.batchSizes);
  const rule = (low: string, high: string): Spec => ({
    mark: { type: 'rule', strokeWidth: 1.5, opacity: 0.6 },
    encoding: { y: { field: low, type: 'quantitative' }, y2: { field: high }, color },
  });
  const sweet: Spec = {
    transform: [{ filter: 'datum.sweetSpot' }],
    mark: { type: 'point', shape: 'circle', size: 260, filled: false, strokeWidth: 1.8, color: ink },
  };
  const charts = (values: typeof rows, title: string): Spec => {
    const closed = values
      .filter((r) => r.bubbleClosedForm !== null)
      .map((r) => ({ microbatches: r.microbatches, idle: 100 * r.bubbleClosedForm!, schedule: r.schedule }));
    const make = (name: string, y: Spec, layer: Spec[]): Spec => ({
      title: name,
      ...panel,
      data: { values },
      encoding: { x, y },
      layer,
    });
    const lines = lineAndPoints(color, shape);
    const last = Math.max(...closed.map((c) => c.microbatches));
    return {
      ...(title === '' ? {} : { title: { text: title, fontSize: 16 } }),
      vconcat: [
        {
          hconcat: [
            make(
              'Time of a step (ring: sweet spot)',
              logAxis(
                'ms',
                'median step time / ms',
                rows.flatMap((r) => [r.ms, r.msLow, r.msHigh]),
              ),
              [rule('msLow', 'msHigh'), ...lines, sweet],
            ),
            make(
              'Throughput',
              logAxis(
                'samplesPerSecond',
                'samples / s',
                rows.map((r) => r.samplesPerSecond),
                '~s',
              ),
              lines,
            ),
          ],
        },
        {
          hconcat: [
            make(
              'Idle share of the devices (bubble)',
              { field: 'idle', type: 'quantitative', title: 'idle device time / %', scale: { domain: [0, 100] } },
              [
                rule('idleLow', 'idleHigh'),
                ...lines,
                ...(closed.length === 0
                  ? []
                  : [
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
                    ]),
              ],
            ),
            make(
              'Efficiency: speed-up over one device / devices',
              { field: 'share', type: 'quantitative', title: 'efficiency / %', scale: { zero: true } },
              lines,
            ),
          ],
        },
      ],
    };
  };
  const all = settings.series.flatMap((s) => {
    const values = rows.filter((r) => r.series === s);
    return values.length === 0 ? [] : [charts(values, settings.series.length > 1 ? named(s) : '')];
  });
  return {
    label:
      'Step time, throughput, idle share and efficiency against the number of microbatches, a line for each batch size',
    spec: { vconcat: all, spacing: 40 } as unknown as Chart['spec'],
  };
}

const categoryNames: Readonly<Record<string, string>> = {
  optimizerState: 'optimizer state',
  savedActivations: 'saved activations',
};
const categories = [...memoryCategories, 'padding' as const];
/** Like the palette, with grey for padding. */
const categoryColours = ['#0072B2', '#D55E00', '#E69F00', '#009E73', '#56B4E9', '#CC79A7', '#6B4C9A', '#BBBBBB'];

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
  const bars = rows.flatMap((r) =>
    categories.map((c, i) => ({ ...place(r), category: categoryNames[c] ?? c, order: i, bytes: r[c] / divisor })),
  );
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
          {
            transform: [{ filter: 'isValid(datum.bytes)' }],
            mark: { type: 'bar' },
            encoding: {
              y: { field: 'bytes', type: 'quantitative', title: `planned peak / ${unit}`, stack: 'zero' },
              color: {
                field: 'category',
                type: 'nominal',
                title: 'held at the peak',
                scale: { domain: categories.map((c) => categoryNames[c] ?? c), range: categoryColours },
              },
              order: { field: 'order', type: 'quantitative' },
            },
          },
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
    } as unknown as Chart['spec'],
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
      y: logAxis(
        'bytes',
        `planned peak / ${unit}`,
        values.map((v) => v.bytes),
      ),
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

/** (d) Difference of gradients, a point a parameter. */
export function gradientChart({ tables, settings }: BatchStudy): Chart | undefined {
  const rows = tables.gradients.filter((r) => r.relative > 0);
  if (rows.length === 0) return undefined;
  const parameters = [...new Set(rows.map((r) => r.parameter))];
  const few = parameters.length <= palette.length;
  const values = rows.map((r) => ({
    M: String(r.microbatches),
    relative: r.relative,
    ulps: r.maxUlps,
    used: r.boundUsed === null || r.boundUsed === 0 ? null : 100 * r.boundUsed,
    parameter: r.parameter,
    variant: named(r.variant),
  }));
  const channel = (range: readonly unknown[]) => ({
    field: 'parameter',
    type: 'nominal',
    title: 'parameter',
    scale: { domain: parameters, range: cycle(range, parameters.length) },
  });
  const x = {
    field: 'M',
    type: 'nominal',
    title: 'microbatches M',
    sort: settings.microbatches.map(String),
    axis: { labelAngle: 0, grid: true },
  };
  const mark = few
    ? { mark: { type: 'point', filled: true, size: 70 }, encoding: { color: channel(palette), shape: channel(shapes) } }
    : { mark: { type: 'tick', thickness: 1.5, color: palette[0], opacity: 0.6 }, encoding: {} };
  const make = (title: string, y: Spec): Spec => ({
    title,
    ...narrow,
    transform: [{ filter: `isValid(datum.${String(y.field)})` }],
    mark: mark.mark,
    encoding: { x, y, ...mark.encoding },
  });
  const one = {
    hconcat: [
      make(
        'Size',
        logAxis(
          'relative',
          'relative difference',
          values.map((v) => v.relative),
          '~e',
        ),
      ),
      make(
        'In representable numbers',
        logAxis(
          'ulps',
          'difference / ulps',
          values.map((v) => v.ulps),
          '~s',
        ),
      ),
    ],
  };
  return {
    label:
      'Difference between the gradient of the batch in one piece and cut, for each parameter and number of microbatches',
    spec: stacked(values, 'variant', settings.variants.map(named), one),
  };
}

/** (d) The same batch trained whole and cut. */
export function cutTrainingChart({ tables, settings }: BatchStudy): Chart | undefined {
  if (tables.cutTraining.length === 0) return undefined;
  const values = tables.cutTraining.map((r) => ({
    M: String(r.microbatches),
    step: r.step,
    loss: r.loss,
    relative: r.difference > 0 ? r.difference / Math.abs(r.loss) : null,
    variant: named(r.variant),
  }));
  const domain = settings.microbatches.map(String);
  const color = {
    field: 'M',
    type: 'nominal',
    title: 'microbatches M',
    scale: { domain, range: cycle(palette, domain.length) },
  };
  const dash = { ...color, scale: { domain, range: cycle(dashes, domain.length) } };
  const x = { field: 'step', type: 'quantitative', title: 'step', axis: { grid: false } };
  const one = {
    hconcat: [
      {
        title: 'Training loss',
        ...panel,
        mark: { type: 'line' },
        encoding: {
          x,
          y: logAxis(
            'loss',
            'training loss',
            values.map((v) => v.loss),
          ),
          color,
          strokeDash: dash,
        },
      },
      {
        title: 'Distance from the loss of M = 1',
        ...panel,
        transform: [{ filter: 'isValid(datum.relative)' }],
        mark: { type: 'line', strokeWidth: 1.5 },
        encoding: {
          x,
          y: logAxis(
            'relative',
            '|difference| / loss',
            values.map((v) => v.relative),
            '~e',
          ),
          color,
          strokeDash: dash,
        },
      },
    ],
  };
  return {
    label: 'Training loss of the largest batch in one piece and cut, and the distance between them, step by step',
    spec: stacked(values, 'variant', settings.variants.map(named), one),
  };
}

/** What the curves show: held-out loss where all have it, else training loss. */
export const curveMetric = (rows: readonly CurveRow[]): 'heldOutLoss' | 'loss' =>
  rows.every((r) => r.heldOutLoss !== null) ? 'heldOutLoss' : 'loss';

/** (e) Loss against steps, samples and time, a row for each rule. */
export function curvesChart({ tables, settings, target }: BatchStudy, variant: string): Chart | undefined {
  const rows = tables.curves.filter((r) => r.variant === variant);
  if (rows.length === 0) return undefined;
  const metric = curveMetric(rows);
  const values = medians(rows, metric);
  const timed = values.every((v) => v.seconds !== null);
  const { color, shape } = batchChannels(settings.batchSizes);
  const lossTitle = metric === 'heldOutLoss' ? 'held-out loss' : 'training loss';
  const losses = values.map((v) => v.value).sort((a, b) => a - b);
  // A training that diverges would squeeze all others: the axis ends somewhat above the losses at the beginning.
  const top = Math.min(losses.at(-1)!, 2 * Math.max(...firstLosses(values)));
  const y = logAxis('value', lossTitle, [losses[0]!, top]);
  (y.scale as Spec).clamp = true;
  const goal = target && target.metric === metric ? [{ value: target.value }] : [];
  const make = (rule: string, x: Spec, first: boolean): Spec => ({
    ...narrow,
    ...(timed ? {} : { width: 400 }),
    ...(first ? { title: ruleNames[rule] ?? rule } : {}),
    data: { values: values.filter((v) => v.rule === rule) },
    layer: [
      { mark: { type: 'line', clip: true }, encoding: { x, y, color } },
      {
        transform: [{ filter: 'datum.marked' }],
        mark: { type: 'point', filled: true, size: 40, clip: true },
        encoding: { x, y, color, shape },
      },
      ...(goal.length > 0
        ? [
            {
              data: { values: goal },
              mark: { type: 'rule', strokeDash: [5, 4], color: ink },
              encoding: { y: { field: 'value', type: 'quantitative' } },
            },
          ]
        : []),
    ],
  });
  const axes: ['step' | 'samples' | 'seconds', string][] = [
    ['step', 'steps'],
    ['samples', 'samples'],
    ...(timed ? ([['seconds', 'time / s']] as ['seconds', string][]) : []),
  ];
  return {
    label: 'Loss against steps, samples and time for each batch size and learning-rate rule',
    spec: {
      vconcat: settings.rules.map((rule) => ({
        hconcat: axes.map(([field, title], i) =>
          make(
            rule,
            logAxis(
              field,
              title,
              values.map((v) => v[field]),
              field === 'seconds' ? '~g' : '~s',
            ),
            i === 0,
          ),
        ),
      })),
    } as unknown as Chart['spec'],
  };
}

const ruleNames: Readonly<Record<string, string>> = {
  none: 'Rate kept',
  linear: 'Rate × B/B₀',
  sqrt: 'Rate × √(B/B₀)',
  retuned: 'Rate retuned',
};

interface MedianPoint {
  readonly batch: string;
  readonly rule: string;
  readonly step: number;
  readonly samples: number;
  readonly seconds: number | null;
  readonly value: number;
  /** Every few points has a shape on it. */
  readonly marked: boolean;
}

/** Over seeds, where all of them have the point: a diverged one ends its group's curve. */
function medians(rows: readonly CurveRow[], metric: 'heldOutLoss' | 'loss'): MedianPoint[] {
  const groups = new Map<string, CurveRow[]>();
  for (const row of rows) {
    const key = `${row.rule} ${row.batch} ${row.step}`;
    groups.set(key, [...(groups.get(key) ?? []), row]);
  }
  let at = 0;
  return [...groups.values()].flatMap((group): MedianPoint[] => {
    const [{ batch, rule, step, samples, seconds }] = group as [CurveRow, ...CurveRow[]];
    const value = median(group.map((r) => r[metric] ?? Number.NaN));
    if (!Number.isFinite(value) || value <= 0) return [];
    return [{ batch: String(batch), rule, step, samples, seconds, value, marked: at++ % 5 === 0 }];
  });
}

const firstLosses = (values: readonly MedianPoint[]): number[] =>
  values.filter((v) => v.step === 1).map((v) => v.value);

/** (e) The score of every rate that was tried. */
export function tuningChart({ tables, settings }: BatchStudy, variant: string): Chart | undefined {
  const values = tables.tuning
    .filter((r) => r.variant === variant && r.score !== null)
    .map((r) => ({ ...r, batch: String(r.batch) }));
  if (values.length === 0) return undefined;
  const { color, shape } = batchChannels(settings.batchSizes);
  return {
    label:
      'Loss at the end of the trials against the learning rate, a line for each batch size; a ring around the best',
    spec: {
      ...wide,
      data: { values },
      encoding: {
        x: logAxis(
          'lr',
          'learning rate',
          values.map((v) => v.lr),
        ),
        y: logAxis(
          'score',
          'loss at the end',
          values.map((v) => v.score),
        ),
      },
      layer: [
        ...lineAndPoints(color, shape),
        {
          transform: [{ filter: 'datum.best' }],
          mark: { type: 'point', shape: 'circle', size: 260, filled: false, strokeWidth: 1.8, color: ink },
        },
      ],
    } as unknown as Chart['spec'],
  };
}

/** (f) Steps and samples to the target against the batch size, with perfect scaling and the fitted trade-off. */
export function targetChart({ tables, settings, tradeOffs }: BatchStudy, variant: string): Chart | undefined {
  const rows = tables.targets.filter((r) => r.variant === variant && r.steps !== null);
  if (rows.length === 0 || settings.batchSizes.length < 2) return undefined;
  const best = bestOfBatch(rows, variant);
  const first = best[0]!;
  const range = [Math.min(...settings.batchSizes), Math.max(...settings.batchSizes)] as const;
  const between = Array.from({ length: 41 }, (_, i) => range[0] * (range[1] / range[0]) ** (i / 40));
  const perfect = between.map((batch) => ({
    batch,
    steps: (first.steps! * first.batch) / batch,
    samples: first.samples!,
    line: 'perfect scaling',
  }));
  const fit = tradeOffs.find((t) => t.variant === variant);
  const fitted = fit
    ? between.map((batch) => {
        const steps = fit.minSteps * (1 + fit.criticalBatch / batch);
        return { batch, steps, samples: steps * batch, line: 'fit S(1+B_crit/B)' };
      })
    : [];
  const rules = settings.rules;
  const channel = (range: readonly unknown[]): Spec => ({
    field: 'rule',
    type: 'nominal',
    title: 'learning rate',
    sort: null,
    scale: { domain: [...rules], range: cycle(range, rules.length) },
  });
  const lines = {
    data: { values: [...perfect, ...fitted] },
    mark: { type: 'line', color: ink, strokeWidth: 1.6 },
    encoding: {
      strokeDash: {
        field: 'line',
        type: 'nominal',
        title: 'reference',
        scale: {
          domain: fit ? ['perfect scaling', 'fit S(1+B_crit/B)'] : ['perfect scaling'],
          range: fit
            ? [
                [6, 4],
                [1, 0],
              ]
            : [[6, 4]],
        },
      },
    },
  };
  const corner =
    fit && fit.criticalBatch >= range[0] && fit.criticalBatch <= range[1] ? [{ critical: fit.criticalBatch }] : [];
  const make = (title: string, field: 'steps' | 'samples'): Spec => ({
    title,
    ...panel,
    data: { values: rows },
    encoding: {
      x: countAxis('batch', 'batch size / samples', settings.batchSizes),
      y: logAxis(
        field,
        `${field} to the target`,
        [...rows, ...perfect, ...fitted].map((r) => r[field]),
        '~s',
      ),
    },
    layer: [
      lines,
      ...(corner.length > 0
        ? [
            {
              data: { values: corner },
              mark: { type: 'rule', color: ink, strokeDash: [2, 3] },
              encoding: { x: { field: 'critical', type: 'quantitative' }, y: null },
            },
          ]
        : []),
      ...(field === 'steps'
        ? [
            {
              transform: [{ filter: 'isValid(datum.stepsLow) && isValid(datum.stepsHigh)' }],
              mark: { type: 'rule', strokeWidth: 1.5, opacity: 0.6 },
              encoding: {
                y: { field: 'stepsLow', type: 'quantitative' },
                y2: { field: 'stepsHigh' },
                color: channel(palette),
              },
            },
          ]
        : []),
      ...lineAndPoints(channel(palette), channel(shapes)),
    ],
  });
  return {
    label:
      'Steps and samples to the target against the batch size, both axes logarithmic, with the line of perfect scaling',
    spec: { hconcat: [make('Steps', 'steps'), make('Samples', 'samples')] } as unknown as Chart['spec'],
  };
}

/** (g) Noise scale and its two parts along training. */
export function noiseChart({ tables, tradeOffs }: BatchStudy, variant: string): Chart | undefined {
  const rows = tables.noise.filter((r) => r.variant === variant);
  if (rows.length === 0) return undefined;
  // Step 0 has no place on a logarithmic axis; it stands where step 1 does, half a step before it.
  const values = rows.map((r) => ({ ...r, at: r.step === 0 ? 0.5 : r.step }));
  const x = logAxis(
    'at',
    'step (first values at ½)',
    values.map((v) => v.at),
    '~g',
  );
  const fit = tradeOffs.find((t) => t.variant === variant);
  const parts = values.flatMap((r) => [
    { at: r.at, size: r.traceSigma, part: 'tr Σ, of one sample' },
    { at: r.at, size: r.gradNormSquared, part: '‖G‖², of the mean' },
  ]);
  const domain = ['tr Σ, of one sample', '‖G‖², of the mean'];
  const color = {
    field: 'part',
    type: 'nominal',
    title: 'squared size',
    scale: { domain, range: palette.slice(0, 2) },
  };
  const shape = { ...color, scale: { domain, range: shapes.slice(0, 2) } };
  return {
    label: 'Gradient noise scale along training, and the two quantities it is the ratio of',
    spec: {
      hconcat: [
        {
          title: 'Noise scale: predicted critical batch',
          ...panel,
          data: { values },
          transform: [{ filter: 'isValid(datum.noiseScale)' }],
          layer: [
            {
              mark: { type: 'line', color: palette[0] },
              encoding: {
                x,
                y: logAxis(
                  'noiseScale',
                  'B_simple / samples',
                  [...values.map((v) => v.noiseScale), fit?.criticalBatch ?? null],
                  '~s',
                ),
              },
            },
            {
              mark: { type: 'point', filled: true, size: 60, color: palette[0] },
              encoding: { x, y: { field: 'noiseScale', type: 'quantitative' } },
            },
            ...(fit
              ? [
                  {
                    data: { values: [{ critical: fit.criticalBatch, at: values[0]!.at }] },
                    mark: { type: 'rule', color: ink, strokeDash: [6, 4] },
                    encoding: { y: { field: 'critical', type: 'quantitative' } },
                  },
                  {
                    data: { values: [{ critical: fit.criticalBatch, at: values[0]!.at }] },
                    mark: { type: 'text', align: 'left', dy: -8, color: ink, fontStyle: 'italic' },
                    encoding: {
                      x,
                      y: { field: 'critical', type: 'quantitative' },
                      text: { value: 'from measured steps' },
                    },
                  },
                ]
              : []),
          ],
        },
        {
          title: 'Noise and signal',
          ...panel,
          data: { values: parts },
          transform: [{ filter: 'datum.size > 0' }],
          encoding: {
            x,
            y: logAxis(
              'size',
              'squared gradient',
              parts.map((p) => p.size),
            ),
          },
          layer: lineAndPoints(color, shape),
        },
      ],
      resolve: { scale: { color: 'independent', shape: 'independent' } },
    } as unknown as Chart['spec'],
  };
}

/** A column a name where there are several. */
function faceted(values: readonly object[], field: string, names: readonly string[], one: Spec): Chart['spec'] {
  const spec =
    names.length <= 1
      ? { data: { values }, ...one }
      : { data: { values }, facet: { field, type: 'nominal', title: null, sort: [...names] }, columns: 2, spec: one };
  return spec as unknown as Chart['spec'];
}

/** A row a name where there are several: for charts that are rows themselves. */
function stacked(values: readonly object[], field: string, names: readonly string[], one: Spec): Chart['spec'] {
  const rows = names.map((name) => ({
    ...(names.length > 1 ? { title: { text: name, fontSize: 16 } } : {}),
    data: { values: values.filter((v) => (v as Record<string, unknown>)[field] === name) },
    ...one,
  }));
  return { vconcat: rows } as unknown as Chart['spec'];
}

function byteUnit(most: number): { unit: string; divisor: number } {
  if (most >= 2 ** 30) return { unit: 'GiB', divisor: 2 ** 30 };
  if (most >= 2 ** 20) return { unit: 'MiB', divisor: 2 ** 20 };
  return { unit: 'KiB', divisor: 2 ** 10 };
}

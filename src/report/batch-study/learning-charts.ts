/** What batch size and microbatches do to gradients and to the learning. */

import type { BatchStudy } from '../../study/batch/study.ts';
import type { CurveRow } from '../../study/batch/tables.ts';
import { bestOfBatch } from '../../study/batch/training.ts';
import { median } from '../../study/statistics.ts';
import {
  batchChannels,
  countAxis,
  cycle,
  lineAndPoints,
  logAxis,
  logColumn,
  named,
  narrow,
  panel,
  type Spec,
  stacked,
  wide,
} from '../axes.ts';
import { type Chart, dashes, ink, palette, shapes } from '../chart.ts';

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
  const bounded = values.filter((v) => v.used !== null);
  const one = {
    hconcat: [
      make('Size', logColumn(values, 'relative', 'relative difference', '~e')),
      make('In representable numbers', logColumn(values, 'ulps', 'difference / ulps', '~s')),
      ...(bounded.length === 0
        ? []
        : [make('Of what rounding can make', logColumn(bounded, 'used', 'difference / % of bound'))]),
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
    legend: { symbolType: 'stroke' },
  };
  const dash = { ...color, scale: { domain, range: cycle(dashes, domain.length) } };
  const steps = values.map((v) => v.step);
  const x = {
    field: 'step',
    type: 'quantitative',
    title: 'step',
    axis: { grid: false, tickMinStep: 1, format: 'd' },
    scale: { domain: [Math.min(...steps), Math.max(...steps)], nice: false },
  };
  const apart = values.some((v) => v.relative !== null);
  const one = {
    hconcat: [
      {
        title: 'Training loss',
        ...panel,
        mark: { type: 'line' },
        encoding: {
          x,
          y: logColumn(values, 'loss', 'training loss'),
          color,
          strokeDash: dash,
        },
      },
      ...(apart
        ? [
            {
              title: 'Distance from the loss of M = 1',
              ...panel,
              transform: [{ filter: 'isValid(datum.relative)' }],
              mark: { type: 'line', strokeWidth: 1.5, point: { size: 16 } },
              encoding: {
                x,
                y: logColumn(values, 'relative', '|difference| / loss', '~e'),
                color,
                strokeDash: dash,
              },
            },
          ]
        : []),
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
    },
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
        x: logColumn(values, 'lr', 'learning rate'),
        y: logColumn(values, 'score', 'loss at the end'),
      },
      layer: [
        ...lineAndPoints(color, shape),
        {
          transform: [{ filter: 'datum.best' }],
          mark: { type: 'point', shape: 'circle', size: 260, filled: false, strokeWidth: 1.8, color: ink },
        },
      ],
    },
  };
}

/** (f) Steps and samples to the target against the batch size, with perfect scaling and the fitted trade-off. */
export function targetChart({ tables, settings, tradeOffs }: BatchStudy, variant: string): Chart | undefined {
  const { batchSizes, rules } = settings;
  const rows = tables.targets.filter((r) => r.variant === variant && r.steps !== null);
  if (rows.length === 0 || batchSizes.length < 2) return undefined;
  const fit = tradeOffs.find((t) => t.variant === variant);
  const references = scalingLines(bestOfBatch(rows, variant)[0]!, fit, batchSizes);
  const channel = (range: readonly unknown[]): Spec => ({
    field: 'rule',
    type: 'nominal',
    title: 'learning rate',
    sort: null,
    scale: { domain: [...rules], range: cycle(range, rules.length) },
  });
  const quartiles: Spec = {
    transform: [{ filter: 'isValid(datum.stepsLow) && isValid(datum.stepsHigh)' }],
    mark: { type: 'rule', strokeWidth: 1.5, opacity: 0.6 },
    encoding: {
      y: { field: 'stepsLow', type: 'quantitative' },
      y2: { field: 'stepsHigh' },
      color: channel(palette),
    },
  };
  const make = (title: string, field: 'steps' | 'samples'): Spec => ({
    title,
    ...panel,
    data: { values: rows },
    encoding: {
      x: countAxis('batch', 'batch size / samples', batchSizes),
      y: logAxis(
        field,
        `${field} to the target`,
        [...rows, ...references].map((r) => r[field]),
        '~s',
      ),
    },
    layer: [
      ...scalingLayers(references, fit, batchSizes),
      ...(field === 'steps' ? [quartiles] : []),
      ...lineAndPoints(channel(palette), channel(shapes)),
    ],
  });
  return {
    label:
      'Steps and samples to the target against the batch size, both axes logarithmic, with the line of perfect scaling',
    spec: { hconcat: [make('Steps', 'steps'), make('Samples', 'samples')] },
  };
}

type TradeOff = BatchStudy['tradeOffs'][number];

const PERFECT = 'perfect scaling';
const FITTED = 'fit S(1+B_crit/B)';

/** Points of the lines that results are compared to: perfect scaling from the smallest batch on, then the fit where there is one. */
function scalingLines(
  first: { readonly batch: number; readonly steps: number | null; readonly samples: number | null },
  fit: TradeOff | undefined,
  batchSizes: readonly number[],
) {
  const [least, most] = [Math.min(...batchSizes), Math.max(...batchSizes)];
  const between = Array.from({ length: 41 }, (_, i) => least * (most / least) ** (i / 40));
  const perfect = between.map((batch) => ({
    batch,
    steps: (first.steps! * first.batch) / batch,
    samples: first.samples!,
    line: PERFECT,
  }));
  if (!fit) return perfect;
  const fitted = between.map((batch) => {
    const steps = fit.minSteps * (1 + fit.criticalBatch / batch);
    return { batch, steps, samples: steps * batch, line: FITTED };
  });
  return [...perfect, ...fitted];
}

/** These lines, and the fitted critical batch where it is one of the range. */
function scalingLayers(
  values: ReturnType<typeof scalingLines>,
  fit: TradeOff | undefined,
  batchSizes: readonly number[],
): Spec[] {
  const dashed = [6, 4];
  const scale = fit ? { domain: [PERFECT, FITTED], range: [dashed, [1, 0]] } : { domain: [PERFECT], range: [dashed] };
  const lines: Spec = {
    data: { values },
    mark: { type: 'line', color: ink, strokeWidth: 1.6 },
    encoding: { strokeDash: { field: 'line', type: 'nominal', title: 'reference', scale } },
  };
  const isInRange = fit && fit.criticalBatch >= Math.min(...batchSizes) && fit.criticalBatch <= Math.max(...batchSizes);
  if (!isInRange) return [lines];
  const corner: Spec = {
    data: { values: [{ critical: fit.criticalBatch }] },
    mark: { type: 'rule', color: ink, strokeDash: [2, 3] },
    encoding: { x: { field: 'critical', type: 'quantitative' }, y: null },
  };
  return [lines, corner];
}

/** (g) Noise scale and its two parts along training. */
export function noiseChart({ tables, tradeOffs }: BatchStudy, variant: string): Chart | undefined {
  const rows = tables.noise.filter((r) => r.variant === variant);
  if (rows.length === 0) return undefined;
  // Step 0 has no place on a logarithmic axis; it stands where step 1 does, half a step before it.
  const values = rows.map((r) => ({ ...r, at: r.step === 0 ? 0.5 : r.step }));
  const x = logColumn(values, 'at', 'step (first values at ½)', '~g');
  const critical = tradeOffs.find((t) => t.variant === variant)?.criticalBatch;
  return {
    label: 'Gradient noise scale along training, and the two quantities it is the ratio of',
    spec: {
      hconcat: [noiseScalePanel(values, x, critical), noisePartsPanel(values, x)],
      resolve: { scale: { color: 'independent', shape: 'independent' } },
    },
  };
}

type NoiseRow = BatchStudy['tables']['noise'][number] & { readonly at: number };

function noiseScalePanel(values: readonly NoiseRow[], x: Spec, critical: number | undefined): Spec {
  const y = { field: 'critical', type: 'quantitative' };
  const measured: Spec[] =
    critical === undefined
      ? []
      : [
          {
            data: { values: [{ critical, at: values[0]!.at }] },
            mark: { type: 'rule', color: ink, strokeDash: [6, 4] },
            encoding: { y },
          },
          {
            data: { values: [{ critical, at: values[0]!.at }] },
            mark: { type: 'text', align: 'left', dy: -8, color: ink, fontStyle: 'italic' },
            encoding: { x, y, text: { value: 'from measured steps' } },
          },
        ];
  const sizes = [...values.map((v) => v.noiseScale), critical ?? null];
  return {
    title: 'Noise scale: predicted critical batch',
    ...panel,
    data: { values },
    transform: [{ filter: 'isValid(datum.noiseScale)' }],
    layer: [
      {
        mark: { type: 'line', color: palette[0] },
        encoding: { x, y: logAxis('noiseScale', 'B_simple / samples', sizes, '~s') },
      },
      {
        mark: { type: 'point', filled: true, size: 60, color: palette[0] },
        encoding: { x, y: { field: 'noiseScale', type: 'quantitative' } },
      },
      ...measured,
    ],
  };
}

function noisePartsPanel(values: readonly NoiseRow[], x: Spec): Spec {
  const domain = ['tr Σ, of one sample', '‖G‖², of the mean'] as const;
  const parts = values.flatMap((r) => [
    { at: r.at, size: r.traceSigma, part: domain[0] },
    { at: r.at, size: r.gradNormSquared, part: domain[1] },
  ]);
  const channel = (range: readonly unknown[]): Spec => ({
    field: 'part',
    type: 'nominal',
    title: 'squared size',
    scale: { domain: [...domain], range: range.slice(0, 2) },
  });
  return {
    title: 'Noise and signal',
    ...panel,
    data: { values: parts },
    transform: [{ filter: 'datum.size > 0' }],
    encoding: { x, y: logColumn(parts, 'size', 'squared gradient') },
    layer: lineAndPoints(channel(palette), channel(shapes)),
  };
}

/** The page of a batch study: the answers in words, the pictures, and under each its figures. */

import { formatCount, formatPercent, formatValue } from '../../core/format.ts';
import { requireKinds } from '../../core/options.ts';
import type { BatchStudy } from '../../study/batch/study.ts';
import { metricText } from '../../study/batch/summary.ts';
import { type BatchTables, type TableName, tableColumns } from '../../study/batch/tables.ts';
import { type Chart, drawChart } from '../chart.ts';
import { figure, htmlPage } from '../html.ts';
import { byteForms, methodBlock, studyTable, summaryBlock, timingText } from '../study-page.ts';
import { capacityChart, growthChart, memoryChart, timingChart } from './cost-charts.ts';
import {
  curveMetric,
  curvesChart,
  cutTrainingChart,
  gradientChart,
  noiseChart,
  targetChart,
  tuningChart,
} from './learning-charts.ts';

export async function batchStudyPage(study: BatchStudy, warn?: (text: string) => void): Promise<string> {
  requireKinds('batchStudyPage', { study: ['object', study] });
  const body: string[] = [summaryBlock(study.summary)];
  for (const { title, text, charts, tables } of sections(study)) {
    const drawn = await Promise.all(charts.flatMap((chart) => (chart ? [drawChart(chart, warn)] : [])));
    const data = tables.filter((name) => study.tables[name].length > 0).map((name) => tableOf(study.tables, name));
    if (drawn.length === 0 && data.length === 0) continue;
    body.push(figure(title, text, drawn.join('\n'), data.join('\n')));
  }
  body.push(settingsBlock(study));
  const { settings, data, dataSize, parameters } = study;
  return htmlPage({
    title: `Large batch or microbatches? ${study.model} on ${data}`,
    subtitle: `${formatCount(parameters)} parameters, ${formatCount(dataSize)} samples to train on, ${settings.devices} device${settings.devices === 1 ? '' : 's'}; batch sizes ${settings.batchSizes.join(', ')}; microbatches ${settings.microbatches.join(', ')}`,
    body,
  });
}

interface Section {
  readonly title: string;
  readonly text: string;
  readonly charts: readonly (Chart | undefined)[];
  readonly tables: readonly TableName[];
}

function sections(study: BatchStudy): Section[] {
  const { settings, target, tables } = study;
  const largest = settings.batchSizes.at(-1)!;
  const goal = target
    ? `${metricText[target.metric]} ${target.metric === 'accuracy' ? formatPercent(target.value) : formatValue(target.value, 3)}`
    : 'the target';
  const held = tables.curves.length > 0 && curveMetric(tables.curves) === 'heldOutLoss';
  return [
    {
      title: 'Time of a step against microbatches',
      text: `Each point is the median of ${settings.repeats * settings.timedSteps} steps, its bar the quartiles. The ring marks the sweet spot of a batch: the shortest step, or one as fast (within 5 % and its spread) that needs less memory. The dashed line is the idle share of equal stages that wait for nothing but each other.`,
      charts: [timingChart(study)],
      tables: ['timing', 'runs'],
    },
    {
      title: `Memory at the peak, batch ${largest}`,
      text: 'Bars are what the plan holds at the peak of each device, by category; the black tick is the peak that the device measured itself. Saved activations and inputs shrink with the microbatch; parameters, gradients and optimizer state do not.',
      charts: [memoryChart(study)],
      tables: [],
    },
    {
      title: 'Memory against the batch size',
      text: 'The planned peak of the fullest device. Where lines meet at small batches, what no batch changes fills the memory.',
      charts: [growthChart(study)],
      tables: ['memory'],
    },
    {
      title: 'The largest batch that fits',
      text: 'Found by planning alone: a larger batch would not fit the fullest device. One bar is the full batch in one piece, the others are cut.',
      charts: [capacityChart(study)],
      tables: ['capacity'],
    },
    {
      title: 'The gradient, whole and cut',
      text: `The first batch of ${largest} with the first values of the parameters: what cutting changes in the gradient of each parameter. A unit in the last place (ulp) is the distance of two neighbouring numbers; entries near zero are many ulps apart for a small difference. The bound is the most that another order of the same additions can change (docs/noise.md). A gradient with the same bits has no point.`,
      charts: [gradientChart(study)],
      tables: ['gradients'],
    },
    {
      title: 'The training, whole and cut',
      text: `The same training with a batch of ${largest} in one piece and cut: same data, first values and rate. A step whose losses have the same bits has no point on the right.`,
      charts: [cutTrainingChart(study)],
      tables: ['cutTraining'],
    },
    ...settings.variants.flatMap((variant): Section[] => {
      const suffix = variant === '' ? '' : `, ${variant}`;
      const first = variant === settings.variants[0];
      return [
        {
          title: `${held ? 'Held-out loss' : 'Loss'} against steps, samples and time${suffix}`,
          text: `Trainings of ${settings.length}, ${settings.seeds === 1 ? 'one seed' : `medians of ${settings.seeds} seeds`}; a row for each rule by which the learning rate follows the batch size B, from ${formatValue(settings.baseRate)} at B₀ = ${settings.baseBatch} (${settings.optimizer}). The dashed line is ${goal}. Time is steps times the measured step time at the sweet spot.`,
          charts: [curvesChart(study, variant)],
          tables: first ? ['curves'] : [],
        },
        {
          title: `The search for the rate${suffix}`,
          text: `Each point is a training of ${settings.length} with the first seed; the ring is the rate that was taken for the rule "retuned".`,
          charts: [tuningChart(study, variant)],
          tables: first ? ['tuning'] : [],
        },
        {
          title: `Steps and samples to ${goal}${suffix}`,
          text: 'On the dashed line twice the batch needs half the steps and no more samples. Where the points leave it, larger batches waste samples; where they lie flat, they save no steps (Shallue et al. 2019). The solid line is the trade-off S = S_min (1 + B_crit/B) of McCandlish et al. 2018, fitted to the best rule of each batch size; the dotted line is its B_crit.',
          charts: [targetChart(study, variant)],
          tables: first ? ['targets'] : [],
        },
        {
          title: `Gradient noise along training${suffix}`,
          text: `From ${formatCount(study.tables.noise[0]?.samples ?? 0)} single samples' gradients behind some steps of the training with batch ${study.tables.noise[0]?.batch ?? settings.baseBatch}: B_simple = tr Σ / ‖G‖² (McCandlish et al. 2018), the batch at which noise and gradient are equally large. It predicts the critical batch without training at any other size. An estimate whose ‖G‖² is not positive is left out.`,
          charts: [noiseChart(study, variant)],
          tables: first ? ['noise'] : [],
        },
      ];
    }),
  ];
}

const titles: { readonly [name in TableName]: string } = {
  runs: 'Every session',
  timing: 'Times of all layouts',
  memory: 'Memory of all layouts',
  capacity: 'Largest batches',
  gradients: 'Differences of gradients',
  cutTraining: 'Losses, whole and cut',
  curves: 'Learning curves',
  tuning: 'Rates that were tried',
  targets: 'Steps to the target',
  noise: 'Noise estimates',
};

const tableOf = (tables: BatchTables, name: TableName): string =>
  studyTable(titles[name], tableColumns[name], tables[name], name === 'memory' ? byteForms : {});

function settingsBlock({ settings: s, machine: m, seconds }: BatchStudy): string {
  return methodBlock(m, seconds, [
    ['timing', timingText(s)],
    [
      'trainings',
      `${s.length}, ${s.seeds} seed${s.seeds === 1 ? '' : 's'}, rules ${s.rules.join(', ')}, on one device (losses are the same bits on every layout)`,
    ],
  ]);
}

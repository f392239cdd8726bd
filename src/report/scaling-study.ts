/** The page of a study of scaling. */

import { formatCount } from '../core/format.ts';
import { requireKinds } from '../core/options.ts';
import type { ScalingStudy } from '../study/scaling/study.ts';
import { bandwidth } from '../study/scaling/summary.ts';
import { type ScalingRow, scalingColumns } from '../study/scaling/tables.ts';
import { countAxis, cycle, logAxis, logColumn, narrow, panel, type Spec } from './axes.ts';
import { type Chart, dashes, ink, palette, shapes } from './chart.ts';
import { htmlPage } from './html.ts';
import { drawSection, methodBlock, type Section, studyTable, summaryBlock } from './study-page.ts';

export async function scalingStudyPage(study: ScalingStudy, warn?: (text: string) => void): Promise<string> {
  requireKinds('scalingStudyPage', {
    study: ['object', study],
    settings: ['object', study?.settings],
    tables: ['object', study?.tables],
  });
  const { settings, tables, machine, seconds, model, parameters } = study;
  const many = settings.series.length > 1;
  const body = [summaryBlock(study.summary)];
  for (const [i, series] of settings.series.entries()) {
    const suffix = many ? `, ${series || 'as it is'}` : '';
    const rows = tables.scaling.filter((r) => r.series === series);
    const timed = rows.some((r) => r.measuredSeconds !== null);
    const sections: Section[] = [
      {
        title: `The same model on more devices (strong scaling)${suffix}`,
        text: `A microbatch has ${settings.microbatchSamples} samples everywhere; the model has ${settings.mostStages} parts to cut between, so lines end where there are no more stages to make. On the dashed line every device adds its full share.${timed ? ' Measured throughput of this machine, as a multiple of its own single device, is ringed.' : ''}`,
        charts: [strongChart(rows, study)],
        tables: i === 0 ? [studyTable('All pipelines', scalingColumns.scaling, tables.scaling)] : [],
      },
      {
        title: `A model that grows with the devices (weak scaling)${suffix}`,
        text: "Every device holds as much work as the whole model is. Efficiency is one device's step over this one; the idle share of the devices stands beside the closed form of equal stages and free links (lines).",
        charts: weakCharts(rows, study),
        tables: [],
      },
      {
        title: `Links${suffix}`,
        text: `The step of the growing model with other bandwidths, over that with free links, M = ${tables.links[0]?.microbatches ?? ''}. The dotted line is the bandwidth of the experiment, ${bandwidth(settings.link.bytesPerSecond)}.`,
        charts: [linkChart(study, series)],
        tables: i === 0 ? [studyTable('All links', scalingColumns.links, tables.links)] : [],
      },
    ];
    for (const section of sections) body.push(...(await drawSection(section, warn)));
  }
  body.push(
    methodBlock(machine, seconds, [
      ['schedules', settings.schedules.join(', ')],
      ['costs', settings.costs],
      ['simulation', 'one action a task, sends occupy their device, a barrier and the update end the step'],
    ]),
  );
  return htmlPage({
    title: `How far does it scale? ${model}${study.data ? ` on ${study.data}` : ''}`,
    subtitle: `${formatCount(parameters)} parameters; ${settings.deviceCounts.join(', ')} devices on paper; M = ${settings.microbatches.join(', ')}`,
    body,
  });
}

function channels({ settings }: ScalingStudy): { color: Spec; shape: Spec; dash: Spec } {
  const one = (field: string, title: string, domain: readonly string[], range: readonly unknown[]): Spec => ({
    field,
    type: 'nominal',
    title,
    scale: { domain, range: cycle(range, domain.length) },
  });
  const counts = settings.microbatches.map(String);
  return {
    color: one('schedule', 'schedule', settings.schedules, palette),
    shape: one('schedule', 'schedule', settings.schedules, shapes),
    // Long enough to tell the dashes apart.
    dash: { ...one('M', 'microbatches M', counts, dashes), legend: { symbolType: 'stroke', symbolSize: 900 } },
  };
}

const deviceAxis = (rows: readonly ScalingRow[]): Spec =>
  countAxis(
    'devices',
    'devices',
    [...new Set(rows.map((r) => r.devices))].sort((a, b) => a - b),
  );

function strongChart(all: readonly ScalingRow[], study: ScalingStudy): Chart | undefined {
  const rows = all.filter((r) => r.mode === 'strong');
  if (rows.length === 0) return undefined;
  const { color, shape, dash } = channels(study);
  const single = new Map(
    rows.flatMap((r) =>
      r.devices === 1 && r.measuredSeconds !== null ? [[`${r.schedule} ${r.microbatches}`, r.measuredSeconds]] : [],
    ),
  );
  const values = rows.map((r) => {
    const alone = single.get(`${r.schedule} ${r.microbatches}`);
    return {
      schedule: r.schedule,
      M: String(r.microbatches),
      devices: r.devices,
      speedup: r.efficiency * r.devices,
      efficiency: 100 * r.efficiency,
      measured: r.measuredSeconds !== null && alone !== undefined ? alone / r.measuredSeconds : null,
    };
  });
  const counts = [...new Set(rows.map((r) => r.devices))];
  const most = Math.max(...values.map((v) => v.speedup));
  const ideal = counts.filter((d) => d <= 2 * most).map((d) => ({ devices: d, speedup: d }));
  const lines = (y: Spec): Spec[] => [
    { mark: { type: 'line', strokeWidth: 2 }, encoding: { y, color, strokeDash: dash, detail: { field: 'M' } } },
    { mark: { type: 'point', filled: true, size: 45 }, encoding: { y, color, shape } },
  ];
  const y = logAxis('speedup', 'speed-up', [
    ...values.map((v) => v.speedup),
    ...ideal.map((v) => v.speedup),
    ...values.flatMap((v) => v.measured ?? []),
  ]);
  const x = deviceAxis(rows);
  return {
    label: 'Throughput and efficiency of the same model on more devices, by schedule and number of microbatches',
    spec: {
      data: { values },
      hconcat: [
        {
          title: 'Speed-up: throughput over one device’s',
          ...panel,
          encoding: { x },
          layer: [
            {
              data: { values: ideal },
              mark: { type: 'line', color: ink, strokeDash: [5, 4], strokeWidth: 1.5 },
              encoding: { y },
            },
            ...lines(y),
            ...(values.some((v) => v.measured !== null)
              ? [
                  {
                    transform: [{ filter: 'isValid(datum.measured)' }],
                    mark: { type: 'point', filled: false, size: 170, strokeWidth: 2, shape: 'circle' },
                    encoding: { y: { ...y, field: 'measured' }, color },
                  },
                ]
              : []),
          ],
        },
        {
          title: 'Efficiency: speed-up over devices',
          ...panel,
          encoding: { x },
          layer: lines({
            field: 'efficiency',
            type: 'quantitative',
            title: 'efficiency / %',
            scale: { domain: [0, 100] },
          }),
        },
      ],
      spacing: 30,
    },
  };
}

/** Panels beside each other; none is alone in the last row. */
const columnsFor = (panels: number): number => (panels > 3 && panels % 3 === 1 ? 2 : 3);

/** Efficiency and idle share of the models that grow with the devices. */
export const weakCharts = (rows: readonly ScalingRow[], study: ScalingStudy): (Chart | undefined)[] => [
  weakChart(rows, study, 'efficiency'),
  weakChart(rows, study, 'bubble'),
];

/** A panel for each M. */
function weakChart(all: readonly ScalingRow[], study: ScalingStudy, what: 'efficiency' | 'bubble'): Chart | undefined {
  const rows = all.filter((r) => r.mode === 'weak');
  if (rows.length === 0) return undefined;
  const { color, shape } = channels(study);
  const values = rows.map((r) => ({
    schedule: r.schedule,
    M: `M = ${r.microbatches}`,
    devices: r.devices,
    value: 100 * r[what],
    closed: what === 'efficiency' || r.bubbleClosedForm === null ? null : 100 * r.bubbleClosedForm,
  }));
  const y = (field: string): Spec => ({
    field,
    type: 'quantitative',
    title: what === 'efficiency' ? 'efficiency / %' : 'idle device time / %',
    scale: { domain: [0, 100] },
  });
  const counts = [...new Set(rows.map((r) => r.devices))].sort((a, b) => a - b);
  const x = countAxis('devices', 'devices', counts);
  return {
    label: `${what === 'efficiency' ? 'Efficiency' : 'Idle share'} of pipelines that grow with the devices, by schedule`,
    spec: {
      data: { values },
      facet: { field: 'M', type: 'nominal', title: null, sort: study.settings.microbatches.map((m) => `M = ${m}`) },
      columns: columnsFor(study.settings.microbatches.length),
      spec: {
        ...narrow,
        encoding: { x },
        layer: [
          ...(what === 'bubble' && values.some((v) => v.closed !== null)
            ? [
                {
                  transform: [{ filter: 'isValid(datum.closed)' }],
                  mark: { type: 'line', strokeWidth: 2 },
                  encoding: { y: y('closed'), color },
                },
              ]
            : what === 'bubble'
              ? []
              : [{ mark: { type: 'line', strokeWidth: 2 }, encoding: { y: y('value'), color } }]),
          { mark: { type: 'point', filled: true, size: 50 }, encoding: { y: y('value'), color, shape } },
        ],
      },
    },
  };
}

function linkChart(study: ScalingStudy, series: string): Chart | undefined {
  const rows = study.tables.links.filter((r) => r.series === series);
  if (rows.length === 0) return undefined;
  const { color, shape } = channels(study);
  const counts = [...new Set(rows.map((r) => r.devices))];
  const values = rows.map((r) => ({
    schedule: r.schedule,
    devices: `${r.devices} devices`,
    gigabytes: r.bytesPerSecond / 1e9,
    slowdown: r.slowdown,
    own: study.settings.link.bytesPerSecond / 1e9,
  }));
  const x = logColumn(values, 'gigabytes', 'bandwidth / GB/s');
  return {
    label: 'Step time over that with free links, against the bandwidth, by schedule',
    spec: {
      data: { values },
      facet: { field: 'devices', type: 'nominal', title: null, sort: counts.map((d) => `${d} devices`) },
      columns: columnsFor(counts.length),
      spec: {
        ...narrow,
        encoding: { y: logColumn(values, 'slowdown', 'step over free links') },
        layer: [
          {
            mark: { type: 'rule', color: ink, strokeDash: [2, 3], strokeWidth: 1.5 },
            encoding: { y: null, x: { ...x, field: 'own', aggregate: 'min' } },
          },
          { mark: { type: 'line', strokeWidth: 2 }, encoding: { x, color } },
          { mark: { type: 'point', filled: true, size: 50 }, encoding: { x, color, shape } },
        ],
      },
    },
  };
}

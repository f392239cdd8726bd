/** The page of a study of schedules. */

import { formatCount } from '../core/format.ts';
import { requireKinds } from '../core/options.ts';
import type { ScheduleStudy } from '../study/schedule/study.ts';
import { type ScheduleRow, scheduleColumns } from '../study/schedule/tables.ts';
import { countAxis, cycle, lineAndPoints, logColumn, panel, type Spec, wide } from './axes.ts';
import { type Chart, dashes, escapeHtml, ink, palette, shapes } from './chart.ts';
import { details, htmlPage } from './html.ts';
import { byteUnit } from './memory-style.ts';
import {
  byteForms,
  drawSection,
  methodBlock,
  type Section,
  studyTable,
  summaryBlock,
  timingText,
} from './study-page.ts';

export async function scheduleStudyPage(study: ScheduleStudy, warn?: (text: string) => void): Promise<string> {
  requireKinds('scheduleStudyPage', {
    study: ['object', study],
    settings: ['object', study?.settings],
    tables: ['object', study?.tables],
  });
  const { settings, tables, machine, seconds, model, parameters } = study;
  const timed = tables.runs.length > 0;
  const many = settings.series.length > 1;
  const body = [summaryBlock(study.summary)];
  for (const [i, series] of settings.series.entries()) {
    const rows = tables.schedules.filter((r) => r.series === series).map(withName);
    const suffix = many ? `, ${series || 'as it is'}` : '';
    const sections: Section[] = [
      {
        title: `Idle time against the closed forms${suffix}`,
        text: `Left: stages that all take the mean of this model's, free links: points are the schedule's clock, lines the closed form where there is one. Right: this model's own stages and links, as the simulator predicts them${timed ? '; measured shares, where the layout ran, are rings' : ''}.`,
        charts: [bubbleChart(rows)],
        tables:
          i === 0
            ? [
                studyTable('All layouts', scheduleColumns.schedules, tables.schedules),
                studyTable('Every session', scheduleColumns.runs, tables.runs),
              ]
            : [],
      },
      {
        title: `Step time${suffix}`,
        text: `Predicted${timed ? ', and measured: medians of all timed steps, bars the quartiles' : ''}. The batch is the same everywhere; more microbatches are smaller ones.`,
        charts: [stepChart(rows)],
        tables: [],
      },
      {
        title: `Memory${suffix}`,
        text: 'Left: the planned peak of the fullest device; black ticks are measured peaks. Right: microbatches that the fullest device holds at once, summed over its stages, and the bound that the schedule keeps to (dashed).',
        charts: [memoryChart(rows)],
        tables: i === 0 ? [studyTable('Every device', scheduleColumns.devices, tables.devices, byteForms)] : [],
      },
      {
        title: `Time against memory${suffix}`,
        text: 'Every layout that fits, with its number of microbatches. On the line nothing else is both faster and smaller (Pareto front, predicted).',
        charts: [paretoChart(rows)],
        tables: [],
      },
    ];
    for (const section of sections) body.push(...(await drawSection(section, warn)));
  }
  body.push(
    ...(await drawSection(
      {
        title: 'The schedules as they are played',
        text: 'Tasks of one step with the predicted times of this model: F forward, B backward for activations, W for weights, BW both in one; the number is the microbatch. White is idle.',
        charts: timelineCharts(study),
        html: gridTexts(study),
        tables: [studyTable('Every task', scheduleColumns.timelines, tables.timelines)],
      },
      warn,
    )),
    methodBlock(machine, seconds, [
      ['schedules', settings.schedules.join(', ')],
      ['costs', settings.costs],
      ['timing', timed ? timingText(settings) : 'none'],
    ]),
  );
  return htmlPage({
    title: `Which schedule? ${model}${study.data ? ` on ${study.data}` : ''}`,
    subtitle: `${formatCount(parameters)} parameters, batch ${study.batch}, ${settings.devices} devices; M = ${settings.microbatches.join(', ')}`,
    body,
  });
}

type NamedRow = ScheduleRow & { readonly name: string };

/** A schedule with several stages a device is another line than with one. */
const nameOf = ({ schedule, stagesPerDevice }: { schedule: string; stagesPerDevice: number }): string =>
  stagesPerDevice > 1 ? `${schedule} (${stagesPerDevice} stages)` : schedule;
const withName = (r: ScheduleRow): NamedRow => ({ ...r, name: nameOf(r) });

const namesOf = (rows: readonly NamedRow[]): string[] => [...new Set(rows.map((r) => r.name))];
const countsOf = (rows: readonly NamedRow[]): number[] =>
  [...new Set(rows.map((r) => r.microbatches))].sort((a, b) => a - b);

function channels(names: readonly string[]): { color: Spec; shape: Spec; dash: Spec } {
  const one = (range: readonly unknown[]): Spec => ({
    field: 'name',
    type: 'nominal',
    title: 'schedule',
    scale: { domain: names, range: cycle(range, names.length) },
  });
  return { color: one(palette), shape: one(shapes), dash: { ...one(dashes), legend: null } };
}

const share = (field: string, title: string): Spec => ({
  field,
  type: 'quantitative',
  title,
  scale: { domain: [0, 100] },
});

function bubbleChart(rows: readonly NamedRow[]): Chart | undefined {
  if (rows.length === 0) return undefined;
  const { color, shape } = channels(namesOf(rows));
  const percent = (v: number | null) => (v === null ? null : 100 * v);
  const values = rows.map((r) => ({
    name: r.name,
    microbatches: r.microbatches,
    closed: percent(r.bubbleClosedForm),
    equal: percent(r.bubbleEqualStages),
    own: percent(r.predictedBubble),
    measured: percent(r.bubble),
  }));
  const x = countAxis('microbatches', 'microbatches M', countsOf(rows));
  return {
    label: 'Idle share of the devices against the number of microbatches, by schedule',
    spec: {
      data: { values },
      hconcat: [
        {
          title: 'Equal stages: closed form (line), clock (points)',
          ...panel,
          encoding: { x },
          layer: [
            ...(values.some((v) => v.closed !== null)
              ? [
                  {
                    transform: [{ filter: 'isValid(datum.closed)' }],
                    mark: { type: 'line', strokeWidth: 2 },
                    encoding: { y: share('closed', 'idle device time / %'), color },
                  },
                ]
              : []),
            {
              mark: { type: 'point', filled: true, size: 65, opacity: 0.9 },
              encoding: { y: share('equal', 'idle device time / %'), color, shape },
            },
          ],
        },
        {
          title: 'This model: predicted (line), measured (rings)',
          ...panel,
          encoding: { x },
          layer: [
            ...lineAndPoints(color, shape).map((layer) => ({
              ...layer,
              encoding: { ...(layer.encoding as Spec), y: share('own', 'idle device time / %') },
            })),
            ...(values.some((v) => v.measured !== null)
              ? [
                  {
                    transform: [{ filter: 'isValid(datum.measured)' }],
                    mark: { type: 'point', filled: false, size: 150, strokeWidth: 2, shape: 'circle' },
                    encoding: { y: share('measured', 'idle device time / %'), color },
                  },
                ]
              : []),
          ],
        },
      ],
      spacing: 30,
    },
  };
}

function stepChart(rows: readonly NamedRow[]): Chart | undefined {
  if (rows.length === 0) return undefined;
  const { color, shape } = channels(namesOf(rows));
  const ms = (s: number | null) => (s === null ? null : 1000 * s);
  const values = rows.map((r) => ({
    name: r.name,
    microbatches: r.microbatches,
    predicted: ms(r.predictedSeconds),
    measured: ms(r.stepSeconds),
    low: ms(r.stepSecondsLow),
    high: ms(r.stepSecondsHigh),
  }));
  const x = countAxis('microbatches', 'microbatches M', countsOf(rows));
  const measured = values.filter((v) => v.measured !== null);
  const left: Spec = {
    title: 'Predicted',
    ...panel,
    encoding: { x, y: logColumn(values, 'predicted', 'step time / ms') },
    layer: lineAndPoints(color, shape),
  };
  const right: Spec = {
    title: 'Measured',
    ...panel,
    data: { values: measured },
    encoding: {
      x,
      y: logColumn(
        measured.flatMap((v) => [{ measured: v.low }, { measured: v.high }]),
        'measured',
        'step time / ms',
      ),
    },
    layer: [
      {
        mark: { type: 'rule', strokeWidth: 1.5, opacity: 0.6 },
        encoding: { y: { field: 'low', type: 'quantitative' }, y2: { field: 'high' }, color },
      },
      ...lineAndPoints(color, shape),
    ],
  };
  return {
    label: 'Step time against the number of microbatches, by schedule',
    spec: {
      data: { values },
      hconcat: [left, ...(measured.length > 0 ? [right] : [])],
      spacing: 30,
    },
  };
}

function memoryChart(rows: readonly NamedRow[]): Chart | undefined {
  if (rows.length === 0) return undefined;
  const { color, shape } = channels(namesOf(rows));
  const { unit, divisor } = byteUnit(Math.max(...rows.map((r) => r.peakBytesPlanned)));
  const values = rows.map((r) => ({
    name: r.name,
    microbatches: r.microbatches,
    planned: r.peakBytesPlanned / divisor,
    measured: r.peakBytesMeasured === null ? null : r.peakBytesMeasured / divisor,
    held: r.peakInFlight,
    bound: r.inFlightBound,
  }));
  const x = countAxis('microbatches', 'microbatches M', countsOf(rows));
  const y = (field: string, title: string): Spec => ({ field, type: 'quantitative', title, scale: { zero: true } });
  return {
    label: 'Peak memory and microbatches in flight against the number of microbatches, by schedule',
    spec: {
      data: { values },
      hconcat: [
        {
          title: 'Peak of the fullest device',
          ...panel,
          encoding: { x },
          layer: [
            ...lineAndPoints(color, shape).map((layer) => ({
              ...layer,
              encoding: { ...(layer.encoding as Spec), y: y('planned', `planned peak / ${unit}`) },
            })),
            ...(values.some((v) => v.measured !== null)
              ? [
                  {
                    transform: [{ filter: 'isValid(datum.measured)' }],
                    mark: { type: 'tick', color: '#000', thickness: 2, size: 16, orient: 'horizontal' },
                    encoding: { y: y('measured', `planned peak / ${unit}`) },
                  },
                ]
              : []),
          ],
        },
        {
          title: 'Microbatches in flight on the fullest device',
          ...panel,
          encoding: { x },
          layer: [
            ...(values.some((v) => v.bound !== null)
              ? [
                  {
                    transform: [{ filter: 'isValid(datum.bound)' }],
                    mark: { type: 'line', strokeWidth: 1.5, strokeDash: [5, 4] },
                    encoding: { y: y('bound', 'microbatches'), color },
                  },
                ]
              : []),
            {
              mark: { type: 'point', filled: true, size: 65 },
              encoding: { y: y('held', 'microbatches'), color, shape },
            },
          ],
        },
      ],
      spacing: 30,
    },
  };
}

function paretoChart(rows: readonly NamedRow[]): Chart | undefined {
  const fitting = rows.filter((r) => r.fits);
  if (fitting.length < 2) return undefined;
  const { color, shape } = channels(namesOf(rows));
  const { unit, divisor } = byteUnit(Math.max(...fitting.map((r) => r.peakBytesPlanned)));
  const values = fitting.map((r) => ({
    name: r.name,
    M: String(r.microbatches),
    ms: 1000 * r.predictedSeconds,
    peak: r.peakBytesPlanned / divisor,
    pareto: r.pareto,
  }));
  return {
    label: 'Predicted step time against peak memory; the Pareto front',
    spec: {
      data: { values },
      ...wide,
      width: 640,
      encoding: {
        x: logColumn(values, 'ms', 'predicted step time / ms'),
        y: logColumn(values, 'peak', `planned peak of the fullest device / ${unit}`),
      },
      layer: [
        {
          transform: [{ filter: 'datum.pareto' }],
          mark: { type: 'line', interpolate: 'step-after', color: ink, strokeDash: [5, 4], strokeWidth: 1.5 },
        },
        { mark: { type: 'point', filled: true, size: 90 }, encoding: { color, shape } },
        {
          transform: [{ filter: 'datum.pareto' }],
          mark: { type: 'text', dy: -12, fontSize: 11 },
          encoding: { text: { field: 'M' } },
        },
      ],
    },
  };
}

/** One picture a schedule, all on one scale of time. */
function timelineCharts({ tables }: ScheduleStudy): Chart[] {
  const { timelines } = tables;
  const latest = Math.max(...timelines.map((t) => t.endSeconds));
  const groups = [...new Set(timelines.map(nameOf))];
  // Devices of several stages tell them by lightness: the later, the darker.
  const kinds = ['F', 'B', 'W', 'BW'].filter((kind) => timelines.some((t) => t.kind === kind));
  const colours: Readonly<Record<string, string>> = { F: palette[5], B: palette[4], W: palette[2], BW: palette[1] };
  return groups.map((name, i): Chart => {
    const values = timelines
      .filter((t) => nameOf(t) === name)
      .map((t) => ({
        device: `device ${t.device}`,
        kind: t.kind,
        start: 1000 * t.startSeconds,
        end: 1000 * t.endSeconds,
        middle: 500 * (t.startSeconds + t.endSeconds),
        // A number needs some room.
        text: (t.endSeconds - t.startSeconds) / latest > 0.012 ? String(t.microbatch) : '',
        stage: t.stage,
      }));
    const devices = [...new Set(values.map((v) => v.device))];
    return {
      label: `Tasks of ${name} over time`,
      spec: {
        title: `${name}, M = ${timelines.find((t) => nameOf(t) === name)!.microbatches}`,
        data: { values },
        width: 820,
        height: { step: 24 },
        encoding: {
          y: { field: 'device', type: 'nominal', title: null, sort: devices, axis: { grid: false } },
          x: {
            field: 'start',
            type: 'quantitative',
            title: 'ms',
            scale: { domain: [0, 1000 * latest], nice: false },
            axis: { grid: false, tickCount: 8 },
          },
        },
        layer: [
          {
            mark: { type: 'bar', stroke: '#fff', strokeWidth: 0.7, height: 20 },
            encoding: {
              x2: { field: 'end' },
              color: {
                field: 'kind',
                type: 'nominal',
                title: 'task',
                scale: { domain: kinds, range: kinds.map((k) => colours[k]) },
                // Once is enough: the pictures stand below each other.
                ...(i > 0 ? { legend: null } : {}),
              },
              opacity: { value: 0.9 },
            },
          },
          {
            mark: { type: 'text', fontSize: 10 },
            encoding: {
              x: { field: 'middle', type: 'quantitative' },
              text: { field: 'text' },
              color: { value: '#111' },
            },
          },
        ],
      },
    };
  });
}

const gridTexts = ({ grids }: ScheduleStudy): string =>
  grids
    .map((grid) =>
      details(
        `${nameOf(grid)} as a clock grid, M = ${grid.microbatches}`,
        `<pre class="scroll">${escapeHtml(grid.lines.join('\n'))}</pre>`,
      ),
    )
    .join('\n');

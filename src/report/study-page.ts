/** What the pages of all studies are made of: the answers on top, sections with pictures and folded tables, the method below. */
import { formatCount, formatSeconds, formatValue } from '../core/format.ts';
import type { Machine } from '../study/machine.ts';
import { type Chart, drawChart, escapeHtml } from './chart.ts';
import { type Column, details, figure, htmlTable } from './html.ts';

export interface PageClaim {
  readonly about: string;
  readonly question: string;
  readonly text: string;
}

export function summaryBlock(summary: readonly PageClaim[]): string {
  const items = summary.map(({ about, question, text }) =>
    about === 'short'
      ? `<p class="short">${escapeHtml(text)}</p>`
      : `<dt${about === 'caveat' ? ' class="caveat"' : ''}>${escapeHtml(question)}</dt><dd${about === 'caveat' ? ' class="caveat"' : ''}>${escapeHtml(text)}</dd>`,
  );
  const [short, rest] = [items.filter((i) => i.startsWith('<p')), items.filter((i) => !i.startsWith('<p'))];
  return `<div class="summary">${short.join('')}<dl>${rest.join('\n')}</dl></div>`;
}

export interface Section {
  readonly title: string;
  readonly text: string;
  readonly charts: readonly (Chart | undefined)[];
  /** Drawn or written already. */
  readonly html?: string;
  /** Of `studyTable`; empty texts are left out. */
  readonly tables: readonly string[];
}

/** The section as HTML; nothing where there is nothing to show. */
export async function drawSection(section: Section, warn?: (text: string) => void): Promise<string[]> {
  const { title, text, charts, html = '', tables } = section;
  const drawn = await Promise.all(charts.flatMap((chart) => (chart ? [drawChart(chart, warn)] : [])));
  const data = tables.filter((table) => table !== '');
  if (drawn.length === 0 && html === '' && data.length === 0) return [];
  return [figure(title, text, `${drawn.join('\n')}${html}`, data.join('\n'))];
}

export type ColumnForms = Readonly<
  Record<string, { readonly title?: string; readonly unit?: string; readonly form?: (value: number) => string }>
>;

/** Titles, units and forms of the columns whose names alone do not tell. */
const columnForms: ColumnForms = {
  stepSeconds: { title: 'step', unit: 'ms', form: milliseconds },
  stepSecondsLow: { title: '1st quartile', unit: 'ms', form: milliseconds },
  stepSecondsHigh: { title: '3rd quartile', unit: 'ms', form: milliseconds },
  medianSeconds: { title: 'median step', unit: 'ms', form: milliseconds },
  lowestSeconds: { title: 'shortest', unit: 'ms', form: milliseconds },
  highestSeconds: { title: 'longest', unit: 'ms', form: milliseconds },
  medianBubble: { title: 'idle', unit: '%', form: percent },
  samplesPerSecond: { title: 'throughput', unit: 'samples/s', form: (v) => formatCount(Math.round(v)) },
  bubble: { title: 'idle', unit: '%', form: percent },
  bubbleLow: { title: '1st quartile', unit: '%', form: percent },
  bubbleHigh: { title: '3rd quartile', unit: '%', form: percent },
  bubbleClosedForm: { title: 'closed form', unit: '%', form: percent },
  bubblePredicted: { title: 'predicted', unit: '%', form: percent },
  efficiency: { unit: '%', form: percent },
  sweetSpot: { title: 'sweet spot' },
  peakBytesPlanned: { title: 'planned peak', unit: 'bytes', form: formatCount },
  peakBytesMeasured: { title: 'measured peak', unit: 'bytes', form: formatCount },
  capacityBytes: { title: 'capacity', unit: 'bytes', form: formatCount },
  peakBytes: { title: 'planned peak', unit: 'bytes', form: formatCount },
  optimizerState: { title: 'optimizer state', unit: 'bytes', form: formatCount },
  savedActivations: { title: 'saved activations', unit: 'bytes', form: formatCount },
  largestBatch: { title: 'largest batch', unit: 'samples', form: formatCount },
  atLimit: { title: 'search ended' },
  equalBits: { title: 'equal bits' },
  relative: { title: 'norm over norm', form: scientific },
  boundUsed: { title: 'of the bound', unit: '%', form: percent },
  within: { title: 'within bound' },
  maxUlps: { title: 'largest difference', unit: 'ulps', form: formatCount },
  maxDifference: { title: 'largest difference', form: scientific },
  bound: { title: 'bound', form: scientific },
  difference: { title: 'from M = 1', form: scientific },
  heldOutLoss: { title: 'held-out loss' },
  accuracy: { unit: '%', form: percent },
  seconds: { title: 'time', unit: 's' },
  stepsLow: { title: '1st quartile' },
  stepsHigh: { title: '3rd quartile' },
  steps: { form: (v) => formatCount(Number(v.toFixed(1))) },
  samples: { form: (v) => formatCount(Math.round(v)) },
  finalLoss: { title: 'final loss' },
  finalHeldOutLoss: { title: 'final held-out loss' },
  finalAccuracy: { title: 'final accuracy', unit: '%', form: percent },
  traceSigma: { title: 'tr Σ' },
  gradNormSquared: { title: '‖G‖²' },
  microbatches: { title: 'M' },
  stagesPerDevice: { title: 'stages a device' },
  predictedSeconds: { title: 'predicted step', unit: 'ms', form: milliseconds },
  predictedBubble: { title: 'predicted idle', unit: '%', form: percent },
  predictedOverMeasured: { title: 'predicted / measured' },
  loadSeconds: { title: 'load a microbatch', unit: 'ms', form: milliseconds },
  loadBoundSeconds: { title: 'bound of it', unit: 'ms', form: milliseconds },
  gap: { unit: '%', form: percent },
  imbalance: { title: 'largest / mean' },
  transferBytes: { title: 'transfers a step', unit: 'bytes', form: formatCount },
  stepBoundSeconds: { title: 'bound of the step', unit: 'ms', form: milliseconds },
  methodSeconds: { title: 'method took', unit: 's' },
  busySecondsPredicted: { title: 'busy, predicted', unit: 'ms', form: milliseconds },
  bubbleEqualStages: { title: 'equal stages', unit: '%', form: percent },
  bubbleOwnStages: { title: 'own stages', unit: '%', form: percent },
  peakInFlight: { title: 'in flight', unit: 'microbatches' },
  inFlightBound: { title: 'its bound', unit: 'microbatches' },
  startSeconds: { title: 'start', unit: 'ms', form: milliseconds },
  endSeconds: { title: 'end', unit: 'ms', form: milliseconds },
  sendShare: { title: 'sending', unit: '%', form: percent },
  measuredSeconds: { title: 'measured step', unit: 'ms', form: milliseconds },
  measuredSecondsLow: { title: '1st quartile', unit: 'ms', form: milliseconds },
  measuredSecondsHigh: { title: '3rd quartile', unit: 'ms', form: milliseconds },
  measuredBubble: { title: 'measured idle', unit: '%', form: percent },
  bytesPerSecond: { title: 'bandwidth', unit: 'bytes/s', form: (v) => formatValue(v, 3) },
  slowdown: { title: 'over free links' },
  noiseScale: { title: 'noise scale', unit: 'samples', form: (v) => formatValue(v, 3) },
};

function milliseconds(seconds: number): string {
  return (1000 * seconds).toFixed(seconds < 0.1 ? 3 : 1);
}
function percent(share: number): string {
  return (100 * share).toFixed(1);
}
function scientific(value: number): string {
  return value === 0 ? '0' : value.toExponential(2);
}

/** Rows beyond which the page shows the first and leaves the rest to the CSV file. */
const mostRows = 400;

/** Folded; empty where there are no rows. A column that says nothing for any row is left out. */
export function studyTable(
  title: string,
  columns: readonly string[],
  given: readonly object[],
  own: ColumnForms = {},
): string {
  if (given.length === 0) return '';
  const rows = given as readonly Readonly<Record<string, unknown>>[];
  const formOf = (column: string) => own[column] ?? columnForms[column];
  const names = columns.filter((column) => rows.some((row) => row[column] !== null && row[column] !== ''));
  const heads = names.map((column): Column => {
    const form = formOf(column);
    return { title: form?.title ?? column, ...(form?.unit ? { unit: form.unit } : {}) };
  });
  const text = (column: string, value: unknown): string | null => {
    if (value === null || value === undefined) return null;
    if (typeof value === 'boolean') return value ? 'yes' : 'no';
    if (typeof value !== 'number') return String(value);
    return (formOf(column)?.form ?? ((v: number) => formatValue(v, 4)))(value);
  };
  const shown = rows.slice(0, mostRows).map((row) => names.map((column) => text(column, row[column])));
  const rest = rows.length > mostRows ? `<p>${formatCount(rows.length - mostRows)} more rows in the CSV file.</p>` : '';
  return details(`${title} (${formatCount(rows.length)} rows)`, htmlTable(heads, shown) + rest);
}

/** Columns of bytes by category, as tables of memory have them. */
export const byteForms: ColumnForms = Object.fromEntries(
  ['parameters', 'gradients', 'temporaries', 'communication', 'inputs', 'padding'].map((c) => [
    c,
    { unit: 'bytes', form: formatCount },
  ]),
);

/** How a study timed its layouts. */
export const timingText = ({ repeats, timedSteps }: { repeats: number; timedSteps: number }, of = 'layout'): string =>
  `${repeats} session${repeats === 1 ? '' : 's'} of ${timedSteps} steps a ${of}, in turns, nothing beside them`;

export function methodBlock(machine: Machine, seconds: number, how: readonly [string, string][]): string {
  const rows: (readonly [string, string])[] = [
    ['processor', `${machine.processor}, ${machine.cores} cores`],
    ['system', `${machine.system}, Node ${machine.node}`],
    ['load (1 min) before, after', `${machine.loadBefore.toFixed(1)}, ${machine.loadAfter.toFixed(1)}`],
    ...how,
    ['the whole study', formatSeconds(seconds)],
  ];
  return `<section><h2>Machine and method</h2>${htmlTable([{ title: 'what' }, { title: 'how' }], rows)}</section>`;
}

import { formatBytes, formatPercent, formatSeconds } from '../../core/format.ts';
import { type Claim, timingCaveats } from '../pipeline.ts';
import type { PartitionStudy } from './study.ts';
import type { PartitionRow } from './tables.ts';

/** Differences of predicted step times below this are not told apart. */
const same = 0.005;

/** The study in sentences; of several series the first is told. */
export function summarizePartitions(study: Omit<PartitionStudy, 'summary'>): Claim[] {
  const { settings, tables, machine, skipped } = study;
  const rows = tables.partitions.filter((r) => r.series === settings.series[0]);
  const claims: Claim[] = [];
  for (const devices of settings.deviceCounts) {
    const group = rows.filter((r) => r.devices === devices).sort((a, b) => a.predictedSeconds - b.predictedSeconds);
    const fitting = group.filter((r) => r.fits);
    const [best, worst] = [fitting[0], fitting.at(-1)];
    if (!best || !worst) {
      if (group.length === 0) continue;
      const least = group.reduce((a, b) => (b.peakBytesPlanned < a.peakBytesPlanned ? b : a));
      claims.push({
        about: 'answer',
        question: `Which cut on ${devices} devices?`,
        text: `None fits the devices; ${least.method} needs least, ${formatBytes(least.peakBytesPlanned)} on its fullest device.`,
      });
      continue;
    }
    const equal = fitting.filter((r) => r.predictedSeconds <= best.predictedSeconds * (1 + same)).map((r) => r.method);
    const parts = [
      `${listed(equal)}: ${formatSeconds(best.predictedSeconds)} a step predicted${
        worst.predictedSeconds > best.predictedSeconds * (1 + same)
          ? `; the slowest, ${worst.method}, takes ${formatPercent(worst.predictedSeconds / best.predictedSeconds - 1, 0)} more`
          : ', as all others'
      }.`,
      `Its largest load is ${best.gap < 1e-9 ? 'proved to be the least' : `within ${formatPercent(best.gap)} of what no cut goes below`}, ${best.imbalance.toFixed(2)} times the mean.`,
      ...measuredSentence(fitting),
    ];
    const lean = fitting.reduce((a, b) => (b.peakBytesPlanned < a.peakBytesPlanned ? b : a));
    if (lean.peakBytesPlanned < 0.98 * best.peakBytesPlanned) {
      parts.push(
        `${lean.method} needs least memory: ${formatBytes(lean.peakBytesPlanned)} on its fullest device instead of ${formatBytes(best.peakBytesPlanned)}.`,
      );
    }
    claims.push({ about: 'answer', question: `Which cut on ${devices} devices?`, text: parts.join(' ') });
  }
  const notes = timingCaveats(settings, machine, tables.runs.length > 0, settings.quick, settings.costs);
  if (settings.series.length > 1)
    notes.push(`The sentences tell ${settings.series[0]}; pictures and tables have the others too.`);
  for (const { what, why } of skipped.slice(0, 6)) notes.push(`Without ${what}: ${why}.`);
  if (skipped.length > 6) notes.push(`${skipped.length - 6} more were left out: see study.json.`);
  return [...claims, { about: 'caveat', question: 'How far to trust this', text: notes.join(' ') }];
}

export function listed(names: readonly string[]): string {
  return names.length < 2 ? (names[0] ?? '') : `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`;
}

function measuredSentence(rows: readonly PartitionRow[]): string[] {
  const timed = rows.filter((r) => r.stepSeconds !== null);
  if (timed.length === 0) return [];
  const fastest = timed.reduce((a, b) => (b.stepSeconds! < a.stepSeconds! ? b : a));
  const predicted = timed.reduce((a, b) => (b.predictedSeconds < a.predictedSeconds ? b : a));
  // Quartiles that overlap do not tell two layouts apart.
  const agrees = predicted.stepSecondsLow! <= fastest.stepSecondsHigh!;
  return [
    `Measured, ${fastest.method} is fastest with ${formatSeconds(fastest.stepSeconds!)}${
      fastest === predicted
        ? ', as predicted'
        : agrees
          ? `, but no faster than ${predicted.method} beyond the spread of the steps`
          : `, where ${predicted.method} was predicted to be`
    }.`,
  ];
}

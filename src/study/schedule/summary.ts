import { formatBytes, formatPercent, formatSeconds } from '../../core/format.ts';
import { listed } from '../partition/summary.ts';
import { type Claim, timingCaveats } from '../pipeline.ts';
import type { ScheduleStudy } from './study.ts';
import type { ScheduleRow } from './tables.ts';

const named = (r: ScheduleRow): string =>
  `${r.schedule}${r.stagesPerDevice > 1 ? ` with ${r.stagesPerDevice} stages a device` : ''}, M = ${r.microbatches}`;

/** The study in sentences; of several series the first is told. */
export function summarizeSchedules(study: Omit<ScheduleStudy, 'summary'>): Claim[] {
  const { settings, tables, machine, skipped } = study;
  const rows = tables.schedules.filter((r) => r.series === settings.series[0]);
  const fitting = rows.filter((r) => r.fits);
  const claims: Claim[] = [];
  if (fitting.length === 0) {
    const least = rows.reduce((a, b) => (b.peakBytesPlanned < a.peakBytesPlanned ? b : a));
    claims.push({
      about: 'answer',
      question: 'Which schedule?',
      text: `None fits the devices; ${named(least)} needs least, ${formatBytes(least.peakBytesPlanned)} on its fullest device.`,
    });
  } else {
    const best = fitting.reduce((a, b) => (b.predictedSeconds < a.predictedSeconds ? b : a));
    const lean = fitting.reduce((a, b) => (b.peakBytesPlanned < a.peakBytesPlanned ? b : a));
    claims.push({
      about: 'answer',
      question: 'Which schedule, how many microbatches?',
      text: `By the prediction ${named(best)}: ${formatSeconds(best.predictedSeconds)} a step, devices idle ${formatPercent(best.predictedBubble, 0)} of it, ${formatBytes(best.peakBytesPlanned)} on the fullest device.${
        lean === best
          ? ' None needs less memory.'
          : ` Least memory takes ${named(lean)}: ${formatBytes(lean.peakBytesPlanned)}, with ${formatPercent(lean.predictedSeconds / best.predictedSeconds - 1, 0)} more time.`
      }`,
    });
    const timed = fitting.filter((r) => r.stepSeconds !== null);
    if (timed.length > 1) {
      const fastest = timed.reduce((a, b) => (b.stepSeconds! < a.stepSeconds! ? b : a));
      const predicted = timed.reduce((a, b) => (b.predictedSeconds < a.predictedSeconds ? b : a));
      claims.push({
        about: 'answer',
        question: 'Does it hold when it runs?',
        text:
          fastest === predicted
            ? `Yes: measured, ${named(fastest)} is fastest too, with ${formatSeconds(fastest.stepSeconds!)} a step.`
            : `Measured, ${named(fastest)} is fastest with ${formatSeconds(fastest.stepSeconds!)} a step; ${named(predicted)}, the prediction's choice, takes ${formatSeconds(predicted.stepSeconds!)}${
                predicted.stepSecondsLow! <= fastest.stepSecondsHigh!
                  ? ', no difference beyond the spread of the steps'
                  : ''
              }.`,
      });
    }
  }
  claims.push(...bubbleClaim(rows), ...memoryClaim(rows));
  const notes = timingCaveats(settings, machine, tables.runs.length > 0, settings.quick, settings.costs);
  if (settings.series.length > 1)
    notes.push(`The sentences tell ${settings.series[0]}; pictures and tables have the others too.`);
  for (const { what, why } of skipped.slice(0, 6)) notes.push(`Without ${what}: ${why}.`);
  return [...claims, { about: 'caveat', question: 'How far to trust this', text: notes.join(' ') }];
}

function bubbleClaim(rows: readonly ScheduleRow[]): Claim[] {
  const known = rows.filter((r) => r.bubbleClosedForm !== null);
  if (known.length === 0) return [];
  const off = Math.max(...known.map((r) => Math.abs(r.bubbleEqualStages - r.bubbleClosedForm!)));
  const worst = known.reduce((a, b) =>
    b.bubbleOwnStages - b.bubbleClosedForm! > a.bubbleOwnStages - a.bubbleClosedForm! ? b : a,
  );
  return [
    {
      about: 'answer',
      question: 'How far are the devices from the closed forms?',
      text: `Played with equal stages, ${listed([...new Set(known.map((r) => r.schedule))])} idle as their closed forms say${
        off < 1e-9 ? '' : `, to within ${(100 * off).toPrecision(2)} percentage points`
      }. With the stages and links of this model they idle up to ${formatPercent(worst.bubbleOwnStages, 0)} instead of ${formatPercent(worst.bubbleClosedForm!, 0)} (${named(worst)}).`,
    },
  ];
}

/** What the memory of activations in flight does as M grows. */
function memoryClaim(rows: readonly ScheduleRow[]): Claim[] {
  const most = Math.max(...rows.map((r) => r.microbatches));
  const last = rows.filter((r) => r.microbatches === most).sort((a, b) => b.peakInFlight - a.peakInFlight);
  const [high, low] = [last[0], last.at(-1)];
  if (!high || !low || high.peakInFlight === low.peakInFlight) return [];
  return [
    {
      about: 'answer',
      question: 'What does a schedule hold in memory?',
      text: `With M = ${most}, ${high.schedule} holds up to ${high.peakInFlight} microbatches on a device and ${low.schedule} at most ${low.peakInFlight}: ${formatBytes(high.peakBytesPlanned)} against ${formatBytes(low.peakBytesPlanned)} on the fullest device.`,
    },
  ];
}

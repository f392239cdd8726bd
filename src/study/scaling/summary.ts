import { formatCount, formatPercent, formatSeconds } from '../../core/format.ts';
import { type Claim, timingCaveats } from '../pipeline.ts';
import type { ScalingStudy } from './study.ts';
import type { ScalingRow } from './tables.ts';

const named = (r: { schedule: string; microbatches: number }): string => `${r.schedule} with M = ${r.microbatches}`;

/** The study in sentences; of several series the first is told. */
export function summarizeScaling(study: Omit<ScalingStudy, 'summary'>): Claim[] {
  const { settings, tables, machine, skipped } = study;
  const rows = tables.scaling.filter((r) => r.series === settings.series[0]);
  const claims = [strongClaim(rows), weakClaim(rows), linkClaim(study), measuredClaim(rows)].flatMap((c) => c ?? []);
  const notes = timingCaveats(
    settings,
    machine,
    rows.some((r) => r.measuredSeconds !== null),
    settings.quick,
    settings.costs,
  );
  notes.push('Devices are equal, have as much memory as they need, and every pair has a link of its own.');
  for (const { what, why } of skipped.slice(0, 6)) notes.push(`Without ${what}: ${why}.`);
  if (skipped.length > 6) notes.push(`${skipped.length - 6} more were left out: see study.json.`);
  return [...claims, { about: 'caveat', question: 'How far to trust this', text: notes.join(' ') }];
}

function strongClaim(rows: readonly ScalingRow[]): Claim | undefined {
  const strong = rows.filter((r) => r.mode === 'strong');
  if (strong.length === 0) return undefined;
  const best = strong.reduce((a, b) => (b.samplesPerSecond > a.samplesPerSecond ? b : a));
  const same = strong.filter((r) => r.schedule === best.schedule && r.microbatches === best.microbatches);
  const half = same.filter((r) => r.efficiency >= 0.5).at(-1);
  return {
    about: 'answer',
    question: 'How many devices for this model?',
    text: `Its throughput is highest on ${count(best.devices)} (${named(best)}): ${(best.efficiency * best.devices).toFixed(1)} times that of one device, ${formatSeconds(best.stepSeconds)} a step.${
      half ? ` Up to ${count(half.devices)} at least half of each device's time is of use.` : ''
    }`,
  };
}

function weakClaim(rows: readonly ScalingRow[]): Claim | undefined {
  const weak = rows.filter((r) => r.mode === 'weak');
  if (weak.length === 0) return undefined;
  const most = Math.max(...weak.map((r) => r.devices));
  const last = weak.filter((r) => r.devices === most);
  const best = last.reduce((a, b) => (b.efficiency > a.efficiency ? b : a));
  const worst = last.reduce((a, b) => (b.efficiency < a.efficiency ? b : a));
  return {
    about: 'answer',
    question: 'What if the model grows with the devices?',
    text: `On ${count(most)} ${named(best)} keeps ${formatPercent(best.efficiency, 0)} of one device's efficiency${
      worst === best ? '' : `; ${named(worst)} keeps ${formatPercent(worst.efficiency, 0)}`
    }.${best.efficiency < 0.8 && best.microbatches < 4 * most ? ' To fill a pipeline takes several times as many microbatches as it has devices.' : ''}`,
  };
}

function linkClaim({ tables, settings }: Omit<ScalingStudy, 'summary'>): Claim | undefined {
  const rows = tables.links.filter((r) => r.series === settings.series[0]);
  if (rows.length === 0) return undefined;
  const most = Math.max(...rows.map((r) => r.devices));
  const own = rows.filter((r) => r.devices === most);
  const enough = own.filter((r) => r.slowdown <= 1.05).map((r) => r.bytesPerSecond);
  const worst = own.reduce((a, b) => (b.slowdown > a.slowdown ? b : a));
  return {
    about: 'answer',
    question: 'How fast must the links be?',
    text: `${
      enough.length > 0
        ? `On ${count(most)}, ${bandwidth(Math.min(...enough))} cost some schedule no more than 5 % of the step.`
        : `On ${count(most)} none of the bandwidths tried keeps the cost under 5 % of the step.`
    } With ${bandwidth(worst.bytesPerSecond)} ${worst.schedule} takes ${worst.slowdown.toPrecision(3)} times as long as with free links.`,
  };
}

function measuredClaim(rows: readonly ScalingRow[]): Claim | undefined {
  const timed = rows.filter((r) => r.measuredSeconds !== null);
  const more = timed.filter((r) => r.devices > 1);
  if (more.length === 0) return undefined;
  const best = more.reduce((a, b) => (b.measuredSeconds! < a.measuredSeconds! ? b : a));
  // The same tasks in the same order on one device, as in the picture.
  const one = timed.find((r) => r.devices === 1 && named(r) === named(best));
  if (!one) return undefined;
  return {
    about: 'answer',
    question: 'Does it hold when it runs?',
    text: `On ${count(best.devices)} of this machine ${named(best)} is ${(one.measuredSeconds! / best.measuredSeconds!).toFixed(2)} times as fast as on one; predicted are ${(one.stepSeconds / best.stepSeconds).toFixed(2)} times.`,
  };
}

const count = (devices: number): string => `${formatCount(devices)} device${devices === 1 ? '' : 's'}`;

export function bandwidth(bytesPerSecond: number): string {
  const [factor, unit] = bytesPerSecond >= 1e9 ? [1e9, 'GB/s'] : bytesPerSecond >= 1e6 ? [1e6, 'MB/s'] : [1e3, 'kB/s'];
  return `${Number((bytesPerSecond / factor).toPrecision(3))} ${unit}`;
}

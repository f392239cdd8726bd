import { formatBytes, formatPercent, formatSeconds } from '../../core/format.ts';
import type { Claim } from '../pipeline.ts';
import { lackingOf } from './fit.ts';
import { scalesOf } from './scales.ts';
import type { MemorySettings, MemoryStudy } from './study.ts';
import type { MemoryDeviceRow, MemoryLayoutRow, MemoryTables } from './tables.ts';

type Told = Omit<MemoryStudy, 'summary'>;

const called = ({ layout }: { layout: string }): string => (layout === '' ? 'the experiment' : layout);

/** The study in sentences. */
export function summarizeMemory(study: Told): Claim[] {
  const { tables, settings, skipped } = study;
  const training = tables.layouts.filter((r) => r.purpose === 'training');
  const first = training[0] ?? tables.layouts[0]!;
  const answers = [
    whereClaim(tables, first),
    ...fitClaim(tables, training.length > 0 ? training : tables.layouts),
    ...rangeClaim(training.length > 0 ? training : tables.layouts),
    ...growthClaim(training, settings.swept),
    ...predictionClaim(tables.layouts),
    layoutClaim(tables.devices),
    ...measuredClaim(tables.devices, settings),
  ];
  const notes = [
    'Bytes are the plan’s, and a plan is what runs: each device has that memory and no more.',
    `Times, of which only the pictures' axes are made, are the simulator's with costs from ${settings.costs === 'analytic' ? 'rooflines' : settings.costs}.`,
    'Columns of formulas are estimates that people use elsewhere, with their own assumptions (docs/memory.md).',
  ];
  for (const { what, why } of skipped.slice(0, 6)) notes.push(`Without ${what}: ${why}.`);
  return [...answers, { about: 'caveat', question: 'How far to trust this', text: notes.join(' ') }];
}

const fullestOf = ({ devices }: MemoryTables, row: MemoryLayoutRow): MemoryDeviceRow =>
  devices
    .filter((d) => d.layout === row.layout && d.purpose === row.purpose)
    .reduce((a, b) => (b.peakBytes > a.peakBytes ? b : a));

const words: readonly (readonly [keyof MemoryDeviceRow & string, string])[] = [
  ['parameters', 'parameters and constants'],
  ['gradients', 'gradients'],
  ['optimizerState', 'optimizer state'],
  ['savedActivations', 'saved activations'],
  ['temporaries', 'temporaries'],
  ['communication', 'what other devices send'],
  ['inputs', 'inputs'],
];

function whereClaim(tables: MemoryTables, row: MemoryLayoutRow): Claim {
  const device = fullestOf(tables, row);
  const parts = words
    .map(([key, name]) => ({ name, bytes: device[key as 'parameters'] }))
    .filter(({ bytes }) => bytes > device.peakBytes / 200)
    .sort((a, b) => b.bytes - a.bytes);
  const shares = parts.slice(0, 4).map(({ name, bytes }) => `${formatPercent(bytes / device.peakBytes, 0)} ${name}`);
  const holders = tables.holders.filter(
    (h) => h.layout === row.layout && h.purpose === row.purpose && h.device === device.device && h.from !== null,
  );
  const top = holders[0];
  return {
    about: 'answer',
    question: `Where do the bytes go${row.layout === '' ? '' : ` (${row.layout})`}?`,
    text: `${row.devices > 1 ? `Device ${device.device}, the fullest of ${row.devices},` : 'The device'} needs ${formatBytes(device.peakBytes)} for ${row.purpose === 'training' ? 'a training step' : 'a prediction'}: ${shares.join(', ')}. The peak is at ${device.peakAt}${top ? `; the largest tensor that comes and goes there is ${top.tensor}, ${formatBytes(top.bytes)}, ${top.why}` : ''}. Without reuse the tensors would sum to ${formatBytes(device.naiveSumBytes)}.`,
  };
}

/** Layouts that are told of by name; the table has all. */
const MOST_NAMED = 6;

/** Which layouts run where memories are limited, what the others lack, and the fastest of those that run. */
function fitClaim(tables: MemoryTables, rows: readonly MemoryLayoutRow[]): Claim[] {
  if (tables.devices.every((d) => d.capacityBytes === null)) return [];
  const refused = rows.filter((r) => !r.fits);
  const fitting = rows.filter((r) => r.fits);
  const short = refused.slice(0, MOST_NAMED).map((row) => {
    const worst = lackingOf(tables, row).reduce((a, b) => (b.bytes > a.bytes ? b : a));
    return `${called(row)} (device ${worst.device} needs ${formatBytes(worst.needBytes)}, ${formatBytes(worst.bytes)} more than it has)`;
  });
  if (refused.length > MOST_NAMED) short.push(`and ${refused.length - MOST_NAMED} more`);
  const fastest = fitting.reduce<MemoryLayoutRow | undefined>(
    (a, b) => (a && a.stepSecondsPredicted <= b.stepSecondsPredicted ? a : b),
    undefined,
  );
  const counts =
    refused.length === 0
      ? 'All do.'
      : `${fitting.length} of ${rows.length}. Refused before anything runs: ${short.join('; ')}.`;
  const best =
    fastest && fitting.length > 1
      ? ` Of those that fit, the shortest predicted step is ${formatSeconds(fastest.stepSecondsPredicted)}, with ${called(fastest)}.`
      : '';
  return [{ about: 'answer', question: 'Which layouts fit the devices?', text: `${counts}${best}` }];
}

function rangeClaim(rows: readonly MemoryLayoutRow[]): Claim[] {
  if (rows.length < 2) return [];
  const least = rows.reduce((a, b) => (b.peakBytes < a.peakBytes ? b : a));
  const most = rows.reduce((a, b) => (b.peakBytes > a.peakBytes ? b : a));
  if (least.peakBytes === most.peakBytes) return [];
  return [
    {
      about: 'answer',
      question: 'Which layout needs least?',
      text: `${called(least)}: ${formatBytes(least.peakBytes)} on the fullest device; ${called(most)} needs ${formatBytes(most.peakBytes)}, ${(most.peakBytes / least.peakBytes).toFixed(2)} times as much.`,
    },
  ];
}

/**
 * How saved activations grow with each swept number but of devices: log of their ratio over log of its ratio, the others
 * held.
 */
function growthClaim(rows: readonly MemoryLayoutRow[], swept: readonly string[]): Claim[] {
  const sizes = scalesOf(rows, swept).filter(({ key }) => key !== 'devices');
  const found = sizes.flatMap(({ key, title, of }) => {
    const others = (r: MemoryLayoutRow) => JSON.stringify(swept.filter((k) => k !== key).map((k) => r[`sweep.${k}`]));
    const lines = [...new Set(rows.map(others))].map((name) => rows.filter((r) => others(r) === name));
    const powers = lines.flatMap((line) => {
      const low = line.reduce((a, b) => (of(b) < of(a) ? b : a));
      const high = line.reduce((a, b) => (of(b) > of(a) ? b : a));
      if (of(low) === of(high) || low.savedBytes === 0) return [];
      return [Math.log(high.savedBytes / low.savedBytes) / Math.log(of(high) / of(low))];
    });
    if (powers.length === 0) return [];
    const [least, most] = [Math.min(...powers), Math.max(...powers)].map((p) => p.toFixed(2));
    return [`${title} to the power ${least === most ? least : `${least} to ${most}`}`];
  });
  if (found.length === 0) return [];
  return [
    {
      about: 'answer',
      question: 'How do the saved activations grow?',
      text: `From the smallest to the largest value, with ${found.join('; with ')}. Power 1 is growth in proportion, 0 none.`,
    },
  ];
}

function predictionClaim(rows: readonly MemoryLayoutRow[]): Claim[] {
  const pairs = rows.flatMap((t) => {
    const p = rows.find((r) => r.purpose === 'prediction' && r.layout === t.layout);
    return t.purpose === 'training' && p ? [{ t, p, ratio: t.sumOfPeakBytes / p.sumOfPeakBytes }] : [];
  });
  if (pairs.length === 0) return [];
  const low = pairs.reduce((a, b) => (b.ratio < a.ratio ? b : a));
  const high = pairs.reduce((a, b) => (b.ratio > a.ratio ? b : a));
  const one = ({ t, p, ratio }: typeof low) =>
    `${ratio.toFixed(2)} times a prediction's (${formatBytes(t.sumOfPeakBytes)} against ${formatBytes(p.sumOfPeakBytes)} over all devices${t.layout === '' ? '' : `, ${t.layout}`})`;
  const textbook = pairs.filter(({ t, p }) => t.textbookBytes !== null && p.textbookBytes !== null);
  const off = ({ t, p }: typeof low) => [t.peakBytes / t.textbookBytes!, p.peakBytes / p.textbookBytes!];
  const ratios = textbook.flatMap(off);
  const formula =
    ratios.length === 0
      ? ''
      : ` By the textbook's formula a training needs ${formatBytes(textbook[0]!.t.textbookBytes!)} and a prediction ${formatBytes(textbook[0]!.p.textbookBytes!)}${textbook[0]!.t.layout === '' ? '' : ` with ${textbook[0]!.t.layout}`}; planned peaks are ${Math.min(...ratios).toFixed(2)} to ${Math.max(...ratios).toFixed(2)} times the formula.`;
  return [
    {
      about: 'answer',
      question: 'What does training need beyond prediction?',
      text: `A training step's memory is ${low === high ? one(low) : `${one(low)} to ${one(high)}`}.${formula}`,
    },
  ];
}

function layoutClaim(devices: readonly MemoryDeviceRow[]): Claim {
  const worst = devices.reduce((a, b) => (b.heightOverMaxLive > a.heightOverMaxLive ? b : a));
  return {
    about: 'answer',
    question: 'What does the layout waste?',
    text:
      worst.layoutWasteBytes === 0
        ? 'Nothing: every device’s memory is as high as its live bytes are at most.'
        : `At most ${formatBytes(worst.layoutWasteBytes)} of a device: height over most live bytes is ${worst.heightOverMaxLive.toFixed(4)} on device ${worst.device} (${worst.purpose}${worst.layout === '' ? '' : `, ${worst.layout}`}), and ${devices.filter((d) => d.heightOverMaxLive < 1.0005).length} of ${devices.length} device memories are at 1.000.`,
  };
}

function measuredClaim(devices: readonly MemoryDeviceRow[], { measured: asked, played }: MemorySettings): Claim[] {
  const known = devices.filter((d) => d.peakBytesMeasured !== null);
  if (!asked || known.length === 0) return [];
  const off = known.filter((d) => d.peakBytesMeasured !== d.peakBytes);
  return [
    {
      about: 'answer',
      question: 'Is it so when it runs?',
      text:
        off.length === 0
          ? `Yes: all ${known.length} device memories that ran were used up to the planned byte.${played ? ' Null devices ran: they played every instruction and counted its bytes, and computed nothing.' : ''}`
          : `No: ${off.length} of ${known.length} differ.`,
    },
  ];
}

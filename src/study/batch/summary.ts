/**
 * The study in plain sentences. Each claim is made under a condition on the figures that is written here; where it does not
 * hold, another sentence says what does. Of several series and variants the first is told; the tables have all.
 */
import { formatBytes, formatCount, formatPercent, formatSeconds } from '../../core/format.ts';
import { fullestDevices } from './peaks.ts';
import type { BatchStudy } from './study.ts';
import type { MemoryRow, NoiseRow, TargetRow, TimingRow } from './tables.ts';
import { bestOfBatch } from './training.ts';

export interface Claim {
  readonly about: 'short' | 'memory' | 'capacity' | 'time' | 'gradient' | 'cut' | 'learning' | 'critical' | 'caveat';
  /** What a reader would ask. */
  readonly question: string;
  readonly text: string;
}

/** All but the summary itself. */
export type Findings = Omit<BatchStudy, 'summary'>;

/** Savings under this share are called small. */
const small = 0.05;
/** Relative difference of losses up to which two trainings are said to have learned the same. */
const sameLoss = 0.01;
/** Difference of accuracies up to which they are. */
const sameScore = 0.01;
/** Factor by which the noise scale has to grow for that to be told: single estimates are rough. */
const growth = 2;
/** Factor within which two estimates of the critical batch size are said to agree: both are rough. */
const agreement = 3;

export function summarize(study: Findings): Claim[] {
  const claims = [memory, capacity, time, gradient, cut, learning, critical].flatMap((claim) => claim(study) ?? []);
  return [...shortly(study), ...claims, ...caveats(study)];
}

type Maker = (study: Findings) => Claim | undefined;

/** The layouts of the largest batch, in the first series, by M. */
function ofLargest<R extends { readonly series: string; readonly batch: number; readonly microbatches: number }>(
  { settings }: Findings,
  rows: readonly R[],
): R[] {
  const batch = settings.batchSizes.at(-1);
  return rows
    .filter((r) => r.series === settings.series[0] && r.batch === batch)
    .sort((a, b) => a.microbatches - b.microbatches);
}

/** Which of several series is told. */
const seriesNote = ({ settings }: Findings): string => (settings.series.length > 1 ? ` (${settings.series[0]})` : '');

/** Which of several trainings is told. */
const variantNote = ({ settings }: Findings): string =>
  settings.variants.length > 1 ? ` (${settings.variants[0]})` : '';

const pieces = (m: number): string => (m === 1 ? 'in one piece' : `cut into ${m} microbatches`);
const places = (devices: number): string => (devices === 1 ? 'on its device' : 'on its fullest device');

/** Bytes that do not depend on the batch. */
const fixedBytes = (r: MemoryRow): number => r.parameters + r.gradients + r.optimizerState;

const memory: Maker = (study) => {
  const { settings, tables } = study;
  const rows = ofLargest(study, fullestDevices(tables.memory));
  const [whole, most] = [rows[0], rows.at(-1)];
  if (!whole || !most) return undefined;
  const parts: string[] = [];
  const saved = 1 - most.peakBytesPlanned / whole.peakBytesPlanned;
  const needs = `A batch of ${whole.batch} needs ${formatBytes(whole.peakBytesPlanned)} ${places(settings.devices)} ${pieces(whole.microbatches)}`;
  if (whole === most) parts.push(`${needs}.`);
  else if (saved >= small) {
    parts.push(
      `${needs}, and ${formatBytes(most.peakBytesPlanned)} ${pieces(most.microbatches)}: ${formatPercent(saved, 0)} less.`,
    );
  } else {
    const share = fixedBytes(most) / most.peakBytesPlanned;
    parts.push(
      `${needs}, and ${formatBytes(most.peakBytesPlanned)} ${pieces(most.microbatches)}: cutting saves ${saved <= 0 ? 'nothing' : `only ${formatPercent(saved)}`} here. Parameters, gradients and optimizer state, which no batch changes, are ${formatPercent(share, 0)} of it.`,
    );
  }
  const [smallest] = fullestDevices(tables.memory).filter(
    (r) =>
      r.series === whole.series &&
      r.microbatches === whole.microbatches &&
      r.batch === Math.min(...settings.batchSizes),
  );
  if (smallest && smallest.batch < whole.batch) {
    parts.push(
      `From a batch of ${smallest.batch} to one of ${whole.batch} the need grew from ${formatBytes(smallest.peakBytesPlanned)} to ${formatBytes(whole.peakBytesPlanned)}.`,
    );
  }
  const measured = tables.memory.filter((r) => r.peakBytesMeasured !== null);
  const equal = measured.filter((r) => r.peakBytesMeasured === r.peakBytesPlanned).length;
  if (measured.length > 0) {
    parts.push(
      equal === measured.length
        ? `All ${formatCount(equal)} measured peaks equal the planned ones to the byte.`
        : `${measured.length - equal} of ${measured.length} measured peaks differ from the planned ones, which is a fault of Partita.`,
    );
  }
  const unfit = tables.timing.filter((r) => !r.fits).length;
  if (unfit > 0) parts.push(`${unfit} of ${tables.timing.length} layouts do not fit their devices and did not run.`);
  const question = `What does the larger batch cost in memory?${seriesNote(study)}`;
  return { about: 'memory', question, text: parts.join(' ') };
};

const capacity: Maker = (study) => {
  const { settings, tables } = study;
  const [limit] = settings.capacities;
  const rows = tables.capacity
    .filter((r) => r.series === settings.series[0] && r.capacityBytes === limit)
    .sort((a, b) => a.microbatches - b.microbatches);
  const [whole, most] = [rows[0], rows.at(-1)];
  if (!whole || !most || limit === undefined) return undefined;
  const size = (r: typeof whole): string =>
    r.largestBatch === 0 ? 'no batch at all' : `${r.atLimit ? 'at least ' : ''}${formatCount(r.largestBatch)} samples`;
  const why = {
    given: '',
    devices: ', as the experiment has it',
    chosen: ' (chosen so that the largest batch of the sweep just fits in one piece)',
  }[settings.capacityFrom];
  const head = `With ${formatBytes(limit)} a device${why}, the largest batch is ${size(whole)} ${pieces(whole.microbatches)}`;
  const gain = most.largestBatch / Math.max(1, whole.largestBatch);
  const text =
    whole === most
      ? `${head}.`
      : `${head} and ${size(most)} ${pieces(most.microbatches)}${whole.largestBatch > 0 && gain >= 1.05 ? `, ${gain.toFixed(1)} times as many` : ''}.`;
  return { about: 'capacity', question: `What is the largest batch that fits?${seriesNote(study)}`, text };
};

/** Whether the quartiles of two step times do not overlap. */
const differ = (a: TimingRow, b: TimingRow): boolean =>
  a.stepSecondsHigh! < b.stepSecondsLow! || b.stepSecondsHigh! < a.stepSecondsLow!;

const time: Maker = (study) => {
  const { settings } = study;
  const rows = ofLargest(study, study.tables.timing).filter((r) => r.stepSeconds !== null);
  const [whole, most] = [rows[0], rows.at(-1)];
  const sweet = rows.find((r) => r.sweetSpot);
  if (!whole || !most || !sweet) return undefined;
  const parts: string[] = [];
  const step = (r: TimingRow): string => formatSeconds(r.stepSeconds!);
  const started = `A step of ${whole.batch} samples takes ${step(whole)} ${pieces(whole.microbatches)}`;
  if (rows.length === 1) parts.push(`${started}.`);
  else if (sweet.microbatches === whole.microbatches) {
    parts.push(
      differ(whole, most)
        ? `${started}, and ${formatPercent(most.stepSeconds! / whole.stepSeconds! - 1, 0)} more ${pieces(most.microbatches)}: no cut is faster here.`
        : `${started}; ${pieces(most.microbatches)} it takes ${step(most)}, which is no difference beyond the spread of the steps.`,
    );
  } else {
    const gain = 1 - sweet.stepSeconds! / whole.stepSeconds!;
    parts.push(
      !differ(whole, sweet)
        ? `${started} and ${step(sweet)} ${pieces(sweet.microbatches)}, which is no difference beyond the spread of the steps, and needs less memory.`
        : gain > 0
          ? `${started} and ${step(sweet)} ${pieces(sweet.microbatches)}: ${formatPercent(gain, 0)} less, the sweet spot of this batch.`
          : `${started} and ${step(sweet)} ${pieces(sweet.microbatches)}.`,
    );
    if (most !== sweet && differ(most, sweet)) {
      parts.push(
        `${capital(pieces(most.microbatches))} it takes ${step(most)}, ${formatPercent(most.stepSeconds! / sweet.stepSeconds! - 1, 0)} more than at the sweet spot.`,
      );
    }
  }
  if (settings.devices > 1 && sweet.bubble !== null) {
    const closed = sweet.bubbleClosedForm;
    parts.push(
      `At M = ${sweet.microbatches} the devices idle ${formatPercent(sweet.bubble, 0)} of the time${
        closed === null
          ? ''
          : `; ${formatPercent(closed, 0)} is what (p−1)/(M+p−1) says of equal stages that do not wait for messages or for a free core`
      }.`,
    );
  }
  if (settings.devices > 1 && sweet.efficiency !== null) {
    const speedup = sweet.efficiency * sweet.devices;
    parts.push(
      `${sweet.devices} devices do the step ${speedup >= 1 ? `${speedup.toFixed(2)} times as fast as` : `in ${(1 / speedup).toFixed(2)} times the time of`} one device with the batch in one piece${
        sweet.efficiency > 1.05
          ? ', which is more than their number explains: smaller pieces suit the caches better, or other work held up the one device'
          : ''
      }.`,
    );
  }
  return {
    about: 'time',
    question: `What does microbatching cost in time?${seriesNote(study)}`,
    text: parts.join(' '),
  };
};

const capital = (text: string): string => text[0]!.toUpperCase() + text.slice(1);

const gradient: Maker = (study) => {
  const { tables, settings, batchStatistics } = study;
  const rows = tables.gradients.filter((r) => r.variant === settings.variants[0]);
  if (rows.length === 0) return undefined;
  const batch = rows[0]!.batch;
  const most = Math.max(...rows.map((r) => r.microbatches));
  const equal = rows.filter((r) => r.equalBits).length;
  const relative = Math.max(...rows.map((r) => r.relative));
  const bounded = rows.filter((r) => r.within !== null);
  const outside = bounded.filter((r) => r.within === false).length;
  const question = `Is it the same gradient?${variantNote(study)}`;
  if (equal === rows.length) {
    return {
      about: 'gradient',
      question,
      text: `Yes, bit for bit: the gradient of ${batch} samples is the same in one piece and in every cut up to ${most} microbatches.`,
    };
  }
  const size = `The gradients of ${batch} samples in one piece and cut up to ${most} microbatches differ by at most ${relative.toExponential(1)} of a parameter's gradient (norm over norm).`;
  const meaning = batchStatistics
    ? ' The model normalises over each microbatch, so M is part of it: this is no rounding, and a cut batch is another training.'
    : outside > 0
      ? ` ${outside} of ${bounded.length} comparisons exceed what another order of additions can change: the model depends on M.`
      : bounded.length > 0
        ? ` Every difference lies within what another order of the same additions can change: ${bounded.length} computed bound${bounded.length === 1 ? '' : 's'}, of which at most ${percentOf(Math.max(...bounded.map((r) => r.boundUsed ?? 0)))} is used.`
        : relative < 1e-3
          ? ' That is the size of another order of the same additions.'
          : ' That is more than another order of additions usually makes: look at the parameters in the table.';
  return {
    about: 'gradient',
    question,
    text: size + meaning,
  };
};

const cut: Maker = (study) => {
  const { tables, settings } = study;
  const rows = tables.cutTraining.filter((r) => r.variant === settings.variants[0]);
  const counts = [...new Set(rows.map((r) => r.microbatches))];
  if (counts.length < 2) return undefined;
  const largest = Math.max(...rows.map((r) => r.difference / Math.abs(r.loss)));
  const ends = counts.map((m) => rows.filter((r) => r.microbatches === m).at(-1)!);
  const steps = ends[0]!.step;
  const apart = Math.max(...ends.map((r) => r.difference / Math.abs(r.loss)));
  const scores = ends.flatMap((r) => r.accuracy ?? []);
  const [worst, best] = [Math.min(...scores), Math.max(...scores)];
  const range =
    scores.length === ends.length
      ? ` Held-out accuracy at the end: ${
          worst === best ? `${formatPercent(worst)} each` : `${formatPercent(worst)} to ${formatPercent(best)}`
        }.`
      : '';
  const text =
    largest <= sameLoss
      ? `${best - worst > sameScore ? 'By the training loss, yes; by the held-out accuracy, no.' : 'Yes.'} Trained ${steps} steps with a batch of ${ends[0]!.batch}, the losses with ${counts.join(', ')} microbatches are ${largest === 0 ? 'the same to the bit' : `never further apart than ${percentOf(largest)}`}.${range}`
      : `Not step by step: over ${steps} steps with a batch of ${ends[0]!.batch}, the losses with ${counts.join(', ')} microbatches come ${percentOf(largest)} apart (${percentOf(apart)} at the end), since a training enlarges differences.${range}`;
  return { about: 'cut', question: `Do a whole batch and its microbatches learn the same?${variantNote(study)}`, text };
};

const percentOf = (share: number): string => (share === 0 ? '0 %' : `${Number((100 * share).toPrecision(2))} %`);

const ruleText: Readonly<Record<string, string>> = {
  none: 'the same rate',
  linear: 'the rate scaled linearly',
  sqrt: 'the rate scaled by the square root',
  retuned: 'the rate retuned',
};

export const metricText = {
  loss: 'a training loss of',
  heldOutLoss: 'a held-out loss of',
  accuracy: 'a held-out accuracy of',
} as const;

const learning: Maker = (study) => {
  const { tables, settings, target } = study;
  const variant = settings.variants[0]!;
  const best = bestOfBatch(tables.targets, variant);
  const [least, most] = [best[0], best.at(-1)];
  const question = `What did the larger batch do to the learning?${variantNote(study)}`;
  if (!target || tables.targets.length === 0) return undefined;
  const value = `${metricText[target.metric]} ${target.metric === 'accuracy' ? formatPercent(target.value) : target.value.toPrecision(3)}`;
  const goal = `${value}${target.chosen === 'given' ? '' : ' (which every batch size reaches)'}`;
  const missing = settings.batchSizes.filter((b) => !best.some((r) => r.batch === b));
  const lost = missing.length > 0 ? ` Batch ${missing.join(', ')} did not get there in ${settings.length}.` : '';
  if (!least || !most) {
    return { about: 'learning', question, text: `No batch size reached ${goal} in ${settings.length}.` };
  }
  const counted = (r: TargetRow): string =>
    `${formatCount(Math.round(r.steps!))} step${Math.round(r.steps!) === 1 ? '' : 's'} and ${formatCount(Math.round(r.samples!))} samples with batch ${r.batch} (${ruleText[r.rule] ?? r.rule})`;
  if (least === most) return { about: 'learning', question, text: `${capital(goal)} took ${counted(least)}.${lost}` };
  if (missing.length === 0 && best.every((r) => r.steps! <= 1)) {
    const text = `Every batch size meets ${value} with its first step, so nothing can be said: the target is too easy, or the trainings are too short to learn.`;
    return { about: 'learning', question, text };
  }
  const fewer = least.steps! / most.steps!;
  const ideal = most.batch / least.batch;
  const text = `${capital(goal)} took ${counted(least)}, and ${counted(most)}: ${
    fewer.toFixed(1) === '1.0'
      ? `as many steps for ${formatCount(ideal)} times the batch, so ${(ideal / fewer).toFixed(1)} times the samples`
      : fewer >= 1
        ? `${fewer.toFixed(1)} times fewer steps for ${formatCount(ideal)} times the batch, so ${(ideal / fewer).toFixed(1)} times the samples`
        : `more steps with the larger batch, and ${(ideal / fewer).toFixed(1)} times the samples`
  }.${lost}${fastest(best)}`;
  return { about: 'learning', question, text };
};

function fastest(best: readonly TargetRow[]): string {
  const timed = best.filter((r) => r.seconds !== null);
  if (timed.length < 2) return '';
  const quickest = timed.reduce((a, b) => (b.seconds! < a.seconds! ? b : a));
  return ` By the measured step times batch ${quickest.batch} gets there first, in ${formatSeconds(quickest.seconds!)}.`;
}

const critical: Maker = (study) => {
  const { tables, tradeOffs, settings } = study;
  const variant = settings.variants[0]!;
  const estimates = tables.noise.filter((r) => r.variant === variant);
  const shown = estimates.filter((r) => r.noiseScale !== null);
  const known = shown.map((r) => r.noiseScale!);
  const fit = tradeOffs.find((t) => t.variant === variant);
  if (estimates.length === 0 && !fit) return undefined;
  const when = (r: NoiseRow): string =>
    r.step === 0
      ? 'at the first values'
      : r === estimates.at(-1)
        ? 'at the end of training'
        : `at step ${formatCount(r.step)}`;
  const parts: string[] = [];
  if (known.length > 0) {
    const [first, last] = [known[0]!, known.at(-1)!];
    parts.push(
      known.length === 1
        ? `The gradient noise scale is ${round(first)}.`
        : `The gradient noise scale went from ${round(first)} ${when(shown[0]!)} to ${round(last)} ${when(shown.at(-1)!)}${last > growth * first ? '; larger batches pay off later than at first' : ''}.`,
    );
    const hidden = estimates.length - shown.length;
    if (hidden > 0) {
      parts.push(`In ${hidden} of ${estimates.length} estimates the noise hides the gradient, so they have no scale.`);
    }
  } else if (estimates.length > 0) {
    parts.push('The gradient noise hides the gradient in every estimate, so the noise scale is not known.');
  }
  if (fit) {
    parts.push(
      `The measured steps to the target bend at a batch of about ${round(fit.criticalBatch)}: below it twice the batch nearly halves the steps, above it hardly.`,
    );
    const factor = known.length > 0 ? Math.min(...known.map((k) => ratio(k, fit.criticalBatch))) : undefined;
    if (factor !== undefined) {
      parts.push(
        factor <= agreement
          ? `The estimates of the noise scale come within a factor of ${agreement} of it, as near as either is known.`
          : `The nearest estimate of the noise scale is ${factor.toFixed(0)} times off: here it predicts the order of magnitude at best.`,
      );
    }
  } else if (tables.targets.length > 0) {
    parts.push(
      `The measured steps show no clear bend between batches of ${settings.batchSizes[0]} and ${settings.batchSizes.at(-1)}, so the critical batch size cannot be read from them.`,
    );
  }
  return {
    about: 'critical',
    question: `Beyond which batch do more samples a step stop helping?${variantNote(study)}`,
    text: parts.join(' '),
  };
};

const ratio = (a: number, b: number): number => Math.max(a / b, b / a);
const round = (value: number): string => formatCount(Number(value.toPrecision(2)));

/** One line for all: what cutting the largest batch does to memory, time and gradient. */
function shortly(study: Findings): Claim[] {
  const peaks = ofLargest(study, fullestDevices(study.tables.memory));
  const steps = ofLargest(study, study.tables.timing).filter((r) => r.stepSeconds !== null);
  const sweet = steps.find((r) => r.sweetSpot);
  const whole = steps[0];
  if (!sweet || !whole || sweet === whole) return [];
  const [before, after] = [whole, sweet].map(
    ({ microbatches }) => peaks.find((p) => p.microbatches === microbatches)?.peakBytesPlanned,
  );
  if (before === undefined || after === undefined) return [];
  const change = (share: number): string =>
    Math.abs(share) < 0.005 ? 'the same' : `${formatPercent(Math.abs(share), 0)} ${share < 0 ? 'less' : 'more'}`;
  const seconds = differ(sweet, whole)
    ? `${change(sweet.stepSeconds! / whole.stepSeconds! - 1)} time a step`
    : 'the same time a step within the spread';
  return [
    {
      about: 'short',
      question: 'In short',
      text: `Cutting a batch of ${sweet.batch}${seriesNote(study)} into ${sweet.microbatches} microbatches: ${change(after / before - 1)} memory, ${seconds}.`,
    },
  ];
}

function caveats({ settings, machine, tables, edgeRates, skipped, target }: Findings): Claim[] {
  const notes: string[] = [];
  if (tables.runs.length > 0) {
    notes.push(
      `Times are medians of ${settings.repeats * settings.timedSteps} steps (${settings.repeats} session${settings.repeats === 1 ? '' : 's'} of ${settings.timedSteps} each) of this machine, bars the quartiles; they hold for no other.`,
    );
    if (settings.devices > machine.cores) {
      notes.push(
        `${settings.devices} devices share ${machine.cores} cores, so part of what looks idle is waiting for one.`,
      );
    }
    const load = Math.max(machine.loadBefore, 0);
    if (load > 0.3 * machine.cores) {
      notes.push(
        `The machine was busy with other work when the study began (load ${load.toFixed(1)} on ${machine.cores} cores): times are too high and too wide.`,
      );
    }
  }
  if (tables.curves.length > 0) {
    notes.push(
      settings.seeds === 1
        ? 'Learning curves are of a single seed: differences between neighbouring batch sizes may be chance.'
        : `Learning curves are medians of ${settings.seeds} seeds; time on their axes is steps times the measured step time.`,
    );
    if (target && settings.seeds > 1 && settings.seeds < 5) {
      notes.push(`${settings.seeds} seeds give a rough median.`);
    }
  }
  if (edgeRates.length > 0) {
    notes.push(
      `For batch ${edgeRates.join(', ')} the best rate lies at the end of those tried: a better one may lie outside.`,
    );
  }
  for (const { part, why } of skipped) notes.push(`Without ${part}: ${why}.`);
  const told = settings.series.length > 1 ? settings.series : settings.variants;
  if (told.length > 1) {
    notes.push(`The sentences tell ${told[0]}; pictures and tables have ${told.slice(1).join(', ')} too.`);
  }
  if (settings.quick) notes.push('This was a quick run: few batch sizes, one seed, short trainings.');
  return notes.length === 0 ? [] : [{ about: 'caveat', question: 'How far to trust this', text: notes.join(' ') }];
}

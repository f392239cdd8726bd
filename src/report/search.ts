/** What a search for a plan found, as people read it and as JSON. */
import { formatBytes, formatPercent, formatSeconds } from '../core/format.ts';
import type { EvaluatedCandidate, SearchResult, Trial } from '../plan/search.ts';
import { table } from './table.ts';

/** Rows of the table beside the Pareto front. */
const SHOWN = 8;

export function printSearch(result: SearchResult): string {
  const { best, evaluated, pareto, trials = [], lowerBound, gap, considered, interrupted, seconds } = result;
  const measured = new Map(trials.map((trial) => [trial.candidate, trial]));
  const shown = evaluated.filter((c, i) => i < SHOWN || pareto.includes(c) || measured.has(c));
  const body = table(
    [
      '',
      'step',
      ...(trials.length > 0 ? ['measured'] : []),
      'bubble',
      'largest peak',
      'M',
      'schedule',
      'recompute',
      'partition',
      'devices',
      'stages',
    ],
    shown.map((c) => [
      c === best ? 'best' : !c.fits ? 'too large' : pareto.includes(c) ? 'Pareto' : '',
      formatSeconds(c.stepSeconds),
      ...(trials.length > 0 ? [measuredText(measured.get(c))] : []),
      formatPercent(c.bubbleFraction),
      formatBytes(Math.max(...c.peakBytes)),
      c.microbatches,
      c.schedule,
      c.recompute,
      c.partition,
      new Set(c.placement).size,
      c.stages,
    ]),
    {
      align: [
        ...(['left', 'right', 'right', 'right', 'right'] as const),
        ...(trials.length > 0 ? (['right'] as const) : []),
        ...(['left', 'left', 'left', 'right', 'right'] as const),
      ],
    },
  );
  return [
    `Search: ${considered} combinations weighed, ${evaluated.length} compiled and simulated, ${formatSeconds(seconds)}${interrupted ? '; interrupted, this is the best so far' : ''}`,
    body,
    ...(trials.length > 0
      ? [`Best by steps that were run, of ${trials.length} plans; what follows is predicted.`]
      : []),
    `Best ${formatSeconds(best.stepSeconds)} a step; no plan below ${formatSeconds(lowerBound)} (gap ${formatPercent(gap)})`,
  ].join('\n');
}

const measuredText = (trial: Trial | undefined): string =>
  trial === undefined ? '' : `${formatSeconds(trial.stepSeconds)} ± ${formatSeconds(trial.mad)}`;

export function jsonOfSearch(result: SearchResult) {
  const { best, evaluated, pareto, trials, lowerBound, gap, considered, interrupted, seconds } = result;
  return {
    objective: best.stepSeconds,
    lowerBound,
    gap,
    unit: 'seconds a step',
    considered,
    evaluated: evaluated.length,
    interrupted,
    seconds,
    best: jsonOfCandidate(best),
    pareto: pareto.map(jsonOfCandidate),
    candidates: evaluated.map(jsonOfCandidate),
    ...(trials
      ? { trials: trials.map(({ candidate, ...time }) => ({ ...time, candidate: evaluated.indexOf(candidate) })) }
      : {}),
  };
}

const jsonOfCandidate = (c: EvaluatedCandidate) => ({
  microbatches: c.microbatches,
  partition: c.partition,
  schedule: c.schedule,
  recompute: c.recompute,
  stages: c.stages,
  stagesPerDevice: c.stagesPerDevice,
  placement: c.placement,
  stepSeconds: c.stepSeconds,
  bubbleFraction: c.bubbleFraction,
  peakBytes: c.peakBytes,
  fits: c.fits,
  estimatedSeconds: c.estimatedSeconds,
});

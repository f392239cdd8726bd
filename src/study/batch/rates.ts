/** The learning rate of a batch size by a rule, and the search for the best one. */
import type { Experiment } from '../../train/experiment/schema.ts';
import type { RateRule } from './options.ts';

/** Factor on the experiment's rate at batch size B, where it is meant for B₀. */
export function ruleFactor(rule: Exclude<RateRule, 'retuned'>, batch: number, baseBatch: number): number {
  switch (rule) {
    case 'none':
      return 1;
    case 'linear':
      return batch / baseBatch;
    case 'sqrt':
      return Math.sqrt(batch / baseBatch);
  }
}

/** Settings of a schedule of rates that are counted in steps, and those that are rates. */
const inSteps = ['stepSize', 'tMax', 'warmupSteps', 'totalSteps'];
const rates = ['etaMin', 'maxLr'];

/**
 * The experiment with its rates times `factor`. `stepRatio` is the share of steps this batch size takes of those of B₀: a
 * schedule of rates is stretched by it, so that it ends with the training.
 */
export function withRate(experiment: Experiment, factor: number, stepRatio: number): Experiment {
  const scale = ([key, value]: [string, unknown]): [string, unknown] => {
    if (typeof value !== 'number') return [key, value];
    if (rates.includes(key)) return [key, value * factor];
    if (!inSteps.includes(key)) return [key, value];
    const least = key === 'warmupSteps' ? 0 : 1;
    return [key, Math.max(least, Math.round(value * stepRatio))];
  };
  const scaled = Object.fromEntries(Object.entries(experiment.learningRate).map(scale));
  // Rounding must not leave a warm-up as long as the whole.
  if (typeof scaled.warmupSteps === 'number' && typeof scaled.totalSteps === 'number') {
    scaled.totalSteps = Math.max(scaled.totalSteps, scaled.warmupSteps + 1);
  }
  return {
    ...experiment,
    optimizer: { ...experiment.optimizer, lr: experiment.optimizer.lr * factor },
    learningRate: scaled as Experiment['learningRate'],
  };
}

/** Factors that are tried around the square-root rule's, and how often the grid grows where its best is at an end. */
const grid = [1 / 4, 1 / 2, 1, 2, 4];
const mostExtensions = 3;

export interface Trial {
  readonly factor: number;
  /** Less is better; Infinity where it diverged. */
  readonly score: number;
}

export interface Tuned {
  readonly trials: readonly Trial[];
  readonly best: Trial;
  /** Whether the best lies within what was tried, or where that ended: a better rate may lie outside. */
  readonly inside: boolean;
}

/** Powers of two around `centre`; towards an end that is best, further ones. `score` may be asked for several at once. */
export async function searchRate(centre: number, score: (factor: number) => Promise<number>): Promise<Tuned> {
  const attempt = async (factor: number): Promise<Trial> => ({ factor, score: await score(factor) });
  const trials = await Promise.all(grid.map((g) => attempt(centre * g)));
  const best = (): Trial => trials.reduce((a, b) => (b.score < a.score ? b : a));
  const isEnd = () => [trials[0], trials.at(-1)].includes(best());
  for (let i = 0; i < mostExtensions && isEnd() && Number.isFinite(best().score); i++) {
    if (best() === trials[0]) trials.unshift(await attempt(trials[0].factor / 2));
    else trials.push(await attempt(trials.at(-1)!.factor * 2));
  }
  return { trials, best: best(), inside: !isEnd() };
}

/** What a batch study can be asked for. */
/** The parts of the study, in the order in which they run. */
export const studyParts = ['timing', 'memory', 'capacity', 'gradients', 'learning', 'noise'] as const;
export type StudyPart = (typeof studyParts)[number];

/**
 * How the learning rate follows the batch size, from that of the experiment at the experiment's own batch size B₀:
 * `none` keeps it, `linear` takes lr·B/B₀ (Goyal et al. 2017), `sqrt` lr·√(B/B₀) (Krizhevsky 2014), `retuned` the best of
 * a grid for each batch size (Shallue et al. 2019 warn that any rule misleads where the rate is not tuned).
 */
export const rateRules = ['none', 'linear', 'sqrt', 'retuned'] as const;
export type RateRule = (typeof rateRules)[number];

export interface BatchStudyOptions {
  readonly parts: readonly StudyPart[];
  readonly rules: readonly RateRule[];
  /** Trainings of each batch size and rate, with seeds seed, seed + 1, … */
  readonly seeds: number;
  /** Sessions in which each layout is timed, and steps that count in each. */
  readonly repeats: number;
  readonly timedSteps: number;
  /** Bytes of each device for the largest batch that fits; default: the experiment's devices', else chosen. */
  readonly capacities: readonly number[] | undefined;
  /** A loss is the held-out one where there is evaluation. Default: one that every batch size reaches. */
  readonly target: { readonly metric: 'loss' | 'accuracy'; readonly value: number } | undefined;
  /** Samples of an estimate of the gradient noise. */
  readonly noiseSamples: number;
  /** Trainings at once. */
  readonly parallel: number;
  /** Fewer batch sizes, seeds and epochs where they are not given. */
  readonly quick: boolean;
}

export const defaultOptions = (quick: boolean): BatchStudyOptions => ({
  parts: studyParts,
  rules: quick ? ['none', 'linear'] : rateRules,
  seeds: quick ? 1 : 3,
  repeats: quick ? 1 : 3,
  timedSteps: quick ? 5 : 10,
  capacities: undefined,
  target: undefined,
  noiseSamples: quick ? 128 : 512,
  parallel: 1,
  quick,
});

/** Where the experiment says neither steps nor epochs. */
export const defaultEpochs = (quick: boolean): number => (quick ? 3 : 10);

/**
 * Which forward values each stage computes again for its backward pass instead of keeping them.
 *
 * - `none`: everything that the backward pass reads is kept.
 * - `stage`: only what comes into the stage is kept (Huang et al., "GPipe", NeurIPS 2019).
 * - `selective`: the cheap is computed again where that frees memory (`selective.ts`).
 * - `optimal`: as little time as the devices' memories allow (`optimal.ts`).
 */
export const recomputeModes = ['none', 'stage', 'selective', 'optimal'] as const;
export type RecomputeMode = (typeof recomputeModes)[number];

/**
 * What one stage does. Tensors and nodes are known by name, so that the choice made for one size of microbatch serves all.
 *
 * A stage's forward may be divided into blocks, which the backward pass leaves from the last to the first. Clones live from
 * block to block only where they are named; else they are made again when they are asked for again.
 */
export interface StageRecompute {
  /** Values of the forward pass that are kept; all others are computed again. */
  readonly kept: ReadonlySet<string>;
  /** Block of each forward node; absent: one block. */
  readonly blockOf?: ReadonlyMap<string, number>;
  /** Of each block, the values whose clones are still there when its backward begins. */
  readonly retained?: readonly ReadonlySet<string>[];
}

/** By stage of the schedule; a stage that is not there computes nothing again. */
export type RecomputeChoice = ReadonlyMap<number, StageRecompute>;

import type { PlacementProblem } from './problem.ts';

/** A way to solve placement problems; `methods.ts` lists them. */
export interface PlacementMethod {
  readonly name: string;
  /** One line of help. */
  readonly doc: string;
  /** What it answers with: contiguous placements only, or any. */
  readonly finds: 'contiguous' | 'any';
  /** What others do: to compare with, never part of `auto`. */
  readonly baseline?: true;
  /** Undefined: it found none. The answer is legal for the kind of placement asked for. */
  readonly solve: (problem: PlacementProblem, options: MethodOptions) => Promise<MethodAnswer | undefined>;
}

export interface MethodOptions {
  readonly contiguous: boolean;
  readonly seed: number;
  /** `performance.now()` at which the method stops with what it has. */
  readonly deadline: number;
  /** Ends the search with its reason as the error. */
  readonly signal?: AbortSignal;
  /** Whether an answer is good enough: its objective this share above its bound at most. Default: none short of a proof. */
  readonly gap?: number;
  /** Device of each part of a legal placement, to start from and to beat. */
  readonly start?: readonly number[];
}

export interface MethodAnswer {
  readonly deviceOf: readonly number[];
  /** No placement of the kind asked for (contiguous, or any) has a smaller objective. */
  readonly lowerBound: number;
  /** Where several methods had a part in it, joined by +. Default: the method's name. */
  readonly method?: string;
}

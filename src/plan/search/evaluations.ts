/** The plans that a search compiles, lays out and simulates, within its limits. */
import type { RecomputeMode } from '../../recompute/index.ts';
import { type PlanCache, type PlanRequest, roughPlan, shortages } from '../plan.ts';
import type { EvaluatedCandidate, SearchOptions } from './candidate.ts';
import type { Layout } from './layouts.ts';
import { inOrderOfPromise, largest } from './order.ts';
import type { Weighed } from './weigh.ts';

/** Cuts of the best plans for which the schedule `auto` is made. */
const LISTED = 3;

export class Evaluations {
  readonly #request: PlanRequest;
  readonly #recompute: RecomputeMode;
  readonly #options: SearchOptions;
  readonly #cache: PlanCache;
  readonly #evaluations: number;
  /** Of `performance.now()`. */
  readonly #deadline: number;
  readonly #found = new Map<EvaluatedCandidate, Weighed>();

  constructor(
    request: PlanRequest,
    recompute: RecomputeMode,
    options: SearchOptions,
    cache: PlanCache,
    limits: { readonly evaluations: number; readonly deadline: number },
  ) {
    this.#request = request;
    this.#recompute = recompute;
    this.#options = options;
    this.#cache = cache;
    this.#evaluations = limits.evaluations;
    this.#deadline = limits.deadline;
  }

  /** The fastest first, of two as fast the smaller. */
  get sorted(): EvaluatedCandidate[] {
    return [...this.#found.keys()].sort((a, b) => a.stepSeconds - b.stepSeconds || largest(a) - largest(b));
  }

  /** The most promising, and then `auto` for the cuts of the best of them where schedules are the search's own to choose. */
  async run(weighed: readonly Weighed[], ownSchedules: boolean, pause: () => Promise<void> | undefined): Promise<void> {
    const listed = ownSchedules ? Math.min(LISTED, Math.floor(this.#evaluations / 4)) : 0;
    const promising = inOrderOfPromise(weighed);
    const upTo = async (count: number): Promise<void> => {
      while (!this.#isOver && this.#found.size < count) {
        const { value: candidate, done } = promising.next();
        if (done) return;
        await pause();
        this.#evaluate(candidate);
      }
    };
    await upTo(this.#evaluations - listed);
    for (const candidate of this.#bestOfEachLayout().slice(0, listed)) {
      await pause();
      if (!this.#isOver) this.#evaluate({ ...candidate, schedule: 'auto' });
    }
    // What was kept for such schedules, where there were fewer cuts to make them for.
    await upTo(this.#evaluations);
  }

  /** What makes the candidate's plan, with all of the request's programs. */
  requestOf(found: EvaluatedCandidate): PlanRequest {
    return this.#requestFor(this.#found.get(found)!);
  }

  #requestFor({ layout, microbatches, schedule }: Weighed): PlanRequest {
    return {
      ...this.#request,
      microbatches,
      schedule,
      partition: { ready: layout.partition },
      placement: layout.placement,
      stagesPerDevice: undefined,
      recompute: this.#recompute,
    };
  }

  get #isOver(): boolean {
    return this.#options.signal?.aborted === true || (this.#found.size > 0 && performance.now() > this.#deadline);
  }

  /** Those that `auto` could be better for: with a single microbatch there is nothing to order. */
  #bestOfEachLayout(): Weighed[] {
    const best = new Map<Layout, Weighed>();
    for (const found of this.sorted) {
      const candidate = this.#found.get(found)!;
      if (found.fits && found.microbatches > 1 && !best.has(candidate.layout)) best.set(candidate.layout, candidate);
    }
    return [...best.values()];
  }

  #evaluate(candidate: Weighed): void {
    const { layout: _, ...rest } = candidate;
    const [name, main] = Object.entries(this.#request.programs)[0]!;
    const plan = roughPlan({ ...this.#requestFor(candidate), programs: { [name]: main! } }, this.#cache);
    const found: EvaluatedCandidate = {
      ...rest,
      recompute: plan.recompute.size > 0 ? this.#recompute : 'none',
      stepSeconds: plan.prediction.stepSeconds,
      bubbleFraction: plan.prediction.bubbleFraction,
      peakBytes: plan.memory.map((m) => m.peakBytes),
      fits: shortages(plan).length === 0,
    };
    this.#found.set(found, candidate);
    this.#options.onEvaluated?.(found, this.#found.size);
  }
}

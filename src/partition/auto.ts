import { sharesOfWork, solveByIdeals } from './ideal-method.ts';
import { fuseInseparable, unfuse } from './inseparable.ts';
import { milpMayHelp, proveByMilp } from './milp.ts';
import { searchMovesFrom } from './moves.ts';
import { solveByOrders } from './orders.ts';
import { evaluatePlacement } from './placement-load.ts';
import type { MethodAnswer, MethodOptions, PlacementMethod } from './placement-method.ts';
import type { PlacementProblem } from './problem.ts';
import { workBound } from './work-bound.ts';

/**
 * One method after the other, each from what the one before found, until the gap is closed or the time is over:
 *
 *     contiguous   ideals; if they are too many: orders, ideals of what no better placement separates, MILP
 *     any          the same without the MILP for a start, moves, MILP
 *
 * Each has a share of the time that is left when it begins. Where the MILP could do nothing the others have its share.
 */
export const autoMethod: PlacementMethod = {
  name: 'auto',
  doc: 'by the size of the graph: ideals, orders, moves, MILP, until the gap is closed or the time is over (default)',
  finds: 'any',
  solve: async (problem, options) => {
    const { contiguous, deadline, gap = 0 } = options;
    const begun = performance.now();
    const until = (share: number): number => begun + (deadline - begun) * share;
    const stages = new Stages(problem, contiguous, gap);
    const milp = milpMayHelp(problem);
    await contiguousStages(problem, stages, options, until(contiguous ? (milp ? 0.75 : 1) : milp ? 0.2 : 0.4));
    if (!contiguous && !stages.proved) {
      const start = stages.best ?? options.start;
      const moved = await searchMovesFrom(problem, {
        ...options,
        deadline: milp ? until(0.45) : deadline,
        ...(start ? { start } : {}),
      });
      stages.take('moves', moved);
    }
    if (!milp || stages.proved || performance.now() > deadline) return stages.answer;
    const solved = await proveByMilp(problem, options, stages.answer);
    if (solved !== 'missing') stages.take('milp', solved);
    return stages.answer;
  },
};

async function contiguousStages(
  problem: PlacementProblem,
  stages: Stages,
  options: MethodOptions,
  deadline: number,
): Promise<void> {
  const begun = performance.now();
  const asked = { ...options, contiguous: true, deadline };
  const exact = solveByIdeals(problem, { ...asked, deadline: begun + (deadline - begun) / 2 });
  if (exact !== 'too many') stages.take('ideals', exact);
  if (exact === 'too many') {
    const shares = sharesOfWork(problem);
    if (shares) stages.take('orders', { deviceOf: shares, lowerBound: workBound(problem) });
  }
  // Where nothing is found yet even a late answer is one: the first cut of an order.
  if (stages.provedContiguous || (stages.best && performance.now() > deadline)) return;
  const start = stages.best;
  stages.take('orders', await solveByOrders(problem, { ...asked, ...(start ? { start } : {}) }));
  if (stages.provedContiguous || !stages.best || problem.parts.length > mostToJoin) return;
  const { objective } = evaluatePlacement(problem, stages.best);
  const now = performance.now();
  const fused = fuseInseparable(problem, { below: objective, contiguous: true, deadline: now + (deadline - now) / 2 });
  if (fused.problem.parts.length === problem.parts.length) return;
  const smaller = solveByIdeals(fused.problem, { contiguous: true, seed: options.seed, deadline });
  if (smaller === 'too many') return;
  // Nothing better separates what was joined: if the smaller problem has no placement as good, this one is the best.
  const { deviceOf, lowerBound } = smaller ?? { deviceOf: undefined, lowerBound: 0 };
  stages.take('ideals', {
    deviceOf: deviceOf ? unfuse(fused, deviceOf) : stages.best,
    lowerBound: Math.min(objective, lowerBound),
  });
}

/** Parts beyond which the cuts between all neighbours take too long. */
const mostToJoin = 2000;

/** The best answer so far, the best bound, and who had a part in them. */
class Stages {
  readonly #problem: PlacementProblem;
  readonly #contiguous: boolean;
  readonly #methods: string[] = [];
  #best: readonly number[] | undefined;
  #objective = Number.POSITIVE_INFINITY;
  /** Of the placements asked for, and of contiguous ones. */
  #bound: number;
  #boundContiguous = 0;
  readonly #enough: number;

  constructor(problem: PlacementProblem, contiguous: boolean, gap: number) {
    this.#problem = problem;
    this.#contiguous = contiguous;
    this.#bound = workBound(problem);
    this.#enough = 1 + Math.max(gap, 1e-9);
  }

  get best(): readonly number[] | undefined {
    return this.#best;
  }

  get proved(): boolean {
    return this.#objective <= this.#bound * this.#enough;
  }

  get provedContiguous(): boolean {
    return this.proved || this.#objective <= this.#boundContiguous * this.#enough;
  }

  get answer(): MethodAnswer | undefined {
    if (!this.#best) return undefined;
    return { deviceOf: this.#best, lowerBound: this.#bound, method: this.#methods.join('+') };
  }

  /** A contiguous search bounds contiguous placements only; `moves` and `milp` were asked for the kind wanted. */
  take(method: string, answer: MethodAnswer | undefined): void {
    if (!answer) return;
    const { objective } = evaluatePlacement(this.#problem, answer.deviceOf);
    const forAll = this.#contiguous || method === 'moves' || method === 'milp';
    const better = objective < this.#objective;
    const raised = answer.lowerBound > (forAll ? this.#bound : this.#boundContiguous);
    if (better) {
      this.#best = answer.deviceOf;
      this.#objective = objective;
    }
    this.#boundContiguous = Math.max(this.#boundContiguous, answer.lowerBound);
    if (forAll) this.#bound = Math.max(this.#bound, answer.lowerBound);
    if ((better || raised) && this.#methods.at(-1) !== method) this.#methods.push(method);
  }
}

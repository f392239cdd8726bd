import { PlanError } from '../core/errors.ts';
import { type BlockDemand, blockMilp } from './block-milp.ts';
import { type FlatProblem, flatten } from './flat.ts';
import { fuseInseparable, fusePlacement, unfuse } from './inseparable.ts';
import { placementMilp } from './milp-model.ts';
import { milpTolerance, solveMilp } from './milp-solver.ts';
import { movesMethod } from './moves.ts';
import { crowds } from './placement-bound.ts';
import { evaluatePlacement } from './placement-load.ts';
import type { MethodAnswer, MethodOptions, PlacementMethod } from './placement-method.ts';
import type { PlacementProblem } from './problem.ts';

/** Parts times devices beyond which the whole problem is not handed to the solver: its first relaxation takes too long. */
const mostPlaces = 20_000;
/** Parts beyond which not even the relaxation to one device is. */
const mostBlockParts = 5_000;

/** Whether the solver is handed the whole problem. */
export const fitsSolver = ({ parts, devices }: PlacementProblem): boolean =>
  parts.length * devices.length <= mostPlaces;

/** Whether `proveByMilp` can do anything for a problem. */
export const milpMayHelp = (problem: PlacementProblem): boolean =>
  fitsSolver(problem) || problem.parts.length <= mostBlockParts;

export const milpMethod: PlacementMethod = {
  name: 'milp',
  doc: 'mixed-integer programming with HiGHS (the optional package highs), from what moves find; proves',
  finds: 'any',
  solve: async (problem, options) => {
    if (!fitsSolver(problem)) {
      const places = problem.parts.length * problem.devices.length;
      throw new PlanError('milp-too-large', `${places} choices of a device for a part are too many for the solver`, {
        fields: { parts: problem.parts.length, devices: problem.devices.length, most: mostPlaces },
        remedy: '--method auto',
      });
    }
    const now = performance.now();
    const begin = await movesMethod.solve(problem, { ...options, deadline: now + (options.deadline - now) / 4 });
    const answer = await proveByMilp(problem, options, begin);
    if (answer !== 'missing') return answer && { ...answer, method: 'milp' };
    throw new PlanError('highs-missing', 'method milp needs the optional package highs, which is not installed', {
      fields: { package: 'highs' },
      remedy: 'npm install highs',
    });
  },
};

/**
 * Improves an answer or its bound: first the lightest set that some device must hold (`blockMilp`), then the whole problem,
 * with the parts joined that no better placement separates. `missing`: the solver is not installed.
 */
export async function proveByMilp(
  problem: PlacementProblem,
  options: MethodOptions,
  begin: MethodAnswer | undefined,
): Promise<MethodAnswer | undefined | 'missing'> {
  const { contiguous, deadline } = options;
  const flat = flatten(problem);
  let best = begin?.deviceOf;
  let objective = best ? evaluatePlacement(problem, best).objective : allOnOne(flat);
  let lowerBound = begin?.lowerBound ?? 0;
  const answer = (): MethodAnswer | undefined => best && { deviceOf: best, lowerBound };
  const proved = (): boolean => best !== undefined && objective - lowerBound <= milpTolerance * objective;
  const raise = (bound: number): void => {
    // What the solver proves holds to its tolerance; within that of what is reached there is nothing to gain.
    const sure = bound >= objective * (1 - 2 * milpTolerance) ? objective : bound * (1 - milpTolerance);
    lowerBound = Math.min(objective, Math.max(lowerBound, sure));
  };
  if (!(objective < Number.POSITIVE_INFINITY)) return answer();

  const now = performance.now();
  const blocksUntil = now + (deadline - now) * 0.6;
  if (best && !proved()) {
    const found = await boundByBlocks(flat, { ...options, deadline: blocksUntil }, lowerBound, objective);
    if (found === 'missing') return 'missing';
    raise(found);
  }
  if (proved() || performance.now() > deadline) return answer();

  const joiningUntil = performance.now() + (deadline - performance.now()) * 0.2;
  const fused = best
    ? fuseInseparable(problem, { below: objective, contiguous, deadline: joiningUntil })
    : { problem, partOf: problem.parts.map((_, p) => p) };
  const small = flatten(fused.problem);
  if (small.parts * small.devices > mostPlaces) return answer();
  const whole = placementMilp(small, { contiguous, lower: lowerBound, upper: objective });
  const given = best && fusePlacement(fused, best);
  const solved = await solveMilp(whole.model, {
    deadline,
    seed: options.seed,
    signal: options.signal,
    ...(given ? { start: whole.encode(given) } : {}),
  });
  if (solved === 'missing') return 'missing';
  const reached = objective;
  if (solved.values) {
    const deviceOf = unfuse(fused, whole.decode(solved.values));
    const evaluated = evaluatePlacement(problem, deviceOf, { contiguous });
    if (evaluated.violations.length === 0 && (!best || evaluated.objective < objective)) {
      best = deviceOf;
      objective = evaluated.objective;
    }
  }
  // The model's loads are in units of what was reached; what it leaves out is no better than that.
  if (best) raise(Math.min(reached, solved.bound * reached));
  return answer();
}

/** A load that no placement exceeds: every part on its slowest device that can run it, every transfer paid. */
function allOnOne({ parts, classes, cost, overlap }: FlatProblem): number {
  let computing = 0;
  for (let p = 0; p < parts; p++) {
    computing += Math.max(0, ...classes.map(({ time }) => time[p]!).filter((t) => t < Number.POSITIVE_INFINITY));
  }
  const moved = cost.reduce((a, b) => a + b, 0) * Math.max(0, ...classes.map(({ transfer }) => transfer));
  return overlap ? Math.max(computing, moved) : computing + 2 * moved;
}

/** The best of the bounds that single devices give. */
async function boundByBlocks(
  flat: FlatProblem,
  { contiguous, seed, deadline, signal }: MethodOptions,
  lower: number,
  upper: number,
): Promise<number | 'missing'> {
  const { parts, classes, units, rates } = flat;
  if (parts > mostBlockParts) return lower;
  const total = units.reduce((a, b) => a + b, 0);
  const rate = rates.reduce((a, b) => a + b, 0);
  /** Some device meets one of these: which class it belongs to is not known. */
  const demands: (readonly BlockDemand[])[] = [];
  for (const { of, least } of crowds(flat)) demands.push([{ kind: 'crowd', of, least }]);
  if (total > 0 && rate > 0) {
    demands.push(classes.map(({ devices }) => ({ kind: 'units', least: (total * rates[devices[0]!]!) / rate })));
  }
  let bound = lower;
  for (const [i, byClass] of demands.entries()) {
    const until = performance.now() + (deadline - performance.now()) / (demands.length - i);
    let lightest = upper;
    for (let c = 0; c < classes.length && bound < upper * (1 - milpTolerance); c++) {
      const now = performance.now();
      const solved = await solveMilp(
        // Nothing below the bound, whatever the demand: the answer is wanted as the lesser of the two.
        blockMilp(flat, c, byClass[c]!, { contiguous, lower: 0, upper }),
        { deadline: now + (until - now) / (classes.length - c), seed, signal },
      );
      if (solved === 'missing') return 'missing';
      lightest = Math.min(lightest, solved.bound * upper);
      if (lightest <= bound) break;
    }
    bound = Math.max(bound, Math.min(lightest, upper));
    if (bound >= upper * (1 - milpTolerance)) break;
  }
  return bound;
}

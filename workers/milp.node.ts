// What the thread of a MILP runs: HiGHS blocks, so it has a thread of its own and reports through messages.
import { parentPort, workerData } from 'node:worker_threads';
import type { MilpReport, MilpTask } from '../src/partition/milp-solver.ts';

const say = (report: MilpReport): void => parentPort!.postMessage(report);

async function solve({ model, start, endsAt, seed }: MilpTask): Promise<void> {
  // Not installed: a package that only this thread needs, and that an installation may leave out.
  const load = await import('highs').then(
    // Its types describe the default export of CommonJS, one level further in than what ECMAScript modules get.
    (module) => module.default as unknown as typeof module.default.default,
    () => undefined,
  );
  if (!load) return say({ kind: 'missing' });
  const highs = await load();
  const { columns, lower, upper, integer, starts, indices, coefficients, rowLower, rowUpper } = model;
  const objective = new Float64Array(columns);
  objective[0] = 1;
  const described = {
    numCols: columns,
    numRows: rowLower.length,
    colCost: objective,
    colLower: lower,
    colUpper: upper,
    rowLower,
    rowUpper,
    matrix: {
      format: 'csr' as const,
      numCols: columns,
      numRows: rowLower.length,
      starts,
      indices,
      values: coefficients,
    },
    integrality: Int32Array.from(integer),
  };
  let problem: ReturnType<typeof highs.createModel>;
  try {
    problem = highs.createModel(described);
  } catch (error) {
    // Numbers further apart than it computes with, which HiGHS itself refuses: it proves nothing of them.
    const { HighsError } = highs.errors;
    if (error instanceof HighsError && error.operation === 'passModel') return say({ kind: 'done' });
    throw error;
  }
  const seconds = Math.max(0, (endsAt - Date.now()) / 1000);
  problem.options.set({ output_flag: false, time_limit: seconds, mip_rel_gap: 1e-7, random_seed: seed % 2 ** 31 });
  if (start) problem.setSolution({ colValue: start });
  const { callbackType, modelStatus } = highs.constants;
  let bound = Number.NEGATIVE_INFINITY;
  problem.run({
    [callbackType.mipImprovingSolution]({ data }) {
      if (data.mip_solution) say({ kind: 'solution', values: Float64Array.from(data.mip_solution) });
    },
    [callbackType.mipLogging]({ data }) {
      if (data.mip_dual_bound !== undefined && data.mip_dual_bound > bound) {
        bound = data.mip_dual_bound;
        say({ kind: 'bound', bound });
      }
    },
  });
  const status = problem.getModelStatus();
  if (status === modelStatus.infeasible) return say({ kind: 'infeasible' });
  const last = problem.info.get('mip_dual_bound');
  if (typeof last === 'number') say({ kind: 'bound', bound: Math.max(last, bound) });
  if (problem.info.get('primal_solution_status') === highs.constants.solutionStatus.feasible)
    say({ kind: 'solution', values: Float64Array.from(problem.getSolution().colValue) });
  say({ kind: 'done' });
}

await solve(workerData as MilpTask);

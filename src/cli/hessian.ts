import { hessianOf, hessianRequest } from '../train/derivatives.ts';
import type { RunResult } from '../train/session.ts';
import { runDerivation } from './derivative.ts';
import type { Invocation } from './invocation.ts';

const secondsBetweenLines = 3;

export const run = (invocation: Invocation): Promise<number> =>
  runDerivation(invocation, {
    request: hessianRequest,
    compute: async ({ session, data }) => {
      const runs: RunResult[] = [];
      let next = performance.now() + secondsBetweenLines * 1000;
      const { matrix } = await hessianOf(session, data, {
        signal: invocation.signal,
        onRow: (row, n, run) => {
          runs[0] ??= run; // rows take the same time but the first, in which code is compiled
          runs[1] = run;
          if (invocation.quiet || performance.now() < next) return;
          next = performance.now() + secondsBetweenLines * 1000;
          process.stderr.write(`row ${row}/${n}\n`);
        },
      });
      const { loss, seconds, reports } = runs[1]!;
      return {
        tensors: [['hessian', matrix]],
        scalars: { loss, parameters: matrix.type.shape[0]! },
        seconds,
        reports,
      };
    },
  });

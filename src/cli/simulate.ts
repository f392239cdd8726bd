import { UsageError } from '../core/errors.ts';
import type { Invocation } from './invocation.ts';

/** Stages with given times, or an experiment. */
export async function run(invocation: Invocation): Promise<number> {
  const { own } = invocation;
  if (['stages', 'times', 'costs', 'link'].some((flag) => own[flag] !== undefined)) {
    const stages = await import('./simulate-stages.ts');
    return stages.run(invocation);
  }
  throw new UsageError('command-line', 'simulate needs stages and their times', {
    remedy: 'partita simulate --stages 4 --microbatches 8 --schedule zb-h1 --times 1,1,1',
  });
}

import { UsageError } from '../core/errors.ts';
import type { Invocation } from './invocation.ts';

const ofStages = ['stages', 'times', 'costs', 'link', 'inFlight', 'keptForWeights', 'minimize', 'scheduleOut'];
const ofExperiments = ['cluster', 'jitter', 'jitterSeed', 'draws', 'why', 'whyAt', 'trace', 'batch', 'profile'];

/** Stages with given times, or an experiment. */
export async function run(invocation: Invocation): Promise<number> {
  const { own, file, keys } = invocation;
  const flagOf = (names: readonly string[]) => names.find((name) => own[name] !== undefined);
  const stages = flagOf(ofStages);
  if (stages === undefined && file === undefined && keys.length === 0) {
    throw new UsageError('command-line', 'simulate needs an experiment, or stages and their times', {
      remedy:
        'partita simulate experiment.json, or: partita simulate --stages 4 --microbatches 8 --schedule zb-h1 --times 1,1,1',
    });
  }
  if (stages === undefined) return (await import('./simulate-experiment.ts')).run(invocation);
  const foreign = flagOf(ofExperiments);
  if (foreign !== undefined) {
    const kebab = (name: string) => `--${name.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)}`;
    throw new UsageError('command-line', `${kebab(foreign)} is of experiments, and ${kebab(stages)} of given stages`, {
      fields: { flag: foreign, other: stages },
      remedy: `leave out ${kebab(foreign)} or ${kebab(stages)}`,
    });
  }
  invocation.endAtOnce?.();
  return (await import('./simulate-stages.ts')).run(invocation);
}

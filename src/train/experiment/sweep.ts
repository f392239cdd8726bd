/**
 * The key `sweep`: `{"microbatches": [1, 2, 4], "data.batchSize": [32, 64]}` stands for the experiments with each
 * combination of these values. A study expands it (`src/study/sweep.ts`); here is what the file and the flags may say.
 */
import { nearest } from '../../core/errors.ts';
import { any, describe, fits, keysOf, list, type Problem, type Schema } from '../../core/schema.ts';
import { schemaAt } from '../../core/schema-flags.ts';
import { resolvePaths } from './paths.ts';
import { experimentSchema } from './schema.ts';

/** Lists of values by dotted key, in the order in which they were given. */
export type Sweep = Readonly<Record<string, readonly unknown[]>>;

const prefix = 'sweep.';

/** Whether a flag's path is that of a swept key: `sweep.data.batchSize`. */
export const isSweepKey = (path: string): boolean => path.startsWith(prefix);

/** The schema of an experiment's key by its flag; that of `sweep.KEY` is a list of KEY's. */
export function schemaOfKey(path: string): Schema | undefined {
  if (!isSweepKey(path)) return schemaAt(experimentSchema, path);
  return list(schemaAt(experimentSchema, path.slice(prefix.length)) ?? any());
}

/**
 * Sets a swept key; paths among its values are meant relative to `folder`. Its dots are part of the name, other than in keys
 * that are set by flags elsewhere.
 */
export function setSweep(experiment: Record<string, unknown>, path: string, values: unknown, folder: string): void {
  const own: Record<string, unknown> = { sweep: { [path.slice(prefix.length)]: values } };
  resolvePaths(own, folder);
  const { sweep: before } = experiment;
  experiment.sweep = { ...(typeof before === 'object' ? before : {}), ...(own.sweep as object) };
}

/** Keys of an experiment that only a training obeys. */
const unswept = ['checkpoint', 'resume'];

/** Keys that no experiment has, and values that their keys do not take. */
export function sweepProblems(sweep: Sweep): Problem[] {
  return Object.entries(sweep).flatMap(([key, values]): Problem[] => {
    const schema = key === 'sweep' || isSweepKey(key) ? undefined : schemaAt(experimentSchema, key);
    const at = `${prefix}${key}`;
    if (!schema) {
      const known = keysOf(experimentSchema).flatMap(({ path }) => (path === 'sweep' ? [] : [path]));
      const near = nearest(key, known);
      const problem = { key: at, expected: 'a key of the experiment, with dots for nested ones', got: show(key) };
      return [
        near === undefined
          ? { ...problem, remedy: `name a key of the experiment in place of ${show(key)}` }
          : { ...problem, nearest: `${prefix}${near}` },
      ];
    }
    if (unswept.includes(key.split('.')[0]!)) {
      const expected = 'a key that a study obeys: it keeps and resumes no checkpoint';
      return [{ key: at, expected, got: show(key), remedy: `leave ${at} out` }];
    }
    const wrong = values.flatMap((value, i): Problem[] =>
      fits(schema, value) ? [] : [{ key: `${at}.${i}`, expected: describe(schema), got: show(value) }],
    );
    const texts = values.map((value) => JSON.stringify(value));
    const twice = texts.findIndex((text, i) => texts.indexOf(text) < i);
    if (wrong.length === 0 && twice >= 0) {
      const again = `${at}.${twice}`;
      return [{ key: again, expected: 'each value once', got: `${texts[twice]} again`, remedy: `leave ${again} out` }];
    }
    return wrong;
  });
}

const show = (value: unknown): string => JSON.stringify(value);

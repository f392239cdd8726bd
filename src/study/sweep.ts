/** From one experiment with a sweep to the experiments it stands for. All studies stand on it. */

import { joinProblems, UsageError } from '../core/errors.ts';
import { requireKinds } from '../core/options.ts';
import { remedyOf, sentence } from '../core/schema.ts';
import { setPath } from '../core/schema-flags.ts';
import { parseExperiment } from '../train/experiment/parse.ts';
import type { Experiment } from '../train/experiment/schema.ts';
import { checkSemantics } from '../train/experiment/semantics.ts';
import { type Sweep, sweepProblems } from '../train/experiment/sweep.ts';

/** One of the experiments of a sweep. */
export interface Combination {
  /** The swept keys' values here. */
  readonly values: Readonly<Record<string, unknown>>;
  /** `data.batchSize 64, microbatches 4`; empty where nothing is swept. */
  readonly label: string;
  readonly experiment: Experiment;
}

/**
 * An experiment's sweep, and the experiment without it. Throws UsageError where a key is none or takes no such value, also
 * of those keys that a study walks through by itself.
 */
export function splitSweep(experiment: Experiment, where: string): { sweep: Sweep; base: Experiment } {
  requireKinds('a study', { experiment: ['object', experiment], where: ['text', where] });
  const { sweep = {}, ...rest } = experiment;
  const problems = sweepProblems(sweep);
  if (problems.length > 0) {
    throw new UsageError('experiment-invalid', `${where}: ${joinProblems(problems.map(sentence))}`, {
      fields: { file: where, problems },
      remedy: remedyOf(problems),
    });
  }
  return { sweep, base: { ...rest, sweep: undefined } };
}

/** Every combination of the lists' values, the last key changing fastest. */
export function combinationsOf(sweep: Sweep): Record<string, unknown>[] {
  requireKinds('combinationsOf', { sweep: ['object', sweep] });
  for (const [key, values] of Object.entries(sweep)) requireKinds('combinationsOf', { [key]: ['list', values] });
  return Object.entries(sweep).reduce<Record<string, unknown>[]>(
    (all, [key, values]) => all.flatMap((chosen) => values.map((value) => ({ ...chosen, [key]: value }))),
    [{}],
  );
}

/**
 * The experiments of a sweep, each complete. Throws one UsageError that names every combination which is no valid
 * experiment, so that nothing runs before all can.
 */
export function expandSweep(base: Experiment, sweep: Sweep, where: string): Combination[] {
  const problems: { label: string; message: string; fields: object; remedy: string | undefined }[] = [];
  const combinations = combinationsOf(sweep).flatMap((values): Combination[] => {
    const label = labelOf(values);
    try {
      return [{ values, label, experiment: experimentWith(base, values, label) }];
    } catch (error) {
      if (!(error instanceof UsageError)) throw error;
      problems.push({ label, message: error.message, fields: error.fields, remedy: error.remedy });
      return [];
    }
  });
  if (problems.length > 0) throw invalidCombinations(problems, where);
  return combinations;
}

/** One error for all combinations that cannot be experiments. */
export function invalidCombinations(
  problems: readonly { readonly label: string; readonly message: string; readonly remedy?: string }[],
  where: string,
): UsageError {
  const shown = problems.slice(0, mostShown).map(({ message }) => message);
  const more = problems.length - shown.length;
  if (more > 0) shown.push(`and ${more} more combinations`);
  const first = problems[0]?.remedy;
  return new UsageError('sweep-combination', `${where}: sweep: ${joinProblems(shown)}`, {
    fields: { file: where, combinations: problems },
    remedy: `take a value out of a list of the sweep${first ? `, or for the first: ${first}` : ''}`,
  });
}

/** Combinations that a message lists; its fields have all. */
const mostShown = 8;

/** The experiment with these values in place of its own. Throws UsageError where that is none; the label names it there. */
export function experimentWith(
  base: Experiment,
  values: Readonly<Record<string, unknown>>,
  label = labelOf(values),
): Experiment {
  const { sweep: _, ...rest } = base;
  const raw = structuredClone(rest) as Record<string, unknown>;
  for (const [key, value] of Object.entries(values)) setKey(raw, key, value);
  const experiment = parseExperiment(raw, label);
  checkSemantics(experiment, label, { needsObjective: false });
  return experiment;
}

/**
 * Sets a key as a flag does: another kind has other settings, so those of the old one go; `steps` and `epochs` replace each
 * other; a place in `devices` makes a list of their count, and a count of devices keeps what they are like.
 */
function setKey(raw: Record<string, unknown>, key: string, value: unknown): void {
  const [first] = key.split('.');
  if (/^devices\.\d/.test(key) && typeof raw.devices === 'number') {
    raw.devices = Array.from({ length: raw.devices }, () => ({}));
  }
  const holder = raw[first!] as { kind?: unknown } | undefined;
  if (key === `${first}.kind` && holder?.kind !== value) raw[first!] = {};
  if (key === 'steps') delete raw.epochs;
  if (key === 'epochs') delete raw.steps;
  if (key === 'devices' && typeof value === 'number' && Array.isArray(raw.devices)) {
    raw.devices = devicesLike(raw.devices, value);
    return;
  }
  setPath(raw, key, structuredClone(value));
}

/**
 * So many devices like the listed ones, with their memory and speed: the first of the list, as a count over a cluster takes
 * them; more than are listed where all are alike.
 */
function devicesLike(listed: readonly unknown[], count: number): unknown[] {
  if (count <= listed.length) return listed.slice(0, count);
  const texts = listed.map((device) => JSON.stringify(device));
  const other = texts.findIndex((text) => text !== texts[0]);
  if (other < 0) return Array.from({ length: count }, () => structuredClone(listed[0]));
  throw new UsageError(
    'sweep-devices',
    `devices ${count}: the experiment lists ${listed.length} devices that differ (${other} from 0), so it does not say what more of them would be like`,
    {
      fields: { key: 'devices', count, listed: listed.length },
      remedy: `counts up to ${listed.length}, lists of devices in the sweep, or one size for all: --memory 64MiB`,
    },
  );
}

/** `schedule gpipe, devices 2`. */
export const labelOf = (values: Readonly<Record<string, unknown>>): string =>
  Object.entries(values)
    .map(([key, value]) => `${key} ${typeof value === 'string' ? value : JSON.stringify(value)}`)
    .join(', ');

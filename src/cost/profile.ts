/**
 * Measured times of kernels. A profile knows what was timed on a device; what it has not seen is scaled from the nearest
 * run of the same op by the ratio of their rooflines, and an op that it has not seen at all is the fallback's.
 */

import { FormatError, UsageError } from '../core/errors.ts';
import { JsonError, parseJson, versionText } from '../core/json.ts';
import { isOfKind } from '../core/kinds.ts';
import { requireArgument, requireKinds } from '../core/options.ts';
import { amount } from '../core/quantities.ts';
import { choice, type Infer, integer, list, object, parse, record, string } from '../core/schema.ts';
import { type DType, formatType, type TensorType } from '../core/types.ts';
import type { AttrValue } from '../graph/op-record.ts';
import { type BackendName, type ComputingBackend, kernelsOf, type NodeSignature } from '../lower/kernel-call.ts';
import { described, descriptionOf } from './described.ts';
import { machineSchema, measuredCosts } from './machine.ts';
import type { CostModel, KernelRun } from './model.ts';

const VERSION = 1;

const tensorType = object({ dtype: choice(['f32', 'i32', 'bool']), shape: list(integer({ min: 0 })) });

function isJsonObject(text: string): boolean {
  try {
    return isOfKind('record', JSON.parse(text));
  } catch {
    return false;
  }
}

const entrySchema = object({
  backend: choice(['wasm', 'blas', 'reference']),
  op: string(),
  inputs: list(tensorType),
  outputs: list(tensorType),
  /** JSON of the node's attributes, keys sorted. */
  attrs: string({ check: (text) => (isJsonObject(text) ? undefined : 'an object of JSON') }),
  flops: amount(),
  bytes: amount(),
  /** Median of one run on a device of speed 1. */
  seconds: amount(),
  /** Runs that were timed. */
  samples: integer({ min: 1 }),
  /** Median distance of a run from the median. */
  mad: amount(),
});

const profileSchema = object({
  format: choice(['partita-profile']),
  version: integer({ min: 1 }),
  /** How many devices computed at once while these were timed: they share caches, memory and power. */
  busyDevices: integer({ min: 1 }),
  machine: machineSchema,
  /** By kernel key: backend, op, types and attributes. */
  entries: record(entrySchema),
});

export type ProfileEntry = Infer<typeof entrySchema>;
export type Profile = Infer<typeof profileSchema>;

/** Throws UsageError for what is no profile. */
function requireProfile(what: string, profile: unknown): asserts profile is Profile {
  const { entries, machine } = (profile ?? {}) as Partial<Profile>;
  const isProfile = isOfKind('record', entries) && isOfKind('record', machine);
  requireArgument(what, isProfile, 'a profile', profile, "readProfile(text, 'profile.json')");
}

/**
 * Names a run by all that its time depends on; equal runs have equal keys, whatever the order of their attributes. A product
 * that adds into a sum takes as long as one that stores, but for a reading of the sum.
 */
export const kernelKey = (signature: NodeSignature, backend: BackendName): string => {
  const { op, inputs, outputs } = signature;
  const { adds: _, ...attrs } = signature.attrs;
  return keyOf({ backend: kernelsOf(backend), op, inputs, outputs, attrs: sortedJson(attrs) });
};

interface KeyParts {
  readonly backend: string;
  readonly op: string;
  readonly inputs: readonly TensorType[];
  readonly outputs: readonly TensorType[];
  readonly attrs: string;
}

const keyOf = ({ backend, op, inputs, outputs, attrs }: KeyParts): string =>
  `${backend} ${op}(${inputs.map(formatType).join(', ')}) -> ${outputs.map(formatType).join(', ')} ${attrs}`;

/** Compact JSON with sorted keys. */
export function sortedJson(value: AttrValue): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(sortedJson).join(',')}]`;
  const fields = Object.entries(value as { readonly [key: string]: AttrValue }).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${fields.map(([key, v]) => `${JSON.stringify(key)}:${sortedJson(v)}`).join(',')}}`;
}

/** An entry for a run of a node. */
export function profileEntry(
  { signature, flops, bytes }: KernelRun,
  backend: ComputingBackend,
  timed: Pick<ProfileEntry, 'seconds' | 'samples' | 'mad'>,
): ProfileEntry {
  const types = (of: readonly TensorType[]) => of.map(({ dtype, shape }) => ({ dtype, shape: [...shape] }));
  const { op, inputs, outputs, attrs } = signature;
  return {
    backend,
    op,
    inputs: types(inputs),
    outputs: types(outputs),
    attrs: sortedJson(attrs),
    flops,
    bytes,
    ...timed,
  };
}

/** The same profile with the entries of a second one, which win: they are the newer. */
export function mergeProfiles(older: Profile, newer: Profile): Profile {
  for (const profile of [older, newer]) requireProfile('mergeProfiles', profile);
  return { ...newer, entries: { ...older.entries, ...newer.entries } };
}

/**
 * Costs by a profile; `fallback` gives the roofline that scales, links, and ops that the profile lacks. Default: the
 * constants of the machine that it was made on.
 */
export function profiledCosts(profile: Profile, fallback?: CostModel): CostModel {
  requireProfile('profiledCosts', profile);
  return costsBy(profile, fallback ?? measuredCosts(profile.machine));
}

function costsBy(profile: Profile, fallback: CostModel): CostModel {
  const byOp = new Map<string, ProfileEntry[]>();
  for (const entry of Object.values(profile.entries)) {
    const name = `${entry.backend} ${entry.op}`;
    byOp.set(name, [...(byOp.get(name) ?? []), entry]);
  }
  const known = new Map<string, number>();
  const keys = new WeakMap<NodeSignature, string>();
  const runOf = (entry: ProfileEntry): KernelRun => ({
    signature: { op: entry.op, inputs: entry.inputs, outputs: entry.outputs, attrs: JSON.parse(entry.attrs) },
    flops: entry.flops,
    bytes: entry.bytes,
  });
  const estimate = (run: KernelRun, backend: BackendName): number => {
    const candidates = byOp.get(`${kernelsOf(backend)} ${run.signature.op}`);
    const nearest = candidates && nearestEntry(candidates, run);
    const seconds = fallback.kernelSeconds(run, backend);
    if (!nearest) return seconds;
    const there = fallback.kernelSeconds(runOf(nearest), backend);
    return there > 0 ? nearest.seconds * (seconds / there) : nearest.seconds;
  };
  const describe = (): string | undefined => {
    const beside = descriptionOf(fallback.kernelSeconds);
    return beside && `profile ${writeProfile(profile)} beside ${beside}`;
  };
  return {
    ...fallback,
    source: 'profile',
    kernelSeconds: described((run, backend) => {
      let key = keys.get(run.signature);
      if (key === undefined || !key.startsWith(`${kernelsOf(backend)} `)) {
        key = kernelKey(run.signature, backend);
        keys.set(run.signature, key);
      }
      const exact = profile.entries[key];
      if (exact) return exact.seconds;
      let seconds = known.get(key);
      if (seconds === undefined) known.set(key, (seconds = estimate(run, backend)));
      return seconds;
    }, describe),
  };
}

/** How much attributes that differ count, beside logarithms of work: another stride is another loop. */
const OTHER_ATTRS = 0.5;

/** The entry whose work is nearest by ratio; the first in the profile's order among equals. */
function nearestEntry(entries: readonly ProfileEntry[], { signature, flops, bytes }: KernelRun): ProfileEntry {
  const attrs = sortedJson(signature.attrs);
  const distance = (e: ProfileEntry): number =>
    Math.abs(Math.log((flops + 1) / (e.flops + 1))) +
    Math.abs(Math.log((bytes + 1) / (e.bytes + 1))) +
    (e.attrs === attrs ? 0 : OTHER_ATTRS);
  return entries.reduce((best, e) => (distance(e) < distance(best) ? e : best));
}

/** What a profile lacks of some runs: their keys, in order. */
export function missingKeys(
  profile: Profile,
  runs: Iterable<readonly [run: KernelRun, backend: BackendName]>,
): string[] {
  const missing = new Set<string>();
  for (const [run, backend] of runs) {
    const key = kernelKey(run.signature, backend);
    if (!Object.hasOwn(profile.entries, key)) missing.add(key);
  }
  return [...missing];
}

/** Entries in the order of their keys, so that equal profiles are equal files. */
export function writeProfile(profile: Profile): string {
  requireProfile('writeProfile', profile);
  const entries = Object.fromEntries(Object.entries(profile.entries).sort(([a], [b]) => (a < b ? -1 : 1)));
  return `${JSON.stringify({ ...profile, entries }, null, 1)}\n`;
}

export const newProfile = (
  machine: Profile['machine'],
  busyDevices: number,
  entries: Readonly<Record<string, ProfileEntry>>,
): Profile => ({ format: 'partita-profile', version: VERSION, busyDevices, machine, entries: { ...entries } });

/** Throws FormatError where the text is not a profile of this version, or an entry's key is not that of its fields. */
export function readProfile(text: string, where: string): Profile {
  requireKinds('readProfile', { text: ['text', text], where: ['text', where] });
  const foreign = (what: string, cause?: unknown) =>
    new FormatError('profile-file', `${where}: ${what}`, {
      fields: { file: where, ...(cause instanceof JsonError ? cause.twice : {}) },
      remedy: 'make it with: partita profile experiment.json --out profile.json',
      cause,
    });
  let json: unknown;
  try {
    json = parseJson(text);
  } catch (cause) {
    if (!(cause instanceof JsonError)) throw cause;
    throw foreign(`${cause.twice ? 'a damaged' : 'not a'} profile: it ${cause.message}`, cause);
  }
  const { format, version } = (json ?? {}) as { format?: unknown; version?: unknown };
  if (format !== 'partita-profile') throw foreign('not a profile: it has no "format": "partita-profile"');
  if (version !== VERSION) {
    throw foreign(`a profile of ${versionText(version)}; this version of Partita reads ${VERSION}`);
  }
  const profile = parsed(json, where, foreign);
  for (const [key, entry] of Object.entries(profile.entries)) {
    const own = keyOf(entry as KeyParts & { inputs: { dtype: DType; shape: number[] }[] });
    if (own !== key) throw foreign(`a damaged profile: the entry "${key}" describes "${own}"`);
  }
  return profile;
}

function parsed(json: unknown, where: string, foreign: (what: string, cause: unknown) => FormatError): Profile {
  try {
    return parse(profileSchema, json, where);
  } catch (cause) {
    if (!(cause instanceof UsageError)) throw cause;
    throw foreign(`a damaged profile: ${cause.message.replace(`${where}: `, '')}`, cause);
  }
}

/**
 * Options of functions, held to their names as the keys of an experiment file are: an option that a function has not is an
 * error that names the nearest one, never ignored; so is one that is missing.
 */
import { nearest, UsageError } from './errors.ts';
import { exampleOfKind, isOfKind, isRecord, type ValueKind, wordsOfKind } from './kinds.ts';

/**
 * The names of the options O, for when types are gone: one that is missing here, or that O has not, does not compile. Beside
 * that it must be there, a name can say of what kind its value is.
 */
export type OptionNames<O> = {
  readonly [K in keyof O]-?: Record<never, never> extends Pick<O, K>
    ? true | ValueKind
    : 'required' | `required ${ValueKind}`;
};
export type Names = Readonly<Record<string, true | 'required' | ValueKind | `required ${ValueKind}`>>;

export interface OptionProblem {
  readonly text: string;
  readonly remedy: string;
  readonly unknown: readonly string[];
  readonly missing: readonly string[];
}

/** Entries of a list that a message holds, and characters of a text. */
const [MOST_SHOWN, MOST_CHARACTERS] = [8, 80];

/** A value of any kind in a message: of what is long its beginning, of what lies deep its kind. */
export function shown(value: unknown, depth = 0): string {
  if (value === undefined) return 'nothing';
  if (typeof value === 'function' || typeof value === 'symbol') return `a ${typeof value}`;
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value === 'string') return `"${shortened(value)}"`;
  if (typeof value !== 'object' || value === null) return String(value);
  if (ArrayBuffer.isView(value)) {
    return `a ${kindOf(value)} of ${'length' in value ? value.length : value.byteLength}`;
  }
  if (Array.isArray(value)) {
    if (depth > 2) return `a list of ${value.length}`;
    const first = value.slice(0, MOST_SHOWN).map((entry) => shown(entry, depth + 1));
    return `[${first.join(', ')}${value.length > MOST_SHOWN ? `, … ${value.length} in all` : ''}]`;
  }
  const prototype = Object.getPrototypeOf(value) as unknown;
  // Tensors, nodes and the like name themselves.
  if (prototype !== null && prototype !== Object.prototype) return namedBy(value) ?? `a ${kindOf(value)}`;
  return `an object with ${shortened(Object.keys(value).join(', ')) || 'nothing'}`;
}

const shortened = (text: string): string =>
  text.length <= MOST_CHARACTERS ? text : `${text.slice(0, MOST_CHARACTERS)}…`;

const kindOf = (value: object): string => value.constructor?.name || 'object';

/** What an instance says of itself, unless that is nothing but that it is an object, or fails. */
function namedBy(value: object): string | undefined {
  try {
    const text = String(value);
    return text.startsWith('[object ') ? undefined : shortened(text);
  } catch {
    return undefined;
  }
}

/** What is wrong with the names of what was given as options; undefined where nothing is. */
export function optionProblem(options: unknown, names: Names): OptionProblem | undefined {
  const known = Object.keys(names);
  const remedy = `options: ${known.join(', ')}`;
  if (!isRecord(options)) {
    return { text: `options must be an object, got ${shown(options)}`, remedy, unknown: [], missing: [] };
  }
  const unknown = Object.keys(options).filter((name) => !Object.hasOwn(names, name));
  const missing = known.filter((name) => String(names[name]).startsWith('required') && options[name] === undefined);
  if (unknown.length === 0 && missing.length === 0) return valueProblem(options, names);
  const told = unknown.map((name) => {
    const meant = nearest(name, known);
    return meant === undefined ? `unknown option ${name}` : `unknown option ${name}, did you mean "${meant}"?`;
  });
  const text = [...told, ...missing.map((name) => `option ${name} is missing`)].join('; ');
  return { text, remedy, unknown, missing };
}

/** The first option whose value is not of its kind. */
function valueProblem(given: Readonly<Record<string, unknown>>, names: Names): OptionProblem | undefined {
  for (const [name, entry] of Object.entries(names)) {
    const kind = String(entry).replace('required ', '') as ValueKind | 'true' | 'required';
    const value = given[name];
    if (kind === 'true' || kind === 'required' || value === undefined || isOfKind(kind, value)) continue;
    const text = `${name} must be ${wordsOfKind(kind)}, got ${shown(value)}`;
    return { text, remedy: `${name}: ${exampleOfKind(kind)}`, unknown: [], missing: [] };
  }
  return undefined;
}

/**
 * Throws UsageError for the options of a function that are not its own or of another kind, or that it lacks; `where` is within
 * them.
 */
export function checkOptions<O extends object>(what: string, options: O, names: OptionNames<O>, where = ''): void {
  const problem = optionProblem(options, names as Names);
  if (!problem) return;
  const { text, remedy, unknown, missing } = problem;
  throw new UsageError('options-invalid', `${what}: ${where === '' ? '' : `${where}: `}${text}`, {
    fields: { function: what, where, unknown, missing },
    remedy,
  });
}

/** Throws UsageError for arguments of the function `what` that are not of their kinds: by name, `[kind, value]`. */
export function requireKinds(
  what: string,
  args: Readonly<Record<string, readonly [kind: ValueKind, value: unknown]>>,
): void {
  for (const [name, [kind, value]] of Object.entries(args)) {
    if (isOfKind(kind, value)) continue;
    throw new UsageError('options-invalid', `${what}: ${name} must be ${wordsOfKind(kind)}, got ${shown(value)}`, {
      fields: { function: what, argument: name },
      remedy: `${name} = ${exampleOfKind(kind)}`,
    });
  }
}

/** Throws UsageError for a word, or for one of a list, that the option `name` of the function `what` does not know. */
export function requireWords(
  what: string,
  name: string,
  known: readonly string[],
  given: string | readonly string[] | undefined,
): void {
  if (given === undefined) return;
  const wrong = (Array.isArray(given) ? given : [given]).find((word) => !known.includes(word));
  if (wrong === undefined) return;
  const near = nearest(wrong, known);
  const told = near === undefined ? `; there are ${known.join(', ')}` : `, did you mean "${near}"?`;
  throw new UsageError('options-invalid', `${what}: ${name} has no ${shown(wrong)}${told}`, {
    fields: { function: what, option: name, got: wrong, known },
    remedy: `${name}: ${known.map((word) => `'${word}'`).join(' | ')}`,
  });
}

/** Throws UsageError for an argument that is none of what the function `what` takes; `remedy`: a call that is right. */
export function requireArgument(what: string, isRight: boolean, expected: string, got: unknown, remedy: string): void {
  if (isRight) return;
  throw new UsageError('options-invalid', `${what}: takes ${expected}, got ${shown(got)}`, {
    fields: { function: what, expected },
    remedy,
  });
}

/**
 * Descriptions of JSON configurations, and the one function that checks against them.
 *
 *     const optimizer = union({ sgd: { lr: number({ above: 0, default: 0.1, doc: 'learning rate' }) }, … }, { fallback: 'sgd' });
 *     const schema = object({ optimizer, steps: optional(integer({ min: 1 })), model: string({ doc: 'an .onnx file' }) });
 *     const config = parse(schema, JSON.parse(text), 'experiment.json');      // typed, defaults filled in
 *
 * A schema is plain data: the checker, the command line's flags (schema-flags.ts) and the documentation read the same
 * description. A field is required unless it has a default or is `optional`; there, null counts as absent.
 */
import { joinProblems, nearest, UsageError } from './errors.ts';
import { memorySizeText, parseBytes } from './memory-size.ts';

export interface Schema<T = unknown> {
  readonly node: SchemaNode;
  readonly doc: string;
  readonly default?: unknown;
  readonly optional?: boolean;
  /** Further condition on a value that passed: says what is expected instead, or undefined. */
  readonly check?: (value: never) => string | undefined;
  /** Carries the type of a parsed value; never set. */
  readonly parsed?: T;
}

export type Fields = Readonly<Record<string, Schema>>;

export interface Range {
  readonly min?: number;
  readonly max?: number;
  /** Exclusive bounds. */
  readonly above?: number;
  readonly below?: number;
}

export type SchemaNode =
  | ({ readonly type: 'number'; readonly integer: boolean } & Range)
  | { readonly type: 'string' | 'boolean' | 'null' | 'bytes' | 'any' }
  | { readonly type: 'choice'; readonly values: readonly string[] }
  | { readonly type: 'list'; readonly of: Schema; readonly minLength: number }
  | { readonly type: 'record'; readonly of: Schema }
  | { readonly type: 'object'; readonly fields: Fields }
  | { readonly type: 'union'; readonly kinds: Readonly<Record<string, Fields>>; readonly fallback?: string }
  | { readonly type: 'either'; readonly options: readonly Schema[] }
  | { readonly type: 'lazy'; readonly get: () => Schema };

export type Infer<S> = S extends Schema<infer T> ? T : never;
type InferFields<F extends Fields> = { [K in keyof F]: Infer<F[K]> };
type InferKinds<K extends Readonly<Record<string, Fields>>> = {
  [N in keyof K]: { kind: N } & InferFields<K[N]>;
}[keyof K];

interface About<T> {
  readonly doc?: string;
  /** As it would stand in the file: checked, and completed by the defaults within. */
  readonly default?: unknown;
  readonly check?: (value: T) => string | undefined;
}

function make<T>(node: SchemaNode, { doc = '', default: value, check }: About<T> = {}): Schema<T> {
  return { node, doc, ...(value === undefined ? {} : { default: value }), ...(check ? { check } : {}) };
}

export const number = (about: About<number> & Range = {}): Schema<number> =>
  make({ type: 'number', integer: false, ...rangeOf(about) }, about);
export const integer = (about: About<number> & Range = {}): Schema<number> =>
  make({ type: 'number', integer: true, ...rangeOf(about) }, about);
const rangeOf = ({ min, max, above, below }: Range): Range => ({ min, max, above, below });
export const string = (about?: About<string>): Schema<string> => make({ type: 'string' }, about);
export const boolean = (about?: About<boolean>): Schema<boolean> => make({ type: 'boolean' }, about);
/** A memory size; parsed to bytes. */
export const bytes = (about?: About<number>): Schema<number> => make({ type: 'bytes' }, about);
/** Anything JSON can say. */
export const any = (about?: About<unknown>): Schema<unknown> => make({ type: 'any' }, about);
export const choice = <const V extends readonly string[]>(values: V, about?: About<V[number]>): Schema<V[number]> =>
  make({ type: 'choice', values }, about);
export const list = <T>(of: Schema<T>, about: About<T[]> & { minLength?: number } = {}): Schema<T[]> =>
  make({ type: 'list', of, minLength: about.minLength ?? 0 }, about);
/** An object with keys of the user's own. */
export const record = <T>(of: Schema<T>, about?: About<Record<string, T>>): Schema<Record<string, T>> =>
  make({ type: 'record', of }, about);
export const object = <F extends Fields>(fields: F, about?: About<InferFields<F>>): Schema<InferFields<F>> =>
  make({ type: 'object', fields }, about);
/** An object whose key `kind` says which other keys it has; `fallback` is the kind of one that names none. */
export const union = <K extends Readonly<Record<string, Fields>>>(
  kinds: K,
  about: About<InferKinds<K>> & { fallback?: keyof K & string } = {},
): Schema<InferKinds<K>> => make({ type: 'union', kinds, fallback: about.fallback }, about);
/** The first of the options that fits. */
export const either = <O extends readonly Schema[]>(
  options: O,
  about?: About<Infer<O[number]>>,
): Schema<Infer<O[number]>> => make({ type: 'either', options }, about);
export const nullable = <T>(schema: Schema<T>): Schema<T | null> =>
  make(
    { type: 'either', options: [{ node: { type: 'null' }, doc: '' }, schema] },
    { doc: schema.doc, default: schema.default },
  );
/** For types that contain themselves. */
export const lazy = <T>(get: () => Schema<T>, about?: About<T>): Schema<T> => make({ type: 'lazy', get }, about);
export const optional = <T>(schema: Schema<T>): Schema<T | undefined> => ({ ...schema, optional: true });

export interface Problem {
  /** Dotted: `devices.1.memory`; empty for the whole. */
  readonly key: string;
  readonly expected: string;
  readonly got: string;
  /** What was probably meant. */
  readonly nearest?: string;
  /** What to do, where it is more than to give what is expected. */
  readonly remedy?: string;
}

/** The value with defaults filled in; throws one UsageError `experiment-invalid` with all problems. `where` names the file. */
export function parse<T>(schema: Schema<T>, value: unknown, where: string): T {
  const problems: Problem[] = [];
  const parsed = visit(schema, value, '', problems);
  if (problems.length === 0) return parsed as T;
  const paths = keysOf(schema).map(({ path }) => path);
  const told = problems.map((p) =>
    p.got === unknownKey ? { ...p, nearest: elsewhere(p.key, paths) ?? p.nearest } : p,
  );
  throw new UsageError('experiment-invalid', `${where}: ${joinProblems(told.map(sentence))}`, {
    fields: { file: where, problems: told },
    remedy: remedyOf(told),
  });
}

/** What to do about problems, at most three of them. */
export function remedyOf(problems: readonly Problem[]): string {
  const told = problems.slice(0, MOST_REMEDIES).map(({ key, expected, got, nearest: meant, remedy }) => {
    const name = key === '' ? 'the file' : key;
    if (remedy !== undefined) return remedy;
    if (meant !== undefined) return `${name}: write ${meant}`;
    if (got === unknownKey || expected.startsWith('nothing ')) return `leave ${name} out`;
    if (/^(only )?one of /.test(expected)) return `give ${name} ${expected}`;
    return got === missing ? `give ${name}, ${expected}` : `make ${name} ${expected}`;
  });
  return [...told, ...(problems.length > MOST_REMEDIES ? ['…'] : [])].join('; ');
}

const MOST_REMEDIES = 3;

const unknownKey = 'an unknown key';
const missing = 'nothing: it is required';

/** Where a key of this very name belongs: deeper below its own place, or at the top. */
function elsewhere(key: string, paths: readonly string[]): string | undefined {
  const names = key.split('.');
  const name = names.pop()!;
  const below = paths.find(
    (path) => path.startsWith(join(names.join('.'), '')) && path.endsWith(`.${name}`) && path !== key,
  );
  return below ?? (names.length > 0 && paths.includes(name) ? name : undefined);
}

/** A problem as a line of an error. */
export function sentence({ key, expected, got, nearest: meant }: Problem): string {
  const hint = meant === undefined ? '' : `; did you mean ${JSON.stringify(meant)}?`;
  const name = key === '' ? 'the file' : key;
  return got === unknownKey && meant !== undefined
    ? `${name}: unknown key${hint}`
    : `${name}: expected ${expected}, got ${got}${hint}`;
}

/** Whether a value fits, without its parsed form. */
export function fits(schema: Schema, value: unknown): boolean {
  const problems: Problem[] = [];
  visit(schema, value, '', problems);
  return problems.length === 0;
}

function visit(schema: Schema, value: unknown, key: string, problems: Problem[]): unknown {
  const before = problems.length;
  const parsed = visitNode(schema, value, key, problems);
  if (schema.check && problems.length === before) {
    const expected = schema.check(parsed as never);
    if (expected !== undefined) problems.push({ key, expected, got: show(value) });
  }
  return parsed;
}

function visitNode(schema: Schema, value: unknown, key: string, problems: Problem[]): unknown {
  const { node } = schema;
  const wrong = (meant?: string): undefined => {
    problems.push({
      key,
      expected: describe(schema),
      got: show(value),
      ...(meant === undefined ? {} : { nearest: meant }),
    });
  };
  switch (node.type) {
    case 'any':
      return value;
    case 'string':
    case 'boolean':
      return typeof value === node.type ? value : wrong();
    case 'null':
      return value === null ? null : wrong();
    case 'number':
      return inRange(value, node) ? value : wrong();
    case 'bytes':
      try {
        return parseBytes(value);
      } catch (error) {
        return wrong(((error as UsageError).fields.nearest as string | null) ?? undefined);
      }
    case 'choice':
      if (typeof value !== 'string') return wrong();
      return node.values.includes(value) ? value : wrong(nearest(value, node.values));
    case 'list':
      if (!Array.isArray(value) || value.length < node.minLength) return wrong();
      return value.map((item, i) => visit(node.of, item, join(key, String(i)), problems));
    case 'record':
      if (!isObject(value)) return wrong();
      return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, visit(node.of, v, join(key, k), problems)]));
    case 'object':
      return isObject(value) ? visitFields(node.fields, value, key, problems) : wrong();
    case 'union': {
      if (!isObject(value)) return wrong();
      const kind = Object.hasOwn(value, 'kind') ? value.kind : node.fallback;
      const kinds = Object.keys(node.kinds);
      if (typeof kind !== 'string' || !kinds.includes(kind)) {
        return visit(choice(kinds), kind, join(key, 'kind'), problems);
      }
      const { kind: _, ...rest } = value;
      return { kind, ...visitFields(node.kinds[kind]!, rest, key, problems, ['kind']) };
    }
    case 'lazy':
      return visit(node.get(), value, key, problems);
    case 'either':
      return visitEither(schema, node.options, value, key, problems);
  }
}

/** The first option without a problem; else the problems of the only option of that JSON type, or one for all. */
function visitEither(
  schema: Schema,
  options: readonly Schema[],
  value: unknown,
  key: string,
  problems: Problem[],
): unknown {
  for (const option of options) {
    const own: Problem[] = [];
    const parsed = visit(option, value, key, own);
    if (own.length === 0) return parsed;
  }
  const alike = options.filter((option) => jsonTypes(option).includes(jsonType(value)));
  if (alike.length === 1) return visit(alike[0]!, value, key, problems);
  const words = options.flatMap(({ node }) => (node.type === 'choice' ? node.values : []));
  const meant = typeof value === 'string' ? nearest(value, words) : undefined;
  problems.push({
    key,
    expected: describe(schema),
    got: show(value),
    ...(meant === undefined ? {} : { nearest: meant }),
  });
  return undefined;
}

function visitFields(
  fields: Fields,
  value: Readonly<Record<string, unknown>>,
  key: string,
  problems: Problem[],
  others: readonly string[] = [],
): Record<string, unknown> {
  const known = [...others, ...Object.keys(fields)];
  for (const name of Object.keys(value)) {
    if (Object.hasOwn(fields, name)) continue;
    const meant = nearest(name, known);
    const problem = { key: join(key, name), expected: `one of the keys ${known.join(', ')}`, got: unknownKey };
    problems.push(meant === undefined ? problem : { ...problem, nearest: join(key, meant) });
  }
  const parsed: [string, unknown][] = [];
  for (const [name, field] of Object.entries(fields)) {
    const given = Object.hasOwn(value, name) ? value[name] : undefined;
    const path = join(key, name);
    const absent = given === undefined || (given === null && field.optional);
    if (!absent) parsed.push([name, visit(field, given, path, problems)]);
    else if (field.default !== undefined) parsed.push([name, visit(field, field.default, path, problems)]);
    else if (!field.optional) problems.push({ key: path, expected: describe(field), got: missing });
  }
  return Object.fromEntries(parsed);
}

/** What a schema accepts, in words. */
export function describe(schema: Schema): string {
  const { node } = schema;
  switch (node.type) {
    case 'number': {
      const bounds = [
        node.min === undefined ? '' : `≥ ${node.min}`,
        node.above === undefined ? '' : `> ${node.above}`,
        node.max === undefined ? '' : `≤ ${node.max}`,
        node.below === undefined ? '' : `< ${node.below}`,
      ].filter((bound) => bound !== '');
      return [node.integer ? 'an integer' : 'a number', bounds.join(' and ')].join(' ').trim();
    }
    case 'string':
      return 'a string';
    case 'boolean':
      return 'true or false';
    case 'null':
      return 'null';
    case 'bytes':
      return memorySizeText;
    case 'any':
      return 'any value';
    case 'choice':
      return node.values.map((value) => JSON.stringify(value)).join(' | ');
    case 'list':
      return `a list${node.minLength > 0 ? ` of at least ${node.minLength}` : ''}, each ${describe(node.of)}`;
    case 'record':
      return `an object of names, each ${describe(node.of)}`;
    case 'object':
      return `an object with the keys ${Object.keys(node.fields).join(', ')}`;
    case 'union':
      return `an object with the kind ${Object.keys(node.kinds)
        .map((kind) => JSON.stringify(kind))
        .join(' | ')}`;
    case 'either':
      return node.options.map(describe).join(', or ');
    case 'lazy':
      return schema.doc || 'a value of the same form';
  }
}

export interface SchemaKey {
  /** Dotted. */
  readonly path: string;
  /** One for each place that has this path: kinds of a union share keys. */
  readonly schemas: readonly Schema[];
  /** The kind of the innermost union that each of them is of. */
  readonly kinds: readonly (string | undefined)[];
}

/** Every key of the schema, nested ones too, in the order of the description. Lists, records and recursion are not entered. */
export function keysOf(schema: Schema): SchemaKey[] {
  const found = new Map<string, { readonly schemas: Schema[]; readonly kinds: (string | undefined)[] }>();
  walk(schema, '', [], undefined);
  return [...found].map(([path, there]) => ({ path, ...there }));

  function walk({ node }: Schema, path: string, entered: readonly SchemaNode[], kind: string | undefined): void {
    if (node.type === 'object') addFields(node.fields, path, entered, kind);
    else if (node.type === 'either') for (const option of node.options) walk(option, path, entered, kind);
    else if (node.type === 'lazy' && !entered.includes(node)) walk(node.get(), path, [...entered, node], kind);
    else if (node.type === 'union') {
      const which = choice(Object.keys(node.kinds), { default: node.fallback, doc: 'which kind' });
      addFields({ kind: which }, path, entered, kind);
      for (const [name, fields] of Object.entries(node.kinds)) addFields(fields, path, entered, name);
    }
  }

  function addFields(fields: Fields, path: string, entered: readonly SchemaNode[], kind: string | undefined): void {
    for (const [name, field] of Object.entries(fields)) {
      const at = join(path, name);
      const there = found.get(at) ?? { schemas: [], kinds: [] };
      found.set(at, there);
      there.schemas.push(field);
      there.kinds.push(kind);
      walk(field, at, entered, kind);
    }
  }
}

function inRange(value: unknown, node: Range & { integer: boolean }): boolean {
  if (typeof value !== 'number' || !Number.isFinite(value) || (node.integer && !Number.isSafeInteger(value)))
    return false;
  const { min = Number.NEGATIVE_INFINITY, max = Number.POSITIVE_INFINITY } = node;
  return (
    value >= min &&
    value <= max &&
    (node.above === undefined || value > node.above) &&
    (node.below === undefined || value < node.below)
  );
}

function jsonTypes({ node }: Schema): string[] {
  switch (node.type) {
    case 'choice':
      return ['string'];
    case 'bytes':
      return ['string', 'number'];
    case 'record':
    case 'union':
      return ['object'];
    case 'either':
      return node.options.flatMap(jsonTypes);
    case 'lazy':
      return jsonTypes(node.get());
    case 'any':
      return ['string', 'number', 'boolean', 'null', 'list', 'object'];
    default:
      return [node.type];
  }
}

const jsonType = (value: unknown): string => (value === null ? 'null' : Array.isArray(value) ? 'list' : typeof value);

const isObject = (value: unknown): value is Record<string, unknown> => jsonType(value) === 'object';

const join = (path: string, name: string): string => (path === '' ? name : `${path}.${name}`);

/** JSON.stringify of a hostile value has no stack left. */
function jsonOf(value: unknown): string {
  try {
    // JSON has no functions, and leaves out what it has not.
    return JSON.stringify(value) ?? `a ${typeof value}`;
  } catch {
    return 'a deeply nested value';
  }
}

function show(value: unknown): string {
  const text = value === undefined ? 'nothing' : typeof value === 'number' ? String(value) : jsonOf(value);
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}

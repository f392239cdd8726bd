/** A schema's keys as flags of the command line: `--optimizer.lr 0.1`. */

import { UsageError } from './errors.ts';
import { JsonError, parseJson } from './json.ts';
import { describe, either, fits, keysOf, type Schema } from './schema.ts';

export interface Flag {
  /** `optimizer.lr` */
  readonly path: string;
  /** What it takes, in words. */
  readonly expects: string;
  readonly doc: string;
  readonly default?: unknown;
  /** For `coerce`; where kinds of a union share the key, any of theirs. */
  readonly schema: Schema;
}

/** Every key, nested ones with dots. Objects and lists are flags too: they take JSON (lists also `a,b`, unions a bare kind). */
export function flagsOf(schema: Schema): Flag[] {
  return keysOf(schema).map(({ path, schemas, kinds }) => {
    const texts = [...new Set(schemas.map(describe))];
    const defaults = [...new Set(schemas.map((s) => JSON.stringify(s.default)))];
    return {
      path,
      expects: texts.join(', or '),
      doc: docOf(schemas, kinds),
      ...(defaults.length === 1 && schemas[0]!.default !== undefined ? { default: schemas[0]!.default } : {}),
      schema: schemas.length === 1 ? schemas[0]! : either(schemas),
    };
  });
}

/** Where kinds say different things of their keys of one name, each text begins with those that say it. */
function docOf(schemas: readonly Schema[], kinds: readonly (string | undefined)[]): string {
  const sayers = new Map<string, Set<string | undefined>>();
  schemas.forEach(({ doc }, i) => {
    if (doc !== '') sayers.set(doc, (sayers.get(doc) ?? new Set()).add(kinds[i]));
  });
  const isOne = sayers.size < 2;
  return [...sayers]
    .map(([doc, said]) => (isOne || said.has(undefined) ? doc : `${[...said].join(', ')}: ${doc}`))
    .join('; ');
}

/** The schema of a dotted path, also within lists (`devices.0.memory`) and records (`batchAxis.x`); undefined where there is none. */
export function schemaAt(schema: Schema, path: string): Schema | undefined {
  let reached = [schema];
  for (const name of path.split('.')) reached = reached.flatMap((s) => stepInto(s, name));
  return reached.length > 1 ? either(reached) : reached[0];
}

function stepInto({ node }: Schema, name: string): Schema[] {
  switch (node.type) {
    case 'object':
      return Object.hasOwn(node.fields, name) ? [node.fields[name]!] : [];
    case 'union': {
      const here = keysOf({ node, doc: '' }).find(({ path }) => path === name);
      return here ? [...here.schemas] : [];
    }
    case 'list':
      return /^\d+$/.test(name) ? [node.of] : [];
    case 'record':
      return [node.of];
    case 'either':
      return node.options.flatMap((option) => stepInto(option, name));
    case 'lazy':
      return stepInto(node.get(), name);
    default:
      return [];
  }
}

/** A flag's text as the JSON value it stands for. What cannot be one stays text, for `parse` to report with its key. */
export function coerce(schema: Schema, text: string, flag = 'the flag'): unknown {
  const { node } = schema;
  const trimmed = text.trim();
  switch (node.type) {
    case 'number':
      return trimmed !== '' && Number.isFinite(Number(trimmed)) ? Number(trimmed) : text;
    case 'boolean':
      return trimmed === 'true' ? true : trimmed === 'false' ? false : text;
    case 'null':
      return trimmed === 'null' ? null : text;
    case 'list':
      if (trimmed.startsWith('[')) return json(text, flag);
      return trimmed === '' ? [] : text.split(',').map((item) => coerce(node.of, item.trim(), flag));
    case 'object':
    case 'record':
      return trimmed.startsWith('{') ? json(text, flag) : text;
    case 'union':
      return trimmed.startsWith('{') ? json(text, flag) : { kind: trimmed };
    case 'either':
      return coerceEither(node.options, text, flag);
    case 'lazy':
      return coerce(node.get(), text, flag);
    case 'any':
      return jsonOr(text);
    default:
      return text;
  }
}

function coerceEither(options: readonly Schema[], text: string, flag: string): unknown {
  if (/^\s*[[{]/.test(text)) return json(text, flag);
  for (const option of options) {
    const value = coerce(option, text, flag);
    if (fits(option, value)) return value;
  }
  return jsonOr(text);
}

function jsonOr(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function json(text: string, flag: string): unknown {
  try {
    return parseJson(text);
  } catch (cause) {
    if (!(cause instanceof JsonError)) throw cause;
    throw new UsageError('flag-json', `${flag}: ${JSON.stringify(text)} ${cause.message}`, {
      fields: { flag, got: text, ...cause.twice },
      remedy: cause.remedy(undefined),
      cause,
    });
  }
}

/** Sets a dotted path, making objects on the way; what stood in its way and is no object or list is replaced: flags win. */
export function setPath(target: Record<string, unknown>, path: string, value: unknown): void {
  const names = path.split('.');
  const last = names.pop()!;
  if ([...names, last].some((name) => name === '' || name === '__proto__')) {
    throw new UsageError('flag-path', `"${path}" is not a key path`, {
      fields: { path },
      remedy: 'names with one dot between them: optimizer.lr',
    });
  }
  let place: Record<string, unknown> = target;
  for (const name of names) {
    checkIndex(place, name, path);
    const next = Object.hasOwn(place, name) ? place[name] : undefined;
    place = (typeof next === 'object' && next !== null ? next : (place[name] = {})) as Record<string, unknown>;
  }
  checkIndex(place, last, path);
  place[last] = value;
}

/** A list takes its own indices and the one after them. */
function checkIndex(place: object, name: string, path: string): void {
  if (!Array.isArray(place) || (/^\d+$/.test(name) && Number(name) <= place.length)) return;
  throw new UsageError('flag-path', `"${path}": "${name}" is not an index of a list of ${place.length}`, {
    fields: { path, index: name, length: place.length },
    remedy: `an index from 0 to ${place.length}`,
  });
}

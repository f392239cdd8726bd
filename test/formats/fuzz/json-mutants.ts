/** JSON with one thing wrong in it: what a hand, another program or another version makes of a good file. */

export interface Mutant {
  /** Dotted key of what was changed, and how. */
  readonly what: string;
  readonly text: string;
}

type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };
type Path = readonly (string | number)[];

/** Values of every type, at the borders of what a number may be. */
const strangers: readonly Json[] = [null, true, 'x', '', 'NaN', -1, 0, 0.5, 2 ** 31, 2 ** 53, 1e308, [], {}];
/** Of a list its ends and what follows the first, of an object with many keys some: the others are alike. */
const MOST_KEYS = 16;

/** Every change of one key, and texts that are cut off or go on. */
export function* jsonMutants(text: string): Generator<Mutant> {
  const root = JSON.parse(text) as Json;
  for (const path of pathsOf(root)) {
    for (const [how, value] of changesOf(valueAt(root, path))) {
      if (path.length === 0 && value === undefined) continue;
      yield { what: `${path.join('.')} ${how}`, text: JSON.stringify(changed(root, path, value)) };
    }
  }
  for (const share of [0, 0.3, 0.9]) {
    yield { what: `cut at ${share}`, text: text.trimEnd().slice(0, Math.floor(text.length * share)) };
  }
  for (const more of ['x', '{}', '\0']) yield { what: `followed by ${JSON.stringify(more)}`, text: text + more };
}

function pathsOf(value: Json, at: Path = []): Path[] {
  if (typeof value !== 'object' || value === null) return [at];
  const keys = Array.isArray(value)
    ? [...new Set([0, 1, value.length - 1])].filter((i) => i >= 0 && i < value.length)
    : someOf(Object.keys(value));
  return [at, ...keys.flatMap((key) => pathsOf((value as Record<string | number, Json>)[key]!, [...at, key]))];
}

const someOf = (keys: readonly string[]): readonly string[] =>
  keys.length <= MOST_KEYS ? keys : keys.filter((_, i) => i % Math.ceil(keys.length / 6) === 0);

const valueAt = (root: Json, path: Path): Json =>
  path.reduce<Json>((at, key) => (at as Record<string | number, Json>)[key]!, root);

/** `undefined` takes the key away. */
function changesOf(value: Json): (readonly [how: string, value: Json | undefined])[] {
  const others = strangers.filter((other) => JSON.stringify(other) !== JSON.stringify(value));
  const all: (readonly [string, Json | undefined])[] = [
    ['taken away', undefined],
    ...others.map((other) => [`= ${JSON.stringify(other)}`, other] as const),
  ];
  if (typeof value === 'number') all.push(['one more', value + 1]);
  if (typeof value === 'string') all.push(['misspelled', `${value}'`]);
  if (Array.isArray(value) && value.length > 0) {
    all.push(['with its first twice', [...value, value[0]!]], ['without its last', value.slice(0, -1)]);
  } else if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    all.push(['with a key more', { ...value, stranger: 1 }]);
  }
  return all;
}

function changed(root: Json, path: Path, value: Json | undefined): Json | undefined {
  if (path.length === 0) return value;
  const copy = structuredClone(root);
  const place = valueAt(copy, path.slice(0, -1)) as Record<string | number, Json>;
  const key = path.at(-1)!;
  if (value !== undefined) place[key] = value;
  else if (Array.isArray(place)) place.splice(key as number, 1);
  else delete place[key];
  return copy;
}

/** JSON as people write it: JSON.parse, and no key twice, of which it would keep the last without a word. */

/** What is wrong with a text that is no JSON, as the end of a sentence: `is not JSON: …`, `has the key "lr" twice …`. */
export class JsonError extends Error {
  /** Of a key that stands twice. */
  readonly twice: DuplicateKey | undefined;

  constructor(message: string, options: { readonly cause?: unknown; readonly twice?: DuplicateKey } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.twice = options.twice;
  }

  /** What to do about it; `syntax` is what to do about a text that is no JSON. */
  remedy(syntax: string | undefined): string | undefined {
    return this.twice ? 'leave one of the two out' : syntax;
  }
}

/** The version that a file says it is of, in words. */
export const versionText = (version: unknown): string =>
  version === undefined ? 'no version' : `version ${JSON.stringify(version)}`;

/** Throws JsonError. */
export function parseJson(text: string): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new JsonError(`is not JSON: ${(cause as Error).message}`, { cause });
  }
  const twice = duplicateKey(text);
  if (twice) throw new JsonError(`has the key ${JSON.stringify(twice.key)} twice${placeOf(twice)}`, { twice });
  return value;
}

const placeOf = ({ within, lines: [first, second] }: DuplicateKey): string =>
  `${within === '' ? '' : ` in ${within}`}, ${first === second ? `both in line ${first}` : `in lines ${first} and ${second}`}`;

export interface DuplicateKey {
  readonly key: string;
  /** The object that has it: `optimizer`, `devices.0`; empty: the outermost. */
  readonly within: string;
  /** Of both, counted from 1. */
  readonly lines: readonly [first: number, second: number];
}

/** An open bracket. */
interface Level {
  /** Where each key of an object stands; undefined for arrays. */
  readonly keys: Map<string, number> | undefined;
  /** The key, or the index, of the value that is being read. */
  at: string | number;
}

/**
 * The first key that occurs twice in one object of a JSON text, or undefined.
 *
 * The text must already have been parsed successfully: this walks its strings, brackets and commas only. No regular
 * expression: their stack is no match for a hostile text.
 */
export function duplicateKey(json: string): DuplicateKey | undefined {
  const open: Level[] = [];
  for (let at = 0; at < json.length; at++) {
    const char = json[at];
    if (char === '{') open.push({ keys: new Map(), at: '' });
    else if (char === '[') open.push({ keys: undefined, at: 0 });
    else if (char === '}' || char === ']') open.pop();
    else if (char === ',') {
      const level = open.at(-1)!;
      if (typeof level.at === 'number') level.at++;
    } else if (char === '"') {
      const start = at;
      for (at++; json[at] !== '"'; at++) if (json[at] === '\\') at++;
      const level = open.at(-1);
      if (!level?.keys || !isKey(json, at + 1)) continue;
      const key = JSON.parse(json.slice(start, at + 1)) as string;
      const before = level.keys.get(key);
      if (before !== undefined) {
        const within = open.slice(0, -1).map((outer) => outer.at);
        return { key, within: within.join('.'), lines: [lineOf(json, before), lineOf(json, start)] };
      }
      level.keys.set(key, start);
      level.at = key;
    }
  }
  return undefined;
}

/** Whether the string that ended before `at` is a key: a colon follows. */
function isKey(json: string, at: number): boolean {
  while (' \t\n\r'.includes(json[at] ?? 'end')) at++;
  return json[at] === ':';
}

function lineOf(text: string, at: number): number {
  let line = 1;
  for (let i = 0; i < at; i++) if (text[i] === '\n') line++;
  return line;
}

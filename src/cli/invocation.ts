import { accessSync, constants, existsSync, realpathSync, type Stats, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { nearest, PartitaError, UsageError } from '../core/errors.ts';

/** A parsed command line: what it asks of the experiment, and the command's own flags. */
export interface Invocation {
  readonly command: string;
  /** The first argument of commands that take one of some names. */
  readonly topic?: string;
  /** The experiment file. */
  readonly file: string | undefined;
  /** Keys of the experiment given as flags, in order: a dotted path and the text. */
  readonly keys: readonly (readonly [path: string, text: string])[];
  /** Capacities of the devices. */
  readonly memory: string | undefined;
  /** What computes on every device. */
  readonly backend?: string | undefined;
  readonly own: Readonly<Record<string, string | boolean | readonly string[] | undefined>>;
  readonly json: boolean;
  readonly quiet: boolean;
  /** Fires on SIGINT and SIGTERM. */
  readonly signal: AbortSignal;
  /** Lets the signals end the process at once, until what it returns is called: for long computations of this thread that would lose nothing. */
  readonly endAtOnce?: () => () => void;
}

/** A flag's text. */
export const textOf = (invocation: Invocation, name: string): string | undefined => {
  const value = invocation.own[name];
  return typeof value === 'string' ? value : undefined;
};

/** A flag that names a file or a folder. An empty one is a variable of the shell that is not set. */
export function pathOf(invocation: Invocation, name: string, what = 'a file'): string | undefined {
  const path = textOf(invocation, name);
  if (path !== '') return path;
  const flag = name.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`);
  throw new UsageError('command-line', `--${flag}: expected ${what}, got ""`, {
    fields: { flag, got: '' },
    remedy: `--${flag} ${what === 'a folder' ? 'FOLDER' : 'FILE'}, or leave it out`,
  });
}

/** Before hours of work rather than behind them: whether a result file can be written where a flag says. */
export function refuseUnwritable(flag: string, path: string | undefined): void {
  if (path === undefined) return;
  const folder = dirname(path);
  const refuse = (why: string, remedy: string) => {
    throw new PartitaError('write-failed', `--${flag}: cannot write ${path}: ${why}`, {
      fields: { flag, path },
      remedy,
    });
  };
  if (path === '') {
    throw new UsageError('command-line', `--${flag}: expected a file, got ""`, {
      fields: { flag },
      remedy: `--${flag} FILE, or leave it out`,
    });
  }
  if (!existsSync(folder)) refuse(`there is no folder ${folder}`, `mkdir -p ${folder}`);
  if (!statSync(folder).isDirectory()) refuse(`${folder} is a file`, `--${flag} FILE`);
  const existing = statOf(path, (why) => refuse(why, `--${flag} FILE`));
  if (existing?.isDirectory()) refuse('it is a folder', `--${flag} ${join(path, 'FILE')}`);
  // A regular file is written beside and renamed; anything else is written as it is.
  const written = !existing || existing.isFile() ? folder : path;
  try {
    accessSync(written, constants.W_OK);
  } catch {
    refuse(`${written} may not be written to`, `--${flag} FILE`);
  }
}

/** What a command reads, and where. */
export interface ReadFile {
  /** `the experiment`, `--params`. */
  readonly what: string;
  readonly path: string | undefined;
}

/** A result that is written over what it was made from is a slip of the hand: neither can be made again. */
export function refuseOverwriting(flag: string, path: string | undefined, inputs: readonly ReadFile[]): void {
  const real = realFile(path);
  const same = real === undefined ? undefined : inputs.find((input) => realFile(input.path) === real);
  if (!same) return;
  throw new UsageError('result-over-input', `--${flag} ${path} would be written over ${same.what}, which is read`, {
    fields: { flag, path, input: same.what },
    remedy: `another file for --${flag}`,
  });
}

/** The real path of a file; undefined where there is none, or it cannot be reached: whoever reads it says why. */
function realFile(path: string | undefined): string | undefined {
  if (!path) return undefined;
  try {
    return statSync(path).isFile() ? realpathSync(path) : undefined;
  } catch {
    return undefined;
  }
}

function statOf(path: string, refuse: (why: string) => void): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch (error) {
    refuse((error as Error).message);
    return undefined;
  }
}

/** The texts of a flag that may be given several times, in order. */
export const textsOf = (invocation: Invocation, name: string): readonly string[] => {
  const value = invocation.own[name];
  return Array.isArray(value) ? value : [];
};

/** A flag that takes a whole number of at least `min`; undefined where it is not given. */
export function wholeNumberOf(invocation: Invocation, name: string, flag: string, min: number): number | undefined {
  const text = textOf(invocation, name);
  if (text === undefined) return undefined;
  const n = Number(text);
  if (text.trim() !== '' && Number.isSafeInteger(n) && n >= min) return n;
  throw new UsageError('command-line', `--${flag}: expected an integer ≥ ${min}, got ${JSON.stringify(text)}`, {
    fields: { flag, got: text },
    remedy: `--${flag} ${Math.max(min, 1)}`,
  });
}

/** A flag that takes one of some names; undefined where it is not given. */
export function choiceOf<const V extends readonly string[]>(
  invocation: Invocation,
  name: string,
  values: V,
): V[number] | undefined {
  const text = textOf(invocation, name);
  if (text === undefined || values.includes(text)) return text;
  const near = nearest(text, values);
  throw new UsageError('command-line', `--${name}: expected ${values.join(', ')}, got ${JSON.stringify(text)}`, {
    fields: { flag: name, got: text, values },
    remedy: `--${name} ${near ?? values[0]}`,
  });
}

/** A flag that takes names of a list, with commas between them; undefined where it is not given. */
export function listOf<const V extends readonly string[]>(
  invocation: Invocation,
  name: string,
  flag: string,
  values: V,
): V[number][] | undefined {
  const text = textOf(invocation, name);
  if (text === undefined) return undefined;
  const names = [...new Set(text.split(',').map((part) => part.trim()))];
  const wrong = names.find((n) => !values.includes(n));
  if (wrong === undefined) return names;
  const near = nearest(wrong, values);
  throw new UsageError(
    'command-line',
    `--${flag}: expected some of ${values.join(', ')}, got ${JSON.stringify(wrong)}`,
    {
      fields: { flag, got: wrong, values },
      remedy: `--${flag} ${near ?? values[0]}`,
    },
  );
}

/** A flag that takes numbers from 0 with commas between them; undefined where it is not given. */
export function numbersOf(invocation: Invocation, name: string, flag: string, example: string): number[] | undefined {
  const text = textOf(invocation, name);
  if (text === undefined) return undefined;
  const values = text.split(',').map((part) => (part.trim() === '' ? Number.NaN : Number(part)));
  if (values.every((n) => n >= 0 && n < Infinity)) return values;
  throw new UsageError('command-line', `--${flag}: expected numbers from 0, got ${JSON.stringify(text)}`, {
    fields: { flag, got: text },
    remedy: `--${flag} ${example}`,
  });
}

/** A flag that takes a number above 0 and not above `max`; undefined where it is not given. */
export function numberOf(
  invocation: Invocation,
  name: string,
  flag: string,
  { example, max = Number.POSITIVE_INFINITY }: { readonly example: number; readonly max?: number },
): number | undefined {
  const text = textOf(invocation, name);
  if (text === undefined) return undefined;
  const value = Number(text);
  if (text.trim() !== '' && Number.isFinite(value) && value > 0 && value <= max) return value;
  const range = Number.isFinite(max) ? `> 0 and ≤ ${max}` : '> 0';
  throw new UsageError('command-line', `--${flag}: expected a number ${range}, got ${JSON.stringify(text)}`, {
    fields: { flag, got: text },
    remedy: `--${flag} ${example}`,
  });
}

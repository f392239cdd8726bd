/**
 * Errors that fix: every failure says what, where and what to do about it, as fields a program can read.
 *
 * `code` is stable and kebab-case (`shape-mismatch`); `fields` are JSON-friendly facts (op, shapes, device …);
 * `remedy` is a sentence or a command that works when pasted. The command line prints them, `--json` carries them whole.
 */
export class PartitaError extends Error {
  readonly code: string;
  readonly fields: Readonly<Record<string, unknown>>;
  readonly remedy: string | undefined;

  constructor(
    code: string,
    message: string,
    options: { fields?: Record<string, unknown>; remedy?: string; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.code = code;
    this.fields = options.fields ?? {};
    this.remedy = options.remedy;
  }

  toJSON(): Record<string, unknown> {
    return { code: this.code, message: this.message, ...this.fields, remedy: this.remedy ?? null };
  }
}

/** The experiment or the command line is wrong: exit code 2. */
export class UsageError extends PartitaError {}

/** A graph was built wrongly: names op, shapes and the caller's line. */
export class GraphError extends PartitaError {}

/** A file's bytes are not what its format says. */
export class FormatError extends PartitaError {}

/** A plan cannot be made or does not fit its devices. */
export class PlanError extends PartitaError {}

/** A device failed, hung or was aborted while running a program. Fields: device, instruction, microbatch. */
export class DeviceError extends PartitaError {}

/** Several problems found in one pass, reported at once. */
export function joinProblems(problems: readonly string[]): string {
  return problems.length === 1 ? problems[0]! : problems.map((p) => `\n  - ${p}`).join('');
}

/**
 * The candidate with the smallest edit distance to `word` (Levenshtein), or undefined where none is near: to what is no word,
 * as a program in JavaScript may give, none is.
 */
export function nearest(word: unknown, candidates: Iterable<string>): string | undefined {
  if (typeof word !== 'string') return undefined;
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.floor(word.length / 2)) + 1;
  for (const candidate of candidates) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      row[j] = Math.min(previous[j]! + 1, row[j - 1]! + 1, previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1));
    }
    previous = row;
  }
  return previous[b.length]!;
}

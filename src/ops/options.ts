import { GraphError } from '../core/errors.ts';
import { type OptionNames, type OptionProblem, optionProblem } from '../core/options.ts';
import { formatType } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import { callerLine } from '../graph/source-line.ts';

/** Throws GraphError: what is wrong with the options of a function of ops, called with `x` among its operands. */
export function refuseOptions(
  op: string,
  x: Tensor | undefined,
  reason: string,
  remedy: string,
  fields: Readonly<Record<string, unknown>> = {},
): never {
  throw new GraphError('op-options', `${op}(${x ? formatType(x.type) : ''}): ${reason}${callerLine()}`, {
    fields: { op, shape: x?.shape ?? null, ...fields },
    remedy,
  });
}

/** Throws GraphError for what is wrong with a record of options; `where` is within them. */
export function refuseProblem(op: string, x: Tensor | undefined, problem: OptionProblem, where = ''): never {
  const { text, remedy, unknown, missing } = problem;
  refuseOptions(op, x, where === '' ? text : `${where}: ${text}`, remedy, { where, unknown, missing });
}

/** Throws GraphError for options within options that a function has not, or that it lacks. */
export function requireOptions<O>(op: string, x: Tensor, options: O, names: OptionNames<O>, where: string): void {
  const problem = optionProblem(options, names);
  if (problem) refuseProblem(op, x, problem, where);
}

/** All words of a closed union; one that is missing, or one too many, does not compile. */
export const wordsOf = <W extends string>(words: Readonly<Record<W, true>>): readonly string[] => Object.keys(words);

/** Throws GraphError for an option that is none of the words it can be. */
export function requireWord(op: string, x: Tensor, name: string, value: string, words: readonly string[]): void {
  if (words.includes(value)) return;
  refuseOptions(op, x, `${name} must be ${words.join(' or ')}, got ${String(value)}`, `${name}: '${words[0]}'`);
}

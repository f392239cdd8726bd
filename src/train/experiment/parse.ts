import { joinProblems, UsageError } from '../../core/errors.ts';
import { type Problem, parse, sentence } from '../../core/schema.ts';
import { findLater } from './later.ts';
import { type Experiment, experimentSchema } from './schema.ts';

/**
 * `"net.onnx"` stands for `{"kind": "onnx", "file": "net.onnx"}`; on the command line, where a bare word is a kind, so does
 * `--model net.onnx`. Every other value is left as it is.
 */
export function expandModel(value: unknown): unknown {
  const name = typeof value === 'object' && value !== null ? (value as { kind?: unknown }).kind : value;
  return typeof name === 'string' && name.endsWith('.onnx') ? { kind: 'onnx', file: name } : value;
}

/** An experiment from JSON, completed by defaults. Throws one UsageError with all problems. `where` names the file. */
export function parseExperiment(given: unknown, where: string): Experiment {
  const raw =
    typeof given === 'object' && given !== null && 'model' in given
      ? { ...given, model: expandModel(given.model) }
      : given;
  const refused = findLater(raw);
  let problems: readonly Problem[] = [];
  try {
    const experiment = parse(experimentSchema, raw, where);
    if (refused.length === 0) return experiment;
  } catch (error) {
    if (!(error instanceof UsageError) || refused.length === 0) throw error;
    problems = (error.fields.problems as Problem[]).filter(
      ({ key }) => !refused.some(({ covers }) => key === covers || key.startsWith(`${covers}.`)),
    );
  }
  throw new UsageError(
    'experiment-invalid',
    `${where}: ${joinProblems([...refused.map((r) => r.sentence), ...problems.map(sentence)])}`,
    {
      fields: {
        file: where,
        problems: [...refused.map(({ key, expected, got }) => ({ key, expected, got })), ...problems],
      },
      remedy: 'use what this version has, or leave the keys out',
    },
  );
}

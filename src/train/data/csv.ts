/** A table of numbers: some columns are targets, all others the features x f32 [features]. A single target may be words. */
import { FormatError, nearest, UsageError } from '../../core/errors.ts';
import { type CsvOptions, type CsvTable, parseCsv } from '../../formats/csv.ts';
import { type Column, type Dataset, datasetOf } from './dataset.ts';

export interface CsvDatasetOptions extends CsvOptions {
  /** Columns by name or number from 0 (negative from the end). Default: the last. */
  readonly targets?: readonly (string | number)[];
  /**
   * `classes`: one target column of integers from 0, or of words, y i32 []. `values`: y f32 [targets].
   * `auto` (default): classes where there is one target column and it holds integers ≥ 0 only, or words.
   */
  readonly task?: 'auto' | 'classes' | 'values';
  /** The words of other data, whose classes these are to have. Default: the words found, sorted. */
  readonly classNames?: readonly string[];
}

export function csvDatasetFrom(text: string, where: string, options: CsvDatasetOptions = {}): Dataset {
  const asked = options.targets ?? [-1];
  const mayBeWords = options.task !== 'values' && asked.length === 1;
  const table = parseCsv(text, where, {
    ...options,
    mayHoldWords: (columns, names) => (mayBeWords ? [columnOf({ columns, names }, asked[0]!, where)] : []),
  });
  if (table.rows === 0)
    throw new FormatError('csv-empty', `${where}: a header and no rows`, {
      fields: { file: where },
      remedy: 'a line for each sample below the header',
    });
  const targets = asked.map((target) => columnOf(table, target, where));
  const again = targets.find((column, i) => targets.indexOf(column) < i);
  if (again !== undefined) {
    throw new UsageError('csv-columns', `${where}: the targets name column ${again} (from 0) twice`, {
      fields: { file: where, targets },
      remedy: 'name each column once',
    });
  }
  refuseTooLarge(table, where);
  const features = Array.from({ length: table.columns }, (_, c) => c).filter((c) => !targets.includes(c));
  if (targets.length === 0 || features.length === 0) {
    throw new UsageError(
      'csv-columns',
      `${where}: ${table.columns} columns leave ${features.length} features and ${targets.length} targets`,
      {
        fields: { file: where, columns: table.columns, targets },
        remedy: 'leave one column for the targets, and one for the features',
      },
    );
  }
  const x: Column = { dtype: 'f32', sampleShape: [features.length], values: pick(table, features) };
  const y = pick(table, targets);
  const words = table.words.get(targets[0]!);
  if (words) return withWords(where, x, y, words, options.classNames ?? words);
  const notAClass = y.findIndex((v) => !Number.isInteger(v) || v < 0 || v >= 2 ** 31);
  const task = options.task ?? 'auto';
  if (task === 'values' || (task === 'auto' && (targets.length > 1 || notAClass >= 0))) {
    return datasetOf(where, table.rows, { x, y: { dtype: 'f32', sampleShape: [targets.length], values: y } });
  }
  if (targets.length > 1) {
    throw new UsageError('csv-columns', `${where}: classes need one target column, not ${targets.length}`, {
      fields: { file: where, targets },
      remedy: `"task": "values"`,
    });
  }
  if (notAClass >= 0) {
    throw new FormatError(
      'csv-class',
      `${where}, row ${notAClass + 1}: ${y[notAClass]} is not a class (an integer from 0)`,
      {
        fields: { file: where, row: notAClass + 1, value: y[notAClass] },
        remedy: `"task": "values"`,
      },
    );
  }
  const classes = y.reduce((most, v) => Math.max(most, v), 0) + 1;
  return datasetOf(where, table.rows, { x, y: { dtype: 'i32', sampleShape: [], values: y } }, { classes });
}

/** Classes that have names. */
function withWords(
  where: string,
  x: Column,
  y: Float64Array,
  words: readonly string[],
  classNames: readonly string[],
): Dataset {
  const classOf = new Map(classNames.map((word, i) => [word, i]));
  const unknown = words.find((word) => !classOf.has(word));
  if (unknown !== undefined) {
    throw new UsageError('csv-class', `${where}: ${JSON.stringify(unknown)} is no class of the data to train on`, {
      fields: { file: where, value: unknown, nearest: nearest(unknown, classNames) ?? null, classes: classNames },
      remedy: `use one of: ${classNames.slice(0, 20).join(', ')}`,
    });
  }
  const values = y.map((word) => classOf.get(words[word]!)!);
  const labels: Column = { dtype: 'i32', sampleShape: [], values };
  return datasetOf(where, values.length, { x, y: labels }, { classes: classNames.length, classNames });
}

function columnOf(
  { names, columns }: Pick<CsvTable, 'names' | 'columns'>,
  target: string | number,
  where: string,
): number {
  const index = typeof target === 'string' ? (names ?? []).indexOf(target) : target < 0 ? columns + target : target;
  if (typeof target === 'string' && names && names.lastIndexOf(target) !== index) {
    throw new UsageError('csv-columns', `${where} has several columns ${JSON.stringify(target)}`, {
      fields: { file: where, column: target },
      remedy: `its number: "targets": [${names.lastIndexOf(target)}]`,
    });
  }
  if (Number.isInteger(index) && index >= 0 && index < columns) return index;
  const guess = typeof target === 'string' ? nearest(target, names ?? []) : undefined;
  const known = names ? `its columns are ${listed(names)}` : `it has ${columns} columns and no header`;
  throw new UsageError('csv-columns', `${where} has no column ${JSON.stringify(target)}; ${known}`, {
    fields: { file: where, column: target, nearest: guess ?? null },
    remedy: guess === undefined ? undefined : `"targets": ["${guess}"]`,
  });
}

const mostNamed = 20;

const listed = (names: readonly string[]): string =>
  names.length > mostNamed ? `${names.slice(0, mostNamed).join(', ')}, … (${names.length})` : names.join(', ');

/** Both x and y are of 32 bits. */
function refuseTooLarge({ values, columns, names }: CsvTable, where: string): void {
  const at = values.findIndex((value) => !Number.isFinite(Math.fround(value)));
  if (at < 0) return;
  const [row, column] = [Math.floor(at / columns), at % columns];
  const name = names?.[column] === undefined ? '' : ` (${names[column]})`;
  throw new FormatError(
    'csv-range',
    `${where}, row ${row + 1}, column ${column + 1}${name}: ${values[at]} is more than f32 can hold`,
    { fields: { file: where, row: row + 1, column: column + 1, value: values[at] }, remedy: 'scale the column' },
  );
}

function pick({ rows, columns, values }: CsvTable, chosen: readonly number[]): Float64Array {
  const out = new Float64Array(rows * chosen.length);
  for (let row = 0; row < rows; row++) {
    chosen.forEach((column, k) => {
      out[row * chosen.length + k] = values[row * columns + column]!;
    });
  }
  return out;
}

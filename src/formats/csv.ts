/**
 * Tables of numbers as comma-separated values (RFC 4180: quotes, doubled quotes, line ends within quotes), with columns of words
 * where they are asked for.
 */
import { FormatError, UsageError } from '../core/errors.ts';

export interface CsvTable {
  /** From the header line; undefined where there is none. */
  readonly names: readonly string[] | undefined;
  readonly rows: number;
  readonly columns: number;
  /** Row-major; of a word its index in `words`. */
  readonly values: Float64Array;
  /** Of the columns that hold words: the different ones, in the order of their code units. */
  readonly words: ReadonlyMap<number, readonly string[]>;
}

export interface CsvOptions {
  /** `auto` (default): the first line is a header where none of its fields is a number; one of both kinds is refused. */
  readonly header?: 'auto' | 'yes' | 'no';
  readonly delimiter?: string;
}

export interface CsvReading extends CsvOptions {
  /** Columns, from 0, that may hold words: one in every line. Elsewhere a word is an error. */
  readonly mayHoldWords?: (columns: number, names: readonly string[] | undefined) => readonly number[];
}

const number = /^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$/;

export function parseCsv(text: string, where: string, options: CsvReading = {}): CsvTable {
  const { delimiter = ',' } = options;
  requireDelimiter(delimiter, where);
  const whole = options.header === 'yes' ? undefined : wholeNumbers(text, delimiter);
  if (whole) return whole;
  const records = splitRecords(text, delimiter, where);
  const first = records[0];
  if (first === undefined)
    throw new FormatError('csv-empty', `${where}: no lines`, {
      fields: { file: where },
      remedy: 'give a file with a line for each row',
    });
  const named = isHeader(first.fields, records[1]?.fields, options.header ?? 'auto', where);
  const names = named ? first.fields.map((name) => name.trim()) : undefined;
  const body = named ? records.slice(1) : records;
  const columns = first.fields.length;
  const values = new Float64Array(body.length * columns);
  const words = new Map(
    (options.mayHoldWords?.(columns, names) ?? [])
      .filter((column) => isWord(body[0]?.fields[column]))
      .map((column) => [column, distinct(body.map(({ fields }) => fields[column]).filter(isWord))]),
  );
  const indices = new Map([...words].map(([column, known]) => [column, new Map(known.map((word, i) => [word, i]))]));
  body.forEach(({ fields, line }, row) => {
    if (fields.length !== columns) {
      throw new FormatError(
        'csv-ragged',
        `${where}, line ${line}: ${fields.length} fields where the first line has ${columns}`,
        {
          fields: { file: where, line, expected: columns, got: fields.length },
          remedy: `give line ${line} ${columns} fields; one that holds the delimiter stands in quotes`,
        },
      );
    }
    fields.forEach((field, column) => {
      const index = indices.get(column);
      const value = index ? index.get(field.trim()) : number.test(field) ? Number(field) : undefined;
      if (value === undefined || !Number.isFinite(value))
        throw notOfItsKind({ field, line, column, columns, names }, index, where);
      values[row * columns + column] = value;
    });
  });
  return { names, rows: body.length, columns, values, words };
}

/** An empty one would end no field, and one that numbers, quotes or lines are written with would be taken for theirs. */
function requireDelimiter(delimiter: string, where: string): void {
  if (delimiter !== '' && !/["\r\n\d.+-]/.test(delimiter)) return;
  throw new UsageError('csv-delimiter', `${where}: ${JSON.stringify(delimiter)} does not separate columns of numbers`, {
    fields: { file: where, delimiter },
    remedy: "--data.delimiter ';'",
  });
}

/**
 * A first line of both kinds may be a header with numbers for names, or a sample with a value missing, which would be lost. A
 * header's texts are names, above a line of numbers (`country,2019,2020`); or it counts, behind the name of an index that has
 * none (`,0,1,2`, as pandas writes).
 */
function isHeader(
  fields: readonly string[],
  next: readonly string[] | undefined,
  header: NonNullable<CsvOptions['header']>,
  where: string,
): boolean {
  if (header !== 'auto') return header === 'yes';
  const texts = fields.filter((field) => !number.test(field));
  if (texts.length === 0 || texts.length === fields.length) return texts.length > 0;
  const counts = fields[0] === '' && fields.slice(1).every((field, i) => field.trim() === `${i}`);
  const isAboveNumbers = next?.every((field) => number.test(field)) === true;
  if (isAboveNumbers && (counts || texts.every((text) => /^\s*\p{L}/u.test(text) && !missing.test(text)))) return true;
  throw new FormatError(
    'csv-header',
    `${where}, line 1: ${JSON.stringify(texts[0])} is not a number and other fields are: a header, or a sample?`,
    { fields: { file: where, line: 1, got: texts[0] }, remedy: '--data.header yes, or no' },
  );
}

/** What stands for a value that is missing, or is no finite one. */
const missing = /^\s*(na|n\/a|nan|null|none|nil|inf|infinity|\?)?\s*$/i;

const isWord = (field: string | undefined): field is string =>
  field !== undefined && !number.test(field) && !missing.test(field);

const distinct = (words: readonly string[]): string[] =>
  [...new Set(words.map((word) => word.trim()))].sort((a, b) => (a < b ? -1 : 1));

interface Field {
  readonly field: string;
  readonly line: number;
  readonly column: number;
  readonly columns: number;
  readonly names: readonly string[] | undefined;
}

/** Of a field that is no number, or, in a column of words, no word. */
function notOfItsKind({ field, line, column, columns, names }: Field, words: unknown, where: string): FormatError {
  const name = names?.[column] === undefined ? '' : ` (${names[column]})`;
  const [code, kind] = words
    ? ['csv-not-a-word', 'no word, as the lines above have']
    : ['csv-not-a-number', 'not a finite number'];
  return new FormatError(
    code,
    `${where}, line ${line}, column ${column + 1}${name}: ${JSON.stringify(field)} is ${kind}`,
    {
      fields: { file: where, line, column: column + 1, got: field },
      remedy: words ? 'write a word in every line of this column' : remedyFor(field, columns),
    },
  );
}

/** Of a field that is no number. */
function remedyFor(field: string, columns: number): string {
  const other = [';', '\t', '|'].find((delimiter) => columns === 1 && field.includes(delimiter));
  if (other !== undefined) return `--data.delimiter ${other === '\t' ? "$'\\t'" : `'${other}'`}`;
  if (missing.test(field)) return 'fill missing values, or leave out their lines';
  return 'write numbers: of categories, 0, 1, 2 …';
}

/**
 * A table of nothing but digits between delimiters and line ends, as images have: read in one pass, without a string a field.
 * undefined for any other, and for what is wrong.
 */
function wholeNumbers(text: string, delimiter: string): CsvTable | undefined {
  if (delimiter.length !== 1) return undefined;
  const comma = delimiter.charCodeAt(0);
  const lineEnd = text.indexOf('\n');
  if (lineEnd < 0) return undefined;
  const columns = text.slice(0, lineEnd).split(delimiter).length;
  const values = new Float64Array(Math.ceil(text.length / 2));
  let [count, value, digits] = [0, 0, 0];
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code >= 48 && code <= 57 && digits < 15) {
      value = value * 10 + code - 48;
      digits++;
      continue;
    }
    const isLast = count % columns === columns - 1;
    if (digits === 0 || code !== (isLast ? 10 : comma)) return undefined;
    values[count++] = value;
    [value, digits] = [0, 0];
  }
  if (digits > 0) values[count++] = value; // without a last line end
  if (count === 0 || count % columns !== 0) return undefined;
  return { names: undefined, rows: count / columns, columns, values: values.slice(0, count), words: new Map() };
}

export interface CsvRecord {
  readonly fields: string[];
  /** Where the record begins, from 1. */
  readonly line: number;
}

/** Lines → fields; empty lines are left out. */
export function splitRecords(text: string, delimiter: string, where: string): CsvRecord[] {
  const records: CsvRecord[] = [];
  let at = text.charCodeAt(0) === 0xfeff ? 1 : 0; // byte-order mark
  let line = 1;
  while (at < text.length) {
    const record: CsvRecord = { fields: [], line };
    for (let more = true; more; ) {
      let field: string;
      if (text[at] === '"') {
        const quoted = readQuoted(text, at, where, line, record.fields.length + 1);
        field = quoted.field;
        line += quoted.field.split('\n').length - 1;
        at = quoted.end;
      } else {
        const start = at;
        while (at < text.length && !text.startsWith(delimiter, at) && text[at] !== '\n' && text[at] !== '\r') at++;
        field = text.slice(start, at);
      }
      record.fields.push(field);
      more = text.startsWith(delimiter, at);
      if (more) at += delimiter.length;
    }
    if (at < text.length && text[at] !== '\n' && text[at] !== '\r') {
      throw new FormatError(
        'csv-quote',
        `${where}, line ${line}, column ${record.fields.length}: text after the closing quote`,
        {
          fields: { file: where, line, column: record.fields.length },
          remedy: 'write a quote within a quoted field twice: ""',
        },
      );
    }
    at += text[at] === '\r' && text[at + 1] === '\n' ? 2 : 1;
    line++;
    if (record.fields.length > 1 || record.fields[0]!.trim() !== '') records.push(record);
  }
  return records;
}

function readQuoted(
  text: string,
  start: number,
  where: string,
  line: number,
  column: number,
): { field: string; end: number } {
  let field = '';
  for (let at = start + 1; ; ) {
    const quote = text.indexOf('"', at);
    if (quote < 0) {
      throw new FormatError('csv-quote', `${where}, line ${line}, column ${column}: a quote is not closed`, {
        fields: { file: where, line, column },
        remedy: `close the quote that begins in line ${line}, or leave it out`,
      });
    }
    field += text.slice(at, quote);
    if (text[quote + 1] !== '"') return { field, end: quote + 1 };
    field += '"';
    at = quote + 2;
  }
}

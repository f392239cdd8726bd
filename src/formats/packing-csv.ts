/** Instances of static layout as comma-separated values, as MiniMalloc's: buffers with `lower`, `upper` and `size`. */
import { FormatError } from '../core/errors.ts';
import { type CsvRecord, splitRecords } from './csv.ts';

export interface PackingBuffer {
  readonly id: string;
  /** Alive on [lower, upper). */
  readonly lower: number;
  readonly upper: number;
  readonly size: number;
}

export interface PackingTable {
  /** Of the header, in its order. */
  readonly columns: readonly string[];
  /** The fields of each line as they were. */
  readonly records: readonly (readonly string[])[];
  readonly buffers: readonly PackingBuffer[];
}

const needed = ['id', 'lower', 'upper', 'size'] as const;

/** Columns by name in any order; others are kept. */
export function parsePackingCsv(text: string, where: string): PackingTable {
  const [head, ...body] = splitRecords(text, ',', where);
  if (head === undefined) {
    throw new FormatError('csv-empty', `${where}: no lines`, {
      fields: { file: where },
      remedy: `begin it with the line ${needed.join(',')}`,
    });
  }
  const columns = head.fields.map((name) => name.trim());
  const repeated = columns.find((name, i) => columns.indexOf(name) !== i);
  const missing = needed.filter((name) => !columns.includes(name));
  if (missing.length > 0 || repeated !== undefined) {
    const problem = missing.length > 0 ? `no column ${missing.join(', ')}` : `two columns ${repeated}`;
    throw new FormatError(
      'packing-columns',
      `${where}, line ${head.line}: ${problem}; the header is ${columns.join(',')}`,
      {
        fields: { file: where, line: head.line, missing, repeated: repeated ?? null, columns },
        remedy: `a header with ${needed.join(',')}`,
      },
    );
  }
  if (body.length === 0) {
    throw new FormatError('csv-empty', `${where}: no buffers below the header`, {
      fields: { file: where },
      remedy: 'a line for each buffer: b1,0,10,100',
    });
  }
  const lineOf = new Map<string, number>();
  const buffers = body.map((record): PackingBuffer => {
    const { fields, line } = record;
    const wrong = (code: string, message: string, more: Record<string, unknown>, remedy?: string): FormatError =>
      new FormatError(code, `${where}, line ${line}: ${message}`, { fields: { file: where, line, ...more }, remedy });
    if (fields.length !== columns.length) {
      throw wrong(
        'csv-ragged',
        `${fields.length} fields where the header has ${columns.length}`,
        { expected: columns.length, got: fields.length },
        `give line ${line} ${columns.length} fields`,
      );
    }
    const field = (name: string): string => fields[columns.indexOf(name)]!.trim();
    const whole = (name: string): number => {
      const value = /^\d+$/.test(field(name)) ? Number(field(name)) : Number.NaN;
      if (Number.isSafeInteger(value)) return value;
      throw wrong(
        'packing-number',
        `${name} must be a whole number from 0, got ${JSON.stringify(field(name))}`,
        { column: name, got: field(name) },
        `write ${name} in digits, below 2^53`,
      );
    };
    const id = field('id');
    const first = lineOf.get(id);
    if (first !== undefined) {
      throw wrong(
        'packing-repeated',
        `id ${JSON.stringify(id)} stands in line ${first} too`,
        { id, firstLine: first },
        'give each buffer an id of its own',
      );
    }
    lineOf.set(id, line);
    const [lower, upper, size] = [whole('lower'), whole('upper'), whole('size')];
    if (lower >= upper) {
      throw wrong(
        'packing-lifetime',
        `buffer ${id} is alive on [${lower}, ${upper}), which is empty: lower must be below upper`,
        { id, lower, upper },
        upper < lower ? `lower ${upper}, upper ${lower}` : undefined,
      );
    }
    return { id, lower, upper, size };
  });
  const total = buffers.reduce((sum, { size }) => sum + size, 0);
  if (!Number.isSafeInteger(total)) {
    throw new FormatError('packing-number', `${where}: the sizes sum to more than can be counted exactly`, {
      fields: { file: where, total },
      remedy: 'count sizes in larger units',
    });
  }
  return { columns, records: body.map(({ fields }: CsvRecord) => fields), buffers };
}

/** The table with its offsets: its own columns and `offset`, which takes the place of one of that name. */
export function writePackingCsv({ columns, records }: PackingTable, offsets: readonly number[]): string {
  const kept = columns.flatMap((name, c) => (name === 'offset' ? [] : [c]));
  const lines = [
    [...kept.map((c) => columns[c]!), 'offset'],
    ...records.map((fields, i) => [...kept.map((c) => fields[c]!), String(offsets[i]!)]),
  ];
  return lines.map((fields) => `${fields.map(quoted).join(',')}\n`).join('');
}

const quoted = (field: string): string => (/[",\r\n]/.test(field) ? `"${field.replaceAll('"', '""')}"` : field);

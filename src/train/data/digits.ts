/** 1,797 handwritten digits of 8×8 pixels, vendored in data/digits: x f32 [1, 8, 8] in 0..1, y i32 []. */
import { FormatError } from '../../core/errors.ts';
import { parseCsv } from '../../formats/csv.ts';
import { type Dataset, datasetOf } from './dataset.ts';

const pixels = 64;

/** From the text of digits.csv: 64 pixels 0..16 and the label a line. */
export function digitsFrom(csv: string, where: string): Dataset {
  const { rows, columns, values } = parseCsv(csv, where, { header: 'no' });
  if (columns !== pixels + 1) {
    throw new FormatError('digits-columns', `${where}: ${columns} columns; 64 pixels and a label make ${pixels + 1}`, {
      fields: { file: where, columns },
      remedy: 'install the package anew: the file comes with it',
    });
  }
  const x = new Uint8Array(rows * pixels);
  const y = new Int32Array(rows);
  for (let row = 0; row < rows; row++) {
    const start = row * columns;
    x.set(values.subarray(start, start + pixels), row * pixels);
    y[row] = values[start + pixels]!;
  }
  return datasetOf(
    'digits',
    rows,
    {
      x: { dtype: 'f32', sampleShape: [1, 8, 8], values: x, divisor: 16 },
      y: { dtype: 'i32', sampleShape: [], values: y },
    },
    { classes: 10 },
  );
}

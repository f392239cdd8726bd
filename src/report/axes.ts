/** Axes, channels and panels that the pictures of a batch study share. */
import { type Chart, ordered, shapes } from './chart.ts';

export type Spec = Record<string, unknown>;

export const panel = { width: 380, height: 230 };
export const wide = { width: 430, height: 280 };
export const narrow = { width: 265, height: 200 };

/** Axes whose ticks are the values that occur: counts of microbatches, batch sizes. */
export const countAxis = (field: string, title: string, values: readonly number[]): Spec => ({
  field,
  type: 'quantitative',
  title,
  scale: { type: 'log', base: 2, domain: [Math.min(...values), Math.max(...values)], nice: false, padding: 12 },
  axis: { values: [...values], format: 'd', grid: false },
});

/**
 * A logarithmic axis over these values, a little beyond both ends, with ticks at round numbers only: Vega's own draw a line
 * for each of 1 … 9.
 */
export function logAxis(field: string, title: string, values: readonly (number | null)[], format = '~g'): Spec {
  const positive = values.filter((v): v is number => v !== null && v > 0);
  const [low, high] = [Math.min(...positive), Math.max(...positive)];
  const margin = Math.max(1.06, (high / low) ** 0.05);
  const domain = [low / margin, high * margin];
  return {
    field,
    type: 'quantitative',
    title,
    scale: { type: 'log', domain, nice: false },
    axis: { format, values: roundNumbers(domain[0]!, domain[1]!) },
  };
}

/** The same over the values of a column of rows. */
export const logColumn = <F extends string>(
  rows: readonly { readonly [field in F]: number | null }[],
  field: F,
  title: string,
  format?: string,
): Spec =>
  logAxis(
    field,
    title,
    rows.map((row) => row[field]),
    format,
  );

/** Within a range: powers of ten where it spans many, else 1, 2 and 5 times them, else nearer ones. */
function roundNumbers(low: number, high: number): number[] {
  const decades = Math.log10(high / low);
  const digits =
    decades > 3.5 ? [1] : decades > 0.8 ? [1, 2, 5] : decades > 0.35 ? [1, 1.5, 2, 3, 4, 5, 6, 8] : undefined;
  if (digits === undefined) return evenNumbers(low, high);
  const found: number[] = [];
  for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e++) {
    for (const m of digits) {
      const value = Number(`${m}e${e}`);
      if (value >= low && value <= high) found.push(value);
    }
  }
  return found;
}

/** About five multiples of 1, 2 or 5 times a power of ten. */
function evenNumbers(low: number, high: number): number[] {
  const rough = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((m) => m >= rough) ?? power;
  const first = Math.ceil(low / step);
  return Array.from({ length: Math.floor(high / step) - first + 1 }, (_, i) =>
    Number(((first + i) * step).toPrecision(6)),
  );
}

/** Colour and shape of a batch size; light is small. */
export function batchChannels(batches: readonly number[]): { color: Spec; shape: Spec } {
  const domain = batches.map(String);
  return {
    color: {
      field: 'batch',
      type: 'nominal',
      title: 'batch size',
      scale: { domain, range: ordered(domain.length) },
      sort: null,
    },
    shape: {
      field: 'batch',
      type: 'nominal',
      title: 'batch size',
      scale: { domain, range: cycle(shapes, domain.length) },
      sort: null,
    },
  };
}

export const cycle = <T>(values: readonly T[], count: number): T[] =>
  Array.from({ length: count }, (_, i) => values[i % values.length]!);

/** Line and points with the same channels: colour, and shape or dash beside it. */
export const lineAndPoints = (color: Spec, second: Spec, detail?: Spec): Spec[] => [
  { mark: { type: 'line', strokeWidth: 2 }, encoding: { color, ...(detail ? { detail } : {}) } },
  { mark: { type: 'point', filled: true, size: 55 }, encoding: { color, shape: second } },
];

export const named = (name: string): string => (name === '' ? 'experiment' : name);

/** A column a name where there are several. */
export function faceted(values: readonly object[], field: string, names: readonly string[], one: Spec): Chart['spec'] {
  const spec =
    names.length <= 1
      ? { data: { values }, ...one }
      : { data: { values }, facet: { field, type: 'nominal', title: null, sort: [...names] }, columns: 2, spec: one };
  return spec;
}

/** A row a name where there are several: for charts that are rows themselves. */
export function stacked(values: readonly object[], field: string, names: readonly string[], one: Spec): Chart['spec'] {
  const rows = names.map((name) => ({
    ...(names.length > 1 ? { title: { text: name, fontSize: 16 } } : {}),
    data: { values: values.filter((v) => (v as Record<string, unknown>)[field] === name) },
    ...one,
  }));
  return { vconcat: rows };
}

/** Gradients by microbatches against those of the whole batch, as a table and as a sentence. */
import { requireKinds } from '../core/options.ts';
import type { GradientComparison, MicrobatchComparison } from '../train/compare-gradients.ts';
import { table } from './table.ts';

/** A line a parameter: difference, bound, and how much of the bound is used. */
export function comparisonTable(comparison: MicrobatchComparison): string {
  requireKinds('comparisonTable', { comparison: ['object', comparison], rows: ['list', comparison?.rows] });
  const { rows } = comparison;
  const lines = table(
    ['gradient', 'terms', 'bits', 'ulps', 'largest difference', 'relative', 'bound', 'bound used', ''],
    rows.map((row) => [
      row.parameter,
      row.terms === 0 ? null : row.terms,
      row.equalBits ? 'equal' : 'differ',
      row.maxUlps,
      row.maxDifference.toExponential(1),
      row.relative.toExponential(1),
      row.bound === null ? null : row.bound.toExponential(1),
      row.boundUsed === null ? null : `${Number((100 * row.boundUsed).toPrecision(2))} %`,
      verdict(row),
    ]),
  );
  const unknown = [
    ...new Set(rows.flatMap(({ parameter, why }) => (why ? [`no bound for ${parameter}: ${why}`] : []))),
  ];
  return [lines, ...unknown].join('\n');
}

const verdict = ({ within }: GradientComparison): string =>
  within === null ? 'no bound' : within ? 'inside' : 'OUTSIDE';

export function comparisonSummary(comparison: MicrobatchComparison): string {
  requireKinds('comparisonSummary', { comparison: ['object', comparison], rows: ['list', comparison?.rows] });
  const { microbatches, rows } = comparison;
  const bounded = rows.filter((r) => r.within !== null);
  const outside = bounded.filter((r) => !r.within).map((r) => r.parameter);
  const rest = rows.length - bounded.length;
  return [
    `${microbatches} microbatches against the full batch: ${rows.filter((r) => r.equalBits).length} of ${rows.length} gradients have the same bits`,
    outside.length === 0
      ? `${bounded.length} lie within what another order of additions can explain`
      : `${outside.length} of ${bounded.length} lie outside of what another order of additions can explain: ${outside.join(', ')}`,
    ...(rest > 0 ? [`${rest} have no bound`] : []),
  ].join(', ');
}

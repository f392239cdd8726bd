// What the examples share: matrices as arrays of rows for the formulas by hand, and the table that compares.
import { realpathSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { evaluate, table } from 'partita';

/** Whether a module is what `node` was given: others import its formulas. */
export const isMain = (url) => process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(url);

export const say = (text = '') => console.log(text);

// --- formulas by hand: plain arrays, no graph ---

export const transpose = (a) => a[0].map((_, j) => a.map((row) => row[j]));
export const times = (a, b) => a.map((row) => b[0].map((_, j) => row.reduce((sum, v, k) => sum + v * b[k][j], 0)));
export const zip = (a, b, f) => a.map((row, i) => row.map((v, j) => f(v, b[i][j])));
export const map = (a, f) => a.map((row) => row.map(f));
export const plus = (a, b) => zip(a, b, (x, y) => x + y);
export const scaled = (a, s) => map(a, (v) => v * s);
export const columnSums = (a) => a.reduce((sums, row) => sums.map((s, j) => s + row[j]));
export const squares = (a) => a.flat().reduce((sum, v) => sum + v * v, 0);

/** `n` numbers of [−1, 1) in thousandths, the same everywhere: a linear congruential generator (Numerical Recipes, 1992). */
export function numbers(n, seed) {
  let state = seed;
  return Array.from({ length: n }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * 2000) / 1000 - 1;
  });
}
export const rows = (flat, width) =>
  Array.from({ length: flat.length / width }, (_, i) => [...flat.slice(i * width, (i + 1) * width)]);

// --- the graph's own values, in f64 ---

/** Plays a graph in f64: `values` holds numbers by the names of inputs and parameters. Returns flat arrays. */
export function valuesOf(graph, wanted, values) {
  const feeds = new Map();
  for (const node of graph.nodes) {
    if (!node.source || !(node.source.name in values)) continue;
    const tensor = node.outputs[0];
    feeds.set(tensor, { type: tensor.type, data: Float64Array.from([values[node.source.name]].flat(9)) });
  }
  return evaluate(wanted, feeds).map((t) => [...t.data]);
}

// --- telling ---

const digits = (v) => `${Number(v.toFixed(6)) + 0}`;
export const shown = (values) => {
  const flat = [values].flat(9);
  if (flat.length > 4) return `${flat.slice(0, 3).map(digits).join(' ')} … (${flat.length})`;
  return flat.map(digits).join(' ');
};

let failed = false;

/**
 * Prints rows of [name, from the graph, formula, by the formula] as a table, and checks that both values agree to
 * `tolerance` of the larger one (or of 1). A difference ends the process with exit code 1.
 */
export function compare(rows, { tolerance = 1e-12, head = ['', 'graph', 'formula', 'by hand'] } = {}) {
  const wrong = rows.filter(([, got, , want]) => !close([got].flat(9), [want].flat(9), tolerance));
  say(
    table(
      head,
      rows.map(([name, got, formula, want]) => [name, shown(got), formula, shown(want)]),
      { indent: 2, align: ['left', 'left', 'left', 'left'] },
    ),
  );
  check(
    wrong.length === 0,
    `all ${rows.length} agree to ${tolerance.toExponential()}`,
    `these differ: ${wrong.map(([name]) => name).join(', ')}`,
  );
}

const close = (got, want, tolerance) =>
  got.length === want.length &&
  got.every((v, i) => Math.abs(v - want[i]) <= tolerance * Math.max(1, Math.abs(v), Math.abs(want[i])));

/** Prints `ok` and the claim; where it does not hold, the process will end with exit code 1. */
export function check(holds, claim, otherwise = claim) {
  say(holds ? `ok  ${claim}` : `NOT OK  ${otherwise}`);
  if (!holds) failed = true;
}

process.on('exit', () => {
  if (failed) process.exitCode = 1;
});

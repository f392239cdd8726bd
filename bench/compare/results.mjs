// What races have found, kept as it is found: a run that is cut off keeps what is finished, and a run of some races leaves
// the figures of the others.
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** What races find, by part and name; `overheads` and `curves` are the files of overhead.mjs and scaling.mjs. */
export const emptyResults = () => ({ version: 2, products: {}, elementwise: {}, plans: {}, models: {} });
export const emptyOverheads = () => ({ version: 1 });
export const emptyCurves = () => ({ version: 1, curves: {} });

const beside = (file) => fileURLToPath(new URL(`../${file}`, import.meta.url));
export const keptResults = beside('compare.json');
export const keptOverheads = beside('overhead.json');
export const keptCurves = beside('scaling.json');

export function readResults(file, empty = emptyResults()) {
  if (!existsSync(file)) return empty;
  const results = JSON.parse(readFileSync(file, 'utf8'));
  if (results.version !== empty.version)
    throw new Error(
      `${file}: results of version ${results.version}; this script reads ${empty.version}\n  remedy: measure anew, into another file`,
    );
  return { ...empty, ...results };
}

/** A finished race takes the place of its own older figures alone. */
export const merged = (results, part, name, found) => ({
  ...results,
  [part]: { ...results[part], [name]: found },
});

/** The new file stands whole or not at all. */
export function writeWhole(file, text) {
  writeFileSync(`${file}.part`, text);
  renameSync(`${file}.part`, file);
}

const rounded = (_, value) =>
  typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(5)) : value;

/** A line for each list of numbers. */
export const textOfResults = (results) =>
  `${JSON.stringify(results, rounded, 1).replaceAll(/\[\s+([-\d.,e\s]+?)\s+\]/g, (_, list) => `[${list.replaceAll(/\s+/g, ' ')}]`)}\n`;

/** A page with what stands between <!-- name --> and <!-- /name --> renewed. */
export function withSection(page, name, text) {
  const [begin, end] = [`<!-- ${name} -->`, `<!-- /${name} -->`];
  const [from, to] = [page.indexOf(begin), page.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`the page has no ${begin} … ${end}`);
  return `${page.slice(0, from)}${begin}\n${text}\n${page.slice(to)}`;
}

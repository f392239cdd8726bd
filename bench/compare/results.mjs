// What races have found, kept as it is found: a run that is cut off keeps what is finished, and a run of some races leaves
// the figures of the others.
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';

export const emptyResults = () => ({ version: 1, products: {}, models: {} });

export function readResults(file) {
  if (!existsSync(file)) return emptyResults();
  const results = JSON.parse(readFileSync(file, 'utf8'));
  if (results.version !== 1) throw new Error(`${file}: results of version ${results.version}; this script reads 1`);
  return results;
}

/** `part` is products or models; a finished race takes the place of its own older figures alone. */
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

// Every document is found from the index, and no link leads nowhere.
import { existsSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { rootFile, textOf } from './run.ts';

const named = (folder: string): string[] => readdirSync(rootFile(folder)).map((name) => `${folder}/${name}`);
const readmesIn = (folder: string): string[] => named(folder).map((path) => `${path}/README.md`);
const pages = [
  ...['README.md', 'ARCHITECTURE.md', 'workers/kernels/README.md'],
  ...named('docs').filter((path) => path.endsWith('.md')),
  ...[...readmesIn('examples'), ...readmesIn('data')].filter((path) => existsSync(rootFile(path))),
];
const proseOf = (page: string): string => textOf(page).replace(/^```.*?^```$/gms, '');

/** Relative links of a page, as [path from the root, anchor]. */
function linksOf(page: string): [path: string, anchor: string | undefined][] {
  return [...proseOf(page).matchAll(/\]\(([^)\s]+)\)/g)]
    .map((m) => m[1]!)
    .filter((link) => !/^[a-z]+:/.test(link))
    .map((link) => {
      const [path, anchor] = link.split('#') as [string, string | undefined];
      return [path === '' ? page : join(dirname(page), path), anchor];
    });
}

/** What can be linked to in a page: headings as GitHub names them, and anchors of its own. */
const anchorsOf = (page: string): string[] => [
  ...[...proseOf(page).matchAll(/^#+ (.*)$/gm)].map((m) =>
    m[1]!
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .replace(/\s/g, '-'),
  ),
  ...[...textOf(page).matchAll(/<a name="([^"]+)">/g)].map((m) => m[1]!),
];

describe('the documents', () => {
  it.each(pages)('%s: every link leads somewhere', (page) => {
    const dead = linksOf(page).filter(
      ([path, anchor]) =>
        !existsSync(rootFile(path)) || (anchor !== undefined && !anchorsOf(path).includes(decodeURI(anchor))),
    );
    expect(dead).toEqual([]);
  });

  it.each(pages)('%s: files of the project that it names are there', (page) => {
    const paths = [
      ...textOf(page).matchAll(/`((?:src|test|scripts|workers|examples|bench|docs|data)\/[\w./-]+)`/g),
    ].map((m) => m[1]!);
    expect(paths.filter((path) => !existsSync(rootFile(path)))).toEqual([]);
  });

  it('are all in the index, the examples too, and the index in the README', () => {
    const listed = new Set(linksOf('docs/README.md').map(([path]) => path.replace(/\/$/, '')));
    const all = [...named('docs').filter((path) => path.endsWith('.md')), ...named('examples')];
    const lacking = all.filter((path) => path !== 'docs/README.md' && !listed.has(path));
    // The demo is a program without a page.
    expect(lacking.filter((path) => !listed.has(`${path}/run.mjs`))).toEqual([]);
    expect(linksOf('README.md').map(([path]) => path)).toContain('docs/README.md');
  });
});

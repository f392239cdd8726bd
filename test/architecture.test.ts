import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

// Directories are the stages of the compiler: each may import from those above it, and from itself.
const rooms = [
  ['core'],
  ['graph'],
  ['ops'],
  ['autodiff'],
  ['init'],
  ['losses', 'nn', 'optim'],
  ['formats'],
  ['lower'],
  ['cost'],
  ['partition', 'schedule'],
  ['recompute'],
  ['fusion'],
  ['program'],
  ['memory'],
  ['simulate'],
  ['plan'],
  ['backends'],
  ['runtime'],
  ['train'],
  ['profile'],
  ['study'],
  ['report'],
  ['cli'],
];
/** Neighbours of one line that may use each other in this direction only. */
const sideways = [
  ['losses', 'nn'],
  ['nn', 'losses'],
  ['nn', 'optim'],
];

const src = fileURLToPath(new URL('../src', import.meta.url));
const rank = new Map(rooms.flatMap((line, i) => line.map((room) => [room, i] as const)));
const files = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter((f) => f.endsWith('.ts'));
const roomOf = (file: string): string => relative(src, file).split('/')[0]!;

const imports = files.flatMap((file) => {
  const text = readFileSync(join(src, file), 'utf8');
  return [
    ...text.matchAll(/^(import|export)( type)?\b[^;']*'(\.[^']+)'/gm),
    ...text.matchAll(/(import)\((type)?'(\.[^']+)'/g),
  ].map((m) => ({
    file,
    target: resolve(dirname(join(src, file)), m[3]!),
    /** Types leave no trace at run time. */
    typeOnly: m[2] !== undefined,
  }));
});

describe('the house', () => {
  it('has no room without a place in the order', () => {
    const unknown = new Set(
      files
        .filter((f) => f.includes('/'))
        .map((f) => f.split('/')[0]!)
        .filter((r) => !rank.has(r)),
    );
    expect([...unknown]).toEqual([]);
  });

  it('imports in one direction', () => {
    const wrong = imports.filter(({ file, target }) => {
      const [from, to] = [file.includes('/') ? file.split('/')[0]! : undefined, roomOf(target)];
      if (from === undefined || from === to) return false;
      if (sideways.some(([a, b]) => a === from && b === to)) return false;
      return !(rank.get(to)! < rank.get(from)!);
    });
    expect(wrong.map(({ file, target }) => `${file} imports ${relative(src, target)}`)).toEqual([]);
  });

  // Ops refer to each other in their gradient rules, which run only when a graph is differentiated.
  it('has no circle of modules outside ops', () => {
    const edges = new Map<string, string[]>();
    for (const { file, target, typeOnly } of imports) {
      if (!typeOnly && !file.startsWith('ops/'))
        edges.set(join(src, file), [...(edges.get(join(src, file)) ?? []), target]);
    }
    const done = new Set<string>();
    const visit = (file: string, path: string[]): string[] | undefined => {
      if (path.includes(file)) return [...path.slice(path.indexOf(file)), file];
      if (done.has(file)) return undefined;
      for (const next of edges.get(file) ?? []) {
        const circle = visit(next, [...path, file]);
        if (circle) return circle;
      }
      done.add(file);
      return undefined;
    };
    const circles = [...edges.keys()].map((f) => visit(f, [])).filter((c) => c !== undefined);
    expect(circles.map((c) => c.map((f) => relative(src, f)).join(' → '))).toEqual([]);
  });
});

// What `import 'partita'` loads: a few files, that are those of the command, and of other packages only what is needed.
import { readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { expect, it } from 'vitest';
import { node, rootFile } from '../docs/run.ts';

/** The files that a built module loads before it runs. */
function loadedBy(entry: string): Set<string> {
  const found = new Set<string>();
  const visit = (file: string) => {
    if (found.has(file)) return;
    found.add(file);
    const text = readFileSync(file, 'utf8');
    for (const [, target] of text.matchAll(/^(?:import|export|\})[^'"\n]*["'](\.[^"']+)["'];$/gm))
      visit(join(dirname(file), target!));
  };
  visit(entry);
  return found;
}

it('is a few files, and none of the single modules that lie beside them', () => {
  const dist = rootFile('dist');
  const files = [...loadedBy(rootFile('dist/index.js'))].map((file) => relative(dist, file));
  expect(files.length).toBeGreaterThan(10);
  expect(files.length).toBeLessThan(200);
  expect(files.filter((file) => !file.startsWith('chunks/'))).toEqual(['index.js']);
});

it('has the classes of the command: an error is of one class wherever it is caught', () => {
  const library = loadedBy(rootFile('dist/index.js'));
  const command = loadedBy(rootFile('dist/cli/command-line.js'));
  const defining = (files: Set<string>) =>
    [...files].filter((file) => /^(?:var UsageError =|class UsageError\b)/m.test(readFileSync(file, 'utf8')));
  expect(defining(library)).toHaveLength(1);
  expect(defining(command)).toEqual(defining(library));
});

it('loads the message definitions of ONNX with the first file, and tells errors by the line of their caller', async () => {
  const script = `
    import { createRequire } from 'node:module';
    import { exportOnnx, Graph, GraphError, ops } from 'partita';
    const loaded = () => Object.keys(createRequire(import.meta.url).cache).some((file) => file.endsWith('protobuf.cjs'));
    const graph = new Graph();
    const x = graph.input('x', { shape: [2, 3] });
    graph.output('y', ops.relu(x));
    const before = loaded();
    const bytes = exportOnnx(graph);
    console.log(before, loaded(), bytes.length > 0);
    try { ops.matmul(x, x); } catch (error) { console.log(error instanceof GraphError, error.message.split('\\n').at(-1)); }
  `;
  const { code, stdout, stderr } = await node(['--input-type=module', '-e', script]);
  expect(stderr).toBe('');
  expect(code).toBe(0);
  const [first, second] = stdout.trim().split('\n');
  expect(first).toBe('false true true');
  expect(second).toMatch(/^true .*\[eval1\]:\d+:\d+$/);
});

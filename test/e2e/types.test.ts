import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { packageRoot } from '../../src/core/package-root.ts';

/** What a user writes: values and types of all that has types of other packages near it. */
const program = `
import { type Chart, drawChart, Graph, losses, makeOptimizer, nn, ops, Session, train } from 'partita';
import * as partita from 'partita';

const graph = new Graph();
const x = graph.input('x', { shape: [4, 8] });
export const loss = ops.mean(nn.linear(x, 2));
export const optimizer = makeOptimizer({ kind: 'sgd', lr: 0.1 });
export const chart: Chart = { label: 'a line', spec: { mark: 'line' } };
export const drawn: Promise<string> = drawChart(chart);
export async function run(plan: partita.Plan, batch: Record<string, partita.HostTensor>): Promise<void> {
  await using session = await Session.open(plan, { seed: 1, lookSeconds: 0 });
  await session.run('train', batch);
}
export { losses, train };
// @ts-expect-error: a wrong type is seen, so the declarations are read and are no any.
export const wrong: number = new Graph();
`;

/** A project without anything else installed, whose package is what `npm pack` would make of the build. */
function project(): string {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'partita-types-')));
  const installed = join(folder, 'node_modules', 'partita');
  mkdirSync(installed, { recursive: true });
  const root = packageRoot();
  cpSync(join(root, 'package.json'), join(installed, 'package.json'));
  cpSync(join(root, 'dist'), join(installed, 'dist'), {
    recursive: true,
    filter: (from) => !/\.(js|cjs|map|wasm|cache)$/.test(from),
  });
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ type: 'module' }));
  writeFileSync(join(folder, 'main.ts'), program);
  return folder;
}

const compile = (folder: string, options: Record<string, unknown>): string => {
  const compilerOptions = {
    strict: true,
    target: 'es2022',
    lib: ['es2022'],
    skipLibCheck: false,
    noEmit: true,
    types: [],
    ...options,
  };
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['main.ts'] }));
  const tsc = join(packageRoot(), 'node_modules', 'typescript', 'bin', 'tsc');
  const arguments_ = [tsc, '-p', folder];
  const { stdout, stderr, status, signal } = spawnSync(process.execPath, arguments_, {
    encoding: 'utf8',
    timeout: 60_000,
  });
  // A compiler that was ended says nothing, as one that finds nothing does.
  return stdout + stderr + (status === 0 ? '' : `ended with ${signal ?? status}`);
};

describe('the types of the package', () => {
  const folder = project();

  it.each([
    { module: 'node16', moduleResolution: 'node16' },
    { module: 'nodenext', moduleResolution: 'nodenext' },
    { module: 'esnext', moduleResolution: 'bundler' },
  ])('compile with all libraries checked: $moduleResolution, neither DOM nor types of Node', (options) => {
    expect(compile(folder, options)).toBe('');
  });

  it('compile beside the types of Node, and of the DOM', () => {
    const nodes = join(folder, 'node_modules', '@types');
    mkdirSync(nodes);
    for (const name of ['@types/node', 'undici-types']) {
      symlinkSync(join(packageRoot(), 'node_modules', name), join(folder, 'node_modules', name));
    }
    const options = { module: 'nodenext', moduleResolution: 'nodenext' };
    expect(compile(folder, { ...options, types: ['node'] })).toBe('');
    expect(compile(folder, { ...options, lib: ['es2022', 'dom'] })).toBe('');
  });
});

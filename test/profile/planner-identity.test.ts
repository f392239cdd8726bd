import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { plannerIdentity } from '../../src/profile/identity.ts';

/** Where a package stands: nothing is installed in it, nor, by that name, above it. */
function builtPackage(): string {
  const root = join(mkdtempSync(join(tmpdir(), 'partita-identity-')), 'node_modules', 'partita');
  mkdirSync(join(root, 'dist', 'workers'), { recursive: true });
  writeFileSync(join(root, 'dist', 'sources.txt'), '1.2.3 abc\n');
  return root;
}

function install(folder: string, version: string): void {
  mkdirSync(join(folder, 'node_modules', 'highs'), { recursive: true });
  writeFileSync(join(folder, 'node_modules', 'highs', 'package.json'), JSON.stringify({ name: 'highs', version }));
}

it('a planner with a solver is another than without, or with another of its versions', () => {
  const root = builtPackage();
  const identities = [plannerIdentity(root)];
  install(join(root, '..', '..'), '1.0.0'); // beside this package, where npm puts it
  identities.push(plannerIdentity(root));
  install(root, '2.0.0'); // nearer
  identities.push(plannerIdentity(root));
  expect(identities).toEqual(['1.2.3 abc highs none', '1.2.3 abc highs 1.0.0', '1.2.3 abc highs 2.0.0']);
  rmSync(join(root, 'dist', 'sources.txt'));
  expect(plannerIdentity(root)).toBeUndefined();
});

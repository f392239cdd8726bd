import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { packageRoot } from '../../src/core/package-root.ts';

it('finds the folder with the data', () => {
  expect(existsSync(join(packageRoot(), 'data', 'digits', 'digits.csv.gz'))).toBe(true);
  expect(existsSync(join(packageRoot(), 'src', 'core', 'package-root.ts'))).toBe(true);
});

import { expect, it } from 'vitest';
// @ts-expect-error a script without types
import { opsPage } from '../../scripts/ops-table.mjs';
import { lowerNode } from '../../src/lower/lower.ts';
import { records } from '../../src/ops/index.ts';
import { textOf } from './run.ts';

it('docs/ops.md is what the op records say: node scripts/ops-table.mjs', () => {
  expect(textOf('docs/ops.md')).toBe(opsPage(records, lowerNode));
});

import type { TestContext } from 'vitest';

/**
 * For tests that need something of the system (a package, a driver): skips with the reason where it is missing, and fails
 * instead under CI, which installs all of them.
 */
export function needs(context: TestContext, present: boolean, what: string): void {
  if (present) return;
  if (process.env.PARTITA_CI) throw new Error(`CI must have ${what}`);
  context.skip(`needs ${what}`);
}

import type { TestOptions } from 'vitest';

/**
 * For claims about time whose limit a machine that others use may miss once: what is wrong misses it each time, since it waits
 * for what the limit excludes.
 */
export const onBusyMachines: TestOptions = { retry: 3 };

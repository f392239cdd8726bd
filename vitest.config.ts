import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 120_000,
    hookTimeout: 60_000,
    // Every session of the tests is audited unless it says otherwise: memory is checked instruction by instruction.
    // What an earlier run has measured of this machine must not reach them.
    env: { PARTITA_AUDIT: '1', PARTITA_CACHE: 'off' },
    // Device tests start worker threads of their own: two files side by side fill the two cores this suite is sized for.
    maxWorkers: 2,
  },
});

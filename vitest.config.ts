import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 120_000,
    hookTimeout: 60_000,
    // Every session of the tests is audited unless it says otherwise: memory is checked instruction by instruction.
    env: { PARTITA_AUDIT: '1' },
    // Device tests start worker threads of their own: two files side by side fill the two cores this suite is sized for.
    maxWorkers: 2,
  },
});

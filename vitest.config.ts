import { defineConfig } from 'vitest/config';

/**
 * Folders whose tests only compute: they change nothing of their process, and start neither sessions nor processes. Their
 * files run one behind the other in two processes that load the sources once; every other file has a process of its own.
 */
const computing = [
  ...['autodiff', 'backends', 'conformance', 'core', 'cost', 'formats', 'graph', 'kernels', 'lower', 'nn', 'ops'],
  ...['partition', 'recompute', 'report', 'schedule', 'simulate'],
].join('|');
/** Those in these folders that start threads or processes, measure the process, or put something in the place of Node's modules. */
const others = [
  'test/formats/fuzz/*.test.ts',
  'test/formats/{append,folder-lock,folder-lock-races}.test.ts',
  'test/partition/deadline.test.ts',
  'test/partition/search.test.ts',
];

export default defineConfig({
  test: {
    testTimeout: 120_000,
    hookTimeout: 60_000,
    // Every session of the tests is audited unless it says otherwise: memory is checked instruction by instruction.
    // What an earlier run has measured of this machine must not reach them.
    env: { PARTITA_AUDIT: '1', PARTITA_CACHE: 'off' },
    // Device tests start worker threads of their own: two files side by side fill the two cores this suite is sized for.
    maxWorkers: 2,
    // The built command is run as it is.
    server: { deps: { external: [/\/dist\//] } },
    projects: [
      {
        extends: true,
        test: {
          name: 'devices',
          include: ['test/*.test.ts', `test/!(${computing})/**/*.test.ts`, ...others],
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          name: 'computing',
          include: [`test/@(${computing})/**/*.test.ts`],
          exclude: others,
          isolate: false,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});

// Breaks every gradient rule of src/ops, one at a time, and looks whether the conformance tests notice:
// `node scripts/mutate-gradients.mjs [op…]`, all ops by default. Prints a table op × input; exits 1 if a broken rule
// passes all tests.
//
// A rule is broken at run time, input by input, in four ways: the input's cotangent is scaled by 1.01, negated or dropped,
// which the first gradients must show, or frozen (right, but without a derivative of its own), which the second must. Each
// run of vitest breaks one input in one way; test/conformance/mutant.setup.ts, loaded in these runs only, does it in every
// test to the op of that test and to no other, so that one run is a mutant of every op.
import { fileURLToPath } from 'node:url';
import { startVitest } from 'vitest/node';

const root = fileURLToPath(new URL('..', import.meta.url));
const file = 'test/conformance/gradients.test.ts';
/** Each way with the tests that are there to notice it. */
const ways = { scaled: 'gradients', negated: 'gradients', dropped: 'gradients', frozen: 'second gradients' };
const atOnce = 2;

const started = performance.now();

/** op → [input → way → { tests, red }], and how many inputs its samples have. */
const ops = new Map();

/** One run of vitest: every wanted op with one input broken in one way. */
async function mutate(way, input, wanted) {
  const vitest = await startVitest('test', [file], {
    root,
    // The suite's projects would not take the set-up file below.
    config: false,
    testTimeout: 120_000,
    watch: false,
    reporters: [{}],
    setupFiles: ['test/conformance/mutant.setup.ts'],
    env: { PARTITA_MUTATE: `${way}:${input}` },
    testNamePattern: `^\\s*${ways[way]} in f64 against central differences '?(${wanted.join('|')}): `,
  });
  const modules = vitest.state.getTestModules();
  const failure = [...vitest.state.getUnhandledErrors(), ...modules.flatMap((m) => m.errors())][0];
  const tests = modules.flatMap((m) => [...m.children.allTests()]).filter((t) => t.result().state !== 'skipped');
  await vitest.close();
  if (failure || tests.length === 0) throw new Error(failure?.message ?? `no test is named ${wanted.join(' or ')}`);
  for (const test of tests) {
    const { op, inputs, mutable } = test.meta();
    const failed = test.result().state === 'failed';
    if (!ops.has(op)) ops.set(op, { inputs: 0, results: [] });
    const of = ops.get(op);
    of.inputs = Math.max(of.inputs, inputs);
    if (!mutable) {
      // Nothing was broken here: integers, and what the op's value does not depend on.
      if (failed) throw new Error(`${test.name} fails by itself: ${test.result().errors[0].message}`);
      continue;
    }
    const result = ((of.results[input] ??= {})[way] ??= { tests: 0, red: 0 });
    result.tests++;
    if (failed) result.red++;
  }
}

let wanted = process.argv.length > 2 ? process.argv.slice(2) : ['\\w+'];
for (let input = 0; wanted.length > 0; input++) {
  const names = Object.keys(ways);
  for (let i = 0; i < names.length; i += atOnce) {
    await Promise.all(names.slice(i, i + atOnce).map((way) => mutate(way, input, wanted)));
  }
  wanted = [...ops].filter(([, { inputs }]) => inputs > input + 1).map(([op]) => op);
}

let [mutants, survivors] = [0, 0];
const rows = [['op', 'input', ...Object.keys(ways)]];
for (const [op, { results }] of [...ops].sort(([a], [b]) => (a < b ? -1 : 1))) {
  results.forEach((byWay, input) => {
    const cells = Object.keys(ways).map((way) => {
      const { red, tests } = byWay[way] ?? { red: 0, tests: 0 };
      mutants++;
      if (red === 0) survivors++;
      return red > 0 ? `caught by ${red} of ${tests}` : 'SURVIVED';
    });
    rows.push([op, String(input), ...cells]);
  });
}
const widths = rows[0].map((_, i) => Math.max(...rows.map((row) => row[i].length)));
for (const row of rows)
  console.log(
    row
      .map((cell, i) => cell.padEnd(widths[i]))
      .join('  ')
      .trimEnd(),
  );
const seconds = ((performance.now() - started) / 1000).toFixed(0);
console.log(`\n${mutants - survivors} of ${mutants} broken rules caught, ${survivors} survived (${seconds} s)`);
process.exitCode = survivors > 0 ? 1 : 0;

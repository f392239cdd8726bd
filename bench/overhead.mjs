// What a step costs beside its kernels: calls, instructions, hand-overs, the step's own start and end.
//
//   node bench/overhead.mjs [--rounds 15] [--parts core,hand-over,ends,launch,models] [--models mlp,gpt,cnn] [--json FILE]
//                           [--write]
//
//   --json    writes what was found
//   --write   keeps the same in bench/overhead.json (parts and models that were not asked for stay), and renews
//             docs/performance.md
//
// 1. Device core: lists of instructions whose kernel is empty, one call and ten calls an instruction, and the bare call in
//    a loop, in turns. Two unknowns, two lists: what a call and what an instruction takes.
// 2. Hand-over: a value goes to and fro between two devices. Where the other looks already, and where it has fallen asleep
//    meanwhile, beside two bare threads that do the same with Atomics.wait and notify.
// 3. A step's start and end on two devices, beside a message to each of two bare threads and one back from each; and what a
//    step takes of them that is begun ahead, as a training's are.
// 4. Whole steps of the models in the peers' table against the sum of their kernels, as recorded in steps in between: asked
//    for one by one, and begun ahead.
// 5. From the launch of the command to its help and to the first step of the digits model, beside Node alone.
//
// Medians of several rounds, in alternation. In front of each of these and behind it stand the register-only loops and the
// clock, as in compare.mjs. Run it on an idle machine with at least two cores.
import { between, startMachine } from './compare/looks.mjs';
import { conditionsHere } from './compare/machine.mjs';
import { partsOf } from './compare/overhead-page.mjs';
import { renewPage } from './compare/renew.mjs';
import { emptyOverheads, keptOverheads, readResults, textOfResults, writeWhole } from './compare/results.mjs';
import { loopsSentence } from './compare/text.mjs';
import { flagsOf, namesOf, numberOf } from './flags.mjs';

const partNames = ['core', 'hand-over', 'ends', 'launch', 'models'];
const modelNames = ['mlp', 'gpt', 'cnn'];
const self = import.meta.url;
const { values: flags } = flagsOf(self, {
  rounds: { type: 'string', default: '15' },
  json: { type: 'string' },
  write: { type: 'boolean', default: false },
  models: { type: 'string', default: modelNames.join() },
  parts: { type: 'string', default: partNames.join() },
});
const rounds = numberOf(self, 'rounds', flags.rounds, { atLeast: 1, whole: true });
const parts = namesOf(self, 'parts', flags.parts, partNames);
const chosenModels = namesOf(self, 'models', flags.models, modelNames);

const { deviceCore } = await import('./overhead/core.mjs');
const { stepEnds, stepsAhead } = await import('./overhead/ends.mjs');
const { handOver } = await import('./overhead/hand-over.mjs');
const { launch } = await import('./overhead/launch.mjs');
const { steps } = await import('./overhead/models.mjs');

const measures = {
  core: [deviceCore],
  'hand-over': [handOver],
  ends: [stepEnds, stepsAhead],
  launch: [launch],
};
const here = { ...conditionsHere(), rounds };
const machine = await startMachine();

/** What a measure finds, each part with the machine as it was beside it. */
async function besideMachine(measure) {
  const { found, looks } = await between(machine, () => measure(rounds));
  return Object.fromEntries(
    Object.entries(found).map(([part, figures]) => [part, { ...figures, machine: looks, ...here }]),
  );
}

const found = {};
try {
  for (const part of partNames.filter((name) => parts.includes(name)))
    for (const measure of measures[part] ?? []) Object.assign(found, await besideMachine(measure));
  if (parts.includes('models')) {
    console.log('Steps on one device against their kernels');
    found.steps = {};
    for (const name of chosenModels) Object.assign(found.steps, await besideMachine(() => steps(name, rounds)));
  }
} finally {
  await machine.end();
}
console.log(loopsSentence(partsOf(found)));
if (flags.json) writeWhole(flags.json, textOfResults({ ...emptyOverheads(), ...found }));
if (flags.write) {
  const before = readResults(keptOverheads, emptyOverheads());
  const models = { ...before.steps, ...found.steps };
  writeWhole(keptOverheads, textOfResults({ ...before, ...found, ...(found.steps ? { steps: models } : {}) }));
  renewPage();
}

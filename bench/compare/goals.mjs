// Goals that were set before, and what the races say of them: numbers of one run, in the order of the page.
import { ratios } from './race.mjs';
import { median, spreadOf } from './statistics.mjs';

export const rowOf = (race, label) => race?.rows.find((row) => row.label === label);

/** How many times as long `theirs` takes as `ours`: median and quartiles; nothing where one of them is missing. */
export function timesAsFast(race, ours, theirs) {
  const [a, b] = [rowOf(race, ours), rowOf(race, theirs)];
  return a && b ? spreadOf(ratios(b, a)) : undefined;
}

/** The limit that a row's rate is compared with: the faster of the two register loops, as they ran beside it. */
export const loopOf = ({ machine: { chained, independent } }) => Math.max(chained, independent);

/** GFLOP/s of a row of products. */
export const rateOf = ({ flops, milliseconds }) => flops / (median(milliseconds) * 1e6);

const shareOf = (row) => rateOf(row) / loopOf(row);

/** The least share of the loop among products, and whose it is. */
function leastShare(products, has) {
  const shares = Object.entries(products)
    .filter(([task]) => has(task))
    .flatMap(([task, race]) => {
      const row = rowOf(race, 'Partita');
      return row ? [{ task, share: shareOf(row) }] : [];
    });
  if (shares.length === 0) return undefined;
  const worst = shares.reduce((a, b) => (b.share < a.share ? b : a));
  return { measured: [worst.share], note: `least, of ${worst.task.replace('-', ' ').replaceAll('x', ' × ')}` };
}

const cube = (task, sizes) => sizes.some((n) => task.startsWith(`${n}x${n}x${n}-`));
const named = { mlp: 'MLP', gpt: 'GPT', cnn: 'LeNet-like' };

/** The faster of a peer's variants. */
function bestOf(race, labels) {
  const rows = labels.flatMap((label) => rowOf(race, label) ?? []);
  return rows.length > 0 ? rows.reduce((a, b) => (median(b.milliseconds) < median(a.milliseconds) ? b : a)).label : '';
}

const torchAlone = ['torch', 'torch, channels last'];
const torchPair = ['torch, 2 threads'];

const speeds = [
  {
    what: 'one device over jax-js',
    ours: 'Partita',
    theirs: ['jax-js'],
    goals: { mlp: 1.6, gpt: 1.9, cnn: 60 },
  },
  {
    what: 'one device over TensorFlow.js at its best',
    ours: 'Partita',
    theirs: ['tfjs-wasm, tuned by hand', 'tfjs-wasm'],
    goals: { mlp: 2.4, gpt: 5, cnn: 30 },
  },
  {
    what: 'one device with BLAS over PyTorch with the same library, one thread',
    ours: 'Partita, BLAS',
    theirs: torchAlone,
    goals: { mlp: 0.95, gpt: 1, cnn: 1.5 },
  },
  {
    what: 'two devices over one',
    ours: 'Partita, 2 devices',
    theirs: ['Partita'],
    goals: { mlp: 1.6, gpt: 1.75, cnn: 1.6 },
  },
  {
    what: 'two devices with BLAS over PyTorch with two threads at its best',
    ours: 'Partita, 2 devices, BLAS',
    theirs: torchPair,
    goals: { gpt: 1, cnn: 1 },
  },
];

/** Speed-up of two devices, the ideal of the schedule that they play, and the share of it that is reached. */
export function twoDevices(race, blas = '') {
  const pair = rowOf(race, `Partita, 2 devices${blas}`);
  const speedUp = timesAsFast(race, `Partita, 2 devices${blas}`, `Partita${blas}`);
  if (!pair || !speedUp) return undefined;
  const ideal = pair.idealSpeedUp;
  return { row: pair, speedUp, ideal, share: ideal ? speedUp[0] / ideal : undefined };
}

/** Every goal that something was measured for: { what, of, goal, atMost, measured: [median, quartiles…], note }. */
export function goalsOf({ products, models }) {
  const shares = [
    { what: 'share of the register loop', of: '256³ to 1024³, all transposes', goal: 0.88, sizes: [256, 512, 1024] },
    { what: 'share of the register loop', of: '128³, all transposes', goal: 0.8, sizes: [128] },
  ].flatMap(({ sizes, ...goal }) => {
    const least = leastShare(products, (task) => cube(task, sizes));
    return least ? [{ ...goal, ...least }] : [];
  });
  const each = (goals, measure) =>
    Object.entries(goals).flatMap(([name, goal]) => {
      const found = models[name] && measure(models[name]);
      return found ? [{ of: named[name], goal, ...found }] : [];
    });
  const faster = speeds.flatMap(({ what, ours, theirs, goals }) =>
    each(goals, (race) => {
      const measured = timesAsFast(race, ours, bestOf(race, theirs));
      return measured && { what, measured };
    }),
  );
  const ideals = each({ mlp: 0.95, gpt: 0.95, cnn: 0.95 }, (race) => {
    const { share } = twoDevices(race) ?? {};
    return share && { what: 'two devices: share of the ideal of their schedule', measured: [share] };
  });
  const memory = each({ mlp: 0.5, gpt: 0.5, cnn: 0.5 }, (race) => {
    const [ours, theirs] = [rowOf(race, 'Partita'), rowOf(race, bestOf(race, torchAlone))];
    if (!ours?.peakResidentBytes || !theirs?.peakResidentBytes) return undefined;
    const measured = [ours.peakResidentBytes / theirs.peakResidentBytes];
    return { what: "peak resident memory over PyTorch's", measured, atMost: true };
  });
  return [...shares, ...faster, ...ideals, ...memory].map((goal) => ({
    ...goal,
    reached: goal.atMost ? goal.measured[0] <= goal.goal : goal.measured[0] >= goal.goal,
  }));
}

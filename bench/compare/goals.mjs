// Goals that were set before, and what the races say of them: numbers of one run, in the order of the page.
import { overheadFigures, stepGoal } from './overhead-page.mjs';
import { cyclesOf, limitsOf, quietSharesOf, ratios, sharesOf } from './race.mjs';
import { median, spreadOf } from './statistics.mjs';

export const rowOf = (race, label) => race?.rows.find((row) => row.label === label);

/** How many times as long `theirs` takes as `ours`: median and quartiles; nothing where one of them is missing. */
export function timesAsFast(race, ours, theirs) {
  const [a, b] = [rowOf(race, ours), rowOf(race, theirs)];
  return a && b ? spreadOf(ratios(b, a)) : undefined;
}

const named = { mlp: 'MLP', gpt: 'GPT', cnn: 'LeNet-like' };

/** Goals of several models or parts: `{ name: goal }`, and what was measured of each, where something was. */
const each = (goals, names, measure) =>
  Object.entries(goals).flatMap(([name, goal]) => {
    const found = measure(name);
    return found ? [{ of: names[name] ?? name, goal, ...found }] : [];
  });

// Products

/** The register loop at its fastest, of all windows of all products. */
export const fastestLoop = (products) =>
  Math.max(...Object.values(products).flatMap(({ rows }) => rows.flatMap((row) => limitsOf(row))));

/** The product with the least share of the loop, by the medians of its windows' own shares. */
function leastShare(products, sizes) {
  const found = Object.entries(products).flatMap(([task, race]) => {
    const row = sizes.some((n) => task.startsWith(`${n}x${n}x${n}-`)) && rowOf(race, 'Partita');
    return row ? [{ task, row, share: spreadOf(sharesOf(row)) }] : [];
  });
  if (found.length === 0) return undefined;
  const worst = found.reduce((a, b) => (b.share[0] < a.share[0] ? b : a));
  const fastest = fastestLoop(products);
  const quiet = found.flatMap(({ row }) => quietSharesOf(row, fastest));
  return {
    measured: worst.share,
    note:
      `least, of ${worst.task.replace('-', ' ').replaceAll('x', ' × ')}` +
      (quiet.length > 0 ? `; of all in quiet windows ${median(quiet).toFixed(2)}` : ''),
  };
}

const productGoals = (products) =>
  [
    { of: '256³ to 1024³, all transposes', goal: 0.88, sizes: [256, 512, 1024] },
    { of: '128³, all transposes', goal: 0.8, sizes: [128] },
  ].flatMap(({ sizes, ...goal }) => {
    const least = leastShare(products, sizes);
    return least ? [{ what: 'share of the register loop', ...goal, ...least }] : [];
  });

// Elementwise kernels

/**
 * What the prototype of the goals took, in ns an element, on a Zen 5 whose clock its authors tell as 3.9 GHz while it ran. Where
 * it is not measured beside ours, cycles are compared: clocks differ most between machines.
 */
export const prototypeNanoseconds = { exp: 0.7, tanh: 0.97, gelu: 1.4, softmax: 1.9, layerNorm: 0.4, adam: 0.49 };
export const prototypeGhz = 3.9;

/** Ours over the prototype's: as measured in the same rounds, or by cycles an element. */
export function overPrototype(race, name) {
  const [ours, theirs] = [rowOf(race, 'Partita'), rowOf(race, 'prototype')];
  if (!ours) return undefined;
  if (theirs) return { measured: spreadOf(ratios(ours, theirs)), note: 'side by side' };
  const cycles = prototypeNanoseconds[name] * prototypeGhz;
  return { measured: spreadOf(cyclesOf(ours).map((own) => own / cycles)), note: 'in cycles, by its figures elsewhere' };
}

const elementwiseGoals = (elementwise) =>
  each(Object.fromEntries(Object.keys(prototypeNanoseconds).map((name) => [name, 1.1])), {}, (name) => {
    const found = elementwise[name] && overPrototype(elementwise[name], name);
    return found && { what: "time an element over the prototype's", atMost: true, ...found };
  });

// Steps

/** The faster of a peer's variants. */
function bestOf(race, labels) {
  const rows = labels.flatMap((label) => rowOf(race, label) ?? []);
  return rows.length > 0 ? rows.reduce((a, b) => (median(b.milliseconds) < median(a.milliseconds) ? b : a)).label : '';
}

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
    theirs: ['torch'],
    goals: { mlp: 0.95, gpt: 1, cnn: 1.5 },
  },
  {
    what: 'two devices with BLAS over PyTorch with two threads at its best',
    ours: 'Partita, 2 devices, BLAS',
    theirs: ['torch, 2 threads'],
    goals: { gpt: 1, cnn: 1 },
  },
];

const speedGoals = (models) =>
  speeds.flatMap(({ what, ours, theirs, goals }) =>
    each(goals, named, (name) => {
      const measured = timesAsFast(models[name], ours, bestOf(models[name], theirs));
      return measured && { what, measured };
    }),
  );

/**
 * Two devices: `speedUp` over one (where statistics are those of microbatches, over one that takes as many), the `ideal` of the
 * schedule that they play and the `share` of it that is reached. What two cores of this machine give at all is told by two
 * processes that step the whole batch at the same time: together they do `atOnce` times the work of one alone. `shareOfCores`
 * is the share of the ideal with cores as good as that.
 */
export function twoDevices(race, blas = '') {
  const pair = rowOf(race, `Partita, 2 devices${blas}`);
  const whole = rowOf(race, `Partita${blas}`);
  if (!pair || !whole) return undefined;
  const alone = rowOf(race, `Partita, one device, M = ${pair.microbatches}${blas}`) ?? whole;
  const both = rowOf(race, `Partita, two at once${blas}`);
  const speedUps = ratios(alone, pair);
  const capacities = both && ratios(whole, both);
  const ideal = pair.idealSpeedUp ?? undefined;
  return {
    row: pair,
    ideal,
    speedUp: spreadOf(speedUps),
    atOnce: capacities && spreadOf(capacities),
    share: ideal && spreadOf(speedUps.map((s) => s / ideal)),
    shareOfCores: ideal && capacities && spreadOf(speedUps.map((s, i) => s / (ideal * (capacities[i] / 2)))),
  };
}

const pairGoals = (models) => [
  ...each({ mlp: 1.6, gpt: 1.75, cnn: 1.6 }, named, (name) => {
    const { speedUp, atOnce } = twoDevices(models[name]) ?? {};
    const note = atOnce && `two at once do ${atOnce[0].toFixed(2)}`;
    return speedUp && { what: 'two devices over one', measured: speedUp, ...(note ? { note } : {}) };
  }),
  ...each({ mlp: 0.95, gpt: 0.95, cnn: 0.95 }, named, (name) => {
    const { share, shareOfCores } = twoDevices(models[name]) ?? {};
    const note = shareOfCores && `${shareOfCores[0].toFixed(2)} of what two cores give`;
    return (
      share && { what: 'two devices: share of the ideal of their schedule', measured: share, ...(note ? { note } : {}) }
    );
  }),
];

// Memory

const residentGoals = (models) =>
  each({ mlp: 0.5, gpt: 0.5, cnn: 0.5 }, named, (name) => {
    const [ours, theirs] = ['Partita', 'torch'].map((label) => rowOf(models[name], label)?.peakResidentBytes);
    return ours && theirs && { what: "peak resident memory over PyTorch's", measured: [ours / theirs], atMost: true };
  });

function attentionGoal(attention) {
  if (!attention) return [];
  const { fused, unfused } = attention.activationBytes;
  const over = (ours, theirs) => ours / theirs;
  return [
    {
      what: 'peak activation bytes without the matrices of attention, over those with them',
      of: `GPT, ${attention.context} tokens`,
      goal: 0.35,
      atMost: true,
      measured: [over(fused.none, unfused.none)],
      note:
        `${over(fused.selective, unfused.none).toFixed(2)} with \`recompute: selective\`, ` +
        `${over(fused.selective, unfused.selective).toFixed(2)} with it in both`,
    },
  ];
}

// Beside the kernels

const overheadGoals = (overhead) => [
  ...each({ mlp: stepGoal, gpt: stepGoal, cnn: stepGoal }, named, (name) => {
    const { ratio, ahead } = overhead.steps?.[name] ?? {};
    const note = ahead && `${ahead[0].toFixed(2)} as a training runs, begun ahead`;
    const what = 'step on one device over the sum of its kernels, with the host';
    return ratio && { what, measured: ratio, atMost: true, ...(note ? { note } : {}) };
  }),
  ...overheadFigures.flatMap(({ what, of, goal, unit }) => {
    const seconds = of(overhead);
    if (goal === undefined || seconds === undefined) return [];
    return [{ what, of: '', goal, unit, measured: [seconds * (unit === 'ms' ? 1e3 : 1e6)], atMost: true }];
  }),
];

/**
 * Every goal that something was measured for: { what, of, goal, atMost, unit, measured: [median, quartiles…], note, reached }. A
 * goal is reached where the median reaches it.
 */
export function goalsOf({ products = {}, elementwise = {}, plans = {}, models = {} }, overhead = {}) {
  return [
    ...productGoals(products),
    ...elementwiseGoals(elementwise),
    ...speedGoals(models),
    ...overheadGoals(overhead),
    ...pairGoals(models),
    ...residentGoals(models),
    ...attentionGoal(plans.attention),
  ].map((goal) => ({
    ...goal,
    reached: goal.atMost ? goal.measured[0] <= goal.goal : goal.measured[0] >= goal.goal,
  }));
}

// The tables and sentences of docs/performance.md that come from the races: nothing in them is written by hand.
import { goalsOf, loopOf, rateOf, rowOf, timesAsFast, twoDevices } from './goals.mjs';
import { ratios } from './race.mjs';
import { withSection } from './results.mjs';
import { median, spreadOf } from './statistics.mjs';

const table = (head, rows) => [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n');
const two = (value) => value.toFixed(2);
/** Enough digits to tell, no more than were measured. */
const digits = (value) => value.toFixed(value >= 20 ? 0 : value >= 5 ? 1 : 2);
const spread = ([middle, low, high]) =>
  `${digits(middle)}${low === undefined ? '' : ` [${digits(low)}–${digits(high)}]`}`;
const loops = ({ machine: { chained, independent } }) => `${chained.toFixed(1)}, ${independent.toFixed(1)}`;
const ghz = ({ machine }) => machine.ghz.toFixed(2);
const mebibytes = (bytes) => (bytes === null ? '–' : (bytes / 2 ** 20).toFixed(0));
const titleOf = (task) => task.replace('-', ' ').replaceAll('x', ' × ');

const sizeOf = (task) => task.split('-')[0];
const formOf = (task) => task.split('-')[1];

/** Rates of all products, with the loops and the clock as they were beside Partita's. */
export function productsTable(products) {
  const tasks = Object.entries(products);
  const labels = [...new Set(tasks.flatMap(([, { rows }]) => rows.map((row) => row.label)))];
  const head = ['M × K × N', 'form', 'loops', 'GHz', ...labels, 'share of the loop'];
  const rows = tasks.map(([task, race]) => {
    const ours = rowOf(race, 'Partita');
    const rates = labels.map((label) => {
      const row = rowOf(race, label);
      return row ? rateOf(row).toFixed(1) : '–';
    });
    const beside = ours ? [loops(ours), ghz(ours)] : ['–', '–'];
    return [titleOf(sizeOf(task)), formOf(task), ...beside, ...rates, ours ? two(rateOf(ours) / loopOf(ours)) : '–'];
  });
  return table(head, rows);
}

function labelOf({ label, schedule, microbatches, setUp, measuredSteps }) {
  const plan = schedule ? `${schedule}, M = ${microbatches}` : setUp;
  const few = measuredSteps && `${measuredSteps} ${measuredSteps === 1 ? 'step' : 'steps'}`;
  const more = [plan, few].filter(Boolean).join('; ');
  return more ? `${label} (${more})` : label;
}

/** Steps of one model, and why who is not there is not. */
export function stepsTable({ title, rows, declined }) {
  const base = rows.find((row) => row.label === 'Partita');
  const head = ['', 'ms a step', 'over Partita on one device', 'loops, GFLOP/s', 'GHz', 'peak resident, MiB'];
  const cells = rows.map((row) => [
    labelOf(row),
    median(row.milliseconds).toFixed(2),
    spread(spreadOf(ratios(row, base))),
    loops(row),
    ghz(row),
    mebibytes(row.peakResidentBytes),
  ]);
  const absent = declined.map(({ label, why }) => `${label}: ${why.replace(/\.$/, '')}.`).join(' ');
  return [`**${title}**`, table(head, cells), absent].filter(Boolean).join('\n\n');
}

/** What two devices make of one's step, beside what their schedule allows. */
export function pairsTable(models) {
  const rows = Object.values(models).flatMap((race) =>
    ['', ', BLAS'].flatMap((blas) => {
      const found = twoDevices(race, blas);
      if (!found) return [];
      const { row, speedUp, ideal, share } = found;
      const plan = `${row.schedule}, M = ${row.microbatches}`;
      const cells = ideal ? [two(ideal), two(share)] : ['–', '–'];
      return [[`${race.title.split(/[,(]/)[0].trim()}${blas}`, plan, spread(speedUp), ...cells]];
    }),
  );
  return table(['', 'plan', 'over one device', 'ideal of the schedule', 'share of it'], rows);
}

const goalText = ({ goal, atMost }) => `${atMost ? '≤' : '≥'} ${goal}`;

export function goalsTable(results) {
  const rows = goalsOf(results).map((goal) => [
    goal.what,
    goal.of,
    goalText(goal),
    `${spread(goal.measured)}${goal.note ? ` (${goal.note})` : ''}`,
    goal.reached ? 'yes' : '**no**',
  ]);
  return table(['', '', 'goal', 'measured', 'reached'], rows);
}

const range = (values) => {
  const [low, high] = [two(Math.min(...values)), two(Math.max(...values))];
  return low === high ? low : `${low} to ${high}`;
};

/** What the tables say, in sentences. */
export function sentences(results) {
  const goals = goalsOf(results);
  const missed = goals.filter((goal) => !goal.reached);
  const lines = [];
  const products = Object.values(results.products);
  const shares = (label) =>
    products.flatMap((race) => rowOf(race, label) ?? []).map((row) => rateOf(row) / loopOf(row));
  if (products.length > 0) {
    const parts = [
      ['`strict` reaches', 'Partita'],
      ['*fused*', 'Partita, fused'],
      ['jax-js', 'jax-js'],
      ['TensorFlow.js', 'tfjs-wasm'],
    ].flatMap(([name, label]) => (shares(label).length > 0 ? [`${name} ${range(shares(label))}`] : []));
    lines.push(
      `Of the register loop's rate, the faster of the two, products ${parts.slice(0, 2).join(' and ')}${
        parts.length > 2 ? ` (${parts.slice(2).join(', ')})` : ''
      }.`,
    );
  }
  for (const race of Object.values(results.models)) {
    const name = race.title.split(/[,(]/)[0].trim();
    const over = (ours, theirs) => timesAsFast(race, ours, theirs)?.[0];
    const parts = [
      ['jax-js', over('Partita', 'jax-js')],
      ['TensorFlow.js tuned by hand', over('Partita', 'tfjs-wasm, tuned by hand')],
      ['PyTorch with one thread', over('Partita', 'torch')],
    ].flatMap(([who, times]) => (times === undefined ? [] : [`${digits(times)} times as fast as ${who}`]));
    const blas = over('Partita, BLAS', 'torch');
    if (blas !== undefined) parts.push(`with BLAS ${digits(blas)} times as fast as PyTorch`);
    if (parts.length > 0) lines.push(`${name}: one device is ${parts.join(', ')}.`);
  }
  lines.push(
    missed.length === 0
      ? `All ${goals.length} goals are reached.`
      : `${goals.length - missed.length} of ${goals.length} goals are reached; missed are ${[...new Set(missed.map(({ what, of }) => `${what} (${of})`))].join('; ')}.`,
  );
  return lines.join('\n');
}

/** How the figures came about: whose processor, how many rounds, which library. */
export function conditions({ products, models }) {
  const races = [...Object.values(products), ...Object.values(models)];
  const say = (name, of) => {
    const values = [...new Set(races.flatMap(of))];
    return values.length > 0 ? `${name} ${values.join(', ')}` : undefined;
  };
  const rows = (race, has) => race.rows.filter(has);
  return [
    say('Processor:', (race) => race.processor ?? []),
    say('Node', (race) => race.node ?? []),
    say('PyTorch', (race) => rows(race, (r) => r.peer === 'torch').flatMap((r) => r.version ?? [])),
    say('BLAS of Partita:', (race) => rows(race, (r) => r.peer === 'partita').flatMap((r) => r.blas ?? [])),
    say('BLAS of PyTorch:', (race) => rows(race, (r) => r.peer === 'torch').flatMap((r) => r.blas ?? [])),
    say('rounds of windows:', (race) => race.rounds ?? []),
  ]
    .filter(Boolean)
    .join('; ')
    .concat('.');
}

/** The page with the races' sections renewed. */
export function renderPage(page, results) {
  const models = Object.values(results.models);
  const tables = [
    ...(Object.keys(results.products).length > 0 ? [productsTable(results.products)] : []),
    ...models.map(stepsTable),
    ...(models.some((race) => twoDevices(race)) ? [`**Two devices**\n\n${pairsTable(results.models)}`] : []),
    conditions(results),
  ];
  return withSection(
    withSection(page, 'compare', tables.join('\n\n')),
    'goals',
    `${sentences(results)}\n\n${goalsTable(results)}`,
  );
}

// The tables and sentences of docs/performance.md that come from the races: nothing in them is written by hand.
import {
  fastestLoop,
  goalsOf,
  overPrototype,
  prototypeGhz,
  prototypeNanoseconds,
  rowOf,
  timesAsFast,
  twoDevices,
} from './goals.mjs';
import { overheadSection, partsOf } from './overhead-page.mjs';
import { cyclesOf, nanosecondsOf, quietSharesOf, ratesOf, ratios, sharesOf, steadyWithin } from './race.mjs';
import { withSection } from './results.mjs';
import { scalingSection } from './scaling-page.mjs';
import { median, spreadOf } from './statistics.mjs';
import { digits, digitsToMiss, spread, table, two } from './text.mjs';

const middle = ({ machine }, name, places) => median(machine[name]).toFixed(places);
const loops = (row) => `${middle(row, 'chained', 1)}, ${middle(row, 'independent', 1)}`;
const ghz = (row) => middle(row, 'ghz', 2);
const mebibytes = (bytes) => (bytes === null ? '–' : (bytes / 2 ** 20).toFixed(0));
const titleOf = (task) => task.replace('-', ' ').replaceAll('x', ' × ');
const modelOf = (race) => race.title.split(/[,(]/)[0].trim();

const sizeOf = (task) => task.split('-')[0];
const formOf = (task) => task.split('-')[1];
/** Rows of the contenders of a race: who runs only to say what the machine gives stands elsewhere. */
const contending = ({ rows }) => rows.filter((row) => !row.atOnce);

/** Tasks of one shape stand together, whatever was measured first. */
function byShape(products) {
  const shapes = [...new Set(Object.keys(products).map(sizeOf))];
  const place = (task) => shapes.indexOf(sizeOf(task));
  return Object.entries(products).sort(([a], [b]) => place(a) - place(b));
}

/** Rates of all products, with the loops and the clock as they were beside Partita's. */
export function productsTable(products) {
  const tasks = byShape(products);
  const fastest = fastestLoop(products);
  const labels = [...new Set(tasks.flatMap(([, { rows }]) => rows.map((row) => row.label)))];
  const head = ['M × K × N', 'form', 'loops', 'GHz', ...labels, 'share of the loop', 'in quiet windows'];
  const rows = tasks.map(([task, race]) => {
    const ours = rowOf(race, 'Partita');
    const rates = labels.map((label) => {
      const row = rowOf(race, label);
      return row ? median(ratesOf(row)).toFixed(1) : '–';
    });
    const beside = ours ? [loops(ours), ghz(ours)] : ['–', '–'];
    const shares = ours ? [spread(spreadOf(sharesOf(ours))), quietCell(ours, fastest)] : ['–', '–'];
    return [titleOf(sizeOf(task)), formOf(task), ...beside, ...rates, ...shares];
  });
  return table(head, rows);
}

function quietCell(row, fastest) {
  const shares = quietSharesOf(row, fastest);
  return shares.length > 0 ? `${two(median(shares))} (${shares.length} of ${row.milliseconds.length})` : '–';
}

/** Kernels that write an element for each they read, beside a prototype of the same. */
export function elementwiseTable(elementwise) {
  const head = ['kernel', 'ns an element', 'cycles', 'GHz', "prototype's ns", 'its cycles', 'time over it'];
  const rows = Object.entries(elementwise).map(([name, race]) => {
    const [ours, theirs] = [rowOf(race, 'Partita'), rowOf(race, 'prototype')];
    const stated = prototypeNanoseconds[name];
    return [
      name,
      two(median(nanosecondsOf(ours))),
      two(median(cyclesOf(ours))),
      ghz(ours),
      theirs ? two(median(nanosecondsOf(theirs))) : `(${two(stated)})`,
      theirs ? two(median(cyclesOf(theirs))) : `(${two(stated * prototypeGhz)})`,
      spread(overPrototype(race, name).measured),
    ];
  });
  const inBrackets = Object.values(elementwise).some((race) => !rowOf(race, 'prototype'));
  const note = inBrackets
    ? `\n\nIn brackets: what it took on a Zen 5 at ${prototypeGhz} GHz. Over those, cycles are compared.`
    : '';
  return `**Elements, 64 KiB an operand**\n\n${table(head, rows)}${note}`;
}

/** What a graph without the matrices of attention's weights holds at its peak, exactly: plans, not windows. */
export function attentionTable({ title, activationBytes }) {
  const ways = Object.keys(activationBytes.unfused);
  const base = activationBytes.unfused.none;
  const rows = Object.entries(activationBytes).map(([graph, bytes]) => [
    graph,
    ...ways.map((way) => `${(bytes[way] / 2 ** 20).toFixed(1)} (${two(bytes[way] / base)})`),
  ]);
  return `**Peak activation bytes: ${title}**\n\n${table(['attention, MiB', ...ways.map((way) => `recompute \`${way}\``)], rows)}`;
}

function labelOf({ label, schedule, microbatches, setUp, measuredSteps }) {
  const plan = schedule ? `${schedule}, M = ${microbatches}` : setUp;
  const few = measuredSteps && `${measuredSteps} ${measuredSteps === 1 ? 'step' : 'steps'}`;
  const more = [plan, few].filter(Boolean).join('; ');
  return more ? `${label} (${more})` : label;
}

/** Steps of one model, and why who is not there is not. */
export function stepsTable({ title, declined, ...race }) {
  const rows = contending(race);
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

/** What two devices make of one's step, beside what their schedule allows and what two cores give. */
export function pairsTable(models) {
  const told = (values) => (values ? spread(values) : '–');
  const rows = Object.values(models).flatMap((race) =>
    ['', ', BLAS'].flatMap((blas) => {
      const found = twoDevices(race, blas);
      if (!found) return [];
      const { row, speedUp, atOnce, ideal, share, shareOfCores } = found;
      const plan = `${row.schedule}, M = ${row.microbatches}`;
      const ideals = [ideal ? two(ideal) : '–', told(share), told(atOnce), told(shareOfCores)];
      return [[`${modelOf(race)}${blas}`, plan, spread(speedUp), ...ideals, loops(row), ghz(row)]];
    }),
  );
  const head = ['', 'plan', 'over one device', 'ideal of the schedule', 'share of it'];
  const cores = ['two of one device at once, over one alone', 'share of the ideal on such cores'];
  return table([...head, ...cores, 'loops, GFLOP/s', 'GHz'], rows);
}

const goalText = ({ goal, atMost, unit }) => [atMost ? '≤' : '≥', goal, unit].filter(Boolean).join(' ');

const measuredText = ({ measured, goal, reached }) => spread(measured, reached ? 0 : digitsToMiss(measured[0], goal));

export function goalsTable(goals) {
  const rows = goals.map((goal) => [
    goal.what,
    goal.of,
    goalText(goal),
    [measuredText(goal), goal.unit, goal.note && `(${goal.note})`].filter(Boolean).join(' '),
    goal.reached ? 'yes' : '**no**',
  ]);
  return table(['', '', 'goal', 'measured', 'reached'], rows);
}

const range = (values) => {
  const [low, high] = [two(Math.min(...values)), two(Math.max(...values))];
  return low === high ? low : `${low} to ${high}`;
};

/** What the tables say, in sentences. */
export function sentences({ products = {}, models = {} }, goals) {
  const missed = goals.filter((goal) => !goal.reached);
  const lines = [];
  const shares = (label) =>
    Object.values(products)
      .flatMap((race) => rowOf(race, label) ?? [])
      .map((row) => median(sharesOf(row)));
  const parts = [
    ['`strict` reaches', 'Partita'],
    ['`relaxed`', 'Partita, relaxed'],
    ['jax-js', 'jax-js'],
    ['TensorFlow.js', 'tfjs-wasm'],
  ].flatMap(([name, label]) => (shares(label).length > 0 ? [`${name} ${range(shares(label))}`] : []));
  if (parts.length > 0)
    lines.push(
      `Of the register loop's rate, the faster of the two, products ${parts.slice(0, 2).join(' and ')}${
        parts.length > 2 ? ` (${parts.slice(2).join(', ')})` : ''
      }.`,
    );
  for (const race of Object.values(models)) {
    const over = (ours, theirs) => timesAsFast(race, ours, theirs)?.[0];
    const parts = [
      ['jax-js', over('Partita', 'jax-js')],
      ['TensorFlow.js tuned by hand', over('Partita', 'tfjs-wasm, tuned by hand')],
      ['PyTorch with one thread', over('Partita', 'torch')],
    ].flatMap(([who, times]) => (times === undefined ? [] : [`${digits(times)} times as fast as ${who}`]));
    const blas = over('Partita, BLAS', 'torch');
    if (blas !== undefined) parts.push(`with BLAS ${digits(blas)} times as fast as PyTorch`);
    if (parts.length > 0) lines.push(`${modelOf(race)}: one device is ${parts.join(', ')}.`);
  }
  const names = [...new Set(missed.map(({ what }) => what))].map((what) => {
    const of = missed.filter((goal) => goal.what === what && goal.of).map((goal) => goal.of);
    return of.length > 0 ? `${what} (${of.join('; ')})` : what;
  });
  lines.push(
    missed.length === 0
      ? `All ${goals.length} goals are reached.`
      : `${goals.length - missed.length} of ${goals.length} goals are reached; missed are ${names.join('; ')}.`,
  );
  return lines.join('\n');
}

const racesOf = ({ products = {}, elementwise = {}, models = {} }) =>
  [products, elementwise, models].flatMap((part) => Object.values(part));

/** How the figures came about: how many rounds, whose library, what was thrown away. */
export function conditions(results) {
  const races = racesOf(results);
  const say = (name, of) => {
    const values = [...new Set(races.flatMap(of))];
    return values.length > 0 ? `${name} ${values.join(', ')}` : undefined;
  };
  const rows = (race, has) => race.rows.filter(has);
  const all = races.flatMap((race) => race.rows);
  const count = (of) => all.reduce((total, row) => total + of(row), 0);
  const [windows, discarded, unsteady] = [
    count((row) => row.milliseconds.length),
    count((row) => row.discarded ?? 0),
    count((row) => row.unsteady ?? 0),
  ];
  const facts = [
    say('PyTorch', (race) => rows(race, (r) => r.peer === 'torch').flatMap((r) => r.version ?? [])),
    say('BLAS of Partita:', (race) => rows(race, (r) => r.peer === 'partita').flatMap((r) => r.blas ?? [])),
    say('BLAS of PyTorch:', (race) => rows(race, (r) => r.peer === 'torch').flatMap((r) => r.blas ?? [])),
    say('rounds of windows:', (race) => race.rounds ?? []),
  ].filter(Boolean);
  const lost =
    `Of ${windows + discarded} windows, ${discarded} were taken again because the loops in front of them and behind ` +
    `differed by more than ${(100 * steadyWithin).toFixed(0)} %; ${unsteady} are counted although they did.`;
  return [facts.length > 0 ? `${facts.join('; ')}.` : '', windows > 0 ? lost : ''].filter(Boolean).join(' ');
}

/** On what machine it was, and whether all of it on one. */
export function machineSection({ results, overhead, curves }) {
  const parts = [
    ['the races', racesOf(results)],
    ['what stands beside the kernels', partsOf(overhead)],
    ['the curves', Object.values(curves)],
  ].filter(([, races]) => races.length > 0);
  const machinesOf = (races, key) => [...new Set(races.flatMap((race) => race[key] ?? []))].join('; ');
  const processors = new Map(parts.map(([name, races]) => [name, machinesOf(races, 'processor')]));
  const all = parts.flatMap(([, races]) => races);
  const where =
    new Set(processors.values()).size === 1
      ? `one machine: ${[...processors.values()][0]}`
      : `${processors.size} runs: ${[...processors].map(([name, processor]) => `${name} on ${processor}`).join('; ')}`;
  return `Figures of this page are those of ${where}, with Node ${machinesOf(all, 'node')}.`;
}

/**
 * The page with all that is measured renewed: `results` of the races, `overhead` of what stands beside the kernels, `curves` of
 * how a step grows.
 */
export function renderPage(page, { results, overhead = {}, curves = {} }) {
  const { products, elementwise = {}, plans = {}, models } = results;
  const has = (part) => Object.keys(part).length > 0;
  const tables = [
    ...(has(products) ? [`**Products, GFLOP/s**\n\n${productsTable(products)}`] : []),
    ...(has(elementwise) ? [elementwiseTable(elementwise)] : []),
    ...Object.values(models).map(stepsTable),
    ...(Object.values(models).some((race) => twoDevices(race)) ? [`**Two devices**\n\n${pairsTable(models)}`] : []),
    ...(plans.attention ? [attentionTable(plans.attention)] : []),
    conditions(results),
  ];
  const goals = goalsOf(results, overhead);
  const sections = {
    machine: machineSection({ results, overhead, curves }),
    overhead: overheadSection(overhead),
    compare: tables.join('\n\n'),
    goals: `${sentences(results, goals)}\n\n${goalsTable(goals)}`,
    scaling: scalingSection(curves),
  };
  return Object.entries(sections).reduce((text, [name, section]) => withSection(text, name, section), page);
}

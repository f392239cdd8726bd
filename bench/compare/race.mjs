// Windows in turn: who is measured, and what stands beside each figure.
import { median } from './statistics.mjs';

/** Losses within 1e-4 of each other (of the loss, where that is above 1: floats allow no more), as many as both have told. */
export function agree(ours, theirs) {
  const count = Math.min(ours.length, theirs.length);
  return (
    count >= 2 &&
    ours.slice(0, count).every((loss, i) => Math.abs(loss - theirs[i]) <= 1e-4 * Math.max(1, Math.abs(loss)))
  );
}

/** The limit that rates are compared with: the faster of the two register loops. */
export const limitOf = ({ chained, independent }) => Math.max(chained, independent);

/** How far the limit may move from one end of a window to the other. */
export const steadyWithin = 0.15;

/** Whether the machine was as fast behind a window as in front of it: another tenant's work takes a core's speed in steps. */
export function isSteady(before, after) {
  const [a, b] = [limitOf(before), limitOf(after)];
  return Math.abs(a - b) <= steadyWithin * Math.max(a, b);
}

/**
 * Takes turns, `rounds` windows of `seconds` each behind one to warm up, in an order that changes, each between two looks at the
 * machine (its register loops and clock), the second of which is the first of the next. A window whose looks differ is thrown
 * away and taken again, `rounds` times for each contender at most. A row a contender, round by round: milliseconds of a step
 * and the mean of the two looks. Whose steps are slow (`info.slow`) is not asked again.
 */
export async function race(contenders, machine, { rounds, seconds, task, look = 0.05 }) {
  const told = (contender) => (task === undefined ? contender.info : contender.info.tasks[task]);
  const rows = contenders.map((contender) => ({
    contender,
    slow: told(contender).slow,
    milliseconds: [],
    machine: { chained: [], independent: [], ghz: [] },
    discarded: 0,
    unsteady: 0,
  }));
  let before;
  const note = (row, looks) => {
    for (const [name, values] of Object.entries(row.machine))
      values.push(looks.reduce((sum, seen) => sum + seen[name], 0) / looks.length);
  };
  async function window(row) {
    for (;;) {
      before ??= await machine.ask(look);
      const milliseconds = await row.contender.window(seconds, task);
      const looks = [before, await machine.ask(look)];
      before = looks[1];
      const steady = isSteady(...looks);
      if (!steady && row.discarded < rounds) {
        row.discarded++;
        continue;
      }
      if (!steady) row.unsteady++;
      row.milliseconds.push(milliseconds);
      return note(row, looks);
    }
  }
  for (const row of rows.filter((r) => r.slow)) {
    row.milliseconds = row.slow.slice(-1);
    note(row, [await machine.ask(look)]);
  }
  const quick = rows.filter((r) => !r.slow);
  for (const { contender } of quick) await contender.window(Math.min(seconds, 0.2), task);
  for (let round = 0; round < rounds; round++) {
    const order = quick.map((_, i) => quick[(i + round) % quick.length]);
    for (const row of round % 2 === 0 ? order : order.reverse()) await window(row);
  }
  return rows.map(({ contender, slow, milliseconds, machine: looks, discarded, unsteady }) => {
    const { losses, slow: _, tasks: __, declined: ___, ...info } = { ...contender.info, ...told(contender) };
    return {
      label: contender.label,
      ...info,
      lastLoss: losses.at(-1),
      milliseconds,
      ...(slow ? { measuredSteps: slow.length } : {}),
      machine: looks,
      ...(discarded > 0 ? { discarded } : {}),
      ...(unsteady > 0 ? { unsteady } : {}),
    };
  });
}

/** One over the other, round by round; a slow one's only time over the median of the other. */
export function ratios(row, base) {
  const [a, b] = [row.milliseconds, base.milliseconds];
  if (a.length === b.length) return a.map((time, i) => time / b[i]);
  return a.length === 1 ? [a[0] / median(b)] : [median(a) / b[0]];
}

/** GFLOP/s of a row of products, window by window. */
export const ratesOf = ({ flops, milliseconds }) => milliseconds.map((ms) => flops / (ms * 1e6));

/** The limit beside each window. */
export const limitsOf = ({ machine: { chained, independent } }) =>
  chained.map((rate, i) => limitOf({ chained: rate, independent: independent[i] }));

/** Each window's rate over that of the loop beside it. */
export function sharesOf(row) {
  const limits = limitsOf(row);
  return ratesOf(row).map((rate, i) => rate / limits[i]);
}

/** Within so much of the fastest loop nobody else had the core. */
const quietWithin = 0.1;

/** Of these, the shares of windows whose limit came so close to the fastest of all. */
export function quietSharesOf(row, fastest) {
  const limits = limitsOf(row);
  return sharesOf(row).filter((_, i) => limits[i] >= (1 - quietWithin) * fastest);
}

/** Nanoseconds of an element, window by window; by the clock beside each, cycles. */
export const nanosecondsOf = ({ elements, milliseconds }) => milliseconds.map((ms) => (ms * 1e6) / elements);
export const cyclesOf = (row) => nanosecondsOf(row).map((ns, i) => ns * row.machine.ghz[i]);

// Windows in turn: who is measured, and what stands beside each figure.
import { median } from './statistics.mjs';

/** Losses within 1e-4 of each other, as many as both have told. */
export function agree(ours, theirs) {
  const count = Math.min(ours.length, theirs.length);
  return (
    count >= 2 &&
    ours.slice(0, count).every((loss, i) => Math.abs(loss - theirs[i]) <= 1e-4 * Math.max(1, Math.abs(loss)))
  );
}

/**
 * Takes turns, `rounds` windows of `seconds` each behind one to warm up, in an order that changes, with a look at the machine
 * (its register loops and clock) in front of each. A row a contender: milliseconds of a step, round by round, and the machine's
 * readings. Whose steps are slow (`info.slow`) is not asked again.
 */
export async function race(contenders, machine, { rounds, seconds, task, look = 0.05 }) {
  const told = (contender) => (task === undefined ? contender.info : contender.info.tasks[task]);
  const rows = contenders.map((contender) => ({
    contender,
    slow: told(contender).slow,
    milliseconds: [],
    machine: { chained: [], independent: [], ghz: [] },
  }));
  const readings = async ({ machine: read }) => {
    const now = await machine.ask(look);
    for (const name of Object.keys(read)) read[name].push(now[name]);
  };
  for (const row of rows.filter((r) => r.slow)) {
    row.milliseconds = row.slow.slice(-1);
    await readings(row);
  }
  const quick = rows.filter((r) => !r.slow);
  for (let round = -1; round < rounds; round++) {
    const order = quick.map((_, i) => quick[(i + Math.max(0, round)) % quick.length]);
    for (const row of round % 2 === 0 ? order : order.reverse()) {
      const warmUp = round < 0;
      if (!warmUp) await readings(row);
      const milliseconds = await row.contender.window(warmUp ? Math.min(seconds, 0.2) : seconds, task);
      if (!warmUp) row.milliseconds.push(milliseconds);
    }
  }
  return rows.map(({ contender, slow, milliseconds, machine: read }) => {
    const { losses, slow: _, tasks: __, declined: ___, ...info } = { ...contender.info, ...told(contender) };
    return {
      label: contender.label,
      ...info,
      lastLoss: losses.at(-1),
      milliseconds,
      ...(slow ? { measuredSteps: slow.length } : {}),
      machine: Object.fromEntries(Object.entries(read).map(([name, values]) => [name, median(values)])),
    };
  });
}

/** One over the other, round by round; a slow one's only time over the median of the other. */
export function ratios(row, base) {
  const [a, b] = [row.milliseconds, base.milliseconds];
  if (a.length === b.length) return a.map((time, i) => time / b[i]);
  return a.length === 1 ? [a[0] / median(b)] : [median(a) / b[0]];
}

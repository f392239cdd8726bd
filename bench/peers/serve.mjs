import { createInterface } from 'node:readline';

const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

/** Milliseconds of a step from which on nobody waits for eleven of them, nor for windows. */
const slowest = 1000 * Number(process.env.SLOWEST_STEP_SECONDS ?? 5);

/** So many steps: `losses`, and where they take too long `slow`, what each behind the first took. */
async function firstSteps(step, count) {
  const [losses, slow] = [[], []];
  for (let i = 0; i < count; i++) {
    const start = performance.now();
    losses.push(await step());
    const milliseconds = performance.now() - start;
    if (i > 0) slow.push(milliseconds);
    if (i > 0 && milliseconds > slowest) return { losses, slow };
  }
  return { losses };
}

/**
 * What each contender's process does, in lines of JSON. It says { losses, …info } of its first eleven steps; `run SECONDS` is
 * answered with { milliseconds: […] }, one a step; `end` with { peakResidentBytes }, and the process ends. Whose steps take
 * longer than SLOWEST_STEP_SECONDS says so in `slow`. `step` resolves to the loss before the update; `rest`, if given, when
 * nothing of a step is left that has been begun ahead: the next turn is another's.
 */
export const serve = (info, step, rest) => serveTasks(info, { '': { step, rest } }, 11);

/**
 * The same for several kinds of steps, two first steps of each: a task is { step, …info }, told in `tasks`; `run SECONDS TASK`
 * picks one.
 */
export async function serveTasks(info, tasks, count = 2) {
  const told = {};
  for (const [name, { step, rest, readings, ...own }] of Object.entries(tasks)) {
    told[name] = { ...own, ...(await firstSteps(step, count)) };
    await rest?.();
  }
  say(told[''] ? { ...info, ...told[''] } : { ...info, tasks: told });
  for await (const line of createInterface({ input: process.stdin })) {
    const [word, seconds, task = ''] = line.split(' ');
    if (word === 'end') break;
    const { step, rest, readings } = tasks[task];
    const milliseconds = [];
    const end = performance.now() + 1000 * Number(seconds);
    do {
      const start = performance.now();
      await step();
      milliseconds.push(performance.now() - start);
    } while (performance.now() < end);
    await rest?.();
    say({ milliseconds, ...readings?.() });
  }
  say({ peakResidentBytes: 1024 * process.resourceUsage().maxRSS });
  process.exit(0);
}

/** A contender that cannot take part says why. */
export function decline(error) {
  say({
    declined: String(error?.message ?? error)
      .split('\n')[0]
      .slice(0, 200),
  });
  process.exit(0);
}

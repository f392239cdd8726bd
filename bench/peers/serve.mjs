import { createInterface } from 'node:readline';

const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

/**
 * What each contender's process does: eleven steps whose losses it tells, then windows of steps on demand. Lines of JSON:
 * it says { losses, …info }; `run SECONDS` is answered with { milliseconds: […] }, one a step; `end` with
 * { peakResidentBytes }, and the process ends. `step` resolves to the loss before the update.
 */
export async function serve(info, step) {
  const losses = [];
  for (let i = 0; i < 11; i++) losses.push(await step());
  say({ ...info, losses });
  for await (const line of createInterface({ input: process.stdin })) {
    const [word, seconds] = line.split(' ');
    if (word === 'end') break;
    const milliseconds = [];
    const end = performance.now() + 1000 * Number(seconds);
    do {
      const start = performance.now();
      await step();
      milliseconds.push(performance.now() - start);
    } while (performance.now() < end);
    say({ milliseconds });
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

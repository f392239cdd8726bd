/** Scheduling problems drawn at random, and the plainest way to solve small ones. */
import {
  type AutoScheduleOptions,
  clockUntilStuck,
  type Schedule,
  type ScheduleShape,
  type StageEdge,
  type Task,
} from '../../src/schedule/index.ts';
import { Choices } from './random-model.ts';

const kinds = ['F', 'B', 'W', 'BW'];

/** Stages in any acyclic graph on any devices, with times and links in whole numbers and budgets that bind or do not. */
export function drawProblem(seed: number) {
  const choices = new Choices(seed);
  const stages = 1 + choices.below(5);
  const devices = 1 + choices.below(3);
  const placement = Array.from({ length: stages }, () => choices.below(devices));
  const names = Array.from({ length: stages }, (_, s) => s).sort(() => choices.below(3) - 1);
  const dependencies = names.flatMap((from, i) =>
    names.slice(i + 1).flatMap((to): StageEdge[] => (choices.below(2) > 0 ? [[from, to]] : [])),
  );
  const times = Array.from({ length: 4 * stages }, () => choices.below(8));
  const links = Array.from({ length: stages * stages }, () => choices.below(4));
  const limited = choices.below(4) > 0;
  return {
    stages,
    devices,
    microbatches: 1 + choices.below(5),
    placement,
    dependencies,
    splitBackward: choices.below(4) > 0,
    durations: (t: Task) => times[4 * t.stage + kinds.indexOf(t.kind)]! + (t.microbatch % 2),
    link: (from: number, to: number) => links[from * stages + to]!,
    hold: placement.map(() => choices.below(4)),
    keep: placement.map(() => choices.below(5)),
    budget: Array.from({ length: devices }, () => (limited ? 1 + choices.below(16) : Infinity)),
  };
}

/** The most that each device holds, told apart from the program's own accounting. */
export function heldOf({ rows, devices }: Schedule, memory: NonNullable<AutoScheduleOptions['memory']>): number[] {
  const { perMicrobatch, perWeightGradient = perMicrobatch } = memory;
  return Array.from({ length: devices }, (_, d) => {
    let held = 0;
    let peak = 0;
    for (const { kind, stage } of rows[d]!) {
      const [hold, keep] = [perMicrobatch[stage]!, perWeightGradient[stage]!];
      if (kind === 'F') held += hold;
      if (kind === 'B') held += keep - hold;
      peak = Math.max(peak, held);
      if (kind === 'W') held -= keep;
      if (kind === 'BW') held -= hold;
    }
    return peak;
  });
}

/** Every row of a device: its stages' tasks in every order that keeps each stage's own. */
function allRows(own: readonly number[], microbatches: number, split: boolean): Task[][] {
  const rows: Task[][] = [];
  const counts = own.map(() => ({ F: 0, B: 0, W: 0 }));
  const row: Task[] = [];
  const visit = (): void => {
    if (counts.every((c) => c.W === microbatches)) rows.push([...row]);
    own.forEach((stage, i) => {
      const c = counts[i]!;
      const take = (kind: Task['kind'], ...counted: (keyof typeof c)[]): void => {
        row.push({ kind, stage, microbatch: c[counted[0]!] });
        for (const k of counted) c[k]++;
        visit();
        for (const k of counted) c[k]--;
        row.pop();
      };
      if (c.F < microbatches) take('F', 'F');
      if (split && c.B < c.F) take('B', 'B');
      if (split && c.W < c.B) take('W', 'W');
      if (c.B < c.F && c.W === c.B) take('BW', 'B', 'W');
    });
  };
  visit();
  return rows;
}

/** The shortest of all schedules there are. */
export function bruteForce(
  { stages, microbatches, placement, devices }: ScheduleShape,
  options: AutoScheduleOptions,
): number {
  const { memory, dependencies, durations, link, splitBackward } = options;
  const choices = Array.from({ length: devices! }, (_, d) => {
    const own = [...Array(stages).keys()].filter((s) => placement![s] === d);
    const rows = allRows(own, microbatches, splitBackward!);
    if (memory === undefined) return rows;
    const fits = (row: Task[]): boolean =>
      heldOf({ rows: [row], devices: 1 } as unknown as Schedule, memory)[0]! <= memory.budget[d]!;
    return rows.filter(fits);
  });
  let best = Infinity;
  const visit = (rows: Task[][]): void => {
    if (rows.length < devices!) {
      for (const row of choices[rows.length]!) visit([...rows, row]);
      return;
    }
    const schedule = { name: '', stages, microbatches, placement: placement!, devices: devices!, rows };
    const clock = clockUntilStuck(schedule, { dependencies, durations, link });
    if (clock.waiting.length === 0) best = Math.min(best, clock.makespan);
  };
  visit([]);
  return best;
}

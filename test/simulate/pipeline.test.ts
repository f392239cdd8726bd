import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readScheduleCsv, writeScheduleCsv } from '../../src/schedule/csv.ts';
import { makeSchedule } from '../../src/schedule/named.ts';
import { playClock } from '../../src/schedule/play.ts';
import type { Schedule } from '../../src/schedule/schedule.ts';
import { type Task, task, taskKey } from '../../src/schedule/task.ts';
import { criticalPath, idleCauses, pipelineProgram, simulate } from '../../src/simulate/index.ts';
import { clusterOf, delay } from './support.ts';

/** The backward of each microbatch in two, the weights' part `lag` tasks later. */
function split(schedule: Schedule, lag: number): Schedule {
  const rows = schedule.rows.map((row) => {
    const tasks: Task[] = [];
    const due: { task: Task; at: number }[] = [];
    row.forEach((t, at) => {
      while (due.length > 0 && due[0]!.at <= at) tasks.push(due.shift()!.task);
      if (t.kind !== 'BW') tasks.push(t);
      else {
        tasks.push({ ...t, kind: 'B' });
        due.push({ task: { ...t, kind: 'W' }, at: at + lag });
      }
    });
    return [...tasks, ...due.map((d) => d.task)];
  });
  return { ...schedule, rows };
}

const schedules = fc
  .record({
    name: fc.constantFrom('gpipe', '1f1b') as fc.Arbitrary<'gpipe' | '1f1b'>,
    placement: fc.constantFrom([0], [0, 1], [0, 1, 2, 3], [0, 0, 1, 1], [0, 1, 0, 1], [0, 1, 2, 2, 1, 0]),
    microbatches: fc.integer({ min: 1, max: 6 }),
    lag: fc.constantFrom(null, 1, 3),
    file: fc.boolean(),
  })
  .map(({ lag, file, name, ...shape }) => {
    const named = makeSchedule(name, { ...shape, stages: shape.placement.length });
    const schedule = lag === null ? named : split(named, lag);
    return file ? readScheduleCsv(writeScheduleCsv(schedule)) : schedule;
  });

const programOf = (schedule: Schedule, seconds: (t: Task) => number, postAhead?: number) =>
  pipelineProgram({ ...schedule, row: (d) => schedule.rows[d]!, seconds, messageBytes: () => 1, postAhead });

describe('generated pipelines', () => {
  it('take as long as the stage clock says, task by task, with unequal stages and links', () => {
    fc.assert(
      fc.property(schedules, fc.infiniteStream(fc.integer({ min: 0, max: 50 })), (schedule, times) => {
        const drawn = new Map<string, number>();
        const draw = (key: string): number => {
          if (!drawn.has(key)) drawn.set(key, times.next().value);
          return drawn.get(key)!;
        };
        const seconds = (t: Task) => draw(taskKey(t));
        const linkOf = (a: number, b: number) => (a === b ? 0 : draw(`${a}>${b}`));
        const { placement } = schedule;
        const clock = playClock(schedule, {
          durations: seconds,
          link: (from, to) => linkOf(placement[from]!, placement[to]!),
        });
        const cluster = clusterOf(schedule.devices, (from, to) => delay(linkOf(from, to)));
        const simulation = simulate(programOf(schedule, seconds), cluster);
        const timeline = simulation.timeline!;
        const played = schedule.rows.map((_, d) =>
          Array.from({ length: timeline.count(d) }, (_, i) => timeline.at(d, i))
            .filter((a) => a.kind === 'compute')
            .map(({ index, begin, end }) => ({ task: simulation.source.task(d, index), start: begin, end })),
        );
        expect(played).toEqual(
          clock.rows.map((row) => row.map(({ task: t, start, end }) => ({ task: taskKey(t), start, end }))),
        );
        expect(criticalPath(simulation).seconds).toBe(clock.makespan);
      }),
      { numRuns: 150, seed: 11 },
    );
  });

  it('have a critical path as long as the step, and causes for all their idle time, on any links', () => {
    fc.assert(
      fc.property(
        schedules,
        fc.infiniteStream(fc.double({ min: 0, max: 3, noNaN: true })),
        fc.constantFrom(undefined, 1, 2),
        fc.boolean(),
        (schedule, times, postAhead, shares) => {
          const drawn = new Map<string, number>();
          const seconds = (t: Task) => {
            const key = `${t.kind}${t.stage}`;
            if (!drawn.has(key)) drawn.set(key, times.next().value);
            return drawn.get(key)!;
          };
          const media = shares ? [{ name: 'bus', bytesPerSecond: 1.5, carries: () => true }] : undefined;
          const cluster = clusterOf(schedule.devices, { bytesPerSecond: 1, secondsLatency: 0.125 }, media);
          const jitter = { variation: 0.2, seed: 3 };
          const play = (ahead: number | undefined) =>
            simulate(programOf(schedule, seconds, ahead), cluster, { jitter });
          let simulation: ReturnType<typeof simulate>;
          try {
            simulation = play(postAhead);
          } catch (error) {
            expect(error).toMatchObject({ code: 'simulation-deadlock' });
            simulation = play(undefined); // sends in a circle: only posting earlier breaks it
          }
          const { stepSeconds, devices } = simulation;
          const path = criticalPath(simulation);
          expect(path.seconds).toBe(stepSeconds);
          path.segments.forEach((s, i) => {
            expect(s.begin).toBe(i === 0 ? 0 : path.segments[i - 1]!.end);
          });
          const busy = devices.reduce((sum, d) => sum + d.busySeconds, 0);
          const idle = devices.length * stepSeconds - busy;
          const causes = idleCauses(simulation);
          expect(causes.reduce((sum, c) => sum + c.seconds, 0)).toBeCloseTo(idle, 8);
          for (const kind of ['post', 'receive', 'barrier', 'end'] as const) {
            const waited = devices.reduce((sum, d) => sum + d.waiting[kind], 0);
            expect(causes.reduce((sum, c) => sum + (c.wait === kind ? c.seconds : 0), 0)).toBeCloseTo(waited, 8);
          }
          for (const d of devices) {
            const waited = Object.values(d.waiting).reduce((a, b) => a + b, 0);
            expect(d.busySeconds + waited).toBeCloseTo(stepSeconds, 8);
          }
        },
      ),
      { numRuns: 100, seed: 12 },
    );
  });

  it('post as far ahead as they are told', () => {
    const schedule = makeSchedule('1f1b', { stages: 2, microbatches: 3 });
    const kinds = (ahead: number | undefined) => {
      const actions = programOf(schedule, () => 1, ahead).actions(1);
      return Array.from({ [Symbol.iterator]: () => actions }, (a) => (a.kind === 'compute' ? 'C' : a.kind[0])).join('');
    };
    // F0 B0 F1 B1 F2 B2 on the last device.
    expect(kinds(undefined)).toBe('ppprCCsrCCsrCCs');
    expect(kinds(0)).toBe('prCCsprCCsprCCs');
    expect(kinds(1)).toBe('prCpCsrCpCsrCCs');
  });

  it('post no more than they are told, where that is more than is posted at once', () => {
    const microbatches = 60;
    const schedule = makeSchedule('gpipe', { stages: 2, microbatches });
    const actions = programOf(schedule, () => 1, 40).actions(1);
    let posts = 0;
    for (let a = actions.next(); !a.done && a.value.kind === 'post'; a = actions.next()) posts++;
    // The task at hand, and those that are 40 ahead of it.
    expect(posts).toBe(41);
  });

  it('send what each direction has to send', () => {
    const schedule = makeSchedule('gpipe', { stages: 3, microbatches: 2 });
    const messageBytes = (from: number, to: number) => 10 * from + to;
    const program = pipelineProgram({ ...schedule, row: (d) => schedule.rows[d]!, seconds: () => 1, messageBytes });
    const sent = [0, 1, 2].map((device) => {
      const actions = program.actions(device);
      const all = Array.from({ [Symbol.iterator]: () => actions }, (a) => a);
      return all.flatMap((a) => (a.kind === 'send' ? [`${a.peer}:${a.bytes}`] : []));
    });
    expect(sent).toEqual([
      ['1:1', '1:1'],
      ['2:12', '2:12', '0:10', '0:10'],
      ['1:21', '1:21'],
    ]);
  });

  it('end in updates behind a barrier, and run on devices of different speeds', () => {
    const schedule = makeSchedule('gpipe', { stages: 2, microbatches: 2 });
    const program = pipelineProgram({
      ...schedule,
      row: (d) => schedule.rows[d]!,
      seconds: () => 1,
      speed: (d) => (d === 0 ? 2 : 1),
      messageBytes: () => 0,
      updateSeconds: () => 3,
    });
    // Device 0: F0 F1 in 0.5 each; device 1 computes 0.5 … 4.5; device 0 receives at 3.5 and 4.5, ends at 5; updates.
    const simulation = simulate(program, clusterOf(2, delay(0)));
    expect(simulation.stepSeconds).toBe(8);
    expect(simulation.devices.map((d) => d.computeSeconds)).toEqual([3.5, 7]);
    expect(program.task(0, 11)).toBe('U');
    expect([program.describe(0, 10), program.describe(0, 11)]).toEqual(['barrier', 'U']);
    expect(program.describe(1, 2)).toBe('receive message 0 of device 0');
  });

  it('refuse rows that do not fit', () => {
    const of = (rows: Task[][]) =>
      pipelineProgram({
        stages: 2,
        microbatches: 1,
        devices: 2,
        placement: [0, 1],
        row: (d) => rows[d]!,
        seconds: () => 1,
        messageBytes: () => 1,
      });
    const error = (message: string) => expect.objectContaining({ code: 'pipeline-task', message });
    expect(() => of([[task('F', 1, 0)], []])).toThrow(
      error('1F0 stands in the row of device 0, and stage 1 is on device 1'),
    );
    for (const stranger of [task('F', 0, 1), task('F', 0, -1), task('F', 2, 0), task('F', -1, 0)]) {
      expect(() => of([[stranger], []])).toThrow(
        error(`${taskKey(stranger)} in the row of device 0 is not of the 2 stages and 1 microbatches`),
      );
    }
    expect(() => simulate(of([[], [task('F', 1, 0)]]), clusterOf(2))).toThrow(
      error('stage 1 waits for 0F0, and no row has it'),
    );
  });
});

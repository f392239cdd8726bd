/** Timed sessions of several layouts, in turns: a machine that slows down slows all of them. */
import type { Plan } from '../plan/plan.ts';
import type { PreparedExperiment } from '../train/experiment/prepare.ts';
import { type TimedSteps, timeLayout } from './layout.ts';
import type { StudyRecorder } from './recorder.ts';
import { spreadOf } from './statistics.ts';

export interface Timeable {
  readonly prepared: PreparedExperiment;
  readonly plan: Plan;
}

export interface TurnOptions<R> {
  /** Sessions of each layout, and steps that count in each. */
  readonly repeats: number;
  readonly timedSteps: number;
  /** What the journal knows a session by. */
  readonly task: (run: R) => object;
  /** Names it in the progress. */
  readonly text: (run: R) => string;
  readonly onSession?: (run: R, repeat: number, session: SessionFigures) => void;
}

export interface SessionFigures {
  readonly steps: number;
  readonly medianSeconds: number;
  readonly lowestSeconds: number;
  readonly highestSeconds: number;
  readonly medianBubble: number;
}

/** Steps before those that are timed. */
const warmUpSteps = 3;

/** Each repeat goes through all layouts, every other one backwards. The steps of all sessions, by layout. */
export async function timeInTurns<R extends Timeable, Tables>(
  runs: readonly R[],
  { repeats, timedSteps, task, text, onSession }: TurnOptions<R>,
  { journal, progress, signal }: Pick<StudyRecorder<Tables, 'timing'>, 'journal' | 'progress' | 'signal'>,
): Promise<Map<R, TimedSteps>> {
  const timed = new Map<R, TimedSteps>();
  for (let repeat = 0; repeat < repeats; repeat++) {
    const order = repeat % 2 === 0 ? runs : [...runs].reverse();
    for (const [i, run] of order.entries()) {
      progress('timing', repeat * runs.length + i, repeats * runs.length, text(run));
      const steps = await journal.once({ ...task(run), repeat, timedSteps, warmUpSteps }, () =>
        timeLayout(run.prepared, run.plan, { warmUp: warmUpSteps, steps: timedSteps, ...(signal ? { signal } : {}) }),
      );
      onSession?.(run, repeat, figuresOf(steps));
      const before = timed.get(run);
      timed.set(run, before ? joined(before, steps) : steps);
    }
  }
  return timed;
}

function figuresOf({ seconds, bubbles }: TimedSteps): SessionFigures {
  return {
    steps: seconds.length,
    medianSeconds: spreadOf(seconds).median,
    lowestSeconds: Math.min(...seconds),
    highestSeconds: Math.max(...seconds),
    medianBubble: spreadOf(bubbles).median,
  };
}

const joined = (a: TimedSteps, b: TimedSteps): TimedSteps => ({
  ...a,
  seconds: [...a.seconds, ...b.seconds],
  bubbles: [...a.bubbles, ...b.bubbles],
});

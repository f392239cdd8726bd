import { requireKinds } from '../core/options.ts';
import { SpeedTrace } from '../simulate/speed-trace.ts';
import type { RecordedSteps, RecordedWindow } from './record.ts';
import { requireRecorded } from './require-measured.ts';
import { isUndisturbed } from './run-delay.ts';

/** Pieces of a trace are at least so long: a clock reads tens of nanoseconds off. */
const PIECE_SECONDS = 50e-6;

/**
 * How fast each core was while copies of a plan on one device ran side by side: at any time the instruction that ran, its
 * mean over its time. One trace a copy, its steps one behind another. Where speeds change because of what else the machine
 * does, and not because of the program itself, any other program meets the same. Steps that waited for a core are left
 * out: who waits for others sooner gets it. undefined where a copy has no other step.
 */
export function speedTraces(recorded: RecordedSteps, window: RecordedWindow): SpeedTrace[] | undefined {
  requireRecorded('speedTraces', recorded);
  requireKinds('speedTraces', { window: ['record', window] });
  requireKinds('speedTraces', { 'window.copies': ['list', window.copies] });
  const { plan, program, instructions } = recorded;
  const { copies } = window;
  const [means] = instructions;
  const { length } = plan.programs[program]!.devices[0]!.instructions;
  const kept = copies.map((copy) => copy.recorded.filter(isUndisturbed));
  if (kept.some((steps) => steps.length === 0)) return undefined;
  return kept.map((steps) => {
    const seconds: number[] = [];
    const speeds: number[] = [];
    for (const { reports } of steps) {
      const times = reports[0]!.times!;
      let [spent, usual] = [0, 0];
      for (let i = 0; i < length; i++) {
        spent += (times[2 * i + 1]! - times[2 * i]!) / 1000;
        usual += means![i]!.seconds;
        if (spent < PIECE_SECONDS || usual === 0) continue;
        seconds.push(spent);
        speeds.push(usual / spent);
        [spent, usual] = [0, 0];
      }
    }
    return new SpeedTrace(seconds, speeds);
  });
}

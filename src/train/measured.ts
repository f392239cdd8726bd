/** What devices measure of their memory, held against the plan: a difference breaks its promise, and is an error. */
import { DeviceError } from '../core/errors.ts';
import { liveBytesOverTime } from '../memory/device-memory.ts';
import type { Plan } from '../plan/plan.ts';
import { memoryCategories } from '../program/instruction.ts';
import type { StepReport } from '../runtime/device-image.ts';

/** Each device's planned peak, in bytes, when these programs have run. */
export const plannedPeaksOf = ({ memory }: Plan, programs: Iterable<string>): number[] => {
  const names = [...programs];
  return memory.map(({ persistent, layouts }) =>
    Math.max(0, ...persistent.map((p) => p.offset + p.bytes), ...names.map((name) => layouts[name]!.height)),
  );
};

export function checkPeaks(planned: readonly number[], measured: readonly number[]): void {
  const wrong = planned.findIndex((bytes, device) => bytes !== measured[device]);
  if (wrong < 0) return;
  throw new DeviceError(
    'peak-mismatch',
    `device ${wrong} has a planned peak of ${planned[wrong]} bytes and measures ${measured[wrong]}`,
    {
      fields: { device: wrong, plannedBytes: planned[wrong], measuredBytes: measured[wrong] },
    },
  );
}

/** Live bytes that an audit found, instruction by instruction and category by category. */
export function checkLiveBytes(plan: Plan, program: string, reports: readonly StepReport[]): void {
  for (const [device, report] of reports.entries()) {
    const { layouts, persistent } = plan.memory[device]!;
    const image = plan.programs[program]!.devices[device]!;
    const planned = liveBytesOverTime(image, layouts[program]!.intervals, persistent);
    planned.forEach((bytes, at) => {
      const wrong = memoryCategories.findIndex((category, c) => bytes[category] !== report.audit!.liveBytes[at]![c]);
      if (wrong < 0) return;
      const category = memoryCategories[wrong]!;
      const measured = report.audit!.liveBytes[at]![wrong];
      throw new DeviceError(
        'audit-live-bytes',
        `audit: behind instruction ${at} of ${program}, device ${device} has ${measured} live bytes of ${category} and ${bytes[category]} are planned`,
        { fields: { device, instruction: at, category, measuredBytes: measured, plannedBytes: bytes[category] } },
      );
    });
  }
}

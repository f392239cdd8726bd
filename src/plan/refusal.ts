/** Plans that do not fit, and what is said of them. */
import { PlanError } from '../core/errors.ts';
import { formatBytes } from '../core/format.ts';
import { categoryName } from '../memory/categories.ts';
import { sharesOf, wordsOfShares } from './binding.ts';
import type { Plan } from './plan.ts';
import { remedyFor } from './remedy.ts';
import { shortages } from './shortage.ts';

/** Devices that the message of a refusal tells of; its fields have all. */
const DEVICES_TOLD = 6;

/** The plan, where its devices have room for it; else throws PlanError with what binds and a remedy that was tried. */
export function refuseWhatDoesNotFit(plan: Plan): Plan {
  const short = shortages(plan);
  if (short.length === 0) return plan;
  const lines = short.slice(0, DEVICES_TOLD).map((s) => {
    const top = plan.memory[s.device]!.largest.map(
      (t) => `${t.name} ${formatBytes(t.bytes)} (${categoryName(t.category)})`,
    ).join(', ');
    const held = wordsOfShares(sharesOf(plan.memory[s.device]!));
    const { memory } = plan.request.devices[s.device]!;
    const inPages = memory !== null && memory < 65536 ? ` (${formatBytes(memory)} are no whole page of 64 KiB)` : '';
    return `device ${s.device} needs ${formatBytes(s.needBytes)} (${held}) and has ${formatBytes(s.capacityBytes)}${inPages}; largest: ${top}`;
  });
  const untold = short.length - lines.length;
  if (untold > 0) lines.push(`and ${untold} more ${untold === 1 ? 'device lacks' : 'devices lack'} bytes`);
  throw new PlanError('plan-does-not-fit', `the plan does not fit: ${lines.join('; ')}`, {
    fields: {
      devices: short.map((s) => {
        const { byCategory, largest } = plan.memory[s.device]!;
        return { ...s, byCategory, largest };
      }),
    },
    remedy: remedyFor(plan),
  });
}

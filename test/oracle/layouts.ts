/** Equal wasm devices, and steps on them that hold memory against its plan. */
import { expect } from 'vitest';
import type { HostTensor } from '../../src/core/types.ts';
import { makePlan, type Plan, type PlanRequest } from '../../src/plan/plan.ts';
import { Session, type SessionOptions } from '../../src/train/session.ts';
import { toHex } from '../support/models.ts';

export interface Layout {
  readonly devices: number;
  readonly schedule: 'gpipe' | '1f1b';
  readonly options: SessionOptions;
}

export function planOn(
  { devices, schedule }: Layout,
  request: Omit<PlanRequest, 'devices' | 'schedule' | 'partition'>,
): Plan {
  return makePlan({
    ...request,
    schedule,
    partition: 'auto',
    devices: Array.from({ length: devices }, () => ({ backend: 'wasm', memory: null, speed: 1 }) as const),
  });
}

/** Opens a session, uses it, and requires of every device the peak that was planned, to the byte. */
export async function using<T>(plan: Plan, options: SessionOptions, use: (session: Session) => Promise<T>): Promise<T> {
  await using session = await Session.open(plan, options);
  const result = await use(session);
  expect(await session.measuredPeaks()).toEqual(session.plannedPeaks());
  return result;
}

/** All bytes of some tensors, for comparing layouts. */
export const bytesOf = (tensors: ReadonlyMap<string, HostTensor>): string[] =>
  [...tensors].map(([name, t]) => `${name} ${toHex(t)}`).sort();

export const withPrefix = (prefix: string, tensors: ReadonlyMap<string, HostTensor>): [string, HostTensor][] =>
  [...tensors].map(([name, t]) => [`${prefix}/${name}`, t]);

export const vector = (values: readonly number[]): HostTensor => ({
  type: { dtype: 'f32', shape: [values.length] },
  data: Float32Array.from(values),
});

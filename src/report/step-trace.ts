import { liveBytesOverTime } from '../memory/device-memory.ts';
import type { Plan } from '../plan/plan.ts';
import { requirePlan } from '../plan/require-plan.ts';
import { describe, type Instruction } from '../program/instruction.ts';
import type { StepReport } from '../runtime/device-image.ts';
import { type TraceCounter, type TraceEvent, type TraceFlow, type TraceJson, traceJson } from './trace.ts';

/**
 * A profiled step as a timeline: a process a device with the lanes `tasks` (2F0, waiting for others in between) and
 * `instructions`, arrows from sends to receives, and the planned live bytes by category at each instruction.
 */
export function stepTrace(
  plan: Plan,
  program: string,
  reports: readonly StepReport[],
  about: { step: number; times?: 'measured' | 'simulated' },
): TraceJson {
  requirePlan('stepTrace', plan);
  const step = plan.programs[program]!;
  const begin = Math.min(...reports.flatMap((r) => (r.times?.length ? [r.times[0]!] : [])));
  const events: TraceEvent[] = [];
  const counters: TraceCounter[] = [];
  const sends = new Map<string, { device: number; seconds: number; name: string }>();
  const receives = new Map<string, { device: number; seconds: number }>();
  step.devices.forEach((own, device) => {
    const { times } = reports[device]!;
    if (!times) return;
    // Milliseconds of the devices' common clock, to seconds since the step's first instruction.
    const start = (i: number) => (times[2 * i]! - begin) / 1000;
    const end = (i: number) => (times[2 * i + 1]! - begin) / 1000;
    const live = liveBytesOverTime(
      own,
      plan.memory[device]!.layouts[program]!.intervals,
      plan.memory[device]!.persistent,
    );
    for (const { name, first, last } of tasksOf(own.instructions)) {
      events.push({ device, lane: 'tasks', name, category: 'task', startSeconds: start(first), endSeconds: end(last) });
    }
    own.instructions.forEach((instruction, i) => {
      events.push({
        device,
        lane: 'instructions',
        name: describe(instruction, own),
        category: instruction.kind,
        startSeconds: start(i),
        endSeconds: end(i),
        args: argumentsOf(instruction, i),
      });
      counters.push({ device, name: 'planned live bytes', atSeconds: start(i), values: live[i]! });
      if (instruction.kind === 'send') {
        const name = own.buffers[instruction.buffer]!.name;
        sends.set(`${device}>${instruction.to}:${instruction.message}`, { device, seconds: start(i), name });
      } else if (instruction.kind === 'receive') {
        receives.set(`${instruction.from}>${device}:${instruction.message}`, { device, seconds: end(i) });
      }
    });
  });
  const lane = 'instructions';
  const flows = [...sends].flatMap(([key, { name, ...from }]): TraceFlow[] => {
    const to = receives.get(key);
    return to ? [{ name, from: { ...from, lane }, to: { ...to, lane } }] : [];
  });
  return traceJson({
    devices: plan.memory.map((_, d) => ({ name: `device ${d} (${plan.request.devices[d]!.backend})` })),
    events,
    counters,
    flows,
    metadata: {
      model: plan.request.model.name,
      program,
      schedule: plan.schedules[program]!.name,
      microbatches: step.microbatches,
      step: about.step,
      counters: `live bytes are planned, by instruction; times are ${about.times ?? 'measured'}`,
    },
  });
}

/** Runs of instructions that belong to one task; posts, sends and copies end none. */
function tasksOf(instructions: readonly Instruction[]): { name: string; first: number; last: number }[] {
  const tasks: { name: string; first: number; last: number }[] = [];
  instructions.forEach((instruction, i) => {
    if (instruction.kind !== 'compute') return;
    const open = tasks.at(-1);
    const waited = open !== undefined && instructions.slice(open.last + 1, i).some(waits);
    if (open?.name === instruction.task && !waited) open.last = i;
    else tasks.push({ name: instruction.task, first: i, last: i });
  });
  return tasks;
}

/** Where a device stands idle until others are ready; a send within a task is part of it. */
const waits = ({ kind }: Instruction): boolean => kind === 'receive' || kind === 'barrier';

const argumentsOf = (instruction: Instruction, index: number): Record<string, unknown> =>
  instruction.kind === 'compute'
    ? {
        index,
        task: instruction.task,
        op: instruction.op,
        flops: instruction.flops,
        bytes: instruction.bytes,
      }
    : { index, ...instruction };

import type { CostModel } from '../cost/model.ts';
import type { BackendName } from '../lower/kernel-call.ts';
import type { Instruction, StepProgram } from '../program/instruction.ts';

export interface Prediction {
  readonly stepSeconds: number;
  /** 1 − Σ busy / (devices · step). */
  readonly bubbleFraction: number;
  readonly busySeconds: readonly number[];
}

interface Speed {
  readonly backend: BackendName;
  readonly speed: number;
}

/** Bytes of each buffer: of what an instruction copies. */
type Buffers = readonly { readonly bytes: number }[];

/** Predicted time of one instruction on a device, without waiting and transfers to other devices. */
export function instructionSeconds(
  instruction: Instruction,
  device: Speed,
  costs: CostModel,
  buffers: Buffers,
): number {
  const { backend, speed } = device;
  const { kind } = instruction;
  const copied = kind === 'input' || kind === 'output' || kind === 'copy' ? buffers[instruction.buffer]!.bytes : 0;
  const own = costs.instructionSeconds(backend, copied);
  if (kind !== 'compute') return own / speed;
  return instruction.parts.reduce((sum, part) => sum + part.repeat * costs.kernelSeconds(part, backend), own) / speed;
}

/**
 * Plays a step program on paper, with the run time's rules (sends wait for posts, receives for sends, a barrier for all)
 * and the cost model's times. A send occupies its sender for the copy and the ring; the value arrives one latency later.
 * Who has slept until a ring goes on one latency behind it.
 */
export function predict(program: StepProgram, devices: readonly Speed[], costs: CostModel): Prediction {
  const n = program.devices.length;
  const clock = new Array<number>(n).fill(0);
  const busy = new Array<number>(n).fill(0);
  const position = new Array<number>(n).fill(0);
  const posted = new Map<string, number>();
  const arrived = new Map<string, number>();
  const atBarrier = new Map<number, number>();
  for (let moved = true; moved; ) {
    moved = false;
    for (let d = 0; d < n; d++) {
      const { instructions, buffers } = program.devices[d]!;
      for (let i = instructions[position[d]!]; i; i = instructions[position[d]!]) {
        const spend = (seconds: number) => {
          clock[d]! += seconds;
          busy[d]! += seconds;
        };
        /** Waits until `at`; who is there before sleeps, and wakes a latency later. */
        const await_ = (at: number, latency: number) => {
          if (at > clock[d]!) clock[d] = at + latency;
        };
        if (i.kind === 'send') {
          const ready = posted.get(`${d}>${i.to}:${i.message}`);
          if (ready === undefined) break;
          const link = costs.link(d, i.to);
          await_(ready, link.secondsLatency);
          spend(buffers[i.buffer]!.bytes / link.bytesPerSecond + (link.secondsSend ?? 0));
          arrived.set(`${d}>${i.to}:${i.message}`, clock[d]!);
        } else if (i.kind === 'receive') {
          const at = arrived.get(`${i.from}>${d}:${i.message}`);
          if (at === undefined) break;
          await_(at, costs.link(i.from, d).secondsLatency);
        } else if (i.kind === 'barrier') {
          atBarrier.set(d, clock[d]!);
          if (atBarrier.size < n) break;
          const last = Math.max(...atBarrier.values());
          const [from] = [...atBarrier].find(([, at]) => at === last)!;
          await_(last, costs.link(from, d).secondsLatency);
        }
        spend(instructionSeconds(i, devices[d]!, costs, buffers));
        if (i.kind === 'post') posted.set(`${i.from}>${d}:${i.message}`, clock[d]!);
        position[d]!++;
        moved = true;
      }
    }
  }
  const stepSeconds = Math.max(...clock) + (costs.stepSeconds?.(n) ?? 0);
  const total = busy.reduce((a, b) => a + b, 0);
  return { stepSeconds, bubbleFraction: stepSeconds > 0 ? 1 - total / (n * stepSeconds) : 0, busySeconds: busy };
}

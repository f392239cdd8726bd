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

/** Predicted time of one instruction on a device, without waiting and transfers. */
export function instructionSeconds(instruction: Instruction, device: Speed, costs: CostModel): number {
  const { backend, speed } = device;
  if (instruction.kind !== 'compute') return costs.instructionSeconds(backend) / speed;
  return instruction.parts.reduce((sum, part) => sum + part.repeat * costs.kernelSeconds(part, backend), 0) / speed;
}

/**
 * Plays a step program on paper, with the run time's rules (sends wait for posts, receives for sends, a barrier for all)
 * and the cost model's times. A send occupies its sender for the copy; the value arrives one latency later.
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
        if (i.kind === 'post') posted.set(`${i.from}>${d}:${i.message}`, clock[d]!);
        else if (i.kind === 'send') {
          const ready = posted.get(`${d}>${i.to}:${i.message}`);
          if (ready === undefined) break;
          clock[d] = Math.max(clock[d]!, ready);
          const link = costs.link(d, i.to);
          spend(buffers[i.buffer]!.bytes / link.bytesPerSecond);
          arrived.set(`${d}>${i.to}:${i.message}`, clock[d]! + link.secondsLatency);
        } else if (i.kind === 'receive') {
          const at = arrived.get(`${i.from}>${d}:${i.message}`);
          if (at === undefined) break;
          clock[d] = Math.max(clock[d]!, at);
        } else if (i.kind === 'barrier') {
          atBarrier.set(d, clock[d]!);
          if (atBarrier.size < n) break;
          clock[d] = Math.max(...atBarrier.values());
        } else spend(instructionSeconds(i, devices[d]!, costs));
        position[d]!++;
        moved = true;
      }
    }
  }
  const stepSeconds = Math.max(...clock);
  const total = busy.reduce((a, b) => a + b, 0);
  return { stepSeconds, bubbleFraction: stepSeconds > 0 ? 1 - total / (n * stepSeconds) : 0, busySeconds: busy };
}

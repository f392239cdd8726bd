import { PlanError } from '../core/errors.ts';
import { type DeviceProgram, describe, type StepProgram, touches } from './instruction.ts';

export interface Deadlock {
  /** Devices of the circle, each waiting for the next. */
  readonly cycle: readonly number[];
  readonly description: string;
}

/**
 * Plays the programs without arithmetic, with the run time's own rules: a send waits for the post, a receive for the send,
 * a barrier for everyone. The order of independent instructions does not matter (each counter only grows), so one play
 * decides for all interleavings.
 */
export function findDeadlock(programs: readonly DeviceProgram[]): Deadlock | undefined {
  const n = programs.length;
  const counters = () => Array.from({ length: n }, () => new Array<number>(n).fill(0));
  const sent = counters(); // [from][to]
  const posted = counters(); // [from][to]
  const position = new Array<number>(n).fill(0);
  /** Barriers at which a device has arrived, and which it has left behind. */
  const arrived = new Array<number>(n).fill(0);
  const passed = new Array<number>(n).fill(0);
  const waitsFor = (d: number): number[] => {
    const i = programs[d]!.instructions[position[d]!];
    if (i?.kind === 'send') return posted[d]![i.to]! > i.message ? [] : [i.to];
    if (i?.kind === 'receive') return sent[i.from]![d]! > i.message ? [] : [i.from];
    if (i?.kind === 'barrier') return arrived.flatMap((count, e) => (count <= passed[d]! ? [e] : []));
    return [];
  };
  for (let moved = true; moved; ) {
    moved = false;
    for (let d = 0; d < n; d++) {
      for (let i = programs[d]!.instructions[position[d]!]; i; i = programs[d]!.instructions[position[d]!]) {
        if (i.kind === 'barrier') arrived[d] = passed[d]! + 1;
        if (waitsFor(d).length > 0) break;
        if (i.kind === 'barrier') passed[d]!++;
        if (i.kind === 'send') sent[d]![i.to]!++;
        if (i.kind === 'post') posted[i.from]![d]!++;
        position[d]!++;
        moved = true;
      }
    }
  }
  const stuck = programs.filter((p) => position[p.device]! < p.instructions.length);
  if (stuck.length === 0) return undefined;
  const cycle = followWaits(stuck[0]!.device, waitsFor);
  const lines = cycle.map((d) => {
    const program = programs[d]!;
    return `  device ${d} at instruction ${position[d]} waits for device ${waitsFor(d).join(', ')}: ${describe(program.instructions[position[d]!]!, program)}`;
  });
  return { cycle, description: lines.join('\n') };
}

function followWaits(start: number, waitsFor: (d: number) => number[]): number[] {
  const path: number[] = [];
  let d = start;
  while (!path.includes(d)) {
    path.push(d);
    const next = waitsFor(d)[0];
    if (next === undefined) return path; // waits for a device that has finished: a message that is never sent
    d = next;
  }
  return path.slice(path.indexOf(d));
}

/**
 * Checks a step program whole: every buffer is written before it is read, one post, one send and one receive a message,
 * messages of a pair posted and sent in one order, sizes equal on both sides, nothing waits in a circle. Throws PlanError
 * with all problems.
 */
export function validateProgram(program: StepProgram): void {
  const problems: string[] = [];
  for (const device of program.devices) checkDevice(device, problems);
  checkMessages(program.devices, problems);
  if (problems.length === 0) {
    const deadlock = findDeadlock(program.devices);
    if (deadlock) problems.push(`devices wait for each other in a circle:\n${deadlock.description}`);
  }
  if (problems.length > 0) {
    throw new PlanError('invalid-program', `the program is not valid:\n${problems.map((p) => `  - ${p}`).join('\n')}`, {
      fields: { problems },
    });
  }
}

function checkDevice(program: DeviceProgram, problems: string[]): void {
  const written = new Set(program.buffers.filter((b) => b.persistent !== null).map((b) => b.id));
  const posted = new Set<number>();
  program.instructions.forEach((instruction, at) => {
    const where = () => `device ${program.device}, instruction ${at} (${describe(instruction, program)})`;
    const { reads, writes } = touches(instruction);
    for (const id of reads) {
      if (!written.has(id)) problems.push(`${where()} reads ${program.buffers[id]?.name ?? id} before it is written`);
    }
    if (instruction.kind === 'post') {
      posted.add(instruction.buffer);
      return; // the bytes arrive later
    }
    if (instruction.kind === 'receive' && !posted.has(instruction.buffer)) problems.push(`${where()} was never posted`);
    for (const id of writes) written.add(id);
  });
}

/** A send, a post or a receive; only a send knows the other side's buffer. */
interface Message {
  readonly message: number;
  readonly buffer: number;
  readonly toBuffer?: number;
}

/** Each pair's messages, found in one walk over all instructions. */
function checkMessages(devices: readonly DeviceProgram[], problems: string[]): void {
  const kinds = {
    send: new Map<string, Message[]>(),
    post: new Map<string, Message[]>(),
    receive: new Map<string, Message[]>(),
  };
  for (const { device, instructions } of devices) {
    for (const i of instructions) {
      if (i.kind !== 'send' && i.kind !== 'post' && i.kind !== 'receive') continue;
      const pair = i.kind === 'send' ? `${device}>${i.to}` : `${i.from}>${device}`;
      const list = kinds[i.kind].get(pair);
      if (list) list.push(i);
      else kinds[i.kind].set(pair, [i]);
    }
  }
  for (const { device: from } of devices) {
    for (const { device: to } of devices) {
      const of = (kind: keyof typeof kinds): readonly Message[] => kinds[kind].get(`${from}>${to}`) ?? [];
      const [sends, posts] = [of('send'), of('post')];
      const receives = [...of('receive')].sort((a, b) => a.message - b.message);
      const pair = `messages from device ${from} to device ${to}`;
      if (sends.length !== posts.length || sends.length !== receives.length) {
        problems.push(`${pair}: ${sends.length} sent, ${posts.length} posted, ${receives.length} received`);
        continue;
      }
      sends.forEach((send, k) => {
        const post = posts[k]!;
        const receive = receives[k]!;
        if (send.message !== k || post.message !== k || receive.message !== k)
          problems.push(`${pair}: message ${k} is out of order`);
        else if (send.toBuffer !== post.buffer || post.buffer !== receive.buffer)
          problems.push(`${pair}: message ${k} goes to another buffer than it is received in`);
        else if (devices[from]!.buffers[send.buffer]!.bytes !== devices[to]!.buffers[post.buffer]!.bytes)
          problems.push(`${pair}: message ${k} changes size`);
      });
    }
  }
}

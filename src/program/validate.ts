import { PlanError } from '../core/errors.ts';
import {
  type Buffer,
  type ComputeInstruction,
  type DeviceProgram,
  describe,
  ownerOf,
  type StepProgram,
  touches,
} from './instruction.ts';
import { overwritable } from './overwrite.ts';
import { requireProgram } from './require-program.ts';

export interface Deadlock {
  /** Devices of the circle, each waiting for the next. */
  readonly cycle: readonly number[];
  readonly description: string;
}

/**
 * Plays the programs without arithmetic, with the run time's own rules: a send waits for the post, a receive for the send,
 * a barrier for everyone. The order of independent instructions does not matter (each counter only grows), so one play
 * decides for all interleavings. A device that waits is looked at again only when what it waits for has happened: the work
 * is that of the instructions, however many devices there are.
 */
export function findDeadlock(programs: readonly DeviceProgram[]): Deadlock | undefined {
  const n = programs.length;
  /** Messages to a device, by the other side. */
  const counters = () => Array.from({ length: n }, () => new Map<number, number>());
  const sent = counters(); // [to].get(from)
  const posted = counters(); // [to].get(from)
  const position = new Array<number>(n).fill(0);
  /** Barriers at which a device has arrived, and which it has left behind. */
  const arrived = new Array<number>(n).fill(0);
  const passed = new Array<number>(n).fill(0);
  /** Devices at the k-th barrier or beyond it. */
  const arrivals: number[] = [];
  const next = (d: number) => programs[d]!.instructions[position[d]!];
  const mayPass = (d: number): boolean => {
    const i = next(d);
    if (i?.kind === 'send') return (posted[i.to]?.get(d) ?? 0) > i.message;
    if (i?.kind === 'receive') return (sent[d]!.get(i.from) ?? 0) > i.message;
    if (i?.kind === 'barrier') return arrivals[passed[d]!] === n;
    return true;
  };
  /** Of a device that may not pass; nobody where its program is over. */
  const waitsFor = (d: number): number[] => {
    const i = next(d);
    if (i?.kind === 'send') return [i.to];
    if (i?.kind === 'receive') return [i.from];
    return i ? arrived.flatMap((count, e) => (count <= passed[d]! ? [e] : [])) : [];
  };

  const ready = programs.map((_, d) => n - 1 - d);
  for (let d = ready.pop(); d !== undefined; d = ready.pop()) {
    for (let i = next(d); i; i = next(d)) {
      if (i.kind === 'barrier' && arrived[d] === passed[d]) {
        const barrier = arrived[d]!++;
        arrivals[barrier] = (arrivals[barrier] ?? 0) + 1;
        // Those before the barrier wait for the last to arrive, this device.
        if (arrivals[barrier] === n) ready.push(...programs.keys());
      }
      if (!mayPass(d)) break;
      if (i.kind === 'barrier') passed[d]!++;
      if (i.kind === 'send') {
        sent[i.to]!.set(d, (sent[i.to]!.get(d) ?? 0) + 1);
        ready.push(i.to);
      }
      if (i.kind === 'post') {
        posted[d]!.set(i.from, (posted[d]!.get(i.from) ?? 0) + 1);
        ready.push(i.from);
      }
      position[d]!++;
    }
  }
  const stuck = programs.findIndex((p, d) => position[d]! < p.instructions.length);
  if (stuck < 0) return undefined;
  const cycle = followWaits(stuck, waitsFor);
  const lines = cycle.map((d) => {
    const i = next(d);
    if (!i) return `  device ${d} has nothing left to do`;
    return `  device ${d} at instruction ${position[d]} waits for device ${waitsFor(d).join(', ')}: ${describe(i, programs[d]!)}`;
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
  requireProgram('validateProgram', program);
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
  const { buffers } = program;
  const bytes = new WrittenBytes(program);
  const posted = new Uint8Array(buffers.length);
  /** Buffers whose bytes an output has taken over, and those that any instruction has used. */
  const gone = new Uint8Array(buffers.length);
  const touched = new Uint8Array(buffers.length);
  checkViews(program, problems);
  program.instructions.forEach((instruction, at) => {
    const where = () => `device ${program.device}, instruction ${at} (${describe(instruction, program)})`;
    const { reads, writes } = touches(instruction);
    const refuseGone = (id: number): void => {
      if (gone[ownerOf(buffers, id)] === 1) {
        problems.push(`${where()} touches ${buffers[id]!.name}, which has been overwritten`);
      }
    };
    for (const id of reads) refuseGone(id);
    for (const id of writes) refuseGone(id);
    if (instruction.kind === 'compute' && instruction.overwrites !== null) {
      checkOverwriting(instruction, program, touched, (problem) => problems.push(`${where()} ${problem}`));
      gone[instruction.overwrites] = 1;
    }
    if (instruction.kind === 'compute') {
      const beside = bytes.readWhereWritten(instruction);
      if (beside !== undefined) problems.push(`${where()} writes over ${buffers[beside]!.name}, which it reads`);
    }
    for (const id of writes) touched[id] = 1;
    for (const id of reads) {
      touched[id] = 1;
      const state = bytes.read(id);
      if (state === 'none') problems.push(`${where()} reads ${buffers[id]?.name ?? id} before it is written`);
      if (state === 'lost') problems.push(`${where()} reads ${buffers[id]!.name}, part of which has been overwritten`);
    }
    if (instruction.kind === 'post') {
      posted[instruction.buffer] = 1;
      return; // the bytes arrive later
    }
    if (instruction.kind === 'receive' && posted[instruction.buffer] !== 1)
      problems.push(`${where()} was never posted`);
    for (const id of writes) bytes.write(id);
  });
}

/** A view is a part of a buffer that has bytes of its own, at whole words. */
function checkViews({ device, buffers }: DeviceProgram, problems: string[]): void {
  for (const { name, bytes, persistent, view } of buffers) {
    if (!view) continue;
    const owner = buffers[view.of]!;
    const of = `device ${device}: ${name} is a view of ${owner.name}`;
    if (owner.view) problems.push(`${of}, which is a view itself`);
    if (persistent !== null) problems.push(`${of}, and what is persistent has its own bytes`);
    if (view.plus < 0 || view.plus % 4 !== 0 || view.plus + bytes > owner.bytes) {
      problems.push(
        `${of} at ${view.plus} to ${view.plus + bytes}, which are not words among its ${owner.bytes} bytes`,
      );
    }
  }
}

/** Which buffers hold their values: of those that share bytes, what was written last, and what it leaves alone. */
class WrittenBytes {
  readonly #buffers: readonly Buffer[];
  /** Owners with their views, where there are any. */
  readonly #family = new Map<number, number[]>();
  /** Views that instructions write; the others are what their owner holds. */
  readonly #made: Uint8Array;
  /** By buffer. */
  readonly #states: ('none' | 'whole' | 'lost')[];
  /** Owners that have been read, themselves or by what is cut from them. */
  readonly #used: Uint8Array;
  /** Of owners that are written view by view: the bytes written so far, by where they begin. */
  readonly #filled = new Map<number, Map<number, number>>();

  constructor({ buffers, instructions }: DeviceProgram) {
    this.#buffers = buffers;
    this.#states = buffers.map(() => 'none');
    this.#made = new Uint8Array(buffers.length);
    this.#used = new Uint8Array(buffers.length);
    for (const { id, view } of buffers) {
      if (view) this.#family.set(view.of, [...(this.#family.get(view.of) ?? [view.of]), id]);
    }
    if (this.#family.size > 0) {
      for (const i of instructions) for (const id of touches(i).writes) if (buffers[id]!.view) this.#made[id] = 1;
    }
    for (const { id, persistent } of buffers) if (persistent !== null) this.write(id);
  }

  /** `lost`: it held its value, and part of its bytes hold another now. */
  read(id: number): 'none' | 'whole' | 'lost' {
    if (this.#made[id] === 0) this.#used[ownerOf(this.#buffers, id)] = 1;
    return this.#states[id] ?? 'none';
  }

  write(id: number): void {
    const owner = ownerOf(this.#buffers, id);
    const isPart = id !== owner && this.#fill(owner, id);
    if (id !== owner && !isPart) this.#states[owner] = 'lost';
    this.#states[id] = 'whole';
    for (const other of this.#family.get(owner) ?? []) {
      if (other === id || other === owner || !this.#overlap(other, id)) continue;
      const isGiven = this.#made[other] === 0;
      if (id === owner && isGiven) this.#states[other] = 'whole';
      else if (this.#states[other] !== 'none' && !(isPart && isGiven)) this.#states[other] = 'lost';
    }
  }

  /**
   * Whether it is a part of an owner that nobody has written as a whole, or read: the last of them makes it complete, and with
   * it what is cut from it.
   */
  #fill(owner: number, part: number): boolean {
    let filled = this.#filled.get(owner);
    if (this.#used[owner] === 1 || (!filled && this.#states[owner] !== 'none')) return false;
    if (!filled) this.#filled.set(owner, (filled = new Map()));
    filled.set(this.#start(part), this.#buffers[part]!.bytes);
    const sum = [...filled.values()].reduce((a, b) => a + b, 0);
    if (sum < this.#buffers[owner]!.bytes) return true;
    this.#states[owner] = 'whole';
    for (const id of this.#family.get(owner)!) if (id !== owner && this.#made[id] === 0) this.#states[id] = 'whole';
    return true;
  }

  /** An input in the bytes of an output, where the kernels do not read each element before they write it. */
  readWhereWritten(instruction: ComputeInstruction): number | undefined {
    if (this.#family.size === 0) return undefined;
    for (const to of instruction.outputs) {
      const owner = ownerOf(this.#buffers, to);
      if (!this.#family.has(owner)) continue;
      const found = instruction.inputs.find((id) => {
        if (id === to || ownerOf(this.#buffers, id) !== owner || !this.#overlap(id, to)) return false;
        const inPlace = this.#start(id) === this.#start(to) && this.#buffers[id]!.bytes === this.#buffers[to]!.bytes;
        return !(inPlace && to === instruction.outputs[0] && overwritable(instruction).includes(id));
      });
      if (found !== undefined) return found;
    }
    return undefined;
  }

  #start(id: number): number {
    return this.#buffers[id]!.view?.plus ?? 0;
  }

  #overlap(a: number, b: number): boolean {
    const [from, to] = [this.#start(a), this.#start(b)];
    return from < to + this.#buffers[b]!.bytes && to < from + this.#buffers[a]!.bytes;
  }
}

/** An output may only take over all bytes of an input that moves, where the kernels allow it, and as its first value. */
function checkOverwriting(
  instruction: ComputeInstruction,
  { buffers }: DeviceProgram,
  touched: Uint8Array,
  report: (problem: string) => void,
): void {
  const [from, to] = [buffers[instruction.overwrites!]!, buffers[instruction.outputs[0]!]!];
  const over = `overwrites ${from.name} by ${to.name}`;
  if (!overwritable(instruction).includes(from.id)) report(`${over}, which its kernels do not allow`);
  if (from.persistent !== null || to.persistent !== null) report(`${over}, and what is persistent has its own bytes`);
  if (from.bytes !== to.bytes) report(`${over}, which is ${to.bytes} bytes long and not ${from.bytes}`);
  if (touched[to.id] === 1) report(`${over}, which has bytes already`);
}

/** A send, a post or a receive; only a send knows the other side's buffer. */
interface Message {
  readonly message: number;
  readonly buffer: number;
  readonly toBuffer?: number;
}

interface Messages {
  readonly from: number;
  readonly to: number;
  readonly send: Message[];
  readonly post: Message[];
  readonly receive: Message[];
}

/** Each pair's messages, found in one walk over all instructions. */
function checkMessages(devices: readonly DeviceProgram[], problems: string[]): void {
  const pairs = new Map<string, Messages>();
  for (const { device, instructions } of devices) {
    for (const i of instructions) {
      if (i.kind !== 'send' && i.kind !== 'post' && i.kind !== 'receive') continue;
      const [from, to] = i.kind === 'send' ? [device, i.to] : [i.from, device];
      const key = `${from}>${to}`;
      let pair = pairs.get(key);
      if (!pair) pairs.set(key, (pair = { from, to, send: [], post: [], receive: [] }));
      pair[i.kind].push(i);
    }
  }
  for (const { from, to, send: sends, post: posts, receive } of [...pairs.values()].sort(
    (a, b) => a.from - b.from || a.to - b.to,
  )) {
    const receives = receive.sort((a, b) => a.message - b.message);
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

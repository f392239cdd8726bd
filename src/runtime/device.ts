import type { Backend, BoundCall } from '../backends/backend.ts';
import { DeviceError } from '../core/errors.ts';
import { describe, type Instruction, type Place } from '../program/instruction.ts';
import { Audit } from './audit.ts';
import type { Channel } from './channel.ts';
import { type Control, StepAborted } from './control.ts';
import type { DeviceImage, Fault, StepOptions, StepReport } from './device-image.ts';
import { fillWords, highestChanged, type PoisonKind, poisonWord } from './poison.ts';

export interface DeviceSetup {
  readonly device: number;
  readonly memory: WebAssembly.Memory;
  readonly control: Control;
  readonly channel: Channel;
  readonly backend: Backend;
  readonly poison: PoisonKind;
  readonly audit: boolean;
  readonly faults: readonly Fault[];
  /** Milliseconds of a clock that all devices share, for profiles. */
  readonly now: () => number;
  /** What a fault of kind `exit` does; the worker shell knows how to die. */
  readonly exit: () => void;
}

/** How a step ends at its barrier that was begun ahead and is not wanted. */
export class StepForgone extends Error {
  constructor() {
    super('the step was begun ahead and is not wanted');
    this.name = 'StepForgone';
  }
}

/** An instruction ready to run: returns a promise only where the backend or the transport is asynchronous. */
type Step = () => void | Promise<void>;

interface Loaded {
  readonly image: DeviceImage;
  readonly steps: readonly Step[];
  /** Start and end of every instruction of the latest step that was to record them. */
  readonly times: Float64Array;
}

/**
 * The device: plays its programs in its own memory. It knows no thread, no worker and no transport, so that a Node
 * worker, a browser worker, a WebGPU device or an MPI process can be a thin shell around it.
 */
export class Device {
  readonly #setup: DeviceSetup;
  readonly #bytes: Uint8Array;
  readonly #programs = new Map<string, Loaded>();
  readonly #audit: Audit | undefined;
  #begun = false;
  #feeds: readonly Uint8Array[] = [];
  #results: readonly Uint8Array[] = [];
  /** Which of `#feeds` the step reads, and of `#results` it writes. */
  #area = 0;
  /** The order under way, where it is one ahead. */
  #ahead: number | undefined;
  /** Seconds for which the step was held: the host's, and no part of it. */
  #heldSeconds = 0;

  constructor(setup: DeviceSetup) {
    this.#setup = setup;
    this.#bytes = new Uint8Array(setup.memory.buffer);
    if (setup.audit) this.#audit = new Audit(setup.memory.buffer, setup.device, poisonWord(setup.poison));
  }

  /**
   * The first touch of the memory's pages: until something is loaded or written, a device takes none of the machine's memory.
   * Senders write here only in a step, when all devices have their programs.
   */
  #begin(): void {
    if (this.#begun) return;
    this.#begun = true;
    fillWords(this.#setup.memory.buffer, 0, this.#bytes.length, poisonWord(this.#setup.poison));
  }

  /**
   * Takes a program; what an instruction does is bound to its offsets here, so that a step allocates nothing. `times` takes
   * two f64 an instruction; default: room of its own.
   */
  load(name: string, image: DeviceImage, times?: SharedArrayBuffer): void {
    this.#begin();
    const { instructions } = image.program;
    const steps = instructions.map((i) => this.#prepare(i, image));
    this.#programs.set(name, {
      image,
      steps,
      times: new Float64Array(times ?? new SharedArrayBuffer(16 * instructions.length)),
    });
  }

  /** The areas shared with the host, before the first program: fed tensors in, results out. */
  attachStaging(feeds: readonly SharedArrayBuffer[], results: readonly SharedArrayBuffer[]): void {
    this.#feeds = feeds.map((area) => new Uint8Array(area));
    this.#results = results.map((area) => new Uint8Array(area));
  }

  /** Of the programs, in the order of loading. */
  get programs(): readonly string[] {
    return [...this.#programs.keys()];
  }

  /** For transports whose coordinator cannot reach the memory itself; likewise `fill` and `read`. */
  write(offset: number, data: Uint8Array): void {
    this.#begin();
    this.#bytes.set(data, offset);
  }

  fill(offset: number, bytes: number, fill: (target: Uint8Array) => void): void {
    this.#begin();
    fill(this.#bytes.subarray(offset, offset + bytes));
  }

  read(offset: number, bytes: number): Uint8Array {
    this.#begin();
    return this.#bytes.slice(offset, offset + bytes);
  }

  /** The end of the highest byte ever written, found in memory itself. */
  measurePeak(): number {
    this.#begin();
    const now = highestChanged(this.#setup.memory.buffer, poisonWord(this.#setup.poison));
    return Math.max(now, this.#audit?.peakBytes ?? 0);
  }

  async step(options: StepOptions): Promise<StepReport> {
    const { control, device, channel } = this.#setup;
    const loaded = this.#programs.get(options.program);
    if (!loaded)
      throw new DeviceError('unknown-program', `device ${device} has no program ${options.program}`, {
        fields: { device },
      });
    const { image, steps } = loaded;
    const faults = this.#faultsOf(options.step);
    const times = options.profile ? loaded.times : null;
    const audit = this.#audit;
    this.#area = options.area ?? 0;
    this.#ahead = options.ahead;
    this.#heldSeconds = 0;
    audit?.start();
    const begin = performance.now();
    control.setState(device, 'running');
    channel.startStep();
    let at = 0;
    try {
      for (; at < steps.length; at++) {
        control.setPosition(device, at);
        control.throwIfAborted(); // a device that computes without waiting notices an abort here
        const fault = faults?.get(at);
        if (fault) this.#provoke(fault);
        audit?.before(image, at);
        if (times) times[2 * at] = this.#setup.now();
        const pending = steps[at]!();
        if (pending) await pending;
        if (times) times[2 * at + 1] = this.#setup.now();
        if (fault?.kind === 'wild-write') this.#bytes[this.#bytes.length - 1]! ^= 0xff;
        audit?.after(image, at);
      }
    } catch (error) {
      if (error instanceof StepAborted || error instanceof StepForgone || error instanceof DeviceError) throw error;
      const instruction = image.program.instructions[at]!;
      const indices = isRefusal(error) ? this.#indicesOf(instruction, image) : undefined;
      const what = indices ?? (error as Error).message;
      throw new DeviceError(
        'kernel-failed',
        `device ${device} failed at instruction ${at}, ${describe(instruction, image.program)}: ${what}`,
        {
          remedy: indices && 'correct the indices in the data, or the size of what they choose from',
          fields: {
            device,
            instruction: at,
            microbatch: 'microbatch' in instruction ? instruction.microbatch : null,
            node: instruction.kind === 'compute' ? instruction.node : null,
          },
          cause: error,
        },
      );
    } finally {
      control.setState(device, 'idle');
    }
    audit?.finish(image);
    const seconds = (performance.now() - begin) / 1000 - this.#heldSeconds;
    const busySeconds = seconds - channel.waitedSeconds;
    return { seconds, busySeconds, times: times ? times.slice() : null, audit: audit ? audit.report() : null };
  }

  #faultsOf(step: number): ReadonlyMap<number, Fault> | undefined {
    const faults = this.#setup.faults.filter((f) => f.step === step);
    return faults.length > 0 ? new Map(faults.map((f) => [f.instruction, f])) : undefined;
  }

  /** Why a kernel has trapped that takes indices: they are the only values that it checks. */
  #indicesOf(instruction: Instruction, image: DeviceImage): string | undefined {
    if (instruction.kind !== 'compute') return undefined;
    const indices = instruction.inputs.filter((id) => image.program.buffers[id]!.type.dtype === 'i32');
    const ranges = indices.map((id) => {
      const { name, bytes } = image.program.buffers[id]!;
      const values = new Int32Array(this.#bytes.buffer, image.offsets[id]!, bytes / 4);
      const [low, high] = values.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity]);
      return `${name} holds ${low} to ${high}`;
    });
    return ranges.length > 0 ? `an index is out of range: ${ranges.join(', ')}` : undefined;
  }

  #prepare(instruction: Instruction, image: DeviceImage): Step {
    const { channel, backend } = this.#setup;
    const bytesOf = (id: number) => image.program.buffers[id]!.bytes;
    const at = (id: number) => image.offsets[id]!;
    switch (instruction.kind) {
      case 'compute': {
        const workspace = instruction.workspace === null ? 0 : at(instruction.workspace);
        const bound = instruction.parts.flatMap(({ signature, calls, inputs, outputs, repeat }) =>
          Array.from({ length: repeat }, (_, r) => {
            const offset = ({ buffer, plus, stride }: Place) => at(buffer) + plus + r * stride;
            const binding = { inputs: inputs.map(offset), outputs: outputs.map(offset), workspace };
            return calls.map((call) => backend.bind(call, signature, binding));
          }).flat(),
        );
        return inSequence(bound);
      }
      case 'post':
        return channel.post(instruction.from, instruction.message);
      case 'receive':
        return channel.receive(instruction.from, instruction.message);
      case 'send': {
        const target = image.peerOffsets[instruction.to]![instruction.toBuffer]!;
        const [source, bytes] = [at(instruction.buffer), bytesOf(instruction.buffer)];
        return channel.send(instruction.to, instruction.message, source, target, bytes);
      }
      case 'input': {
        const feed = image.feeds.find((f) => f.name === instruction.feed)!;
        const source = feed.offsets[instruction.microbatch ?? 0]!;
        const [target, bytes] = [at(instruction.buffer), bytesOf(instruction.buffer)];
        const chunks = this.#feeds.map((area) => area.subarray(source, source + bytes));
        return () => this.#bytes.set(chunks[this.#area]!, target);
      }
      case 'output': {
        const result = image.results.find((r) => r.name === instruction.result)!;
        const target = result.offsets[instruction.microbatch ?? 0]!;
        const [source, bytes] = [at(instruction.buffer), bytesOf(instruction.buffer)];
        const value = this.#bytes.subarray(source, source + bytes);
        const results = this.#results;
        return () => results[this.#area]!.set(value, target);
      }
      case 'barrier': {
        const meet = channel.barrier();
        return () => meet() ?? this.#hold();
      }
      case 'copy': {
        const [source, target, bytes] = [at(instruction.from), at(instruction.buffer), bytesOf(instruction.from)];
        return () => {
          this.#bytes.copyWithin(target, source, source + bytes);
        };
      }
    }
  }

  /** With all gradients and nothing changed yet, a step that nobody had asked for waits until somebody does. */
  #hold(): void {
    if (this.#ahead === undefined) return;
    const start = performance.now();
    const isWanted = this.#setup.control.waitForDecision(this.#setup.device, this.#ahead);
    this.#heldSeconds = (performance.now() - start) / 1000;
    if (!isWanted) throw new StepForgone();
  }

  #provoke(fault: Fault): void {
    switch (fault.kind) {
      case 'throw':
        throw new Error('provoked failure');
      case 'exit':
        this.#setup.exit();
        return;
      case 'hang':
        for (;;);
      case 'out-of-memory': {
        const hoard: number[][] = [];
        for (;;) hoard.push(new Array(100_000).fill(1.1));
      }
      case 'delay': {
        const end = performance.now() + (fault.seconds ?? 0) * 1000;
        while (performance.now() < end);
        return;
      }
      case 'read-poison': {
        fillWords(this.#setup.memory.buffer, 0, this.#bytes.length, poisonWord(this.#setup.poison));
        return;
      }
      case 'wild-write':
        return; // behind the instruction
    }
  }
}

function inSequence(calls: readonly BoundCall[]): Step {
  if (calls.length === 1) return calls[0]!;
  return () => {
    for (let i = 0; i < calls.length; i++) {
      const pending = calls[i]!();
      if (pending) return continueAfter(pending, calls, i + 1);
    }
  };
}

async function continueAfter(pending: Promise<void>, calls: readonly BoundCall[], from: number): Promise<void> {
  await pending;
  for (let i = from; i < calls.length; i++) await calls[i]!();
}

/** A kernel's own check has failed (`unreachable`), unlike a trap of the arithmetic (an integer division by 0). */
const isRefusal = (error: unknown): boolean =>
  error instanceof WebAssembly.RuntimeError && error.message.includes('unreachable');

import { DeviceError } from '../core/errors.ts';
import { describe, type Instruction, type MemoryCategory, ownerOf, touches } from '../program/instruction.ts';
import type { Channel } from './channel.ts';
import { type Control, StepAborted } from './control.ts';
import type { DeviceImage, StepOptions, StepReport } from './device-image.ts';
import { Ledger } from './ledger.ts';

export interface NullDeviceSetup {
  readonly device: number;
  readonly control: Control;
  readonly channel: Channel;
  readonly audit: boolean;
  /** Lets timers and signals have their turn: a long step of devices that never wait for anything outside would hold them up. */
  readonly pause: () => Promise<void> | undefined;
}

/**
 * A device without arithmetic and without memory: it plays the instructions that another would compute, posts, sends, waits and
 * stops at barriers as that one does, and enters in a ledger which bytes each of them reads and writes. Its peak is the highest
 * byte that was entered. It is as large as its program, whatever the model: hundreds of gigabytes a device are numbers here.
 */
export class NullDevice {
  readonly #setup: NullDeviceSetup;
  readonly #ledger = new Ledger();
  readonly #images = new Map<string, DeviceImage>();
  /** Categories of what lives from load to close, by offset. */
  readonly #categories = new Map<number, MemoryCategory>();

  constructor(setup: NullDeviceSetup) {
    this.#setup = setup;
  }

  load(name: string, image: DeviceImage): void {
    this.#images.set(name, image);
    for (const { offset, category } of image.persistent) this.#categories.set(offset, category);
  }

  /** Nothing is fed and nothing comes out. */
  attachStaging(): void {}

  write(offset: number, data: Uint8Array): void {
    this.#keep(offset, data.length);
  }

  fill(offset: number, bytes: number): void {
    this.#keep(offset, bytes);
  }

  #keep(offset: number, bytes: number): void {
    this.#ledger.keep(offset, bytes, this.#categories.get(offset) ?? 'parameters');
  }

  read(): never {
    const { device } = this.#setup;
    throw new DeviceError('null-device-read', `device ${device} is a null device: it holds no bytes to read`, {
      fields: { device },
      remedy: '--backend wasm',
    });
  }

  measurePeak(): number {
    return this.#ledger.peakBytes;
  }

  /** Takes a message that another device has sent. */
  deliver(target: number, bytes: number): void {
    this.#ledger.deliver(target, bytes);
  }

  async step({ program }: StepOptions): Promise<StepReport> {
    const { control, device, channel, audit, pause } = this.#setup;
    const image = this.#images.get(program);
    if (!image) {
      throw new DeviceError('unknown-program', `device ${device} has no program ${program}`, { fields: { device } });
    }
    const { instructions } = image.program;
    const liveBytes: (readonly number[])[] = [];
    let [messages, sentBytes] = [0, 0];
    const begin = performance.now();
    control.setState(device, 'running');
    channel.startStep();
    let at = 0;
    try {
      for (; at < instructions.length; at++) {
        const instruction = instructions[at]!;
        control.setPosition(device, at);
        const paused = pause();
        if (paused) await paused;
        control.throwIfAborted();
        const pending = this.#play(instruction, image);
        if (pending) await pending;
        if (instruction.kind === 'send') {
          messages++;
          sentBytes += image.program.buffers[instruction.buffer]!.bytes;
        }
        if (audit) liveBytes.push([...this.#ledger.live]);
        for (const id of image.deaths[at]!) this.#free(id, image);
      }
      this.#ledger.finish();
    } catch (error) {
      if (error instanceof StepAborted || !(error instanceof DeviceError)) throw error;
      throw this.#placed(error, at, image);
    } finally {
      control.setState(device, 'idle');
    }
    return {
      seconds: (performance.now() - begin) / 1000,
      busySeconds: 0,
      times: null,
      audit: audit ? { liveBytes } : null,
      played: { instructions: instructions.length, messages, sentBytes },
    };
  }

  #play(instruction: Instruction, image: DeviceImage): void | Promise<void> {
    const { channel } = this.#setup;
    const { buffers } = image.program;
    const at = (id: number) => image.offsets[id]!;
    const ledger = this.#ledger;
    const { reads, writes } = touches(instruction);
    for (const id of reads) this.#expect(id, image);
    switch (instruction.kind) {
      case 'post': {
        this.#write(instruction.buffer, image);
        ledger.await(at(instruction.buffer), buffers[instruction.buffer]!.bytes);
        return channel.post(instruction.from, instruction.message)();
      }
      case 'receive': {
        const { buffer, from, message } = instruction;
        const arrived = () => this.#expect(buffer, image);
        return channel.receive(from, message)()?.then(arrived) ?? arrived();
      }
      case 'send': {
        const { buffer, to, toBuffer, message } = instruction;
        return channel.send(to, message, at(buffer), image.peerOffsets[to]![toBuffer]!, buffers[buffer]!.bytes)();
      }
      case 'barrier':
        return channel.barrier()();
      case 'compute':
        // From here on its bytes are the output's.
        if (instruction.overwrites !== null) this.#free(instruction.overwrites, image);
        for (const id of writes) this.#write(id, image);
        return;
      case 'input':
      case 'copy':
        this.#write(instruction.buffer, image);
        return;
      case 'output':
        return;
    }
  }

  /** A view is there where the buffer is that has its bytes, and no message to it is on the way. */
  #expect(id: number, { program, offsets }: DeviceImage): void {
    const owner = ownerOf(program.buffers, id);
    const { bytes, persistent } = program.buffers[owner]!;
    this.#ledger.expect(offsets[owner]!, bytes, owner, persistent !== null);
    this.#ledger.expectArrived(offsets[id]!, program.buffers[id]!.bytes, id);
  }

  /** With the first bytes that are written the whole buffer is in use. */
  #write(id: number, { program, offsets }: DeviceImage): void {
    const owner = ownerOf(program.buffers, id);
    const { bytes, category, persistent } = program.buffers[owner]!;
    if (persistent === null) this.#ledger.write(offsets[owner]!, bytes, owner, category);
    else this.#ledger.keep(offsets[owner]!, bytes, category);
  }

  #free(id: number, { program, offsets }: DeviceImage): void {
    // A view's bytes are its owner's, and stay in use as long as that is.
    if (program.buffers[id]!.view) return;
    this.#ledger.free(offsets[id]!, program.buffers[id]!.bytes, id);
  }

  #placed(error: DeviceError, at: number, { program }: DeviceImage): DeviceError {
    const { device } = this.#setup;
    const instruction = program.instructions[at];
    const where = instruction ? `instruction ${at}, ${describe(instruction, program)}` : 'the end of the step';
    const { buffer } = error.fields as { buffer?: number };
    const value = buffer === undefined ? undefined : program.buffers[buffer]?.name;
    return new DeviceError(
      error.code,
      `device ${device} at ${where}${value === undefined ? '' : ` (${value})`}: ${error.message}`,
      {
        fields: {
          ...error.fields,
          device,
          instruction: at,
          microbatch: instruction && 'microbatch' in instruction ? instruction.microbatch : null,
          ...(value === undefined ? {} : { value }),
        },
        cause: error,
      },
    );
  }
}

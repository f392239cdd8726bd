/**
 * The vector functions of the kernels (`workers/kernels/vectors.ts`), taken out of the module that the build has put into the
 * kernels' as the custom section `vectors`: functions of vectors to be laid into the loops of fused kernels. Bodies run straight
 * through, so that all there is to change in them is the numbers of their locals.
 */
import { DeviceError } from '../../core/errors.ts';

export const VECTORS_SECTION = 'vectors';

/** Pieces of code: instructions as they are, and those on locals of the function (parameters first). */
export type VectorPiece = Uint8Array | { readonly opcode: number; readonly local: number };

export interface VectorFunction {
  readonly parameters: number;
  /** Types of the locals behind the parameters. */
  readonly locals: readonly number[];
  /** Of these locals, those that are read before they are written: 0 to begin with. */
  readonly zeroed: ReadonlySet<number>;
  readonly written: ReadonlySet<number>;
  /** Leaves the result on the stack. */
  readonly pieces: readonly VectorPiece[];
  readonly bytes: number;
}

/** By name. Throws DeviceError where the kernels have no such section, or a function is not straight. */
export function vectorFunctions(kernels: WebAssembly.Module): ReadonlyMap<string, VectorFunction> {
  const [content] = WebAssembly.Module.customSections(kernels, VECTORS_SECTION);
  if (!content) {
    throw new DeviceError('kernels-vectors', `the kernels have no section "${VECTORS_SECTION}" to fuse kernels from`, {
      remedy: 'node scripts/build.mjs kernels',
    });
  }
  return readVectors(new Uint8Array(content));
}

const TYPE = 1;
const FUNCTION = 3;
const EXPORT = 7;
const CODE = 10;

export function readVectors(module: Uint8Array): ReadonlyMap<string, VectorFunction> {
  const reader = new Reader(module, 8);
  const parameters: number[] = [];
  const typeOf: number[] = [];
  const names: [name: string, index: number][] = [];
  const bodies: Uint8Array[] = [];
  while (!reader.ended) {
    const id = reader.byte();
    const section = reader.part(reader.unsigned());
    if (id === TYPE) {
      section.list(() => {
        section.byte(); // a function
        parameters.push(section.list(() => section.byte()).length);
        section.list(() => section.byte());
      });
    } else if (id === FUNCTION) typeOf.push(...section.list(() => section.unsigned()));
    else if (id === EXPORT) {
      section.list(() => {
        const name = new TextDecoder().decode(section.take(section.unsigned()));
        const kind = section.byte();
        const index = section.unsigned();
        if (kind === 0) names.push([name, index]);
      });
    } else if (id === CODE) bodies.push(...section.list(() => section.take(section.unsigned())));
  }
  return new Map(names.map(([name, index]) => [name, straight(name, parameters[typeOf[index]!]!, bodies[index]!)]));
}

const LOCAL_GET = 0x20;
const LOCAL_TEE = 0x22;
const END = 0x0b;

function straight(name: string, parameters: number, body: Uint8Array): VectorFunction {
  const reader = new Reader(body, 0);
  const locals = reader
    .list(() => [reader.unsigned(), reader.byte()] as const)
    .flatMap(([count, type]) => new Array<number>(count).fill(type));
  const pieces: VectorPiece[] = [];
  const zeroed = new Set<number>();
  const written = new Set<number>();
  let from = reader.at;
  for (;;) {
    const at = reader.at;
    const opcode = reader.byte();
    if (opcode === END) {
      pieces.push(body.subarray(from, at));
      break;
    }
    if (opcode < LOCAL_GET || opcode > LOCAL_TEE) {
      skipImmediates(name, opcode, reader);
      continue;
    }
    pieces.push(body.subarray(from, at));
    const local = reader.unsigned();
    if (opcode !== LOCAL_GET) written.add(local);
    else if (local >= parameters && !written.has(local)) zeroed.add(local);
    pieces.push({ opcode, local });
    from = reader.at;
  }
  return {
    parameters,
    locals,
    zeroed,
    written,
    pieces: pieces.filter((p) => !(p instanceof Uint8Array) || p.length > 0),
    bytes: body.length,
  };
}

/** Moves behind what follows an opcode; throws where the instruction is one that leads elsewhere or touches memory. */
function skipImmediates(name: string, opcode: number, reader: Reader): void {
  if (opcode === 0x1a || opcode === 0x1b || (opcode >= 0x45 && opcode <= 0xc4)) return; // drop, select, numbers
  if (opcode === 0x41 || opcode === 0x42) return void reader.unsigned(); // i32.const, i64.const: as many bytes if signed
  if (opcode === 0x43) return void reader.take(4);
  if (opcode === 0x44) return void reader.take(8);
  if (opcode === 0xfd) {
    const vector = reader.unsigned();
    const touchesMemory = vector <= 11 || (vector >= 84 && vector <= 93);
    if (vector === 12 || vector === 13) return void reader.take(16); // v128.const, i8x16.shuffle
    if (vector >= 21 && vector <= 34) return void reader.take(1); // lanes
    if (!touchesMemory) return;
  }
  throw new DeviceError(
    'kernels-vectors',
    `the vector function ${name} does not run straight through (opcode ${opcode})`,
    {
      fields: { function: name, opcode },
    },
  );
}

class Reader {
  readonly #bytes: Uint8Array;
  at: number;

  constructor(bytes: Uint8Array, at: number) {
    this.#bytes = bytes;
    this.at = at;
  }

  get ended(): boolean {
    return this.at >= this.#bytes.length;
  }

  byte(): number {
    return this.#bytes[this.at++]!;
  }

  unsigned(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.byte();
      value += (byte & 0x7f) * scale;
      if (byte < 128) return value;
    }
  }

  take(length: number): Uint8Array {
    this.at += length;
    return this.#bytes.subarray(this.at - length, this.at);
  }

  part(length: number): Reader {
    return new Reader(this.take(length), 0);
  }

  list<T>(item: () => T): T[] {
    return Array.from({ length: this.unsigned() }, item);
  }
}

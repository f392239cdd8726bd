/**
 * Kernels of fused chains, emitted when a program is loaded: nested loops over the dimensions, in the innermost one a vector
 * of each input, the steps' vector functions one after the other, and a vector of each output.
 *
 *     for each row        (outer dimensions; operands that repeat go back, the others go on)
 *       operands that are one element a row ─► a vector of four
 *       while n ≥ 16        load four vectors of each … steps … store
 *       while n ≥ 4         load … steps … store
 *       if n > 0            the same for 1–3 lanes: to the byte
 *
 * All of a turn's inputs are loaded before any of its outputs is stored: an output may be an input's own memory, and the chains
 * of four vectors go side by side.
 */
import { DeviceError } from '../../core/errors.ts';
import type { DType } from '../../core/types.ts';
import type { FusedBody } from '../../lower/kernel-call.ts';
import type { Kernel } from './close.ts';
import { code, type EmittedFunction, encodeModule, I32, unsigned, V128 } from './encode.ts';
import { type VectorFunction, vectorFunctions } from './vectors.ts';

/** Compiles each body once; kernels are of one memory. */
export class FusedKernels {
  readonly #module: WebAssembly.Module;
  readonly #memory: WebAssembly.Memory;
  readonly #kernels = new Map<string, Kernel>();
  #vectors: ReadonlyMap<string, VectorFunction> | undefined;

  constructor(module: WebAssembly.Module, memory: WebAssembly.Memory) {
    this.#module = module;
    this.#memory = memory;
  }

  kernelOf(body: FusedBody): Kernel {
    const key = JSON.stringify(body);
    let kernel = this.#kernels.get(key);
    if (!kernel) {
      this.#vectors ??= vectorFunctions(this.#module);
      const module = new WebAssembly.Module(emitFused(body, this.#vectors));
      const { exports } = new WebAssembly.Instance(module, { env: { memory: this.#memory } });
      this.#kernels.set(key, (kernel = exports.run as Kernel));
    }
    return kernel;
  }
}

/** Steps with more code than this, in bytes, go one vector a turn: what they take to compile counts too. */
const LONG_BYTES = 4096;

function emitFused(body: FusedBody, vectors: ReadonlyMap<string, VectorFunction>): Uint8Array<ArrayBuffer> {
  const helpers = [loadTail, storeTail, loadTailMask, storeTailMask];
  return encodeModule([...helpers, new FusedLoop(body, vectors).emit()]);
}

/** Numbers of the helper functions in the module. */
const LOAD_TAIL = 0;
const STORE_TAIL = 1;
const LOAD_TAIL_MASK = 2;
const STORE_TAIL_MASK = 3;

const call = (index: number): number[] => [0x10, ...unsigned(index)];
const get = code.localGet;
const set = code.localSet;
const zero = code.v128Const(new Array<number>(16).fill(0));

/** Four bool bytes (lanes of 32 bits behind it) → lane mask. */
const widenMask = [...code.i16x8ExtendLowI8x16U, ...code.i32x4ExtendLowI16x8U, ...zero, ...code.i32x4Ne];
/** Lane mask, twice on the stack → four bool bytes. */
const narrowMask = (mask: number): number[] => [
  ...get(mask),
  ...get(mask),
  ...code.i16x8NarrowI32x4S,
  ...set(mask),
  ...get(mask),
  ...get(mask),
  ...code.i8x16NarrowI16x8S,
  ...code.v128Const(new Array<number>(16).fill(1)),
  ...code.v128And,
];

/** (pointer, 1–3) → the first lanes, the others 0. */
const loadTail: EmittedFunction = {
  parameters: [I32, I32],
  results: [V128],
  locals: [V128],
  code: [
    ...get(1),
    ...code.i32Const(1),
    ...code.i32Eq,
    ...code.ifThen(
      [...get(0), ...code.v128Load32Zero(0), ...set(2)],
      [
        ...[...get(0), ...code.v128Load64Zero, ...set(2)],
        ...[...get(1), ...code.i32Const(3), ...code.i32Eq],
        ...code.ifThen([...get(0), ...get(2), ...code.v128Load32Lane(8, 2), ...set(2)]),
      ],
    ),
    ...get(2),
  ],
};

/** (pointer, 1–3, vector) */
const storeTail: EmittedFunction = {
  parameters: [I32, I32, V128],
  results: [],
  locals: [],
  code: [
    ...get(1),
    ...code.i32Const(1),
    ...code.i32Eq,
    ...code.ifThen(
      [...get(0), ...get(2), ...code.v128Store32Lane(0, 0)],
      [
        ...[...get(0), ...get(2), ...code.v128Store64Lane],
        ...[...get(1), ...code.i32Const(3), ...code.i32Eq],
        ...code.ifThen([...get(0), ...get(2), ...code.v128Store32Lane(8, 2)]),
      ],
    ),
  ],
};

/** For lanes 1 and 2 of a tail: `then` where there are more than `lane`. */
const ifMore = (lane: number, then: readonly number[]): number[] => [
  ...get(1),
  ...code.i32Const(lane),
  ...code.i32GtS,
  ...code.ifThen(then),
];

/** (pointer to bools, 1–3) → lane mask, the others false. */
const loadTailMask: EmittedFunction = {
  parameters: [I32, I32],
  results: [V128],
  locals: [V128],
  code: [
    ...[...get(0), ...zero, ...code.v128Load8Lane(0, 0), ...set(2)],
    ...ifMore(1, [...get(0), ...get(2), ...code.v128Load8Lane(1, 1), ...set(2)]),
    ...ifMore(2, [...get(0), ...get(2), ...code.v128Load8Lane(2, 2), ...set(2)]),
    ...[...get(2), ...widenMask],
  ],
};

/** (pointer to bools, 1–3, lane mask) */
const storeTailMask: EmittedFunction = {
  parameters: [I32, I32, V128],
  results: [],
  locals: [],
  code: [
    ...[...narrowMask(2), ...set(2)],
    ...[...get(0), ...get(2), ...code.v128Store8Lane(0, 0)],
    ...ifMore(1, [...get(0), ...get(2), ...code.v128Store8Lane(1, 1)]),
    ...ifMore(2, [...get(0), ...get(2), ...code.v128Store8Lane(2, 2)]),
  ],
};

/** Bytes of four elements. */
const bytesOf4 = (dtype: DType): number => (dtype === 'bool' ? 4 : 16);

/** The arguments' places, the locals behind them, and the code. */
class FusedLoop {
  readonly #body: FusedBody;
  readonly #vectors: ReadonlyMap<string, VectorFunction>;
  readonly #parameters: number;
  readonly #locals: number[] = [];
  readonly #operands: readonly Operand[];
  readonly #outputs: readonly number[];
  /** By the vectors of a turn: locals with the values of inputs and steps. */
  readonly #values: (readonly number[])[];

  constructor(body: FusedBody, vectors: ReadonlyMap<string, VectorFunction>) {
    this.#body = body;
    this.#vectors = vectors;
    const outer = body.rank - 1;
    const sizes = body.inputs.map(({ walk }) => (walk === 'full' ? 1 : 1 + outer));
    const behind = body.rank + sizes.reduce((a, b) => a + b, 0);
    this.#parameters = behind + body.outputs.length;
    let argument = body.rank;
    this.#operands = body.inputs.map(({ walk }, i): Operand => {
      const pointer = argument;
      argument += sizes[i]!;
      if (walk === 'full') return { standing: [], strides: [], moving: pointer };
      const standing = [pointer, ...Array.from({ length: outer }, () => this.#local(I32))];
      const strides = Array.from({ length: outer }, (_, d) => pointer + 1 + d);
      return { standing, strides, moving: walk === 'row' ? this.#local(I32) : null };
    });
    this.#outputs = body.outputs.map((_, o) => behind + o);
    this.#values = [[...body.inputs, ...body.steps].map(() => this.#local(V128))];
  }

  emit(): EmittedFunction {
    const loops = this.#dimension(0);
    return {
      parameters: new Array<number>(this.#parameters).fill(I32),
      results: [],
      locals: this.#locals,
      code: loops,
    };
  }

  #local(type: number): number {
    return this.#parameters + this.#locals.push(type) - 1;
  }

  #dimension(d: number): number[] {
    if (d === this.#body.rank - 1) return this.#row();
    const left = this.#local(I32);
    const repeating = this.#operands.filter(({ standing }) => standing.length > 0);
    return [
      ...[...get(d), ...set(left)],
      ...code.loopWhile(get(left), [
        ...repeating.flatMap(({ standing }) => [...get(standing[d]!), ...set(standing[d + 1]!)]),
        ...this.#dimension(d + 1),
        ...repeating.flatMap(({ standing, strides }) => [
          ...[...get(standing[d]!), ...get(strides[d]!), ...code.i32Add, ...set(standing[d]!)],
        ]),
        ...[...get(left), ...code.i32Const(1), ...code.i32Sub, ...set(left)],
      ]),
    ];
  }

  #row(): number[] {
    const { rank, inputs, steps } = this.#body;
    const left = this.#local(I32);
    const prologue = this.#operands.flatMap(({ standing, moving }, i) => {
      if (standing.length === 0) return [];
      const from = get(standing[rank - 1]!);
      if (moving !== null) return [...from, ...set(moving)];
      const element =
        inputs[i]!.dtype === 'bool'
          ? [...code.i32Load8(0), ...code.i32x4Splat, ...zero, ...code.i32x4Ne]
          : code.v128Load32Splat;
      return [...from, ...element, ...set(this.#values[0]![i]!)];
    });
    const weight = steps.reduce((sum, { vector }) => sum + this.#function(vector).bytes, 0);
    const vectors = weight <= LONG_BYTES ? [4, 1] : [1];
    return [
      ...prologue,
      ...[...get(rank - 1), ...set(left)],
      ...vectors.flatMap((count) =>
        code.loopWhile(
          [...get(left), ...code.i32Const(4 * count), ...code.i32GeS],
          [
            ...this.#turn(count),
            ...this.#advance(get(left), count),
            ...[...get(left), ...code.i32Const(4 * count), ...code.i32Sub, ...set(left)],
          ],
        ),
      ),
      ...get(left),
      ...code.ifThen([...this.#turn(1, left), ...this.#advance(get(left), null)]),
    ];
  }

  /** `count` vectors of four elements from the pointers on; with `lanes` a local with the number of those that are left. */
  #turn(count: number, lanes?: number): number[] {
    const turns = Array.from({ length: count }, (_, v) => ({ v, values: this.#valuesOf(v) }));
    return [
      ...turns.flatMap(({ v, values }) => this.#loads(v, values, lanes)),
      ...turns.flatMap(({ values }) => this.#computed(values)),
      ...turns.flatMap(({ v, values }) => this.#stores(v, values, lanes)),
    ];
  }

  /** Locals with the values of inputs and steps of a turn's vector `v`. What is one element a row has one for all. */
  #valuesOf(v: number): readonly number[] {
    const first = this.#values[0]!;
    return (this.#values[v] ??= first.map((local, i) =>
      this.#operands[i]?.moving === null ? local : this.#local(V128),
    ));
  }

  #loads(v: number, values: readonly number[], lanes?: number): number[] {
    return this.#operands.flatMap(({ moving }, i) => {
      if (moving === null) return [];
      const { dtype } = this.#body.inputs[i]!;
      const isMask = dtype === 'bool';
      const offset = v * bytesOf4(dtype);
      const load =
        lanes !== undefined
          ? [...get(lanes), ...call(isMask ? LOAD_TAIL_MASK : LOAD_TAIL)]
          : isMask
            ? [...code.v128Load32Zero(offset), ...widenMask]
            : code.v128Load(offset);
      return [...get(moving), ...load, ...set(values[i]!)];
    });
  }

  #computed(values: readonly number[]): number[] {
    const { inputs, steps } = this.#body;
    return steps.flatMap((step, s) => [...this.#step(step, values), ...set(values[inputs.length + s]!)]);
  }

  #stores(v: number, values: readonly number[], lanes?: number): number[] {
    return this.#body.outputs.flatMap(({ value, dtype }, o) => {
      const isMask = dtype === 'bool';
      const [from, to] = [values[value]!, get(this.#outputs[o]!)];
      const offset = v * bytesOf4(dtype);
      if (lanes !== undefined)
        return [...to, ...get(lanes), ...get(from), ...call(isMask ? STORE_TAIL_MASK : STORE_TAIL)];
      if (!isMask) return [...to, ...get(from), ...code.v128Store(offset)];
      const mask = this.#local(V128);
      const bytes = [...get(from), ...set(mask), ...narrowMask(mask), ...set(mask)];
      return [...bytes, ...to, ...get(mask), ...code.v128Store32Lane(offset, 0)];
    });
  }

  /** Moves all pointers by `vectors` of four elements, or by the elements that are left. */
  #advance(left: readonly number[], vectors: number | null): number[] {
    const by = (dtype: DType): readonly number[] => {
      if (vectors !== null) return code.i32Const(vectors * bytesOf4(dtype));
      return dtype === 'bool' ? left : [...left, ...code.i32Const(2), ...code.i32Shl];
    };
    const move = (pointer: number, dtype: DType) => [...get(pointer), ...by(dtype), ...code.i32Add, ...set(pointer)];
    return [
      ...this.#operands.flatMap(({ moving }, i) => (moving === null ? [] : move(moving, this.#body.inputs[i]!.dtype))),
      ...this.#outputs.flatMap((pointer, o) => move(pointer, this.#body.outputs[o]!.dtype)),
    ];
  }

  #function(name: string): VectorFunction {
    const found = this.#vectors.get(name);
    if (found) return found;
    throw new DeviceError('kernels-vectors', `these kernels have no vector function ${name}`, {
      fields: { function: name },
      remedy: 'node scripts/build.mjs kernels',
    });
  }

  /** A function's body with locals of this one: its parameters are the values themselves where it does not change them. */
  #step({ vector, args, constants }: FusedBody['steps'][number], values: readonly number[]): number[] {
    const { parameters, locals, zeroed, written, pieces } = this.#function(vector);
    const given = [...args.map((a) => get(values[a]!)), ...constants.map(splatOf)];
    if (given.length !== parameters) {
      throw new DeviceError(
        'kernel-arity',
        `vector function ${vector} takes ${parameters} vectors, not ${given.length}`,
        {
          fields: { function: vector },
        },
      );
    }
    const own = locals.map((type) => this.#local(type));
    const placeOf = [...given.map((_, p) => (written.has(p) ? this.#local(V128) : null)), ...own];
    const start = [
      ...given.flatMap((value, p) => (placeOf[p] === null ? [] : [...value, ...set(placeOf[p]!)])),
      ...[...zeroed].flatMap((local) => [...zeroOf(locals[local - parameters]!), ...set(placeOf[local]!)]),
    ];
    const body = pieces.flatMap((piece) => {
      if (piece instanceof Uint8Array) return [...piece];
      const place = placeOf[piece.local]!;
      return place === null ? given[piece.local]! : [piece.opcode, ...unsigned(place)];
    });
    return [...start, ...body];
  }
}

/**
 * Where an input stands: pointers by dimension and the strides between them, where it repeats; and what the row's loop
 * moves.
 */
interface Operand {
  readonly standing: readonly number[];
  readonly strides: readonly number[];
  readonly moving: number | null;
}

/** Four times an f32, by its bits. */
function splatOf(bits: number): number[] {
  const bytes = [bits & 0xff, (bits >>> 8) & 0xff, (bits >>> 16) & 0xff, bits >>> 24];
  return code.v128Const([...bytes, ...bytes, ...bytes, ...bytes]);
}

function zeroOf(type: number): number[] {
  if (type === V128) return zero;
  const constants: Readonly<Record<number, readonly number[]>> = { 127: [0x41, 0], 126: [0x42, 0] };
  return [...(constants[type] ?? (type === 0x7d ? [0x43, 0, 0, 0, 0] : [0x44, 0, 0, 0, 0, 0, 0, 0, 0]))];
}

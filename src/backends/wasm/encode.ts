/** As much of the WebAssembly binary format as fused kernels need (WebAssembly core specification, chapter 5). */

export const I32 = 0x7f;
export const V128 = 0x7b;

/** LEB128 of an unsigned number below 2^32. */
export function unsigned(value: number): number[] {
  const bytes: number[] = [];
  for (let rest = value; ; ) {
    const low = rest % 128;
    rest = Math.floor(rest / 128);
    if (rest === 0) return [...bytes, low];
    bytes.push(low | 0x80);
  }
}

/** LEB128 of an i32. */
export function signed(value: number): number[] {
  const bytes: number[] = [];
  for (let rest = value; ; rest >>= 7) {
    const low = rest & 0x7f;
    if (rest >= -64 && rest < 64) return [...bytes, low];
    bytes.push(low | 0x80);
  }
}

export const text = (value: string): number[] => vector([...new TextEncoder().encode(value)].map((b) => [b]));

/** A list of items with its length in front. */
export const vector = (items: readonly (readonly number[])[]): number[] => [...unsigned(items.length), ...items.flat()];

const sized = (bytes: readonly number[]): number[] => [...unsigned(bytes.length), ...bytes];

export const section = (id: number, items: readonly (readonly number[])[]): number[] => [id, ...sized(vector(items))];

export interface EmittedFunction {
  readonly parameters: readonly number[];
  readonly results: readonly number[];
  /** Types of the locals behind the parameters. */
  readonly locals: readonly number[];
  /** Without the final `end`. */
  readonly code: readonly number[];
}

/** A module of functions on the shared memory `env.memory`; the last one is exported as `run`. */
export function encodeModule(functions: readonly EmittedFunction[]): Uint8Array<ArrayBuffer> {
  const types = functions.map(({ parameters, results }) => [
    0x60,
    ...vector(parameters.map((t) => [t])),
    ...vector(results.map((t) => [t])),
  ]);
  const bodies = functions.map(({ locals, code }) =>
    sized([...vector(locals.map((type) => [1, type])), ...code, 0x0b]),
  );
  const shared = 3; // with a maximum, as a shared memory must have one
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, types),
    ...section(2, [[...text('env'), ...text('memory'), 2, shared, ...unsigned(0), ...unsigned(65536)]]),
    ...section(
      3,
      functions.map((_, i) => unsigned(i)),
    ),
    ...section(7, [[...text('run'), 0, ...unsigned(functions.length - 1)]]),
    ...section(10, bodies),
  ]);
}

/** Instructions, by their names in the text format. Addresses are on the stack; alignment is only a hint. */
export const code = {
  localGet: (local: number): number[] => [0x20, ...unsigned(local)],
  localSet: (local: number): number[] => [0x21, ...unsigned(local)],
  i32Const: (value: number): number[] => [0x41, ...signed(value)],
  i32Add: [0x6a],
  i32Sub: [0x6b],
  i32Shl: [0x74],
  i32Eq: [0x46],
  i32GeS: [0x4e],
  i32GtS: [0x4a],
  i32Load8: (offset: number): number[] => [0x2d, 0, ...unsigned(offset)],
  v128Load: (offset: number): number[] => [0xfd, 0, 0, ...unsigned(offset)],
  v128Load32Splat: [0xfd, 9, 0, 0],
  v128Load32Zero: (offset: number): number[] => [0xfd, 92, 0, ...unsigned(offset)],
  v128Load64Zero: [0xfd, 93, 0, 0],
  v128Load8Lane: (offset: number, lane: number): number[] => [0xfd, 84, 0, ...unsigned(offset), lane],
  v128Load32Lane: (offset: number, lane: number): number[] => [0xfd, 86, 0, ...unsigned(offset), lane],
  v128Store: (offset: number): number[] => [0xfd, 11, 0, ...unsigned(offset)],
  v128Store8Lane: (offset: number, lane: number): number[] => [0xfd, 88, 0, ...unsigned(offset), lane],
  v128Store32Lane: (offset: number, lane: number): number[] => [0xfd, 90, 0, ...unsigned(offset), lane],
  v128Store64Lane: [0xfd, 91, 0, 0, 0],
  v128Const: (bytes: readonly number[]): number[] => [0xfd, 12, ...bytes],
  v128And: [0xfd, 78],
  i32x4Splat: [0xfd, 17],
  i32x4Ne: [0xfd, 56],
  i16x8ExtendLowI8x16U: [0xfd, ...unsigned(137)],
  i32x4ExtendLowI16x8U: [0xfd, ...unsigned(169)],
  i16x8NarrowI32x4S: [0xfd, ...unsigned(133)],
  i8x16NarrowI16x8S: [0xfd, ...unsigned(101)],
  ifThen: (then: readonly number[], otherwise: readonly number[] = []): number[] => [
    ...[0x04, 0x40],
    ...then,
    ...(otherwise.length > 0 ? [0x05, ...otherwise] : []),
    0x0b,
  ],
  /** Repeats while `condition` leaves anything but 0. Tested at the end too, since V8 then makes constants before the loop. */
  loopWhile: (condition: readonly number[], body: readonly number[]): number[] => [
    ...condition,
    ...[0x04, 0x40, 0x03, 0x40],
    ...[...body, ...condition, 0x0d, 0],
    ...[0x0b, 0x0b],
  ],
} as const;

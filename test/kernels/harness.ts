// Runs one kernel in a poisoned memory, twice: at different offsets and with different poison. The results must agree to
// the bit, every byte that is not an output must be as before, and a workspace must be used to its last byte.
import { readFileSync } from 'node:fs';
import { expect } from 'vitest';

type Data = Float32Array | Int32Array | Uint8Array;
/** `from`: bytes behind the beginning of a payload at which its pointer stands, 0 unless given. */
export type Arg =
  | number
  | { in: Data; from?: number }
  | { out: Data }
  | { inout: Data; from?: number }
  | { ws: number }
  | { same: number };
type Kernels = Record<string, (...args: number[]) => number>;

export const wasmModule = new WebAssembly.Module(readFileSync(new URL('../../dist/kernels.wasm', import.meta.url)));
const PAGES = 256;
export const memory = new WebAssembly.Memory({ initial: PAGES, maximum: PAGES, shared: true });
export const kernels = new WebAssembly.Instance(wasmModule, { env: { memory } }).exports as unknown as Kernels;
const bytes = new Uint8Array(memory.buffer);

const bytesOf = (a: Data) => new Uint8Array(a.buffer, a.byteOffset, a.byteLength);
const up16 = (n: number) => (n + 15) & ~15;
const copyOf = (a: Data): Data => a.slice() as Data;

function once(name: string, args: Arg[], base: number, poison: number): { outputs: Data[]; wsUsed: boolean } {
  const pointers: number[] = [];
  const writable: [number, number][] = [];
  const read: { at: number; like: Data }[] = [];
  let workspace: [number, number] | undefined;
  let p = base;
  const place = (size: number) => {
    const at = p;
    p = up16(p + size + 1); // at least one guard byte behind each payload
    return at;
  };
  const end = args.reduce<number>((sum, a) => {
    if (typeof a === 'number' || 'same' in a) return sum;
    return sum + 32 + ('ws' in a ? a.ws : ('in' in a ? a.in : 'out' in a ? a.out : a.inout).byteLength);
  }, base + 256);
  if (end > bytes.length) throw new Error('test memory too small');
  bytes.fill(poison, 0, end);
  for (const arg of args) {
    if (typeof arg === 'number') pointers.push(arg);
    else if ('same' in arg) pointers.push(pointers[arg.same]!);
    else if ('ws' in arg) {
      const at = place(arg.ws);
      pointers.push(at);
      workspace = [at, at + arg.ws];
      writable.push(workspace);
    } else {
      const data = 'in' in arg ? arg.in : 'out' in arg ? arg.out : arg.inout;
      const at = place(data.byteLength);
      if (!('out' in arg)) bytes.set(bytesOf(data), at);
      pointers.push(at + ('from' in arg ? (arg.from ?? 0) : 0));
      if (!('in' in arg)) {
        writable.push([at, at + data.byteLength]);
        read.push({ at, like: data });
      }
    }
  }
  const before = bytes.slice(0, end);
  const kernel = kernels[name];
  if (!kernel) throw new Error(`no kernel ${name}`);
  kernel(...pointers);
  let from = 0;
  for (const [a, b] of [...writable, [end, end] as [number, number]]) {
    if (Buffer.compare(bytes.subarray(from, a), before.subarray(from, a)) !== 0) {
      let i = from;
      while (bytes[i] === before[i]) i++;
      throw new Error(`${name} wrote byte ${i}, outside its outputs ${JSON.stringify(writable)}`);
    }
    from = b;
  }
  const outputs = read.map(({ at, like }) => {
    const out = copyOf(like);
    bytesOf(out).set(bytes.subarray(at, at + like.byteLength));
    return out;
  });
  const wsUsed = !workspace || workspace[0] === workspace[1] || bytes[workspace[1] - 1] !== poison;
  return { outputs, wsUsed };
}

/** Calls a kernel; returns its outputs in the order of the arguments. */
export function run(name: string, ...args: Arg[]): Data[] {
  const first = once(name, args, 16, 0xa5);
  const second = once(name, args, 4096 + 48, 0xff); // 0xff… is a NaN
  expect(first.wsUsed || second.wsUsed, `${name}: last byte of the workspace`).toBe(true);
  first.outputs.forEach((a, i) => {
    const same = Buffer.compare(bytesOf(a), bytesOf(second.outputs[i]!)) === 0;
    expect(same, `${name}: same bits at another offset`).toBe(true);
  });
  return first.outputs;
}

export const f32 = (n: number): { out: Float32Array } => ({ out: new Float32Array(n) });
export const i32 = (n: number): { out: Int32Array } => ({ out: new Int32Array(n) });
export const bool = (n: number): { out: Uint8Array } => ({ out: new Uint8Array(n) });

/** Deterministic numbers (mulberry32). */
export function random(seed: number): () => number {
  let s = seed >>> 0;
  return () => {
    s = (s + 0x6d2b79f5) >>> 0;
    let t = Math.imul(s ^ (s >>> 15), s | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** n roughly normal values. */
export function normal(n: number, seed: number): Float32Array {
  const r = random(seed);
  return Float32Array.from({ length: n }, () => (r() + r() + r() + r() - 2) * 1.7);
}

export function integers(n: number, below: number, seed: number): Int32Array {
  const r = random(seed);
  return Int32Array.from({ length: n }, () => Math.floor(r() * below));
}

export function bools(n: number, seed: number): Uint8Array {
  const r = random(seed);
  return Uint8Array.from({ length: n }, () => (r() < 0.5 ? 1 : 0));
}

/** Distance in units of the last place of f32(expected), at subnormal results in units of 2^-149. */
export function ulps(actual: number, expected: number): number {
  const rounded = Math.fround(expected);
  if (Object.is(actual, rounded) || (actual === 0 && rounded === 0)) return 0;
  if (Number.isNaN(actual) || Number.isNaN(rounded))
    return Number.isNaN(actual) && Number.isNaN(rounded) ? 0 : Infinity;
  if (!Number.isFinite(actual) || !Number.isFinite(rounded)) {
    // One step past the largest finite number is infinity.
    const finite = Number.isFinite(actual) ? actual : rounded;
    return Math.abs(finite) >= 3.4028233e38 && Math.sign(actual) === Math.sign(rounded) ? 1 : Infinity;
  }
  const exponent = Math.max(-126, Math.floor(Math.log2(Math.abs(rounded))));
  return Math.abs(actual - expected) / 2 ** (exponent - 23);
}

/** |a − e| ≤ rtol·|e| + atol for all elements; NaN equals NaN. */
export function expectClose(actual: ArrayLike<number>, expected: ArrayLike<number>, rtol = 1e-5, atol = 1e-6): void {
  expect(actual.length).toBe(expected.length);
  for (let i = 0; i < expected.length; i++) {
    const a = actual[i]!;
    const e = expected[i]!;
    if (Object.is(a, e) || a === e || (Number.isNaN(a) && Number.isNaN(e))) continue;
    if (!(Math.abs(a - e) <= rtol * Math.abs(e) + atol)) {
      throw new Error(`element ${i}: ${a}, expected ${e}`);
    }
  }
}

const smallestNormal = 2 ** -126;

/**
 * Worst error in ulp of a unary kernel over the bit patterns step·i that lie in [low, high], NaN included; results below
 * 2^-126 may come out as 0. `parameters` are the kernel's last arguments.
 */
export function sweep(
  name: string,
  f: (x: number) => number,
  step: number,
  options: { parameters?: readonly number[]; low?: number; high?: number } = {},
): { worst: number; at: number } {
  const { parameters = [], low = -Infinity, high = Infinity } = options;
  const block = 1 << 14;
  const x = new Float32Array(memory.buffer, 16, block);
  const bits = new Uint32Array(memory.buffer, 16, block);
  const y = new Float32Array(memory.buffer, 16 + 4 * block, block);
  let worst = 0;
  let at = 0;
  for (let from = 0; from < 2 ** 32; from += block * step) {
    for (let i = 0; i < block; i++) bits[i] = from + i * step;
    kernels[name]!(block, 16, 16 + 4 * block, ...parameters);
    for (let i = 0; i < block; i++) {
      if (x[i]! < low || x[i]! > high) continue;
      const e = f(x[i]!);
      if (y[i] === 0 && Math.abs(e) < smallestNormal) continue;
      const u = Math.abs(e) < smallestNormal ? Math.abs(y[i]! - e) / smallestNormal : ulps(y[i]!, e);
      if (!(u <= worst)) {
        worst = u;
        at = x[i]!;
      }
    }
  }
  return { worst, at };
}

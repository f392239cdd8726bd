/** Whether this host runs relaxed SIMD instructions. Node only. */
import { setFlagsFromString } from 'node:v8';

/** A module of one function, (v128, v128, v128) → v128: `f32x4.relaxed_madd`. */
const probe = Uint8Array.of(
  ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00], // magic, version
  ...[0x01, 0x08, 0x01, 0x60, 0x03, 0x7b, 0x7b, 0x7b, 0x01, 0x7b], // type
  ...[0x03, 0x02, 0x01, 0x00], // function
  ...[0x0a, 0x0d, 0x01, 0x0b, 0x00, 0x20, 0x00, 0x20, 0x01, 0x20, 0x02, 0xfd, 0x85, 0x02, 0x0b], // code
);

export const hasRelaxedSimd = (): boolean => WebAssembly.validate(probe);

/**
 * Asks V8 for relaxed SIMD where it has it behind a flag, as in Node 20; false where the host has none. The flag holds for
 * the whole process, workers included, and changes nothing of modules without such instructions.
 */
export function enableRelaxedSimd(): boolean {
  if (hasRelaxedSimd()) return true;
  setFlagsFromString('--experimental-wasm-relaxed-simd');
  return hasRelaxedSimd();
}

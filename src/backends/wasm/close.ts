import type { BoundCall } from '../backend.ts';

export type Kernel = (...args: number[]) => void;

/**
 * A call with its numbers filled in. A spread call costs more than a small kernel takes, so each arity up to 20 has its
 * own closure over plain numbers.
 */
// biome-ignore-start format: one arity a line
export function close(kernel: Kernel, args: readonly number[]): BoundCall {
  const [
    a0 = 0,
    a1 = 0,
    a2 = 0,
    a3 = 0,
    a4 = 0,
    a5 = 0,
    a6 = 0,
    a7 = 0,
    a8 = 0,
    a9 = 0,
    a10 = 0,
    a11 = 0,
    a12 = 0,
    a13 = 0,
    a14 = 0,
    a15 = 0,
    a16 = 0,
    a17 = 0,
    a18 = 0,
    a19 = 0,
  ] = args;
  switch (args.length) {
    case 3:
      return () => kernel(a0, a1, a2);
    case 4:
      return () => kernel(a0, a1, a2, a3);
    case 5:
      return () => kernel(a0, a1, a2, a3, a4);
    case 6:
      return () => kernel(a0, a1, a2, a3, a4, a5);
    case 7:
      return () => kernel(a0, a1, a2, a3, a4, a5, a6);
    case 8:
      return () => kernel(a0, a1, a2, a3, a4, a5, a6, a7);
    case 9:
      return () => kernel(a0, a1, a2, a3, a4, a5, a6, a7, a8);
    case 10:
      return () => kernel(a0, a1, a2, a3, a4, a5, a6, a7, a8, a9);
    case 11:
      return () => kernel(a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10);
    case 12:
      return () => kernel(a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11);
    case 13:
      return () => kernel(a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12);
    case 14:
      return () => kernel(a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13);
    case 15:
      return () => kernel(a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14);
    case 16:
      return () => kernel(a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15);
    case 17:
      return () => kernel(a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16);
    case 18:
      return () => kernel(a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17);
    case 19:
      return () => kernel(a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18);
    case 20:
      return () => kernel(a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19);
    default:
      return () => kernel(...args);
  }
}
// biome-ignore-end format: one arity a line

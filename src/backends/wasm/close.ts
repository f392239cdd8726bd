import type { BoundCall } from '../backend.ts';

export type Kernel = (...args: number[]) => void;

/**
 * By arity, a call with its numbers filled in. A spread call costs more than a small kernel takes; and each call keeps just
 * its own numbers, since a step walks through thousands of them and what they take up is taken from the caches.
 */
// biome-ignore-start format: one arity a line
const closures: readonly ((k: Kernel, ...args: number[]) => BoundCall)[] = [
  (k) => () => k(),
  (k, a) => () => k(a),
  (k, a, b) => () => k(a, b),
  (k, a, b, c) => () => k(a, b, c),
  (k, a, b, c, d) => () => k(a, b, c, d),
  (k, a, b, c, d, e) => () => k(a, b, c, d, e),
  (k, a, b, c, d, e, f) => () => k(a, b, c, d, e, f),
  (k, a, b, c, d, e, f, g) => () => k(a, b, c, d, e, f, g),
  (k, a, b, c, d, e, f, g, h) => () => k(a, b, c, d, e, f, g, h),
  (k, a, b, c, d, e, f, g, h, i) => () => k(a, b, c, d, e, f, g, h, i),
  (k, a, b, c, d, e, f, g, h, i, j) => () => k(a, b, c, d, e, f, g, h, i, j),
  (k, a, b, c, d, e, f, g, h, i, j, l) => () => k(a, b, c, d, e, f, g, h, i, j, l),
  (k, a, b, c, d, e, f, g, h, i, j, l, m) => () => k(a, b, c, d, e, f, g, h, i, j, l, m),
  (k, a, b, c, d, e, f, g, h, i, j, l, m, n) => () => k(a, b, c, d, e, f, g, h, i, j, l, m, n),
  (k, a, b, c, d, e, f, g, h, i, j, l, m, n, o) => () => k(a, b, c, d, e, f, g, h, i, j, l, m, n, o),
  (k, a, b, c, d, e, f, g, h, i, j, l, m, n, o, p) => () => k(a, b, c, d, e, f, g, h, i, j, l, m, n, o, p),
  (k, a, b, c, d, e, f, g, h, i, j, l, m, n, o, p, q) => () => k(a, b, c, d, e, f, g, h, i, j, l, m, n, o, p, q),
  (k, a, b, c, d, e, f, g, h, i, j, l, m, n, o, p, q, r) => () => k(a, b, c, d, e, f, g, h, i, j, l, m, n, o, p, q, r),
  (k, a, b, c, d, e, f, g, h, i, j, l, m, n, o, p, q, r, s) => () =>
    k(a, b, c, d, e, f, g, h, i, j, l, m, n, o, p, q, r, s),
  (k, a, b, c, d, e, f, g, h, i, j, l, m, n, o, p, q, r, s, t) => () =>
    k(a, b, c, d, e, f, g, h, i, j, l, m, n, o, p, q, r, s, t),
  (k, a, b, c, d, e, f, g, h, i, j, l, m, n, o, p, q, r, s, t, u) => () =>
    k(a, b, c, d, e, f, g, h, i, j, l, m, n, o, p, q, r, s, t, u),
];
// biome-ignore-end format: one arity a line

export function close(kernel: Kernel, args: readonly number[]): BoundCall {
  return closures[args.length]?.(kernel, ...args) ?? (() => kernel(...args));
}

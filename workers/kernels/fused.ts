// The one place where the two builds of these sources differ: `relaxed` has multiply and add in one instruction, rounded once
// where the processor does so (most do). Only sums of products use it, in matrix products and convolutions: functions of
// one element (exp, tanh …) keep their strict bits.

/** a·b + c, rounded twice; in the relaxed build once, or twice, as the processor likes. */
// @ts-ignore: decorator
@inline
export function multiplyAdd(a: v128, b: v128, c: v128): v128 {
  if (isDefined(RELAXED_SIMD)) return f32x4.relaxed_madd(a, b, c);
  return f32x4.add(c, f32x4.mul(a, b));
}

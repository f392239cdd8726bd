/**
 * log, exp, sin, cos and whole powers from + − × ÷ alone: JavaScript leaves Math.log, Math.cos and ** to the engine, and engines
 * differ in the last bit. The functions are within 2 units in the last place of the true value on the ranges stated;
 * checked against Math in the tests.
 */

const scratch = new DataView(new ArrayBuffer(8));

/** Natural logarithm of a normal positive double: x = m·2ᵉ with m in [√½, √2), log m = 2·artanh((m − 1)/(m + 1)). */
export function log(x: number): number {
  scratch.setFloat64(0, x);
  const high = scratch.getUint32(0);
  scratch.setUint32(0, (high & 0x000fffff) | 0x3ff00000);
  let m = scratch.getFloat64(0);
  let e = (high >>> 20) - 1023;
  if (m > Math.SQRT2) {
    m /= 2;
    e++;
  }
  const s = (m - 1) / (m + 1);
  const z = s * s; // ≤ 0.0295, so 12 terms reach 2⁻⁶⁰
  let sum = 0;
  for (let k = 25; k >= 3; k -= 2) sum = (sum + 1 / k) * z;
  return e * Math.LN2 + (2 * s + 2 * s * sum);
}

/** eˣ for |x| ≤ 700: x = k·log 2 + r with |r| ≤ log 2 / 2, the series of eʳ, and 2ᵏ by the exponent's bits. */
export function exp(x: number): number {
  const k = Math.round(x / Math.LN2);
  // log 2 in two parts, the first with so few bits that k times it is exact.
  const r = x - k * 0.6931471803691238 - k * 1.9082149292705877e-10;
  let sum = 1;
  for (let n = 16; n >= 1; n--) sum = 1 + (r / n) * sum;
  scratch.setUint32(0, (k + 1023) << 20);
  scratch.setUint32(4, 0);
  return sum * scratch.getFloat64(0);
}

/** baseⁿ for a whole n ≥ 0, by repeated squaring: `**` leaves the last bit to the engine. */
export function wholePower(base: number, n: number): number {
  let result = 1;
  for (let square = base, left = n; left > 0; left = Math.floor(left / 2), square *= square) {
    if (left % 2 === 1) result *= square;
  }
  return result;
}

/** (1 + cos πt)/2 for t ≥ 0: from 1 at 0 down to 0 at 1. */
export const halfCosine = (t: number): number => (1 + cosTurn((t / 2) % 1)) / 2;

/** cos 2πt for t in [0, 1). */
export const cosTurn = (t: number): number => circle(t, 0);
/** sin 2πt for t in [0, 1). */
export const sinTurn = (t: number): number => circle(t, 3);

/** cos(2πt + quarter·π/2), by the nearest quarter turn and Taylor's series on [−π/4, π/4]. */
function circle(t: number, quarter: number): number {
  const nearest = Math.round(4 * t);
  const x = (t - nearest / 4) * (2 * Math.PI); // the difference is exact
  const z = x * x;
  switch ((nearest + quarter) % 4) {
    case 0:
      return cosine(z);
    case 1:
      return -x * sine(z);
    case 2:
      return -cosine(z);
    default:
      return x * sine(z);
  }
}

/** cos √z by its series to z⁹. */
function cosine(z: number): number {
  let sum = 1;
  for (let k = 18; k >= 2; k -= 2) sum = 1 - (z / (k * (k - 1))) * sum;
  return sum;
}

/** sin √z / √z by its series to z⁹. */
function sine(z: number): number {
  let sum = 1;
  for (let k = 19; k >= 3; k -= 2) sum = 1 - (z / (k * (k - 1))) * sum;
  return sum;
}

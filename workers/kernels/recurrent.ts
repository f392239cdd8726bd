// Cells of recurrent layers: what a time step does between its matrix products, forward and backward. Rows are samples;
// a row of `gates` holds the blocks of the gates side by side, each `size` wide, and arguments say which block is whose.
// Sigmoid and tanh have the errors of the elementwise kernels; all else is f32 arithmetic in the order of the formulas.
import { loadTail, storeTail } from './lanes';
import { vsigmoid, vtanh } from './math';

/** An optional operand that is not there. */
const NONE: usize = -1;

/** r lanes, 1–4; 4 is a constant in the main loops. */
@inline
function get(p: usize, r: i32): v128 {
  return r == 4 ? v128.load(p) : loadTail(p, r);
}

@inline
function put(p: usize, r: i32, v: v128): void {
  if (r == 4) v128.store(p, v);
  else storeTail(p, r, v);
}

/** v, plus what lies at p + at unless p is none. */
@inline
function plus(v: v128, p: usize, at: usize, r: i32): v128 {
  return p == NONE ? v : f32x4.add(v, get(p + at, r));
}

/** v, plus a·b with a at p + at, unless p is none. */
@inline
function plusProduct(v: v128, p: usize, at: usize, b: v128, r: i32): v128 {
  return p == NONE ? v : f32x4.add(v, f32x4.mul(get(p + at, r), b));
}

/** dy·s·(1 − s): through a sigmoid of value s. */
@inline
function throughSigmoid(dy: v128, s: v128): v128 {
  return f32x4.mul(f32x4.mul(dy, s), f32x4.sub(f32x4.splat(1), s));
}

/** dy·(1 − y²): through a tanh of value y. */
@inline
function throughTanh(dy: v128, y: v128): v128 {
  return f32x4.mul(dy, f32x4.sub(f32x4.splat(1), f32x4.mul(y, y)));
}

@inline
function lstmLanes(
  r: i32, block: usize, i: usize, o: usize, f: usize, g: usize, peephole: usize, gates: usize, cPrev: usize, c: usize,
  h: usize,
): void {
  const before = get(cPrev, r);
  const iGate = vsigmoid(plusProduct(get(gates + i, r), peephole, 0, before, r));
  const fGate = vsigmoid(plusProduct(get(gates + f, r), peephole, 2 * block, before, r));
  const gGate = vtanh(get(gates + g, r));
  const cell = f32x4.add(f32x4.mul(fGate, before), f32x4.mul(iGate, gGate));
  const oGate = vsigmoid(plusProduct(get(gates + o, r), peephole, block, cell, r));
  put(gates + i, r, iGate);
  put(gates + o, r, oGate);
  put(gates + f, r, fGate);
  put(gates + g, r, gGate);
  put(c, r, cell);
  put(h, r, f32x4.mul(oGate, vtanh(cell)));
}

/**
 * One step of an LSTM. `gates` [rows, 4·size] holds what enters the gates and is overwritten by their values:
 *   i = σ(i + p_i·c′), f = σ(f + p_f·c′), g = tanh(g), c = f·c′ + i·g, o = σ(o + p_o·c), h = o·tanh(c)
 * i, o, f, g: numbers of their blocks. peephole [3·size] = p_i, p_o, p_f, or -1.
 */
export function lstmCell(
  rows: i32, size: i32, i: i32, o: i32, f: i32, g: i32, peephole: usize, gates: usize, cPrev: usize, c: usize, h: usize,
): void {
  const block = <usize>size * 4;
  const bi = <usize>i * block;
  const bo = <usize>o * block;
  const bf = <usize>f * block;
  const bg = <usize>g * block;
  const whole = block & ~15;
  const rest = size & 3;
  for (; rows > 0; rows--) {
    let j: usize = 0;
    if (peephole == NONE) {
      // The usual case without its questions: the gates' chains go side by side. Tested at the end as in elementwise.ts.
      if (whole > 0) {
        do {
          lstmLanes(4, block, bi, bo, bf, bg, NONE, gates + j, cPrev + j, c + j, h + j);
          j += 16;
        } while (j < whole);
      }
    } else {
      for (; j < whole; j += 16) {
        lstmLanes(4, block, bi, bo, bf, bg, peephole + j, gates + j, cPrev + j, c + j, h + j);
      }
    }
    if (rest > 0) {
      const p = peephole == NONE ? NONE : peephole + j;
      lstmLanes(rest, block, bi, bo, bf, bg, p, gates + j, cPrev + j, c + j, h + j);
    }
    gates += 4 * block;
    cPrev += block;
    c += block;
    h += block;
  }
}

@inline
function lstmGradLanes(
  r: i32, block: usize, i: usize, o: usize, f: usize, g: usize, peephole: usize, gates: usize, cPrev: usize, c: usize,
  dH: usize, dC: usize, dGates: usize, at: usize, dGatesAt: usize, dh: usize, dc: usize, dPre: usize,
): void {
  const iGate = get(gates + i, r);
  const oGate = get(gates + o, r);
  const fGate = get(gates + f, r);
  const gGate = get(gates + g, r);
  const squashed = vtanh(get(c, r));
  const hidden = plus(get(dh, r), dH, at, r);
  const dO = throughSigmoid(plus(f32x4.mul(hidden, squashed), dGates, dGatesAt + o, r), oGate);
  let cell = f32x4.add(plus(get(dc, r), dC, at, r), throughTanh(f32x4.mul(hidden, oGate), squashed));
  cell = plusProduct(cell, peephole, block, dO, r);
  const dI = throughSigmoid(plus(f32x4.mul(cell, gGate), dGates, dGatesAt + i, r), iGate);
  const dF = throughSigmoid(plus(f32x4.mul(cell, get(cPrev, r)), dGates, dGatesAt + f, r), fGate);
  const dG = throughTanh(plus(f32x4.mul(cell, iGate), dGates, dGatesAt + g, r), gGate);
  put(dPre + i, r, dI);
  put(dPre + o, r, dO);
  put(dPre + f, r, dF);
  put(dPre + g, r, dG);
  cell = plusProduct(f32x4.mul(cell, fGate), peephole, 0, dI, r);
  put(dc, r, plusProduct(cell, peephole, 2 * block, dF, r));
}

/**
 * The step backward, from the values that lstmCell left. dh and dc [rows, size] hold what later steps send back; dc is
 * overwritten by what goes to the step before. dH, dC [rows, size] and dGates [rows, 4·size] are cotangents of the step's
 * own outputs, each may be -1. dPre [rows, 4·size]: cotangents of what enters the gates.
 */
export function lstmCellGrad(
  rows: i32, size: i32, i: i32, o: i32, f: i32, g: i32, peephole: usize, gates: usize, cPrev: usize, c: usize, dH: usize,
  dC: usize, dGates: usize, dh: usize, dc: usize, dPre: usize,
): void {
  const block = <usize>size * 4;
  const bi = <usize>i * block;
  const bo = <usize>o * block;
  const bf = <usize>f * block;
  const bg = <usize>g * block;
  const whole = block & ~15;
  const rest = size & 3;
  const isPlain = peephole == NONE && dC == NONE && dGates == NONE;
  for (let row: usize = 0; row < <usize>rows * block; row += block) {
    const wide = row * 4;
    let j: usize = 0;
    if (isPlain) {
      // As in lstmCell.
      if (whole > 0) {
        do {
          lstmGradLanes(
            4, block, bi, bo, bf, bg, NONE, gates + wide + j, cPrev + row + j, c + row + j, dH, NONE, NONE, row + j,
            wide + j, dh + row + j, dc + row + j, dPre + wide + j,
          );
          j += 16;
        } while (j < whole);
      }
    } else {
      for (; j < whole; j += 16) {
        const p = peephole == NONE ? NONE : peephole + j;
        lstmGradLanes(
          4, block, bi, bo, bf, bg, p, gates + wide + j, cPrev + row + j, c + row + j, dH, dC, dGates, row + j, wide + j,
          dh + row + j, dc + row + j, dPre + wide + j,
        );
      }
    }
    if (rest > 0) {
      const p = peephole == NONE ? NONE : peephole + j;
      lstmGradLanes(
        rest, block, bi, bo, bf, bg, p, gates + wide + j, cPrev + row + j, c + row + j, dH, dC, dGates, row + j, wide + j,
        dh + row + j, dc + row + j, dPre + wide + j,
      );
    }
  }
}

/** n + z·(h′ − n), written as (1 − z)·n + z·h′: exact at z = 0 and z = 1. */
@inline
function blend(z: v128, n: v128, before: v128): v128 {
  return f32x4.add(f32x4.mul(f32x4.sub(f32x4.splat(1), z), n), f32x4.mul(z, before));
}

@inline
function gruLanes(
  r: i32, z: usize, reset: usize, n: usize, bias: usize, gates: usize, product: usize, hPrev: usize, h: usize,
): void {
  const zGate = vsigmoid(get(gates + z, r));
  const rGate = vsigmoid(get(gates + reset, r));
  const q = f32x4.add(get(product, r), get(bias, r));
  const nGate = vtanh(f32x4.add(get(gates + n, r), f32x4.mul(rGate, q)));
  put(gates + z, r, zGate);
  put(gates + reset, r, rGate);
  put(gates + n, r, nGate);
  put(product, r, q);
  put(h, r, blend(zGate, nGate, get(hPrev, r)));
}

/**
 * One step of a GRU whose reset gate acts behind the product. `gates` [rows, 3·size] holds what enters the gates without
 * the new gate's product with h′, which is `product` [rows, size]; both are overwritten:
 *   z = σ(z), r = σ(r), q = product + bias, n = tanh(n + r·q), h = (1 − z)·n + z·h′
 * z, r: numbers of their blocks, 0 and 1 in either order; n is block 2. bias [size].
 */
export function gruCell(
  rows: i32, size: i32, z: i32, r: i32, bias: usize, gates: usize, product: usize, hPrev: usize, h: usize,
): void {
  const block = <usize>size * 4;
  const bz = <usize>z * block;
  const br = <usize>r * block;
  const bn = block * 2;
  const whole = block & ~15;
  const rest = size & 3;
  for (; rows > 0; rows--) {
    let j: usize = 0;
    if (whole > 0) {
      do {
        gruLanes(4, bz, br, bn, bias + j, gates + j, product + j, hPrev + j, h + j);
        j += 16;
      } while (j < whole);
    }
    if (rest > 0) gruLanes(rest, bz, br, bn, bias + whole, gates + whole, product + whole, hPrev + whole, h + whole);
    gates += 3 * block;
    product += block;
    hPrev += block;
    h += block;
  }
}

@inline
function gruGradLanes(
  r: i32, z: usize, reset: usize, n: usize, gates: usize, product: usize, hPrev: usize, dH: usize, dGates: usize,
  dProduct: usize, at: usize, dGatesAt: usize, dh: usize, dPre: usize, dQ: usize,
): void {
  const zGate = get(gates + z, r);
  const rGate = get(gates + reset, r);
  const nGate = get(gates + n, r);
  const hidden = plus(get(dh, r), dH, at, r);
  const dZ = f32x4.mul(hidden, f32x4.sub(get(hPrev, r), nGate));
  const dN = f32x4.mul(hidden, f32x4.sub(f32x4.splat(1), zGate));
  const inner = throughTanh(plus(dN, dGates, dGatesAt + n, r), nGate);
  const dR = f32x4.mul(inner, get(product, r));
  put(dPre + z, r, throughSigmoid(plus(dZ, dGates, dGatesAt + z, r), zGate));
  put(dPre + reset, r, throughSigmoid(plus(dR, dGates, dGatesAt + reset, r), rGate));
  put(dPre + n, r, inner);
  put(dQ, r, plus(f32x4.mul(inner, rGate), dProduct, at, r));
  put(dh, r, f32x4.mul(hidden, zGate));
}

/**
 * The step of gruCell backward. dh [rows, size] holds what later steps send back and is overwritten by what goes to h′
 * beside the products. dH, dProduct [rows, size] and dGates [rows, 3·size] may be -1. dPre [rows, 3·size] and
 * dQ [rows, size]: cotangents of what enters the gates, and of the product.
 */
export function gruCellGrad(
  rows: i32, size: i32, z: i32, r: i32, gates: usize, product: usize, hPrev: usize, dH: usize, dGates: usize,
  dProduct: usize, dh: usize, dPre: usize, dQ: usize,
): void {
  const block = <usize>size * 4;
  const bz = <usize>z * block;
  const br = <usize>r * block;
  const bn = block * 2;
  const whole = block & ~15;
  const rest = size & 3;
  for (let row: usize = 0; row < <usize>rows * block; row += block) {
    const wide = row * 3;
    for (let j: usize = 0; j < whole; j += 16) {
      gruGradLanes(
        4, bz, br, bn, gates + wide + j, product + row + j, hPrev + row + j, dH, dGates, dProduct, row + j, wide + j,
        dh + row + j, dPre + wide + j, dQ + row + j,
      );
    }
    if (rest > 0) {
      const j = whole;
      gruGradLanes(
        rest, bz, br, bn, gates + wide + j, product + row + j, hPrev + row + j, dH, dGates, dProduct, row + j, wide + j,
        dh + row + j, dPre + wide + j, dQ + row + j,
      );
    }
  }
}

@inline
function gruGatesLanes(r: i32, z: usize, reset: usize, gates: usize, hPrev: usize, u: usize): void {
  const rGate = vsigmoid(get(gates + reset, r));
  put(gates + z, r, vsigmoid(get(gates + z, r)));
  put(gates + reset, r, rGate);
  put(u, r, f32x4.mul(rGate, get(hPrev, r)));
}

/**
 * First half of a GRU's step whose reset gate acts before the product: z = σ(z), r = σ(r) in place and u = r·h′
 * [rows, size], whose product with the new gate's weights comes next. Blocks as in gruCell.
 */
export function gruGates(rows: i32, size: i32, z: i32, r: i32, gates: usize, hPrev: usize, u: usize): void {
  const block = <usize>size * 4;
  const bz = <usize>z * block;
  const br = <usize>r * block;
  const whole = block & ~15;
  const rest = size & 3;
  for (; rows > 0; rows--) {
    let j: usize = 0;
    if (whole > 0) {
      do {
        gruGatesLanes(4, bz, br, gates + j, hPrev + j, u + j);
        j += 16;
      } while (j < whole);
    }
    if (rest > 0) gruGatesLanes(rest, bz, br, gates + whole, hPrev + whole, u + whole);
    gates += 3 * block;
    hPrev += block;
    u += block;
  }
}

@inline
function gruBlendLanes(r: i32, z: usize, n: usize, gates: usize, hPrev: usize, h: usize): void {
  const nGate = vtanh(get(gates + n, r));
  put(gates + n, r, nGate);
  put(h, r, blend(get(gates + z, r), nGate, get(hPrev, r)));
}

/** Second half: n = tanh(n) in place, h = (1 − z)·n + z·h′. */
export function gruBlend(rows: i32, size: i32, z: i32, gates: usize, hPrev: usize, h: usize): void {
  const block = <usize>size * 4;
  const bz = <usize>z * block;
  const bn = block * 2;
  const whole = block & ~15;
  const rest = size & 3;
  for (; rows > 0; rows--) {
    let j: usize = 0;
    if (whole > 0) {
      do {
        gruBlendLanes(4, bz, bn, gates + j, hPrev + j, h + j);
        j += 16;
      } while (j < whole);
    }
    if (rest > 0) gruBlendLanes(rest, bz, bn, gates + whole, hPrev + whole, h + whole);
    gates += 3 * block;
    hPrev += block;
    h += block;
  }
}

@inline
function gruBlendGradLanes(
  r: i32, z: usize, n: usize, gates: usize, hPrev: usize, dH: usize, dGates: usize, at: usize, dGatesAt: usize, dh: usize,
  dPre: usize,
): void {
  const zGate = get(gates + z, r);
  const nGate = get(gates + n, r);
  const hidden = plus(get(dh, r), dH, at, r);
  const dZ = f32x4.mul(hidden, f32x4.sub(get(hPrev, r), nGate));
  const dN = f32x4.mul(hidden, f32x4.sub(f32x4.splat(1), zGate));
  put(dPre + z, r, throughSigmoid(plus(dZ, dGates, dGatesAt + z, r), zGate));
  put(dPre + n, r, throughTanh(plus(dN, dGates, dGatesAt + n, r), nGate));
  put(dh, r, f32x4.mul(hidden, zGate));
}

/** gruBlend backward: blocks z and n of dPre; dh as in gruCellGrad. */
export function gruBlendGrad(
  rows: i32, size: i32, z: i32, gates: usize, hPrev: usize, dH: usize, dGates: usize, dh: usize, dPre: usize,
): void {
  const block = <usize>size * 4;
  const bz = <usize>z * block;
  const bn = block * 2;
  const whole = block & ~15;
  const rest = size & 3;
  for (let row: usize = 0; row < <usize>rows * block; row += block) {
    const wide = row * 3;
    for (let j: usize = 0; j < whole; j += 16) {
      gruBlendGradLanes(
        4, bz, bn, gates + wide + j, hPrev + row + j, dH, dGates, row + j, wide + j, dh + row + j, dPre + wide + j,
      );
    }
    if (rest > 0) {
      const j = whole;
      gruBlendGradLanes(
        rest, bz, bn, gates + wide + j, hPrev + row + j, dH, dGates, row + j, wide + j, dh + row + j, dPre + wide + j,
      );
    }
  }
}

@inline
function gruGatesGradLanes(
  r: i32, reset: usize, gates: usize, hPrev: usize, dGates: usize, dGatesAt: usize, dh: usize, dPre: usize,
): void {
  const rGate = get(gates + reset, r);
  const dU = get(dPre + reset, r);
  const dR = plus(f32x4.mul(dU, get(hPrev, r)), dGates, dGatesAt + reset, r);
  put(dh, r, f32x4.add(get(dh, r), f32x4.mul(dU, rGate)));
  put(dPre + reset, r, throughSigmoid(dR, rGate));
}

/** gruGates backward: block r of dPre holds the cotangent of u and is overwritten by that of what enters r; dh grows. */
export function gruGatesGrad(
  rows: i32, size: i32, r: i32, gates: usize, hPrev: usize, dGates: usize, dh: usize, dPre: usize,
): void {
  const block = <usize>size * 4;
  const br = <usize>r * block;
  const whole = block & ~15;
  const rest = size & 3;
  for (let row: usize = 0; row < <usize>rows * block; row += block) {
    const wide = row * 3;
    for (let j: usize = 0; j < whole; j += 16) {
      gruGatesGradLanes(4, br, gates + wide + j, hPrev + row + j, dGates, wide + j, dh + row + j, dPre + wide + j);
    }
    if (rest > 0) {
      const j = whole;
      gruGatesGradLanes(rest, br, gates + wide + j, hPrev + row + j, dGates, wide + j, dh + row + j, dPre + wide + j);
    }
  }
}

// 2-D convolution, NCHW, weights [O, C / groups, kh, kw], one sample and group at a time:
//   forward       y[n, g]   = w[g] · cols(x[n, g])           cols: [C/groups·kh·kw, oh·ow]
//   input grad    dx[n, g]  = cols⁻¹(w[g]ᵀ · dy[n, g])       cols⁻¹ adds overlapping windows in row-major order
//   weight grad   dw[g]    += dy[n, g] · cols(x[n, g])ᵀ      samples in ascending order
// Windows may hang over any edge; bottom and right padding follow from oh, ow. A 1×1 convolution of stride 1 without
// padding is its own cols.
//
// Workspace, in bytes:  [cols, rounded up to 16][gemm's workspace]
import { gemm, gemmWorkspace } from './gemm';
import { addIntoRow, columns, fromColumns } from './im2col';

@inline
function isPlain(kh: i32, kw: i32, sh: i32, sw: i32, pt: i32, pl: i32, H: i32, W: i32, oh: i32, ow: i32): bool {
  return (kh | kw | sh | sw) == 1 && (pt | pl) == 0 && oh == H && ow == W;
}

/** kind: 0 forward, 1 input gradient, 2 weight gradient. Exact bytes; every call writes the last of them. */
export function conv2dWorkspace(
  kind: i32, N: i32, C: i32, H: i32, W: i32, O: i32, kh: i32, kw: i32, sh: i32, sw: i32, pt: i32, pl: i32, dh: i32,
  dw: i32, groups: i32, oh: i32, ow: i32,
): i32 {
  const o = O / groups;
  const depth = (C / groups) * kh * kw;
  const pixels = oh * ow;
  const cols = isPlain(kh, kw, sh, sw, pt, pl, H, W, oh, ow) ? 0 : (depth * pixels * 4 + 15) & ~15;
  if (kind == 0) return cols + gemmWorkspace(o, pixels, depth);
  if (kind == 1) return cols + gemmWorkspace(depth, pixels, o);
  return cols + gemmWorkspace(o, depth, pixels);
}

export function conv2d(
  N: i32, C: i32, H: i32, W: i32, O: i32, kh: i32, kw: i32, sh: i32, sw: i32, pt: i32, pl: i32, dh: i32, dw: i32,
  groups: i32, oh: i32, ow: i32, x: usize, w: usize, bias: usize, y: usize, ws: usize,
): void {
  const o = O / groups;
  const c = C / groups;
  const depth = c * kh * kw;
  const pixels = oh * ow;
  const plain = isPlain(kh, kw, sh, sw, pt, pl, H, W, oh, ow);
  const scratch = ws + (plain ? 0 : (<usize>(depth * pixels) * 4 + 15) & ~15);
  for (let n = 0; n < N; n++) {
    let weights = w;
    let b = bias;
    for (let g = 0; g < groups; g++) {
      if (!plain) columns(c, H, W, kh, kw, sh, sw, pt, pl, dh, dw, oh, ow, x, ws);
      gemm(o, pixels, depth, weights, depth, 1, plain ? x : ws, pixels, 1, y, pixels, 0, scratch);
      if (bias != usize.MAX_VALUE) {
        for (let i = 0; i < o; i++) {
          addIntoRow(pixels, y + <usize>(i * pixels) * 4, load<f32>(b));
          b += 4;
        }
      }
      weights += <usize>(o * depth) * 4;
      x += <usize>(c * H * W) * 4;
      y += <usize>(o * pixels) * 4;
    }
  }
}

export function conv2dInputGrad(
  N: i32, C: i32, H: i32, W: i32, O: i32, kh: i32, kw: i32, sh: i32, sw: i32, pt: i32, pl: i32, dh: i32, dw: i32,
  groups: i32, oh: i32, ow: i32, dy: usize, w: usize, dx: usize, ws: usize,
): void {
  const o = O / groups;
  const c = C / groups;
  const depth = c * kh * kw;
  const pixels = oh * ow;
  const plain = isPlain(kh, kw, sh, sw, pt, pl, H, W, oh, ow);
  const scratch = ws + (plain ? 0 : (<usize>(depth * pixels) * 4 + 15) & ~15);
  if (!plain) memory.fill(dx, 0, <usize>(N * C * H * W) * 4);
  for (let n = 0; n < N; n++) {
    let weights = w;
    for (let g = 0; g < groups; g++) {
      gemm(depth, pixels, o, weights, 1, depth, dy, pixels, 1, plain ? dx : ws, pixels, 0, scratch);
      if (!plain) fromColumns(c, H, W, kh, kw, sh, sw, pt, pl, dh, dw, oh, ow, ws, dx);
      weights += <usize>(o * depth) * 4;
      dx += <usize>(c * H * W) * 4;
      dy += <usize>(o * pixels) * 4;
    }
  }
}

export function conv2dWeightGrad(
  N: i32, C: i32, H: i32, W: i32, O: i32, kh: i32, kw: i32, sh: i32, sw: i32, pt: i32, pl: i32, dh: i32, dw: i32,
  groups: i32, oh: i32, ow: i32, x: usize, dy: usize, dweight: usize, ws: usize,
): void {
  const o = O / groups;
  const c = C / groups;
  const depth = c * kh * kw;
  const pixels = oh * ow;
  const plain = isPlain(kh, kw, sh, sw, pt, pl, H, W, oh, ow);
  const scratch = ws + (plain ? 0 : (<usize>(depth * pixels) * 4 + 15) & ~15);
  for (let n = 0; n < N; n++) {
    let weights = dweight;
    for (let g = 0; g < groups; g++) {
      if (!plain) columns(c, H, W, kh, kw, sh, sw, pt, pl, dh, dw, oh, ow, x, ws);
      gemm(o, depth, pixels, dy, pixels, 1, plain ? x : ws, 1, pixels, weights, depth, n > 0 ? 1 : 0, scratch);
      weights += <usize>(o * depth) * 4;
      x += <usize>(c * H * W) * 4;
      dy += <usize>(o * pixels) * 4;
    }
  }
}

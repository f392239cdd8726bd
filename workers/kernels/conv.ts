// Convolution over three spatial axes (depth, height, width; fewer have leading sizes of 1, strides and dilations of 1 and
// no padding there), weights [O, C / groups, kd, kh, kw], one sample and group at a time:
//   forward       y[n, g]   = w[g] · cols(x[n, g])           cols: [C/groups·kd·kh·kw, od·oh·ow]
//   input grad    dx[n, g]  = cols⁻¹(w[g]ᵀ · dy[n, g])       cols⁻¹ adds overlapping windows in row-major order, or
//                           = w′[g] · cols(dy[n, g])         w′: filters transposed and turned around, or
//                           = pixel by pixel of the taps that reach it (convPixels.ts)
//                 both, of small images: of the taps that reach, sixteen samples at once (convBySamples.ts)
//   weight grad   dw[g]    += dy[n, g] · cols(x[n, g])ᵀ      samples in ascending order, or
//                           tap by tap over the pixels of several samples (convWeightPixels.ts)
// Windows may hang over any edge; the padding behind an axis follows from its output size. A convolution by windows of one
// element, of stride 1 and without padding, is its own cols.
//
// Outputs and the weights' gradient take columns from where they lie, in the image or, where windows hang over, in a frame of
// zeros around it (frame.ts): gemm packs them from there, and weights' gradients that are narrow or of few outputs read them
// there, if outputs are whole quads of each row (by stride 1). Where `isBySamples` says so, outputs and the input's gradient have
// samples for lanes. Otherwise the input's gradient goes pixel by pixel where `isByPixels` says so,
// and is such a convolution of dy where `isTurned` does. The rest, and other input gradients, build them. A block of the filters is
// packed once for all samples. Groups of one or a few channels go by four (`isByGroups`: convGroups.ts, convGroupsWeights.ts).
//
// Workspace, in bytes, each part but the last rounded up to 16:
//   outputs, weight gradient    [frame, if windows hang over][places of taps][places of outputs][gemm's]
//   input gradient              [cols][gemm's], or, turned, as outputs of dy, or convPixels.ts's own
//   by samples                  convBySamples.ts's own
//   narrow weight gradient      [frame, if windows hang over][places of taps][places of quads of outputs], or [cols]
//   weights of several samples  convWeightPixels.ts's own
//   groups by four              convGroups.ts's own, or convGroupsWeights.ts's
//   windows of one element      [gemm's], if not narrow
import { convBySamples, samplesWork, samplesWorkspace } from './convBySamples';
import { convByGroups, groupsWorkspace } from './convGroups';
import { groupsWeightsWorkspace, weightGradByGroups } from './convGroupsWeights';
import { inputGradByPixels, pixelsWorkspace } from './convPixels';
import { reached } from './convReach';
import { weightGradByPixels, weightPixelsWorkspace } from './convWeightPixels';
import { dotRows, dotRowsOfPlaces } from './dotRows';
import { intoFrame, placesOf, reach } from './frame';
import { blockOfPlaces, gemm, gemmOfPlaces, gemmWorkspace, KC, MC, packedBlock, packedWorkspace } from './gemm';
import { packA, packTurned } from './gemmPack';
import { isByGroups } from './groupFrames';
import { addIntoRow, columns, fromColumns } from './im2col';

@inline
function isPlain(
  kd: i32, kh: i32, kw: i32, sd: i32, sh: i32, sw: i32, pd: i32, ph: i32, pw: i32, D: i32, H: i32, W: i32,
  od: i32, oh: i32, ow: i32,
): bool {
  return (kd | kh | kw | sd | sh | sw) == 1 && (pd | ph | pw) == 0 && od == D && oh == H && ow == W;
}

/** Whether a row's outputs are quads that lie side by side in the image. */
@inline
function areQuads(sw: i32, ow: i32): bool {
  return sw == 1 && (ow & 3) == 0;
}

/**
 * A weight gradient by dot products of rows, which need no packed copies: too narrow for gemm's tiles, or of so few outputs that
 * packing columns, which they share, takes longer than reading quads where they lie.
 */
@inline
function isNarrow(o: i32, depth: i32, pixels: i32, quads: bool): bool {
  return o < 8 || depth < 16 || (quads && o <= 32 && pixels >= 128);
}

/**
 * Whether a weights' gradient takes several samples at once: outputs by sixteens, enough channels that few pairs are half empty, and
 * enough taps to share x as packed; of a single sample with few pixels a tile's sums are too short, and a longer row than KC is no
 * block.
 */
@inline
function areWeightsByPixels(N: i32, c: i32, o: i32, taps: i32, pixels: i32, ow: i32): bool {
  return (o & 15) == 0 && c >= 6 && taps >= 8 && pixels <= 1024 && ow <= KC && (N > 1 || pixels >= 32);
}

/**
 * Whether an input gradient is the convolution of dy in a frame with the filters turned around: by stride 1, with no more padding
 * than taps, and where that takes hardly more operations, as with "same" padding, and no narrow product.
 */
@inline
function isTurned(
  kd: i32, kh: i32, kw: i32, sd: i32, sh: i32, sw: i32, pd: i32, ph: i32, pw: i32, dd: i32, dh: i32, dw: i32, c: i32,
  D: i32, H: i32, W: i32, od: i32, oh: i32, ow: i32,
): bool {
  const framed = (sd | sh | sw) == 1 && pd <= (kd - 1) * dd && ph <= (kh - 1) * dh && pw <= (kw - 1) * dw;
  return framed && c >= 8 && 4 * D * H * W <= 5 * od * oh * ow;
}

/**
 * Whether an input gradient goes pixel by pixel: channels by sixteens, but not so many that packing filters shows, and enough taps
 * of each phase for a tile's loop; by stride 1 or 2 along a row, and without dilation. Where it could be turned around, with few
 * products to save, that only pays with many taps.
 */
@inline
function isByPixels(
  kd: i32, kh: i32, kw: i32, sd: i32, sh: i32, sw: i32, dd: i32, dh: i32, dw: i32, c: i32, turnable: bool,
): bool {
  const taps = kd * kh * kw;
  const inReach = sw <= 2 && (dd | dh | dw) == 1 && c <= 64 && (c & 15) == 0;
  return inReach && taps >= 2 * sd * sh * sw && taps >= (turnable ? 16 : 8);
}

/**
 * What a sample and group takes with no samples for lanes, in tenths of a multiply-add, by its time: whole panels of columns, packed
 * for `packing` of them an element, a result for seven (pixel by pixel for twelve), a column that is added back for eight, and a
 * thousand besides.
 */
@inline
function matrixWork(
  turning: bool, plain: bool, turned: bool, byPixels: bool, packing: i32, o: i32, c: i32, taps: i32, reach: f64, volume: i32,
  pixels: i32,
): f64 {
  const pairs = <f64>o * c;
  const results = turning ? <f64>volume * c : <f64>pixels * o;
  const columns = <f64>(((turned ? volume : pixels) + 7) & ~7);
  if (plain) return 8 * columns * pairs + 50 * results + 6000;
  if (byPixels) return 13 * reach * pairs + 120 * results + 10000;
  if (turning && !turned) return 10 * taps * columns * c * (<f64>o + 8) + 10000;
  const packed = turned ? o : c;
  return columns * taps * (10 * pairs + <f64>packing * packed) + 70 * results + 10000;
}

/**
 * Whether outputs, or the input's gradient (`turning`), have samples for lanes: where that takes a tenth less of sixteen samples. How many
 * there are is no matter: terms of a large batch have the bits of those of microbatches.
 */
function isBySamples(
  turning: bool, o: i32, c: i32, kd: i32, kh: i32, kw: i32, sd: i32, sh: i32, sw: i32, pd: i32, ph: i32, pw: i32,
  dd: i32, dh: i32, dw: i32, D: i32, H: i32, W: i32, od: i32, oh: i32, ow: i32,
): bool {
  const plain = isPlain(kd, kh, kw, sd, sh, sw, pd, ph, pw, D, H, W, od, oh, ow);
  if (dw != 1 || (turning && (sd | sh | sw) != 1 && (dd | dh) != 1)) return false;
  const turned = turning && !plain && isTurned(kd, kh, kw, sd, sh, sw, pd, ph, pw, dd, dh, dw, c, D, H, W, od, oh, ow);
  const byPixels = turning && isByPixels(kd, kh, kw, sd, sh, sw, dd, dh, dw, c, turned);
  const taps = <f64>reached(D, od, kd, sd, pd, dd) * reached(H, oh, kh, sh, ph, dh) * reached(W, ow, kw, sw, pw, 1);
  const volume = D * H * W;
  const pixels = od * oh * ow;
  // Nothing shows of packing from rows of whole panels; rows' ends in the midst of panels take longest.
  const packing = sw > 1 ? 10 : ((turning ? W : ow) & 15) == 0 ? 0 : 25;
  const others = matrixWork(turning, plain, turned, byPixels, packing, o, c, kd * kh * kw, taps, volume, pixels);
  const work = turning ? samplesWork(c, o, taps, pixels, volume) : samplesWork(o, c, taps, volume, pixels);
  return 10 * work < 9 * others;
}

/** Whether all windows lie within the image, so that it is its own frame. */
@inline
function isInside(
  kd: i32, kh: i32, kw: i32, sd: i32, sh: i32, sw: i32, pd: i32, ph: i32, pw: i32, dd: i32, dh: i32, dw: i32,
  D: i32, H: i32, W: i32, od: i32, oh: i32, ow: i32,
): bool {
  return (pd | ph | pw) == 0 && reach(od, sd, kd, dd) <= D && reach(oh, sh, kh, dh) <= H && reach(ow, sw, kw, dw) <= W;
}

@inline
function roundUp(bytes: i32): i32 {
  return (bytes + 15) & ~15;
}

/** kind: 0 forward, 1 input gradient, 2 weight gradient. Exact bytes; every call writes the last of them. */
export function convWorkspace(
  kind: i32, N: i32, C: i32, D: i32, H: i32, W: i32, O: i32, kd: i32, kh: i32, kw: i32, sd: i32, sh: i32, sw: i32,
  pd: i32, ph: i32, pw: i32, dd: i32, dh: i32, dw: i32, groups: i32, od: i32, oh: i32, ow: i32,
): i32 {
  const o = O / groups;
  const depth = (C / groups) * kd * kh * kw;
  const pixels = od * oh * ow;
  const plain = isPlain(kd, kh, kw, sd, sh, sw, pd, ph, pw, D, H, W, od, oh, ow);
  if (isByGroups(kind, C / groups, o, groups, kd * kh * kw, sw, ow, pixels, plain)) {
    if (kind == 2) return groupsWeightsWorkspace(C / groups, o, kd, kh, kw, sh, sw, dh, dw, oh, ow);
    return kind == 0
      ? groupsWorkspace(false, C / groups, o, kd, kh, kw, sd, sh, sw, ph, pw, dh, dw, oh, ow)
      : groupsWorkspace(true, o, C / groups, kd, kh, kw, sd, sh, sw, ph, pw, dh, dw, H, W);
  }
  if (kind == 2 && areWeightsByPixels(N, C / groups, o, kd * kh * kw, pixels, ow))
    return weightPixelsWorkspace(N, C / groups, D * H * W, kd * kh * kw, od, oh, ow);
  const narrow = kind == 2 && isNarrow(o, depth, pixels, !plain && areQuads(sw, ow));
  if (narrow && (plain || !areQuads(sw, ow))) return plain ? 0 : depth * pixels * 4;
  const c = C / groups;
  const turning = kind == 1;
  if (kind != 2 && isBySamples(turning, o, c, kd, kh, kw, sd, sh, sw, pd, ph, pw, dd, dh, dw, D, H, W, od, oh, ow)) {
    const volume = D * H * W;
    if (turning) return samplesWorkspace(N, c, o, kd * kh * kw, pixels, volume);
    return samplesWorkspace(N, o, c, kd * kh * kw, volume, pixels);
  }
  if (kind == 1) {
    const turned =
      !plain && isTurned(kd, kh, kw, sd, sh, sw, pd, ph, pw, dd, dh, dw, C / groups, D, H, W, od, oh, ow);
    if (isByPixels(kd, kh, kw, sd, sh, sw, dd, dh, dw, C / groups, turned))
      return pixelsWorkspace(o, kd * kh * kw, od, oh, ow);
    if (!turned) return (plain ? 0 : roundUp(depth * pixels * 4)) + gemmWorkspace(depth, pixels, o);
    const volume = D * H * W;
    const places = roundUp(o * kd * kh * kw * 4) + roundUp(volume * 4);
    const product = packedWorkspace(C / groups, volume, o * kd * kh * kw);
    if (isInside(
      kd, kh, kw, 1, 1, 1, (kd - 1) * dd - pd, (kh - 1) * dh - ph, (kw - 1) * dw - pw, dd, dh, dw, od, oh, ow, D, H, W,
    )) return places + product;
    return roundUp(o * reach(D, 1, kd, dd) * reach(H, 1, kh, dh) * reach(W, 1, kw, dw) * 4) + places + product;
  }
  if (plain) return kind == 0 ? gemmWorkspace(o, pixels, depth) : gemmWorkspace(o, depth, pixels);
  const product = narrow ? 0 : kind == 0 ? packedWorkspace(o, pixels, depth) : gemmWorkspace(o, depth, pixels);
  const places = roundUp(depth * 4) + (narrow ? pixels : roundUp(pixels * 4));
  if (isInside(kd, kh, kw, sd, sh, sw, pd, ph, pw, dd, dh, dw, D, H, W, od, oh, ow)) return places + product;
  const plane = reach(od, sd, kd, dd) * reach(oh, sh, kh, dh) * reach(ow, sw, kw, dw);
  return roundUp((C / groups) * plane * 4) + places + product;
}

function addBias(rows: i32, n: i32, y: usize, bias: usize): void {
  for (; rows > 0; rows--) {
    addIntoRow(n, y, load<f32>(bias));
    y += <usize>n * 4;
    bias += 4;
  }
}

/**
 * One group of all samples: y[n] = A·cols(x[n]) + bias, `rows` × `pixels`, from x of `c` volumes, cols by places of `taps` taps a
 * volume. A is the filters, or `turned`: their transpose with taps in reverse. A block of A is packed once for all samples, and of
 * each sample's frame only the volumes are filled that the block's taps reach.
 */
function products(
  turned: bool, N: i32, groups: i32, rows: i32, c: i32, taps: i32, pixels: i32, D: i32, H: i32, W: i32, inside: bool,
  fd: i32, fh: i32, fw: i32, FD: i32, FH: i32, FW: i32, x: usize, w: usize, bias: usize, y: usize, frame: usize,
  tapPlaces: usize, outputs: usize, ws: usize,
): void {
  const depth = c * taps;
  const volume = <usize>(D * H * W) * 4;
  const framed = <usize>(FD * FH * FW) * 4;
  const xStep = <usize>(groups * c) * volume;
  const yStep = <usize>(groups * rows * pixels) * 4;
  const packed = packedBlock(pixels, depth, ws);
  for (let i = 0; i < rows; i += MC) {
    const m = min(MC, rows - i);
    const first = <usize>i * 4;
    for (let from = 0; from < depth; from += KC) {
      const k = min(KC, depth - from);
      if (turned) packTurned(m, from, k, taps, w + first * taps, <usize>(rows * taps) * 4, packed);
      else packA(m, k, w + first * depth + <usize>from * 4, <usize>depth * 4, 4, packed);
      const reached = from / taps;
      const count = (from + k - 1) / taps + 1 - reached;
      let image = x;
      let to = y + first * pixels;
      for (let n = 0; n < N; n++) {
        if (!inside) {
          const at = <usize>reached;
          intoFrame(count, D, H, W, fd, fh, fw, FD, FH, FW, image + at * volume, frame + at * framed);
        }
        const places = tapPlaces + <usize>from * 4;
        blockOfPlaces(m, pixels, k, packed, inside ? image : frame, places, outputs, to, from > 0, ws);
        if (from + k == depth && bias != usize.MAX_VALUE) addBias(m, pixels, to, bias + first);
        image += xStep;
        to += yStep;
      }
    }
  }
}

export function conv(
  N: i32, C: i32, D: i32, H: i32, W: i32, O: i32, kd: i32, kh: i32, kw: i32, sd: i32, sh: i32, sw: i32,
  pd: i32, ph: i32, pw: i32, dd: i32, dh: i32, dw: i32, groups: i32, od: i32, oh: i32, ow: i32,
  x: usize, w: usize, bias: usize, y: usize, ws: usize,
): void {
  const o = O / groups;
  const c = C / groups;
  const depth = c * kd * kh * kw;
  const pixels = od * oh * ow;
  const plain = isPlain(kd, kh, kw, sd, sh, sw, pd, ph, pw, D, H, W, od, oh, ow);
  if (isByGroups(0, c, o, groups, kd * kh * kw, sw, ow, pixels, plain)) {
    convByGroups(
      false, N, groups, c, D, H, W, o, kd, kh, kw, sd, sh, sw, pd, ph, pw, dd, dh, dw, od, oh, ow, x, w, bias, y, ws,
    );
    return;
  }
  if (isBySamples(false, o, c, kd, kh, kw, sd, sh, sw, pd, ph, pw, dd, dh, dw, D, H, W, od, oh, ow)) {
    convBySamples(
      false, N, groups, o, c, kd, kh, kw, sd, sh, sw, pd, ph, pw, dd, dh, D, H, W, od, oh, ow, x, w, bias, y, ws,
    );
    return;
  }
  if (plain) {
    for (let n = 0; n < N; n++) {
      for (let g = 0; g < groups; g++) {
        gemm(o, pixels, depth, w + <usize>(g * o * depth) * 4, depth, 1, x, pixels, 1, y, pixels, 0, ws);
        if (bias != usize.MAX_VALUE) addBias(o, pixels, y, bias + <usize>(g * o) * 4);
        x += <usize>(c * D * H * W) * 4;
        y += <usize>(o * pixels) * 4;
      }
    }
    return;
  }
  const inside = isInside(kd, kh, kw, sd, sh, sw, pd, ph, pw, dd, dh, dw, D, H, W, od, oh, ow);
  const FD = inside ? D : reach(od, sd, kd, dd);
  const FH = inside ? H : reach(oh, sh, kh, dh);
  const FW = inside ? W : reach(ow, sw, kw, dw);
  const taps = ws + (inside ? 0 : <usize>roundUp(c * FD * FH * FW * 4));
  const outputs = taps + <usize>roundUp(depth * 4);
  memory.fill(ws, 0, taps - ws);
  placesOf(c, kd, kh, kw, FD * FH * FW, dd * FH * FW, dh * FW, dw, taps);
  placesOf(1, od, oh, ow, 0, sd * FH * FW, sh * FW, sw, outputs);
  for (let g = 0; g < groups; g++) {
    products(
      false, N, groups, o, c, kd * kh * kw, pixels, D, H, W, inside, pd, ph, pw, FD, FH, FW,
      x, w, bias, y, ws, taps, outputs, outputs + <usize>roundUp(pixels * 4),
    );
    w += <usize>(o * depth) * 4;
    if (bias != usize.MAX_VALUE) bias += <usize>o * 4;
    x += <usize>(c * D * H * W) * 4;
    y += <usize>(o * pixels) * 4;
  }
}

export function convInputGrad(
  N: i32, C: i32, D: i32, H: i32, W: i32, O: i32, kd: i32, kh: i32, kw: i32, sd: i32, sh: i32, sw: i32,
  pd: i32, ph: i32, pw: i32, dd: i32, dh: i32, dw: i32, groups: i32, od: i32, oh: i32, ow: i32,
  dy: usize, w: usize, dx: usize, ws: usize,
): void {
  const o = O / groups;
  const c = C / groups;
  const depth = c * kd * kh * kw;
  const pixels = od * oh * ow;
  const plain = isPlain(kd, kh, kw, sd, sh, sw, pd, ph, pw, D, H, W, od, oh, ow);
  if (isByGroups(1, c, o, groups, kd * kh * kw, sw, ow, pixels, plain)) {
    convByGroups(
      true, N, groups, o, od, oh, ow, c, kd, kh, kw, sd, sh, sw, pd, ph, pw, dd, dh, dw, D, H, W, dy, w, usize.MAX_VALUE, dx, ws,
    );
    return;
  }
  if (isBySamples(true, o, c, kd, kh, kw, sd, sh, sw, pd, ph, pw, dd, dh, dw, D, H, W, od, oh, ow)) {
    convBySamples(
      true, N, groups, c, o, kd, kh, kw, sd, sh, sw, pd, ph, pw, dd, dh, od, oh, ow, D, H, W, dy, w, usize.MAX_VALUE, dx, ws,
    );
    return;
  }
  const turned = !plain && isTurned(kd, kh, kw, sd, sh, sw, pd, ph, pw, dd, dh, dw, c, D, H, W, od, oh, ow);
  if (isByPixels(kd, kh, kw, sd, sh, sw, dd, dh, dw, c, turned)) {
    inputGradByPixels(N, groups, c, D, H, W, o, kd, kh, kw, sd, sh, sw, pd, ph, pw, od, oh, ow, dy, w, dx, ws);
    return;
  }
  if (turned) {
    const front = (kd - 1) * dd - pd;
    const top = (kh - 1) * dh - ph;
    const left = (kw - 1) * dw - pw;
    const inside = isInside(kd, kh, kw, 1, 1, 1, front, top, left, dd, dh, dw, od, oh, ow, D, H, W);
    const FD = inside ? od : reach(D, 1, kd, dd);
    const FH = inside ? oh : reach(H, 1, kh, dh);
    const FW = inside ? ow : reach(W, 1, kw, dw);
    const volume = D * H * W;
    const taps = ws + (inside ? 0 : <usize>roundUp(o * FD * FH * FW * 4));
    const outputs = taps + <usize>roundUp(o * kd * kh * kw * 4);
    memory.fill(ws, 0, taps - ws);
    placesOf(o, kd, kh, kw, FD * FH * FW, dd * FH * FW, dh * FW, dw, taps);
    placesOf(1, D, H, W, 0, FH * FW, FW, 1, outputs);
    for (let g = 0; g < groups; g++) {
      products(
        true, N, groups, c, o, kd * kh * kw, volume, od, oh, ow, inside, front, top, left, FD, FH, FW,
        dy, w, usize.MAX_VALUE, dx, ws, taps, outputs, outputs + <usize>roundUp(volume * 4),
      );
      w += <usize>(o * depth) * 4;
      dx += <usize>(c * volume) * 4;
      dy += <usize>(o * pixels) * 4;
    }
    return;
  }
  const scratch = ws + (plain ? 0 : (<usize>(depth * pixels) * 4 + 15) & ~15);
  if (!plain) memory.fill(dx, 0, <usize>(N * C * D * H * W) * 4);
  for (let n = 0; n < N; n++) {
    let weights = w;
    for (let g = 0; g < groups; g++) {
      gemm(depth, pixels, o, weights, 1, depth, dy, pixels, 1, plain ? dx : ws, pixels, 0, scratch);
      if (!plain) fromColumns(c, D, H, W, kd, kh, kw, sd, sh, sw, pd, ph, pw, dd, dh, dw, od, oh, ow, ws, dx);
      weights += <usize>(o * depth) * 4;
      dx += <usize>(c * D * H * W) * 4;
      dy += <usize>(o * pixels) * 4;
    }
  }
}

export function convWeightGrad(
  N: i32, C: i32, D: i32, H: i32, W: i32, O: i32, kd: i32, kh: i32, kw: i32, sd: i32, sh: i32, sw: i32,
  pd: i32, ph: i32, pw: i32, dd: i32, dh: i32, dw: i32, groups: i32, od: i32, oh: i32, ow: i32,
  x: usize, dy: usize, dweight: usize, ws: usize,
): void {
  const o = O / groups;
  const c = C / groups;
  const depth = c * kd * kh * kw;
  const pixels = od * oh * ow;
  const plain = isPlain(kd, kh, kw, sd, sh, sw, pd, ph, pw, D, H, W, od, oh, ow);
  if (isByGroups(2, c, o, groups, kd * kh * kw, sw, ow, pixels, plain)) {
    weightGradByGroups(N, groups, c, D, H, W, o, kd, kh, kw, sd, sh, sw, pd, ph, pw, dd, dh, dw, od, oh, ow, x, dy, dweight, ws);
    return;
  }
  if (areWeightsByPixels(N, c, o, kd * kh * kw, pixels, ow)) {
    weightGradByPixels(
      N, groups, c, D, H, W, o, kd, kh, kw, sd, sh, sw, pd, ph, pw, dd, dh, dw, od, oh, ow, x, dy, dweight, ws,
    );
    return;
  }
  const narrow = isNarrow(o, depth, pixels, !plain && areQuads(sw, ow));
  if (narrow && (plain || !areQuads(sw, ow))) {
    for (let n = 0; n < N; n++) {
      let weights = dweight;
      for (let g = 0; g < groups; g++) {
        if (!plain) columns(c, D, H, W, kd, kh, kw, sd, sh, sw, pd, ph, pw, dd, dh, dw, od, oh, ow, x, ws);
        dotRows(o, depth, pixels, dy, plain ? x : ws, weights, n > 0);
        weights += <usize>(o * depth) * 4;
        x += <usize>(c * D * H * W) * 4;
        dy += <usize>(o * pixels) * 4;
      }
    }
    return;
  }
  const inside = isInside(kd, kh, kw, sd, sh, sw, pd, ph, pw, dd, dh, dw, D, H, W, od, oh, ow);
  const FD = inside ? D : reach(od, sd, kd, dd);
  const FH = inside ? H : reach(oh, sh, kh, dh);
  const FW = inside ? W : reach(ow, sw, kw, dw);
  const taps = ws + (inside ? 0 : <usize>roundUp(c * FD * FH * FW * 4));
  const outputs = taps + <usize>roundUp(depth * 4);
  const scratch = plain ? ws : outputs + <usize>roundUp(pixels * 4);
  if (!plain) {
    memory.fill(ws, 0, taps - ws);
    placesOf(c, kd, kh, kw, FD * FH * FW, dd * FH * FW, dh * FW, dw, taps);
    placesOf(1, od, oh, narrow ? ow / 4 : ow, 0, sd * FH * FW, sh * FW, narrow ? 4 : sw, outputs);
  }
  for (let n = 0; n < N; n++) {
    let weights = dweight;
    for (let g = 0; g < groups; g++) {
      const beta = n > 0 ? 1 : 0;
      if (plain) {
        gemm(o, depth, pixels, dy, pixels, 1, x, 1, pixels, weights, depth, beta, scratch);
      } else {
        if (!inside) intoFrame(c, D, H, W, pd, ph, pw, FD, FH, FW, x, ws);
        const image = inside ? x : ws;
        if (narrow) dotRowsOfPlaces(o, depth, pixels / 4, dy, image, taps, outputs, weights, n > 0);
        else gemmOfPlaces(o, depth, pixels, dy, image, outputs, taps, weights, beta, scratch);
      }
      weights += <usize>(o * depth) * 4;
      x += <usize>(c * D * H * W) * 4;
      dy += <usize>(o * pixels) * 4;
    }
  }
}

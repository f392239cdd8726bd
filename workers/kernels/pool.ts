// Pooling over planes ([N·C] of H×W). Windows may hang over any edge; bottom and right padding follow from oh, ow.

/** First kernel tap whose position first + tap·step is ≥ 0. */
@inline
function firstTap(first: i32, step: i32): i32 {
  return first >= 0 ? 0 : (step - 1 - first) / step;
}

/** One past the last of `taps` kernel taps whose position is < size. */
@inline
function endTap(first: i32, step: i32, size: i32, taps: i32): i32 {
  if (first + (taps - 1) * step < size) return taps; // nearly always, and without a division
  return first >= size ? 0 : (size - 1 - first) / step + 1;
}

/** idx = h·W + w of the first maximum in row-major order; the first NaN wins over all. Padding never wins. */
export function maxPool2d(
  NC: i32, H: i32, W: i32, kh: i32, kw: i32, sh: i32, sw: i32, pt: i32, pl: i32, dh: i32, dw: i32, oh: i32, ow: i32,
  x: usize, y: usize, idx: usize,
): void {
  for (; NC > 0; NC--) {
    for (let i = 0; i < oh; i++) {
      // The part of the window inside the plane, as a range of kernel rows and columns: no test is left for the inner loop.
      const top = i * sh - pt;
      const p0 = firstTap(top, dh);
      const p1 = endTap(top, dh, H, kh);
      for (let j = 0; j < ow; j++) {
        const left = j * sw - pl;
        const q0 = firstTap(left, dw);
        const q1 = endTap(left, dw, W, kw);
        // A window of nothing but −∞ still needs an index: its first cell.
        let at = p0 < p1 && q0 < q1 ? (top + p0 * dh) * W + left + q0 * dw : -1;
        let best: f32 = -Infinity;
        for (let p = p0; p < p1; p++) {
          let k = (top + p * dh) * W + left + q0 * dw;
          for (let q = q0; q < q1; q++) {
            const v = load<f32>(x + <usize>k * 4);
            // Not v ≤ best: larger, or v or best is NaN; a NaN in best stays. No branch: it could not be predicted.
            const better = i32(!(v <= best)) & i32(best == best);
            best = select<f32>(v, best, better != 0);
            at = select<i32>(k, at, better != 0);
            k += dw;
          }
        }
        store<f32>(y, best);
        store<i32>(idx, at);
        y += 4;
        idx += 4;
      }
    }
    x += <usize>(H * W) * 4;
  }
}

/** dx = 0, then dx[idx] += dy in row-major order of the output. */
export function maxPool2dGrad(NC: i32, H: i32, W: i32, oh: i32, ow: i32, dy: usize, idx: usize, dx: usize): void {
  const plane = <usize>(H * W) * 4;
  memory.fill(dx, 0, <usize>NC * plane);
  for (; NC > 0; NC--) {
    for (let k = oh * ow; k > 0; k--) {
      const at = load<i32>(idx);
      if (at >= 0) {
        const p = dx + <usize>at * 4;
        store<f32>(p, load<f32>(p) + load<f32>(dy));
      }
      dy += 4;
      idx += 4;
    }
    dx += plane;
  }
}

/** y = x at idx: the gradient of maxPool2dGrad. */
export function maxPool2dGather(NC: i32, H: i32, W: i32, oh: i32, ow: i32, x: usize, idx: usize, y: usize): void {
  for (; NC > 0; NC--) {
    for (let k = oh * ow; k > 0; k--) {
      const at = load<i32>(idx);
      store<f32>(y, at >= 0 ? load<f32>(x + <usize>at * 4) : 0);
      idx += 4;
      y += 4;
    }
    x += <usize>(H * W) * 4;
  }
}

/**
 * Elements an average divides by: those inside the plane, or (includePad) also the padding, but as in PyTorch no more of
 * it than pt / pl on the far side.
 */
@inline
function windowSize(first: i32, k: i32, size: i32, pad: i32, includePad: i32): i32 {
  return includePad != 0 ? min(first + k, size + pad) - first : min(first + k, size) - max(first, 0);
}

export function avgPool2d(
  NC: i32, H: i32, W: i32, kh: i32, kw: i32, sh: i32, sw: i32, pt: i32, pl: i32, oh: i32, ow: i32, includePad: i32,
  x: usize, y: usize,
): void {
  for (; NC > 0; NC--) {
    for (let i = 0; i < oh; i++) {
      const top = i * sh - pt;
      const rows = windowSize(top, kh, H, pt, includePad);
      for (let j = 0; j < ow; j++) {
        const left = j * sw - pl;
        let sum: f32 = 0;
        for (let r = max(top, 0); r < min(top + kh, H); r++) {
          for (let c = max(left, 0); c < min(left + kw, W); c++) sum += load<f32>(x + <usize>(r * W + c) * 4);
        }
        store<f32>(y, sum / <f32>(rows * windowSize(left, kw, W, pl, includePad)));
        y += 4;
      }
    }
    x += <usize>(H * W) * 4;
  }
}

/** dx = 0, then each output's share is added in row-major order of the output. */
export function avgPool2dGrad(
  NC: i32, H: i32, W: i32, kh: i32, kw: i32, sh: i32, sw: i32, pt: i32, pl: i32, oh: i32, ow: i32, includePad: i32,
  dy: usize, dx: usize,
): void {
  const plane = <usize>(H * W) * 4;
  memory.fill(dx, 0, <usize>NC * plane);
  for (; NC > 0; NC--) {
    for (let i = 0; i < oh; i++) {
      const top = i * sh - pt;
      const rows = windowSize(top, kh, H, pt, includePad);
      for (let j = 0; j < ow; j++) {
        const left = j * sw - pl;
        const share = load<f32>(dy) / <f32>(rows * windowSize(left, kw, W, pl, includePad));
        for (let r = max(top, 0); r < min(top + kh, H); r++) {
          for (let c = max(left, 0); c < min(left + kw, W); c++) {
            const p = dx + <usize>(r * W + c) * 4;
            store<f32>(p, load<f32>(p) + share);
          }
        }
        dy += 4;
      }
    }
    dx += plane;
  }
}

// Pooling over planes ([N·C] of H×W). Windows may hang over any edge; bottom and right padding follow from oh, ow.

/** idx = h·W + w of the first maximum in row-major order; the first NaN wins over all. Padding never wins. */
// biome-ignore format: the ABI in one line
export function maxPool2d(NC: i32, H: i32, W: i32, kh: i32, kw: i32, sh: i32, sw: i32, pt: i32, pl: i32, dh: i32, dw: i32, oh: i32, ow: i32, x: usize, y: usize, idx: usize): void {
  for (; NC > 0; NC--) {
    for (let i = 0; i < oh; i++) {
      for (let j = 0; j < ow; j++) {
        let best: f32 = -Infinity;
        let at = -1;
        for (let p = 0; p < kh; p++) {
          const r = i * sh - pt + p * dh;
          if (<u32>r >= <u32>H) continue;
          for (let q = 0; q < kw; q++) {
            const c = j * sw - pl + q * dw;
            if (<u32>c >= <u32>W) continue;
            const k = r * W + c;
            const v = load<f32>(x + <usize>k * 4);
            // at < 0: a window of nothing but −∞ still needs an index. The last test lets the first NaN in.
            if (v > best || at < 0 || (v != v && best == best)) {
              best = v;
              at = k;
            }
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
// biome-ignore format: the ABI in one line
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
// biome-ignore format: the ABI in one line
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
export function windowSize(first: i32, k: i32, size: i32, pad: i32, includePad: i32): i32 {
  return includePad != 0 ? min(first + k, size + pad) - first : min(first + k, size) - max(first, 0);
}

// biome-ignore format: the ABI in one line
export function avgPool2d(NC: i32, H: i32, W: i32, kh: i32, kw: i32, sh: i32, sw: i32, pt: i32, pl: i32, oh: i32, ow: i32, includePad: i32, x: usize, y: usize): void {
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
// biome-ignore format: the ABI in one line
export function avgPool2dGrad(NC: i32, H: i32, W: i32, kh: i32, kw: i32, sh: i32, sw: i32, pt: i32, pl: i32, oh: i32, ow: i32, includePad: i32, dy: usize, dx: usize): void {
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

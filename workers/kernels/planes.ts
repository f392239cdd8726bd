// Four planes side by side, one in each lane: element k of all four is the vector at 16·k. What is done to a plane is then done
// to four at once, however short its rows and wherever its edges. Where fewer than four are left, the last stands in their lanes.
import { transposeRows } from './lanes';

/** Bytes from the first of `left` planes to that of lane `lane`; planes of `plane` bytes. */
@inline
export function toLane(lane: i32, left: i32, plane: usize): usize {
  return <usize>min(lane, left - 1) * plane;
}

/** n elements of four planes, from p0 to p3 on → n vectors. */
@inline
export function weave(n: i32, p0: usize, p1: usize, p2: usize, p3: usize, to: usize): void {
  for (; n >= 4; n -= 4) {
    transposeRows(p0, p1, p2, p3, to, 16);
    p0 += 16;
    p1 += 16;
    p2 += 16;
    p3 += 16;
    to += 64;
  }
  for (; n > 0; n--) {
    let v = v128.load_zero<u32>(p0);
    v = v128.load_lane<u32>(p1, v, 1);
    v = v128.load_lane<u32>(p2, v, 2);
    v128.store(to, v128.load_lane<u32>(p3, v, 3));
    p0 += 4;
    p1 += 4;
    p2 += 4;
    p3 += 4;
    to += 16;
  }
}

/** The way back: n vectors → n elements of four planes. */
@inline
export function unweave(n: i32, from: usize, p0: usize, p1: usize, p2: usize, p3: usize): void {
  for (; n >= 4; n -= 4) {
    const a = v128.load(from);
    const b = v128.load(from, 16);
    const c = v128.load(from, 32);
    const d = v128.load(from, 48);
    const ab = v128.shuffle<f32>(a, b, 0, 4, 1, 5);
    const cd = v128.shuffle<f32>(c, d, 0, 4, 1, 5);
    v128.store(p0, v128.shuffle<i64>(ab, cd, 0, 2));
    v128.store(p1, v128.shuffle<i64>(ab, cd, 1, 3));
    const abHigh = v128.shuffle<f32>(a, b, 2, 6, 3, 7);
    const cdHigh = v128.shuffle<f32>(c, d, 2, 6, 3, 7);
    v128.store(p2, v128.shuffle<i64>(abHigh, cdHigh, 0, 2));
    v128.store(p3, v128.shuffle<i64>(abHigh, cdHigh, 1, 3));
    p0 += 16;
    p1 += 16;
    p2 += 16;
    p3 += 16;
    from += 64;
  }
  for (; n > 0; n--) {
    const v = v128.load(from);
    v128.store_lane<u32>(p0, v, 0);
    v128.store_lane<u32>(p1, v, 1);
    v128.store_lane<u32>(p2, v, 2);
    v128.store_lane<u32>(p3, v, 3);
    p0 += 4;
    p1 += 4;
    p2 += 4;
    p3 += 4;
    from += 16;
  }
}

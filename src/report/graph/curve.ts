import type { Point, Size } from './layout.ts';

/** A line through bends: straight at both ends, a parabola at every bend, between the middles of its two straights. */
export type Curve = readonly { readonly from: Point; readonly bend: Point; readonly to: Point }[];

export function curveOf(points: readonly Point[]): Curve {
  const [first, last] = [points[0]!, points.at(-1)!];
  const bends = points.slice(1, -1);
  const joints = [first, ...bends.slice(1).map((p, i) => middle(bends[i]!, p)), last];
  if (bends.length === 0) return [{ from: first, bend: middle(first, last), to: last }];
  return bends.map((bend, i) => ({ from: joints[i]!, bend, to: joints[i + 1]! }));
}

const middle = (a: Point, b: Point): Point => ({ x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 });

/** The curve as the data of an SVG path. */
export const pathOf = (curve: Curve, at: (p: Point) => string): string =>
  `M${at(curve[0]!.from)}${curve.map(({ bend, to }) => `Q${at(bend)} ${at(to)}`).join('')}`;

const samples = 16;
const gap = 5;

/** Where a label stands that belongs to the curve at about `near`: right of all of the line at its height. */
export function besideCurve(curve: Curve, near: Point, label: Size): Point {
  let right = Number.NEGATIVE_INFINITY;
  for (const { from, bend, to } of curve) {
    for (let k = 0; k <= samples; k++) {
      const t = k / samples;
      const along = (a: number, b: number, c: number): number => (1 - t) ** 2 * a + 2 * t * (1 - t) * b + t ** 2 * c;
      if (Math.abs(along(from.y, bend.y, to.y) - near.y) > label.height / 2) continue;
      right = Math.max(right, along(from.x, bend.x, to.x));
    }
  }
  const x = right + gap + label.width / 2;
  // A line that runs flat under its label is right of it for long: there the label stays where its room is.
  return Math.abs(x - near.x) <= label.width ? { x, y: near.y } : near;
}

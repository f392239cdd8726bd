/** Small placement problems and the plainest way to solve them. */
import fc from 'fast-check';
import type { PlacementDevice, PlacementProblem } from '../../src/partition/problem.ts';

/** A problem with everything in it that a method must get right; whole numbers, so that sums do not round. */
export const smallProblems = (most: { readonly parts: number; readonly devices: number }) =>
  fc
    .record({
      parts: fc.array(
        fc.record({
          work: fc.oneof({ weight: 6, arbitrary: fc.nat(12) }, { weight: 1, arbitrary: fc.constant(Infinity) }),
          cpuWork: fc.nat(30),
          bytes: fc.nat(8),
          heldBytes: fc.nat(3),
        }),
        { minLength: 1, maxLength: most.parts },
      ),
      devices: fc.array(
        fc.record({
          kind: fc.constantFrom('accelerator', 'accelerator', 'cpu'),
          speed: fc.constantFrom(1, 1, 2),
          capacity: fc.oneof(
            { weight: 3, arbitrary: fc.constant(Infinity) },
            { arbitrary: fc.integer({ min: 5, max: 40 }), weight: 1 },
          ),
          linkSpeed: fc.constantFrom(1, 1, 4, Infinity),
          inFlight: fc.integer({ min: 1, max: 3 }),
        }),
        { minLength: 1, maxLength: most.devices },
      ),
      edgeSeed: fc.infiniteStream(fc.nat(99)),
      valueSeed: fc.infiniteStream(fc.nat(99)),
      deviceOrder: fc.constantFrom('given', 'any'),
      load: fc.constantFrom('sum', 'max'),
    })
    .map(({ parts, devices, edgeSeed, valueSeed, deviceOrder, load }): PlacementProblem => {
      const edge = () => edgeSeed.next().value as number;
      const draw = () => valueSeed.next().value as number;
      const all = parts.map((_, p) => p);
      // Values lead anywhere: gradients flow against the edges.
      const values = all
        .map((producer) => ({
          producer,
          consumers: all.filter((c) => c !== producer && draw() < 25),
          cost: draw() % 7,
        }))
        .filter((v) => v.consumers.length > 0);
      return {
        parts: parts.map((p, i) => ({ name: `p${i}`, ...p })),
        values,
        edges: all.flatMap((to) => all.slice(0, to).flatMap((from) => (edge() < 35 ? [[from, to] as const] : []))),
        devices: devices as PlacementDevice[],
        deviceOrder: deviceOrder as 'given' | 'any',
        load: load as 'sum' | 'max',
        unit: '',
      };
    });

/** Every placement of the parts. */
export function* placements(problem: PlacementProblem): Generator<number[]> {
  const [n, k] = [problem.parts.length, problem.devices.length];
  const deviceOf = new Array<number>(n).fill(0);
  for (;;) {
    yield [...deviceOf];
    let p = 0;
    while (p < n && ++deviceOf[p]! === k) deviceOf[p++] = 0;
    if (p === n) return;
  }
}

/** By the definitions, with nothing shared with the evaluator: Infinity where the placement is not legal. */
export function plainObjective(problem: PlacementProblem, deviceOf: readonly number[], contiguous: boolean): number {
  const { parts, values, edges, devices, load, deviceOrder } = problem;
  const loads = devices.map((device, d) => {
    const own = parts.filter((_, p) => deviceOf[p] === d);
    const time =
      own.reduce((sum, p) => sum + (device.kind === 'cpu' ? (p.cpuWork ?? p.work) : p.work), 0) / device.speed;
    const bytes = own.reduce((sum, p) => sum + p.bytes + (p.heldBytes ?? 0) * (device.inFlight ?? 1), 0);
    if (bytes > device.capacity) return Number.POSITIVE_INFINITY;
    const cost = (wanted: (v: (typeof values)[number]) => boolean): number =>
      values.filter(wanted).reduce((sum, v) => sum + v.cost, 0) / device.linkSpeed;
    const incoming = cost((v) => deviceOf[v.producer] !== d && v.consumers.some((c) => deviceOf[c] === d));
    const outgoing = cost((v) => deviceOf[v.producer] === d && v.consumers.some((c) => deviceOf[c] !== d));
    return load === 'sum' ? time + incoming + outgoing : Math.max(time, incoming, outgoing);
  });
  if (contiguous) {
    const orders = deviceOrder === 'any' ? permutations(devices.map((_, d) => d)) : [devices.map((_, d) => d)];
    const legal = orders.some((order) =>
      edges.every(([a, b]) => order.indexOf(deviceOf[a]!) <= order.indexOf(deviceOf[b]!)),
    );
    if (!legal) return Number.POSITIVE_INFINITY;
  }
  return Math.max(...loads);
}

/** The least objective of all placements. */
export function bruteForce(problem: PlacementProblem, contiguous: boolean): number {
  let best = Number.POSITIVE_INFINITY;
  for (const deviceOf of placements(problem)) best = Math.min(best, plainObjective(problem, deviceOf, contiguous));
  return best;
}

function permutations(items: readonly number[]): number[][] {
  if (items.length < 2) return [[...items]];
  return items.flatMap((item) => permutations(items.filter((other) => other !== item)).map((rest) => [item, ...rest]));
}

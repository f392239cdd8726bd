/**
 * Where the stages of a schedule lie when every device owns v of them. Three rules are in use:
 *
 *     straight   device d owns one stage, d                                  (gpipe, 1f1b, zero bubble H1 and H2)
 *     looped     stage s lies on device s mod p: 0 1 2 0 1 2                 (interleaved 1F1B, looped breadth first)
 *     v          there and back: 0 1 2 2 1 0                                 (ZB-V, DualPipe-V)
 */
export type PlacementRule = 'straight' | 'looped' | 'v';

/** Device of each of `devices` · `stagesPerDevice` stages. Straight with several stages a device means blocks: 0 0 1 1. */
export function placementBy(rule: PlacementRule, devices: number, stagesPerDevice: number): number[] {
  const deviceOf: Record<PlacementRule, (s: number) => number> = {
    straight: (s) => Math.floor(s / stagesPerDevice),
    looped: (s) => s % devices,
    v: (s) => (Math.floor(s / devices) % 2 === 0 ? s % devices : devices - 1 - (s % devices)),
  };
  return Array.from({ length: devices * stagesPerDevice }, (_, s) => deviceOf[rule](s));
}

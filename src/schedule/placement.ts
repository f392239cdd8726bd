/**
 * Where the stages of a schedule lie when every device owns v of them. Three rules are in use:
 *
 *     straight   device d owns one stage, d                                  (gpipe, 1f1b, zero bubble H1 and H2)
 *     looped     stage s lies on device s mod p: 0 1 2 0 1 2                 (interleaved 1F1B, looped breadth first)
 *     v          there and back: 0 1 2 2 1 0                                 (ZB-V, DualPipe-V)
 */
import { requireArgument, requireKinds } from '../core/options.ts';

export type PlacementRule = 'straight' | 'looped' | 'v';

/** Device of each of `devices` · `stagesPerDevice` stages. Straight with several stages a device means blocks: 0 0 1 1. */
export function placementBy(rule: PlacementRule, devices: number, stagesPerDevice: number): number[] {
  requireRule('placementBy', rule, { devices, stagesPerDevice });
  const stages = devices * stagesPerDevice;
  if (rule !== 'straight') return layStages(rule, stages, devices);
  return Array.from({ length: stages }, (_, s) => Math.floor(s / stagesPerDevice));
}

/** Throws UsageError for what is no rule, and counts that are none. */
function requireRule(what: string, rule: PlacementRule, counts: Readonly<Record<string, number>>): void {
  const isRule = rule === 'straight' || rule === 'looped' || rule === 'v';
  requireArgument(what, isRule, "a rule, 'straight', 'looped' or 'v'", rule, `${what}('looped', 2, 4)`);
  for (const [name, count] of Object.entries(counts)) requireKinds(what, { [name]: ['count', count] });
}

/** Device of each of any number of stages; straight means one a device, however many devices there are. */
export function layStages(rule: PlacementRule, stages: number, devices: number): number[] {
  const deviceOf: Record<PlacementRule, (s: number) => number> = {
    straight: (s) => s,
    looped: (s) => s % devices,
    v: (s) => (Math.floor(s / devices) % 2 === 0 ? s % devices : devices - 1 - (s % devices)),
  };
  return Array.from({ length: stages }, (_, s) => deviceOf[rule](s));
}

/** Device of each of any number of stages over `devices`; straight means blocks, as even as possible, larger ones first. */
export function placementOver(rule: PlacementRule, stages: number, devices: number): number[] {
  requireRule('placementOver', rule, { stages, devices });
  if (rule !== 'straight') return layStages(rule, stages, devices);
  const used = Math.min(devices, stages);
  const [size, larger] = [Math.floor(stages / used), stages % used];
  return Array.from({ length: used }, (_, d) => new Array<number>(size + (d < larger ? 1 : 0)).fill(d)).flat();
}

/**
 * The devices of `own`, each with the device of `placement` that owns the same stages; undefined where the two
 * placements differ by more than the names of the devices.
 */
export function renaming(own: readonly number[], placement: readonly number[]): Map<number, number> | undefined {
  const names = new Map<number, number>();
  const back = new Map<number, number>();
  for (let s = 0; s < own.length; s++) {
    const [from, to] = [own[s]!, placement[s]!];
    if ((names.get(from) ?? to) !== to || (back.get(to) ?? from) !== from) return undefined;
    names.set(from, to);
    back.set(to, from);
  }
  return names;
}

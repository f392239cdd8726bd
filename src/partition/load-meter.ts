import type { FlatProblem } from './flat.ts';

/** Largest load of a placement, in O(parts + ends). */
export function loadMeter(flat: FlatProblem): (deviceOf: Int32Array) => number {
  const { devices, classes, classOf, ends, cost, overlap } = flat;
  const computing = new Float64Array(devices);
  const into = new Float64Array(devices);
  const out = new Float64Array(devices);
  const seen = new Int32Array(devices);
  let stamp = 0;
  return (deviceOf) => {
    computing.fill(0);
    into.fill(0);
    out.fill(0);
    for (let p = 0; p < deviceOf.length; p++) {
      const d = deviceOf[p]!;
      computing[d]! += classes[classOf[d]!]!.time[p]!;
    }
    for (let v = 0; v < cost.length; v++) {
      const begin = ends.start[v]!;
      const home = deviceOf[ends.items[begin]!]!;
      seen[home] = ++stamp;
      let crosses = false;
      for (let e = begin + 1; e < ends.start[v + 1]!; e++) {
        const d = deviceOf[ends.items[e]!]!;
        if (seen[d] === stamp) continue;
        seen[d] = stamp;
        into[d]! += cost[v]!;
        crosses = true;
      }
      if (crosses) out[home]! += cost[v]!;
    }
    let largest = 0;
    for (let d = 0; d < devices; d++) {
      const { transfer } = classes[classOf[d]!]!;
      const load = overlap
        ? Math.max(computing[d]!, into[d]! * transfer, out[d]! * transfer)
        : computing[d]! + (into[d]! + out[d]!) * transfer;
      largest = Math.max(largest, load);
    }
    return largest;
  };
}

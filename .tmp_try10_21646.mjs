// ../../../tmp/h/large/gen.mjs
import { readFileSync } from "node:fs";
function opGraph(file) {
  const g = JSON.parse(readFileSync("/work/shared/instances/operator-graphs/" + file + ".json"));
  const cls = /* @__PURE__ */ new Map(), of = /* @__PURE__ */ new Map();
  for (const n of g.nodes) {
    const key = n.colorClass ?? "n" + n.id;
    if (!cls.has(key)) cls.set(key, cls.size);
    of.set(n.id, cls.get(key));
  }
  const parts = Array.from({ length: cls.size }, (_, i) => ({ name: "p" + i, work: 0, bytes: 0 }));
  for (const n of g.nodes) {
    parts[of.get(n.id)].work += n.fpgaLatency;
    parts[of.get(n.id)].bytes += n.size;
  }
  const out = /* @__PURE__ */ new Map();
  for (const e of g.edges) {
    const o = out.get(e.sourceId) ?? { cost: e.cost, c: /* @__PURE__ */ new Set() };
    o.c.add(of.get(e.destId));
    out.set(e.sourceId, o);
  }
  const values = [];
  for (const [s, o] of out) {
    const p = of.get(s);
    o.c.delete(p);
    if (o.c.size) values.push({ producer: p, consumers: [...o.c], cost: o.cost });
  }
  const fwd = new Map(g.nodes.map((n) => [n.id, !n.isBackwardNode]));
  const edges = g.edges.filter((e) => fwd.get(e.sourceId) && fwd.get(e.destId) && of.get(e.sourceId) !== of.get(e.destId)).map((e) => [of.get(e.sourceId), of.get(e.destId)]);
  return { parts, values, edges, devices: Array.from({ length: g.maxFPGAs }, () => ({ kind: "accelerator", speed: 1, capacity: g.maxSizePerFPGA, linkSpeed: 1 })), load: "sum", unit: "ms" };
}

// src/partition/placement-load.ts
var workOn = (part, device) => (device.kind === "cpu" ? part.cpuWork ?? part.work : part.work) / device.speed;
var bytesOn = (part, device) => part.bytes + (part.heldBytes ?? 0) * (device.inFlight ?? 1);
var loadOf = (rule, device, work, incoming, outgoing) => rule === "sum" ? work + (incoming + outgoing) / device.linkSpeed : Math.max(work, incoming / device.linkSpeed, outgoing / device.linkSpeed);
var exceeds = (bytes, capacity) => bytes > capacity * (1 + 1e-12);
function evaluatePlacement(problem, deviceOf, options = {}) {
  const state = new PlacementState(problem, deviceOf);
  const loads = problem.devices.map((_, d) => state.load(d));
  const bytes = problem.devices.map((_, d) => state.bytes(d));
  const violations = [];
  problem.devices.forEach(({ capacity }, device) => {
    if (exceeds(bytes[device], capacity)) {
      violations.push({ kind: "capacity", device, bytes: bytes[device], capacity });
    }
  });
  problem.parts.forEach((p, part) => {
    const device = deviceOf[part];
    if (workOn(p, problem.devices[device]) === Number.POSITIVE_INFINITY) {
      violations.push({ kind: "unsupported", device, part });
    }
  });
  if (options.contiguous ?? false) violations.push(...brokenOrder(problem, deviceOf));
  return { loads, objective: Math.max(0, ...loads), bytes, violations };
}
function brokenOrder(problem, deviceOf) {
  const rank = problem.deviceOrder === "any" ? deviceRanks(problem, deviceOf) : problem.devices.map((_, d) => d);
  return problem.edges.filter(([from, to]) => rank[deviceOf[from]] > rank[deviceOf[to]]).map(([from, to]) => ({ kind: "order", from, to }));
}
function deviceRanks(problem, deviceOf) {
  const k = problem.devices.length;
  const before = Array.from({ length: k }, () => /* @__PURE__ */ new Set());
  for (const [from, to] of problem.edges) {
    if (deviceOf[from] !== deviceOf[to]) before[deviceOf[to]].add(deviceOf[from]);
  }
  const rank = new Array(k).fill(-1);
  for (let place = 0; place < k; place++) {
    const open = rank.flatMap((r, d) => r < 0 ? [d] : []);
    const next = open.find((d) => [...before[d]].every((b) => rank[b] >= 0)) ?? open[0];
    rank[next] = place;
  }
  return rank;
}
var PlacementState = class {
  problem;
  /** Device of each part; changed by `move` alone. */
  deviceOf;
  /** Values that a part produces or reads, by number. */
  valuesOf;
  #k;
  /** Readers of value v on device d, at v · k + d. */
  #readers;
  #work;
  #unsupported;
  #bytes;
  #in;
  #out;
  constructor(problem, deviceOf) {
    const { parts, values, devices } = problem;
    this.problem = problem;
    this.deviceOf = Int32Array.from(deviceOf);
    this.#k = devices.length;
    this.#readers = new Int32Array(values.length * this.#k);
    this.#work = new Float64Array(this.#k);
    this.#unsupported = new Int32Array(this.#k);
    this.#bytes = new Float64Array(this.#k);
    this.#in = new Float64Array(this.#k);
    this.#out = new Float64Array(this.#k);
    const valuesOf = parts.map(() => []);
    values.forEach((value, v) => {
      valuesOf[value.producer].push(v);
      for (const c of value.consumers) {
        valuesOf[c].push(v);
        this.#readers[v * this.#k + this.deviceOf[c]]++;
      }
    });
    this.valuesOf = valuesOf;
    for (let p = 0; p < parts.length; p++) this.#addPart(p, this.deviceOf[p], 1);
    for (let v = 0; v < values.length; v++) this.#addTransfers(v, 1);
  }
  /** Work of a device, of its own speed, apart from parts that it cannot run. */
  work(device) {
    return this.#work[device];
  }
  bytes(device) {
    return this.#bytes[device];
  }
  /** Costs of transfers into and out of a device, of linkSpeed 1. */
  transfers(device) {
    return { incoming: this.#in[device], outgoing: this.#out[device] };
  }
  load(device) {
    if (this.#unsupported[device] > 0) return Number.POSITIVE_INFINITY;
    const { load, devices } = this.problem;
    return loadOf(load, devices[device], this.#work[device], this.#in[device], this.#out[device]);
  }
  /** Bytes beyond the capacity of a device, 0 where it suffices. */
  excess(device) {
    const { capacity } = this.problem.devices[device];
    const bytes = this.#bytes[device];
    return exceeds(bytes, capacity) ? bytes - capacity : 0;
  }
  /** The largest load, O(devices). */
  objective() {
    let largest = 0;
    for (let d = 0; d < this.#k; d++) largest = Math.max(largest, this.load(d));
    return largest;
  }
  /** Moves a part; moving it back undoes it but for rounding. */
  move(part, device) {
    const from = this.deviceOf[part];
    if (from === device) return;
    for (const v of this.valuesOf[part]) this.#addTransfers(v, -1);
    this.#addPart(part, from, -1);
    this.deviceOf[part] = device;
    this.#addPart(part, device, 1);
    for (const v of this.valuesOf[part]) {
      if (this.problem.values[v].producer !== part) {
        this.#readers[v * this.#k + from]--;
        this.#readers[v * this.#k + device]++;
      }
      this.#addTransfers(v, 1);
    }
  }
  #addPart(part, device, sign) {
    const p = this.problem.parts[part];
    const d = this.problem.devices[device];
    const work = workOn(p, d);
    if (work === Number.POSITIVE_INFINITY) this.#unsupported[device] += sign;
    else this.#work[device] += sign * work;
    this.#bytes[device] += sign * bytesOn(p, d);
  }
  #addTransfers(v, sign) {
    const { producer, cost } = this.problem.values[v];
    const home = this.deviceOf[producer];
    let crosses = false;
    for (let d = 0, at = v * this.#k; d < this.#k; d++, at++) {
      if (d === home || this.#readers[at] === 0) continue;
      this.#in[d] += sign * cost;
      crosses = true;
    }
    if (crosses) this.#out[home] += sign * cost;
  }
};

// src/partition/work-bound.ts
function workUnits({ parts, devices }) {
  const finite = (x) => x < Number.POSITIVE_INFINITY;
  const cpuWork = parts.map((p) => p.cpuWork ?? p.work);
  const hasCpu = devices.some((d) => d.kind === "cpu");
  const hasAccelerator = devices.some((d) => d.kind === "accelerator");
  const both = parts.map((_, p) => p).filter((p) => finite(parts[p].work) && finite(cpuWork[p]) && cpuWork[p] > 0);
  const gain = hasCpu && hasAccelerator ? Math.max(0, ...both.map((p) => parts[p].work / cpuWork[p])) : 1;
  const units = Float64Array.from(parts, ({ work }, p) => {
    if (!hasCpu) return work;
    if (!hasAccelerator) return cpuWork[p];
    if (cpuWork[p] === 0) return 0;
    return finite(work) ? work : cpuWork[p] * gain;
  });
  const rates = Float64Array.from(devices, (d) => (d.kind === "cpu" ? gain : 1) * d.speed);
  return { units, rates };
}
function workBound(problem) {
  const { units, rates } = workUnits(problem);
  const sum2 = (xs) => xs.reduce((a, b) => a + b, 0);
  const longest = problem.parts.map((p) => Math.min(...problem.devices.map((d) => workOn(p, d))));
  const shared = sum2(rates) > 0 ? sum2(units) / sum2(rates) : 0;
  return Math.max(shared, 0, ...longest) * (1 - 1e-12);
}

// src/partition/flat.ts
function flatten(problem) {
  const parts = problem.parts.length;
  const classes = [];
  const classOf = new Int32Array(problem.devices.length);
  problem.devices.forEach((device, d) => {
    let found2 = classes.findIndex(({ of }) => sameDevice(of, device));
    if (found2 < 0) {
      const { kind, speed, capacity, linkSpeed, inFlight = 1 } = device;
      found2 = classes.length;
      classes.push({
        of: device,
        devices: [],
        time: Float64Array.from(problem.parts, (p) => (kind === "cpu" ? p.cpuWork ?? p.work : p.work) / speed),
        bytes: Float64Array.from(problem.parts, (p) => p.bytes + inFlight * (p.heldBytes ?? 0)),
        capacity,
        transfer: 1 / linkSpeed
      });
    }
    classes[found2].devices.push(d);
    classOf[d] = found2;
  });
  const joined = /* @__PURE__ */ new Map();
  for (const { producer, consumers, cost } of problem.values) {
    if (consumers.length === 0 || cost === 0) continue;
    const ends = [producer, ...consumers.toSorted((a, b) => a - b)];
    const key = (problem.load === "sum" ? ends.toSorted((a, b) => a - b) : ends).join();
    const same = joined.get(key);
    if (same) same.cost += cost;
    else joined.set(key, { ends, cost });
  }
  const values = [...joined.values()];
  const touching = Array.from({ length: parts }, () => []);
  values.forEach(({ ends }, v) => {
    for (const p of ends) touching[p].push(v);
  });
  const successors = Array.from({ length: parts }, () => /* @__PURE__ */ new Set());
  const predecessors = Array.from({ length: parts }, () => /* @__PURE__ */ new Set());
  for (const [from, to] of problem.edges) {
    successors[from].add(to);
    predecessors[to].add(from);
  }
  return {
    parts,
    devices: problem.devices.length,
    overlap: problem.load === "max",
    anyOrder: problem.deviceOrder === "any" && classes.length > 1,
    classes,
    classOf,
    ends: rows(values.map(({ ends }) => ends)),
    cost: Float64Array.from(values, ({ cost }) => cost),
    touching: rows(touching),
    ...workUnits(problem),
    successors: rows(successors),
    predecessors: rows(predecessors)
  };
}
var sameDevice = (a, b) => a.kind === b.kind && a.speed === b.speed && a.capacity === b.capacity && a.linkSpeed === b.linkSpeed && (a.inFlight ?? 1) === (b.inFlight ?? 1);
function rows(lists) {
  const start = new Int32Array(lists.length + 1);
  const items = [];
  lists.forEach((list, r) => {
    for (const item of list) items.push(item);
    start[r + 1] = items.length;
  });
  return { start, items: Int32Array.from(items) };
}
function fastRandom(seed) {
  let mixed = seed ^ Math.floor(seed / 2 ** 32) | 0;
  const word = () => {
    mixed = mixed + 2654435769 | 0;
    let z2 = Math.imul(mixed ^ mixed >>> 16, 569420461);
    z2 = Math.imul(z2 ^ z2 >>> 15, 1935289751);
    return z2 ^ z2 >>> 15;
  };
  let [x, y, z, w] = [word(), word(), word(), word() | 1];
  return () => {
    const t = x ^ x << 11;
    x = y;
    y = z;
    z = w;
    w = w ^ w >>> 19 ^ t ^ t >>> 8;
    return (w >>> 0) / 2 ** 32;
  };
}

// ../../../tmp/h/large/synth.ts
function synth(n, k, seed, kind, cost = 1) {
  const r = fastRandom(seed);
  const parts = [], edges = [];
  const cons = [];
  const add = (work, inp) => {
    const id = parts.length;
    parts.push({ name: "n" + id, work, bytes: 1 });
    cons.push([]);
    for (const i of new Set(inp)) {
      edges.push([i, id]);
      cons[i].push(id);
    }
    return id;
  };
  if (kind === "transformer") {
    let x = add(1, []);
    while (parts.length < n) {
      const q = [0, 1, 2].map(() => add(4 + r(), [x]));
      const heads = 8;
      const hs = [];
      for (let h = 0; h < heads && parts.length < n; h++) {
        const s = add(1 + r() * 0.3, [q[0], q[1]]);
        const m = add(0.5, [s]);
        hs.push(add(1 + r() * 0.3, [m, q[2]]));
      }
      const o = add(4, hs.length ? hs : q);
      const a = add(0.2, [o, x]);
      const l = add(0.2, [a]);
      const u = add(8 + r(), [l]);
      const g = add(0.3, [u]);
      const dn = add(8 + r(), [g]);
      x = add(0.2, [dn, a]);
    }
  } else {
    const width = 8;
    let prev = [add(1, [])];
    while (parts.length < n) {
      const w = 1 + Math.floor(r() * width);
      const layer = [];
      for (let i = 0; i < w && parts.length < n; i++) {
        const inp = [prev[Math.floor(r() * prev.length)]];
        if (r() < 0.5) inp.push(prev[Math.floor(r() * prev.length)]);
        if (r() < 0.1 && parts.length > 50) inp.push(parts.length - 1 - Math.floor(r() * 50));
        layer.push(add(0.1 + r() * r() * 5, inp));
      }
      prev = layer;
    }
  }
  parts.length = Math.min(parts.length, parts.length);
  return { parts, edges, values: cons.map((c, i) => ({ producer: i, consumers: c, cost: cost * (0.1 + r() * 2) })).filter((v) => v.consumers.length), devices: Array.from({ length: k }, () => ({ kind: "accelerator", speed: 1, capacity: Infinity, linkSpeed: 1 })), load: "sum", unit: "s" };
}

// src/core/errors.ts
var PartitaError = class extends Error {
  code;
  fields;
  remedy;
  constructor(code, message, options = {}) {
    super(message, options.cause === void 0 ? void 0 : { cause: options.cause });
    this.name = new.target.name;
    this.code = code;
    this.fields = options.fields ?? {};
    this.remedy = options.remedy;
  }
  toJSON() {
    return { code: this.code, message: this.message, ...this.fields, remedy: this.remedy ?? null };
  }
};
var UsageError = class extends PartitaError {
};
var PlanError = class extends PartitaError {
};
function nearest(word, candidates) {
  let best;
  let bestDistance = Math.max(2, Math.floor(word.length / 2)) + 1;
  for (const candidate of candidates) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}
function editDistance(a, b) {
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      row[j] = Math.min(previous[j] + 1, row[j - 1] + 1, previous[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1));
    }
    previous = row;
  }
  return previous[b.length];
}

// src/partition/ideal-search.ts
function searchIdeals(search) {
  const { problem, ideals, cutCost, measure = "load" } = search;
  const { limit = Number.POSITIVE_INFINITY, deadline = Number.POSITIVE_INFINITY } = search;
  const { parts, devices } = problem;
  const states = deviceStates(problem, measure);
  const walk = new SegmentWalk(problem, ideals, states, measure);
  const remaining = remainingUnits(ideals, states.units);
  const { count: S } = states;
  const last = S - 1;
  const full = ideals.count - 1;
  const best = new Float64Array(ideals.count * S).fill(Number.POSITIVE_INFINITY);
  const fromIdeal = new Int32Array(ideals.count * S).fill(-1);
  const fromState = new Uint32Array(ideals.count * S);
  best[0] = 0;
  let bound = limit;
  const steps = { state: new Int32Array(states.steps.length), next: new Int32Array(states.steps.length) };
  for (let from = 0; from < ideals.count; from++) {
    if ((from & 63) === 0 && performance.now() > deadline) return { kind: "unfinished" };
    const row = from * S;
    for (const { from: r, to: s } of states.steps) {
      if (best[row + r] < best[row + s]) {
        best[row + s] = best[row + r];
        fromIdeal[row + s] = from;
        fromState[row + s] = r;
      }
    }
    if (from === full) break;
    walk.clear();
    let active = 0;
    let reach = -1;
    for (let t = 0; t < states.types.length; t++) {
      const begin = active;
      for (const { from: r, to: s, type } of states.steps) {
        if (type !== t || best[row + r] >= bound) continue;
        if (remaining[from] > bound * states.unitsLeft[r] * (1 + 1e-12)) continue;
        steps.state[active] = r;
        steps.next[active++] = s;
        reach = Math.max(reach, states.unitsLeft[s]);
      }
      walk.setSteps(t, begin, active);
    }
    if (active === 0) continue;
    const allowed = bound * reach * (1 + 1e-12);
    walk.start(from);
    while (walk.next(bound)) {
      const to = walk.ideal;
      if (remaining[to] > allowed) continue;
      for (let t = 0; t < states.types.length; t++) {
        const load = cutCost ? Math.max(walk.load(t), cutCost[to]) : walk.load(t);
        if (load >= bound) continue;
        for (let i = walk.firstStep[t], end = walk.endStep[t]; i < end; i++) {
          const before = best[row + steps.state[i]];
          const candidate = before > load ? before : load;
          const at = to * S + steps.next[i];
          if (candidate < best[at]) {
            best[at] = candidate;
            fromIdeal[at] = from;
            fromState[at] = steps.state[i];
            if (to === full && candidate < bound) bound = candidate;
          }
        }
      }
    }
  }
  const objective = best[full * S + last];
  if (!(objective < limit)) return { kind: "none" };
  const stages = [];
  for (let ideal = full, state = last; state > 0; ) {
    const spared = states.steps.find((s) => s.to === state && best[ideal * S + s.from] <= best[ideal * S + state]);
    if (spared) {
      state = spared.from;
      continue;
    }
    const at = ideal * S + state;
    const [before, from] = [fromIdeal[at], fromState[at]];
    const { type } = states.steps.find((s) => s.from === from && s.to === state);
    stages.unshift({ type, state: from, parts: ideals.between(before, ideal) });
    ideal = before;
    state = from;
  }
  const deviceOf = new Array(parts.length).fill(0);
  const used = states.types.map(() => 0);
  for (const { type, state, parts: own } of stages) {
    const device = states.ordered ? state : states.types[type].members[used[type]++];
    for (const part of own) deviceOf[part] = device;
  }
  return { kind: "found", deviceOf, objective: devices.length > 0 ? objective : 0 };
}
function stateCount({ devices, deviceOrder }) {
  if (deviceOrder !== "any") return devices.length + 1;
  const kinds = [];
  for (const device of devices) {
    const known = kinds.find((k) => alike(k.device, device));
    if (known) known.count++;
    else kinds.push({ device, count: 1 });
  }
  return kinds.reduce((product, { count }) => product * (count + 1), 1);
}
function deviceStates(problem, measure) {
  const { devices } = problem;
  const { units, rates } = workUnits(problem);
  if (measure === "fill") units.fill(0);
  const types = [];
  const typeOf = devices.map((device, d) => {
    const found2 = types.findIndex((t) => alike(t.device, device));
    if (found2 >= 0) types[found2].members.push(d);
    else types.push({ device, members: [d] });
    return found2 >= 0 ? found2 : types.length - 1;
  });
  const ordered = problem.deviceOrder !== "any" || types.length === 1;
  const radix = [];
  let count = 1;
  for (const { members } of types) {
    radix.push(count);
    count *= members.length + 1;
  }
  if (ordered) count = devices.length + 1;
  const steps = [];
  const unitsLeft = new Float64Array(count);
  for (let state = 0; state < count; state++) {
    if (ordered) {
      if (state < devices.length) steps.push({ from: state, to: state + 1, type: typeOf[state] });
      for (let d = state; d < devices.length; d++) unitsLeft[state] += rates[d];
      continue;
    }
    types.forEach(({ members }, type) => {
      const inUse = Math.floor(state / radix[type]) % (members.length + 1);
      if (inUse < members.length) steps.push({ from: state, to: state + radix[type], type });
      unitsLeft[state] += (members.length - inUse) * rates[members[0]];
    });
  }
  return { types, count, steps, unitsLeft, units, ordered };
}
var alike = (a, b) => a.kind === b.kind && a.speed === b.speed && a.capacity === b.capacity && a.linkSpeed === b.linkSpeed && // Where nothing limits what is held, nobody counts it.
(a.capacity === Number.POSITIVE_INFINITY || (a.inFlight ?? 1) === (b.inFlight ?? 1));
function remainingUnits(ideals, units) {
  const remaining = new Float64Array(ideals.count);
  for (let ideal = ideals.count - 2; ideal >= 0; ideal--) {
    const step = ideals.first[ideal];
    remaining[ideal] = remaining[ideals.target[step]] + units[ideals.added[step]];
  }
  return remaining;
}
var fillOf = (part, device) => workOn(part, device) === Number.POSITIVE_INFINITY ? Number.POSITIVE_INFINITY : bytesOn(part, device) === 0 ? 0 : bytesOn(part, device) / device.capacity;
var SegmentWalk = class {
  /** The ideal at which the stage at hand ends. */
  ideal = 0;
  /** Steps of each type in the caller's list. */
  firstStep;
  endStep;
  #ideals;
  #sum;
  #types;
  #work;
  #bytes;
  #capacity;
  #perLink;
  #cost;
  #producer;
  #readers;
  /** Values that a part makes and reads. */
  #makes;
  #reads;
  // Of the stage's start: 1 in front of it, 2 in the stage, 0 behind.
  #place;
  #readBefore;
  #readInside;
  // By depth of the walk.
  #depth = -1;
  #at;
  #edge;
  #part;
  #workAt;
  #bytesAt;
  /** Costs of what crosses the stage's boundary, and of what will cross it whatever the stage grows to. */
  #inAt;
  #outAt;
  #inSure;
  #outSure;
  constructor({ parts, values, devices, load }, ideals, states, measure) {
    const n = parts.length;
    this.#ideals = ideals;
    this.#sum = load === "sum";
    const { types } = states;
    this.#types = types.length;
    this.firstStep = new Int32Array(types.length);
    this.endStep = new Int32Array(types.length);
    const work = measure === "load" ? workOn : fillOf;
    this.#work = types.map(({ device }) => Float64Array.from(parts, (p) => work(p, device)));
    this.#bytes = types.map(({ device }) => {
      const limited = measure === "load" && device.capacity < Number.POSITIVE_INFINITY;
      return limited ? Float64Array.from(parts, (p) => bytesOn(p, device)) : void 0;
    });
    this.#capacity = types.map(({ device }) => device.capacity * (1 + 1e-12));
    this.#perLink = types.map(({ device }) => 1 / device.linkSpeed);
    this.#cost = Float64Array.from(values, (v) => v.cost);
    this.#producer = Int32Array.from(values, (v) => v.producer);
    this.#readers = Int32Array.from(values, (v) => v.consumers.length);
    const makes = parts.map(() => []);
    const reads = parts.map(() => []);
    if (devices.length > 1 && measure === "load") {
      values.forEach((value, v) => {
        if (value.cost === 0 || value.consumers.length === 0) return;
        makes[value.producer].push(v);
        for (const c of value.consumers) reads[c].push(v);
      });
    }
    this.#makes = makes.map((m) => Int32Array.from(m));
    this.#reads = reads.map((r) => Int32Array.from(r));
    this.#place = new Uint8Array(n);
    this.#readBefore = new Int32Array(values.length);
    this.#readInside = new Int32Array(values.length);
    this.#at = new Int32Array(n + 1);
    this.#edge = new Int32Array(n + 1);
    this.#part = new Int32Array(n + 1);
    this.#workAt = types.map(() => new Float64Array(n + 1));
    this.#bytesAt = types.map(() => new Float64Array(n + 1));
    this.#inAt = new Float64Array(n + 1);
    this.#outAt = new Float64Array(n + 1);
    this.#inSure = new Float64Array(n + 1);
    this.#outSure = new Float64Array(n + 1);
  }
  clear() {
    this.firstStep.fill(0);
    this.endStep.fill(0);
  }
  setSteps(type, first, end) {
    this.firstStep[type] = first;
    this.endStep[type] = end;
  }
  start(ideal) {
    this.#place.fill(0);
    this.#readBefore.fill(0);
    this.#readInside.fill(0);
    for (const part of this.#ideals.members(ideal)) {
      this.#place[part] = 1;
      for (const v of this.#reads[part]) this.#readBefore[v]++;
    }
    this.#depth = 0;
    this.#at[0] = ideal;
    this.#edge[0] = this.#ideals.first[ideal];
  }
  /** Goes to the next stage; false: there is none. Branches end where every type is at its capacity or `limit`. */
  next(limit) {
    const { first, added, target, rank } = this.#ideals;
    while (this.#depth >= 0) {
      const depth = this.#depth;
      const at = this.#at[depth];
      const edge = this.#edge[depth];
      if (edge === first[at + 1]) {
        if (depth > 0) this.#remove(this.#part[depth]);
        this.#depth--;
        continue;
      }
      this.#edge[depth] = edge + 1;
      const part = added[edge];
      if (!this.#fits(part, limit)) continue;
      this.#add(part);
      if (this.#exceeds(limit)) {
        this.#remove(part);
        continue;
      }
      const deeper = depth + 1;
      this.#depth = deeper;
      this.#part[deeper] = part;
      const to = target[edge];
      this.#at[deeper] = to;
      this.ideal = to;
      let begin = first[to];
      const end = first[to + 1];
      while (begin < end && rank[added[begin]] < rank[part]) begin++;
      this.#edge[deeper] = begin;
      return true;
    }
    return false;
  }
  /** Load of the stage at hand on a device of a type; Infinity where it has no step, or does not fit. */
  load(type) {
    if (this.firstStep[type] === this.endStep[type]) return Number.POSITIVE_INFINITY;
    const depth = this.#depth;
    if (this.#bytes[type] && this.#bytesAt[type][depth] > this.#capacity[type]) return Number.POSITIVE_INFINITY;
    const work = this.#workAt[type][depth];
    const perLink = this.#perLink[type];
    const incoming = this.#inAt[depth] * perLink;
    const outgoing = this.#outAt[depth] * perLink;
    return this.#sum ? work + incoming + outgoing : Math.max(work, incoming, outgoing);
  }
  /** Whether the stage with the part stays below the limit by its work and within the capacity, on some type. */
  #fits(part, limit) {
    const depth = this.#depth;
    for (let t = 0; t < this.#types; t++) {
      if (this.firstStep[t] === this.endStep[t]) continue;
      if (this.#workAt[t][depth] + this.#work[t][part] >= limit) continue;
      const bytes = this.#bytes[t];
      if (bytes && this.#bytesAt[t][depth] + bytes[part] > this.#capacity[t]) continue;
      return true;
    }
    return false;
  }
  /** Whether what is sure of the stage one deeper reaches the limit on all types. */
  #exceeds(limit) {
    const depth = this.#depth + 1;
    for (let t = 0; t < this.#types; t++) {
      if (this.firstStep[t] === this.endStep[t]) continue;
      if (this.#bytes[t] && this.#bytesAt[t][depth] > this.#capacity[t]) continue;
      const work = this.#workAt[t][depth];
      const perLink = this.#perLink[t];
      const incoming = this.#inSure[depth] * perLink;
      const outgoing = this.#outSure[depth] * perLink;
      if ((this.#sum ? work + incoming + outgoing : Math.max(work, incoming, outgoing)) < limit) return false;
    }
    return true;
  }
  #add(part) {
    const depth = this.#depth;
    for (let t = 0; t < this.#types; t++) {
      this.#workAt[t][depth + 1] = this.#workAt[t][depth] + this.#work[t][part];
      const bytes = this.#bytes[t];
      if (bytes) this.#bytesAt[t][depth + 1] = this.#bytesAt[t][depth] + bytes[part];
    }
    let incoming = this.#inAt[depth];
    let outgoing = this.#outAt[depth];
    let inSure = this.#inSure[depth];
    let outSure = this.#outSure[depth];
    const cost = this.#cost;
    for (const v of this.#makes[part]) {
      if (this.#readInside[v] > 0) incoming -= cost[v];
      if (this.#readInside[v] < this.#readers[v]) outgoing += cost[v];
      if (this.#readBefore[v] > 0) outSure += cost[v];
    }
    this.#place[part] = 2;
    for (const v of this.#reads[part]) {
      const inside = ++this.#readInside[v];
      const place = this.#place[this.#producer[v]];
      if (place === 2) {
        if (inside === this.#readers[v]) outgoing -= cost[v];
      } else if (inside === 1) {
        incoming += cost[v];
        if (place === 1) inSure += cost[v];
      }
    }
    this.#inAt[depth + 1] = incoming;
    this.#outAt[depth + 1] = outgoing;
    this.#inSure[depth + 1] = inSure;
    this.#outSure[depth + 1] = outSure;
  }
  #remove(part) {
    this.#place[part] = 0;
    for (const v of this.#reads[part]) this.#readInside[v]--;
  }
};

// src/partition/ideals.ts
var mostSteps = 2e7;
var mostWords = 2 ** 28;
function findIdeals(parts, edges, limit) {
  const { order, rank, successors, predecessors } = topological(parts, edges);
  const words = Math.max(1, parts + 31 >>> 5);
  let bits = new Uint32Array(words * 1024);
  const table = new HashTable(words);
  const first = [0];
  const added = [];
  const target = [];
  const open = [
    Int32Array.from(order.map((_, r) => r).filter((r) => predecessors[order[r]].length === 0))
  ];
  let count = 1;
  const keys = randomKeys(parts);
  const hashes = [0];
  const set = new Uint32Array(words);
  table.insert(0, 0);
  for (let ideal = 0; ideal < count; ideal++) {
    const next = open[ideal];
    open[ideal] = empty;
    if (added.length > Math.min(mostSteps, mostWords / words)) return void 0;
    for (const r of next) {
      const part = order[r];
      set.set(bits.subarray(ideal * words, (ideal + 1) * words));
      set[r >>> 5] |= 1 << (r & 31);
      const hash = (hashes[ideal] ^ keys[r]) >>> 0;
      let found2 = table.find(hash, set, bits);
      if (found2 < 0) {
        if (count === limit) return void 0;
        found2 = count++;
        if (count * words > bits.length) {
          const wider = new Uint32Array(bits.length * 2);
          wider.set(bits);
          bits = wider;
        }
        bits.set(set, found2 * words);
        hashes.push(hash);
        table.insert(hash, found2);
        open.push(openAfter(next, r, set));
      }
      added.push(part);
      target.push(found2);
    }
    first.push(added.length);
  }
  const members = (ideal) => {
    const result = [];
    for (let w = 0; w < words; w++) {
      for (let rest = bits[ideal * words + w]; rest !== 0; rest &= rest - 1) {
        result.push(order[w * 32 + 31 - Math.clz32(rest & -rest)]);
      }
    }
    return result;
  };
  return {
    count,
    first: Int32Array.from(first),
    added: Int32Array.from(added),
    target: Int32Array.from(target),
    rank,
    members,
    between: (before, ideal) => {
      const earlier = new Set(members(before));
      return members(ideal).filter((p) => !earlier.has(p));
    }
  };
  function openAfter(before, r, now) {
    const result = [];
    for (const other of before) if (other !== r) result.push(other);
    for (const s of successors[order[r]]) {
      if (predecessors[s].every((p) => now[rank[p] >>> 5] >>> (rank[p] & 31) & 1)) result.push(rank[s]);
    }
    return Int32Array.from(result).sort();
  }
}
var empty = new Int32Array(0);
function topological(parts, edges) {
  const successors = Array.from({ length: parts }, () => []);
  const predecessors = Array.from({ length: parts }, () => []);
  const seen = /* @__PURE__ */ new Set();
  for (const [from, to] of edges) {
    const key = from * parts + to;
    if (seen.has(key)) continue;
    seen.add(key);
    successors[from].push(to);
    predecessors[to].push(from);
  }
  const missing = predecessors.map((p) => p.length);
  const stack = missing.flatMap((m, p) => m === 0 ? [p] : []).reverse();
  const order = [];
  while (stack.length > 0) {
    const part = stack.pop();
    order.push(part);
    for (const s of successors[part]) if (--missing[s] === 0) stack.push(s);
  }
  const rank = new Int32Array(parts).fill(-1);
  order.forEach((part, r) => {
    rank[part] = r;
  });
  return { order, rank, successors, predecessors };
}
function randomKeys(n) {
  let state = 2654435769;
  return Uint32Array.from({ length: n }, () => {
    state = state + 2654435769 >>> 0;
    let x = state;
    x = Math.imul(x ^ x >>> 16, 2246822507);
    x = Math.imul(x ^ x >>> 13, 3266489909);
    return (x ^ x >>> 16) >>> 0;
  });
}
var HashTable = class {
  #words;
  #slots = new Int32Array(4096).fill(-1);
  #hashes = new Uint32Array(4096);
  #used = 0;
  constructor(words) {
    this.#words = words;
  }
  find(hash, set, bits) {
    const mask = this.#slots.length - 1;
    for (let at = hash & mask; this.#slots[at] >= 0; at = at + 1 & mask) {
      if (this.#hashes[at] !== hash) continue;
      const start = this.#slots[at] * this.#words;
      let w = 0;
      while (w < this.#words && bits[start + w] === set[w]) w++;
      if (w === this.#words) return this.#slots[at];
    }
    return -1;
  }
  insert(hash, ideal) {
    if (++this.#used * 2 > this.#slots.length) this.#grow();
    this.#put(hash, ideal);
  }
  #put(hash, ideal) {
    const mask = this.#slots.length - 1;
    let at = hash & mask;
    while (this.#slots[at] >= 0) at = at + 1 & mask;
    this.#slots[at] = ideal;
    this.#hashes[at] = hash;
  }
  #grow() {
    const [slots, hashes] = [this.#slots, this.#hashes];
    this.#slots = new Int32Array(slots.length * 2).fill(-1);
    this.#hashes = new Uint32Array(hashes.length * 2);
    slots.forEach((ideal, at) => {
      if (ideal >= 0) this.#put(hashes[at], ideal);
    });
  }
};

// src/partition/ideal-method.ts
var mostEntries = 4e7;
var mostIdeals = 1e6;
var idealsMethod = {
  name: "ideals",
  doc: "the best contiguous placement, proved; for graphs with up to a million cuts",
  finds: "contiguous",
  solve: async (problem, options) => {
    const answer = solveByIdeals(problem, options);
    if (answer !== "too many") return answer;
    throw new PlanError("too-many-ideals", "the graph has too many cuts for an exact search of contiguous placements", {
      fields: { parts: problem.parts.length, most: idealLimit(problem) },
      remedy: "--method auto"
    });
  }
};
function solveByIdeals(problem, options) {
  const { contiguous, deadline } = options;
  const ideals = findIdeals(problem.parts.length, problem.edges, idealLimit(problem));
  if (!ideals) return "too many";
  const least = workBound(problem);
  const start = startFor(problem, options);
  const best = (deviceOf, isProved) => ({
    deviceOf,
    lowerBound: contiguous && isProved ? evaluatePlacement(problem, deviceOf).objective : least
  });
  if (start && start.objective <= least * (1 + 1e-9)) return best(start.deviceOf, true);
  const answer = searchIdeals({ problem, ideals, limit: start?.objective, deadline });
  if (answer.kind === "found") return best(answer.deviceOf, true);
  return start && best(start.deviceOf, answer.kind === "none");
}
var idealLimit = (problem) => Math.min(mostIdeals, Math.floor(mostEntries / stateCount(problem)));
function startFor(problem, { start, deadline }) {
  let best = start && legal(problem, start);
  for (const reversed of [false, true]) {
    best = legal(problem, searchChain(problem, { reversed, limit: best?.objective, deadline })) ?? best;
  }
  return best;
}
function legal(problem, deviceOf) {
  if (!deviceOf) return void 0;
  const { objective, violations } = evaluatePlacement(problem, deviceOf, { contiguous: true });
  return violations.length === 0 ? { deviceOf, objective } : void 0;
}
function searchChain(problem, options = {}) {
  const { reversed = false, limit = Number.POSITIVE_INFINITY, deadline } = options;
  const order = chainOrder(problem, reversed);
  const shares = legal(problem, equalShares(problem, order));
  const below = shares && shares.objective < limit ? shares : void 0;
  const ideals = chainIdeals(order);
  const tooMany = stateCount(problem) * ideals.count > mostEntries;
  const given = tooMany ? { ...problem, deviceOrder: "given" } : problem;
  const answer = searchIdeals({ problem: given, ideals, limit: below?.objective ?? limit, deadline });
  return answer.kind === "found" ? answer.deviceOf : below?.deviceOf;
}
function equalShares(problem, order) {
  const { units, rates } = workUnits(problem);
  const whole = order.reduce((sum2, part) => sum2 + units[part], 0);
  const speed = rates.reduce((sum2, rate) => sum2 + rate, 0);
  const deviceOf = new Array(order.length).fill(0);
  let device = 0;
  let share = rates[0] / speed;
  let done = 0;
  for (const part of order) {
    while (device < rates.length - 1 && done + units[part] / 2 > share * whole) share += rates[++device] / speed;
    deviceOf[part] = device;
    done += units[part];
  }
  return deviceOf;
}
function chainOrder({ parts, edges }, reversed) {
  const { order } = topological(parts.length, reversed ? edges.map(([a, b]) => [b, a]) : edges);
  return reversed ? order.reverse() : order;
}
var chainIdeals = (order) => findIdeals(
  order.length,
  order.slice(1).map((part, i) => [order[i], part]),
  order.length + 1
);
function searchable(problem) {
  const states = stateCount(problem);
  const all = findIdeals(problem.parts.length, problem.edges, Math.min(1e5, mostEntries / states));
  if (all) return { problem, ideals: all };
  const ideals = chainIdeals(chainOrder(problem, false));
  const tooMany = states * ideals.count > mostEntries;
  return { problem: tooMany ? { ...problem, deviceOrder: "given" } : problem, ideals };
}

// src/partition/components.ts
function components(count, edges) {
  const successors = Array.from({ length: count }, () => []);
  for (const [from, to] of edges) successors[from].push(to);
  const index = new Int32Array(count).fill(-1);
  const low = new Int32Array(count);
  const onPath = new Uint8Array(count);
  const path = [];
  const result = [];
  let clock = 0;
  for (let root = 0; root < count; root++) {
    if (index[root] >= 0) continue;
    const calls = [];
    const enter = (node) => {
      index[node] = low[node] = clock++;
      path.push(node);
      onPath[node] = 1;
      calls.push({ node, next: 0 });
    };
    enter(root);
    while (calls.length > 0) {
      const call = calls[calls.length - 1];
      const { node } = call;
      if (call.next < successors[node].length) {
        const other = successors[node][call.next++];
        if (index[other] < 0) enter(other);
        else if (onPath[other]) low[node] = Math.min(low[node], index[other]);
        continue;
      }
      calls.pop();
      const caller = calls[calls.length - 1];
      if (caller) low[caller.node] = Math.min(low[caller.node], low[node]);
      if (low[node] !== index[node]) continue;
      const component = path.splice(path.lastIndexOf(node));
      for (const member of component) onPath[member] = 0;
      result.push(component.sort((a, b) => a - b));
    }
  }
  return result;
}

// src/partition/groups.ts
var Groups = class {
  #parent;
  constructor(count) {
    this.#parent = Int32Array.from({ length: count }, (_, i) => i);
  }
  find(i) {
    let root = i;
    while (this.#parent[root] !== root) root = this.#parent[root];
    for (let at = i; at !== root; ) {
      const next = this.#parent[at];
      this.#parent[at] = root;
      at = next;
    }
    return root;
  }
  /** The set of `a` takes in that of `b`, and is known by what it was. */
  join(a, b) {
    const [into, other] = [this.find(a), this.find(b)];
    this.#parent[other] = into;
  }
  /** By ascending first member, members ascending. */
  members() {
    const groups = /* @__PURE__ */ new Map();
    for (let i = 0; i < this.#parent.length; i++) {
      const root = this.find(i);
      const group = groups.get(root);
      if (group) group.push(i);
      else groups.set(root, [i]);
    }
    return [...groups.values()];
  }
};
var fusedName = (names) => names.length === 1 ? names[0] : `${names[0]} +${names.length - 1}`;

// src/partition/min-cut.ts
var FlowNetwork = class {
  #heads;
  #to = [];
  #next = [];
  #rest = [];
  #largest = 0;
  /** The lists above, once a flow is asked for. */
  #arcs;
  constructor(nodes) {
    this.#heads = new Int32Array(nodes).fill(-1);
  }
  /** Arcs both ways between two nodes; Infinity: never cut. The number of the arc forth. */
  connect(from, to, capacity, back = 0) {
    this.#arc(from, to, capacity);
    this.#arc(to, from, back);
    this.#arcs = void 0;
    return this.#to.length - 2;
  }
  #arc(from, to, capacity) {
    this.#to.push(to);
    this.#next.push(this.#heads[from]);
    this.#rest.push(capacity);
    this.#heads[from] = this.#to.length - 1;
    if (capacity < Number.POSITIVE_INFINITY) this.#largest = Math.max(this.#largest, capacity);
  }
  /**
   * Infinity where no finite cut parts them; may stop at any flow of `enough` or more. `open` is an arc that counts as one
   * that is never cut. The network stays as it is.
   */
  maximumFlow(source, sink, enough = Number.POSITIVE_INFINITY, open = -1) {
    const nodes = this.#heads.length;
    this.#arcs ??= {
      to: Int32Array.from(this.#to),
      next: Int32Array.from(this.#next),
      rest: Float64Array.from(this.#rest)
    };
    const { to, next } = this.#arcs;
    const rest = this.#arcs.rest.slice();
    if (open >= 0) rest[open] = Number.POSITIVE_INFINITY;
    const heads = this.#heads;
    const nothing = this.#largest * 1e-12;
    const level = new Int32Array(nodes);
    const current = new Int32Array(nodes);
    const queue = new Int32Array(nodes);
    const path = [];
    let flow = 0;
    for (; ; ) {
      level.fill(-1);
      level[source] = 0;
      queue[0] = source;
      for (let read = 0, write = 1; read < write && level[sink] < 0; read++) {
        const node = queue[read];
        for (let a = heads[node]; a >= 0; a = next[a]) {
          if (rest[a] <= nothing || level[to[a]] >= 0) continue;
          level[to[a]] = level[node] + 1;
          queue[write++] = to[a];
        }
      }
      if (level[sink] < 0) return flow;
      current.set(heads);
      path.length = 0;
      for (let node = source; ; ) {
        if (node === sink) {
          let amount = Number.POSITIVE_INFINITY;
          for (const a2 of path) amount = Math.min(amount, rest[a2]);
          if (amount === Number.POSITIVE_INFINITY) return amount;
          flow += amount;
          if (flow >= enough) return flow;
          let retreat = -1;
          for (let i = path.length - 1; i >= 0; i--) {
            const a2 = path[i];
            rest[a2] -= amount;
            rest[a2 ^ 1] += amount;
            if (rest[a2] <= nothing) retreat = i;
          }
          if (retreat < 0) retreat = 0;
          node = to[path[retreat] ^ 1];
          path.length = retreat;
          continue;
        }
        let a = current[node];
        while (a >= 0 && (rest[a] <= nothing || level[to[a]] !== level[node] + 1)) a = next[a];
        current[node] = a;
        if (a >= 0) {
          path.push(a);
          node = to[a];
        } else {
          if (path.length === 0) break;
          level[node] = -1;
          node = to[path.pop() ^ 1];
        }
      }
    }
  }
};

// src/partition/placement-bound.ts
function partBound(flat, deadline) {
  return Math.max(0, ...crowds(flat, 1).map(({ together }) => together), company(flat, deadline)) * (1 - margin);
}
var margin = 1e-9;
function crowds({ parts, devices, classes }, most = 2) {
  if (classes.length > 1 || devices < 2) return [];
  const { time } = classes[0];
  const longest = Array.from({ length: parts }, (_, p) => p).sort((a, b) => time[b] - time[a]);
  const found2 = [];
  for (let m = 1; m * devices < parts && m <= 256; m++) {
    let together = 0;
    for (let i = m * (devices - 1); i <= m * devices; i++) together += time[longest[i]];
    found2.push({ of: longest.slice(0, m * devices + 1), least: m + 1, together });
  }
  return found2.sort((a, b) => b.together - a.together).slice(0, most);
}
var companions = 32;
function company(flat, deadline) {
  const { parts, classes, touching, cost, overlap, devices } = flat;
  if (overlap || devices < 2 || classes.some(({ transfer }) => transfer === 0)) return 0;
  const alone = Float64Array.from({ length: parts }, (_, p) => {
    let load = Math.min(...classes.map(({ time }) => time[p]));
    for (let t = touching.start[p]; t < touching.start[p + 1]; t++) load += cost[touching.items[t]];
    return load;
  });
  const likely = Array.from({ length: parts }, (_, p) => p).sort((a, b) => alone[b] - alone[a]);
  const networks = classes.map((_, c) => setNetwork(flat, c));
  let bound = 0;
  for (const p of likely.slice(0, companions)) {
    if (alone[p] <= bound || performance.now() > deadline) break;
    let lightest = Number.POSITIVE_INFINITY;
    classes.forEach(({ time }, c) => {
      if (time[p] < Number.POSITIVE_INFINITY) lightest = Math.min(lightest, networks[c].maximumFlow(p, parts));
    });
    bound = Math.max(bound, lightest);
  }
  return bound;
}
function setNetwork({ parts, classes, ends, cost }, c) {
  const { time, transfer } = classes[c];
  const network = new FlowNetwork(1 + parts + 2 * cost.length);
  for (let p = 0; p < parts; p++) network.connect(p, parts, time[p]);
  for (let v = 0; v < cost.length; v++) addValue(network, ends, v, cost[v] * transfer, parts + 1 + 2 * v, (p) => p);
  return network;
}
function addValue(network, ends, value, cost, node, nodeOf) {
  const begin = ends.start[value];
  const end = ends.start[value + 1];
  if (end - begin === 2) {
    network.connect(nodeOf(ends.items[begin]), nodeOf(ends.items[begin + 1]), cost, cost);
    return;
  }
  network.connect(node, node + 1, cost);
  for (let e = begin; e < end; e++) {
    const part = nodeOf(ends.items[e]);
    network.connect(part, node, Number.POSITIVE_INFINITY);
    network.connect(node + 1, part, Number.POSITIVE_INFINITY);
  }
}
function boundaryBound(flat, lower, reached, deadline) {
  const { devices, classes, classOf, overlap, units, rates, cost } = flat;
  const share = Math.min(...Array.from(rates, (rate, d) => rate * classes[classOf[d]].transfer));
  if (overlap || devices < 2 || cost.length === 0 || !(share > 0) || !(reached < Number.POSITIVE_INFINITY))
    return lower;
  const total = sum(units);
  const sorted = rates.toSorted().reverse();
  const rateOf = flat.anyOrder ? (s) => [sum(sorted.subarray(0, s)), sum(sorted.subarray(0, devices - s))] : (s) => [sum(rates.subarray(0, s)), sum(rates.subarray(s))];
  const before = reachableUnits(flat, "predecessors");
  const behind = reachableUnits(flat, "successors");
  const implied = (limit) => {
    const windows = Array.from({ length: devices - 1 }, (_, i) => {
      const [front, back] = rateOf(i + 1);
      return { least: total - limit * back * (1 + margin), most: limit * front * (1 + margin) };
    });
    const sides = windows.map(
      ({ least, most }) => (
        // 1: always in front of the boundary, −1: never, 0: either.
        Int8Array.from(before, (ancestors, p) => ancestors > most ? -1 : total - behind[p] < least ? 1 : 0)
      )
    );
    const crossings = new Int32Array(cost.length);
    for (const side of sides) {
      for (let v = 0; v < cost.length; v++) if (mayCross(flat.ends, v, side)) crossings[v]++;
    }
    let cuts = 0;
    for (const side of sides) {
      if (performance.now() > deadline) break;
      cuts += leastCut(flat, side, crossings);
    }
    return (total + 2 * share * cuts) / sum(rates);
  };
  let low = Math.max(lower, Math.min(reached, implied(reached) * (1 - margin)));
  let high = reached;
  for (let round = 0; round < 12 && high - low > 1e-4 * high && performance.now() < deadline; round++) {
    const middle = (low + high) / 2;
    const found2 = implied(middle) * (1 - margin);
    if (found2 > middle) low = middle;
    else {
      high = middle;
      low = Math.max(low, found2);
    }
  }
  return low;
}
var sum = (xs) => xs.reduce((a, b) => a + b, 0);
function mayCross(ends, value, side) {
  let [front, back] = [true, true];
  for (let e = ends.start[value]; e < ends.start[value + 1]; e++) {
    const s = side[ends.items[e]];
    if (s !== 1) front = false;
    if (s !== -1) back = false;
  }
  return !front && !back;
}
function leastCut(flat, side, crossings) {
  const { parts, ends, cost, successors } = flat;
  const node = new Int32Array(parts);
  let count = 2;
  for (let p = 0; p < parts; p++) node[p] = side[p] === 1 ? 0 : side[p] === -1 ? 1 : count++;
  const crossing = [];
  for (let v = 0; v < cost.length; v++) if (mayCross(ends, v, side)) crossing.push(v);
  const network = new FlowNetwork(count + 2 * crossing.length);
  crossing.forEach((v, i) => {
    addValue(network, ends, v, cost[v] / crossings[v], count + 2 * i, (p) => node[p]);
  });
  for (let p = 0; p < parts; p++) {
    for (let e = successors.start[p]; e < successors.start[p + 1]; e++) {
      const [from, to] = [node[p], node[successors.items[e]]];
      if (from !== to && to !== 1 && from !== 0) network.connect(to, from, Number.POSITIVE_INFINITY);
    }
  }
  return network.maximumFlow(0, 1);
}
function reachableUnits(flat, direction) {
  const { parts, units } = flat;
  const links = flat[direction];
  const order = topological2(flat);
  if (direction === "successors") order.reverse();
  const found2 = new Float64Array(parts);
  const bits = new Int32Array(parts);
  const table = new Float64Array(4 * 256);
  for (let base = 0; base < parts; base += 32) {
    for (let byte = 0; byte < 4; byte++) {
      for (let set = 1; set < 256; set++) {
        const low = 31 - Math.clz32(set & -set);
        table[byte * 256 + set] = table[byte * 256 + (set & set - 1)] + (units[order[base + byte * 8 + low] ?? -1] ?? 0);
      }
    }
    bits.fill(0);
    for (let i = base; i < parts; i++) {
      const p = order[i];
      let set = i < base + 32 ? 1 << i - base : 0;
      for (let e = links.start[p]; e < links.start[p + 1]; e++) set |= bits[links.items[e]];
      if (set === 0) continue;
      bits[p] = set;
      found2[p] += table[set & 255] + table[256 + (set >>> 8 & 255)] + table[512 + (set >>> 16 & 255)] + table[768 + (set >>> 24)];
    }
  }
  return found2;
}
function topological2({ parts, successors, predecessors }) {
  const missing = Int32Array.from({ length: parts }, (_, p) => predecessors.start[p + 1] - predecessors.start[p]);
  const order = new Int32Array(parts);
  let write = 0;
  for (let p = 0; p < parts; p++) if (missing[p] === 0) order[write++] = p;
  for (let read = 0; read < write; read++) {
    const p = order[read];
    for (let e = successors.start[p]; e < successors.start[p + 1]; e++) {
      if (--missing[successors.items[e]] === 0) order[write++] = successors.items[e];
    }
  }
  return order;
}

// src/partition/inseparable.ts
function fuseInseparable(problem, { below, contiguous, deadline }) {
  let fused = { problem, partOf: problem.parts.map((_, p) => p) };
  if (problem.load !== "sum" || problem.devices.length < 2 || !(below < Number.POSITIVE_INFINITY)) return fused;
  for (; ; ) {
    const groups = joinOnce(fused.problem, below, deadline);
    if (!groups) return fused;
    const step = fuse(fused.problem, groups, contiguous);
    fused = { problem: step.problem, partOf: fused.partOf.map((p) => step.partOf[p]) };
  }
}
var unfuse = ({ partOf }, deviceOf) => partOf.map((p) => deviceOf[p]);
function fusePlacement({ problem, partOf }, deviceOf) {
  const fused = new Array(problem.parts.length).fill(-1);
  for (let p = 0; p < partOf.length; p++) {
    const at = partOf[p];
    if (fused[at] !== -1 && fused[at] !== deviceOf[p]) return void 0;
    fused[at] = deviceOf[p];
  }
  return fused;
}
function joinOnce(problem, below, deadline) {
  const flat = flatten(problem);
  const { parts, classes, ends, cost } = flat;
  const enough = below * (1 - 1e-9);
  const networks = classes.map((_, c) => setNetwork(flat, c));
  const never = (p, q) => networks.every((network) => network.maximumFlow(p, parts, enough, 2 * q) >= enough);
  const groups = new Groups(parts);
  let joined = false;
  const costly = Array.from(cost, (_, v) => v).sort((a, b) => cost[b] - cost[a]);
  for (const v of costly) {
    const first = ends.items[ends.start[v]];
    for (let e = ends.start[v] + 1; e < ends.start[v + 1]; e++) {
      const other = ends.items[e];
      if (groups.find(first) === groups.find(other)) continue;
      if (performance.now() > deadline) return joined ? groups : void 0;
      if (!never(first, other) && !never(other, first)) continue;
      groups.join(first, other);
      joined = true;
    }
  }
  return joined ? groups : void 0;
}
function fuse(problem, groups, contiguous) {
  if (contiguous) {
    const edges2 = problem.edges.map(([a, b]) => [groups.find(a), groups.find(b)]);
    for (const cycle of components(problem.parts.length, edges2)) {
      for (const p of cycle) groups.join(cycle[0], p);
    }
  }
  const members = groups.members();
  const partOf = new Array(problem.parts.length).fill(0);
  members.forEach((group, g) => {
    for (const p of group) partOf[p] = g;
  });
  const parts = members.map((group) => {
    const of = group.map((p) => problem.parts[p]);
    const sum2 = (term) => of.reduce((a, part) => a + term(part), 0);
    return {
      name: fusedName(of.map(({ name }) => name)),
      work: sum2(({ work }) => work),
      cpuWork: sum2(({ work, cpuWork = work }) => cpuWork),
      bytes: sum2(({ bytes }) => bytes),
      heldBytes: sum2(({ heldBytes = 0 }) => heldBytes)
    };
  });
  const values = problem.values.flatMap(({ producer, consumers, cost }) => {
    const from = partOf[producer];
    const to = new Set(consumers.map((c) => partOf[c]));
    to.delete(from);
    return to.size > 0 ? [{ producer: from, consumers: [...to], cost }] : [];
  });
  const seen = /* @__PURE__ */ new Set();
  const edges = contiguous ? problem.edges.map(([a, b]) => [partOf[a], partOf[b]]).filter(([a, b]) => a !== b && !seen.has(`${a},${b}`) && seen.add(`${a},${b}`)) : [];
  return { problem: { ...problem, parts, values, edges }, partOf };
}

// src/partition/milp-rows.ts
var single = (column) => ({ plus: column, minus: -1, constant: 0 });
var ColumnList = class {
  #lower = [];
  #upper = [];
  #integer = [];
  get count() {
    return this.#lower.length;
  }
  add(lower, upper, integer) {
    this.#lower.push(lower);
    this.#upper.push(upper);
    this.#integer.push(integer ? 1 : 0);
    return this.#lower.length - 1;
  }
  data() {
    return {
      lower: Float64Array.from(this.#lower),
      upper: Float64Array.from(this.#upper),
      integer: Uint8Array.from(this.#integer)
    };
  }
};
var RowList = class {
  #starts = [0];
  #indices = [];
  #coefficients = [];
  #lower = [];
  #upper = [];
  add(indices, coefficients, lower, upper) {
    this.#indices.push(...indices);
    this.#coefficients.push(...coefficients);
    this.#starts.push(this.#indices.length);
    this.#lower.push(lower);
    this.#upper.push(upper);
  }
  /** Terms written out; a column named twice gets the sum. */
  combine(entries, lower, upper) {
    const sums = /* @__PURE__ */ new Map();
    let constant = 0;
    for (const [{ plus, minus, constant: c }, factor] of entries) {
      if (plus >= 0) sums.set(plus, (sums.get(plus) ?? 0) + factor);
      if (minus >= 0) sums.set(minus, (sums.get(minus) ?? 0) - factor);
      constant += c * factor;
    }
    const terms = [...sums].filter(([, factor]) => factor !== 0);
    this.add(
      terms.map(([column]) => column),
      terms.map(([, factor]) => factor),
      lower - constant,
      upper - constant
    );
  }
  data() {
    return {
      starts: Int32Array.from(this.#starts),
      indices: Int32Array.from(this.#indices),
      coefficients: Float64Array.from(this.#coefficients),
      rowLower: Float64Array.from(this.#lower),
      rowUpper: Float64Array.from(this.#upper)
    };
  }
};

// src/partition/block-milp.ts
function blockMilp(flat, c, demand, { contiguous, lower, upper }) {
  const { parts, classes, ends, cost, overlap, units, successors } = flat;
  const { time, bytes, capacity, transfer } = classes[c];
  const scale = 1 / Math.max(upper, Number.MIN_VALUE);
  const columns = new ColumnList();
  const rows2 = new RowList();
  const load = columns.add(lower * scale, 1, false);
  const up = Int32Array.from({ length: parts }, () => columns.add(0, 1, true));
  const down = contiguous ? Int32Array.from({ length: parts }, () => columns.add(0, 1, true)) : void 0;
  const x = (p) => ({ plus: up[p], minus: down ? down[p] : -1, constant: 0 });
  for (let p = 0; p < parts; p++) {
    if (time[p] > upper || bytes[p] > capacity) rows2.combine([[x(p), 1]], Number.NEGATIVE_INFINITY, 0);
    if (!down) continue;
    rows2.add([up[p], down[p]], [1, -1], 0, Number.POSITIVE_INFINITY);
    for (let e = successors.start[p]; e < successors.start[p + 1]; e++) {
      const to = successors.items[e];
      for (const set of [up, down]) rows2.add([set[p], set[to]], [1, -1], 0, Number.POSITIVE_INFINITY);
    }
  }
  const into = [];
  const out = [];
  for (let v = 0; v < cost.length && transfer > 0; v++) {
    const begin = ends.start[v];
    const inward = columns.add(0, 1, false);
    const outward = overlap ? columns.add(0, 1, false) : inward;
    const home = x(ends.items[begin]);
    for (let e = begin + 1; e < ends.start[v + 1]; e++) {
      const reader = x(ends.items[e]);
      rows2.combine(
        [
          [single(inward), 1],
          [reader, -1],
          [home, 1]
        ],
        0,
        Number.POSITIVE_INFINITY
      );
      rows2.combine(
        [
          [single(outward), 1],
          [home, -1],
          [reader, 1]
        ],
        0,
        Number.POSITIVE_INFINITY
      );
    }
    const charge = -cost[v] * transfer * scale;
    into.push([single(inward), charge]);
    if (overlap) out.push([single(outward), charge]);
  }
  const computing = Array.from(time, (t, p) => [x(p), -t * scale]).filter((_, p) => time[p] <= upper);
  const least = [single(load), 1];
  for (const terms of overlap ? [computing, into, out] : [[...computing, ...into]]) {
    rows2.combine([least, ...terms], 0, Number.POSITIVE_INFINITY);
  }
  if (demand.kind === "units") {
    const whole = Math.max(demand.least, Number.MIN_VALUE);
    const done = Array.from(units, (u, p) => [x(p), u / whole]);
    rows2.combine(done, 1 - 1e-9, Number.POSITIVE_INFINITY);
  } else {
    rows2.combine(
      demand.of.map((p) => [x(p), 1]),
      demand.least,
      Number.POSITIVE_INFINITY
    );
  }
  return { columns: columns.count, ...columns.data(), ...rows2.data() };
}

// src/partition/milp-model.ts
function placementMilp(flat, { contiguous, lower, upper }) {
  const { parts, devices, classes, classOf, ends, cost, overlap } = flat;
  const ordered = contiguous && !flat.anyOrder;
  const scale = 1 / Math.max(upper, Number.MIN_VALUE);
  const rows2 = new RowList();
  const columns = new ColumnList();
  const load = columns.add(lower * scale, 1, false);
  const place = Array.from(
    { length: parts },
    () => Int32Array.from({ length: ordered ? devices - 1 : devices }, () => columns.add(0, 1, true))
  );
  const x = (p, d) => {
    if (!ordered) return { plus: place[p][d], minus: -1, constant: 0 };
    if (d === devices - 1) return { plus: -1, minus: d > 0 ? place[p][d - 1] : -1, constant: 1 };
    return { plus: place[p][d], minus: d > 0 ? place[p][d - 1] : -1, constant: 0 };
  };
  for (let p = 0; p < parts; p++) {
    if (ordered) {
      for (let s = 1; s < devices - 1; s++) rows2.add([place[p][s], place[p][s - 1]], [1, -1], 0, Infinity);
    } else rows2.add(Array.from(place[p]), new Array(devices).fill(1), 1, 1);
    for (let d = 0; d < devices; d++) {
      const { time, bytes, capacity } = classes[classOf[d]];
      if (time[p] <= upper && bytes[p] <= capacity) continue;
      rows2.combine([[x(p, d), 1]], Number.NEGATIVE_INFINITY, 0);
    }
  }
  const y = [];
  for (let v = 0; v < cost.length; v++) {
    const begin = ends.start[v];
    const end = ends.start[v + 1];
    const producer = ends.items[begin];
    const column = () => Int32Array.from(
      { length: devices },
      (_, d) => classes[classOf[d]].transfer > 0 ? columns.add(0, 1, false) : -1
    );
    const into = column();
    const out = overlap ? column() : into;
    y.push({ into, out });
    for (let d = 0; d < devices; d++) {
      if (into[d] === -1) continue;
      const home = x(producer, d);
      for (let e = begin + 1; e < end; e++) {
        const reader = x(ends.items[e], d);
        rows2.combine(
          [
            [single(into[d]), 1],
            [reader, -1],
            [home, 1]
          ],
          0,
          Infinity
        );
        rows2.combine(
          [
            [single(out[d]), 1],
            [home, -1],
            [reader, 1]
          ],
          0,
          Infinity
        );
      }
    }
  }
  for (let d = 0; d < devices; d++) {
    const { time, bytes, capacity, transfer } = classes[classOf[d]];
    const computing = [];
    for (let p = 0; p < parts; p++) if (time[p] <= upper) computing.push([x(p, d), -time[p] * scale]);
    const moved = (columns2) => transfer > 0 ? y.map((of, v) => [single(of[columns2][d]), -cost[v] * transfer * scale]) : [];
    const least = [single(load), 1];
    if (overlap) {
      for (const terms of [computing, moved("into"), moved("out")]) rows2.combine([least, ...terms], 0, Infinity);
    } else rows2.combine([least, ...computing, ...moved("into")], 0, Infinity);
    if (capacity < Number.POSITIVE_INFINITY) {
      const whole = Math.max(capacity, 1);
      const held = Array.from(bytes, (b, p) => [x(p, d), b / whole]).filter(([, b]) => b > 0);
      if (held.length > 0) rows2.combine(held, Number.NEGATIVE_INFINITY, capacity / whole * (1 + 1e-12));
    }
  }
  const numbering = contiguous ? void 0 : numberDevices(flat, rows2, place);
  const before = contiguous && !ordered ? orderDevices(flat, columns, rows2, place) : void 0;
  if (ordered) {
    for (let p = 0; p < parts; p++) {
      for (let e = flat.successors.start[p]; e < flat.successors.start[p + 1]; e++) {
        const to = place[flat.successors.items[e]];
        for (let s = 0; s < devices - 1; s++) rows2.add([place[p][s], to[s]], [1, -1], 0, Infinity);
      }
    }
  }
  const on = (values, p, d) => {
    const { plus, minus, constant } = x(p, d);
    return (plus < 0 ? 0 : values[plus]) - (minus < 0 ? 0 : values[minus]) + constant;
  };
  return {
    model: { columns: columns.count, ...columns.data(), ...rows2.data() },
    decode: (values) => place.map((_, p) => {
      let best = 0;
      for (let d = 1; d < devices; d++) if (on(values, p, d) > on(values, p, best)) best = d;
      return best;
    }),
    encode: (given) => {
      const deviceOf = numbering ? numbering(given) : given;
      const values = new Float64Array(columns.count);
      values[load] = 1;
      for (let p = 0; p < parts; p++) {
        place[p].forEach((column, d) => {
          values[column] = (ordered ? deviceOf[p] <= d : deviceOf[p] === d) ? 1 : 0;
        });
      }
      for (let v = 0; v < cost.length; v++) {
        const home = deviceOf[ends.items[ends.start[v]]];
        const { into, out } = y[v];
        for (let e = ends.start[v] + 1; e < ends.start[v + 1]; e++) {
          const d = deviceOf[ends.items[e]];
          if (d === home) continue;
          if (into[d] >= 0) values[into[d]] = 1;
          if (out[home] >= 0) values[out[home]] = 1;
        }
      }
      before?.(deviceOf, values);
      return values;
    }
  };
}
var tied = 3;
function numberDevices(flat, rows2, place) {
  const { parts, devices, classes, classOf, touching, cost, units } = flat;
  const weight = Float64Array.from(units, (u, p) => {
    let w = u;
    for (let t = touching.start[p]; t < touching.start[p + 1]; t++) w += cost[touching.items[t]];
    return w;
  });
  const order = Array.from({ length: parts }, (_, p) => p).sort((a, b) => weight[b] - weight[a] || a - b);
  for (const { devices: equal } of classes) {
    for (let r = 1; r < equal.length; r++) {
      for (let i = 0; i < Math.min(parts, tied * devices); i++) {
        const earlier = order.slice(0, i).map((p) => place[p][equal[r - 1]]);
        rows2.add([place[order[i]][equal[r]], ...earlier], [-1, ...earlier.map(() => 1)], 0, Infinity);
      }
    }
  }
  return (deviceOf) => {
    const name = /* @__PURE__ */ new Map();
    const used = classes.map(() => 0);
    for (const p of order) {
      const d = deviceOf[p];
      const c = classOf[d];
      if (!name.has(d)) name.set(d, classes[c].devices[used[c]++]);
    }
    return deviceOf.map((d) => name.get(d));
  };
}
function orderDevices(flat, columns, rows2, place) {
  const { parts, devices, successors } = flat;
  const before = Array.from(
    { length: devices },
    (_, d) => Array.from({ length: devices }, (_2, e) => d < e ? columns.add(0, 1, true) : -1)
  );
  const isBefore = (d, e) => d < e ? { plus: before[d][e], minus: -1, constant: 0 } : { plus: -1, minus: before[e][d], constant: 1 };
  for (let d = 0; d < devices; d++) {
    for (let e = 0; e < devices; e++) {
      for (let f = 0; f < devices; f++) {
        if (d === e || e === f || d === f) continue;
        rows2.combine(
          [
            [isBefore(d, e), 1],
            [isBefore(e, f), 1],
            [isBefore(d, f), -1]
          ],
          Number.NEGATIVE_INFINITY,
          1
        );
      }
    }
  }
  for (let p = 0; p < parts; p++) {
    for (let s = successors.start[p]; s < successors.start[p + 1]; s++) {
      const q = successors.items[s];
      for (let d = 0; d < devices; d++) {
        for (let e = 0; e < devices; e++) {
          if (d === e) continue;
          rows2.combine(
            [
              [single(place[p][d]), 1],
              [single(place[q][e]), 1],
              [isBefore(d, e), -1]
            ],
            Number.NEGATIVE_INFINITY,
            1
          );
        }
      }
    }
  }
  return (deviceOf, values) => {
    const rank = devicesInOrder(flat, deviceOf);
    for (let d = 0; d < devices; d++) {
      for (let e = d + 1; e < devices; e++) values[before[d][e]] = rank[d] < rank[e] ? 1 : 0;
    }
  };
}
function devicesInOrder(flat, deviceOf) {
  const { devices, successors, parts } = flat;
  const reaches = Array.from({ length: devices }, () => /* @__PURE__ */ new Set());
  for (let p = 0; p < parts; p++) {
    for (let s = successors.start[p]; s < successors.start[p + 1]; s++) {
      const [d, e] = [deviceOf[p], deviceOf[successors.items[s]]];
      if (d !== e) reaches[d].add(e);
    }
  }
  const missing = new Array(devices).fill(0);
  for (const set of reaches) for (const e of set) missing[e]++;
  const rank = new Array(devices).fill(0);
  const open = missing.flatMap((m, d) => m === 0 ? [d] : []);
  for (let place = 0; open.length > 0; place++) {
    const d = open.shift();
    rank[d] = place;
    for (const e of reaches[d]) if (--missing[e] === 0) open.push(e);
  }
  return rank;
}

// src/partition/milp-solver.ts
import { join as join2 } from "node:path";
import { Worker } from "node:worker_threads";

// src/core/package-root.ts
import { readFileSync as readFileSync2 } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
var found;
function packageRoot() {
  if (found !== void 0) return found;
  const start = dirname(fileURLToPath(import.meta.url));
  for (let folder = start; ; folder = dirname(folder)) {
    if (packageName(folder) === "partita") return found = folder;
    if (folder === dirname(folder)) {
      throw new PartitaError("package-root", `no package.json of "partita" in ${start} or above`, {
        fields: { start },
        remedy: "npm install partita"
      });
    }
  }
}
function packageName(folder) {
  try {
    return JSON.parse(readFileSync2(join(folder, "package.json"), "utf8")).name;
  } catch {
    return void 0;
  }
}

// src/partition/milp-solver.ts
var milpTolerance = 1e-6;
var graceSeconds = 2;
function solveMilp(model, options) {
  const seconds = (options.deadline - performance.now()) / 1e3;
  if (seconds <= 0) return Promise.resolve({ bound: Number.NEGATIVE_INFINITY, values: void 0 });
  const task = { model, seconds, seed: options.seed, ...options.start ? { start: options.start } : {} };
  return new Promise((resolve, reject) => {
    const worker = new Worker(join2(packageRoot(), "dist", "workers", "milp.node.js"), { workerData: task });
    let bound = Number.NEGATIVE_INFINITY;
    let values;
    const finish = (answer) => {
      clearTimeout(overdue);
      void worker.terminate().then(() => resolve(answer));
    };
    const overdue = setTimeout(() => finish({ bound, values }), (seconds + graceSeconds) * 1e3);
    worker.on("message", (report) => {
      if (report.kind === "bound") bound = Math.max(bound, report.bound);
      else if (report.kind === "solution") values = report.values;
      else if (report.kind === "missing") finish("missing");
      else if (report.kind === "infeasible") finish({ bound: Number.POSITIVE_INFINITY, values: void 0 });
      else finish({ bound, values });
    });
    worker.once("error", (error) => {
      clearTimeout(overdue);
      reject(error);
    });
  });
}

// src/partition/annealing.ts
var Annealing = class {
  #flat;
  #random;
  #rank;
  #deviceOf;
  /** Ends of value v on device d, at v · devices + d. */
  #ends;
  #computing;
  #in;
  #out;
  #bytes;
  #energy;
  /** Parts that cannot run where they lie. */
  #misplaced = 0;
  #reference;
  /** Of the last move tried: what a and b would have. */
  #after = new Float64Array(10);
  #best;
  #objective;
  constructor(flat, start, { random, rank, reference }) {
    const { parts, devices, cost } = flat;
    this.#flat = flat;
    this.#random = random;
    this.#rank = rank;
    this.#reference = reference;
    this.#deviceOf = Int32Array.from(start);
    this.#ends = new Int32Array(cost.length * devices);
    this.#computing = new Float64Array(devices);
    this.#in = new Float64Array(devices);
    this.#out = new Float64Array(devices);
    this.#bytes = new Float64Array(devices);
    this.#energy = new Float64Array(devices);
    this.#best = new Int32Array(parts);
    this.#objective = Number.POSITIVE_INFINITY;
    this.#count();
    this.#keepBest();
  }
  /** The best legal placement seen, Infinity where there is none. */
  get best() {
    return { deviceOf: this.#best, objective: this.#objective };
  }
  /** Tries so many moves at a temperature, in energies of a device loaded to the reference. */
  run(moves, temperature) {
    const { parts, devices } = this.#flat;
    if (devices < 2 || parts === 0) return;
    const random = this.#random;
    for (let m = 0; m < moves; m++) {
      const p = Math.floor(random() * parts);
      const a = this.#deviceOf[p];
      const b = this.#target(p, a);
      if (b === a || !this.#allowed(p, b)) continue;
      const change = this.#try(p, a, b);
      if (accepts(change, temperature, random)) {
        this.#make(p, a, b);
        this.#keepBest();
        continue;
      }
      if (random() < 0.5) continue;
      const q = this.#partOn(b, p);
      if (q < 0) continue;
      this.#make(p, a, b);
      if (this.#allowed(q, a)) {
        const back = this.#try(q, b, a);
        if (accepts(change + back, temperature, random)) {
          this.#make(q, b, a);
          this.#keepBest();
          continue;
        }
      }
      this.#try(p, b, a);
      this.#make(p, b, a);
    }
  }
  /** Mostly a device where an end of one of the part's values lies: elsewhere a part only adds transfers. */
  #target(p, a) {
    const { devices, touching, ends } = this.#flat;
    const random = this.#random;
    const begin = touching.start[p];
    const values = touching.start[p + 1] - begin;
    if (values > 0 && random() < 0.8) {
      const v = touching.items[begin + Math.floor(random() * values)];
      const first = ends.start[v];
      const other = ends.items[first + Math.floor(random() * (ends.start[v + 1] - first))];
      const b2 = this.#deviceOf[other];
      if (b2 !== a) return b2;
    }
    const b = Math.floor(random() * (devices - 1));
    return b < a ? b : b + 1;
  }
  /** A part on a device, by a few draws; −1 where none was met. */
  #partOn(device, except) {
    const { parts } = this.#flat;
    for (let draw = 0; draw < 8; draw++) {
      const q = Math.floor(this.#random() * parts);
      if (this.#deviceOf[q] === device && q !== except) return q;
    }
    return -1;
  }
  #allowed(p, device) {
    const { classes, classOf, predecessors, successors } = this.#flat;
    if (classes[classOf[device]].time[p] === Number.POSITIVE_INFINITY) return false;
    const rank = this.#rank;
    if (!rank) return true;
    const r = rank[device];
    for (let e = predecessors.start[p]; e < predecessors.start[p + 1]; e++) {
      if (rank[this.#deviceOf[predecessors.items[e]]] > r) return false;
    }
    for (let e = successors.start[p]; e < successors.start[p + 1]; e++) {
      if (rank[this.#deviceOf[successors.items[e]]] < r) return false;
    }
    return true;
  }
  /** Change of the energy if p moves from a to b; `#make` carries it out. */
  #try(p, a, b) {
    const { classes, classOf, touching, ends, cost, devices } = this.#flat;
    const from = classes[classOf[a]];
    const to = classes[classOf[b]];
    let [inA, outA, inB, outB] = [this.#in[a], this.#out[a], this.#in[b], this.#out[b]];
    for (let t = touching.start[p]; t < touching.start[p + 1]; t++) {
      const v = touching.items[t];
      const c = cost[v];
      const first = ends.start[v];
      const size = ends.start[v + 1] - first;
      const onA = this.#ends[v * devices + a];
      const onB = this.#ends[v * devices + b];
      const producer = ends.items[first];
      if (producer === p) {
        if (onA < size) outA -= c;
        if (onA > 1) inA += c;
        if (onB > 0) inB -= c;
        if (onB + 1 < size) outB += c;
        continue;
      }
      const home = this.#deviceOf[producer];
      if (home === a) {
        if (onA === size) outA += c;
      } else if (onA === 1) inA -= c;
      if (home === b) {
        if (onB + 1 === size) outB -= c;
      } else if (onB === 0) inB += c;
    }
    const after = this.#after;
    const time = from.time[p];
    after[0] = this.#computing[a] - (time < Number.POSITIVE_INFINITY ? time : 0);
    after[1] = inA;
    after[2] = outA;
    after[3] = this.#bytes[a] - from.bytes[p];
    after[4] = this.#energyOf(a, after[0], inA, outA, after[3]);
    after[5] = this.#computing[b] + to.time[p];
    after[6] = inB;
    after[7] = outB;
    after[8] = this.#bytes[b] + to.bytes[p];
    after[9] = this.#energyOf(b, after[5], inB, outB, after[8]);
    const rescued = time === Number.POSITIVE_INFINITY ? -misplacedEnergy : 0;
    return after[4] + after[9] - this.#energy[a] - this.#energy[b] + rescued;
  }
  #make(p, a, b) {
    const { classes, classOf, touching, devices } = this.#flat;
    const after = this.#after;
    if (classes[classOf[a]].time[p] === Number.POSITIVE_INFINITY) this.#misplaced--;
    this.#computing[a] = after[0];
    this.#in[a] = after[1];
    this.#out[a] = after[2];
    this.#bytes[a] = after[3];
    this.#energy[a] = after[4];
    this.#computing[b] = after[5];
    this.#in[b] = after[6];
    this.#out[b] = after[7];
    this.#bytes[b] = after[8];
    this.#energy[b] = after[9];
    for (let t = touching.start[p]; t < touching.start[p + 1]; t++) {
      const v = touching.items[t];
      this.#ends[v * devices + a]--;
      this.#ends[v * devices + b]++;
    }
    this.#deviceOf[p] = b;
  }
  #loadOf(device, computing, into, out) {
    const { transfer } = this.#flat.classes[this.#flat.classOf[device]];
    return this.#flat.overlap ? Math.max(computing, into * transfer, out * transfer) : computing + (into + out) * transfer;
  }
  #energyOf(device, computing, into, out, bytes) {
    const { capacity } = this.#flat.classes[this.#flat.classOf[device]];
    const x = this.#loadOf(device, computing, into, out) / this.#reference;
    const x2 = x * x;
    const x4 = x2 * x2;
    const x8 = x4 * x4;
    const hidden = this.#flat.overlap ? 1e-3 * (computing + into + out) / this.#reference : 0;
    const over = excess(bytes, capacity);
    return x8 * x8 + hidden + (over > 0 ? 4 + 64 * over / Math.max(capacity, 1) : 0);
  }
  #keepBest() {
    if (this.#misplaced > 0) return;
    const { devices, classes, classOf } = this.#flat;
    let largest = 0;
    for (let d = 0; d < devices; d++) {
      const load = this.#loadOf(d, this.#computing[d], this.#in[d], this.#out[d]);
      if (load > largest) largest = load;
      if (largest >= this.#objective * (1 - 1e-9)) return;
      if (excess(this.#bytes[d], classes[classOf[d]].capacity) > 0) return;
    }
    this.#objective = largest;
    this.#best.set(this.#deviceOf);
  }
  #count() {
    const { parts, devices, classes, classOf, ends, cost } = this.#flat;
    this.#computing.fill(0);
    this.#bytes.fill(0);
    this.#in.fill(0);
    this.#out.fill(0);
    this.#ends.fill(0);
    this.#misplaced = 0;
    for (let p = 0; p < parts; p++) {
      const d = this.#deviceOf[p];
      const { time, bytes } = classes[classOf[d]];
      if (time[p] < Number.POSITIVE_INFINITY) this.#computing[d] += time[p];
      else this.#misplaced++;
      this.#bytes[d] += bytes[p];
    }
    for (let v = 0; v < cost.length; v++) {
      const begin = ends.start[v];
      const size = ends.start[v + 1] - begin;
      for (let e = begin; e < begin + size; e++) this.#ends[v * devices + this.#deviceOf[ends.items[e]]]++;
      const home = this.#deviceOf[ends.items[begin]];
      for (let d = 0; d < devices; d++) {
        const here = this.#ends[v * devices + d];
        if (d === home && here < size) this.#out[d] += cost[v];
        if (d !== home && here > 0) this.#in[d] += cost[v];
      }
    }
    for (let d = 0; d < devices; d++) {
      this.#energy[d] = this.#energyOf(d, this.#computing[d], this.#in[d], this.#out[d], this.#bytes[d]);
    }
  }
};
var misplacedEnergy = 1e3;
var excess = (bytes, capacity) => bytes > capacity * (1 + 1e-12) ? bytes - capacity : 0;
var accepts = (change, temperature, random) => change <= 0 || random() < Math.exp(-change / temperature);

// src/partition/load-meter.ts
function loadMeter(flat) {
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
      const d = deviceOf[p];
      computing[d] += classes[classOf[d]].time[p];
    }
    for (let v = 0; v < cost.length; v++) {
      const begin = ends.start[v];
      const home = deviceOf[ends.items[begin]];
      seen[home] = ++stamp;
      let crosses = false;
      for (let e = begin + 1; e < ends.start[v + 1]; e++) {
        const d = deviceOf[ends.items[e]];
        if (seen[d] === stamp) continue;
        seen[d] = stamp;
        into[d] += cost[v];
        crosses = true;
      }
      if (crosses) out[home] += cost[v];
    }
    let largest = 0;
    for (let d = 0; d < devices; d++) {
      const { transfer } = classes[classOf[d]];
      const load = overlap ? Math.max(computing[d], into[d] * transfer, out[d] * transfer) : computing[d] + (into[d] + out[d]) * transfer;
      largest = Math.max(largest, load);
    }
    return largest;
  };
}

// src/partition/order-cut.ts
var OrderCut = class {
  #flat;
  #order;
  #place;
  /** Changes of deltas by the segment's end j: row j of (position, cost), `in` and `out` apart. */
  #eventStart;
  #eventAt;
  #eventIn;
  #eventOut;
  /** The same as they are found, value by value. */
  #found;
  #readers;
  #deltaIn;
  #deltaOut;
  /** By class: time and bytes by position. */
  #time;
  #bytes;
  /** By class: first device of the class from device d on. */
  #next;
  #first;
  #from;
  #anyOrder;
  /** Work before position j and rates of the devices before device d: see `workUnits`. */
  #unitsBefore;
  #rateBefore;
  /** No limit below this lets an end be considered that was passed over. */
  #wake = Number.POSITIVE_INFINITY;
  /** Tables for orders of a problem; `use` sets one. */
  constructor(flat) {
    const { parts: n, devices, ends, rates, classes } = flat;
    this.#flat = flat;
    this.#order = new Int32Array(n);
    this.#place = new Int32Array(n);
    const most = 3 * ends.items.length;
    this.#eventStart = new Int32Array(n + 2);
    this.#eventAt = new Int32Array(most);
    this.#eventIn = new Float64Array(most);
    this.#eventOut = new Float64Array(most);
    this.#found = {
      when: new Int32Array(most),
      at: new Int32Array(most),
      into: new Float64Array(most),
      out: new Float64Array(most),
      count: 0
    };
    this.#readers = new Int32Array(n);
    this.#deltaIn = new Float64Array(n);
    this.#deltaOut = new Float64Array(n);
    this.#time = classes.map(() => new Float64Array(n));
    this.#bytes = classes.map(() => new Float64Array(n));
    this.#next = classes.map((_, c) => {
      const next = new Int32Array(devices + 1).fill(devices);
      for (let d = devices - 1; d >= 0; d--) next[d] = flat.classOf[d] === c ? d : next[d + 1];
      return next;
    });
    this.#first = new Int32Array(n + 1);
    this.#from = new Int32Array(n + 1);
    this.#anyOrder = flat.anyOrder ? anyOrderTables(flat) : void 0;
    this.#unitsBefore = new Float64Array(n + 1);
    this.#rateBefore = new Float64Array(devices + 1);
    for (let d = 0; d < devices; d++) this.#rateBefore[d + 1] = this.#rateBefore[d] + rates[d];
  }
  /** Takes up a topological order; it must not change while it is in use. */
  use(order) {
    const { parts: n, units, classes, ends, cost } = this.#flat;
    const place = this.#place;
    this.#order = order;
    for (let i = 0; i < n; i++) {
      place[order[i]] = i;
      this.#unitsBefore[i + 1] = this.#unitsBefore[i] + units[order[i]];
    }
    classes.forEach(({ time, bytes }, c) => {
      const timeAt = this.#time[c];
      const bytesAt = this.#bytes[c];
      for (let i = 0; i < n; i++) {
        timeAt[i] = time[order[i]];
        bytesAt[i] = bytes[order[i]];
      }
    });
    this.#found.count = 0;
    const readers = this.#readers;
    for (let v = 0; v < cost.length; v++) {
      const begin = ends.start[v];
      const count = ends.start[v + 1] - begin - 1;
      for (let r = 0; r < count; r++) {
        const at = place[ends.items[begin + 1 + r]];
        let to = r;
        for (; to > 0 && readers[to - 1] > at; to--) readers[to] = readers[to - 1];
        readers[to] = at;
      }
      this.#findEvents(place[ends.items[begin]], count, cost[v]);
    }
    this.#sortEvents();
    return this;
  }
  /** The table above for one value, whose `count` consumers stand at `#readers`. */
  #findEvents(producer, count, cost) {
    const readers = this.#readers;
    const last = readers[count - 1];
    this.#event(producer + 1, producer, 0, cost);
    let behind = 0;
    while (behind < count && readers[behind] < producer) behind++;
    if (behind < count) this.#event(readers[behind] + 1, producer, -cost, 0);
    if (behind === 0) this.#event(last + 1, producer, 0, -cost);
    for (let r = 0; r < count; r++) {
      const reader = readers[r];
      this.#event(reader + 1, reader, cost, 0);
      let next = r + 1 < count ? readers[r + 1] : -1;
      if (producer > reader && (next < 0 || producer < next)) next = producer;
      if (next >= 0) this.#event(next + 1, reader, -cost, 0);
      if (r === 0 && producer > reader) this.#event(Math.max(producer, last) + 1, reader, 0, -cost);
    }
  }
  #event(j, i, into, out) {
    const found2 = this.#found;
    const e = found2.count++;
    found2.when[e] = j;
    found2.at[e] = i;
    found2.into[e] = into;
    found2.out[e] = out;
  }
  #sortEvents() {
    const { when, at, into, out, count } = this.#found;
    const start = this.#eventStart.fill(0);
    const n = this.#order.length;
    for (let e = 0; e < count; e++) start[when[e]]++;
    for (let j = 0, sum2 = 0; j <= n + 1; j++) {
      const here = start[j];
      start[j] = sum2;
      sum2 += here;
    }
    for (let e = 0; e < count; e++) {
      const slot = start[when[e]]++;
      this.#eventAt[slot] = at[e];
      this.#eventIn[slot] = into[e];
      this.#eventOut[slot] = out[e];
    }
    for (let j = n + 1; j > 0; j--) start[j] = start[j - 1];
    start[0] = 0;
  }
  /** Tries to keep every device's load to the limit; `deviceOf` then gives the placement. */
  attempt(limit) {
    if (this.#anyOrder) return this.#attemptAnyOrder(limit, this.#anyOrder);
    return this.#flat.classes.length === 1 && !this.#flat.overlap ? this.#attemptEqual(limit) : this.#attemptAny(limit);
  }
  /** Of the last attempt, if it reached all parts: device of each part. */
  deviceOf() {
    const deviceOf = new Int32Array(this.#order.length);
    if (this.#anyOrder) this.#traceAnyOrder(deviceOf, this.#anyOrder);
    else {
      for (let j = this.#order.length; j > 0; j = this.#from[j]) deviceOf.fill(this.#first[j] - 1, this.#from[j], j);
    }
    const byPart = new Int32Array(deviceOf.length);
    this.#order.forEach((p, i) => {
      byPart[p] = deviceOf[i];
    });
    return byPart;
  }
  #advance(j) {
    const end = this.#eventStart[j + 1];
    for (let e = this.#eventStart[j]; e < end; e++) {
      const i = this.#eventAt[e];
      this.#deltaIn[i] += this.#eventIn[e];
      this.#deltaOut[i] += this.#eventOut[e];
    }
  }
  /**
   * Least number of leading devices whose rates let them do the work in front of j, from `least` on; beyond the devices
   * if no limit below `this.#wake` leaves the others enough for the rest.
   */
  #leastDevices(j, limit, least) {
    const done = this.#unitsBefore[j] * (1 - slack);
    const rest = (this.#unitsBefore[this.#order.length] - this.#unitsBefore[j]) * (1 - slack);
    const { devices } = this.#flat;
    const rate = this.#rateBefore;
    let s = least;
    while (s < devices && rate[s] * limit < done) s++;
    const behind = rate[devices] - rate[s];
    const enough = rate[s] * limit >= done;
    if (enough && behind * limit >= rest) return s;
    const fewer = s > 0 && rate[s - 1] > 0 ? done / rate[s - 1] : Number.POSITIVE_INFINITY;
    const wake = enough ? Math.min(fewer, behind > 0 ? rest / behind : fewer) : done / rate[s];
    this.#wake = Math.min(this.#wake, Math.max(wake, limit * (1 + 2 ** -50)));
    return devices + 1;
  }
  /** Equal devices whose computing and transfers add. */
  #attemptEqual(limit) {
    const { parts: n, devices, classes } = this.#flat;
    const { capacity, transfer } = classes[0];
    const bounded = capacity < Number.POSITIVE_INFINITY;
    const time = this.#time[0];
    const bytes = this.#bytes[0];
    const delta = this.#deltaIn.fill(0);
    const first = this.#first;
    first[0] = 0;
    let nextLimit = Number.POSITIVE_INFINITY;
    let reached = 0;
    let least = 0;
    this.#wake = Number.POSITIVE_INFINITY;
    for (let j = 1; j <= n; j++) {
      const end = this.#eventStart[j + 1];
      for (let e = this.#eventStart[j]; e < end; e++)
        delta[this.#eventAt[e]] += (this.#eventIn[e] + this.#eventOut[e]) * transfer;
      let best = devices + 1;
      let from = -1;
      const fewest = this.#leastDevices(j, limit, least);
      if (fewest > devices) {
        first[j] = best;
        continue;
      }
      least = fewest;
      let computing = 0;
      let load = 0;
      let held = 0;
      for (let i = j - 1; i >= 0; i--) {
        computing += time[i];
        load += time[i] + delta[i];
        if (computing > limit) {
          if (computing < nextLimit) nextLimit = computing;
          break;
        }
        if (bounded && (held += bytes[i]) > capacity) break;
        if (first[i] + 1 >= best) continue;
        if (load <= limit) {
          best = first[i] + 1;
          from = i;
        } else if (load < nextLimit) nextLimit = load;
      }
      first[j] = best;
      this.#from[j] = from;
      if (best <= devices) reached = j;
    }
    return { reached, nextLimit: Math.min(nextLimit, this.#wake) };
  }
  #attemptAny(limit) {
    const { parts: n, devices, classes, overlap } = this.#flat;
    const count = classes.length;
    this.#deltaIn.fill(0);
    this.#deltaOut.fill(0);
    const first = this.#first;
    first[0] = 0;
    const computing = new Float64Array(count);
    const held = new Float64Array(count);
    let nextLimit = Number.POSITIVE_INFINITY;
    let reached = 0;
    let least = 0;
    this.#wake = Number.POSITIVE_INFINITY;
    for (let j = 1; j <= n; j++) {
      this.#advance(j);
      let best = devices + 1;
      let from = -1;
      const fewest = this.#leastDevices(j, limit, least);
      if (fewest > devices) {
        first[j] = best;
        continue;
      }
      least = fewest;
      let into = 0;
      let out = 0;
      computing.fill(0);
      held.fill(0);
      for (let i = j - 1; i >= 0; i--) {
        into += this.#deltaIn[i];
        out += this.#deltaOut[i];
        let open = false;
        for (let c = 0; c < count; c++) {
          const { capacity, transfer } = classes[c];
          computing[c] += this.#time[c][i];
          held[c] += this.#bytes[c][i];
          if (held[c] > capacity) continue;
          if (computing[c] > limit) {
            if (computing[c] < nextLimit) nextLimit = computing[c];
            continue;
          }
          open = true;
          const device = this.#next[c][Math.min(first[i], devices)];
          if (device + 1 >= best) continue;
          const load = overlap ? Math.max(computing[c], into * transfer, out * transfer) : computing[c] + (into + out) * transfer;
          if (load <= limit) {
            best = device + 1;
            from = i;
          } else if (load < nextLimit) nextLimit = load;
        }
        if (!open) break;
      }
      first[j] = best;
      this.#from[j] = from;
      if (best <= devices) reached = j;
    }
    return { reached, nextLimit: Math.min(nextLimit, this.#wake) };
  }
  /**
   * Devices in any order: what counts is how many of each class a prefix has taken. The state is the numbers of all
   * classes but the largest, of which the least possible number is kept.
   */
  #attemptAnyOrder(limit, { main, states, radix, used, from, via }) {
    const { parts: n, classes, overlap } = this.#flat;
    const count = classes.length;
    const most = classes[main].devices.length;
    this.#deltaIn.fill(0);
    this.#deltaOut.fill(0);
    used.fill(most + 1);
    used[0] = 0;
    const computing = new Float64Array(count);
    const held = new Float64Array(count);
    let nextLimit = Number.POSITIVE_INFINITY;
    let reached = 0;
    for (let j = 1; j <= n; j++) {
      this.#advance(j);
      let into = 0;
      let out = 0;
      computing.fill(0);
      held.fill(0);
      for (let i = j - 1; i >= 0; i--) {
        into += this.#deltaIn[i];
        out += this.#deltaOut[i];
        let open = false;
        for (let c = 0; c < count; c++) {
          const { capacity, transfer, devices } = classes[c];
          computing[c] += this.#time[c][i];
          held[c] += this.#bytes[c][i];
          if (held[c] > capacity) continue;
          if (computing[c] > limit) {
            if (computing[c] < nextLimit) nextLimit = computing[c];
            continue;
          }
          open = true;
          const load = overlap ? Math.max(computing[c], into * transfer, out * transfer) : computing[c] + (into + out) * transfer;
          if (load > limit) {
            if (load < nextLimit) nextLimit = load;
            continue;
          }
          for (let s = 0; s < states; s++) {
            const before = used[i * states + s];
            if (before > most) continue;
            if (c !== main && Math.floor(s / radix[c]) % (devices.length + 1) === devices.length) continue;
            const to = j * states + (c === main ? s : s + radix[c]);
            const after = c === main ? before + 1 : before;
            if (after >= used[to]) continue;
            used[to] = after;
            from[to] = i;
            via[to] = c;
          }
        }
        if (!open) break;
      }
      for (let s = 0; s < states; s++) if (used[j * states + s] <= most) reached = j;
    }
    return { reached, nextLimit };
  }
  #traceAnyOrder(deviceOf, { main, states, radix, used, from, via }) {
    const { classes } = this.#flat;
    let j = deviceOf.length;
    let s = 0;
    while (used[j * states + s] > classes[main].devices.length) s++;
    const taken = new Int32Array(classes.length);
    while (j > 0) {
      const at = j * states + s;
      const c = via[at];
      deviceOf.fill(classes[c].devices[taken[c]++], from[at], j);
      if (c !== main) s -= radix[c];
      j = from[at];
    }
  }
};
var slack = 1e-12;
var mostStates = 256;
function anyOrderTables({ parts, classes }) {
  const main = classes.reduce((m, { devices }, c) => devices.length > classes[m].devices.length ? c : m, 0);
  const radix = new Int32Array(classes.length);
  let states = 1;
  for (let c = 0; c < classes.length; c++) {
    if (c === main) continue;
    radix[c] = states;
    states *= classes[c].devices.length + 1;
    if (states > mostStates) return void 0;
  }
  const cells = (parts + 1) * states;
  return {
    main,
    states,
    radix,
    used: new Int32Array(cells),
    from: new Int32Array(cells),
    via: new Int32Array(cells)
  };
}

// src/partition/key-heap.ts
var KeyHeap = class {
  #items;
  #place;
  #key;
  #size = 0;
  constructor(parts) {
    this.#items = new Int32Array(parts);
    this.#place = new Int32Array(parts).fill(-1);
    this.#key = new Float64Array(parts);
  }
  has(part) {
    return this.#place[part] >= 0;
  }
  put(part, key) {
    this.#key[part] = key;
    if (this.#place[part] < 0) {
      this.#place[part] = this.#size;
      this.#items[this.#size++] = part;
    }
    this.#up(this.#place[part]);
    this.#down(this.#place[part]);
  }
  pop() {
    const top = this.#items[0];
    const last = this.#items[--this.#size];
    this.#place[top] = -1;
    if (this.#size > 0) {
      this.#items[0] = last;
      this.#place[last] = 0;
      this.#down(0);
    }
    return top;
  }
  #less(a, b) {
    const [x, y] = [this.#key[a], this.#key[b]];
    return x < y || x === y && a < b;
  }
  #up(from) {
    let at = from;
    const part = this.#items[at];
    while (at > 0) {
      const parent = at - 1 >> 1;
      const other = this.#items[parent];
      if (!this.#less(part, other)) break;
      this.#items[at] = other;
      this.#place[other] = at;
      at = parent;
    }
    this.#items[at] = part;
    this.#place[part] = at;
  }
  #down(from) {
    let at = from;
    const part = this.#items[at];
    for (; ; ) {
      let child = 2 * at + 1;
      if (child >= this.#size) break;
      if (child + 1 < this.#size && this.#less(this.#items[child + 1], this.#items[child])) child++;
      const other = this.#items[child];
      if (!this.#less(other, part)) break;
      this.#items[at] = other;
      this.#place[other] = at;
      at = child;
    }
    this.#items[at] = part;
    this.#place[part] = at;
  }
};

// src/partition/order-window.ts
var OrderWindow = class {
  #flat;
  #random;
  #missing;
  #inside;
  #heap;
  #key;
  constructor(flat, random) {
    this.#flat = flat;
    this.#random = random;
    this.#missing = new Int32Array(flat.parts);
    this.#inside = new Uint8Array(flat.parts);
    this.#heap = new KeyHeap(flat.parts);
    this.#key = new Float64Array(flat.parts);
  }
  rearrange(order, from, to) {
    const random = this.#random;
    const next = order.slice();
    const draw = random();
    const length = to - from;
    if (draw < 0.4) {
      const early = random() < 0.5;
      const pivot = from + Math.floor(random() * length);
      this.#pull(next, from, to, pivot, early);
    } else {
      const noise = length * random() * random();
      const backwards = random() < 0.5;
      for (let i = from; i < to; i++) this.#key[order[i]] = (backwards ? -i : i) + noise * random();
      if (draw > 0.9) for (let i = from; i < to; i++) this.#key[order[i]] = random();
      this.#sort(next, from, to, backwards);
    }
    return next;
  }
  #pull(order, from, to, pivot, early) {
    const links = early ? this.#flat.predecessors : this.#flat.successors;
    this.#inside[order[pivot]] = 1;
    const moved = [];
    const kept = [];
    const step = early ? -1 : 1;
    for (let i = pivot; early ? i >= from : i < to; i += step) {
      const p = order[i];
      if (this.#inside[p] === 0) {
        kept.push(p);
        continue;
      }
      moved.push(p);
      for (let e = links.start[p]; e < links.start[p + 1]; e++) this.#inside[links.items[e]] = 1;
    }
    for (const p of moved) {
      this.#inside[p] = 0;
      for (let e = links.start[p]; e < links.start[p + 1]; e++) this.#inside[links.items[e]] = 0;
    }
    let at = pivot;
    for (const p of kept) {
      order[at] = p;
      at += step;
    }
    for (const p of moved) {
      order[at] = p;
      at += step;
    }
  }
  #sort(order, from, to, backwards) {
    const { predecessors, successors } = this.#flat;
    const [before, after] = backwards ? [successors, predecessors] : [predecessors, successors];
    for (let i = from; i < to; i++) this.#inside[order[i]] = 1;
    for (let i = from; i < to; i++) {
      const p = order[i];
      let missing = 0;
      for (let e = before.start[p]; e < before.start[p + 1]; e++) missing += this.#inside[before.items[e]];
      this.#missing[p] = missing;
      if (missing === 0) this.#heap.put(p, this.#key[p]);
    }
    for (let i = from; i < to; i++) this.#inside[order[i]] = 0;
    for (let t = 0; t < to - from; t++) {
      const p = this.#heap.pop();
      order[backwards ? to - 1 - t : from + t] = p;
      for (let e = after.start[p]; e < after.start[p + 1]; e++) {
        const next = after.items[e];
        if (this.#missing[next] > 0 && --this.#missing[next] === 0) this.#heap.put(next, this.#key[next]);
      }
    }
  }
};

// src/partition/pause.ts
function pauses() {
  let last = performance.now();
  return () => {
    if (performance.now() - last < 50) return void 0;
    return new Promise((resolve) => {
      setTimeout(() => {
        last = performance.now();
        resolve();
      }, 0);
    });
  };
}

// src/partition/topological-orders.ts
function topologicalOrder(flat, key, taking) {
  const { parts, successors, predecessors } = flat;
  const missing = Int32Array.from({ length: parts }, (_, p) => predecessors.start[p + 1] - predecessors.start[p]);
  const heap = new KeyHeap(parts);
  for (let p = 0; p < parts; p++) if (missing[p] === 0) heap.put(p, key(p));
  const order = new Int32Array(parts);
  const touch = (p) => {
    if (heap.has(p)) heap.put(p, key(p));
  };
  for (let at = 0; at < parts; at++) {
    const p = heap.pop();
    order[at] = p;
    taking?.(p, touch);
    for (let e = successors.start[p]; e < successors.start[p + 1]; e++) {
      const next = successors.items[e];
      if (--missing[next] === 0) heap.put(next, key(next));
    }
  }
  return order;
}
var turned = (flat) => ({
  ...flat,
  successors: flat.predecessors,
  predecessors: flat.successors
});
var LiveValues = class {
  #flat;
  #remaining;
  #begun;
  constructor(flat) {
    this.#flat = flat;
    this.#remaining = Int32Array.from(flat.cost, (_, v) => flat.ends.start[v + 1] - flat.ends.start[v]);
    this.#begun = new Uint8Array(flat.cost.length);
  }
  change(part) {
    const { touching, cost } = this.#flat;
    let change = 0;
    for (let t = touching.start[part]; t < touching.start[part + 1]; t++) {
      const v = touching.items[t];
      if (this.#begun[v] === 0) change += cost[v];
      else if (this.#remaining[v] === 1) change -= cost[v];
    }
    return change;
  }
  /** Takes a part; `touch` hears of the parts whose change is another now. */
  take(part, touch) {
    const { touching, ends } = this.#flat;
    for (let t = touching.start[part]; t < touching.start[part + 1]; t++) {
      const v = touching.items[t];
      const was = this.#begun[v];
      this.#begun[v] = 1;
      if (--this.#remaining[v] > 1 && was === 1) continue;
      for (let e = ends.start[v]; e < ends.start[v + 1]; e++) touch(ends.items[e]);
    }
  }
};
function firstOrders(flat) {
  const deepFirst = (of) => {
    let clock = 0;
    return topologicalOrder(of, () => --clock);
  };
  const broadFirst = (of) => {
    let clock = 0;
    return topologicalOrder(of, () => ++clock);
  };
  const narrow = (of) => {
    const live = new LiveValues(of);
    return topologicalOrder(
      of,
      (p) => live.change(p),
      (p, touch) => live.take(p, touch)
    );
  };
  const inverse = (make) => () => make(turned(flat)).reverse();
  return [
    () => topologicalOrder(flat, (p) => p),
    () => narrow(flat),
    () => deepFirst(flat),
    inverse(narrow),
    inverse(deepFirst),
    () => broadFirst(flat),
    inverse(broadFirst)
  ];
}

// src/partition/orders.ts
function bestCut(flat, cut, bound, below, deadline, measure) {
  let best;
  let good = below;
  const fits = (limit) => {
    const { reached, nextLimit } = cut.attempt(limit);
    if (reached < flat.parts) {
      low = Math.max(low, nextLimit);
      return false;
    }
    const deviceOf = cut.deviceOf();
    const objective = measure(deviceOf);
    good = Math.min(limit, objective);
    best = { objective, deviceOf };
    return true;
  };
  let low = bound;
  if (below < Number.POSITIVE_INFINITY && !fits(below * (1 - 1e-9))) return void 0;
  if (!best)
    for (let excess2 = Math.max(bound, Number.MIN_VALUE) / 64; low + excess2 < good; excess2 *= 2) {
      if (fits(low + excess2) || performance.now() > deadline) break;
    }
  if (!best && !(low < good)) return void 0;
  if (!best && good === Number.POSITIVE_INFINITY && !fits(good)) return void 0;
  for (let round = 0; low < good && performance.now() < deadline; round++) {
    const middle = low + (good - low) / 2;
    const limit = round > 30 || !(middle > low && middle < good) ? low : middle;
    if (limit === low && fits(limit)) break;
    if (limit !== low) fits(limit);
  }
  return best;
}
var patienceFor = (parts) => Math.max(300, Math.min(2e3, Math.ceil(2e6 / parts)));
async function searchOrders(search) {
  const { problem, flat, seed, deadline, bound, start, refine = true } = search;
  const { parts, devices } = flat;
  const table = new OrderCut(flat);
  const measure = loadMeter(flat);
  const pause = pauses();
  let best;
  const consider = (order) => {
    const cut = bestCut(flat, table.use(order), bound, best?.objective ?? Infinity, deadline, measure);
    if (cut) best = { ...cut, order };
    return cut !== void 0;
  };
  const done = () => best !== void 0 && best.objective <= bound * (1 + 1e-9);
  if (start) consider(orderOfStages(flat, start, deviceRanks(problem, start)));
  for (const make of firstOrders(flat)) {
    consider(make());
    await pause();
    if (done() || performance.now() > deadline) return best;
  }
  if (!best || !refine || devices < 2 || parts < 3) return best;
  const random = fastRandom(seed);
  let step = 0.01;
  for (let hot = 0.3; step > 1e-7 && performance.now() < deadline; ) {
    const before = best.objective;
    for (let better = true; better && performance.now() < deadline; ) {
      const rank = stageRanks(flat, best);
      const options = { random, rank, hot, reference: best.objective, deadline };
      better = consider(orderOfStages(flat, await annealStages(flat, best.deviceOf, options), rank));
      if (done()) return best;
    }
    const target = Math.max(bound, best.objective * (1 - step));
    const met = await searchTarget(flat, table, best.order, { random, target, deadline });
    if (met) consider(met);
    if (done()) return best;
    const gained = 1 - best.objective / before;
    if (gained > 0) step = Math.max(step, Math.min(0.02, 2 * gained));
    else step /= 8;
    hot = hot === 0.3 ? 0.05 : 0.3;
  }
  return best;
}
async function annealStages(flat, start, options) {
  const { hot, deadline } = options;
  const state = new Annealing(flat, start, options);
  const pause = pauses();
  const rounds = 30;
  const moves = Math.ceil(400 * flat.parts / rounds);
  for (let round = 0; round < rounds && performance.now() < deadline; round++) {
    for (let left = moves; left > 0 && performance.now() < deadline; left -= 2e4) {
      state.run(Math.min(left, 2e4), hot * (1e-3 / hot) ** (round / (rounds - 1)));
      await pause();
    }
  }
  return state.best.objective < Number.POSITIVE_INFINITY ? state.best.deviceOf : start;
}
async function searchTarget(flat, table, start, options) {
  const { random, target, deadline } = options;
  const { parts, devices } = flat;
  const pause = pauses();
  const window = new OrderWindow(flat, random);
  const segment = parts / Math.min(devices, parts);
  const patience = patienceFor(parts);
  let order = start;
  let { reached } = table.use(order).attempt(target);
  for (let idle = 0; idle < patience && performance.now() < deadline; idle++) {
    if (reached === parts) return order;
    await pause();
    const length = Math.ceil(Math.exp(Math.log(3) + random() * Math.log(Math.max(1, segment))));
    const centre = random() < 0.5 ? reached + (random() - 0.5) * segment : random() * parts;
    const from = Math.max(0, Math.min(parts - 2, Math.round(centre - length / 2)));
    const to = Math.min(parts, from + Math.max(2, length));
    const next = window.rearrange(order, from, to);
    const tried = table.use(next).attempt(target);
    if (tried.reached < reached) continue;
    if (tried.reached > reached) idle = 0;
    order = next;
    reached = tried.reached;
  }
  return reached === parts ? order : void 0;
}
function stageRanks(flat, { order, deviceOf }) {
  const devices = Array.from({ length: flat.devices }, (_, d) => d);
  if (!flat.anyOrder) return devices;
  const met = /* @__PURE__ */ new Set([...Array.from(order, (p) => deviceOf[p]), ...devices]);
  const rank = new Array(flat.devices);
  Array.from(met).forEach((d, place) => {
    rank[d] = place;
  });
  return rank;
}
var orderOfStages = (flat, deviceOf, rank) => topologicalOrder(flat, (p) => rank[deviceOf[p]] * flat.parts + p);
function contiguousBound(problem, flat, reached, deadline) {
  const least = Math.max(workBound(problem), partBound(flat, deadline));
  return least >= reached ? reached : Math.min(reached, boundaryBound(flat, least, reached, deadline));
}
var ordersMethod = {
  name: "orders",
  doc: "exact cuts of many searched topological orders; for graphs of any size",
  finds: "contiguous",
  solve: solveByOrders
};
async function solveByOrders(problem, { contiguous, seed, deadline, start }) {
  const flat = flatten(problem);
  const begun = performance.now();
  const bound = Math.max(workBound(problem), partBound(flat, begun + (deadline - begun) / 8));
  const legal2 = start && evaluatePlacement(problem, start, { contiguous: true }).violations.length === 0;
  const found2 = await searchOrders({
    problem,
    flat,
    seed,
    deadline: deadline - (deadline - begun) / 8,
    bound,
    ...legal2 ? { start } : {}
  });
  if (!found2) return void 0;
  const lowerBound = contiguous ? Math.max(bound, Math.min(found2.objective, boundaryBound(flat, bound, found2.objective, deadline))) : bound;
  return { deviceOf: Array.from(found2.deviceOf), lowerBound };
}

// src/partition/moves.ts
async function searchMoves(search) {
  const { problem, contiguous, bound, deadline, patience } = search;
  const flat = flatten(problem);
  const { parts, devices } = flat;
  const random = fastRandom(search.seed);
  const pause = pauses();
  const start = Int32Array.from(search.start);
  const rank = contiguous ? deviceRanks(problem, Array.from(start)) : void 0;
  const load = loadMeter(flat)(start);
  const reference = load < Number.POSITIVE_INFINITY ? Math.max(load, bound, Number.MIN_VALUE) : bound;
  let best;
  const anneal = async (of, from, hot, effort) => {
    const state = new Annealing(of, from, { random, rank, reference: best?.objective ?? reference });
    const rounds = 30;
    const moves = Math.ceil(effort * of.parts / rounds);
    for (let round = 0; round < rounds && performance.now() < deadline; round++) {
      for (let left = moves; left > 0 && performance.now() < deadline; left -= 2e4) {
        state.run(Math.min(left, 2e4), hot * (cold / hot) ** (round / (rounds - 1)));
        await pause();
      }
    }
    return state.best;
  };
  const keep = ({ deviceOf, objective }) => {
    if (!(objective < (best?.objective ?? Infinity) * (1 - 1e-9))) return false;
    best = { deviceOf: Array.from(deviceOf), objective };
    return true;
  };
  const done = () => best !== void 0 && best.objective <= bound * (1 + 1e-9) || performance.now() > deadline;
  keep(await anneal(flat, start, cool, 100));
  for (let idle = 0; idle < patience && !done(); idle++) {
    if (contiguous) {
      if (keep(await anneal(flat, best?.deviceOf ?? start, random() < 0.5 ? warm : cool, 600))) idle = -1;
      continue;
    }
    const anew = random() < 0.5 || !best;
    const fewest = Math.min(parts, 2 * devices);
    const count = Math.round(fewest * (parts / fewest) ** (0.8 * random()));
    const groups = coarsen(problem, flat, {
      count,
      random,
      heaviest: (best?.objective ?? reference) * (0.3 + 0.7 * random()),
      noise: 3 * random(),
      ...anew ? {} : { within: best.deviceOf }
    });
    const coarse = flatten(groups.problem);
    const from = new Int32Array(coarse.parts);
    if (anew) for (let g = 0; g < from.length; g++) from[g] = Math.floor(random() * devices);
    else for (let p = 0; p < parts; p++) from[groups.partOf[p]] = best.deviceOf[p];
    const rough = await anneal(coarse, from, anew ? hottest : warm, 600);
    const placed = rough.objective < Infinity ? rough.deviceOf : from;
    if (keep(
      await anneal(
        flat,
        groups.partOf.map((g) => placed[g]),
        anew ? warm : cool,
        600
      )
    ))
      idle = -1;
  }
  return best;
}
var hottest = 1;
var warm = 0.3;
var cool = 0.03;
var cold = 1e-3;
function coarsen(problem, flat, options) {
  const { count, random, heaviest, noise, within } = options;
  const { parts, ends, cost, units } = flat;
  const groups = new Groups(parts);
  const work = units.slice();
  const key = Float64Array.from(cost, (c) => c * Math.exp(noise * (random() - 0.5)));
  const costly = Array.from(cost, (_, v) => v).sort((a, b) => key[b] - key[a]);
  let left = parts;
  for (const v of costly) {
    const producer = ends.items[ends.start[v]];
    for (let e = ends.start[v] + 1; e < ends.start[v + 1] && left > count; e++) {
      const consumer = ends.items[e];
      const [a, b] = [groups.find(producer), groups.find(consumer)];
      if (a === b || work[a] + work[b] > heaviest) continue;
      if (within && within[producer] !== within[consumer]) continue;
      groups.join(a, b);
      work[a] += work[b];
      left--;
    }
  }
  return fuse(problem, groups, false);
}
var movesMethod = {
  name: "moves",
  doc: "simulated annealing by moves and swaps of parts; contiguous or not",
  finds: "any",
  solve: searchMovesFrom
};
async function searchMovesFrom(problem, options) {
  const { contiguous, seed, deadline } = options;
  const flat = flatten(problem);
  const begun = performance.now();
  const least = Math.max(workBound(problem), partBound(flat, begun + (deadline - begun) / 8));
  const start = await startOfMoves(problem, flat, least, options);
  const found2 = await searchMoves({ problem, contiguous, seed, deadline, bound: least, start, patience: 60 });
  if (!found2) return void 0;
  const lowerBound = contiguous ? contiguousBound(problem, flat, found2.objective, deadline) : least;
  return { deviceOf: found2.deviceOf, lowerBound };
}
async function startOfMoves(problem, flat, bound, { contiguous, seed, deadline, start }) {
  if (start && evaluatePlacement(problem, start, { contiguous }).violations.length === 0) return start;
  const cut = await searchOrders({ problem, flat, seed, deadline, bound, refine: false });
  return cut ? cut.deviceOf : slices(flat);
}
function slices(flat) {
  const { parts, devices, units, rates } = flat;
  const total = units.reduce((a, b) => a + b, 0);
  const rate = rates.reduce((a, b) => a + b, 0);
  const deviceOf = new Int32Array(parts);
  let [done, allowed, d] = [0, total * rates[0] / rate, 0];
  for (const p of topologicalOrder(flat, (q) => q)) {
    while (d < devices - 1 && done + units[p] / 2 > allowed) allowed += total * rates[++d] / rate;
    deviceOf[p] = d;
    done += units[p];
  }
  return deviceOf;
}

// src/partition/milp.ts
var mostPlaces = 2e4;
var mostBlockParts = 5e3;
var milpMethod = {
  name: "milp",
  doc: "mixed-integer programming with HiGHS (the optional package highs), from what moves find; proves",
  finds: "any",
  solve: async (problem, options) => {
    const places = problem.parts.length * problem.devices.length;
    if (places > mostPlaces) {
      throw new PlanError("milp-too-large", `${places} choices of a device for a part are too many for the solver`, {
        fields: { parts: problem.parts.length, devices: problem.devices.length, most: mostPlaces },
        remedy: "--method auto"
      });
    }
    const now = performance.now();
    const begin = await movesMethod.solve(problem, { ...options, deadline: now + (options.deadline - now) / 4 });
    const answer = await proveByMilp(problem, options, begin);
    if (answer !== "missing") return answer && { ...answer, method: "milp" };
    throw new PlanError("highs-missing", "method milp needs the optional package highs, which is not installed", {
      fields: { package: "highs" },
      remedy: "npm install highs"
    });
  }
};
async function proveByMilp(problem, options, begin) {
  const { contiguous, deadline } = options;
  const flat = flatten(problem);
  let best = begin?.deviceOf;
  let objective = best ? evaluatePlacement(problem, best).objective : allOnOne(flat);
  let lowerBound = begin?.lowerBound ?? 0;
  const answer = () => best && { deviceOf: best, lowerBound };
  const proved = () => best !== void 0 && objective - lowerBound <= milpTolerance * objective;
  const raise = (bound) => {
    const sure = bound >= objective * (1 - 2 * milpTolerance) ? objective : bound * (1 - milpTolerance);
    lowerBound = Math.min(objective, Math.max(lowerBound, sure));
  };
  if (!(objective < Number.POSITIVE_INFINITY)) return answer();
  const now = performance.now();
  const blocksUntil = now + (deadline - now) * 0.4;
  if (best && !proved()) {
    const found2 = await boundByBlocks(flat, { ...options, deadline: blocksUntil }, lowerBound, objective);
    if (found2 === "missing") return "missing";
    raise(found2);
  }
  if (proved() || performance.now() > deadline) return answer();
  const joiningUntil = performance.now() + (deadline - performance.now()) * 0.2;
  const fused = best ? fuseInseparable(problem, { below: objective, contiguous, deadline: joiningUntil }) : { problem, partOf: problem.parts.map((_, p) => p) };
  const small = flatten(fused.problem);
  if (small.parts * small.devices > mostPlaces) return answer();
  const whole = placementMilp(small, { contiguous, lower: lowerBound, upper: objective });
  const given = best && fusePlacement(fused, best);
  const solved = await solveMilp(whole.model, {
    deadline,
    seed: options.seed,
    ...given ? { start: whole.encode(given) } : {}
  });
  if (solved === "missing") return "missing";
  const reached = objective;
  if (solved.values) {
    const deviceOf = unfuse(fused, whole.decode(solved.values));
    const evaluated = evaluatePlacement(problem, deviceOf, { contiguous });
    if (evaluated.violations.length === 0 && (!best || evaluated.objective < objective)) {
      best = deviceOf;
      objective = evaluated.objective;
    }
  }
  if (best) raise(Math.min(reached, solved.bound * reached));
  return answer();
}
function allOnOne({ parts, classes, cost, overlap }) {
  let computing = 0;
  for (let p = 0; p < parts; p++) {
    computing += Math.max(0, ...classes.map(({ time }) => time[p]).filter((t) => t < Number.POSITIVE_INFINITY));
  }
  const moved = cost.reduce((a, b) => a + b, 0) * Math.max(0, ...classes.map(({ transfer }) => transfer));
  return overlap ? Math.max(computing, moved) : computing + 2 * moved;
}
async function boundByBlocks(flat, { contiguous, seed, deadline }, lower, upper) {
  const { parts, classes, units, rates } = flat;
  if (parts > mostBlockParts) return lower;
  const total = units.reduce((a, b) => a + b, 0);
  const rate = rates.reduce((a, b) => a + b, 0);
  const demands = [];
  for (const { of, least } of crowds(flat)) demands.push([{ kind: "crowd", of, least }]);
  if (total > 0 && rate > 0) {
    demands.push(classes.map(({ devices }) => ({ kind: "units", least: total * rates[devices[0]] / rate })));
  }
  let bound = lower;
  for (const [i, byClass] of demands.entries()) {
    const until = performance.now() + (deadline - performance.now()) / (demands.length - i);
    let lightest = upper;
    for (let c = 0; c < classes.length && bound < upper * (1 - milpTolerance); c++) {
      const now = performance.now();
      const solved = await solveMilp(
        // Nothing below the bound, whatever the demand: the answer is wanted as the lesser of the two.
        blockMilp(flat, c, byClass[c], { contiguous, lower: 0, upper }),
        { deadline: now + (until - now) / (classes.length - c), seed }
      );
      if (solved === "missing") return "missing";
      lightest = Math.min(lightest, solved.bound * upper);
      if (lightest <= bound) break;
    }
    bound = Math.max(bound, Math.min(lightest, upper));
    if (bound >= upper * (1 - milpTolerance)) break;
  }
  return bound;
}

// src/partition/auto.ts
var autoMethod = {
  name: "auto",
  doc: "by the size of the graph: ideals, orders, moves, MILP, until the gap is closed or the time is over (default)",
  finds: "any",
  solve: async (problem, options) => {
    const { contiguous, deadline } = options;
    const begun = performance.now();
    const until = (share) => begun + (deadline - begun) * share;
    const stages = new Stages(problem, contiguous);
    await contiguousStages(problem, stages, options, contiguous ? until(0.75) : until(0.25));
    if (!contiguous && !stages.proved) {
      const start = stages.best ?? options.start;
      const moved = await searchMovesFrom(problem, {
        ...options,
        deadline: until(0.6),
        ...start ? { start } : {}
      });
      stages.take("moves", moved);
    }
    if (stages.proved || performance.now() > deadline) return stages.answer;
    const solved = await proveByMilp(problem, options, stages.answer);
    if (solved !== "missing") stages.take("milp", solved);
    return stages.answer;
  }
};
async function contiguousStages(problem, stages, options, deadline) {
  const begun = performance.now();
  const asked = { ...options, contiguous: true, deadline };
  const exact = solveByIdeals(problem, { ...asked, deadline: begun + (deadline - begun) / 2 });
  if (exact !== "too many") stages.take("ideals", exact);
  if (stages.provedContiguous || performance.now() > deadline) return;
  const start = stages.best;
  stages.take("orders", await solveByOrders(problem, { ...asked, ...start ? { start } : {} }));
  if (stages.provedContiguous || !stages.best || problem.parts.length > mostToJoin) return;
  const { objective } = evaluatePlacement(problem, stages.best);
  const now = performance.now();
  const fused = fuseInseparable(problem, { below: objective, contiguous: true, deadline: now + (deadline - now) / 2 });
  if (fused.problem.parts.length === problem.parts.length) return;
  const smaller = solveByIdeals(fused.problem, { contiguous: true, seed: options.seed, deadline });
  if (smaller === "too many") return;
  const { deviceOf, lowerBound } = smaller ?? { deviceOf: void 0, lowerBound: 0 };
  stages.take("ideals", {
    deviceOf: deviceOf ? unfuse(fused, deviceOf) : stages.best,
    lowerBound: Math.min(objective, lowerBound)
  });
}
var mostToJoin = 2e3;
var Stages = class {
  #problem;
  #contiguous;
  #methods = [];
  #best;
  #objective = Number.POSITIVE_INFINITY;
  /** Of the placements asked for, and of contiguous ones. */
  #bound = 0;
  #boundContiguous = 0;
  constructor(problem, contiguous) {
    this.#problem = problem;
    this.#contiguous = contiguous;
  }
  get best() {
    return this.#best;
  }
  get proved() {
    return this.#objective <= this.#bound * (1 + 1e-9);
  }
  get provedContiguous() {
    return this.proved || this.#objective <= this.#boundContiguous * (1 + 1e-9);
  }
  get answer() {
    if (!this.#best) return void 0;
    return { deviceOf: this.#best, lowerBound: this.#bound, method: this.#methods.join("+") };
  }
  /** A contiguous search bounds contiguous placements only; `moves` and `milp` were asked for the kind wanted. */
  take(method2, answer) {
    if (!answer) return;
    const { objective } = evaluatePlacement(this.#problem, answer.deviceOf);
    const forAll = this.#contiguous || method2 === "moves" || method2 === "milp";
    const better = objective < this.#objective;
    const raised = answer.lowerBound > (forAll ? this.#bound : this.#boundContiguous);
    if (better) {
      this.#best = answer.deviceOf;
      this.#objective = objective;
    }
    this.#boundContiguous = Math.max(this.#boundContiguous, answer.lowerBound);
    if (forAll) this.#bound = Math.max(this.#bound, answer.lowerBound);
    if ((better || raised) && this.#methods.at(-1) !== method2) this.#methods.push(method2);
  }
};

// src/partition/baselines/along-order.ts
function alongOrder(name, doc, cut) {
  return {
    name,
    doc,
    finds: "contiguous",
    baseline: true,
    solve: async (problem) => {
      const devices = stageDevices(problem);
      const { order } = topological(problem.parts.length, problem.edges);
      const cuts = cut(problem, order, Math.min(devices.length, order.length));
      const deviceOf = new Array(order.length).fill(devices[0]);
      let stage = 0;
      order.forEach((part, i) => {
        while (stage < cuts.length && cuts[stage] <= i) stage++;
        deviceOf[part] = devices[stage];
      });
      return { deviceOf, lowerBound: workBound(problem) };
    }
  };
}
function stageDevices({ devices }) {
  const of = (kind) => devices.flatMap((d, i) => d.kind === kind ? [i] : []);
  return of("accelerator").length > 0 ? of("accelerator") : of("cpu");
}
function orderedWork(problem, order) {
  const cpu = problem.devices[stageDevices(problem)[0]].kind === "cpu";
  return order.map((p) => {
    const { work, cpuWork = work } = problem.parts[p];
    const time = cpu ? cpuWork : work;
    return Number.isFinite(time) ? time : 0;
  });
}

// src/partition/baselines/block-partition.ts
var blockPartition = alongOrder(
  "blocks",
  "blocks of work that differ by one part at most (torchgpipe's balance)",
  (problem, order, stages) => blockCuts(orderedWork(problem, order), stages)
);
function blockCuts(sequence, blocks) {
  const n = sequence.length;
  const least = Math.min(...sequence);
  const range = Math.max(...sequence) - least;
  const scaled = sequence.map((x) => range === 0 ? 0 : (x - least) / range);
  const ends = Array.from({ length: blocks }, (_, b) => b === blocks - 1 ? n : Math.floor(n / blocks) * (b + 1));
  const size = (b) => {
    let sum2 = 0;
    for (let i = b === 0 ? 0 : ends[b - 1]; i < ends[b]; i++) sum2 += scaled[i];
    return sum2;
  };
  for (; ; ) {
    const sizes = ends.map((_, b) => size(b));
    const largest = Math.max(...sizes);
    const p = sizes.lastIndexOf(largest);
    for (; ; ) {
      const now = ends.map((_, b) => size(b));
      const smallest = Math.min(...now);
      if (largest <= smallest + 1) return ends.slice(0, -1);
      const q = now.indexOf(smallest);
      const giver = p < q ? q - 1 : q + 1;
      if (p < q) ends[giver]--;
      else ends[q]++;
      if (giver === p) break;
    }
  }
}

// src/partition/chain.ts
function cutChain(chain, stages) {
  const n = chain.weight.length;
  if (n === 0) return { cuts: [], loads: [], objective: 0 };
  const wanted = Math.max(1, Math.min(n, "most" in stages ? stages.most : stages.exactly));
  const least = "most" in stages ? 1 : wanted;
  let best = { stages: wanted, objective: Number.POSITIVE_INFINITY };
  const consider = (count, objective) => {
    if (objective < best.objective) best = { stages: count, objective };
  };
  if (chain.held && chain.inFlight) {
    for (let count = wanted; count >= least; count--) {
      if (tooLow(chain, count) >= best.objective) continue;
      const limit = Math.min(best.objective, goodLoad(chain, count));
      consider(count, leastLoads(chain, count, limit)[count]);
    }
  } else {
    const loads2 = leastLoads(chain, wanted, goodLoad(chain, wanted));
    for (let count = wanted; count >= least; count--) consider(count, loads2[count]);
  }
  const cuts = cheapestCuts(chain, best.stages, best.objective);
  const factors = stageFactors(chain, best.stages);
  const bounds = [0, ...cuts, n];
  const loads = bounds.slice(1).map((end, s) => {
    const stage = new StageLoad(chain, end, factors);
    for (let i = end - 1; i >= bounds[s]; i--) stage.prepend(i);
    return stage.of(bounds[s], s);
  });
  return { cuts, loads, objective: best.objective };
}
var StageLoad = class {
  #chain;
  #right;
  #end;
  #stages;
  #weight = 0;
  #held = 0;
  constructor(chain, end, stages) {
    this.#chain = chain;
    this.#end = end;
    this.#stages = stages;
    this.#right = end < chain.weight.length ? chain.crossing?.[end] ?? 0 : 0;
  }
  prepend(i) {
    this.#weight += this.#chain.weight[i];
    for (const value of this.#chain.held?.[i] ?? []) if (value.nextReader >= this.#end) this.#held += value.bytes;
  }
  /** Load as stage s, with `start` as its first unit. */
  of(start, s) {
    const left = start > 0 ? this.#chain.crossing?.[start] ?? 0 : 0;
    return this.#weight / this.#stages.speeds[s] + left + this.#right + this.#stages.inFlight[s] * this.#held;
  }
  /** No stage that ends here and starts here or further in front has a smaller load, whichever stage it is. */
  get floor() {
    return this.#weight / this.#stages.fastest + this.#right + this.#stages.fewest * this.#held;
  }
};
function stageFactors(chain, stages) {
  const speeds = Array.from({ length: stages }, (_, s) => chain.speeds?.[s] ?? 1);
  const inFlight = speeds.map((_, s) => chain.inFlight?.(s, stages) ?? 1);
  return { speeds, inFlight, fastest: Math.max(...speeds), fewest: Math.min(...inFlight) };
}
function leastLoads(chain, most, limit) {
  const n = chain.weight.length;
  const factors = stageFactors(chain, most);
  const best = Array.from({ length: most + 1 }, () => new Float64Array(n + 1).fill(Number.POSITIVE_INFINITY));
  best[0][0] = 0;
  for (let j = 1; j <= n; j++) {
    const stage = new StageLoad(chain, j, factors);
    let open = most;
    for (let i = j - 1; i >= 0; i--) {
      stage.prepend(i);
      const { floor } = stage;
      while (open > 0 && floor >= best[open][j]) open--;
      if (open === 0 || floor > limit) break;
      for (let s = 1; s <= open; s++) {
        const before = best[s - 1][i];
        const now = best[s][j];
        if (before >= now) continue;
        const load = stage.of(i, s - 1);
        if (load < now && load <= limit) best[s][j] = Math.max(before, load);
      }
    }
  }
  return Float64Array.from(best, (row) => row[n]);
}
var tooLow = ({ crossing: _, ...chain }, stages) => halve((l) => fill(chain, stages, l, 0)).tooLow;
var goodLoad = (chain, stages) => halve((limit) => fill(chain, stages, limit, 1)).good;
function halve(reach) {
  let good = reach(Number.POSITIVE_INFINITY);
  let tooLow2 = 0;
  for (let round = 0; round < 40 && tooLow2 < good; round++) {
    const middle = (tooLow2 + good) / 2;
    const found2 = reach(middle);
    if (found2 <= middle) good = found2;
    else tooLow2 = middle;
  }
  return { good, tooLow: tooLow2 };
}
function fill(chain, stages, limit, reserve) {
  const factors = stageFactors(chain, stages);
  let end = chain.weight.length;
  let largest = 0;
  for (let s = stages - 1; s >= 0; s--) {
    const stage = new StageLoad(chain, end, factors);
    let taken = { start: end, load: 0 };
    for (let i = end - 1; i >= reserve * s; i--) {
      stage.prepend(i);
      if (stage.floor > limit) break;
      const load = stage.of(i, s);
      if (load <= limit) taken = { start: i, load };
    }
    if (reserve && taken.start === end) return Number.POSITIVE_INFINITY;
    largest = Math.max(largest, taken.load);
    end = taken.start;
  }
  return end === 0 ? largest : Number.POSITIVE_INFINITY;
}
function cheapestCuts(chain, stages, limit) {
  const n = chain.weight.length;
  const factors = stageFactors(chain, stages);
  const cost = Array.from({ length: stages + 1 }, () => new Float64Array(n + 1).fill(Number.POSITIVE_INFINITY));
  const from = Array.from({ length: stages + 1 }, () => new Int32Array(n + 1).fill(-1));
  cost[0][0] = 0;
  for (let j = 1; j <= n; j++) {
    const stage = new StageLoad(chain, j, factors);
    for (let i = j - 1; i >= 0; i--) {
      stage.prepend(i);
      if (stage.floor > limit) break;
      const cut = i > 0 ? chain.cutCost?.[i] ?? 0 : 0;
      for (let s = 1; s <= stages; s++) {
        const total = cost[s - 1][i] + cut;
        if (total >= cost[s][j] || stage.of(i, s - 1) > limit) continue;
        cost[s][j] = total;
        from[s][j] = i;
      }
    }
  }
  const cuts = [];
  for (let s = stages, j = n; s > 1; s--) cuts.unshift(j = from[s][j]);
  return cuts;
}

// src/partition/baselines/by-parameters.ts
var byParameters = alongOrder(
  "parameters",
  "equal bytes of parts, whatever they take in time (DeepSpeed's default)",
  (problem, order, stages) => cutChain({ weight: order.map((p) => problem.parts[p].bytes) }, { exactly: stages }).cuts
);

// src/partition/baselines/equal-parts.ts
var equalParts = alongOrder(
  "equal",
  "as many parts on each device as on any other",
  (_, order, stages) => Array.from({ length: stages - 1 }, (_2, s) => Math.round((s + 1) * order.length / stages))
);

// src/partition/baselines/pipedream.ts
var pipedream = {
  name: "pipedream",
  doc: "PipeDream's optimizer without replication, under its own cost",
  finds: "contiguous",
  baseline: true,
  solve: async (problem, { deadline }) => {
    const stages = stageDevices(problem);
    const { ideals } = searchable(problem);
    const own = {
      ...problem,
      values: [],
      devices: stages.map((d) => ({ ...problem.devices[d], capacity: Number.POSITIVE_INFINITY })),
      deviceOrder: "given"
    };
    const answer = searchIdeals({ problem: own, ideals, cutCost: cutCosts(problem, ideals), deadline });
    if (answer.kind !== "found") return void 0;
    return { deviceOf: answer.deviceOf.map((s) => stages[s]), lowerBound: workBound(problem) };
  }
};
function cutCosts({ parts, values }, ideals) {
  const inside = new Uint8Array(parts.length);
  return Float64Array.from({ length: ideals.count }, (_, ideal) => {
    inside.fill(0);
    for (const part of ideals.members(ideal)) inside[part] = 1;
    let cost = 0;
    for (const value of values) {
      if (value.consumers.some((c) => inside[c] !== inside[value.producer])) cost += value.cost;
    }
    return cost;
  });
}

// src/partition/baselines/single-device.ts
var singleDevice = {
  name: "single",
  doc: "everything on one device",
  finds: "contiguous",
  baseline: true,
  solve: async (problem) => {
    const rank = problem.devices.map((device, d) => {
      const { length } = problem.parts;
      const load = new PlacementState(problem, new Int32Array(length).fill(d)).load(d);
      return { d, cpu: device.kind === "cpu", load };
    });
    rank.sort((a, b) => Number(a.cpu) - Number(b.cpu) || a.load - b.load);
    return { deviceOf: problem.parts.map(() => rank[0].d), lowerBound: workBound(problem) };
  }
};

// src/partition/least-capacity.ts
function leastCapacityFactor(problem, deadline) {
  const answer = searchIdeals({ ...searchable(problem), measure: "fill", deadline });
  if (answer.kind !== "found") return void 0;
  const { bytes } = evaluatePlacement(problem, answer.deviceOf);
  return Math.max(...bytes.map((b, d) => b === 0 ? 0 : b / problem.devices[d].capacity));
}

// src/partition/methods.ts
var placementMethods = [
  autoMethod,
  idealsMethod,
  ordersMethod,
  movesMethod,
  milpMethod,
  pipedream,
  blockPartition,
  byParameters,
  equalParts,
  singleDevice
];
async function solvePlacement(problem, options = {}) {
  const started = performance.now();
  const { contiguous = true, timeLimitSeconds = 60, seed = 0, start } = options;
  const method2 = methodNamed(options.method ?? "auto");
  refuseImpossible(problem);
  const asked = {
    contiguous,
    seed,
    deadline: started + timeLimitSeconds * 1e3,
    ...start ? { start } : {}
  };
  const answer = await method2.solve(problem, asked);
  if (!answer) throw notPlaced(problem, method2);
  const { deviceOf, lowerBound } = answer;
  const { loads, objective, violations } = evaluatePlacement(problem, deviceOf, { contiguous });
  if (violations.length > 0) throw notPlaced(problem, method2);
  return {
    deviceOf,
    loads,
    objective,
    // Bounds keep a distance of 1e-9 for what rounds in them: what lies within is proved.
    lowerBound: lowerBound >= objective * (1 - 2e-9) ? objective : lowerBound,
    method: answer.method ?? method2.name,
    seconds: (performance.now() - started) / 1e3
  };
}
function methodNamed(name) {
  const method2 = placementMethods.find((m) => m.name === name);
  if (method2) return method2;
  const names = placementMethods.map((m) => m.name);
  const near = nearest(name, names);
  throw new UsageError("placement-method", `there is no method ${name}; there are ${names.join(", ")}`, {
    fields: { method: name, known: names, nearest: near ?? null },
    remedy: `method ${near ?? "auto"}`
  });
}
function refuseImpossible(problem) {
  for (const part of problem.parts) {
    if (problem.devices.some((d) => workOn(part, d) < Number.POSITIVE_INFINITY)) continue;
    throw new PlanError("placement-unsupported", `no device can run ${part.name}`, {
      fields: { part: part.name, devices: problem.devices.map((d) => d.kind) },
      remedy: "add a CPU"
    });
  }
}
function notPlaced(problem, { name, finds }) {
  const limits = problem.devices.map((d) => d.capacity);
  const limited = limits.filter(Number.isFinite);
  const fields = { method: name, capacities: limits.map((c) => Number.isFinite(c) ? c : null) };
  const factor = limited.length === 0 ? void 0 : leastCapacityFactor(problem, performance.now() + 2e4);
  if (factor === void 0 || factor <= 1) {
    const how = finds === "contiguous" ? "contiguous placement" : "placement";
    return new PlanError("placement-not-found", `method ${name} finds no ${how} that the devices can run`, {
      fields,
      remedy: name === "auto" ? "more time, or more devices" : "--method auto"
    });
  }
  const [first, ...others] = limited;
  const equal = others.every((c) => c === first);
  const enough = Math.ceil(first * factor);
  return new PlanError("placement-does-not-fit", "the parts do not fit into the devices, however they are placed", {
    fields: { ...fields, leastCapacityBytes: equal ? enough : null, leastFactor: factor },
    remedy: equal ? `--memory ${enough}: the least that a contiguous placement fits into` : `capacities ${factor.toPrecision(4)} times as large, the least that a contiguous placement fits into`
  });
}

// ../../../tmp/h/large/try10.ts
var [T, method, cont, ...fs] = process.argv.slice(2);
for (const f of fs) {
  const p = f.includes("/") ? opGraph(f) : synth(...f.split(",").map((x, i) => i < 3 ? +x : x));
  const a = await solvePlacement(p, { method, contiguous: cont === "c", seed: 1, timeLimitSeconds: +T });
  console.log(f, a.method, cont, a.objective.toFixed(5), "bound", a.lowerBound.toFixed(5), "gap", ((1 - a.lowerBound / a.objective) * 100).toFixed(3) + "%", a.seconds.toFixed(1) + "s", (process.resourceUsage().maxRSS / 1024).toFixed(0) + "MB");
}

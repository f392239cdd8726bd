import { FormatError, joinProblems, UsageError } from '../core/errors.ts';
import { requireKinds } from '../core/options.ts';
import { circles } from './components.ts';
import { assignmentBy, deviceList, type ForeignGraph, type ForeignRequest } from './foreign-graph.ts';
import type { Part, Value } from './problem.ts';

export interface ProfileRequest extends ForeignRequest {
  /** Inputs are parts like any other: for what balances layers without looking at them. Default false. */
  readonly keepInputs?: boolean;
}

/**
 * Profiles of PipeDream (SOSP 2019), times in milliseconds, sizes in bytes of one minibatch:
 *
 *     node3 -- Conv2d(…) -- forward_compute_time=2.1, backward_compute_time=4.2, activation_size=802816.0, parameter_size=9408.0
 *     \tnode2 -- node3
 *
 * Several sizes, `[a; b; c]`, are added. A layer's work is its forward and backward time; its output crosses a cut forward
 * and its gradient back, both over the same link: 2 · activation_size / bandwidth, overlapped with the work. Inputs, and
 * `__getitem__` nodes that nobody reads, have no part in it, as in PipeDream's optimizer; they go with their neighbours.
 *
 * Where memory is limited, a stage holds its parameters, and the activations of as many minibatches as 1F1B keeps in flight
 * there: k − s of k stages.
 */
export function readLayerProfile(text: string, where: string, request: ProfileRequest = {}): ForeignGraph {
  requireKinds('readLayerProfile', { text: ['text', text], where: ['text', where] });
  if ((request.cpus ?? 0) > 0) {
    throw new UsageError('no-cpu-times', `${where}: a profile of layers has no times of a CPU`, {
      fields: { where, cpus: request.cpus },
      remedy: 'leave --cpus out',
    });
  }
  const { keepInputs = false } = request;
  const { layers, edges } = parse(text, where);
  const successors = layers.map(() => new Set<number>());
  const predecessors = layers.map(() => new Set<number>());
  for (const [a, b] of edges) {
    successors[a]!.add(b);
    predecessors[b]!.add(a);
  }
  const isInput = (i: number): boolean =>
    !keepInputs && predecessors[i]!.size === 0 && layers[i]!.description.startsWith('Input');
  const isUnread = (i: number): boolean =>
    successors[i]!.size === 0 && layers[i]!.description.startsWith('__getitem__');
  const kept = layers.flatMap((_, i) => (isInput(i) || isUnread(i) ? [] : [i]));
  if (kept.length === 0) {
    throw new FormatError('layer-profile', `${where}: there are only inputs`, {
      fields: { where },
      remedy: 'give a profile with layers behind its inputs',
    });
  }
  const partOf = new Int32Array(layers.length).fill(-1);
  kept.forEach((i, part) => {
    partOf[i] = part;
  });
  const nodesOf = kept.map((i) => [layers[i]!.id]);
  layers.forEach(({ id }, i) => {
    if (partOf[i]! >= 0) return;
    const neighbour = [...successors[i]!, ...predecessors[i]!].map((j) => partOf[j]!).filter((part) => part >= 0);
    nodesOf[neighbour.length > 0 ? Math.min(...neighbour) : 0]!.push(id);
  });
  const bandwidth = request.linkBandwidth;
  const partEdges = edges.map(([a, b]) => [partOf[a]!, partOf[b]!] as const).filter(([a, b]) => a >= 0 && b >= 0);
  const values = kept.flatMap((i, part): Value[] => {
    const consumers = [...successors[i]!].map((j) => partOf[j]!).filter((p) => p >= 0);
    if (bandwidth === undefined || consumers.length === 0 || layers[i]!.activationBytes === 0) return [];
    return [{ producer: part, consumers, cost: (2000 * layers[i]!.activationBytes) / bandwidth }];
  });
  const limited = request.memory !== undefined;
  const devices = deviceList(request, { accelerators: undefined, capacity: Number.POSITIVE_INFINITY }, where);
  return {
    problem: {
      parts: kept.map((i): Part => {
        const { id, forward, backward, activationBytes, parameterBytes } = layers[i]!;
        return { name: id, work: forward + backward, bytes: parameterBytes, heldBytes: activationBytes };
      }),
      values,
      edges: partEdges,
      devices: limited ? devices.map((d, s) => ({ ...d, inFlight: devices.length - s })) : devices,
      load: 'max',
      unit: 'ms',
    },
    assignmentOf: assignmentBy(nodesOf),
    format: 'layer profile',
  };
}

interface Layer {
  readonly id: string;
  readonly description: string;
  readonly forward: number;
  readonly backward: number;
  readonly activationBytes: number;
  readonly parameterBytes: number;
}

const keys = ['forward_compute_time', 'backward_compute_time', 'activation_size', 'parameter_size'] as const;

function parse(text: string, where: string): { layers: Layer[]; edges: (readonly [number, number])[] } {
  const problems: string[] = [];
  const layers: Layer[] = [];
  const index = new Map<string, number>();
  const links: { readonly line: number; readonly from: string; readonly to: string }[] = [];
  text.split(/\r?\n/).forEach((content, at) => {
    const line = at + 1;
    if (content.trim() === '') return;
    if (/^\s/.test(content)) {
      const [from, to, ...more] = content.trim().split(' -- ');
      if (to === undefined || more.length > 0) problems.push(`line ${line}: an edge is "<tab>nodeA -- nodeB"`);
      else links.push({ line, from: from!, to });
      return;
    }
    const layer = parseLayer(content, line, problems);
    if (!layer) return;
    if (index.has(layer.id)) problems.push(`line ${line}: a second ${layer.id}`);
    index.set(layer.id, layers.length);
    layers.push(layer);
  });
  if (layers.length === 0) problems.push('there is no line of a layer, "node1 -- Conv2d(…) -- forward_compute_time=…"');
  const edges: (readonly [number, number])[] = [];
  for (const { line, from, to } of links) {
    const unknown = [from, to].filter((id) => !index.has(id));
    for (const id of unknown) problems.push(`line ${line}: there is no ${id}`);
    if (from === to) problems.push(`line ${line}: an edge leads from ${from} to itself`);
    if (unknown.length === 0 && from !== to) edges.push([index.get(from)!, index.get(to)!]);
  }
  const circle = problems.length === 0 ? circles(layers.length, edges)[0] : undefined;
  if (circle) problems.push(`the edges lead in a circle among ${circle.map((i) => layers[i]!.id).join(', ')}`);
  if (problems.length > 0) {
    const shown = problems.length > 10 ? [...problems.slice(0, 10), `${problems.length - 10} more`] : problems;
    throw new FormatError('layer-profile', `${where}: ${joinProblems(shown)}`, {
      fields: { where, problems },
      remedy: 'docs/partition.md describes the format',
    });
  }
  return { layers, edges };
}

/** A description may contain anything; the figures are what follows the last separator (a stage's number may follow them). */
function parseLayer(content: string, line: number, problems: string[]): Layer | undefined {
  const fields = content.trim().split(' -- ');
  const at = fields.findLastIndex((f) => f.includes(`${keys[0]}=`));
  if (at < 1) {
    problems.push(`line ${line}: a layer is "id -- description -- ${keys.map((k) => `${k}=…`).join(', ')}"`);
    return undefined;
  }
  const figures = fields[at]!;
  const [forward, backward, activationBytes, parameterBytes] = keys.map((key): number => {
    const [, list, single] = new RegExp(`(?:^|[\\s,])${key}=(?:\\[([^\\]]*)\\]|([^\\s,]+))`).exec(figures) ?? [];
    const numbers = (list ?? single ?? '').split(';').map((x) => (x.trim() === '' ? Number.NaN : Number(x)));
    const sum = numbers.reduce((a, b) => a + b, 0);
    if (numbers.every((x) => x >= 0) && Number.isFinite(sum)) return sum;
    const got = list === undefined ? single : `[${list}]`;
    problems.push(`line ${line}: "${key}" must be a number of at least 0, got ${got ?? 'nothing'}`);
    return 0;
  });
  return {
    id: fields[0]!,
    description: fields.slice(1, at).join(' -- '),
    forward: forward!,
    backward: backward!,
    activationBytes: activationBytes!,
    parameterBytes: parameterBytes!,
  };
}

/**
 * All that a plan follows from, as text: two requests with equal contents have equal plans. Models are taken as the training
 * graphs that they build, so that nobody has to say what a model is made of; costs by what their functions are described by,
 * and links by what they answer for each pair of devices.
 */

import { requireArgument, requireKinds } from '../core/options.ts';
import type { TensorData } from '../core/types.ts';
import { descriptionOf } from '../cost/described.ts';
import { analyticCosts, type CostModel } from '../cost/model.ts';
import type { Graph, Node, Tensor } from '../graph/graph.ts';
import { PlanCache } from './cache.ts';
import { checkRequestKeys } from './check-request.ts';
import { graphsOf } from './graphs.ts';
import type { PlanRequest } from './request.ts';

/** Values of constants among the text. */
export type Content = readonly (string | TensorData)[];

/** Beyond these devices the pairs alone take longer to write down than most plans to make. */
const MOST_DEVICES = 256;

/**
 * undefined: it cannot be told, where costs are functions that nobody has described. `microbatches`: every number of them for
 * which plans are made, default the request's.
 */
export function contentOf(
  request: PlanRequest,
  cache: PlanCache = new PlanCache(),
  microbatches?: readonly number[],
): Content | undefined {
  checkRequestKeys(request, 'contentOf');
  requireArgument('contentOf', cache instanceof PlanCache, 'a PlanCache', cache, 'contentOf(request)');
  // What is wrong with the request's own number, its graphs say as they do for a plan.
  if (microbatches !== undefined) requireKinds('contentOf', { microbatches: ['counts', microbatches] });
  const counts = microbatches ?? [request.microbatches];
  const { costs = analyticCosts(), cluster, devices, model, programs, optimizer: _, ...rest } = request;
  // Whatever a request has beside functions counts, also what is added to it one day.
  const told = [costsText(costs, devices.length), cluster ? costsText(cluster.costs, devices.length) : ''];
  if (told.includes(undefined)) return undefined;
  const media = cluster?.media?.map(({ name, bytesPerSecond, carries }) => [
    name,
    bytesPerSecond,
    pairs(devices.length, (from, to) => carries(from, to)),
  ]);
  const plain = [model.name, programs, devices, rest, cluster?.devices ?? null, media ?? null];
  const content: (string | TensorData)[] = [...(told as string[]), textOf(plain)];
  for (const count of counts) {
    for (const name of Object.keys(programs)) {
      const { chunks, graphs, largest } = graphsOf({ ...request, microbatches: count }, name, cache);
      content.push(`program ${name} ${chunks.join()}`);
      for (const graph of new Set([...graphs.values(), largest])) content.push(...graphContent(graph));
    }
  }
  return content;
}

/** As JSON, with what JSON would lose: maps, sets and numbers that it does not have. */
function textOf(value: unknown): string {
  if (typeof value === 'number') return Object.is(value, -0) ? '-0' : `${value}`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'undefined';
  if (Array.isArray(value)) return `[${value.map(textOf).join()}]`;
  if (value instanceof Map || value instanceof Set) return `${value.constructor.name}${textOf([...value])}`;
  const fields = Object.entries(value).map(([key, v]) => `${JSON.stringify(key)}:${textOf(v)}`);
  return `{${fields.join()}}`;
}

function costsText(costs: CostModel, devices: number): string | undefined {
  const kernels = descriptionOf(costs.kernelSeconds);
  const instructions = descriptionOf(costs.instructionSeconds);
  if (kernels === undefined || instructions === undefined || devices > MOST_DEVICES) return undefined;
  const each = (of: ((device: number) => number) | undefined) =>
    of ? Array.from({ length: devices + 1 }, (_, d) => of(d)) : [];
  return textOf([
    costs.source,
    kernels,
    instructions,
    each(costs.stepSeconds),
    each(costs.startSeconds),
    pairs(devices, (from, to) => costs.link(from, to)),
  ]);
}

/** What is answered for each pair of devices, row by row, as places in the list of different answers. */
function pairs(devices: number, answer: (from: number, to: number) => unknown): unknown {
  const places = new Map<string, number>();
  const rows = Array.from({ length: devices }, (_, from) =>
    Array.from({ length: devices }, (_, to) => {
      const text = textOf(answer(from, to));
      const place = places.get(text) ?? places.size;
      places.set(text, place);
      return place;
    }),
  );
  return [[...places.keys()], rows];
}

const edge = ({ node, index }: Tensor): string => (index === 0 ? `${node.id}` : `${node.id}:${index}`);

function* graphContent(graph: Graph): Generator<string | TensorData> {
  const named = (tensors: ReadonlyMap<string, Tensor>) => [...tensors].map(([name, t]) => [name, edge(t)]);
  const results = [...graph.outputs.keys()].map((name) => [graph.batchAxisOf(name), graph.isPerMicrobatch(name)]);
  yield textOf([
    graph.mode,
    named(graph.outputs),
    results,
    named(graph.labels),
    graph.assignments.map(({ target, value }) => [edge(target), edge(value)]),
    [...graph.gradientsOfWholeBatch],
  ]);
  yield graph.nodes.map(nodeText).join('\n');
  for (const { source } of graph.nodes) if (source?.value) yield source.value;
}

/** First values of parameters decide nothing. */
function nodeText({ name, op, source, inputs, outputs, attrs, region, origin, pass, order, joins, recomputes }: Node) {
  return textOf([
    name,
    op?.name ?? null,
    source ? [source.kind, source.name, source.feed ?? null, source.frozen ?? false, source.init?.kind ?? null] : null,
    inputs.map(edge),
    outputs.map(({ type: { dtype, shape } }) => [dtype, shape]),
    attrs,
    region,
    origin?.id ?? -1,
    pass,
    order,
    joins ?? false,
    recomputes ?? false,
  ]);
}

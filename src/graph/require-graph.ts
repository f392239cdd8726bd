import { GraphError } from '../core/errors.ts';
import { shown } from '../core/options.ts';
import { Graph } from './graph.ts';
import { callerLine } from './source-line.ts';

/** Throws GraphError for what is no graph where the function `what` takes one. */
export function requireGraph(what: string, graph: unknown): asserts graph is Graph {
  if (graph instanceof Graph) return;
  throw new GraphError('no-graph', `${what}: takes a graph, got ${shown(graph)}${callerLine()}`, {
    fields: { function: what },
    remedy: 'a Graph, such as model.build(32).graph or tensor.graph',
  });
}

import { formatValues } from '../../core/format.ts';
import { requireKinds } from '../../core/options.ts';
import { byteSize, type DType, formatType, type Shape } from '../../core/types.ts';
import type { Graph, Node, Tensor } from '../../graph/graph.ts';
import type { Attrs } from '../../graph/op-record.ts';
import { requireGraph } from '../../graph/require-graph.ts';
import type { Feed, SourceKind } from '../../graph/source.ts';
import { isCutEdge, phaseOf } from '../../graph/values.ts';
import type { GraphValues } from './values.ts';

/** When a node runs: with the model, with its derivative (of any order), or once a step (totals, updates). */
export type ViewPhase = ReturnType<typeof phaseOf>;

/** `output`: a named result of the graph; `assignment`: what a parameter or state holds after the step. */
export type ViewKind = SourceKind | 'op' | 'output' | 'assignment';

export interface ViewTensor {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: Shape;
  readonly bytes: number;
  /** Row-major, in f64. */
  readonly value?: readonly number[];
  /** d(objective)/d(tensor), over all its uses; absent where the objective does not depend on it. */
  readonly gradient?: readonly number[];
}

export interface ViewNode {
  readonly name: string;
  readonly kind: ViewKind;
  /** null for all but ops. */
  readonly op: string | null;
  readonly attrs: Attrs;
  readonly phase: ViewPhase;
  readonly stage: number | null;
  /** The node whose derivative or update this one belongs to. */
  readonly origin: string | null;
  readonly frozen: boolean;
  /** Who fills an input: `data`, or a rule of ours; null for all but inputs. */
  readonly feed: Feed['kind'] | null;
  readonly outputs: readonly ViewTensor[];
  /** First values of a constant, as text. */
  readonly constant: string | null;
}

export interface ViewEdge {
  readonly tensor: string;
  /** Indices into `nodes`. */
  readonly from: number;
  readonly to: number;
  /** Which input of the reader. */
  readonly input: number;
  readonly type: string;
  readonly phase: ViewPhase;
  /** Set where the value moves from one stage to another. */
  readonly cut: { readonly from: number; readonly to: number; readonly bytes: number } | null;
  readonly value?: readonly number[];
  /** The share of the gradient that comes back along this edge. */
  readonly gradient?: readonly number[];
}

export interface ViewStage {
  readonly stage: number;
  /** null: no device is known. */
  readonly device: number | null;
}

/** A graph as plain data to be drawn or written as JSON: nodes in topological order, then results and assignments. */
export interface GraphView {
  readonly nodes: readonly ViewNode[];
  readonly edges: readonly ViewEdge[];
  /** Empty where the graph is not cut. */
  readonly stages: readonly ViewStage[];
}

export interface GraphViewOptions {
  readonly stageOf?: (node: Node) => number;
  /** Device of each stage. */
  readonly placement?: readonly number[];
  readonly values?: GraphValues;
}

export function graphView(graph: Graph, options: GraphViewOptions = {}): GraphView {
  requireGraph('graphView', graph);
  requireKinds('graphView', { options: ['record', options] });
  if (options.stageOf !== undefined) requireKinds('graphView', { stageOf: ['function', options.stageOf] });
  const { stageOf, placement, values } = options;
  const stage = (node: Node): number | null => stageOf?.(node) ?? null;
  const tensorOf = (t: Tensor): ViewTensor => ({
    name: t.name,
    dtype: t.dtype,
    shape: t.shape,
    bytes: byteSize(t.type),
    ...optional('value', values?.valueOf(t)),
    ...optional('gradient', values?.gradientOf(t)),
  });
  const nodes: ViewNode[] = graph.nodes.map((node) => ({
    name: node.name,
    kind: node.source?.kind ?? 'op',
    op: node.op?.name ?? null,
    attrs: node.attrs,
    phase: phaseOf(node),
    stage: stage(node),
    origin: node.origin?.name ?? null,
    frozen: node.source?.frozen ?? false,
    feed: node.source?.feed?.kind ?? null,
    outputs: node.outputs.map(tensorOf),
    constant: node.source?.value ? formatValues(node.source.value) : null,
  }));
  const edges: ViewEdge[] = [];
  const connect = (t: Tensor, to: number, input: number, reader: Node | undefined): void => {
    const cut = reader && stageOf && isCutEdge(t, reader, stageOf);
    edges.push({
      tensor: t.name,
      from: t.node.id,
      to,
      input,
      type: formatType(t.type),
      // What a derivative reads of the model is drawn with the derivative.
      phase: nodes[to]!.kind === 'op' ? nodes[to]!.phase : phaseOf(t.node),
      cut: cut ? { from: stageOf(t.node), to: stageOf(reader), bytes: byteSize(t.type) } : null,
      ...optional('value', values?.valueOf(t)),
      ...optional('gradient', values?.gradientAlong(t, reader, input)),
    });
  };
  for (const node of graph.nodes) node.inputs.forEach((t, i) => void connect(t, node.id, i, node));
  const end = (kind: 'output' | 'assignment', name: string, t: Tensor): void => {
    const to = nodes.length;
    nodes.push({
      name,
      kind,
      op: null,
      attrs: {},
      phase: phaseOf(t.node),
      stage: stage(t.node),
      origin: null,
      frozen: false,
      feed: null,
      outputs: [],
      constant: null,
    });
    connect(t, to, 0, undefined);
  };
  for (const [name, tensor] of graph.outputs) end('output', name, tensor);
  for (const { target, value } of graph.assignments) end('assignment', target.name, value);

  const stages = [...new Set(nodes.flatMap((n) => (n.stage === null ? [] : [n.stage])))].sort((a, b) => a - b);
  return { nodes, edges, stages: stages.map((s) => ({ stage: s, device: placement?.[s] ?? null })) };
}

const optional = <K extends string>(
  key: K,
  data: Float64Array | undefined,
): { readonly [k in K]?: readonly number[] } => (data ? ({ [key]: [...data] } as { [k in K]: number[] }) : {});

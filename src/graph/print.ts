import { formatBytes, formatValues } from '../core/format.ts';
import { requireKinds } from '../core/options.ts';
import { byteSize, formatType } from '../core/types.ts';
import type { Graph, Node, Tensor } from './graph.ts';
import type { AttrValue } from './op-record.ts';
import { requireGraph } from './require-graph.ts';
import { isCutEdge, phaseOf } from './values.ts';

export interface PrintOptions {
  /** Stage of every node, printed in front of it. */
  readonly stages?: (node: Node) => number;
  /** Lines below a node, for each of its outputs: what is known of its values. */
  readonly notes?: (tensor: Tensor) => readonly string[];
}

/**
 * The graph as text, a node a line:
 *
 *     %h: f32[8, 10] = matmul(%x, %w) {transposeB: true}
 *     %grad.h.matmul: f32[4, 10] = matmul(%x, %dh)        ; backward of %h
 *
 * Behind the semicolon stands what is not forward: the pass, the region (`step`), and the node whose stage it follows.
 */
export function printGraph(graph: Graph, options: PrintOptions = {}): string {
  requireGraph('printGraph', graph);
  requireKinds('printGraph', { options: ['record', options] });
  const stages = options.stages && graph.nodes.map((n) => `s${options.stages!(n)}`);
  const width = Math.max(0, ...(stages ?? []).map((s) => s.length));
  const lines = graph.nodes.flatMap((node, i) => {
    const stage = stages ? `${stages[i]!.padEnd(width)}  ` : '';
    const mark = markOf(node);
    const notes = options.notes ? node.outputs.flatMap(options.notes) : [];
    return [
      `${stage}${node.outputs.map((t) => `%${t}`).join(', ')} = ${definition(node)}${mark && `  ; ${mark}`}`,
      ...notes.map((note) => `${' '.repeat(stage.length + 4)}${note}`),
    ];
  });
  if (graph.outputs.size > 0) lines.push('outputs');
  for (const [name, tensor] of graph.outputs) lines.push(`  ${name} = %${tensor.name}`);
  if (graph.assignments.length > 0) lines.push('assignments');
  for (const { target, value } of graph.assignments) lines.push(`  %${target.name} <- %${value.name}`);
  if (options.stages) lines.push(...cutEdges(graph, options.stages));
  return `${lines.join('\n')}\n`;
}

/** What moves between stages: every value once to each stage that reads it. */
function cutEdges(graph: Graph, stageOf: (node: Node) => number): string[] {
  const lines = new Set<string>();
  for (const node of graph.nodes) {
    for (const t of node.inputs) {
      if (!isCutEdge(t, node, stageOf)) continue;
      lines.add(`  s${stageOf(t.node)} -> s${stageOf(node)}  %${t}  ${formatBytes(byteSize(t.type))}`);
    }
  }
  return lines.size > 0 ? ['cut edges', ...lines] : [];
}

function definition(node: Node): string {
  const { source, op } = node;
  if (!source) {
    const attrs = Object.keys(node.attrs).length > 0 ? ` ${formatAttr(node.attrs)}` : '';
    return `${op!.name}(${node.inputs.map((t) => `%${t.name}`).join(', ')})${attrs}`;
  }
  switch (source.kind) {
    case 'constant':
      return `constant ${formatValues(source.value!, 4, 7)}`;
    case 'input': {
      const feed = source.feed!;
      if (feed.kind !== 'data') return `input ${feed.kind}`;
      return feed.batchAxis === null ? 'input whole' : `input batch axis ${feed.batchAxis}`;
    }
    case 'parameter':
      return source.frozen ? 'parameter frozen' : 'parameter';
    case 'state':
    case 'buffer':
      return source.kind;
  }
}

const markOf = (node: Node): string => {
  if (node.source) return '';
  const pass = node.pass === 0 ? '' : node.pass === 1 ? 'backward' : `pass ${node.pass}`;
  const region = node.region === 'step' ? 'step' : '';
  const words = [region, pass].filter(Boolean).join(' ');
  return words && node.origin ? `${words} of %${node.origin.name}` : words;
};

function formatAttr(value: AttrValue | undefined): string {
  if (value === null || typeof value !== 'object')
    return typeof value === 'string' ? JSON.stringify(value) : `${value}`;
  if (Array.isArray(value)) return `[${value.map(formatAttr).join(', ')}]`;
  const entries = Object.entries(value as Record<string, AttrValue>);
  return `{${entries.map(([k, v]) => `${k}: ${formatAttr(v)}`).join(', ')}}`;
}

export interface DotOptions {
  readonly title?: string;
  /** Draws each stage as a cluster of its own colour, and cut edges heavy, with what they carry. */
  readonly stageOf?: (node: Node) => number;
  /** Lines at an edge below its type: what is known of its values. `reader` is undefined for results. */
  readonly notes?: (tensor: Tensor, reader: Node | undefined, input: number) => readonly string[];
}

/** Light tints of clusters; stages beyond take them again. */
const tints = ['#f3f3f3', '#eaf4fb', '#fbf5df', '#f8ecf4', '#e8f5f0', '#f6eee6'];

/** Okabe and Ito's blue, vermillion and green, which colour-blind people tell apart; lines differ too. */
const phaseLooks = {
  forward: { color: '#0072b2', style: 'solid' },
  backward: { color: '#d55e00', style: 'dashed' },
  step: { color: '#007a5a', style: 'dotted' },
} as const;

const sourceShapes = {
  input: 'ellipse',
  parameter: 'hexagon',
  constant: 'plaintext',
  state: 'folder',
  buffer: 'folder',
} as const;

/**
 * The graph in Graphviz' DOT language: boxes are ops, other shapes kinds of sources, notes results; edges carry types.
 * Forward, backward and step differ in colour and line; assignments point back at what they change.
 */
export function toDot(graph: Graph, options: DotOptions = {}): string {
  requireGraph('toDot', graph);
  requireKinds('toDot', { options: ['record', options] });
  const { title, stageOf, notes } = options;
  const lines = ['digraph partita {', '  rankdir=TB;', '  node [shape=box, fontname="sans-serif", fontsize=10];'];
  lines.push('  edge [fontname="sans-serif", fontsize=8];');
  if (title !== undefined) lines.push(`  label=${quote(title)};`, '  labelloc=t;');
  if (stageOf) {
    const members = new Map<number, Node[]>();
    for (const node of graph.nodes) members.set(stageOf(node), [...(members.get(stageOf(node)) ?? []), node]);
    for (const [stage, nodes] of [...members].sort(([a], [b]) => a - b)) {
      lines.push(`  subgraph cluster_${stage} {`, `    label="stage ${stage}";`, '    style=filled;');
      lines.push(`    color="#c8c8c8";`, `    fillcolor="${tints[stage % tints.length]}";`);
      lines.push(...nodes.map((n) => `    ${drawNode(n)}`), '  }');
    }
  } else {
    lines.push(...graph.nodes.map((n) => `  ${drawNode(n)}`));
  }
  for (const node of graph.nodes) {
    node.inputs.forEach((t, input) => {
      const cut = stageOf && isCutEdge(t, node, stageOf);
      const label = [
        formatType(t.type),
        ...(cut ? [`stage ${stageOf(t.node)} → ${stageOf(node)}, ${formatBytes(byteSize(t.type))}`] : []),
        ...(notes?.(t, node, input) ?? []),
      ];
      lines.push(`  ${drawEdge(t, `n${node.id}`, label, [...lookOf(node), ...(cut ? ['penwidth=2.5'] : [])])}`);
    });
  }
  let note = 0;
  for (const [name, tensor] of graph.outputs) {
    const label = [formatType(tensor.type), ...(notes?.(tensor, undefined, 0) ?? [])];
    lines.push(
      `  r${note} [shape=note, label=${quote(name)}];`,
      `  ${drawEdge(tensor, `r${note}`, label, lookOf(tensor.node))}`,
    );
    note++;
  }
  for (const { target, value } of graph.assignments) {
    lines.push(`  ${drawEdge(value, `n${target.node.id}`, ['assign'], [...lookOf(value.node), 'constraint=false'])}`);
  }
  return `${lines.join('\n')}\n}\n`;
}

const lookOf = (node: Node): string[] => {
  const { color, style } = phaseLooks[phaseOf(node)];
  return [`color="${color}"`, `style=${style}`];
};

function drawNode(node: Node): string {
  const { source } = node;
  const label = source
    ? `${node.name}\n${source.kind}${source.value ? ` ${formatValues(source.value)}` : ''}\n${formatType(node.outputs[0]!.type)}`
    : `${node.name}\n${node.op!.name}`;
  const shape = source ? `, shape=${sourceShapes[source.kind]}` : '';
  const { color, style } = phaseLooks[phaseOf(node)];
  return `n${node.id} [label=${quote(label)}${shape}, style="filled,${style}", color="${source ? '#1a1a1a' : color}", fillcolor=white];`;
}

const drawEdge = (from: Tensor, to: string, label: readonly string[], attributes: readonly string[]): string =>
  `n${from.node.id} -> ${to} [${[`label=${quote(label.join('\n'))}`, ...attributes].join(', ')}];`;

/** A DOT string: quotes and backslashes escaped, line breaks as `\n`. */
const quote = (text: string): string => `"${text.replace(/["\\]/g, '\\$&').replace(/\n/g, '\\n')}"`;

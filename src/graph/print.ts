import { formatType, type TensorData } from '../core/types.ts';
import type { Graph, Node, Tensor } from './graph.ts';
import type { AttrValue } from './op-record.ts';

export interface PrintOptions {
  /** Stage of every node, printed in front of it. */
  readonly stages?: (node: Node) => number;
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
  const stages = options.stages && graph.nodes.map((n) => `s${options.stages!(n)}`);
  const width = Math.max(0, ...(stages ?? []).map((s) => s.length));
  const lines = graph.nodes.map((node, i) => {
    const stage = stages ? `${stages[i]!.padEnd(width)}  ` : '';
    const mark = markOf(node);
    return `${stage}${node.outputs.map((t) => `%${t}`).join(', ')} = ${definition(node)}${mark && `  ; ${mark}`}`;
  });
  if (graph.outputs.size > 0) lines.push('outputs');
  for (const [name, tensor] of graph.outputs) lines.push(`  ${name} = %${tensor.name}`);
  if (graph.assignments.length > 0) lines.push('assignments');
  for (const { target, value } of graph.assignments) lines.push(`  %${target.name} <- %${value.name}`);
  return `${lines.join('\n')}\n`;
}

function definition(node: Node): string {
  const { source, op } = node;
  if (!source) {
    const attrs = Object.keys(node.attrs).length > 0 ? ` ${formatAttr(node.attrs)}` : '';
    return `${op!.name}(${node.inputs.map((t) => `%${t.name}`).join(', ')})${attrs}`;
  }
  switch (source.kind) {
    case 'constant':
      return `constant ${formatValues(source.value!)}`;
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

/** The first values; f32 in as many digits as tell them apart. */
function formatValues(data: TensorData): string {
  const shown = [...data.slice(0, 4)].map((v) =>
    data instanceof Float32Array ? `${Number(v.toPrecision(7))}` : `${v}`,
  );
  return `${shown.join(' ')}${data.length > 4 ? ` … (${data.length})` : ''}`;
}

export interface DotOptions {
  /** Draws each stage as a cluster of its own colour. */
  readonly stageOf?: (node: Node) => number;
}

/** Graphviz' qualitative scheme of twelve light colours; stages beyond take them again. */
const PALETTE_SIZE = 12;

/**
 * The graph in Graphviz' DOT language: boxes are ops, ellipses sources, edges carry types. Backward nodes are dashed, step
 * nodes bold; results and assignments are drawn as notes.
 */
export function toDot(graph: Graph, options: DotOptions = {}): string {
  const { stageOf } = options;
  const lines = ['digraph partita {', '  rankdir=TB;', '  node [shape=box, fontname="sans-serif", fontsize=10];'];
  lines.push('  edge [fontname="sans-serif", fontsize=8];');
  if (stageOf) {
    const members = new Map<number, Node[]>();
    for (const node of graph.nodes) members.set(stageOf(node), [...(members.get(stageOf(node)) ?? []), node]);
    for (const [stage, nodes] of [...members].sort(([a], [b]) => a - b)) {
      lines.push(`  subgraph cluster_${stage} {`, `    label="stage ${stage}";`, '    style=filled;');
      lines.push(`    colorscheme=set312;`, `    fillcolor=${(stage % PALETTE_SIZE) + 1};`);
      lines.push(...nodes.map((n) => `    ${drawNode(n)}`), '  }');
    }
  } else {
    lines.push(...graph.nodes.map((n) => `  ${drawNode(n)}`));
  }
  for (const node of graph.nodes)
    for (const t of node.inputs) lines.push(`  ${drawEdge(t, `n${node.id}`, formatType(t.type))}`);
  let note = 0;
  for (const [name, tensor] of graph.outputs) {
    lines.push(
      `  r${note} [shape=note, label=${quote(name)}];`,
      `  ${drawEdge(tensor, `r${note}`, formatType(tensor.type))}`,
    );
    note++;
  }
  for (const { target, value } of graph.assignments) {
    lines.push(`  ${drawEdge(value, `n${target.node.id}`, 'assign', ', style=dotted, constraint=false')}`);
  }
  return `${lines.join('\n')}\n}\n`;
}

function drawNode(node: Node): string {
  const { source } = node;
  const label = source
    ? `${node.name}\n${source.kind}\n${formatType(node.outputs[0]!.type)}`
    : `${node.name}\n${node.op!.name}`;
  const style = [
    'filled',
    ...(node.op && node.pass > 0 ? ['dashed'] : []),
    ...(node.op && node.region === 'step' ? ['bold'] : []),
  ];
  const shape = source ? ', shape=ellipse' : '';
  return `n${node.id} [label=${quote(label)}${shape}, style="${style.join(',')}", fillcolor=white];`;
}

const drawEdge = (from: Tensor, to: string, label: string, extra = ''): string =>
  `n${from.node.id} -> ${to} [label=${quote(label)}${extra}];`;

/** A DOT string: quotes and backslashes escaped, line breaks as `\n`. */
const quote = (text: string): string => `"${text.replace(/["\\]/g, '\\$&').replace(/\n/g, '\\n')}"`;

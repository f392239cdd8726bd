import { formatBytes, formatValues } from '../../core/format.ts';
import { checkOptions, requireKinds } from '../../core/options.ts';
import { formatType } from '../../core/types.ts';
import { type DrawnView, drawnView } from './copies.ts';
import { type Curve, pathOf } from './curve.ts';
import { type GraphLayout, layoutGraph, type Point, type Size } from './layout.ts';
import { textWidth } from './text-width.ts';
import type { GraphView, ViewEdge, ViewKind, ViewNode, ViewPhase, ViewStage } from './view.ts';

export interface SvgOptions {
  readonly title: string;
  /** Lines under the title: what the shapes stand for, how it is cut. */
  readonly notes?: readonly string[];
}

/**
 * A graph as one self-contained SVG: no scripts, no outside fonts, the same bytes for the same graph. Forward, backward and
 * step differ in colour (Okabe and Ito's, which colour-blind people tell apart) and in dashes; kinds of sources differ in
 * outline; stages are bands with a name. Pointing at a node shows its full name, attributes and types.
 */
export function graphSvg(whole: GraphView, options: SvgOptions): string {
  requireKinds('graphSvg', { view: ['object', whole], nodes: ['list', whole?.nodes], edges: ['list', whole?.edges] });
  requireKinds('graphSvg', { stages: ['list', whole.stages] });
  checkOptions('graphSvg', options, { title: 'required text', notes: 'texts' });
  const view = drawnView(whole);
  const labels = labelsOf(view);
  const boxes = boxesOf(view, labels);
  const layout = layoutGraph(view, boxes, labels.map(sizeOfLabel));
  const head = header(options);
  const legend = legendOf(view);
  const gutter =
    view.stages.length > 1 ? Math.max(...view.stages.map((s) => textWidth(bandName(s), 12, true))) + 20 : 0;
  const content = Math.max(layout.width + gutter, head.width, legend.width);
  const width = Math.ceil(content + 2 * margin);
  const drawing: Point = {
    x: margin + Math.max(gutter, (content - layout.width) / 2),
    y: margin + head.height + legend.height + bandPadding,
  };
  const height = Math.ceil(drawing.y + layout.height + bandPadding + margin);
  const open = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" aria-label="${escapeXml(options.title)}" font-family="${fonts}">`;
  return [
    open,
    `<title>${escapeXml(options.title)}</title>`,
    `<defs>${phases.map(arrowHead).join('')}</defs>`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    `<g transform="translate(${margin} ${margin})">${head.svg}</g>`,
    `<g transform="translate(${margin} ${margin + head.height})">${legend.svg}</g>`,
    ...bandsOf(view, boxes, layout, drawing, width),
    `<g transform="translate(${round(drawing.x)} ${round(drawing.y)})">`,
    ...view.edges.map((edge, i) => drawEdge(edge, layout.edges[i]!.curve)),
    ...view.nodes.map((node, i) => drawNode(node, boxes[i]!, layout.nodes[i]!)),
    ...view.edges.map((_, i) => drawLabel(labels[i]!, layout.edges[i]!.label)),
    '</g>',
    '</svg>',
    '',
  ].join('\n');
}

const fonts = "Helvetica, Arial, 'Liberation Sans', sans-serif";
const margin = 24;
const bandPadding = 14;
const ink = '#1a1a1a';
const quiet = '#555555';

const phases: readonly ViewPhase[] = ['forward', 'backward', 'step'];

interface Look {
  readonly line: string;
  readonly fill: string;
  readonly dashes: string;
  readonly name: string;
}

/** Okabe and Ito, "Color Universal Design", 2008: blue, vermillion, bluish green. */
const looks: Readonly<Record<ViewPhase, Look>> = {
  forward: { line: '#0072b2', fill: '#e6f1f8', dashes: '', name: 'forward' },
  backward: { line: '#d55e00', fill: '#fdeee3', dashes: '6 3', name: 'backward' },
  step: { line: '#007a5a', fill: '#e3f4ee', dashes: '2 3', name: 'once a step: totals and update' },
};

/** Bands of neighbouring stages differ; stages beyond take the tints again, and every band has its name. */
const tints = ['#f3f3f3', '#eaf4fb', '#fbf5df', '#f8ecf4', '#e8f5f0', '#f6eee6'];

// --- what stands in a node and at an edge ---

interface Box extends Size {
  /** Bold. */
  readonly head: string;
  readonly lines: readonly LabelLine[];
}

const headSize = 13;
const lineSize = 10.5;
const lineHeight = 14;

/** A source beside its reader holds what else stands at their edge. */
function boxesOf({ nodes, edges, beside }: DrawnView, labels: readonly (readonly LabelLine[])[]): Box[] {
  const held = new Map(edges.map(({ from }, i) => [from, labels[i]!] as const));
  return nodes.map((node, i) => boxOf(node, beside[i] === undefined ? [] : held.get(i)!));
}

function boxOf(node: ViewNode, held: readonly LabelLine[]): Box {
  const { head, lines: texts } = textsOf(node);
  const lines = [...texts.map((text): LabelLine => ({ text, colour: quiet, bold: false })), ...held];
  const widest = Math.max(textWidth(head, headSize, true), ...lines.map((l) => textWidth(l.text, lineSize, l.bold)));
  // Hexagons and stadiums have less room at their sides.
  const side = node.kind === 'op' ? 12 : 20;
  return { head, lines, width: Math.max(44, Math.ceil(widest + 2 * side)), height: 26 + lines.length * lineHeight };
}

function textsOf(node: ViewNode): { head: string; lines: string[] } {
  const [first] = node.outputs;
  switch (node.kind) {
    case 'op': {
      const scope = node.name === node.op ? '' : scopeOf(node.name, node.op!);
      return { head: node.op!, lines: scope === '' ? [] : [shorten(scope)] };
    }
    case 'constant':
      return { head: shorten(node.constant!), lines: [`constant ${formatType(first!)}`] };
    case 'output':
      return { head: shorten(node.name), lines: ['result'] };
    case 'assignment':
      return { head: shorten(node.name), lines: ['after the step'] };
    default:
      return { head: shorten(node.name), lines: [`${kindNames[node.kind]} ${formatType(first!)}`] };
  }
}

/** Names are scopes and the op: what the head says already is left out. */
const scopeOf = (name: string, op: string): string => (name.endsWith(`.${op}`) ? name.slice(0, -op.length - 1) : name);

const longest = 34;
const shorten = (text: string): string =>
  text.length <= longest ? text : `${text.slice(0, longest / 2 - 1)}…${text.slice(-longest / 2)}`;

const kindNames: Readonly<Record<ViewKind, string>> = {
  op: 'op',
  input: 'input',
  parameter: 'parameter',
  constant: 'constant',
  state: 'optimizer state',
  buffer: 'buffer',
  output: 'result',
  assignment: 'value after the step',
};

interface LabelLine {
  readonly text: string;
  readonly colour: string;
  readonly bold: boolean;
}

const labelSize = 10;
const labelHeight = 12;

/** A tensor's type stands at its first edge, and wherever it moves to another stage. */
function labelsOf({ nodes, edges }: GraphView): LabelLine[][] {
  const typed = new Set<string>();
  return edges.map((edge) => {
    const withType = !typed.has(edge.tensor) || edge.cut !== null;
    typed.add(edge.tensor);
    return labelOf(edge, nodes[edge.from]!, withType);
  });
}

/** The type, the move between stages, the value and the gradient. A source tells its type itself. */
function labelOf(edge: ViewEdge, from: ViewNode, withType: boolean): LabelLine[] {
  const lines: LabelLine[] = [];
  const scalarValue = edge.value?.length === 1;
  if (withType && from.kind === 'op' && !scalarValue) lines.push({ text: edge.type, colour: quiet, bold: false });
  if (edge.cut) {
    const { from: source, to, bytes } = edge.cut;
    lines.push({ text: `stage ${source} → ${to}, ${formatBytes(bytes)}`, colour: looks[edge.phase].line, bold: true });
  }
  if (edge.value) lines.push({ text: formatValues(edge.value), colour: looks.forward.line, bold: true });
  if (edge.gradient) lines.push({ text: `∂ ${formatValues(edge.gradient)}`, colour: looks.backward.line, bold: true });
  return lines;
}

const sizeOfLabel = (lines: readonly LabelLine[]): Size =>
  lines.length === 0
    ? { width: 0, height: 0 }
    : {
        width: Math.ceil(Math.max(...lines.map((l) => textWidth(l.text, labelSize, l.bold))) + 8),
        height: lines.length * labelHeight + 4,
      };

// --- drawing ---

function drawNode(node: ViewNode, box: Box, at: Point): string {
  const { line, fill, dashes } = looks[node.phase];
  const isSource = node.kind !== 'op';
  const style = `fill="${node.kind === 'op' ? fill : '#ffffff'}" stroke="${isSource && node.phase === 'forward' ? ink : line}" stroke-width="${node.kind === 'output' ? 2.4 : 1.3}"${
    dashes && node.kind === 'op' ? ` stroke-dasharray="${dashes}"` : ''
  }`;
  const top = -box.height / 2;
  const texts = [
    text(box.head, { y: top + 17, size: headSize, bold: true, colour: ink }),
    ...box.lines.map((l, i) =>
      text(l.text, { y: top + 17 + (i + 1) * lineHeight, size: lineSize, bold: l.bold, colour: l.colour }),
    ),
  ];
  return `<g transform="translate(${round(at.x)} ${round(at.y)})"><title>${escapeXml(tooltip(node))}</title>${outline(node.kind, box, style)}${texts.join('')}</g>`;
}

/** Ops are boxes, inputs stadiums, parameters (and what they become) hexagons, results stadiums with a heavy line. */
function outline(kind: ViewKind, { width, height }: Size, style: string): string {
  const [x, y] = [width / 2, height / 2];
  const rect = (radius: number): string =>
    `<rect x="${-x}" y="${-y}" width="${width}" height="${height}" rx="${radius}" ${style}/>`;
  switch (kind) {
    case 'op':
      return rect(5);
    case 'input':
    case 'output':
      return rect(y);
    case 'constant':
      return rect(0);
    case 'parameter':
    case 'assignment':
      return `<path d="M${-x} 0L${-x + 12} ${-y}H${x - 12}L${x} 0L${x - 12} ${y}H${-x + 12}Z" ${style}/>`;
    case 'state':
    case 'buffer':
      return `<path d="M${-x} ${-y}H${x - 10}L${x} ${-y + 10}V${y}H${-x}Z" ${style}/>`;
  }
}

function tooltip(node: ViewNode): string {
  const attrs = Object.entries(node.attrs).map(([key, value]) => `${key}: ${JSON.stringify(value)}`);
  return [
    node.name,
    node.kind === 'op' ? node.op! : `${node.frozen ? 'frozen ' : ''}${kindNames[node.kind]}`,
    ...attrs,
    ...node.outputs.map((t) => `${t.name}: ${formatType(t)}, ${formatBytes(t.bytes)}`),
    ...(node.origin ? [`belongs to ${node.origin}`] : []),
    ...(node.stage === null ? [] : [`stage ${node.stage}`]),
  ].join('\n');
}

function drawEdge(edge: ViewEdge, curve: Curve): string {
  const { line, dashes } = looks[edge.phase];
  const width = edge.cut ? 2.6 : 1.2;
  return `<path d="${pathOf(curve, ({ x, y }) => `${round(x)} ${round(y)}`)}" fill="none" stroke="${line}" stroke-width="${width}"${dashes ? ` stroke-dasharray="${dashes}"` : ''} marker-end="url(#head-${edge.phase})"/>`;
}

function drawLabel(lines: readonly LabelLine[], at: Point | undefined): string {
  if (!at || lines.length === 0) return '';
  const top = -((lines.length - 1) * labelHeight) / 2 + labelSize * 0.36;
  const texts = lines.map((l, i) =>
    text(l.text, { y: top + i * labelHeight, size: labelSize, bold: l.bold, colour: l.colour, halo: true }),
  );
  return `<g transform="translate(${round(at.x)} ${round(at.y)})">${texts.join('')}</g>`;
}

const arrowHead = (phase: ViewPhase): string =>
  `<marker id="head-${phase}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="9" markerHeight="9" markerUnits="userSpaceOnUse" orient="auto"><path d="M0 1L10 5L0 9Z" fill="${looks[phase].line}"/></marker>`;

/** A band around the rows of each stage, over the whole width, with its name at the left. */
function bandsOf(view: GraphView, boxes: readonly Box[], layout: GraphLayout, drawing: Point, width: number): string[] {
  if (view.stages.length < 2) return [];
  return view.stages.map((band, i) => {
    const { stage } = band;
    const members = view.nodes.flatMap((n, at) => (n.stage === stage ? [at] : []));
    const top = Math.min(...members.map((at) => layout.nodes[at]!.y - boxes[at]!.height / 2)) - bandPadding;
    const bottom = Math.max(...members.map((at) => layout.nodes[at]!.y + boxes[at]!.height / 2)) + bandPadding;
    const y = drawing.y + top;
    return `<g><rect x="${margin / 2}" y="${round(y)}" width="${width - margin}" height="${round(bottom - top)}" rx="6" fill="${tints[i % tints.length]}" stroke="#c8c8c8"/>${text(bandName(band), { x: margin / 2 + 10, y: y + 18, size: 12, bold: true, colour: ink, anchor: 'start' })}</g>`;
  });
}

const bandName = ({ stage, device }: ViewStage): string =>
  device === null ? `stage ${stage}` : `stage ${stage}, device ${device}`;

interface Block extends Size {
  readonly svg: string;
}

function header({ title, notes = [] }: SvgOptions): Block {
  const lines = [
    text(title, { x: 0, y: 16, size: 18, bold: true, colour: ink, anchor: 'start' }),
    ...notes.map((note, i) =>
      text(note, { x: 0, y: 36 + i * 16, size: 12, bold: false, colour: quiet, anchor: 'start' }),
    ),
  ];
  return {
    svg: lines.join(''),
    width: Math.max(textWidth(title, 18, true), ...notes.map((note) => textWidth(note, 12))),
    height: 26 + notes.length * 16,
  };
}

/** Only what occurs in the picture. */
function legendOf(view: GraphView): Block {
  const entries: { mark: string; width: number; name: string }[] = [];
  for (const phase of phases) {
    if (!view.edges.some((e) => e.phase === phase)) continue;
    const { line, dashes, name } = looks[phase];
    const mark = `<path d="M0 0H30" fill="none" stroke="${line}" stroke-width="1.6"${dashes ? ` stroke-dasharray="${dashes}"` : ''} marker-end="url(#head-${phase})"/>`;
    entries.push({ mark, width: 30, name });
  }
  const kinds: readonly ViewKind[] = [
    'op',
    'input',
    'parameter',
    'constant',
    'state',
    'buffer',
    'output',
    'assignment',
  ];
  for (const kind of kinds) {
    if (!view.nodes.some((n) => n.kind === kind)) continue;
    const style = `fill="${kind === 'op' ? looks.forward.fill : '#ffffff'}" stroke="${
      kind === 'op' ? looks.forward.line : kind === 'assignment' ? looks.step.line : ink
    }" stroke-width="${kind === 'output' ? 2.4 : 1.3}"`;
    const mark = `<g transform="translate(15 0)">${outline(kind, { width: 30, height: 16 }, style)}</g>`;
    entries.push({ mark, width: 30, name: kindNames[kind] });
  }
  if (view.edges.some((e) => e.cut)) {
    const mark = `<path d="M0 0H30" fill="none" stroke="${looks.forward.line}" stroke-width="2.6" marker-end="url(#head-forward)"/>`;
    entries.push({ mark, width: 30, name: 'sent to another stage' });
  }
  if (view.edges.some((e) => e.gradient)) {
    const mark = text('∂', { x: 24, y: 4, size: 12, bold: true, colour: looks.backward.line });
    entries.push({ mark, width: 30, name: 'gradient' });
  }
  const gap = 22;
  const perLine = 900;
  let [x, line, widest] = [0, 0, 0];
  const parts = entries.map(({ mark, width, name }) => {
    const all = width + 8 + textWidth(name, 11.5);
    if (x > 0 && x + all > perLine) [x, line] = [0, line + 1];
    const part = `<g transform="translate(${round(x)} ${12 + line * 24})">${mark}${text(name, { x: width + 8, y: 4, size: 11.5, bold: false, colour: ink, anchor: 'start' })}</g>`;
    x += all + gap;
    widest = Math.max(widest, x - gap);
    return part;
  });
  return { svg: parts.join(''), width: widest, height: (line + 1) * 24 + 8 };
}

interface TextStyle {
  readonly x?: number;
  readonly y: number;
  readonly size: number;
  readonly bold: boolean;
  readonly colour: string;
  readonly anchor?: 'start' | 'middle';
  /** A light line around the letters, so that they can be read over edges. */
  readonly halo?: boolean;
}

function text(content: string, { x = 0, y, size, bold, colour, anchor = 'middle', halo }: TextStyle): string {
  const attributes = [
    `x="${round(x)}"`,
    `y="${round(y)}"`,
    `font-size="${size}"`,
    `fill="${colour}"`,
    ...(bold ? ['font-weight="bold"'] : []),
    ...(anchor === 'middle' ? ['text-anchor="middle"'] : []),
    ...(halo ? ['stroke="#ffffff"', 'stroke-width="3"', 'stroke-linejoin="round"', 'paint-order="stroke"'] : []),
  ];
  return `<text ${attributes.join(' ')}>${escapeXml(content)}</text>`;
}

const round = (n: number): number => Math.round(n * 10) / 10;

/** Text of XML: markup characters as entities; control characters, which XML has not, as a replacement character. */
const escapeXml = (content: string): string =>
  content
    .replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`)
    // biome-ignore lint/suspicious/noControlCharactersInRegex: XML 1.0 forbids exactly these
    .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, '\ufffd');

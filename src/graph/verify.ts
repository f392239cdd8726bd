import { GraphError, joinProblems } from '../core/errors.ts';
import { byteSize, formatType, sameType } from '../core/types.ts';
import type { Graph, Node, Tensor } from './graph.ts';
import { TypeRuleError } from './op-record.ts';
import { requireGraph } from './require-graph.ts';
import { isStepValue, rootOf } from './values.ts';

export type GraphProblemCode =
  | 'position'
  | 'foreign-tensor'
  | 'order'
  | 'kind'
  | 'name'
  | 'type'
  | 'origin'
  | 'region'
  | 'in-place'
  | 'output'
  | 'assignment';

/** One broken rule and its place: the name of a node, an output or an assigned tensor. */
export interface GraphProblem {
  readonly code: GraphProblemCode;
  readonly at: string;
  readonly what: string;
}

/**
 * The rules that every graph keeps, before and after each pass:
 *
 * [1] position    a node stands in `nodes` at its id and belongs to this graph; so do its outputs to the node
 * [2] order       inputs are outputs of earlier nodes of this graph (else `foreign-tensor`)
 * [3] kind        a node is an op or a source; a source has no inputs and one output
 * [4] name        node names are unique, and so are sources' names among their kind
 * [5] type        the type rule gives the outputs' types; an alias keeps its bytes
 * [6] origin      earlier, of this graph; no derivative is without one
 * [7] region      step nodes read step values only; micro nodes read nothing that follows from an update
 * [8] in-place    outputs that share an input's memory have its type; nobody reads the old value later; a parameter or
 *                 state so overwritten is assigned the output; nothing else from outside the graph is overwritten
 * [9] output      results are tensors of this graph
 * [10] assignment targets are parameters, states or buffers, each assigned once, a step value of their type
 *
 * Throws one GraphError with all problems.
 */
export function verify(graph: Graph): void {
  requireGraph('verify', graph);
  const problems = graphProblems(graph);
  if (problems.length === 0) return;
  const listed = problems.slice(0, 20).map((p) => `${p.at}: ${p.what}`);
  if (problems.length > listed.length) listed.push(`and ${problems.length - listed.length} more`);
  throw new GraphError('invalid-graph', `the graph is invalid: ${joinProblems(listed)}`, { fields: { problems } });
}

/** All broken rules, in graph order. */
export function graphProblems(graph: Graph): GraphProblem[] {
  const problems: GraphProblem[] = [];
  const names = new Set<string>();
  const sourceNames = new Set<string>();
  /** The last in-place result by the tensor whose memory it took. */
  const overwritten = new Map<Tensor, Tensor>();
  const updated = new Set<Node>();
  graph.nodes.forEach((node, position) => {
    const report = (code: GraphProblemCode, what: string) => void problems.push({ code, at: node.name, what });
    checkPosition(graph, node, position, report);
    if (!checkInputs(graph, node, position, report)) return;
    checkKind(node, report);
    if (names.has(node.name)) report('name', 'the name is taken by an earlier node');
    names.add(node.name);
    if (node.source) {
      const key = `${node.source.kind} ${node.source.name}`;
      if (sourceNames.has(key)) report('name', `there is an earlier ${key}`);
      sourceNames.add(key);
    }
    checkTypes(node, report);
    checkOrigin(graph, node, position, report);
    checkRegion(node, updated, report);
    checkInPlace(node, overwritten, report);
  });
  for (const [name, tensor] of graph.outputs) {
    if (!isOf(graph, tensor)) problems.push({ code: 'output', at: name, what: `${tensor} is not of this graph` });
  }
  checkAssignments(graph, overwritten, problems);
  return problems;
}

type Report = (code: GraphProblemCode, what: string) => void;

const isOf = (graph: Graph, t: Tensor): boolean => graph.nodes[t.node.id] === t.node && t.node.outputs[t.index] === t;

function checkPosition(graph: Graph, node: Node, position: number, report: Report): void {
  if (node.id !== position) report('position', `stands at ${position} and has id ${node.id}`);
  if (node.graph !== graph) report('position', 'says that it is of another graph');
  node.outputs.forEach((t, i) => {
    if (t.node !== node || t.index !== i) report('position', `output ${i} is ${t}, index ${t.index}`);
  });
}

/** Whether the inputs can be looked at further. */
function checkInputs(graph: Graph, node: Node, position: number, report: Report): boolean {
  let sound = true;
  node.inputs.forEach((t, i) => {
    if (!isOf(graph, t)) report('foreign-tensor', `input ${i}, ${t}, is not of this graph`);
    else if (t.node.id >= position) report('order', `input ${i}, ${t}, is produced later`);
    else return;
    sound = false;
  });
  return sound;
}

function checkKind(node: Node, report: Report): void {
  if ((node.op === undefined) === (node.source === undefined)) report('kind', 'must be either an op or a source');
  if (node.source && node.inputs.length > 0) report('kind', `a source has ${node.inputs.length} inputs`);
  if (node.source && node.outputs.length !== 1) report('kind', `a source has ${node.outputs.length} outputs`);
}

function checkTypes(node: Node, report: Report): void {
  if (!node.op) return;
  const inputs = node.inputs.map((t) => t.type);
  const got = node.outputs.map((t) => t.type);
  try {
    const inferred = node.op.infer(inputs, node.attrs);
    if (inferred.length !== got.length || inferred.some((type, i) => !sameType(type, got[i]!))) {
      const list = (types: typeof got) => types.map(formatType).join(', ');
      report('type', `has ${list(got)} where ${node.op.name} gives ${list([...inferred])}`);
    }
  } catch (error) {
    if (!(error instanceof TypeRuleError)) throw error;
    report('type', `${node.op.name}(${inputs.map(formatType).join(', ')}): ${error.message}`);
  }
  if (node.op.alias && inputs[0] && got[0] && byteSize(inputs[0]) !== byteSize(got[0])) {
    report('type', `an alias of ${byteSize(inputs[0])} bytes has ${byteSize(got[0])}`);
  }
}

function checkOrigin(graph: Graph, node: Node, position: number, report: Report): void {
  const { origin } = node;
  if (!origin) {
    if (node.op && node.pass > 0) report('origin', 'is a derivative of unknown origin, so it has no stage');
  } else if (graph.nodes[origin.id] !== origin) report('origin', `its origin ${origin.name} is not of this graph`);
  else if (origin.id >= position) report('origin', `its origin ${origin.name} stands behind it`);
}

/** `updated` collects the step nodes that change what lives on to the next step, and those that follow from them. */
function checkRegion(node: Node, updated: Set<Node>, report: Report): void {
  if (!node.op) return;
  if (node.region === 'step' && (node.op.inPlace || node.inputs.some((t) => updated.has(t.node)))) updated.add(node);
  for (const t of node.inputs) {
    if (node.region === 'step' && !isStepValue(t)) {
      report('region', `runs once a step and reads ${t}, which exists once a microbatch`);
    }
    if (node.region === 'micro' && updated.has(t.node)) {
      report('region', `runs once a microbatch and reads ${t}, which the update makes`);
    }
  }
}

function checkInPlace(node: Node, overwritten: Map<Tensor, Tensor>, report: Report): void {
  for (const t of node.inputs) {
    const by = overwritten.get(rootOf(t));
    // The new value itself, or a view of it, may be read on.
    if (by && !leadsThrough(t, by)) report('in-place', `reads ${t} behind ${by.node.name}, which overwrites it`);
  }
  for (const [out, into] of node.op?.inPlace ?? []) {
    const output = node.outputs[out];
    const input = node.inputs[into];
    // An op may update a tensor that this node does not have (momentum 0).
    if (!output || !input) continue;
    if (!sameType(output.type, input.type)) {
      report('in-place', `output ${out}, ${formatType(output.type)}, takes the memory of ${input}`);
    }
    const root = rootOf(input);
    const kind = root.node.source?.kind;
    if (kind === 'input' || kind === 'constant') report('in-place', `overwrites the ${kind} ${root.name}`);
    overwritten.set(root, output);
  }
}

/** Whether a tensor is the in-place result `by`, or a later view or update of it. */
function leadsThrough(tensor: Tensor, by: Tensor): boolean {
  let t = tensor;
  for (;;) {
    if (t === by) return true;
    const { op, inputs } = t.node;
    const pair = op?.inPlace?.find(([output]) => output === t.index);
    if (op?.alias) t = inputs[0]!;
    else if (pair) t = inputs[pair[1]]!;
    else return false;
  }
}

function checkAssignments(graph: Graph, overwritten: ReadonlyMap<Tensor, Tensor>, problems: GraphProblem[]): void {
  const seen = new Set<Tensor>();
  for (const { target, value } of graph.assignments) {
    const report = (what: string) => void problems.push({ code: 'assignment', at: target.name, what });
    if (!isOf(graph, target) || !isOf(graph, value)) {
      report(`${isOf(graph, target) ? value : target} is not of this graph`);
      continue;
    }
    const kind = target.node.source?.kind;
    if (kind !== 'parameter' && kind !== 'state' && kind !== 'buffer') {
      report(`${target} is neither a parameter nor a state nor a buffer`);
    }
    if (seen.has(target)) report('is assigned twice');
    seen.add(target);
    if (!sameType(target.type, value.type)) report(`${formatType(target.type)} is assigned ${value}`);
    if (!isStepValue(value)) report(`is assigned ${value}, which exists once a microbatch`);
  }
  const values = new Map(graph.assignments.map((a) => [a.target, a.value]));
  for (const [root, result] of overwritten) {
    const kind = root.node.source?.kind;
    if ((kind !== 'parameter' && kind !== 'state') || values.get(root) === result) continue;
    problems.push({
      code: 'in-place',
      at: result.node.name,
      what: `overwrites ${root}, which is not assigned ${result}`,
    });
  }
}

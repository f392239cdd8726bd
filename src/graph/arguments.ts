/** What a graph is given by a program in JavaScript, which may give anything: checked before any of it is kept. */

import { GraphError, nearest } from '../core/errors.ts';
import { isOfKind } from '../core/kinds.ts';
import { type Names, type OptionNames, optionProblem, shown } from '../core/options.ts';
import { type DType, elementCount, formatType, type HostTensor, type Shape, type TensorType } from '../core/types.ts';
import type { GraphMode, InputOptions } from './graph.ts';
import { shownTensor, Tensor } from './node.ts';
import type { Feed } from './source.ts';
import { callerLine } from './source-line.ts';

const modes: readonly GraphMode[] = ['training', 'evaluation'];
const dtypes: readonly (DType | undefined)[] = ['f32', 'i32', 'bool', undefined];

/** The mode of a graph with these options. Any other word would leave dropout and batch statistics out without a sound. */
export function modeOf(options: { readonly mode?: GraphMode }): GraphMode {
  const problem = optionProblem(options, { mode: true });
  const { mode = 'training' } = problem ? {} : options;
  if (!problem && modes.includes(mode)) return mode;
  const text = problem?.text ?? `the mode must be training or evaluation, got ${shown(mode)}`;
  const meant = nearest(String(mode), modes) ?? 'training';
  throw new GraphError('graph-options', `new Graph: ${text}${callerLine()}`, {
    fields: { mode },
    remedy: `new Graph({ mode: '${meant}' })`,
  });
}

const calls: Readonly<Record<string, string>> = {
  input: "graph.input('x', { shape: [32, 10] })",
  output: "graph.output('logits', logits)",
  parameter: "graph.parameter('weight', [64, 10], { kind: 'zeros' })",
  buffer: "graph.buffer('mean', [64], { kind: 'zeros' })",
  constant: "graph.constant({ type: { dtype: 'f32', shape: [2] }, data: Float32Array.of(1, 2) }, 'pair')",
  label: "graph.label('logits', logits)",
  scope: "graph.scope('encoder', () => …)",
};

/** Refuses what is no name of an input, an output, a scope … */
export function requireName(kind: string, name: unknown): void {
  if (typeof name === 'string') return;
  throw new GraphError(
    `bad-${kind}`,
    `${/^[aeiou]/.test(kind) ? 'an' : 'a'} ${kind} has a name, got ${shown(name)}${callerLine()}`,
    {
      fields: { [kind]: shown(name) },
      remedy: calls[kind] ?? "a string, such as 'weight'",
    },
  );
}

/** Refuses options that a method of graphs has not, or that are of another kind. */
export function requireGraphOptions(what: string, options: unknown, names: Names): void {
  const problem = optionProblem(options, names);
  if (!problem) return;
  throw new GraphError('graph-options', `${what}: ${problem.text}${callerLine()}`, {
    fields: { unknown: problem.unknown },
    remedy: problem.remedy,
  });
}

/** Refuses what is no tensor in a method of graphs. */
export function requireGraphTensor(what: string, tensor: unknown): asserts tensor is Tensor {
  if (tensor instanceof Tensor) return;
  throw new GraphError('bad-tensor', `${what}: takes a tensor, got ${shownTensor(tensor)}${callerLine()}`, {
    fields: { method: what },
    remedy: 'a tensor of this graph, which its input, its parameter or an op gives',
  });
}

/** Refuses what is no type of a tensor of kind `kind`. */
export function requireType(kind: string, name: string, type: TensorType): void {
  if (Array.isArray(type?.shape) && type.dtype !== undefined && dtypes.includes(type.dtype)) {
    requireShape(`${kind} ${name}`, name, type.shape);
    return;
  }
  throw new GraphError('bad-type', `${kind} ${name} has a dtype and a shape, got ${shown(type)}${callerLine()}`, {
    fields: { [kind]: name },
    remedy: "{ dtype: 'f32', shape: [32, 10] }",
  });
}

function requireShape(what: string, name: string, shape: Shape): void {
  if (shape.every((size) => isOfKind('count', size))) return;
  throw new GraphError('bad-shape', `${what}: shape ${shown(shape)} must hold positive integers${callerLine()}`, {
    fields: { name, shape },
    remedy: '[32, 10]',
  });
}

const inputNames: OptionNames<InputOptions> = { shape: 'required', dtype: true, batchAxis: true };

/** Refuses what is no name, shape or dtype of an input; those of another tensor are. */
export function requireInput(name: string, options: InputOptions): void {
  requireName('input', name);
  if (options instanceof Tensor) return;
  if (Array.isArray(options?.shape) && dtypes.includes(options.dtype)) {
    requireGraphOptions(`input ${name}`, options, inputNames);
    return;
  }
  const got = Array.isArray(options?.shape) ? `the dtype ${String(options.dtype)}` : 'no shape';
  throw new GraphError(
    'bad-input',
    `input ${name} has a shape and is f32, i32 or bool; it was given ${got}${callerLine()}`,
    {
      fields: { input: name },
      remedy: `graph.input('${name}', { shape: [32, 10], dtype: 'f32' })`,
    },
  );
}

/** Refuses a result without a name, and one that is no tensor. */
export function requireOutput(name: string, tensor: Tensor): void {
  requireName('output', name);
  if (tensor instanceof Tensor) return;
  throw new GraphError('bad-output', `output ${name} is a tensor, got ${shownTensor(tensor)}${callerLine()}`, {
    fields: { output: name },
    remedy: `graph.output('${name}', tensor)`,
  });
}

/** The batch's axis of `what` (`input x`), counted from the front; 0 where none is given. */
export function batchAxisIn(what: string, axis: number | null | undefined, rank: number): number | null {
  // By default also of what has no axes, which no microbatch cuts.
  if (axis === undefined || axis === 0) return 0;
  if (axis === null) return null;
  if (Number.isInteger(axis) && axis >= -rank && axis < rank) return axis < 0 ? axis + rank : axis;
  throw new GraphError(
    'batch-axis',
    `${what} has ${rank} axes, and no axis ${shown(axis)} for the batch${callerLine()}`,
    {
      fields: { batchAxis: axis, rank },
      remedy: 'batchAxis: null for what is not batched',
    },
  );
}

/** Refuses what is no constant: a name, a type and as many values as its shape holds. */
export function requireConstant(name: string, value: HostTensor): void {
  requireName('constant', name);
  requireType('constant', name, value?.type);
  if (value.data?.length !== elementCount(value.type.shape)) {
    throw new GraphError(
      'constant-size',
      `constant of ${formatType(value.type)} has ${value.data?.length ?? 'no'} values${callerLine()}`,
      { fields: { constant: name }, remedy: `give ${elementCount(value.type.shape)} values` },
    );
  }
}

/** Refuses what builds nothing. */
export function requireBuild(what: string, build: unknown): void {
  if (typeof build === 'function') return;
  throw new GraphError('bad-build', `${what}: takes a function that builds, got ${shown(build)}${callerLine()}`, {
    remedy: "graph.scope('encoder', () => nn.linear(x, 3))",
  });
}

/** Refuses what is no node. */
export function requireNode(node: unknown): void {
  if (Array.isArray((node as { readonly outputs?: unknown } | null | undefined)?.outputs)) return;
  throw new GraphError('bad-node', `a node is needed, got ${shown(node)}${callerLine()}`, { remedy: 'tensor.node' });
}

const feeds: { readonly [kind in Feed['kind']]: true } = {
  data: true,
  inverseCount: true,
  inverseElements: true,
  sampleIndices: true,
  randomKey: true,
  hyper: true,
};

/** Refuses an input that nobody would fill. */
export function requireFeed(name: string, feed: Feed): void {
  if (Object.hasOwn(feeds, String((feed as Partial<Feed> | null | undefined)?.kind))) return;
  throw new GraphError('bad-feed', `input ${String(name)} is fed by a rule, got ${shown(feed)}${callerLine()}`, {
    remedy: "{ kind: 'data', batchAxis: 0 }",
  });
}

/** Functions of an ONNX file: their nodes take the place of the node that calls them. */
import { FormatError } from '../../core/errors.ts';
import type { OnnxAttribute, OnnxFunction, OnnxModel, OnnxNode } from './model.ts';
import { nodeError } from './problems.ts';
import { type Bound, Scope } from './scope.ts';
import { unknownAttribute } from './signature.ts';

/** The functions of a file by domain, name and overload. Throws FormatError where one is defined twice. */
export class ModelFunctions {
  readonly #functions = new Map<string, OnnxFunction>();

  constructor(model: OnnxModel) {
    for (const f of model.functions) {
      const key = functionKey(f.domain, f.name, f.overload);
      if (this.#functions.has(key)) throw new FormatError('onnx-function', `function ${key} is defined twice`);
      this.#functions.set(key, f);
    }
  }

  /** The function that a node calls, if it calls one. */
  of(node: OnnxNode): OnnxFunction | undefined {
    return this.#functions.get(functionKey(node.domain, node.opType, node.overload));
  }
}

/** A function as one node calls it. */
export interface FunctionCall {
  /** Its inputs are bound. */
  readonly scope: Scope;
  /** Names of the inputs that are given. */
  readonly given: ReadonlySet<string>;
  /** Its nodes, without the inputs that are left out. */
  readonly nodes: readonly OnnxNode[];
  /** Names within the function of the outputs that the node has. */
  readonly wanted: readonly string[];
}

/** Binds what a node gives to a function's inputs. Throws FormatError naming the node where they do not fit. */
export function callFunction(
  called: OnnxFunction,
  node: OnnxNode,
  scope: Scope,
  inputs: readonly (Bound | undefined)[],
  attributes: ReadonlyMap<string, OnnxAttribute>,
): FunctionCall {
  const key = functionKey(called.domain, called.name, called.overload);
  if (scope.calls.includes(key)) {
    throw nodeError(node, `functions call each other in a circle: ${[...scope.calls, key].join(' → ')}`);
  }
  if (inputs.length > called.inputs.length || node.outputs.length > called.outputs.length) {
    throw nodeError(
      node,
      `function ${key} has ${called.inputs.length} inputs and ${called.outputs.length} outputs, the node ${inputs.length} and ${node.outputs.length}`,
    );
  }
  const declared = [...called.attributes, ...called.defaults.keys()];
  for (const [name, attribute] of attributes) {
    if (!declared.includes(name)) throw unknownAttribute(node, name, attribute, declared, `function ${key}`);
  }
  for (const name of called.attributes) {
    if (!attributes.has(name)) throw nodeError(node, `function ${key} takes an attribute ${name}, which is missing`);
  }
  const name = node.name || node.outputs.find((output) => output !== '') || key;
  const inner = new Scope(undefined, {
    prefix: `${scope.prefix}${name}/`,
    opsets: called.opsets,
    attributes: new Map([...called.defaults, ...attributes]),
    calls: [...scope.calls, key],
  });
  const given = new Set<string>();
  called.inputs.forEach((formal, i) => {
    const input = inputs[i];
    if (formal === '' || given.has(formal)) throw nodeError(node, `function ${key} names an input "${formal}"`);
    // An input that is left out is left out wherever the function uses it.
    if (input) {
      inner.set(formal, input);
      given.add(formal);
    }
  });
  const omitted = new Set(called.inputs.filter((formal) => !given.has(formal)));
  const nodes = omitted.size === 0 ? called.nodes : called.nodes.map((n) => withoutInputs(n, omitted));
  const wanted = called.outputs.filter((_, i) => node.outputs[i]);
  return { scope: inner, given, nodes, wanted };
}

const functionKey = (domain: string, name: string, overload: string): string =>
  [domain, name, overload].filter(Boolean).join('.');

const withoutInputs = (node: OnnxNode, names: ReadonlySet<string>): OnnxNode => ({
  ...node,
  inputs: node.inputs.map((name) => (names.has(name) ? '' : name)),
});

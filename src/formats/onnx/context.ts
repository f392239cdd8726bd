/** One node under import, as its rule sees it (`OperatorContext`): inputs and attributes with errors that name the node. */
import { type Graph, Tensor } from '../../graph/graph.ts';
import { cast } from '../../ops/compare.ts';
import { graphDType } from './known.ts';
import type { OnnxAttribute, OnnxDType, OnnxGraph, OnnxNode, OnnxTensor } from './model.ts';
import type { Known, OperatorContext, Value } from './operator.ts';
import { isTensor } from './operator.ts';
import { nodeError, Unsupported } from './problems.ts';
import type { Bound } from './scope.ts';
import { Sequence } from './sequences.ts';

/** What the importer knows, and a node's context asks for. */
export interface ContextSource {
  readonly graph: Graph;
  readonly opset: number;
  readonly mode: 'training' | 'evaluation';
  readonly inputs: readonly (Bound | undefined)[];
  /** Attributes, references to a function's resolved. */
  readonly attributes: ReadonlyMap<string, OnnxAttribute>;
  readonly wants: (output: number) => boolean;
  readonly find: (name: string) => Bound | undefined;
  /** A known value in the graph; `name` is the constant's where it is new. */
  readonly lift: (value: Known, name: string, fail: (what: string) => never) => Tensor;
  /** The value of a tensor that is a constant or an initialiser. */
  readonly valueOfSource: (tensor: Tensor) => Known | undefined;
  readonly batchAxisOf: (tensor: Tensor) => number | null;
}

export class NodeContext implements OperatorContext {
  readonly node: OnnxNode;
  readonly graph: Graph;
  readonly opset: number;
  readonly mode: 'training' | 'evaluation';
  readonly inputCount: number;
  readonly wants: (output: number) => boolean;
  readonly batchAxisOf: (tensor: Tensor) => number | null;
  readonly #source: ContextSource;

  constructor(node: OnnxNode, source: ContextSource) {
    this.node = node;
    this.#source = source;
    this.graph = source.graph;
    this.opset = source.opset;
    this.mode = source.mode;
    this.wants = source.wants;
    this.batchAxisOf = source.batchAxisOf;
    this.inputCount = source.inputs.findLastIndex((input) => input !== undefined) + 1;
  }

  // Rules take these out of the context: they are arrows, bound to it.

  readonly optional = (i: number): Value | undefined => this.#source.inputs[i]?.value;

  readonly input = (i: number): Value => this.#bound(i).value;

  readonly tensor = (i: number): Tensor => this.#lifted(this.input(i), this.node.inputs[i]!);

  readonly optionalTensor = (i: number): Tensor | undefined => (this.optional(i) ? this.tensor(i) : undefined);

  readonly float = (i: number): Tensor => {
    const tensor = this.tensor(i);
    return tensor.dtype === 'f32' ? tensor : cast(tensor, 'f32');
  };

  readonly known = (i: number, what: string): Known => this.optionalKnown(i, what) ?? this.#missingInput(i);

  readonly optionalKnown = (i: number, what: string): Known | undefined => {
    const given = this.optional(i);
    const value = given && isTensor(given) ? this.#source.valueOfSource(given) : given;
    const place = `${what} (input ${i}, "${this.node.inputs[i]}")`;
    if (given && !value) this.unsupported(`${place} must be known at import, and is computed`);
    if (value instanceof Sequence) this.unsupported(`${place}: a sequence does not belong there`);
    if (value && !graphDType(value.dtype)) this.unsupported(`${place} is ${value.dtype}`);
    return value;
  };

  readonly integers = (i: number, what: string): number[] => this.optionalIntegers(i, what) ?? this.#missingInput(i);

  readonly optionalIntegers = (i: number, what: string): number[] | undefined => {
    const value = this.optionalKnown(i, what);
    if (!value) return undefined;
    const wrong = value.data.find((v) => !Number.isInteger(v));
    if (wrong !== undefined) this.invalid(`${what} (input ${i}) must hold integers, and holds ${wrong}`);
    return [...value.data];
  };

  readonly scalar = (i: number, what: string): number => this.optionalScalar(i, what) ?? this.#missingInput(i);

  readonly optionalScalar = (i: number, what: string): number | undefined => {
    const value = this.optionalKnown(i, what);
    if (value && value.data.length !== 1) {
      this.invalid(`${what} (input ${i}) must be one number, and has ${value.data.length} elements`);
    }
    return value?.data[0];
  };

  readonly integer = (i: number, what: string): number => this.optionalInteger(i, what) ?? this.#missingInput(i);

  readonly optionalInteger = (i: number, what: string): number | undefined => {
    const value = this.optionalScalar(i, what);
    if (value === undefined || Number.isInteger(value)) return value;
    return this.invalid(`${what} (input ${i}) must be an integer, and is ${value}`);
  };

  readonly int = (name: string, whenMissing?: number): number => this.#attribute('int', name, whenMissing);
  readonly floatAttr = (name: string, whenMissing?: number): number => this.#attribute('float', name, whenMissing);
  readonly string = (name: string, whenMissing?: string): string => this.#attribute('string', name, whenMissing);
  readonly ints = (name: string, whenMissing?: readonly number[]): readonly number[] => {
    const list = this.#attribute('ints', name, whenMissing);
    const wrong = windowAttributes.has(name) ? list.find((v) => Math.abs(v) > maxWindow) : undefined;
    return wrong === undefined ? list : this.invalid(`attribute ${name} holds ${wrong}, more than ${maxWindow}`);
  };
  readonly floats = (name: string, whenMissing?: readonly number[]): readonly number[] =>
    this.#attribute('floats', name, whenMissing);
  readonly strings = (name: string, whenMissing?: readonly string[]): readonly string[] =>
    this.#attribute('strings', name, whenMissing);
  readonly tensorAttr = (name: string): OnnxTensor => this.#attribute('tensor', name, undefined);
  readonly graphAttr = (name: string): OnnxGraph => this.#attribute('graph', name, undefined);
  readonly has = (name: string): boolean => this.#source.attributes.has(name);

  readonly valueOf = (name: string): Value =>
    this.#source.find(name)?.value ?? this.invalid(`there is no value "${name}"`);

  readonly lift = (value: Value): Tensor => {
    const at = this.#source.inputs.findIndex((input) => input?.value === value);
    return this.#lifted(value, at >= 0 ? this.node.inputs[at]! : 'constant');
  };

  readonly dtypeOf = (i: number): OnnxDType => this.#bound(i).dtype;

  readonly unsupported = (what: string): never => {
    throw new Unsupported(what);
  };

  readonly invalid = (what: string): never => {
    throw nodeError(this.node, what);
  };

  #bound(i: number): Bound {
    return this.#source.inputs[i] ?? this.#missingInput(i);
  }

  #missingInput(i: number): never {
    return this.invalid(`input ${i} is missing`);
  }

  #lifted(value: Value, name: string): Tensor {
    return value instanceof Tensor ? value : this.#source.lift(value, name, this.unsupported);
  }

  #attribute<K extends keyof AttributeValues>(
    kind: K,
    name: string,
    whenMissing: AttributeValues[K] | undefined,
  ): AttributeValues[K] {
    const found = this.#source.attributes.get(name);
    if (found === undefined) return whenMissing ?? this.invalid(`attribute ${name} is missing`);
    if (found.kind === kind) return found.value as AttributeValues[K];
    return this.invalid(`attribute ${name} is of kind ${found.kind}, and ${kind} belongs there`);
  }
}

/** Sizes of sliding windows, that rules count with: a file may state any number. */
const windowAttributes: ReadonlySet<string> = new Set([
  'kernel_shape',
  'strides',
  'pads',
  'dilations',
  'output_padding',
]);
const maxWindow = 2 ** 24;

interface AttributeValues {
  float: number;
  int: number;
  string: string;
  tensor: OnnxTensor;
  graph: OnnxGraph;
  floats: readonly number[];
  ints: readonly number[];
  strings: readonly string[];
}

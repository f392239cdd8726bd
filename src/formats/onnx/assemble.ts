/** A draft → an ONNX model: names are settled, and sizes that follow the batch are computed from an input's shape. */
import { GraphError } from '../../core/errors.ts';
import type { HostTensor, TensorType } from '../../core/types.ts';
import type { DraftConstant, DraftItem, DraftNode, DraftSizes, Size, SymbolicSizes, Value } from './draft.ts';
import { type DraftedGraph, type DraftOptions, type FunctionDraft, innerDTypes } from './drafter.ts';
import { batchSymbol } from './interface.ts';
import type {
  OnnxAttribute,
  OnnxDType,
  OnnxFunction,
  OnnxModel,
  OnnxNode,
  OnnxTensor,
  OnnxValueInfo,
} from './model.ts';
import { ownDomain } from './operator.ts';

/** IR version 8 came with ONNX 1.10, and has functions. */
const irVersion = 8;
const ownDomainVersion = 1;
/** Constants up to this many bytes are written once for all nodes that need equal ones. */
const maxSharedBytes = 256;

export function assemble(
  draft: DraftedGraph,
  sizes: SymbolicSizes,
  values: ReadonlyMap<string, HostTensor>,
  options: DraftOptions & { readonly name: string; readonly producer: string },
): OnnxModel {
  const names = new Names();
  for (const { value, name } of [...draft.inputs, ...draft.initializers, ...draft.outputs]) names.reserve(value, name);
  const batched = draft.inputs
    .map((source) => ({ source, axis: sizes.input(source).findIndex((d) => typeof d !== 'number') }))
    .find(({ axis }) => axis >= 0);
  const writer = new NodeWriter(names, sizes, batched && { name: batched.source.name, axis: batched.axis });
  writer.write(draft.items);
  const interfaceDType = ({ dtype }: TensorType): OnnxDType =>
    dtype === 'i32' ? options.integers : innerDTypes[dtype];
  const info = (name: string, type: TensorType, shape: readonly Size[]): OnnxValueInfo => ({
    name,
    dtype: interfaceDType(type),
    shape: shape.map(symbolOf),
  });
  const opsets = new Map([['', options.opset]]);
  if (draft.functions.size > 0) opsets.set(ownDomain, ownDomainVersion);
  return {
    irVersion,
    producer: options.producer,
    opsets,
    graph: {
      name: options.name,
      nodes: writer.nodes,
      initializers: draft.initializers.map(({ name, type }) => tensorOf(name, type, values.get(name)!)),
      inputs: draft.inputs.map((source) => info(source.name, source.type, sizes.input(source))),
      outputs: draft.outputs.map((output) => info(output.name, output.type, sizes.output(output))),
      valueInfo: [],
    },
    functions: [...draft.functions.values()].map((f) => functionOf(f, options.opset)),
  };
}

/** A size of the interface: the batch, a number, or what has no name (24 entries for each sample). */
const symbolOf = (size: Size) => (typeof size === 'number' ? size : size.perSample === 1 ? batchSymbol : null);

function tensorOf(name: string, { dtype, shape }: TensorType, { data }: HostTensor): OnnxTensor {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return { name, dtype: innerDTypes[dtype], dims: shape, bytes };
}

function functionOf({ name, inputs, outputs, items }: FunctionDraft, opset: number): OnnxFunction {
  const names = new Names();
  for (const value of inputs) names.reserve(value, value.hint);
  const writer = new NodeWriter(names, { input: never, output: never, of: never }, undefined);
  writer.write(items);
  return {
    name,
    domain: ownDomain,
    overload: '',
    inputs: inputs.map((value) => names.of(value)),
    outputs: outputs.map((value) => names.of(value)),
    attributes: [],
    defaults: new Map(),
    opsets: new Map([['', opset]]),
    nodes: writer.nodes,
  };
}

const never = (): never => {
  throw new TypeError('the parts of a function do not depend on shapes');
};

/** Names of values: each is given once. */
class Names {
  readonly #taken = new Set<string>();
  readonly #names = new Map<Value, string>();
  /** The number behind the last name that was made of a taken one. */
  readonly #counts = new Map<string, number>();

  /** A name that the model's interface has. */
  reserve(value: Value, name: string): void {
    if (this.#taken.has(name)) {
      throw new GraphError('onnx-export-name', `two of the inputs, parameters and outputs are named "${name}"`, {
        fields: { name },
        remedy: 'give the output another name',
      });
    }
    this.#taken.add(name);
    this.#names.set(value, name);
  }

  of(value: Value): string {
    let name = this.#names.get(value);
    if (name === undefined) {
      name = this.fresh(value.name ?? value.hint);
      this.#names.set(value, name);
    }
    return name;
  }

  /** Lets a value go by the name of another one, which is equal. */
  alias(value: Value, name: string): void {
    this.#names.set(value, name);
  }

  fresh(wanted: string): string {
    let name = wanted;
    let count = this.#counts.get(wanted) ?? 0;
    while (this.#taken.has(name)) name = `${wanted}_${++count}`;
    this.#counts.set(wanted, count);
    this.#taken.add(name);
    return name;
  }
}

class NodeWriter {
  readonly nodes: OnnxNode[] = [];
  readonly #names: Names;
  readonly #sizes: SymbolicSizes;
  /** The input whose axis says the batch. */
  readonly #batched: { readonly name: string; readonly axis: number } | undefined;
  readonly #nodeNames = new Names();
  /** Small constants by what they are. */
  readonly #shared = new Map<string, string>();
  /** [entries] as INT64 vectors by entries for each sample. */
  readonly #perSample = new Map<number, string>();

  constructor(names: Names, sizes: SymbolicSizes, batched: { name: string; axis: number } | undefined) {
    this.#names = names;
    this.#sizes = sizes;
    this.#batched = batched;
  }

  write(items: readonly DraftItem[]): void {
    for (const item of items) {
      if (item.kind === 'node') this.#node(item);
      else if (item.kind === 'constant') this.#constant(item);
      else this.#sizesOf(item);
    }
  }

  #node({ name, opType, domain, inputs, outputs, attributes }: DraftNode): void {
    const given = inputs.map((value) => (value ? this.#names.of(value) : ''));
    while (given.at(-1) === '') given.pop();
    this.#push(
      name,
      opType,
      given,
      outputs.map((value) => this.#names.of(value)),
      Object.entries(attributes).flatMap(([key, value]) =>
        value === undefined ? [] : [[key, attributeOf(value)] as const],
      ),
      domain,
    );
  }

  #push(
    name: string,
    opType: string,
    inputs: readonly string[],
    outputs: readonly string[],
    attributes: readonly (readonly [string, OnnxAttribute])[] = [],
    domain = '',
  ): void {
    this.nodes.push({
      name: this.#nodeNames.fresh(name),
      opType,
      domain,
      overload: '',
      inputs,
      outputs,
      attributes: new Map(attributes),
    });
  }

  #constant({ value, dtype, dims, bytes }: DraftConstant): void {
    // A constant of the graph keeps its own name.
    const key = value.name === undefined && bytes.length <= maxSharedBytes ? `${dtype}[${dims}]${bytes}` : undefined;
    const same = key === undefined ? undefined : this.#shared.get(key);
    if (same !== undefined) {
      this.#names.alias(value, same);
      return;
    }
    const name = this.#names.of(value);
    if (key !== undefined) this.#shared.set(key, name);
    this.#pushConstant(name, dtype, dims, bytes);
  }

  /** Constants are nodes: a float initialiser would be a parameter to whoever trains the file. */
  #pushConstant(name: string, dtype: OnnxDType, dims: readonly number[], bytes: Uint8Array): void {
    const tensor: OnnxTensor = { name: '', dtype, dims, bytes };
    this.#push(name, 'Constant', [], [name], [['value', { kind: 'tensor', value: tensor }]]);
  }

  #vector(values: readonly number[], hint: string): string {
    const key = `INT64[${values.length}]${values}`;
    let name = this.#shared.get(key);
    if (name === undefined) {
      name = this.#names.fresh(hint);
      this.#shared.set(key, name);
      const data = BigInt64Array.from(values, BigInt);
      this.#pushConstant(name, 'INT64', [values.length], new Uint8Array(data.buffer));
    }
    return name;
  }

  #sizesOf(item: DraftSizes): void {
    const { value, use } = item;
    let sizes = this.#sizes.of(item);
    if (typeof use === 'object') {
      // Expand keeps a size that x has already where it is told 1.
      const behind = sizes.length - use.expand.length;
      sizes = sizes.map((d, i) => (typeof d !== 'number' && use.expand[i - behind] === item.sizes[i] ? 1 : d));
    }
    const symbolic = sizes.filter((d) => typeof d !== 'number').length;
    if (use === 'reshape' && symbolic === 1) sizes = sizes.map((d) => (typeof d === 'number' ? d : -1));
    if (sizes.every((d) => typeof d === 'number')) {
      this.#names.alias(value, this.#vector(sizes, value.hint));
      return;
    }
    const pieces = runs(sizes).map((run) =>
      typeof run === 'number' ? this.#entries(run) : this.#vector(run, value.hint),
    );
    if (pieces.length === 1) {
      this.#names.alias(value, pieces[0]!);
      return;
    }
    const name = this.#names.of(value);
    this.#push(name, 'Concat', pieces, [name], [['axis', { kind: 'int', value: 0 }]]);
  }

  /** The number of entries in the whole batch, [1]. */
  #entries(perSample: number): string {
    const known = this.#perSample.get(perSample);
    if (known !== undefined) return known;
    let name: string;
    if (perSample === 1) {
      const { name: input, axis } = this.#batched!;
      name = this.#names.fresh(batchSymbol);
      const range = [
        ['start', { kind: 'int', value: axis }],
        ['end', { kind: 'int', value: axis + 1 }],
      ] as const;
      this.#push(name, 'Shape', [input], [name], range);
    } else {
      const [batch, factor] = [this.#entries(1), this.#vector([perSample], 'factor')];
      name = this.#names.fresh(`${batchSymbol}x${perSample}`);
      this.#push(name, 'Mul', [batch, factor], [name]);
    }
    this.#perSample.set(perSample, name);
    return name;
  }
}

/** Neighbouring numbers together; a size that follows the batch by itself, as its entries for each sample. */
function runs(sizes: readonly Size[]): (number[] | number)[] {
  const found: (number[] | number)[] = [];
  for (const size of sizes) {
    const last = found.at(-1);
    if (typeof size !== 'number') found.push(size.perSample);
    else if (Array.isArray(last)) last.push(size);
    else found.push([size]);
  }
  return found;
}

function attributeOf(value: number | string | readonly number[] | { readonly float: number }): OnnxAttribute {
  if (typeof value === 'number') return { kind: 'int', value };
  if (typeof value === 'string') return { kind: 'string', value };
  return 'float' in value ? { kind: 'float', value: value.float } : { kind: 'ints', value };
}

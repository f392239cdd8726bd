/**
 * The bytes of an `.onnx` file → an `OnnxModel`. A file is untrusted: its structure is checked before it is decoded, no
 * size it states is believed before as many bytes are there, and an error names the place.
 *
 * Format: https://github.com/onnx/onnx/blob/main/docs/IR.md
 */
import type {
  AttributeProto,
  AttributeProto_AttributeType,
  FunctionProto,
  GraphProto,
  ModelProto,
  NodeProto,
  OperatorSetIdProto,
  SparseTensorProto,
  TensorProto,
  ValueInfoProto,
} from 'onnx-buf';
import { FormatError } from '../../core/errors.ts';
import { messages } from './messages.ts';
import type {
  OnnxAttribute,
  OnnxDim,
  OnnxFunction,
  OnnxGraph,
  OnnxModel,
  OnnxNode,
  OnnxTensor,
  OnnxValueInfo,
} from './model.ts';
import { type ExternalReader, onnxDTypeOf, type TensorFailure, tensorBytes } from './tensor-bytes.ts';
import { checkWire } from './wire.ts';

export interface DecodeOptions {
  /** Names the file in errors. */
  readonly where: string;
  /** Reads tensors that are kept in other files; without it they are refused. */
  readonly external?: ExternalReader;
}

export function decodeOnnx(bytes: Uint8Array, options: DecodeOptions): OnnxModel {
  const { where } = options;
  if (bytes.length === 0)
    throw new FormatError('onnx-empty', `${where}: the file is empty`, { fields: { file: where } });
  const { fromBinary, ModelProtoSchema } = messages();
  checkWire(ModelProtoSchema, bytes, where);
  let proto: ModelProto;
  try {
    proto = fromBinary(ModelProtoSchema, bytes, { readUnknownFields: false });
  } catch (cause) {
    throw new FormatError('onnx-wire', `${where}: not an ONNX file: ${(cause as Error).message}`, {
      fields: { file: where },
      cause,
    });
  }
  return new Decoder(options).model(proto);
}

class Decoder {
  readonly #where: string;
  readonly #external: ExternalReader | undefined;
  #sparseLeft = maxSparseElements;

  constructor({ where, external }: DecodeOptions) {
    this.#where = where;
    this.#external = external;
  }

  model(proto: ModelProto): OnnxModel {
    if (!proto.graph) throw this.#fail('graph', '', 'it has no graph: not an ONNX model');
    const opsets = this.#opsets(proto.opsetImport, 'opset_import');
    // Before IR version 3 a model said nothing of its operators' version: it was the first.
    if (!opsets.has('') && proto.irVersion < 3n) opsets.set('', 1);
    return {
      irVersion: saturate(proto.irVersion),
      producer: [proto.producerName, proto.producerVersion].filter(Boolean).join(' '),
      opsets,
      graph: this.#graph(proto.graph, 'graph'),
      functions: proto.functions.map((f, i) => this.#function(f, `functions[${i}]`)),
    };
  }

  #opsets(list: readonly OperatorSetIdProto[], place: string): Map<string, number> {
    const opsets = new Map<string, number>();
    for (const { domain, version } of list) {
      const name = plainDomain(domain);
      const given = saturate(version);
      if ((opsets.get(name) ?? given) !== given) {
        throw this.#fail('opset', place, `domain "${domain}" in versions ${opsets.get(name)} and ${given}`);
      }
      opsets.set(name, given);
    }
    return opsets;
  }

  #function(proto: FunctionProto, place: string): OnnxFunction {
    const defaults = proto.attributeProto.map((a, i) => this.#attribute(a, `${place}.attribute_proto[${i}]`));
    return {
      name: proto.name,
      domain: plainDomain(proto.domain),
      overload: proto.overload,
      inputs: proto.input,
      outputs: proto.output,
      attributes: proto.attribute,
      defaults: new Map(defaults),
      opsets: this.#opsets(proto.opsetImport, `${place}.opset_import`),
      nodes: proto.node.map((n, i) => this.#node(n, `${place}.node[${i}]`)),
    };
  }

  #graph(proto: GraphProto, place: string): OnnxGraph {
    return {
      name: proto.name,
      nodes: proto.node.map((n, i) => this.#node(n, `${place}.node[${i}]`)),
      initializers: [
        ...proto.initializer.map((t, i) => this.#tensor(t, `${place}.initializer[${i}]`)),
        ...proto.sparseInitializer.map((t, i) => this.#sparse(t, `${place}.sparse_initializer[${i}]`)),
      ],
      inputs: proto.input.map((v, i) => this.#valueInfo(v, `${place}.input[${i}]`)),
      outputs: proto.output.map((v, i) => this.#valueInfo(v, `${place}.output[${i}]`)),
      valueInfo: proto.valueInfo.map((v, i) => this.#valueInfo(v, `${place}.value_info[${i}]`)),
    };
  }

  #node(proto: NodeProto, place: string): OnnxNode {
    const name = proto.name ? `${place} (${short(proto.name)})` : place;
    if (!proto.opType) throw this.#fail('node', name, 'it has no op_type');
    const attributes = new Map<string, OnnxAttribute>();
    for (const [i, a] of proto.attribute.entries()) {
      const [key, value] = this.#attribute(a, `${name}.attribute[${i}]`);
      if (attributes.has(key)) throw this.#fail('attribute', name, `attribute ${short(key)} comes twice`);
      attributes.set(key, value);
    }
    return {
      name: proto.name,
      opType: proto.opType,
      domain: plainDomain(proto.domain),
      overload: proto.overload,
      inputs: proto.input,
      outputs: proto.output,
      attributes,
    };
  }

  #attribute(proto: AttributeProto, place: string): readonly [name: string, value: OnnxAttribute] {
    if (!proto.name) throw this.#fail('attribute', place, 'it has no name');
    const named = `${place} (${short(proto.name)})`;
    if (proto.refAttrName) return [proto.name, { kind: 'reference', value: proto.refAttrName }];
    return [proto.name, this.#attributeValue(proto, named)];
  }

  #attributeValue(proto: AttributeProto, place: string): OnnxAttribute {
    const { AttributeType } = messages();
    const type = proto.type || impliedType(proto);
    const stray = valueOutside(proto, type);
    if (stray) {
      const stated = AttributeType[type!] ?? type;
      const remedy = 'leave out the value that is not of its type';
      throw this.#fail('attribute', place, `its type is ${stated}, and it has a value of type ${stray}`, remedy);
    }
    switch (type) {
      case AttributeType.FLOAT:
        return { kind: 'float', value: proto.f };
      case AttributeType.INT:
        return { kind: 'int', value: saturate(proto.i) };
      case AttributeType.STRING:
        return { kind: 'string', value: utf8.decode(proto.s) };
      case AttributeType.TENSOR:
        if (!proto.t) throw this.#fail('attribute', place, 'it is a tensor and has none');
        return { kind: 'tensor', value: this.#tensor(proto.t, `${place}.t`) };
      case AttributeType.GRAPH:
        if (!proto.g) throw this.#fail('attribute', place, 'it is a graph and has none');
        return { kind: 'graph', value: this.#graph(proto.g, `${place}.g`) };
      case AttributeType.SPARSE_TENSOR:
        if (!proto.sparseTensor) throw this.#fail('attribute', place, 'it is a sparse tensor and has none');
        return { kind: 'tensor', value: this.#sparse(proto.sparseTensor, `${place}.sparse_tensor`) };
      case AttributeType.FLOATS:
        return { kind: 'floats', value: proto.floats };
      case AttributeType.INTS:
        return { kind: 'ints', value: proto.ints.map(saturate) };
      case AttributeType.STRINGS:
        return { kind: 'strings', value: proto.strings.map((s) => utf8.decode(s)) };
      case undefined:
        throw this.#fail('attribute', place, 'it has neither type nor value');
      default:
        return { kind: 'other', value: AttributeType[type] ?? `type ${type}` };
    }
  }

  #valueInfo(proto: ValueInfoProto, place: string): OnnxValueInfo {
    const { name } = proto;
    const value = proto.type?.value;
    if (value?.case !== 'tensorType') return { name, dtype: undefined, shape: undefined };
    const { elemType, shape } = value.value;
    return {
      name,
      dtype: onnxDTypeOf(elemType),
      shape: shape?.dim.map((d, i): OnnxDim => {
        if (d.value.case === 'dimParam') return d.value.value || null;
        // Some exporters write −1 for a size they do not know.
        if (d.value.case !== 'dimValue' || d.value.value === -1n) return null;
        if (d.value.value < 0n) throw this.#fail('shape', `${place} (${short(name)})`, `axis ${i} is ${d.value.value}`);
        return saturate(d.value.value);
      }),
    };
  }

  #tensor(proto: TensorProto, place: string): OnnxTensor {
    const named = proto.name ? `${place} (${short(proto.name)})` : place;
    const fail: TensorFailure = (code, what, remedy) => this.#fail(code, named, what, remedy);
    const dtype = onnxDTypeOf(proto.dataType);
    if (!dtype) throw fail('dtype', `element type ${proto.dataType} is not supported`);
    if (proto.segment) throw fail('tensor', 'tensors in segments are not supported');
    const { dims, count } = this.#dims(proto.dims, named);
    if (dtype === 'STRING') {
      if (proto.stringData.length !== count) {
        throw fail('tensor', `string_data has ${proto.stringData.length} values, and it takes ${count}`);
      }
      const strings = proto.stringData.map((s) => utf8.decode(s));
      return { name: proto.name, dtype, dims, bytes: new Uint8Array(), strings };
    }
    return { name: proto.name, dtype, dims, bytes: tensorBytes(proto, dtype, count, this.#external, fail) };
  }

  #dims(list: readonly bigint[], place: string): { dims: number[]; count: number } {
    const dims = list.map(saturate);
    if (dims.some((d) => d < 0)) throw this.#fail('shape', place, `its shape [${dims.join(', ')}] has a negative size`);
    // Bytes are checked against the product, so one beyond all files must not wrap around.
    const count = dims.includes(0) ? 0 : dims.reduce((n, d) => n * d, 1);
    if (!Number.isSafeInteger(count * 16))
      throw this.#fail('shape', place, `its shape [${dims.join(', ')}] is too large`);
    return { dims, count };
  }

  /** A sparse tensor as a dense one: values at linear indices [n] or at positions [n, rank]. */
  #sparse(proto: SparseTensorProto, place: string): OnnxTensor {
    if (!proto.values || !proto.indices) throw this.#fail('tensor', place, 'values or indices are missing');
    const values = this.#tensor(proto.values, `${place}.values`);
    const indices = this.#tensor(proto.indices, `${place}.indices`);
    const { dims, count } = this.#dims(proto.dims, place);
    const n = values.dims[0] ?? 0;
    const linear = indices.dims.length === 1;
    if (values.dims.length !== 1 || indices.dims[0] !== n || (!linear && indices.dims[1] !== dims.length)) {
      throw this.#fail('tensor', place, `[${values.dims.join(', ')}] values and [${indices.dims.join(', ')}] indices`);
    }
    const width = n === 0 ? 0 : values.bytes.length / n;
    if (indices.dtype !== 'INT64' || values.dtype === 'STRING' || count > this.#sparseLeft) {
      throw this.#fail('tensor', place, `a sparse tensor of ${count} × ${values.dtype} is not supported`);
    }
    this.#sparseLeft -= count;
    const bytes = new Uint8Array(count * width);
    const view = new DataView(indices.bytes.buffer, indices.bytes.byteOffset, indices.bytes.byteLength);
    for (let i = 0; i < n; i++) {
      let at = 0;
      for (let axis = 0; axis < (linear ? 1 : dims.length); axis++) {
        const size = linear ? count : dims[axis]!;
        const index = saturate(view.getBigInt64((linear ? i : i * dims.length + axis) * 8, true));
        if (index < 0 || index >= size) throw this.#fail('tensor', place, `index ${index} lies outside of ${size}`);
        at = linear ? index : at * size + index;
      }
      bytes.set(values.bytes.subarray(i * width, (i + 1) * width), at * width);
    }
    return { name: values.name, dtype: values.dtype, dims, bytes };
  }

  #fail(code: string, place: string, what: string, remedy?: string): FormatError {
    return new FormatError(`onnx-${code}`, `${this.#where}: ${place ? `${place}: ` : ''}${what}`, {
      fields: { file: this.#where, place },
      ...(remedy === undefined ? {} : { remedy }),
    });
  }
}

/** A few bytes may claim any dense size: this is what the sparse tensors of a file may take. */
const maxSparseElements = 2 ** 24;

const utf8 = new TextDecoder();

/** 'ai.onnx' is another name of ONNX's own domain. */
const plainDomain = (domain: string): string => (domain === 'ai.onnx' ? '' : domain);

/** A name in an error: files may hold any. */
const short = (name: string): string => (name.length > 80 ? `${name.slice(0, 80)}…` : name);

/** Exact up to 2^53; what lies beyond means "to the end" and becomes ±2^53. */
export const saturate = (value: bigint): number =>
  value > limit ? 2 ** 53 : value < -limit ? -(2 ** 53) : Number(value);
const limit = 2n ** 53n;

/** The kind of a value that the attribute has beside the one that its type says; undefined: none. */
function valueOutside(proto: AttributeProto, type: AttributeProto_AttributeType | undefined): string | undefined {
  const { AttributeProtoSchema, AttributeType, isFieldSet } = messages();
  const { field } = AttributeProtoSchema;
  const kinds = [
    ['FLOAT', field.f],
    ['INT', field.i],
    ['STRING', field.s],
    ['TENSOR', field.t],
    ['GRAPH', field.g],
    ['SPARSE_TENSOR', field.sparseTensor],
    ['FLOATS', field.floats],
    ['INTS', field.ints],
    ['STRINGS', field.strings],
  ] as const;
  return kinds.find(([kind, f]) => AttributeType[kind] !== type && isFieldSet(proto, f))?.[0];
}

/** Files of the first IR versions do not say which of its fields an attribute uses. */
function impliedType(proto: AttributeProto): AttributeProto_AttributeType | undefined {
  const { AttributeProtoSchema, AttributeType, isFieldSet } = messages();
  const { field } = AttributeProtoSchema;
  if (isFieldSet(proto, field.f)) return AttributeType.FLOAT;
  if (isFieldSet(proto, field.i)) return AttributeType.INT;
  if (isFieldSet(proto, field.s)) return AttributeType.STRING;
  if (proto.t) return AttributeType.TENSOR;
  if (proto.g) return AttributeType.GRAPH;
  if (proto.floats.length > 0) return AttributeType.FLOATS;
  if (proto.ints.length > 0) return AttributeType.INTS;
  if (proto.strings.length > 0) return AttributeType.STRINGS;
  return undefined;
}

/** An `OnnxModel` → the bytes of an `.onnx` file: what decode.ts reads, written. */
import type { AttributeProto, FunctionProto, GraphProto, NodeProto, TensorProto, ValueInfoProto } from 'onnx-buf';
import { FormatError } from '../../core/errors.ts';
import { formatBytes } from '../../core/format.ts';
import { messages } from './messages.ts';
import {
  type OnnxAttribute,
  type OnnxFunction,
  type OnnxGraph,
  type OnnxModel,
  type OnnxNode,
  type OnnxTensor,
  type OnnxValueInfo,
  onnxDTypes,
} from './model.ts';

/** What a protocol buffer can hold: its readers count bytes in 32 bits with a sign. */
const maxBytes = 2 ** 31 - 1;

/** Throws FormatError where the tensors do not fit into one file. */
export function encodeOnnx(model: OnnxModel): Uint8Array {
  const bytes = model.graph.initializers.reduce((sum, t) => sum + t.bytes.length, 0);
  if (bytes > maxBytes) {
    throw new FormatError('onnx-too-large', `the model's tensors take ${formatBytes(bytes)}; a file holds 2 GiB`, {
      fields: { bytes, maxBytes },
    });
  }
  const { create, ModelProtoSchema, toBinary } = messages();
  const proto = create(ModelProtoSchema, {
    irVersion: BigInt(model.irVersion),
    producerName: model.producer,
    opsetImport: opsetImport(model.opsets),
    graph: graphProto(model.graph),
    functions: model.functions.map(functionProto),
  });
  return toBinary(ModelProtoSchema, proto);
}

const opsetImport = (opsets: ReadonlyMap<string, number>) =>
  [...opsets].map(([domain, version]) => ({ domain, version: BigInt(version) }));

function graphProto(graph: OnnxGraph): GraphProto {
  const { create, GraphProtoSchema } = messages();
  return create(GraphProtoSchema, {
    name: graph.name,
    node: graph.nodes.map(nodeProto),
    initializer: graph.initializers.map(tensorProto),
    input: graph.inputs.map(valueInfoProto),
    output: graph.outputs.map(valueInfoProto),
    valueInfo: graph.valueInfo.map(valueInfoProto),
  });
}

function functionProto(f: OnnxFunction): FunctionProto {
  const { create, FunctionProtoSchema } = messages();
  return create(FunctionProtoSchema, {
    name: f.name,
    domain: f.domain,
    overload: f.overload,
    input: [...f.inputs],
    output: [...f.outputs],
    attribute: [...f.attributes],
    attributeProto: attributeProtos(f.defaults),
    opsetImport: opsetImport(f.opsets),
    node: f.nodes.map(nodeProto),
  });
}

function nodeProto(node: OnnxNode): NodeProto {
  const { create, NodeProtoSchema } = messages();
  return create(NodeProtoSchema, {
    name: node.name,
    opType: node.opType,
    domain: node.domain,
    overload: node.overload,
    input: [...node.inputs],
    output: [...node.outputs],
    attribute: attributeProtos(node.attributes),
  });
}

function attributeProtos(attributes: ReadonlyMap<string, OnnxAttribute>): AttributeProto[] {
  const { create, AttributeProtoSchema } = messages();
  return [...attributes].map(([name, attribute]) =>
    create(AttributeProtoSchema, { name, ...attributeValue(attribute) }),
  );
}

const utf8 = new TextEncoder();

function attributeValue(attribute: OnnxAttribute) {
  const { AttributeType } = messages();
  switch (attribute.kind) {
    case 'float':
      return { type: AttributeType.FLOAT, f: attribute.value };
    case 'int':
      return { type: AttributeType.INT, i: BigInt(attribute.value) };
    case 'string':
      return { type: AttributeType.STRING, s: utf8.encode(attribute.value) };
    case 'tensor':
      return { type: AttributeType.TENSOR, t: tensorProto(attribute.value) };
    case 'graph':
      return { type: AttributeType.GRAPH, g: graphProto(attribute.value) };
    case 'floats':
      return { type: AttributeType.FLOATS, floats: [...attribute.value] };
    case 'ints':
      return { type: AttributeType.INTS, ints: attribute.value.map(BigInt) };
    case 'strings':
      return { type: AttributeType.STRINGS, strings: attribute.value.map((s) => utf8.encode(s)) };
    case 'reference':
      return { refAttrName: attribute.value };
    case 'other':
      throw new FormatError('onnx-attribute', `an attribute of kind ${attribute.value} cannot be written`);
  }
}

function tensorProto({ name, dtype, dims, bytes, strings }: OnnxTensor): TensorProto {
  const { create, TensorProtoSchema } = messages();
  return create(TensorProtoSchema, {
    name,
    dataType: onnxDTypes[dtype],
    dims: dims.map(BigInt),
    ...(strings
      ? { stringData: strings.map((s) => utf8.encode(s)) }
      : { rawData: new Uint8Array(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.byteLength) }),
  });
}

function valueInfoProto({ name, dtype, shape }: OnnxValueInfo): ValueInfoProto {
  const { create, ValueInfoProtoSchema } = messages();
  if (!dtype) return create(ValueInfoProtoSchema, { name });
  const dim = shape?.map((d) => {
    if (d === null) return {};
    return typeof d === 'number'
      ? { value: { case: 'dimValue' as const, value: BigInt(d) } }
      : { value: { case: 'dimParam' as const, value: d } };
  });
  const value = { elemType: onnxDTypes[dtype], ...(dim ? { shape: { dim } } : {}) };
  return create(ValueInfoProtoSchema, { name, type: { value: { case: 'tensorType', value } } });
}

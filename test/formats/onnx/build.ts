/** ONNX files for tests, in a few words. */
import { create, toBinary } from '@bufbuild/protobuf';
import {
  type AttributeProto,
  AttributeProtoSchema,
  AttributeProto_AttributeType as AttributeType,
  FunctionProtoSchema,
  type GraphProto,
  GraphProtoSchema,
  ModelProtoSchema,
  type NodeProto,
  NodeProtoSchema,
  TensorProtoSchema,
  ValueInfoProtoSchema,
} from 'onnx-buf';
import { decodeOnnx } from '../../../src/formats/onnx/decode.ts';
import { type OnnxDType, type OnnxModel, onnxDTypes } from '../../../src/formats/onnx/model.ts';

export type Dim = number | string | null;

export interface Info {
  readonly name: string;
  /** default FLOAT */
  readonly dtype?: OnnxDType;
  readonly shape?: readonly Dim[];
}

export interface Constant {
  readonly name: string;
  readonly dtype?: OnnxDType;
  readonly dims: readonly number[];
  readonly values: readonly number[];
}

export type AttributeValue =
  | number
  | string
  | readonly number[]
  | readonly string[]
  | { readonly float: number }
  | { readonly graph: GraphText }
  | { readonly tensor: Constant }
  | { readonly ref: string };

export interface NodeText {
  readonly op: string;
  readonly name?: string;
  readonly domain?: string;
  readonly in?: readonly string[];
  readonly out?: readonly string[];
  readonly attrs?: Readonly<Record<string, AttributeValue>>;
}

export interface GraphText {
  readonly nodes?: readonly NodeText[];
  readonly inputs?: readonly Info[];
  readonly outputs?: readonly Info[];
  readonly initializers?: readonly Constant[];
  readonly valueInfo?: readonly Info[];
}

export interface FunctionText {
  readonly name: string;
  readonly domain: string;
  readonly in: readonly string[];
  readonly out: readonly string[];
  readonly attrs?: readonly string[];
  readonly nodes: readonly NodeText[];
}

export interface ModelText extends GraphText {
  readonly ir?: number;
  /** default 17 */
  readonly opset?: number;
  readonly domains?: Readonly<Record<string, number>>;
  readonly functions?: readonly FunctionText[];
}

const info = ({ name, dtype = 'FLOAT', shape }: Info) =>
  create(ValueInfoProtoSchema, {
    name,
    type: {
      value: {
        case: 'tensorType',
        value: {
          elemType: onnxDTypes[dtype],
          ...(shape
            ? {
                shape: {
                  dim: shape.map((d) =>
                    d === null
                      ? {}
                      : typeof d === 'number'
                        ? { value: { case: 'dimValue' as const, value: BigInt(d) } }
                        : { value: { case: 'dimParam' as const, value: d } },
                  ),
                },
              }
            : {}),
        },
      },
    },
  });

const int64s = (values: readonly number[]) => values.map((v) => BigInt(v));

/** Values in the field that the element type has them in. */
export const tensor = ({ name, dtype = 'FLOAT', dims, values }: Constant) =>
  create(TensorProtoSchema, {
    name,
    dataType: onnxDTypes[dtype],
    dims: int64s(dims),
    ...(dtype === 'FLOAT'
      ? { floatData: [...values] }
      : dtype === 'INT64'
        ? { int64Data: int64s(values) }
        : dtype === 'DOUBLE'
          ? { doubleData: [...values] }
          : dtype === 'UINT64' || dtype === 'UINT32'
            ? { uint64Data: int64s(values) }
            : { int32Data: [...values] }),
  });

function attribute(name: string, value: AttributeValue): AttributeProto {
  const make = (fields: Partial<AttributeProto>) => create(AttributeProtoSchema, { name, ...fields } as AttributeProto);
  if (typeof value === 'number') return make({ type: AttributeType.INT, i: BigInt(value) });
  if (typeof value === 'string') return make({ type: AttributeType.STRING, s: new TextEncoder().encode(value) });
  if (Array.isArray(value)) {
    return typeof value[0] === 'string'
      ? make({ type: AttributeType.STRINGS, strings: value.map((v) => new TextEncoder().encode(v as string)) })
      : make({ type: AttributeType.INTS, ints: int64s(value as readonly number[]) });
  }
  if ('float' in value) return make({ type: AttributeType.FLOAT, f: value.float });
  if ('graph' in value) return make({ type: AttributeType.GRAPH, g: graph(value.graph) });
  if ('tensor' in value) return make({ type: AttributeType.TENSOR, t: tensor(value.tensor) });
  return make({ refAttrName: (value as { ref: string }).ref });
}

const node = ({ op, name = '', domain = '', in: input = [], out = [], attrs = {} }: NodeText): NodeProto =>
  create(NodeProtoSchema, {
    opType: op,
    name,
    domain,
    input: [...input],
    output: [...out],
    attribute: Object.entries(attrs).map(([key, value]) => attribute(key, value)),
  });

const graph = ({ nodes = [], inputs = [], outputs = [], initializers = [], valueInfo = [] }: GraphText): GraphProto =>
  create(GraphProtoSchema, {
    node: nodes.map(node),
    input: inputs.map(info),
    output: outputs.map(info),
    initializer: initializers.map(tensor),
    valueInfo: valueInfo.map(info),
  });

const opsetImport = (opset: number, domains: Readonly<Record<string, number>> = {}) =>
  Object.entries({ '': opset, ...domains }).map(([domain, version]) => ({ domain, version: BigInt(version) }));

export const onnxProto = ({ ir = 8, opset = 17, domains, functions = [], ...main }: ModelText) =>
  create(ModelProtoSchema, {
    irVersion: BigInt(ir),
    opsetImport: opsetImport(opset, domains),
    graph: graph(main),
    functions: functions.map((f) =>
      create(FunctionProtoSchema, {
        name: f.name,
        domain: f.domain,
        input: [...f.in],
        output: [...f.out],
        attribute: [...(f.attrs ?? [])],
        node: f.nodes.map(node),
        opsetImport: opsetImport(opset, domains),
      }),
    ),
  });

export const onnxBytes = (text: ModelText): Uint8Array => toBinary(ModelProtoSchema, onnxProto(text));

export const onnxOf = (text: ModelText): OnnxModel => decodeOnnx(onnxBytes(text), { where: 'test.onnx' });

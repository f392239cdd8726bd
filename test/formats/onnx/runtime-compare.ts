/** Models of one node, written as ONNX files and run by both onnxruntime and our importer: a reference no one here wrote. */
import { create, toBinary } from '@bufbuild/protobuf';
import {
  type AttributeProto,
  AttributeProto_AttributeType,
  AttributeProtoSchema,
  GraphProtoSchema,
  ModelProtoSchema,
  NodeProtoSchema,
  OperatorSetIdProtoSchema,
  TensorProto_DataType,
  TensorProtoSchema,
  TensorShapeProto_DimensionSchema,
  TensorShapeProtoSchema,
  TypeProto_TensorSchema,
  TypeProtoSchema,
  type ValueInfoProto,
  ValueInfoProtoSchema,
} from 'onnx-buf';
import { InferenceSession, Tensor as OrtTensor } from 'onnxruntime-node';
import { elementCount } from '../../../src/core/types.ts';
import { decodeOnnx } from '../../../src/formats/onnx/decode.ts';
import { prepareImport } from '../../../src/formats/onnx/importer.ts';
import type { OnnxModel } from '../../../src/formats/onnx/model.ts';
import { evaluate } from '../../../src/graph/evaluate.ts';
import type { Graph, Tensor } from '../../../src/graph/graph.ts';
import type { RefTensor } from '../../../src/graph/op-record.ts';
import type { ModelMode } from '../../../src/optim/model.ts';

export interface NodeInput {
  readonly dtype?: 'FLOAT' | 'INT64' | 'BOOL';
  readonly dims: readonly number[];
  readonly data: readonly number[];
  /** Stands in the file instead of being fed. */
  readonly constant?: boolean;
}

export interface NodeModel {
  readonly opType: string;
  readonly opset: number;
  readonly domain?: string;
  /** null: left out. */
  readonly inputs: readonly (NodeInput | null)[];
  /** Default 1. Element types of the outputs, all FLOAT by default. */
  readonly outputs?: readonly ('FLOAT' | 'BOOL' | 'INT64')[];
  /** Whole numbers are INT unless they are boxed: `{ float: 1 }`. */
  readonly attributes?: Readonly<Record<string, AttributeValue>>;
}

export type AttributeValue =
  | number
  | string
  | readonly number[]
  | { readonly float: number }
  | { readonly floats: readonly number[] };

function attributeOf(name: string, value: AttributeValue): AttributeProto {
  const { FLOAT, FLOATS, INT, INTS, STRING } = AttributeProto_AttributeType;
  if (typeof value === 'string') {
    return create(AttributeProtoSchema, { name, type: STRING, s: new TextEncoder().encode(value) });
  }
  if (typeof value === 'number' && Number.isInteger(value)) {
    return create(AttributeProtoSchema, { name, type: INT, i: BigInt(value) });
  }
  if (typeof value === 'number') return create(AttributeProtoSchema, { name, type: FLOAT, f: value });
  if ('float' in value) return create(AttributeProtoSchema, { name, type: FLOAT, f: value.float });
  if ('floats' in value) return create(AttributeProtoSchema, { name, type: FLOATS, floats: [...value.floats] });
  return create(AttributeProtoSchema, { name, type: INTS, ints: value.map(BigInt) });
}

/** A value's name and type; outputs' shapes are left to be found. */
function valueInfo(name: string, dtype: NonNullable<NodeInput['dtype']>, dims?: readonly number[]): ValueInfoProto {
  const dim = dims?.map((d) =>
    create(TensorShapeProto_DimensionSchema, { value: { case: 'dimValue', value: BigInt(d) } }),
  );
  const value = create(TypeProto_TensorSchema, {
    elemType: TensorProto_DataType[dtype],
    ...(dim ? { shape: create(TensorShapeProtoSchema, { dim }) } : {}),
  });
  return create(ValueInfoProtoSchema, {
    name,
    type: create(TypeProtoSchema, { value: { case: 'tensorType', value } }),
  });
}

function rawData({ dtype = 'FLOAT', data }: NodeInput): Uint8Array<ArrayBuffer> {
  if (dtype === 'BOOL') return Uint8Array.from(data);
  const array = dtype === 'FLOAT' ? Float32Array.from(data) : BigInt64Array.from(data.map(BigInt));
  return new Uint8Array(array.buffer);
}

const inputName = (i: number): string => `in${i}`;
const outputName = (i: number): string => `out${i}`;

/** The bytes of an ONNX file with this one node. */
export function fileOf(model: NodeModel): Uint8Array {
  const { opType, opset, domain = '', inputs, outputs = ['FLOAT'], attributes = {} } = model;
  const given = inputs.flatMap((input, i) => (input ? [{ input, name: inputName(i) }] : []));
  const graph = create(GraphProtoSchema, {
    name: 'one node',
    node: [
      create(NodeProtoSchema, {
        name: 'node',
        opType,
        domain,
        input: inputs.map((input, i) => (input ? inputName(i) : '')),
        output: outputs.map((_, i) => outputName(i)),
        attribute: Object.entries(attributes).map(([name, value]) => attributeOf(name, value)),
      }),
    ],
    input: given
      .filter(({ input }) => !input.constant)
      .map(({ input, name }) => valueInfo(name, input.dtype ?? 'FLOAT', input.dims)),
    initializer: given
      .filter(({ input }) => input.constant)
      .map(({ input, name }) =>
        create(TensorProtoSchema, {
          name,
          dims: input.dims.map(BigInt),
          dataType: TensorProto_DataType[input.dtype ?? 'FLOAT'],
          rawData: rawData(input),
        }),
      ),
    output: outputs.map((dtype, i) => valueInfo(outputName(i), dtype)),
  });
  const opsets = [{ domain: '', version: BigInt(opset) }, ...(domain ? [{ domain, version: 1n }] : [])];
  const opsetImport = opsets.map((set) => create(OperatorSetIdProtoSchema, set));
  return toBinary(ModelProtoSchema, create(ModelProtoSchema, { irVersion: 8n, opsetImport, graph }));
}

export const decoded = (model: NodeModel): OnnxModel => decodeOnnx(fileOf(model), { where: 'test.onnx' });

/** The graph of a model whose inputs are not batched. */
export const graphOf = (model: NodeModel, mode: ModelMode = 'evaluation'): Graph => {
  const batchAxes = Object.fromEntries(
    model.inputs.flatMap((input, i) => (input && !input.constant ? [[inputName(i), null]] : [])),
  );
  return prepareImport(decoded(model), { batchAxes }).build(1, mode);
};

/** Outputs by our importer, in f64. */
export function ours(model: NodeModel, mode: ModelMode = 'evaluation'): RefTensor[] {
  const graph = graphOf(model, mode);
  const feeds = new Map<Tensor, RefTensor>();
  for (const kind of ['input', 'parameter', 'buffer'] as const) {
    for (const source of graph.sources(kind)) {
      const at = model.inputs.findIndex((_, i) => inputName(i) === source.node.source!.name);
      const data = at >= 0 ? model.inputs[at]!.data.map(Math.fround) : new Float64Array(elementCount(source.shape));
      feeds.set(source, { type: source.type, data: Float64Array.from(data) });
    }
  }
  return evaluate([...graph.outputs.values()], feeds);
}

/** Outputs by onnxruntime. */
export async function theirs(model: NodeModel): Promise<{ dims: readonly number[]; data: number[] }[]> {
  const session = await InferenceSession.create(fileOf(model), { logSeverityLevel: 4 });
  const feeds = Object.fromEntries(
    model.inputs.flatMap((input, i) => {
      if (!input || input.constant) return [];
      const { dtype = 'FLOAT', dims, data } = input;
      const values =
        dtype === 'FLOAT'
          ? Float32Array.from(data)
          : dtype === 'BOOL'
            ? Uint8Array.from(data)
            : BigInt64Array.from(data.map(BigInt));
      const type = ({ FLOAT: 'float32', INT64: 'int64', BOOL: 'bool' } as const)[dtype];
      return [[inputName(i), new OrtTensor(type, values as Float32Array, dims)]];
    }),
  );
  const results = await session.run(feeds);
  return session.outputNames.map((name: string) => {
    const { dims, data } = results[name]!;
    return { dims, data: Array.from(data as ArrayLike<number>, Number) };
  });
}

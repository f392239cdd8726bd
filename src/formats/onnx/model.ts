/**
 * An ONNX model as plain data: what stands between the bytes of a file and a graph. Decoding checks every length and
 * index, so that whoever reads these structures need not; nothing here knows what an operator means.
 */

/** Element types of TensorProto.DataType, by name. */
export const onnxDTypes = {
  FLOAT: 1,
  UINT8: 2,
  INT8: 3,
  UINT16: 4,
  INT16: 5,
  INT32: 6,
  INT64: 7,
  STRING: 8,
  BOOL: 9,
  FLOAT16: 10,
  DOUBLE: 11,
  UINT32: 12,
  UINT64: 13,
  COMPLEX64: 14,
  COMPLEX128: 15,
  BFLOAT16: 16,
} as const;
export type OnnxDType = keyof typeof onnxDTypes;

/** A constant of the file. Bytes are little-endian, row-major, exactly as many as dtype and dims say; strings apart. */
export interface OnnxTensor {
  readonly name: string;
  readonly dtype: OnnxDType;
  readonly dims: readonly number[];
  readonly bytes: Uint8Array;
  /** Of STRING tensors, whose bytes are empty. */
  readonly strings?: readonly string[];
}

/** An attribute, by the kind of its value. */
export type OnnxAttribute =
  | { readonly kind: 'float'; readonly value: number }
  | { readonly kind: 'int'; readonly value: number }
  | { readonly kind: 'string'; readonly value: string }
  | { readonly kind: 'tensor'; readonly value: OnnxTensor }
  | { readonly kind: 'graph'; readonly value: OnnxGraph }
  | { readonly kind: 'floats'; readonly value: readonly number[] }
  | { readonly kind: 'ints'; readonly value: readonly number[] }
  | { readonly kind: 'strings'; readonly value: readonly string[] }
  /** Inside a function: the value of this attribute of the node that calls it. */
  | { readonly kind: 'reference'; readonly value: string }
  /** Sparse tensors, types, lists of graphs: known by kind, not by value. */
  | { readonly kind: 'other'; readonly value: string };

export interface OnnxNode {
  readonly name: string;
  readonly opType: string;
  /** `''` is ONNX's own. */
  readonly domain: string;
  /** Tells functions of one name apart. */
  readonly overload: string;
  /** Names of values; `''` where an optional input is left out. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: ReadonlyMap<string, OnnxAttribute>;
}

/** A size: a number, a symbol (`batch`), or unknown. */
export type OnnxDim = number | string | null;

export interface OnnxValueInfo {
  readonly name: string;
  /** undefined: sequences, maps, optional values. */
  readonly dtype: OnnxDType | undefined;
  /** undefined: unknown rank. */
  readonly shape: readonly OnnxDim[] | undefined;
}

export interface OnnxGraph {
  readonly name: string;
  readonly nodes: readonly OnnxNode[];
  readonly initializers: readonly OnnxTensor[];
  readonly inputs: readonly OnnxValueInfo[];
  readonly outputs: readonly OnnxValueInfo[];
  readonly valueInfo: readonly OnnxValueInfo[];
}

/** A function of the model file (ONNX FunctionProto): a node that names it stands for its nodes. */
export interface OnnxFunction {
  readonly name: string;
  readonly domain: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly overload: string;
  /** Attributes that a call must give … */
  readonly attributes: readonly string[];
  /** … and those with a default. */
  readonly defaults: ReadonlyMap<string, OnnxAttribute>;
  readonly opsets: ReadonlyMap<string, number>;
  readonly nodes: readonly OnnxNode[];
}

export interface OnnxModel {
  readonly irVersion: number;
  readonly producer: string;
  /** Version of each operator set, by domain. */
  readonly opsets: ReadonlyMap<string, number>;
  readonly graph: OnnxGraph;
  readonly functions: readonly OnnxFunction[];
}

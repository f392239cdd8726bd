/** Tensor types: what flows along an edge of the graph. */
export type DType = 'f32' | 'i32' | 'bool';
/** Sizes of the axes, row-major (the last axis is contiguous). `[]` is a scalar. */
export type Shape = readonly number[];

export interface TensorType {
  readonly dtype: DType;
  readonly shape: Shape;
}

/** Bytes of one element in a device's memory. */
export const bytesPerElement: Readonly<Record<DType, number>> = { f32: 4, i32: 4, bool: 1 };

export const elementCount = (shape: Shape): number => shape.reduce((n, d) => n * d, 1);

/** Exact payload bytes of a tensor (no alignment). */
export const byteSize = (type: TensorType): number => elementCount(type.shape) * bytesPerElement[type.dtype];

export const sameShape = (a: Shape, b: Shape): boolean => a.length === b.length && a.every((d, i) => d === b[i]);

export const sameType = (a: TensorType, b: TensorType): boolean => a.dtype === b.dtype && sameShape(a.shape, b.shape);

/** `f32[8, 3]` */
export const formatType = (type: TensorType): string => `${type.dtype}[${type.shape.join(', ')}]`;

export const formatShape = (shape: Shape): string => `[${shape.join(', ')}]`;

/** Row-major strides in elements. */
export function stridesOf(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let step = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = step;
    step *= shape[i]!;
  }
  return strides;
}

/** NumPy/ONNX multidirectional broadcasting; undefined where the shapes do not broadcast. */
export function broadcastShapes(...shapes: Shape[]): number[] | undefined {
  const rank = Math.max(0, ...shapes.map((s) => s.length));
  const out = new Array<number>(rank).fill(1);
  for (const shape of shapes) {
    for (let i = 0; i < shape.length; i++) {
      const at = rank - shape.length + i;
      const d = shape[i]!;
      if (d === 1 || d === out[at]) continue;
      if (out[at] !== 1) return undefined;
      out[at] = d;
    }
  }
  return out;
}

/** A tensor's values outside any device. bool is stored as 0/1 bytes. */
export type TensorData = Float32Array | Int32Array | Uint8Array;

export interface HostTensor {
  readonly type: TensorType;
  readonly data: TensorData;
}

export function allocate(type: TensorType): TensorData {
  const n = elementCount(type.shape);
  return type.dtype === 'f32' ? new Float32Array(n) : type.dtype === 'i32' ? new Int32Array(n) : new Uint8Array(n);
}

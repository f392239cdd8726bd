import { byteSize, type TensorType } from '../core/types.ts';

/** Bytes of an op that reads every input and writes every output once. */
export const elementwiseBytes = (inputs: readonly TensorType[], outputs: readonly TensorType[]): number =>
  [...inputs, ...outputs].reduce((bytes, type) => bytes + byteSize(type), 0);

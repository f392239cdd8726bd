import { DeviceError } from '../../core/errors.ts';
import { type DType, elementCount, type TensorData, type TensorType } from '../../core/types.ts';
import { lowerForReference } from '../../lower/reference.ts';
import { evaluateFused, type FusedAttrs, fusedOp } from '../../ops/fused.ts';
import { isOpName, recordOf } from '../../ops/index.ts';
import type { Backend } from '../backend.ts';

/**
 * The op records' f64 references in a device's memory: tensors lie there as on the wasm backend (f32, i32, one byte a
 * bool), each node computes in f64 and rounds once when it stores. Slow and plain; what other backends are compared to.
 */
export function createReferenceBackend(memory: WebAssembly.Memory): Backend {
  return {
    name: 'reference',
    lower: lowerForReference,
    bind: (call, node, at) => {
      if (!isOpName(call.kernel)) {
        throw new DeviceError('unknown-kernel', `the reference backend has no op ${call.kernel}`, {
          fields: { op: node.op },
        });
      }
      const record = recordOf(call.kernel);
      const inputs = node.inputs.map((type, i) => view(memory, type, at.inputs[i]!));
      const outputs = node.outputs.map((type, i) => view(memory, type, at.outputs[i]!));
      // Over microbatches: later ones go on from what the output holds.
      const { accumulates } = record;
      const goesOn = accumulates && node.attrs.first === false;
      return () => {
        // All inputs are read before any output is written: an output may share an input's bytes.
        const values = inputs.map((data, i) => ({ type: node.inputs[i]!, data: Float64Array.from(data) }));
        const results = goesOn
          ? [accumulates.next(Float64Array.from(outputs[0]!), values, node.attrs)]
          : node.op === fusedOp.name
            ? evaluateFused(values, node.attrs as unknown as FusedAttrs, stored)
            : record.reference(values, node.attrs, node.outputs);
        outputs.forEach((data, i) => {
          data.set(results[i]!);
        });
      };
    },
  };
}

/** A fused chain's values between its ops are what its ops one by one would have left in memory. */
const stored = (values: Float64Array, { dtype }: TensorType): Float64Array =>
  Float64Array.from(new views[dtype](values));

const views: Readonly<Record<DType, Float32ArrayConstructor | Int32ArrayConstructor | Uint8ArrayConstructor>> = {
  f32: Float32Array,
  i32: Int32Array,
  bool: Uint8Array,
};

const view = (memory: WebAssembly.Memory, type: TensorType, offset: number): TensorData =>
  new views[type.dtype](memory.buffer, offset, elementCount(type.shape));

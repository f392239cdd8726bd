import { DeviceError } from '../../core/errors.ts';
import { lowerForBlas } from '../../lower/blas/index.ts';
import type { Arg } from '../../lower/kernel-call.ts';
import { lowerForWasm } from '../../lower/wasm/index.ts';
import type { Backend, Binding } from '../backend.ts';
import type { AttentionExports } from '../blas/attention.ts';
import type { ConvExports } from '../blas/convolutions.ts';
import type { Blas } from '../blas/library.ts';
import { nativeProducts } from '../blas/products.ts';
import { close, type Kernel } from './close.ts';
import { FusedKernels } from './fused-kernel.ts';

/**
 * The kernels, instantiated on a device's memory. They hold no state and allocate nothing there. Fused chains get kernels
 * of their own, made of theirs. With `blas`, products are the library's.
 */
export function createWasmBackend(module: WebAssembly.Module, memory: WebAssembly.Memory, blas?: Blas): Backend {
  const instance = new WebAssembly.Instance(module, imports(module, memory));
  const native = blas && nativeProducts(blas, memory, instance.exports as unknown as ConvExports & AttentionExports);
  const fused = new FusedKernels(module, memory);
  return {
    name: blas ? 'blas' : 'wasm',
    lower: blas ? lowerForBlas : lowerForWasm,
    bind: (call, node, at) => {
      if (call.body) {
        const kernel = fused.kernelOf(call.body);
        return close(
          kernel,
          call.args.map((arg) => resolve(arg, at)),
        );
      }
      const bindNative = native?.[call.kernel];
      if (bindNative) return bindNative(call.args.map((arg) => resolve(arg, at)));
      const kernel = instance.exports[call.kernel];
      if (typeof kernel !== 'function') {
        throw new DeviceError(
          'unknown-kernel',
          `${node.op} needs the kernel ${call.kernel}, which this build does not have`,
          {
            fields: { op: node.op, kernel: call.kernel },
            remedy: 'node scripts/build.mjs kernels',
          },
        );
      }
      // Missing arguments would silently become 0, surplus ones be dropped.
      if (kernel.length !== call.args.length) {
        throw new DeviceError(
          'kernel-arity',
          `kernel ${call.kernel} takes ${kernel.length} arguments and ${node.op} was lowered to ${call.args.length}`,
          { fields: { op: node.op, kernel: call.kernel } },
        );
      }
      return close(
        kernel as Kernel,
        call.args.map((arg) => resolve(arg, at)),
      );
    },
  };
}

/** Byte offset, or the number itself. */
function resolve(arg: Arg, at: Binding): number {
  if (typeof arg === 'number') return arg;
  const base =
    'input' in arg ? at.inputs[arg.input]! : 'output' in arg ? at.outputs[arg.output]! : at.workspace + arg.workspace;
  return base + (arg.plus ?? 0);
}

/** Whatever name the compiler gives the imported memory; nothing else is imported. */
function imports(module: WebAssembly.Module, memory: WebAssembly.Memory): WebAssembly.Imports {
  const result: Record<string, Record<string, WebAssembly.Memory>> = {};
  for (const { module: from, name, kind } of WebAssembly.Module.imports(module)) {
    if (kind !== 'memory')
      throw new DeviceError('kernel-import', `the kernels import ${kind} ${from}.${name}; only a memory is given`);
    (result[from] ??= {})[name] = memory;
  }
  return result;
}

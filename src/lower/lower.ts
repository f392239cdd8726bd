import { byteSize } from '../core/types.ts';
import { lowerForBlas } from './blas/index.ts';
import {
  type BackendName,
  type ComputingBackend,
  type KernelCall,
  kernelsOf,
  type Lowered,
  type NodeSignature,
} from './kernel-call.ts';
import { lowerForReference } from './reference.ts';
import { addingOnWasm } from './wasm/adding.ts';
import { lowerForWasm } from './wasm/index.ts';
import { overwritableOnWasm } from './wasm/overwrite.ts';

/** Node → kernel calls, by backend. Pure: what a node becomes never depends on where or when it runs. */
const lowerings: Readonly<Record<ComputingBackend, (node: NodeSignature) => Lowered>> = {
  wasm: lowerForWasm,
  blas: lowerForBlas,
  reference: lowerForReference,
};

export const lowerNode = (backend: BackendName, node: NodeSignature): Lowered => lowerings[kernelsOf(backend)](node);

const overwritable: Readonly<Record<ComputingBackend, (node: NodeSignature, lowered: Lowered) => readonly number[]>> = {
  wasm: overwritableOnWasm,
  blas: overwritableOnWasm,
  // It reads all of a node's inputs before it writes.
  reference: ({ inputs, outputs }) =>
    inputs.flatMap((type, i) => (byteSize(type) === byteSize(outputs[0]!) ? [i] : [])),
};

/** Inputs over which the calls may write output 0, should nobody read them later. */
export const overwritableInputs = (backend: BackendName, node: NodeSignature, lowered: Lowered): readonly number[] =>
  overwritable[kernelsOf(backend)](node, lowered);

const adding: Readonly<Record<ComputingBackend, (calls: readonly KernelCall[]) => readonly KernelCall[] | undefined>> =
  {
    wasm: addingOnWasm,
    blas: addingOnWasm,
    reference: () => undefined,
  };

/**
 * The same calls, but that they add to output 0 what they would store there, with the bits of that sum; undefined where
 * none can.
 */
export const addingCalls = (backend: BackendName, calls: readonly KernelCall[]): readonly KernelCall[] | undefined =>
  adding[kernelsOf(backend)](calls);

import type { BackendName, Lowered, NodeSignature } from './kernel-call.ts';
import { lowerForReference } from './reference.ts';
import { lowerForWasm } from './wasm/index.ts';

/** Node → kernel calls, by backend. Pure: what a node becomes never depends on where or when it runs. */
const lowerings: Readonly<Record<BackendName, (node: NodeSignature) => Lowered>> = {
  wasm: lowerForWasm,
  reference: lowerForReference,
};

export const lowerNode = (backend: BackendName, node: NodeSignature): Lowered => lowerings[backend](node);

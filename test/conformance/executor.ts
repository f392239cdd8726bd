/**
 * The smallest device: one memory, a bump allocator, nodes in graph order. Every allocation is surrounded by marked bytes,
 * fresh memory is poisoned, and the workspace's last byte must be written: what the memory planner relies on.
 */
import type { Backend } from '../../src/backends/backend.ts';
import type { Blas } from '../../src/backends/blas/library.ts';
import { kernelsModule } from '../../src/backends/kernels-module.ts';
import { createReferenceBackend } from '../../src/backends/reference/reference-backend.ts';
import { createWasmBackend } from '../../src/backends/wasm/wasm-backend.ts';
import { allocate, byteSize, type HostTensor, type TensorType } from '../../src/core/types.ts';
import type { Node, Tensor } from '../../src/graph/graph.ts';

export type BackendKind = 'reference' | 'wasm';
export const backendKinds: readonly BackendKind[] = ['reference', 'wasm'];

const pages = 512;
const guardBytes = 64;
const guard = 0x5a;
/** Every f32 of these bytes is a NaN. */
const poison = 0xff;

export class Executor {
  readonly backend: Backend;
  readonly #bytes: Uint8Array;
  #end = 0;
  #guards: number[] = [];

  private constructor(backend: Backend, memory: WebAssembly.Memory) {
    this.backend = backend;
    this.#bytes = new Uint8Array(memory.buffer);
  }

  /** `module`: other kernels than the built ones; `blas`: a library for the products of `wasm`. */
  static async create(kind: BackendKind, module?: WebAssembly.Module, blas?: Blas): Promise<Executor> {
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
    const backend =
      kind === 'wasm'
        ? createWasmBackend(module ?? (await kernelsModule()), memory, blas)
        : createReferenceBackend(memory);
    return new Executor(backend, memory);
  }

  /** Values of `wanted`; `feeds` holds the sources that have no value of their own. */
  run(wanted: readonly Tensor[], feeds: ReadonlyMap<Tensor, HostTensor>): HostTensor[] {
    this.#end = 0;
    this.#guards = [];
    this.#fence();
    const places = new Map<Tensor, number>();
    for (const node of neededFor(wanted)) this.#play(node, places, feeds);
    for (const at of this.#guards) {
      if (this.#bytes.subarray(at, at + guardBytes).some((b) => b !== guard)) {
        throw new Error(`bytes outside every buffer were written, near offset ${at}`);
      }
    }
    return wanted.map((t) => this.#read(t.type, places.get(t)!));
  }

  #play(node: Node, places: Map<Tensor, number>, feeds: ReadonlyMap<Tensor, HostTensor>): void {
    const out = node.outputs[0]!;
    if (node.source) {
      const data = feeds.get(out)?.data ?? node.source.value;
      if (!data) throw new Error(`${node.name} has no value`);
      const at = this.#allocate(byteSize(out.type));
      this.#bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at);
      places.set(out, at);
      return;
    }
    const op = node.op!;
    const inputs = node.inputs.map((t) => places.get(t)!);
    const shared = new Map(op.inPlace?.map(([output, input]) => [output, input]));
    const outputs = node.outputs.map((t, i) => {
      if (op.alias && i === 0) return inputs[0]!;
      const at = this.#allocate(byteSize(t.type));
      const state = shared.get(i);
      if (state !== undefined) {
        // Others may still read the input here: it is the copy that the op updates in place.
        this.#bytes.copyWithin(at, inputs[state]!, inputs[state]! + byteSize(t.type));
        inputs[state] = at;
      }
      return at;
    });
    const signature = {
      op: op.name,
      inputs: node.inputs.map((t) => t.type),
      outputs: node.outputs.map((t) => t.type),
      attrs: node.attrs,
    };
    const lowered = this.backend.lower(signature);
    const workspace = this.#allocate(lowered.workspaceBytes);
    const last = workspace + lowered.workspaceBytes - 1;
    const calls = lowered.calls.map((call) => this.backend.bind(call, signature, { inputs, outputs, workspace }));
    const written = new Set<number>();
    // Two poisons: one of them differs from whatever is written to the last byte.
    for (const filler of lowered.workspaceBytes && !op.inPlace ? [0x11, poison] : [poison]) {
      this.#bytes.fill(filler, workspace, last + 1);
      for (const call of calls) call();
      written.add(this.#bytes[last]!);
      if (lowered.workspaceBytes && this.#bytes[last] === filler && written.size > 1) {
        throw new Error(`${op.name}: the last of ${lowered.workspaceBytes} workspace bytes is not written`);
      }
    }
    for (const [i, t] of node.outputs.entries()) places.set(t, outputs[i]!);
  }

  #allocate(bytes: number): number {
    const at = this.#end;
    if (at + bytes + guardBytes > this.#bytes.length) throw new Error('the test memory is too small');
    this.#bytes.fill(poison, at, at + bytes);
    this.#end = at + bytes;
    this.#fence();
    return at;
  }

  #fence(): void {
    const at = this.#end;
    this.#bytes.fill(guard, at, at + guardBytes);
    this.#guards.push(at);
    this.#end = Math.ceil((at + guardBytes) / 16) * 16;
  }

  #read(type: TensorType, at: number): HostTensor {
    const data = allocate(type);
    new Uint8Array(data.buffer).set(this.#bytes.subarray(at, at + byteSize(type)));
    return { type, data };
  }
}

function neededFor(wanted: readonly Tensor[]): Node[] {
  const seen = new Set<Node>();
  const visit = (node: Node) => {
    if (seen.has(node)) return;
    seen.add(node);
    for (const t of node.inputs) visit(t.node);
  };
  for (const t of wanted) visit(t.node);
  return [...seen].sort((a, b) => a.id - b.id);
}

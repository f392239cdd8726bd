import { byteSize } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import { isStepValue } from '../graph/values.ts';
import type { BuildContext } from './context.ts';
import type { Buffer, MemoryCategory, Place } from './instruction.ts';
import { constantName, valueKey, valueName } from './values.ts';

/** The buffers of one device, and which value each holds. Tensors are roots (`rootOf`). */
export class DeviceValues {
  readonly buffers: Buffer[] = [];
  /** Buffer of a value, by `valueKey` or the name of a constant. */
  readonly byKey = new Map<string, number>();
  readonly #context: BuildContext;
  readonly #device: number;
  readonly #wholes: Place[] = [];

  constructor(context: BuildContext, device: number) {
    this.#context = context;
    this.#device = device;
  }

  /** A buffer for a value, which is found by `key` from then on. */
  add(
    root: Tensor,
    microbatch: number | null,
    category: MemoryCategory,
    persistent: string | null,
    key: string = valueKey(root, microbatch),
  ): number {
    const samples = this.#context.samplesOf(root, microbatch);
    const { dtype, shape } = root.type;
    const type = samples === 1 ? root.type : { dtype, shape: [samples, ...shape] };
    const name = valueName(root, microbatch);
    const id = this.#newBuffer({ name, type, bytes: byteSize(type), category, persistent });
    this.byKey.set(key, id);
    return id;
  }

  /** The buffer of a value that this device computes. */
  produced(root: Tensor, microbatch: number | null): number {
    const key = valueKey(root, microbatch);
    return this.byKey.get(key) ?? this.add(root, microbatch, this.#localCategory(root), null, key);
  }

  /** A new buffer for a value that another device sends. */
  received(root: Tensor, microbatch: number | null): number {
    const local = this.#localCategory(root);
    const isSaved = local === 'savedActivations' && !isStepValue(root);
    return this.add(root, microbatch, isSaved ? 'savedActivations' : 'communication', null);
  }

  /** Equal constants are one. */
  constant(tensor: Tensor): number {
    const persistent = constantName(tensor);
    const known = this.byKey.get(persistent);
    if (known !== undefined) return known;
    const { name, type } = tensor;
    const id = this.#newBuffer({ name, type, bytes: byteSize(type), category: 'parameters', persistent });
    this.byKey.set(persistent, id);
    return id;
  }

  /** Another sum of the total's kind. */
  partialSum(total: Tensor, slot: number): number {
    const { name, type } = total;
    const bytes = byteSize(type);
    return this.#newBuffer({ name: `${name}/partial ${slot}`, type, bytes, category: 'gradients', persistent: null });
  }

  /** For a value that exists for one sample at a time. */
  sample(tensor: Tensor, microbatch: number): number {
    const { type } = tensor;
    const name = `${valueName(tensor, microbatch)}/sample`;
    return this.#newBuffer({ name, type, bytes: byteSize(type), category: 'temporaries', persistent: null });
  }

  /** What a node's kernels need beside its values; null: nothing. */
  workspace(node: string, bytes: number): number | null {
    if (bytes === 0) return null;
    const type = { dtype: 'bool', shape: [bytes] } as const;
    return this.#newBuffer({ name: `${node}/workspace`, type, bytes, category: 'temporaries', persistent: null });
  }

  /** All of a buffer. One object a buffer: a step has a million of them. */
  whole(buffer: number): Place {
    this.#wholes[buffer] ??= { buffer, plus: 0, stride: 0 };
    return this.#wholes[buffer];
  }

  #localCategory(root: Tensor): MemoryCategory {
    if (isStepValue(root)) return 'gradients';
    const { readByBackward } = this.#context.chunk(root.graph);
    return root.node.pass === 0 && readByBackward.get(root)?.has(this.#device) ? 'savedActivations' : 'temporaries';
  }

  #newBuffer(buffer: Omit<Buffer, 'id'>): number {
    const id = this.buffers.length;
    this.buffers.push({ id, ...buffer });
    return id;
  }
}

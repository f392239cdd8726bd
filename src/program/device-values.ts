import { byteSize } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import { isStepValue } from '../graph/values.ts';
import type { BuildContext } from './context.ts';
import type { Buffer, MemoryCategory, Place } from './instruction.ts';
import { constantName, valueKey, valueName } from './values.ts';

/** The buffers of one device, and which value each holds. Tensors are roots (`rootOf`). */
export class DeviceValues {
  readonly buffers: Buffer[] = [];
  /**
   * Buffer of what exists once a step, is fed or received, by `valueKey`, of a microbatch's share of an input as it is fetched,
   * and of a constant by its name.
   */
  readonly byKey = new Map<string, number>();
  /** Of all else, by microbatch and root: keys for a million values would be a million strings. */
  readonly #ofMicrobatch = new Map<number | null, Map<Tensor, number>>();
  readonly #context: BuildContext;
  readonly #device: number;
  readonly #wholes: Place[] = [];

  constructor(context: BuildContext, device: number) {
    this.#context = context;
    this.#device = device;
  }

  /** The buffer of a value that is neither fed nor a constant, where it has one here. */
  find(root: Tensor, microbatch: number | null): number | undefined {
    if (isStepValue(root)) return this.byKey.get(valueKey(root, null));
    return this.#ofMicrobatch.get(microbatch)?.get(root);
  }

  /** A buffer for a value, which is found from then on. */
  add(root: Tensor, microbatch: number | null, category: MemoryCategory, persistent: string | null): number {
    const id = this.#bufferFor(root, microbatch, category, persistent);
    if (isStepValue(root)) this.byKey.set(valueKey(root, null), id);
    else {
      let own = this.#ofMicrobatch.get(microbatch);
      if (!own) this.#ofMicrobatch.set(microbatch, (own = new Map()));
      own.set(root, id);
    }
    return id;
  }

  /** A buffer for an input, or a microbatch's share of it, which is found by `key` from then on. */
  fed(root: Tensor, microbatch: number | null, key: string): number {
    const id = this.#bufferFor(root, microbatch, 'inputs', null);
    this.byKey.set(key, id);
    return id;
  }

  /** The buffer of a value that this device computes. */
  produced(root: Tensor, microbatch: number | null): number {
    return this.find(root, microbatch) ?? this.add(root, microbatch, this.#localCategory(root), null);
  }

  /** A new buffer for a value that another device sends. */
  received(root: Tensor, microbatch: number | null): number {
    const local = this.#localCategory(root);
    const isSaved = local === 'savedActivations' && !isStepValue(root);
    const id = this.add(root, microbatch, isSaved ? 'savedActivations' : 'communication', null);
    this.byKey.set(valueKey(root, microbatch), id);
    return id;
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

  #bufferFor(root: Tensor, microbatch: number | null, category: MemoryCategory, persistent: string | null): number {
    const samples = this.#context.samplesOf(root, microbatch);
    const { dtype, shape } = root.type;
    const type = samples === 1 ? root.type : { dtype, shape: [samples, ...shape] };
    const name = valueName(root, microbatch);
    return this.#newBuffer({ name, type, bytes: byteSize(type), category, persistent });
  }

  #newBuffer(buffer: Omit<Buffer, 'id'>): number {
    const id = this.buffers.length;
    this.buffers.push({ id, ...buffer });
    return id;
  }
}

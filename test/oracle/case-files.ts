/** Reading the case folders: `case.json`, tensors, and the initialisers of `model.onnx`. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { HostTensor } from '../../src/core/types.ts';
import { decodeOnnx } from '../../src/formats/onnx/decode.ts';
import { float32Of } from '../../src/formats/onnx/known.ts';
import { naturalDType, type RawTensor, toHostTensor } from '../../src/formats/raw-tensor.ts';
import { readSafetensors } from '../../src/formats/safetensors.ts';

const root = fileURLToPath(new URL('cases/', import.meta.url));

/** One case: `folder` is relative to `cases/`, as `gradients/expr`. */
export class CaseFiles<Json> {
  readonly json: Json;
  /** The float weights of `model.onnx`. */
  readonly initializers: ReadonlyMap<string, HostTensor>;
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = `${root}${folder}/`;
    this.json = JSON.parse(readFileSync(`${this.#folder}case.json`, 'utf8')) as Json;
    const { graph } = decodeOnnx(readFileSync(`${this.#folder}model.onnx`), { where: folder });
    this.initializers = new Map(
      graph.initializers
        .filter((t) => t.dtype === 'FLOAT')
        .map((t) => [t.name, { type: { dtype: 'f32', shape: t.dims }, data: float32Of(t) }]),
    );
  }

  /** Tensors as they are in the file. */
  raw(file: string): Map<string, RawTensor> {
    return readSafetensors(readFileSync(this.#folder + file), this.#folder + file);
  }

  /** Tensors as a graph takes them: I64 as i32. */
  tensors(file: string): Record<string, HostTensor> {
    return Object.fromEntries(
      [...this.raw(file)].map(([name, t]) => [name, toHostTensor(t, naturalDType(t.dtype)!, name)]),
    );
  }
}

export interface Named {
  readonly name: string;
}

export interface Batched extends Named {
  readonly shape: readonly number[];
  readonly dtype?: string;
  readonly batch_axis: number | null;
}

export interface GradientCase {
  readonly inputs: readonly Batched[];
  readonly targets: readonly Batched[];
  readonly outputs: readonly Batched[];
  readonly losses: readonly {
    kind: 'cross_entropy' | 'mse' | 'sum';
    output: string;
    target?: string;
    weight: number;
  }[];
  readonly l2: { readonly lambda: number; readonly parameters: readonly string[] } | null;
  readonly parameters: readonly Named[];
  readonly frozen_initializers: readonly Named[];
  readonly microbatch: {
    readonly batch_size: number | null;
    readonly counts: readonly number[];
    readonly batchnorm_changes_result: boolean;
    readonly expected_per_count: Readonly<Record<string, string>>;
    /** Whether the file with fixed sizes can be built for other batches; null where there are none. */
    readonly static_graph_rebatchable: boolean | null;
  };
  readonly tolerance: {
    readonly rtol: number;
    readonly atol_default: number;
    readonly tensors: Readonly<Record<string, { readonly atol: number }>>;
  };
}

/** What the cases of training, microbatches and second order say of their model: classes from `data.input`. */
export interface ClassifierCase {
  readonly model: {
    readonly inputs: readonly { readonly name: string; readonly shape: readonly (number | string)[] }[];
  };
}

interface Bound {
  readonly atol: number;
  readonly by_param?: Readonly<Record<string, number>>;
}

export interface TrainingCase extends ClassifierCase, Named {
  readonly data: { readonly steps: number; readonly batch: number };
  /** PyTorch's names, with the rule in words. */
  readonly optimizer: {
    readonly kind: 'sgd' | 'adagrad' | 'adadelta' | 'rmsprop' | 'adam';
    readonly rule: readonly string[];
    readonly decays: string;
    /** AdamW. */
    readonly decoupled_weight_decay?: boolean;
    readonly [option: string]: unknown;
  };
  readonly clip: { readonly max_norm: number } | null;
  readonly schedule:
    | { readonly kind: 'constant' }
    | { readonly kind: 'cosine'; readonly T_max: number; readonly eta_min: number };
  readonly tolerance: Readonly<Record<'loss' | 'loss_after' | 'grad_norm' | 'step1' | 'final' | 'grad0', Bound>> & {
    readonly final_update: { readonly max: number };
  };
}

export interface MicrobatchCase extends ClassifierCase {
  readonly data: { readonly batch: number };
  readonly microbatches: Readonly<Record<string, readonly number[] | string>>;
  readonly tolerance: Readonly<Record<string, Readonly<Record<'loss' | 'grad' | 'after' | 'eval_logits', Bound>>>>;
}

export interface SecondOrderCase extends ClassifierCase {
  readonly inputs: { readonly batch: number };
  readonly tolerance: Readonly<Record<string, Bound>>;
  readonly hessian_order?: readonly { readonly name: string; readonly offset: number; readonly count: number }[];
}

export interface NoiseCase extends ClassifierCase {
  /** Beside the bounds by result, `rule` and `from` in words. */
  readonly tolerance: Readonly<Record<string, Bound & { readonly rtol: number }>>;
}

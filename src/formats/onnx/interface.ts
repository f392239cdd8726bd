/** A model's inputs for one batch size: which axis is the batch, and what number every symbol of the file stands for. */
import { FormatError, GraphError, nearest, UsageError } from '../../core/errors.ts';
import { type DType, elementCount, type Shape } from '../../core/types.ts';
import { graphDType, known, storedAs } from './known.ts';
import type { OnnxDim, OnnxDType, OnnxModel, OnnxValueInfo } from './model.ts';
import type { Known } from './operator.ts';

/** What the user says about axes and sizes. */
export interface SizeOptions {
  /** Axis of the batch by tensor; null: not batched. Default 0 for inputs; outputs are looked at. */
  readonly batchAxes?: Readonly<Record<string, number | null>>;
  /** Sizes of the file's symbols other than the batch (`{"seq": 64}`), and of nameless axes (`{"x.1": 64}`). */
  readonly dims?: Readonly<Record<string, number>>;
  /** Inputs that are constants of the model instead of being fed: a sample rate, a shape that nodes must know at import. */
  readonly constants?: Readonly<Record<string, InputConstant>>;
}

/** Values row-major; the shape where the file leaves it open (default: that of the file, a number is a scalar). */
export type InputConstant =
  | number
  | readonly number[]
  | { readonly shape: readonly number[]; readonly data: ArrayLike<number> };

export interface ModelInput {
  readonly name: string;
  readonly dtype: DType;
  readonly onnxDType: OnnxDType;
  readonly shape: readonly number[];
  readonly batchAxis: number | null;
}

/** 4 GiB of f32, which is what a device addresses at most. */
const maxInputElements = 2 ** 30;

/** The symbol that marks the batch axis by itself. */
export const batchSymbol = 'batch';

/** Inputs that are fed: before IR version 4 every initialiser is listed as an input too. */
export function fedInputs(model: OnnxModel, { constants = {} }: SizeOptions = {}): OnnxValueInfo[] {
  return ownInputs(model).filter((input) => !Object.hasOwn(constants, input.name));
}

function ownInputs({ graph }: OnnxModel): OnnxValueInfo[] {
  const initialized = new Set(graph.initializers.map((t) => t.name));
  return graph.inputs.filter((input) => !initialized.has(input.name));
}

/** Inputs given as constants, in the element type that the file declares. Throws UsageError where the file has none such. */
export function constantInputs(model: OnnxModel, { constants = {} }: SizeOptions): Map<string, Known> {
  const inputs = ownInputs(model);
  const made = new Map<string, Known>();
  for (const [name, given] of Object.entries(constants)) {
    const fail = (what: string, remedy?: string): never => {
      throw new UsageError('onnx-constant', `constants.${name}: ${what}`, {
        fields: { key: `model.constants.${name}` },
        remedy,
      });
    };
    const input = inputs.find((i) => i.name === name);
    if (!input) {
      const names = inputs.map((i) => i.name);
      const near = nearest(name, names);
      return fail(`the model has no input of this name${near ? `; did you mean "${near}"?` : ''}`, near);
    }
    if (!input.dtype) return fail('the input is no tensor of a known type');
    const { shape, data } = constantValues(given, input.shape);
    if (elementCount(shape) !== data.length) {
      return fail(`${data.length} values do not fill [${shape.join(', ')}]`);
    }
    const store = storedAs(input.dtype);
    made.set(name, known(input.dtype, shape, Float64Array.from(data, store)));
  }
  return made;
}

function constantValues(
  given: InputConstant,
  declared: OnnxValueInfo['shape'],
): { shape: Shape; data: ArrayLike<number> } {
  if (typeof given === 'object' && 'data' in given) return given;
  const data = typeof given === 'number' ? [given] : given;
  const known = declared?.every((d): d is number => typeof d === 'number') ? declared : undefined;
  return { data, shape: known ?? (typeof given === 'number' && declared?.length !== 1 ? [] : [data.length]) };
}

/** The axis of a declared tensor's batch, as user and file say it; undefined where neither does. */
export function declaredBatchAxis(
  { name, shape }: OnnxValueInfo,
  batchAxes: SizeOptions['batchAxes'],
): number | null | undefined {
  const marked = shape ? shape.indexOf(batchSymbol) : -1;
  const given = batchAxes && Object.hasOwn(batchAxes, name) ? batchAxes[name] : undefined;
  if (given === undefined) return marked >= 0 ? marked : undefined;
  if (given === null) {
    if (marked < 0) return null;
  } else {
    const rank = shape?.length;
    const axis = given < 0 && rank !== undefined ? given + rank : given;
    if (rank !== undefined && (axis < 0 || axis >= rank)) {
      throw new UsageError('batch-axis', `batchAxis.${name}: ${name} has ${rank} axes, and no axis ${given}`, {
        fields: { key: `batchAxis.${name}`, axis: given, rank },
        remedy: '0, or null for what is not batched',
      });
    }
    if (marked < 0 || shape![axis] === batchSymbol) return axis;
  }
  throw new UsageError(
    'batch-axis',
    `batchAxis.${name}: the file marks axis ${marked} of ${name} as the batch (symbol "${batchSymbol}"), not ${given}`,
    { fields: { key: `batchAxis.${name}`, axis: given, expected: marked }, remedy: 'leave it out' },
  );
}

/** The axis of an input's batch: what user or file say, else 0. */
export function inputBatchAxis(input: OnnxValueInfo, batchAxes: SizeOptions['batchAxes']): number | null {
  const declared = declaredBatchAxis(input, batchAxes);
  return declared === undefined ? (input.shape?.length === 0 ? null : 0) : declared;
}

/**
 * The batch size that the file was made for; undefined where it has a symbol there. Throws UsageError where two inputs
 * have different ones: then the batch is not on axis 0 of both.
 */
export function fileBatch(model: OnnxModel, options: SizeOptions): number | undefined {
  let first: { name: string; size: number } | undefined;
  for (const input of fedInputs(model, options)) {
    const axis = inputBatchAxis(input, options.batchAxes);
    const size = axis === null ? undefined : input.shape?.[axis];
    if (typeof size !== 'number') continue;
    first ??= { name: input.name, size };
    if (size !== first.size) {
      throw new UsageError(
        'batch-axis',
        `inputs ${first.name} and ${input.name} have batches of ${first.size} and ${size}: one has its batch on another axis, or none`,
        {
          fields: { inputs: [first.name, input.name], sizes: [first.size, size] },
          remedy: `say where it is: "batchAxis": {"${input.name}": 1}, or null for one that is not batched`,
        },
      );
    }
  }
  return first?.size;
}

/** Sizes of the file's symbols, found while inputs and values are declared; each stands for one number. */
export class Symbols {
  readonly #sizes = new Map<string, { readonly size: number; readonly by: string }>();

  get(symbol: string): number | undefined {
    return this.#sizes.get(symbol)?.size;
  }

  /** Throws FormatError where the symbol stands for another number already. */
  bind(symbol: string, size: number, by: string): void {
    const known = this.#sizes.get(symbol);
    if (!known) this.#sizes.set(symbol, { size, by });
    else if (known.size !== size) {
      throw new FormatError('onnx-symbol', `symbol "${symbol}" is ${known.size} in ${known.by} and ${size} in ${by}`, {
        fields: { symbol, sizes: [known.size, size], tensors: [known.by, by] },
      });
    }
  }
}

/** The inputs with all sizes known; binds the symbols they use. */
export function sizedInputs(model: OnnxModel, batch: number, options: SizeOptions, symbols: Symbols): ModelInput[] {
  for (const [symbol, size] of Object.entries(options.dims ?? {})) symbols.bind(symbol, size, `dims.${symbol}`);
  return fedInputs(model, options).map((input) => {
    const { name, dtype: onnxDType, shape } = input;
    const dtype = onnxDType && graphDType(onnxDType);
    if (!dtype || !onnxDType) {
      throw new GraphError(
        'onnx-unsupported',
        `input "${name}" is ${onnxDType ?? 'no tensor of a known type'}: not supported`,
        {
          fields: { input: name, dtype: onnxDType ?? null },
        },
      );
    }
    if (!shape) {
      throw new GraphError('onnx-shape', `the file does not say how many axes input "${name}" has`, {
        fields: { input: name },
        remedy: 'export it with shapes',
      });
    }
    const batchAxis = inputBatchAxis(input, options.batchAxes);
    const sizes = shape.map((dim, axis) =>
      sizeOf(dim, `${name}.${axis}`, axis === batchAxis ? batch : undefined, symbols, name),
    );
    if (elementCount(sizes) > maxInputElements) {
      throw new GraphError('onnx-shape', `input "${name}" [${sizes.join(', ')}] is larger than any device's memory`, {
        fields: { input: name, shape: sizes },
      });
    }
    return { name, dtype, onnxDType, shape: sizes, batchAxis };
  });
}

function sizeOf(dim: OnnxDim, key: string, batch: number | undefined, symbols: Symbols, input: string): number {
  if (batch !== undefined) {
    if (typeof dim === 'string') symbols.bind(dim, batch, `input "${input}"`);
    return batch;
  }
  if (typeof dim === 'number') {
    if (dim > 0) return dim;
    throw new FormatError('onnx-shape', `input "${input}" has no values: axis ${key.slice(input.length + 1)} is 0`, {
      fields: { input },
    });
  }
  const size = (dim === null ? undefined : symbols.get(dim)) ?? symbols.get(key);
  if (size !== undefined) return size;
  const symbol = dim ?? key;
  throw new UsageError('onnx-dim', `input "${input}" has the size "${symbol}", and nothing says how much that is`, {
    fields: { input, symbol, key: `model.dims.${symbol}` },
    remedy: `"model": {"kind": "onnx", "file": …, "dims": {"${symbol}": 64}}`,
  });
}

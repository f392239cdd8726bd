import { FormatError } from '../../core/errors.ts';
import { formatShape, type Shape } from '../../core/types.ts';
import type { Symbols } from './interface.ts';
import { graphDType } from './known.ts';
import type { OnnxAttribute, OnnxDim, OnnxDType, OnnxNode, OnnxTensor, OnnxValueInfo } from './model.ts';
import { isTensor, type Value } from './operator.ts';
import { describeNode, nodeError } from './problems.ts';
import type { Bound } from './scope.ts';
import { onnxDTypeOf } from './tensor-bytes.ts';

/** What a node says of the element types of its outputs. `attributes`: references to those of a function resolved. */
interface Given {
  readonly inputs: readonly (Bound | undefined)[];
  readonly attributes: ReadonlyMap<string, OnnxAttribute>;
}

type OutputType = OnnxDType | ((given: Given) => OnnxDType | undefined);

/** The element type that an attribute gives by its number; 0: none. */
const numbered =
  (name: string) =>
  ({ attributes }: Given): OnnxDType | undefined => {
    const number = attributes.get(name);
    return number?.kind === 'int' && number.value !== 0 ? onnxDTypeOf(number.value) : undefined;
  };

const ofInput =
  (i: number) =>
  ({ inputs }: Given): OnnxDType | undefined =>
    inputs[i]?.dtype;

const ofTensor = ({ attributes }: Given): OnnxDType | undefined => {
  const value = attributes.get('value');
  return value?.kind === 'tensor' ? value.value.dtype : 'FLOAT';
};

const quantizedTo = (given: Given): OnnxDType => numbered('output_dtype')(given) ?? given.inputs[2]?.dtype ?? 'UINT8';

/** By operator and output, those that need not have the type of the first integers that go in. */
const outputTypes: ReadonlyMap<string, readonly (OutputType | undefined)[]> = new Map(
  Object.entries<readonly (OutputType | undefined)[]>({
    ArgMax: ['INT64'],
    ArgMin: ['INT64'],
    Cast: [numbered('to')],
    CastLike: [ofInput(1)],
    ConstantOfShape: [ofTensor],
    DynamicQuantizeLinear: ['UINT8', 'FLOAT', 'UINT8'],
    MaxPool: [undefined, 'INT64'],
    OneHot: [ofInput(2)],
    QuantizeLinear: [quantizedTo],
    TopK: [undefined, 'INT64'],
  }),
);

/**
 * The element type in the file of a value that a node makes: a graph has fewer, and arithmetic wraps around by it. Where
 * nothing says it, results are of the type of the first integers that go in. `attributes`: references to those of a function
 * resolved.
 */
export function valueDType(
  { opType, domain }: OnnxNode,
  output: number,
  value: Value,
  inputs: readonly (Bound | undefined)[],
  attributes: ReadonlyMap<string, OnnxAttribute>,
): OnnxDType {
  if (!isTensor(value)) return value.dtype;
  const own = domain === '' ? outputTypes.get(opType)?.[output] : undefined;
  const stated = typeof own === 'function' ? own({ inputs, attributes }) : own;
  if (stated) return stated;
  const same = inputs.find((input) => input?.value === value);
  if (same) return same.dtype;
  if (value.dtype === 'f32') return 'FLOAT';
  if (value.dtype === 'bool') return 'BOOL';
  return inputs.find((input) => input && graphDType(input.dtype) === 'i32')?.dtype ?? 'INT64';
}

const dimsText = (shape: readonly OnnxDim[]): string => `[${shape.map((d) => d ?? '?').join(', ')}]`;

/** An initialiser that is listed as an input too is what is stated there. Throws FormatError where it is not. */
export function checkInitializer({ name, dtype, dims }: OnnxTensor, { dtype: stated, shape }: OnnxValueInfo): void {
  const differs =
    shape && (shape.length !== dims.length || shape.some((d, i) => typeof d === 'number' && d !== dims[i]));
  if (!differs && (!stated || stated === dtype)) return;
  throw new FormatError(
    'onnx-shape',
    `initialiser "${name}" is ${dtype}${formatShape(dims)}, and as an input it is ${stated ?? ''}${shape ? dimsText(shape) : ''}`,
    {
      fields: { value: name, dtype, shape: dims, stated: shape ?? null, statedDType: stated ?? null },
      remedy: "correct the input's type, or leave it out of the inputs (IR version 4 on)",
    },
  );
}

/**
 * Types that the file states must be those we find; `statedSizes`: sizes too. Symbols get the sizes found. Throws FormatError
 * where they differ.
 */
export function checkDeclared(
  node: OnnxNode,
  { name, dtype, shape }: OnnxValueInfo,
  value: Value,
  statedSizes: boolean,
  symbols: Symbols,
): void {
  const found = isTensor(value) ? value.dtype : graphDType(value.dtype);
  const stated = dtype && graphDType(dtype);
  if (found && stated && found !== stated) {
    throw nodeError(node, `"${name}" is ${found} here, and the file states ${dtype}`);
  }
  if (!shape) return;
  const own: Shape = value.shape;
  const text = dimsText(shape);
  const differs =
    shape.length !== own.length ||
    (statedSizes && shape.some((dim, axis) => typeof dim === 'number' && dim !== own[axis]));
  if (differs) {
    throw new FormatError(
      'onnx-shape',
      `${describeNode(node)}: "${name}" has the shape ${formatShape(own)}, and the file states ${text}`,
      { fields: { node: node.name, value: name, shape: own, stated: shape } },
    );
  }
  shape.forEach((dim, axis) => {
    if (typeof dim === 'string') symbols.bind(dim, own[axis]!, `"${name}"`);
  });
}

import { FormatError } from '../../core/errors.ts';
import { formatShape, type Shape } from '../../core/types.ts';
import type { Symbols } from './interface.ts';
import { graphDType } from './known.ts';
import type { OnnxDType, OnnxNode, OnnxTensor, OnnxValueInfo } from './model.ts';
import { isTensor, type Value } from './operator.ts';
import { describeNode, nodeError } from './problems.ts';
import type { Bound } from './scope.ts';
import { onnxDTypeOf } from './tensor-bytes.ts';

/** Operators that quantise to UINT8 where nobody says another type. */
const defaultsToBytes: ReadonlySet<string> = new Set(['DynamicQuantizeLinear', 'QuantizeLinear']);

/** The element type in the file of a value that a node makes: a graph has fewer. */
export function valueDType(
  node: OnnxNode,
  output: number,
  value: Value,
  inputs: readonly (Bound | undefined)[],
): OnnxDType {
  if (!isTensor(value)) return value.dtype;
  const same = inputs.find((input) => input?.value === value);
  if (same && node.opType !== 'Cast') return same.dtype;
  if (value.dtype === 'f32') return 'FLOAT';
  if (value.dtype === 'bool') return 'BOOL';
  if (defaultsToBytes.has(node.opType) && !node.inputs[2] && !node.attributes.has('output_dtype')) return 'UINT8';
  const to = node.attributes.get('to');
  if (output === 0 && node.opType === 'Cast' && to?.kind === 'int') return onnxDTypeOf(to.value) ?? 'INT64';
  return inputs.find((input) => input && graphDType(input.dtype) === 'i32')?.dtype ?? 'INT64';
}

/** An initialiser that is listed as an input too is what is stated there. Throws FormatError where it is not. */
export function checkInitializer({ name, dtype, dims }: OnnxTensor, { dtype: stated, shape }: OnnxValueInfo): void {
  const differs =
    shape && (shape.length !== dims.length || shape.some((d, i) => typeof d === 'number' && d !== dims[i]));
  if (!differs && (!stated || stated === dtype)) return;
  throw new FormatError(
    'onnx-shape',
    `initialiser "${name}" is ${dtype}${formatShape(dims)}, and as an input it is ${stated}[${shape?.map((d) => d ?? '?').join(', ')}]`,
    { fields: { value: name, dtype, shape: dims, stated: shape ?? null } },
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
  const text = `[${shape.map((d) => d ?? '?').join(', ')}]`;
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

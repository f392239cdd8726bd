/** Values out of nothing but sizes: constants, shapes, ranges, masks. */
import { elementCount, type Shape } from '../../../core/types.ts';
import { constantOf, known, knownShape, storedAs } from '../known.ts';
import type { Known, OperatorContext } from '../operator.ts';
import { around, axisOf, type HostRule, isSmall, maxHostElements, value } from './host.ts';

const constantAttributes = [
  'value',
  'sparse_value',
  'value_float',
  'value_floats',
  'value_int',
  'value_ints',
  'value_string',
  'value_strings',
];

const constant: HostRule = (context) => {
  const given = constantAttributes.filter(context.has);
  if (given.length > 1) context.invalid(`it has ${given.join(' and ')}, and one of them belongs there`);
  if (context.has('value')) return [constantOf(context.tensorAttr('value'))];
  if (context.has('value_int')) return [known('INT64', [], [context.int('value_int')])];
  if (context.has('value_float')) return [known('FLOAT', [], [Math.fround(context.floatAttr('value_float'))])];
  if (context.has('value_ints')) return [vector('INT64', context.ints('value_ints'))];
  if (context.has('value_floats')) return [vector('FLOAT', context.floats('value_floats'))];
  if (context.has('sparse_value')) return [constantOf(context.tensorAttr('sparse_value'))];
  return context.unsupported('a constant of strings, or without a value');
};

const vector = (dtype: 'INT64' | 'FLOAT', values: readonly number[]): Known => known(dtype, [values.length], values);

/** A shape that a node is told as a vector. */
function shapeFrom(context: OperatorContext, i: number): number[] {
  const shape = context.integers(i, 'the shape');
  if (shape.some((d) => d < 0)) context.invalid(`the shape [${shape.join(', ')}] has a negative size`);
  return shape;
}

const constantOfShape: HostRule = (context) => {
  const shape = shapeFrom(context, 0);
  if (!isSmall(shape)) return undefined;
  const fill = context.has('value') ? constantOf(context.tensorAttr('value')) : known('FLOAT', [1], [0]);
  if (fill.data.length !== 1) context.invalid(`its value has ${fill.data.length} elements`);
  return [{ dtype: fill.dtype, shape, data: new Float64Array(elementCount(shape)).fill(fill.data[0]!) }];
};

/** Shape (start and end since version 15). The value need not be known. */
const shape: HostRule = (context) => {
  const own: Shape = context.input(0).shape;
  const clamp = (p: number): number => Math.min(Math.max(p < 0 ? p + own.length : p, 0), own.length);
  return [knownShape(own.slice(clamp(context.int('start', 0)), clamp(context.int('end', own.length))))];
};

const size: HostRule = (context) => [known('INT64', [], [elementCount(context.input(0).shape)])];

const range: HostRule = (context) => {
  const [start, limit, step] = ['the start', 'the limit', 'the step'].map((what, i) => context.scalar(i, what)) as [
    number,
    number,
    number,
  ];
  const count = Math.max(Math.ceil((limit - start) / step), 0);
  if (!Number.isFinite(count)) context.invalid(`a range from ${start} to ${limit} by ${step} has no end`);
  if (count > maxHostElements) return undefined;
  const { dtype } = value(context, 0);
  const stored = storedAs(dtype);
  return [
    known(
      dtype,
      [count],
      Float64Array.from({ length: count }, (_, i) => stored(start + i * step)),
    ),
  ];
};

const trilu: HostRule = (context) => {
  const x = value(context, 0);
  if (x.shape.length < 2) context.invalid(`its input has ${x.shape.length} axes`);
  const k = context.optionalInteger(1, 'k') ?? 0;
  const upper = context.int('upper', 1) !== 0;
  const [rows, columns] = x.shape.slice(-2) as [number, number];
  const data = x.data.map((v, i) => {
    const [row, column] = [Math.floor(i / columns) % rows, i % columns];
    return (upper ? column - row >= k : column - row <= k) ? v : 0;
  });
  return [{ ...plain(x), data }];
};

const plain = (x: Known) => ({ dtype: x.dtype, shape: x.shape });

const oneHot: HostRule = (context) => {
  const [indices, values] = [value(context, 0), value(context, 2)];
  const depth = Math.trunc(context.scalar(1, 'the depth'));
  if (values.data.length !== 2) context.invalid(`values are off and on, and there are ${values.data.length}`);
  const rank = indices.shape.length + 1;
  const axis = axisOf(context, context.int('axis', -1), rank);
  const out = [...indices.shape.slice(0, axis), depth, ...indices.shape.slice(axis)];
  if (!isSmall(out)) return undefined;
  const [off, on] = values.data as unknown as [number, number];
  const data = new Float64Array(elementCount(out)).fill(off);
  const [, , inner] = around(out, axis);
  indices.data.forEach((index, i) => {
    const at = index < 0 ? index + depth : index;
    if (at < 0 || at >= depth) return;
    data[(Math.floor(i / inner) * depth + at) * inner + (i % inner)] = on;
  });
  return [{ dtype: values.dtype, shape: out, data }];
};

const eyeLike: HostRule = (context) => {
  const x = context.input(0);
  if (x.shape.length !== 2 || !isSmall(x.shape)) return undefined;
  if (context.has('dtype')) return undefined;
  const k = context.int('k', 0);
  const columns = x.shape[1]!;
  const data = Float64Array.from({ length: elementCount(x.shape) }, (_, i) =>
    Number((i % columns) - Math.floor(i / columns) === k),
  );
  return [{ dtype: context.dtypeOf(0), shape: x.shape, data }];
};

export const make: Readonly<Record<string, HostRule>> = {
  Constant: constant,
  ConstantOfShape: constantOfShape,
  EyeLike: eyeLike,
  OneHot: oneHot,
  Range: range,
  Shape: shape,
  Size: size,
  Trilu: trilu,
};

/** What the type rules of several families demand of their operands. */
import { formatShape, type Shape, sameShape, type TensorType } from '../core/types.ts';
import { require } from '../graph/op-record.ts';

/** One f32 tensor for every name. */
export function requireFloats(inputs: readonly TensorType[], names: readonly string[]): void {
  require(inputs.length === names.length, `takes ${names.join(', ')}: ${names.length} inputs, got ${inputs.length}`);
  inputs.forEach((t, i) => {
    require(t.dtype === 'f32', `${names[i]} must be f32, got ${t.dtype}`);
  });
}

export const requireShape = (name: string, got: Shape, wanted: Shape): void =>
  require(sameShape(got, wanted), `${name} must have the shape ${formatShape(wanted)}, got ${formatShape(got)}`);

import { UsageError } from '../core/errors.ts';
import { allocate, bytesPerElement, elementCount, formatType, type HostTensor, sameType } from '../core/types.ts';
import type { StagedTensor } from '../program/instruction.ts';

/** Throws UsageError where a tensor's type is not the graph's, or its data are not of its type. */
export function checkFeed(staged: StagedTensor, tensor: HostTensor): void {
  if (!Array.isArray(tensor.type?.shape) || !ArrayBuffer.isView(tensor.data)) {
    throw new UsageError('feed-value', `input ${staged.name} is no tensor, which has a type and data`, {
      fields: { input: staged.name, expected: formatType(staged.type) },
      remedy: exampleOf(staged),
    });
  }
  if (sameType(staged.type, tensor.type)) {
    const [array, length] = [arrayOf(staged), elementCount(staged.type.shape)];
    const got = tensor.data[Symbol.toStringTag];
    if (got === array && tensor.data.length === length) return;
    throw new UsageError(
      'feed-value',
      `input ${staged.name} is ${formatType(staged.type)}, ${length} values in a ${array}, and was given ${tensor.data.length} in a ${got}`,
      {
        fields: { input: staged.name, expected: formatType(staged.type), array: got, values: tensor.data.length },
        remedy: exampleOf(staged),
      },
    );
  }
  throw new UsageError(
    'feed-type',
    `input ${staged.name} is ${formatType(staged.type)} and was given ${formatType(tensor.type)}`,
    {
      fields: { input: staged.name, expected: formatType(staged.type), got: formatType(tensor.type) },
      remedy: 'give the tensor the shape that the model was built for',
    },
  );
}

const arrayOf = ({ type: { dtype } }: StagedTensor): string =>
  dtype === 'f32' ? 'Float32Array' : dtype === 'i32' ? 'Int32Array' : 'Uint8Array';

const exampleOf = (staged: StagedTensor): string =>
  `{ type: { dtype: '${staged.type.dtype}', shape: [${staged.type.shape.join(', ')}] }, data: new ${arrayOf(staged)}(${elementCount(staged.type.shape)}) }`;

/** Copies a whole tensor into the staging area, chunk by chunk. Throws UsageError where its type is not the graph's. */
export function packFeed(staged: StagedTensor, tensor: HostTensor, area: Uint8Array): void {
  checkFeed(staged, tensor);
  forEachChunk(staged, tensor.type.shape, bytesPerElement[tensor.type.dtype], (whole, chunk, bytes) => {
    area.set(bytesOf(tensor).subarray(whole, whole + bytes), chunk);
  });
}

/** Joins a result's chunks into one tensor. */
export function unpackResult(staged: StagedTensor, area: Uint8Array): HostTensor {
  const data = allocate(staged.type);
  const tensor: HostTensor = { type: staged.type, data };
  const out = bytesOf(tensor);
  forEachChunk(staged, staged.type.shape, bytesPerElement[staged.type.dtype], (whole, chunk, bytes) => {
    out.set(area.subarray(chunk, chunk + bytes), whole);
  });
  return tensor;
}

const bytesOf = (t: HostTensor): Uint8Array => new Uint8Array(t.data.buffer, t.data.byteOffset, t.data.byteLength);

/** Visits contiguous runs: offset in the whole tensor, offset in the area, length; all in bytes. */
function forEachChunk(
  staged: StagedTensor,
  shape: readonly number[],
  size: number,
  visit: (whole: number, area: number, bytes: number) => void,
): void {
  if (staged.axis === null) {
    visit(0, staged.offsets[0]!, elementCount(shape) * size);
    return;
  }
  const { axis } = staged;
  const outer = elementCount(shape.slice(0, axis));
  const inner = elementCount(shape.slice(axis + 1)) * size;
  let start = 0;
  staged.pieces.forEach(({ offset, type }) => {
    const length = type.shape[axis]!;
    for (let o = 0; o < outer; o++) {
      visit((o * shape[axis]! + start) * inner, offset + o * length * inner, length * inner);
    }
    start += length;
  });
}

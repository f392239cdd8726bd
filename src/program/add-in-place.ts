import type { BackendName, KernelCall } from '../lower/kernel-call.ts';
import { addingCalls } from '../lower/lower.ts';
import type { ComputeInstruction } from './instruction.ts';
import type { DraftDevice, DraftInstruction } from './messages.ts';

/**
 * Lets products add to a sum over microbatches themselves, where the sum follows at once and nobody else reads the product:
 *
 *     t = x·y     sum += t        becomes        sum += x·y
 *
 * The product has no bytes of its own any more, and nothing goes through memory twice. No bit changes, so that it may be
 * done on some devices, or microbatches, and not on others: the first microbatch stores.
 */
export function addProductsInPlace(draft: DraftDevice, backend: BackendName): DraftDevice {
  const mentions = new Uint32Array(draft.buffers.length);
  for (const segment of draft.segments) for (const instruction of segment) countMentions(instruction, mentions);
  const isBetweenThem = (id: number): boolean => mentions[id] === 2;
  const segments = draft.segments.map((segment) => {
    const kept: DraftInstruction[] = [];
    for (const instruction of segment) {
      const product = kept.at(-1);
      const joined = product && isBetweenThem(outputOf(product)) && join(product, instruction, backend);
      if (joined) kept[kept.length - 1] = joined;
      else kept.push(instruction);
    }
    return kept;
  });
  return { ...draft, segments };
}

const outputOf = (i: DraftInstruction): number => (i.kind === 'compute' ? (i.outputs[0] ?? -1) : -1);

function join(product: DraftInstruction, sum: DraftInstruction, backend: BackendName): ComputeInstruction | undefined {
  if (product.kind !== 'compute' || sum.kind !== 'compute') return undefined;
  const [[part, ...more], [addition, ...others]] = [product.parts, sum.parts];
  const isSum = addition && others.length === 0 && addsOnly(addition.calls) && sum.inputs[0] === product.outputs[0];
  if (!isSum || !part || more.length > 0 || part.repeat !== 1 || addition.repeat !== 1) return undefined;
  const calls = addingCalls(backend, part.calls);
  if (!calls) return undefined;
  const { signature } = part;
  const flops = part.flops + addition.flops;
  const bytes = part.bytes + sumBytes(addition.bytes);
  return {
    ...product,
    outputs: sum.outputs,
    parts: [
      {
        ...part,
        signature: { ...signature, attrs: { ...signature.attrs, adds: true } },
        calls,
        outputs: addition.outputs,
        overwritable: [],
        flops,
        bytes,
      },
    ],
    flops,
    bytes,
  };
}

const addsOnly = (calls: readonly KernelCall[]): boolean => calls.length === 1 && calls[0]!.kernel === 'accumulate';

/** Of the three passes of a sum over memory (addend, old and new sum), the reading of the old sum is what a product lacks. */
const sumBytes = (bytes: number): number => bytes / 3;

/** Each buffer once an instruction. */
function countMentions(i: DraftInstruction, mentions: Uint32Array): void {
  switch (i.kind) {
    case 'compute':
      i.inputs.forEach((id, k) => {
        if (i.inputs.indexOf(id) === k) mentions[id]!++;
      });
      i.outputs.forEach((id, k) => {
        if (i.outputs.indexOf(id) === k && !i.inputs.includes(id)) mentions[id]!++;
      });
      break;
    case 'copy':
      mentions[i.from]!++;
      mentions[i.buffer]!++;
      break;
    case 'barrier':
      break;
    default:
      mentions[i.buffer]!++;
  }
}

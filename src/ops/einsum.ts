/**
 * Einstein's summation as matrix products. Operands are joined from left to right: a letter that both of a pair have and
 * nothing later wants is contracted by `matmul`, one that is still wanted becomes an axis of the batch. Which nodes
 * arise follows from the equation and the ranks alone, so that every size of a chunk builds the same ones.
 */
import { GraphError } from '../core/errors.ts';
import { elementCount, formatShape } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import { callerLine } from '../graph/source-line.ts';
import { mul } from './binary.ts';
import { matmul } from './matmul.ts';
import { sum } from './reduce.ts';
import { broadcastTo, reshape, slice, transpose, view } from './shape.ts';

/** An axis' name: a letter of the equation, or `.2` for the third axis from the right under the ellipsis. */
type Label = string;

/** A tensor with a name for each axis. */
interface Term {
  readonly tensor: Tensor;
  readonly labels: readonly Label[];
}

/**
 * `einsum('bij,bjk->bik', a, b)`: products of the operands' entries, summed over the letters that the result does not
 * name. Without `->` the result has the letters that stand once, in alphabetical order, behind the ellipsis' axes. A letter
 * twice in one operand takes its diagonal; `...` stands for any number of axes, which broadcast. f32. ONNX Einsum,
 * torch.einsum.
 */
export function einsum(equation: string, ...operands: readonly Tensor[]): Tensor {
  const { terms, result } = parse(equation, operands);
  const sizes = sizesOf(equation, terms);
  const [first, ...others] = terms.map(diagonal) as [Term, ...Term[]];
  let joined = first;
  others.forEach((term, i) => {
    const wanted = new Set([...result, ...others.slice(i + 1).flatMap((t) => t.labels)]);
    joined = contract(joined, term, wanted, sizes);
  });
  return arrange(summed(joined, new Set(result)), result, sizes);
}

function fail(equation: string, reason: string): never {
  throw new GraphError('einsum', `einsum('${equation}'): ${reason}${callerLine()}`, {
    fields: { equation, reason },
    remedy: "a letter for each axis of each operand: einsum('ij,jk->ik', a, b)",
  });
}

function parse(equation: string, operands: readonly Tensor[]): { terms: Term[]; result: readonly Label[] } {
  const [left = '', right, ...surplus] = equation.replaceAll(/\s/g, '').split('->');
  const subscripts = left.split(',');
  if (surplus.length > 0) fail(equation, 'there is more than one ->');
  if (subscripts.length !== operands.length) {
    fail(equation, `${subscripts.length} operands are named and ${operands.length} given`);
  }
  const terms = subscripts.map((text, i): Term => {
    const tensor = operands[i]!;
    if (tensor.dtype !== 'f32') fail(equation, `operand ${i} must be f32, not ${tensor.dtype}`);
    const { before, ellipsis, after } = letters(equation, text);
    const hidden = tensor.rank - before.length - after.length;
    if (hidden < 0 || (hidden > 0 && !ellipsis)) {
      fail(
        equation,
        `'${text}' names ${before.length + after.length} axes of operand ${i}, which is ${formatShape(tensor.shape)}`,
      );
    }
    return { tensor, labels: [...before, ...ellipsisLabels(hidden), ...after] };
  });
  const all = terms.flatMap((t) => t.labels);
  const deepest = Math.max(...terms.map((t) => t.labels.filter(isHidden).length));
  return { terms, result: right === undefined ? implicit(all, deepest) : explicit(equation, right, all, deepest) };
}

const isHidden = (label: Label): boolean => label.startsWith('.');
const ellipsisLabels = (count: number): Label[] => Array.from({ length: count }, (_, i) => `.${count - 1 - i}`);

function letters(equation: string, text: string): { before: string[]; ellipsis: boolean; after: string[] } {
  const match = /^([A-Za-z]*)(\.\.\.)?([A-Za-z]*)$/.exec(text);
  if (!match) fail(equation, `'${text}' must be letters with at most one '...'`);
  return { before: [...match[1]!], ellipsis: match[2] !== undefined, after: [...match[3]!] };
}

function implicit(all: readonly Label[], hidden: number): Label[] {
  const once = [...new Set(all)].filter((l) => !isHidden(l) && all.indexOf(l) === all.lastIndexOf(l));
  return [...ellipsisLabels(hidden), ...once.sort()];
}

/** Without an ellipsis in the result the axes under it are summed, as in NumPy. */
function explicit(equation: string, text: string, all: readonly Label[], hidden: number): Label[] {
  const { before, ellipsis, after } = letters(equation, text);
  const result = [...before, ...ellipsisLabels(ellipsis ? hidden : 0), ...after];
  for (const [i, label] of result.entries()) {
    if (result.indexOf(label) !== i) fail(equation, `the result names ${label} twice`);
    if (!all.includes(label)) fail(equation, `the result's ${label} is in no operand`);
  }
  return result;
}

/** The size of each label; axes of one entry broadcast, as in PyTorch. */
function sizesOf(equation: string, terms: readonly Term[]): Map<Label, number> {
  const sizes = new Map<Label, number>();
  for (const { tensor, labels } of terms) {
    labels.forEach((label, axis) => {
      const [size, known] = [tensor.shape[axis]!, sizes.get(label) ?? 1];
      if (size !== known && size !== 1 && known !== 1) fail(equation, `${label} is ${known} and ${size}`);
      sizes.set(label, Math.max(size, known));
    });
  }
  return sizes;
}

/**
 * Labels that an operand names twice, once: axes i and i of size n are a line of n · n entries, every (n + 1)-th of which
 * is wanted.
 */
function diagonal(term: Term): Term {
  const { tensor, labels } = term;
  const second = labels.findIndex((label, i) => labels.indexOf(label) !== i);
  if (second < 0) return term;
  const label = labels[second]!;
  const axis = labels.indexOf(label);
  const others = labels.flatMap((_, i) => (i === axis || i === second ? [] : [i]));
  const size = Math.max(tensor.shape[axis]!, tensor.shape[second]!);
  const last = transpose(tensor, [...others, axis, second]);
  const kept = last.shape.slice(0, -2);
  const square = sameSize(tensor, axis, second) ? last : broadcastTo(last, [...kept, size, size]);
  const line = slice(reshape(square, [...kept, size * size]), { [others.length]: [0, null, size + 1] });
  return diagonal({ tensor: line, labels: [...others.map((i) => labels[i]!), label] });
}

const sameSize = ({ shape }: Tensor, a: number, b: number): boolean => shape[a] === shape[b];

/** Sums what nobody wants. */
function summed({ tensor, labels }: Term, wanted: ReadonlySet<Label>): Term {
  const axes = labels.flatMap((label, i) => (wanted.has(label) ? [] : [i]));
  if (axes.length === 0) return { tensor, labels };
  return { tensor: sum(tensor, { axes }), labels: labels.filter((l) => wanted.has(l)) };
}

/** The product of two terms, summed over the labels of both that nobody wants any more. */
function contract(left: Term, right: Term, wanted: ReadonlySet<Label>, sizes: ReadonlyMap<Label, number>): Term {
  const a = summed(left, new Set([...wanted, ...right.labels]));
  const b = summed(right, new Set([...wanted, ...left.labels]));
  const shared = a.labels.filter((l) => b.labels.includes(l));
  const batch = shared.filter((l) => wanted.has(l));
  const inner = shared.filter((l) => !wanted.has(l));
  const rows = a.labels.filter((l) => !shared.includes(l));
  const columns = b.labels.filter((l) => !shared.includes(l));
  const labels = [...batch, ...rows, ...columns];
  const shape = labels.map((l) => sizes.get(l)!);
  if (inner.length === 0) {
    const [x, y] = [spread(a, labels), spread(b, labels)];
    const product = mul(x, y);
    return { tensor: shape.every((d, i) => d === product.shape[i]) ? product : broadcastTo(product, shape), labels };
  }
  const x = matrix(a, batch, rows, inner, sizes);
  const y = matrix(b, batch, inner, columns, sizes);
  const product = matmul(x.tensor, y.tensor, { transA: x.transposed, transB: y.transposed });
  const plain = batch.length <= 1 && rows.length === 1 && columns.length === 1;
  return { tensor: plain ? product : view(product, shape), labels };
}

/** A term with an axis for each of `labels` in their order: of size 1 where it does not have the label. */
function spread(term: Term, labels: readonly Label[]): Tensor {
  const own = labels.filter((l) => term.labels.includes(l));
  const ordered = reorder(term, own);
  return reshape(
    ordered,
    labels.map((l) => (own.includes(l) ? ordered.shape[own.indexOf(l)]! : 1)),
  );
}

/** Axes in another order; no node where it is theirs already. */
function reorder({ tensor, labels }: Term, order: readonly Label[]): Tensor {
  const perm = order.map((l) => labels.indexOf(l));
  return perm.every((axis, i) => axis === i) ? tensor : transpose(tensor, perm);
}

/**
 * A term as [batch, rows, columns], or without batch [rows, columns]. Where its axes lie the other way round they stay,
 * and the product reads them transposed.
 */
function matrix(
  term: Term,
  batch: readonly Label[],
  rows: readonly Label[],
  columns: readonly Label[],
  sizes: ReadonlyMap<Label, number>,
): { tensor: Tensor; transposed: boolean } {
  const flipped = [...batch, ...columns, ...rows];
  const transposed = rows.length > 0 && columns.length > 0 && flipped.every((l, i) => l === term.labels[i]);
  const order = transposed ? flipped : [...batch, ...rows, ...columns];
  const full = order.map((l) => sizes.get(l)!);
  const ordered = reorder(term, order);
  const whole = full.every((d, i) => d === ordered.shape[i]) ? ordered : broadcastTo(ordered, full);
  const count = (labels: readonly Label[]) => elementCount(labels.map((l) => sizes.get(l)!));
  const [m, n] = transposed ? [count(columns), count(rows)] : [count(rows), count(columns)];
  const plain = batch.length <= 1 && rows.length === 1 && columns.length === 1;
  return { tensor: plain ? whole : view(whole, batch.length > 0 ? [count(batch), m, n] : [m, n]), transposed };
}

/** The result's axes in the result's order. */
function arrange(term: Term, result: readonly Label[], sizes: ReadonlyMap<Label, number>): Tensor {
  const ordered = reorder(term, result);
  const shape = result.map((l) => sizes.get(l)!);
  return shape.every((d, i) => d === ordered.shape[i]) ? ordered : broadcastTo(ordered, shape);
}

/**
 * Recurrent scans, unrolled: a node of the graph takes the inputs' product, and gives states and gate values of all steps,
 * which no operator of ONNX does.
 */
import type { Tensor } from '../../../graph/graph.ts';
import { add, mul, relu, sigmoid, sub, tanh } from '../../../ops/elementwise.ts';
import { gruBlocks, lstmBlocks } from '../../../ops/gates.ts';
import { gruScanGradOp } from '../../../ops/gru-scan-grad.ts';
import { lstmScanGradOp } from '../../../ops/lstm-scan-grad.ts';
import { matmul } from '../../../ops/matmul.ts';
import { rnnScanGradOp } from '../../../ops/rnn-scan.ts';
import { blocks, stack, timesOf } from '../../../ops/scan.ts';
import { concat, slice, view } from '../../../ops/shape.ts';
import { decomposed, type ExportTable, parts } from './exporter.ts';

/** Plays a cell over the steps of x; every one of its results is stacked, and the first few are the next step's state. */
function unroll<S extends readonly Tensor[]>(
  x: Tensor,
  initial: S,
  reverse: boolean,
  cell: (x: Tensor, state: S) => { readonly state: S; readonly more: readonly Tensor[] },
): Tensor[] {
  const steps = x.shape[0]!;
  const results = new Array<readonly Tensor[]>(steps);
  let state = initial;
  for (const t of timesOf(steps, reverse)) {
    const now = view(slice(x, { 0: [t, t + 1] }), x.shape.slice(1));
    const played = cell(now, state);
    state = played.state;
    results[t] = [...state, ...played.more];
  }
  return results[0]!.map((_, i) => stack(results.map((r) => r[i]!)));
}

/** Gate values side by side along the last axis, in the order of the blocks. */
function gateValues(values: Readonly<Record<string, Tensor>>, order: Readonly<Record<string, number>>): Tensor {
  const sorted = Object.keys(values).sort((a, b) => order[a]! - order[b]!);
  return concat(
    sorted.map((name) => values[name]!),
    { axis: -1 },
  );
}

const product = (state: Tensor, weight: Tensor): Tensor => matmul(state, weight, { transB: true });

export const recurrentExporters = {
  gruScan: parts(([x, r, h0, bias], { gates: order, reset, reverse }) => {
    const size = h0!.shape[1]!;
    const block = gruBlocks[order];
    const [gateWeight, weight] = [slice(r!, { 0: [0, 2 * size] }), slice(r!, { 0: [2 * size, null] })];
    return unroll(x!, [h0!] as const, reverse, (now, [h]) => {
      const pair = blocks(add(slice(now, { 1: [0, 2 * size] }), product(h, gateWeight)), 2).map(sigmoid);
      const [z, reset_] = [pair[block.z]!, pair[block.r]!];
      const after = reset === 'after' ? add(product(h, weight), bias!) : undefined;
      const recurrent = after ? mul(reset_, after) : product(mul(reset_, h), weight);
      const n = tanh(add(slice(now, { 1: [2 * size, null] }), recurrent));
      const next = add(mul(sub(1, z), n), mul(z, h));
      return { state: [next] as const, more: [gateValues({ z, r: reset_, n }, block), ...(after ? [after] : [])] };
    });
  }),
  gruScanGrad: decomposed(gruScanGradOp),
  lstmScan: parts(([x, r, h0, c0, peepholes], { gates: order, reverse }) => {
    const block = lstmBlocks[order];
    const [pI, pO, pF] = peepholes ? blocks(peepholes, 3) : [];
    const seen = (gate: Tensor, p: Tensor | undefined, cell: Tensor): Tensor => (p ? add(gate, mul(cell, p)) : gate);
    return unroll(x!, [h0!, c0!] as const, reverse, (now, [h, c]) => {
      const pre = blocks(add(now, product(h, r!)), 4);
      const i = sigmoid(seen(pre[block.i]!, pI, c));
      const f = sigmoid(seen(pre[block.f]!, pF, c));
      const g = tanh(pre[block.g]!);
      const cell = add(mul(f, c), mul(i, g));
      const o = sigmoid(seen(pre[block.o]!, pO, cell));
      return { state: [mul(o, tanh(cell)), cell] as const, more: [gateValues({ i, f, g, o }, block)] };
    });
  }),
  lstmScanGrad: decomposed(lstmScanGradOp),
  rnnScan: parts(([x, r, h0], { activation, reverse }) => {
    const f = activation === 'tanh' ? tanh : relu;
    return unroll(x!, [h0!] as const, reverse, (now, [h]) => ({
      state: [f(add(now, product(h, r!)))] as const,
      more: [],
    }));
  }),
  rnnScanGrad: decomposed(rnnScanGradOp),
} satisfies Partial<ExportTable>;

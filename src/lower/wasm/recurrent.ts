/**
 * Lowering of the recurrent scans: each time step is a matrix product and a cell. The product adds to what the cell reads
 * and the cell leaves its results where they belong, so that nothing but the products takes workspace.
 */
import { byteSize, elementCount, type TensorType } from '../../core/types.ts';
import { gruBlocks, lstmBlocks } from '../../ops/gates.ts';
import { type GruScanAttrs, type GruScanGradAttrs, gruGradInputs } from '../../ops/gru-scan-grad.ts';
import { type LstmScanAttrs, type LstmScanGradAttrs, lstmGradInputs } from '../../ops/lstm-scan-grad.ts';
import type { RnnScanAttrs } from '../../ops/rnn-scan.ts';
import { timeBefore, timesOf } from '../../ops/scan.ts';
import {
  type Arg,
  input,
  type KernelCall,
  type Lowered,
  type LowerRule,
  type NodeSignature,
  output,
  workspace,
} from '../kernel-call.ts';
import { shifted } from './strided.ts';
import { gemmWorkspace } from './workspace.ts';

/** A pointer argument that is not there. */
const none = -1;

/** A matrix of a product: where it begins and the elements from a row to the next. */
interface Matrix {
  readonly at: Arg;
  readonly step: number;
}

/** The calls of a scan, and the workspace that its products share. */
class Calls {
  readonly calls: KernelCall[] = [];
  #workspaceBytes = 0;

  push(kernel: string, ...args: Arg[]): void {
    this.calls.push({ kernel, args });
  }

  /** y [m, n] += a [m, k]·w, or a·wᵀ, with w [k, n] or [n, k] contiguous; `fresh` overwrites y. */
  product(m: number, n: number, k: number, y: Matrix, a: Matrix, w: Arg, options: { transW: boolean; fresh?: true }) {
    const steps = options.transW ? [1, k] : [n, 1];
    const add = options.fresh ? 0 : 1;
    this.push('gemm', m, n, k, a.at, a.step, 1, w, ...steps, y.at, y.step, add, workspace());
    this.#workspaceBytes = Math.max(this.#workspaceBytes, gemmWorkspace(m, n, k));
  }

  get lowered(): Lowered {
    return { calls: this.calls, workspaceBytes: this.#workspaceBytes };
  }
}

/** Time t of an operand whose first axis is time. */
function timeSlice(type: TensorType): (arg: Arg, t: number) => Arg {
  const bytes = byteSize(type) / type.shape[0]!;
  return (arg, t) => shifted(arg, t * bytes);
}

const lstmScan = ({ inputs, outputs, attrs }: NodeSignature): Lowered => {
  const { gates: order, reverse } = attrs as LstmScanAttrs;
  const [steps, batch, size] = outputs[0]!.shape as [number, number, number];
  const [state, wide] = [timeSlice(outputs[0]!), timeSlice(outputs[2]!)];
  const { i, o, f, g } = lstmBlocks[order];
  const peepholes = inputs[4] ? input(4) : none;
  const calls = new Calls();
  calls.push('copyBytes', byteSize(inputs[0]!), input(0), output(2));
  for (const t of timesOf(steps, reverse)) {
    const before = timeBefore(t, steps, reverse);
    const [h, c] = before === undefined ? [input(2), input(3)] : [state(output(0), before), state(output(1), before)];
    const gates = wide(output(2), t);
    const y = { at: gates, step: 4 * size };
    calls.product(batch, 4 * size, size, y, { at: h, step: size }, input(1), { transW: true });
    calls.push('lstmCell', batch, size, i, o, f, g, peepholes, gates, c, state(output(1), t), state(output(0), t));
  }
  return calls.lowered;
};

const lstmScanGrad = ({ inputs, outputs, attrs: raw }: NodeSignature): Lowered => {
  const attrs = raw as LstmScanGradAttrs;
  const operands = lstmGradInputs(
    inputs.map((_, at) => input(at)),
    attrs,
  );
  const [steps, batch, size] = inputs[1]!.shape as [number, number, number];
  const [state, wide] = [timeSlice(inputs[1]!), timeSlice(inputs[0]!)];
  const { i, o, f, g } = lstmBlocks[attrs.gates];
  const { h: dH, c: dC, gates: dGates } = operands.cotangent;
  const [dX, dh, dc] = [output(0), output(1), output(2)];
  const calls = new Calls();
  // What later steps send back lies in the outputs that the first step's is: it becomes theirs by the way.
  for (const sent of [1, 2]) calls.push('fill32', elementCount(outputs[sent]!.shape), 0, output(sent));
  for (const t of timesOf(steps, !attrs.reverse)) {
    const before = timeBefore(t, steps, attrs.reverse);
    calls.push(
      'lstmCellGrad',
      ...[batch, size, i, o, f, g, operands.p ?? none, wide(operands.gates, t)],
      ...[before === undefined ? operands.c0 : state(operands.c, before), state(operands.c, t)],
      ...[dH ? state(dH, t) : none, dC ? state(dC, t) : none, dGates ? wide(dGates, t) : none],
      ...[dh, dc, wide(dX, t)],
    );
    const a = { at: wide(dX, t), step: 4 * size };
    calls.product(batch, size, 4 * size, { at: dh, step: size }, a, operands.r, { transW: false, fresh: true });
  }
  return calls.lowered;
};

const gruScan = ({ inputs, outputs, attrs }: NodeSignature): Lowered => {
  const { gates: order, reset, reverse } = attrs as GruScanAttrs;
  const [steps, batch, size] = outputs[0]!.shape as [number, number, number];
  const [state, wide] = [timeSlice(outputs[0]!), timeSlice(outputs[1]!)];
  const { z, r } = gruBlocks[order];
  const [gateWeight, candidate] = [input(1), input(1, 4 * 2 * size * size)];
  const calls = new Calls();
  calls.push('copyBytes', byteSize(inputs[0]!), input(0), output(1));
  for (const t of timesOf(steps, reverse)) {
    const before = timeBefore(t, steps, reverse);
    const hBefore = before === undefined ? input(2) : state(output(0), before);
    const [gates, h] = [wide(output(1), t), state(output(0), t)];
    const a = { at: hBefore, step: size };
    calls.product(batch, 2 * size, size, { at: gates, step: 3 * size }, a, gateWeight, { transW: true });
    if (reset === 'after') {
      const product = state(output(2), t);
      calls.product(batch, size, size, { at: product, step: size }, a, candidate, { transW: true, fresh: true });
      calls.push('gruCell', batch, size, z, r, input(3), gates, product, hBefore, h);
    } else {
      // r∘h′ lies where h will be.
      calls.push('gruGates', batch, size, z, r, gates, hBefore, h);
      const y = { at: shifted(gates, 4 * 2 * size), step: 3 * size };
      calls.product(batch, size, size, y, { at: h, step: size }, candidate, { transW: true });
      calls.push('gruBlend', batch, size, z, gates, hBefore, h);
    }
  }
  return calls.lowered;
};

const gruScanGrad = ({ inputs, outputs, attrs: raw }: NodeSignature): Lowered => {
  const attrs = raw as GruScanGradAttrs;
  const operands = gruGradInputs(
    inputs.map((_, at) => input(at)),
    attrs,
  );
  const [steps, batch, size] = inputs[0]!.shape as [number, number, number];
  const [state, wide] = [timeSlice(inputs[0]!), timeSlice(inputs[1]!)];
  const { z, r } = gruBlocks[attrs.gates];
  const { h: dH, gates: dGates, product: dProduct } = operands.cotangent;
  const candidate = shifted(operands.r, 4 * 2 * size * size);
  const dh = output(1);
  const sent = { at: dh, step: size };
  const calls = new Calls();
  calls.push('fill32', elementCount(outputs[1]!.shape), 0, dh);
  for (const t of timesOf(steps, !attrs.reverse)) {
    const before = timeBefore(t, steps, attrs.reverse);
    const hBefore = before === undefined ? operands.h0 : state(operands.h, before);
    const [gates, dX] = [wide(operands.gates, t), wide(output(0), t)];
    const given = [dH ? state(dH, t) : none, dGates ? wide(dGates, t) : none];
    if (operands.product) {
      const dq = state(output(2), t);
      calls.push(
        'gruCellGrad',
        ...[batch, size, z, r, gates, state(operands.product, t), hBefore, ...given],
        ...[dProduct ? state(dProduct, t) : none, dh, dX, dq],
      );
      calls.product(batch, size, size, sent, { at: dq, step: size }, candidate, { transW: false });
    } else {
      calls.push('gruBlendGrad', batch, size, z, gates, hBefore, ...given, dh, dX);
      // The cotangent of r∘h′ lies where that of r will be.
      const du = { at: shifted(dX, 4 * r * size), step: 3 * size };
      const dn = { at: shifted(dX, 4 * 2 * size), step: 3 * size };
      calls.product(batch, size, size, du, dn, candidate, { transW: false, fresh: true });
      calls.push('gruGatesGrad', batch, size, r, gates, hBefore, given[1]!, dh, dX);
    }
    calls.product(batch, size, 2 * size, sent, { at: dX, step: 3 * size }, operands.r, { transW: false });
  }
  return calls.lowered;
};

const rnnScan = ({ inputs, outputs, attrs }: NodeSignature): Lowered => {
  const { activation, reverse } = attrs as RnnScanAttrs;
  const [steps, batch, size] = outputs[0]!.shape as [number, number, number];
  const state = timeSlice(outputs[0]!);
  const calls = new Calls();
  calls.push('copyBytes', byteSize(inputs[0]!), input(0), output(0));
  for (const t of timesOf(steps, reverse)) {
    const before = timeBefore(t, steps, reverse);
    const h = state(output(0), t);
    const a = { at: before === undefined ? input(2) : state(output(0), before), step: size };
    calls.product(batch, size, size, { at: h, step: size }, a, input(1), { transW: true });
    calls.push(activation, batch * size, h, h);
  }
  return calls.lowered;
};

const rnnScanGrad = ({ inputs, outputs, attrs }: NodeSignature): Lowered => {
  const { activation, reverse } = attrs as RnnScanAttrs;
  const [steps, batch, size] = inputs[0]!.shape as [number, number, number];
  const state = timeSlice(outputs[0]!);
  const calls = new Calls();
  calls.push('copyBytes', byteSize(inputs[2]!), input(2), output(0));
  for (const t of timesOf(steps, !reverse)) {
    const dX = state(output(0), t);
    calls.push(`${activation}Grad`, batch * size, state(input(0), t), dX, dX);
    // To the step before, which has its own cotangent already; the last goes to the initial state.
    const before = timeBefore(t, steps, reverse);
    const y = { at: before === undefined ? output(1) : state(output(0), before), step: size };
    const options = before === undefined ? { transW: false, fresh: true as const } : { transW: false };
    calls.product(batch, size, size, y, { at: dX, step: size }, input(1), options);
  }
  return calls.lowered;
};

/** Lowering of the ops whose records are in the scan files. */
export const recurrentRules = {
  gruScan,
  gruScanGrad,
  lstmScan,
  lstmScanGrad,
  rnnScan,
  rnnScanGrad,
} satisfies Readonly<Record<string, LowerRule>>;

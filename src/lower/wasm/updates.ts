/**
 * Lowering of the updates to the WebAssembly kernels. What they write has its input's offset (`inPlace`), so that one
 * pointer stands for both. What is 1 minus a coefficient is computed here in f64: in f32 it would lose three digits of
 * 1 − 0.999.
 */
import { elementCount } from '../../core/types.ts';
import { type AdadeltaAttrs, adadeltaState } from '../../ops/adadelta-update.ts';
import { type AdagradAttrs, adagradState } from '../../ops/adagrad-update.ts';
import { type AdamAttrs, adamState } from '../../ops/adam-update.ts';
import type { ClipFactorAttrs } from '../../ops/clip-factor.ts';
import { type RmspropAttrs, rmspropState } from '../../ops/rmsprop-update.ts';
import { type SgdAttrs, sgdState } from '../../ops/sgd-update.ts';
import { hasFactor } from '../../ops/update-record.ts';
import { type Arg, call, input, type Lowered, type LowerRule, type NodeSignature, output } from '../kernel-call.ts';

/** A pointer argument that is not there. */
const none = -1;

/** (n, w, g, all state tensors that the kernel knows, hyper, factor, numbers …); absent ones are `none`. */
function update(
  kernel: string,
  { inputs }: NodeSignature,
  state: readonly string[],
  known: readonly string[],
  numbers: readonly number[],
): Lowered {
  const pointers: Arg[] = known.map((name) => (state.includes(name) ? output(1 + state.indexOf(name)) : none));
  const hyper = 2 + state.length;
  const factor: Arg = hasFactor(inputs, state) ? input(hyper + 1) : none;
  return call(
    kernel,
    ...[elementCount(inputs[0]!.shape), output(0), input(1), ...pointers, input(hyper), factor],
    ...numbers,
  );
}

const sgdUpdate: LowerRule = (node) => {
  const attrs = node.attrs as SgdAttrs;
  const { dampening, nesterov, weightDecay } = attrs;
  return update('sgd', node, sgdState(attrs), ['momentum'], [1 - dampening, nesterov ? 1 : 0, weightDecay]);
};

const adamUpdate: LowerRule = (node) => {
  const attrs = node.attrs as AdamAttrs;
  const { beta2, eps, weightDecay, decoupled } = attrs;
  const numbers = [beta2, 1 - beta2, eps, weightDecay, decoupled ? 1 : 0];
  return update('adam', node, adamState(attrs), ['m', 'v', 'vmax'], numbers);
};

const adagradUpdate: LowerRule = (node) => {
  const { eps, weightDecay } = node.attrs as AdagradAttrs;
  return update('adagrad', node, adagradState, adagradState, [eps, weightDecay]);
};

const adadeltaUpdate: LowerRule = (node) => {
  const { rho, eps, weightDecay } = node.attrs as AdadeltaAttrs;
  return update('adadelta', node, adadeltaState, adadeltaState, [rho, 1 - rho, eps, weightDecay]);
};

const rmspropUpdate: LowerRule = (node) => {
  const attrs = node.attrs as RmspropAttrs;
  const { alpha, eps, weightDecay } = attrs;
  const known = ['squareAvg', 'gradAvg', 'momentum'];
  return update('rmsprop', node, rmspropState(attrs), known, [alpha, 1 - alpha, eps, weightDecay]);
};

const clipFactor: LowerRule = ({ inputs, attrs }) =>
  call('clipFactor', elementCount(inputs[0]!.shape), input(0), output(0), (attrs as ClipFactorAttrs).maxNorm);

export const updateRules = {
  adadeltaUpdate,
  adagradUpdate,
  adamUpdate,
  clipFactor,
  rmspropUpdate,
  sgdUpdate,
} satisfies Readonly<Record<string, LowerRule>>;

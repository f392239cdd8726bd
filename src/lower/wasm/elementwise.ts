/** Lowering of elementwise functions, comparisons, logic and casts to the WebAssembly kernels. */
import { type DType, elementCount } from '../../core/types.ts';
import type { Attrs } from '../../graph/op-record.ts';
import type { ClipAttrs, EluAttrs, HardSigmoidAttrs } from '../../ops/activations.ts';
import { broadcastStrides } from '../../ops/broadcast.ts';
import { call, input, type KernelCall, type LowerRule, type NodeSignature, output, workspace } from '../kernel-call.ts';
import { broadcastCall, Scratch, stridedCopy } from './strided.ts';

/** (n, operands…, y, parameters…): elementwise, all of one shape. */
const flat =
  (kernel: string, parameters: (attrs: Attrs) => readonly number[] = () => []): LowerRule =>
  ({ inputs, outputs, attrs }) =>
    call(kernel, elementCount(outputs[0]!.shape), ...inputs.map((_, i) => input(i)), output(0), ...parameters(attrs));

/** The rule of kernel `name` for f32, and the same rule of `nameI32` for integers. */
const numeric =
  (rule: (kernel: string) => LowerRule, name: string): LowerRule =>
  (node) =>
    rule(node.outputs[0]!.dtype === 'i32' ? `${name}I32` : name)(node);

const operandsOf = ({ inputs }: NodeSignature) => inputs.map((type, i) => ({ type, arg: input(i) }));

const broadcast =
  (kernel: string): LowerRule =>
  (node) =>
    broadcastCall(kernel, operandsOf(node), node.outputs[0]!.shape);

/** How a comparison of integers is made of `equalI32` and `lessI32`. */
interface IntegerComparison {
  readonly kernel: 'equalI32' | 'lessI32';
  readonly swap: boolean;
  readonly negate: boolean;
}

export const integerComparisons: Readonly<Record<string, IntegerComparison>> = {
  equal: { kernel: 'equalI32', swap: false, negate: false },
  greater: { kernel: 'lessI32', swap: true, negate: false },
  greaterEqual: { kernel: 'lessI32', swap: false, negate: true },
  less: { kernel: 'lessI32', swap: false, negate: false },
  lessEqual: { kernel: 'lessI32', swap: true, negate: true },
  notEqual: { kernel: 'equalI32', swap: false, negate: true },
};

const comparison =
  (kernel: string): LowerRule =>
  (node) => {
    const integers = integerComparisons[kernel]!;
    const [a, b] = operandsOf(node) as [ReturnType<typeof operandsOf>[0], ReturnType<typeof operandsOf>[0]];
    const { shape } = node.outputs[0]!;
    if (a.type.dtype === 'f32') return broadcastCall(kernel, [a, b], shape);
    const { calls, workspaceBytes } = broadcastCall(integers.kernel, integers.swap ? [b, a] : [a, b], shape);
    const negation: KernelCall = { kernel: 'not', args: [elementCount(shape), output(0), output(0)] };
    return { calls: integers.negate ? [...calls, negation] : calls, workspaceBytes };
  };

/** `and`, `or`, `xor`: kernels take equal shapes, so that broadcast operands are expanded first. */
const logic =
  (kernel: string): LowerRule =>
  ({ inputs, outputs }) => {
    const { shape } = outputs[0]!;
    const n = elementCount(shape);
    const scratch = new Scratch();
    const calls: KernelCall[] = [];
    const args = inputs.map((type, i) => {
      if (elementCount(type.shape) === n) return input(i);
      const at = scratch.take(n);
      calls.push(...stridedCopy('copy', 'bool', shape, broadcastStrides(type.shape, shape), input(i), workspace(at)));
      return workspace(at);
    });
    calls.push({ kernel, args: [n, ...args, output(0)] });
    return { calls, workspaceBytes: scratch.bytes };
  };

export const dtypeNames: Readonly<Record<DType, string>> = { f32: 'F32', i32: 'I32', bool: 'Bool' };

const cast: LowerRule = ({ inputs, outputs }) => {
  const [from, to] = [inputs[0]!, outputs[0]!];
  return call(`cast${dtypeNames[from.dtype]}${dtypeNames[to.dtype]}`, elementCount(to.shape), input(0), output(0));
};

/** Factor above 0, factor of e^(rate·x) − 1 below, rate. */
export const eluParameters = (attrs: Attrs): number[] => {
  const { alpha, scale, inputScale } = attrs as EluAttrs;
  return [scale, scale * alpha, inputScale];
};

/** The same for the slope: below, the exponential's factor is multiplied by the rate. */
export const eluSlopes = (attrs: Attrs): number[] => {
  const { alpha, scale, inputScale } = attrs as EluAttrs;
  return [scale, scale * alpha * inputScale, inputScale];
};

export const ramp = (attrs: Attrs): number[] => {
  const { alpha, beta } = attrs as HardSigmoidAttrs;
  return [alpha, beta];
};

const bounds =
  (least: number, most: number) =>
  (attrs: Attrs): number[] => {
    const { low, high } = attrs as ClipAttrs;
    return [low ?? least, high ?? most];
  };
/** A clip's bounds on f32, none being infinite. */
export const clipBounds = bounds(-Infinity, Infinity);
const integerBounds = bounds(-(2 ** 31), 2 ** 31 - 1);

const clip: LowerRule = (node) =>
  node.outputs[0]!.dtype === 'i32' ? flat('clipI32', integerBounds)(node) : flat('clip', clipBounds)(node);

export const elementwiseRules = {
  abs: numeric(flat, 'abs'),
  acos: flat('acos'),
  acosh: flat('acosh'),
  add: numeric(broadcast, 'add'),
  and: logic('and'),
  asin: flat('asin'),
  asinh: flat('asinh'),
  atan: flat('atan'),
  atanh: flat('atanh'),
  cast,
  ceil: flat('ceil'),
  clip,
  clipGrad: flat('clipGrad', clipBounds),
  cos: flat('cos'),
  cosh: flat('cosh'),
  div: numeric(broadcast, 'div'),
  elu: flat('elu', eluParameters),
  eluGrad: flat('eluGrad', eluSlopes),
  equal: comparison('equal'),
  erf: flat('erf'),
  exp: flat('exp'),
  floor: flat('floor'),
  fmod: numeric(broadcast, 'fmod'),
  gelu: flat('gelu'),
  geluGrad: flat('geluGrad'),
  geluTanh: flat('geluTanh'),
  geluTanhGrad: flat('geluTanhGrad'),
  greater: comparison('greater'),
  greaterEqual: comparison('greaterEqual'),
  hardSigmoid: flat('hardSigmoid', ramp),
  hardSigmoidGrad: flat('hardSigmoidGrad', ramp),
  hardSwish: flat('hardSwish'),
  hardSwishGrad: flat('hardSwishGrad'),
  leakyRelu: flat('leakyRelu', ({ slope }) => [slope as number]),
  leakyReluGrad: flat('leakyReluGrad', ({ slope }) => [slope as number]),
  less: comparison('less'),
  lessEqual: comparison('lessEqual'),
  log: flat('log'),
  maximum: numeric(broadcast, 'maximum'),
  minimum: numeric(broadcast, 'minimum'),
  mod: numeric(broadcast, 'mod'),
  mul: numeric(broadcast, 'mul'),
  neg: numeric(flat, 'neg'),
  not: flat('not'),
  notEqual: comparison('notEqual'),
  or: logic('or'),
  pow: numeric(broadcast, 'pow'),
  prelu: broadcast('prelu'),
  reciprocal: flat('reciprocal'),
  relu: flat('relu'),
  reluGrad: flat('reluGrad'),
  round: flat('round'),
  sigmoid: flat('sigmoid'),
  sigmoidGrad: flat('sigmoidGrad'),
  sign: numeric(flat, 'sign'),
  sin: flat('sin'),
  sinh: flat('sinh'),
  softplus: flat('softplus'),
  softsign: flat('softsign'),
  softsignGrad: flat('softsignGrad'),
  sqrt: flat('sqrt'),
  sub: numeric(broadcast, 'sub'),
  tan: flat('tan'),
  tanh: flat('tanh'),
  tanhGrad: flat('tanhGrad'),
  thresholdedRelu: flat('thresholdedRelu', ({ alpha }) => [alpha as number]),
  thresholdedReluGrad: flat('thresholdedReluGrad', ({ alpha }) => [alpha as number]),
  where: broadcast('where'),
  xor: logic('xor'),
} satisfies Readonly<Record<string, LowerRule>>;

import { isOfKind } from '../core/kinds.ts';
import { shown } from '../core/options.ts';
import type { Shape } from '../core/types.ts';
import type { Tensor } from '../graph/graph.ts';
import type { ParameterInit } from '../graph/source.ts';
import { fanIn, fanInUniform, kaimingUniform } from '../init/index.ts';
import * as ops from '../ops/conv.ts';
import * as transposed from '../ops/conv-transpose.ts';
import { kindProblem } from '../ops/kinds.ts';
import { type PadMode, pad } from '../ops/pad.ts';
import { type PaddingOption, type PerAxis, perAxis, sides } from '../ops/window.ts';
import { refuse } from './refuse.ts';
import { type LayerOptions, scoped } from './scope.ts';

/** What lies outside the input; PyTorch's `padding_mode`. */
export type PaddingMode = 'zeros' | 'reflect' | 'replicate' | 'circular';

interface KernelOptions extends LayerOptions {
  readonly kernel: PerAxis;
  /** default true */
  readonly bias?: boolean;
  /** First value of the weight; default PyTorch's, U(±1/√fanIn). */
  readonly init?: Init;
}

type Init = (weight: Shape) => ParameterInit;

export interface ConvLayerOptions extends KernelOptions, Omit<ops.ConvOptions, 'padding'> {
  /** Elements, `valid` (none) or `same` (as many as keep the size; for stride 1); default 0. */
  readonly padding?: PaddingOption | 'valid' | 'same';
  /** default zeros */
  readonly paddingMode?: PaddingMode;
}

export interface ConvTransposeLayerOptions extends KernelOptions, transposed.ConvTransposeOptions {
  /** Transposed convolutions know no other mode, here as in PyTorch. */
  readonly paddingMode?: 'zeros';
}

/** Channels of one group. Refuses an x without channels, and channels that do not make equal groups. */
function perGroup(layer: string, x: Tensor, channels: number | undefined, groups: number, which: string): number {
  if (channels === undefined) return refuse(layer, x, 'takes [N, C] and spatial axes');
  if (!isOfKind('count', channels))
    refuse(layer, x, `${which} channels are a positive integer, got ${shown(channels)}`);
  if (Number.isInteger(channels / groups)) return channels / groups;
  return refuse(layer, x, `${channels} ${which} channels are not divisible by ${groups} groups`);
}

/** The weight, whose axes are `channels`, then the kernel's; and the bias. */
function parametersOf(x: Tensor, out: number, channels: readonly number[], options: KernelOptions, rank: number) {
  const shape = [...channels, ...perAxis(options.kernel, rank)];
  const weight = x.graph.parameter('weight', shape, (options.init ?? kaimingUniform)(shape));
  const bias = options.bias === false ? undefined : x.graph.parameter('bias', [out], fanInUniform(fanIn(shape)));
  return { weight, bias };
}

/** Refuses what is neither a number nor one an axis: the types that say so are gone in JavaScript. */
function requirePerAxis(layer: string, x: Tensor, options: Readonly<Record<string, unknown>>): void {
  for (const [option, value] of Object.entries(options)) {
    const problem = kindProblem('perAxis?', value);
    if (problem !== undefined) refuse(layer, x, `${option} ${problem}`, `{ ${option}: 1 }, or a number an axis`);
  }
}

const padModes: Readonly<Record<Exclude<PaddingMode, 'zeros'>, PadMode>> = {
  reflect: 'reflect',
  replicate: 'edge',
  circular: 'wrap',
};

/** [begins…, ends…] of the padding. Of an odd total the end has one more, as in PyTorch. */
function paddingOf(layer: string, x: Tensor, options: ConvLayerOptions, rank: number): readonly number[] {
  const { padding = 0, stride = 1, dilation = 1, kernel } = options;
  if (padding === 'valid') return sides(0, rank);
  if (padding !== 'same') {
    if (typeof padding === 'string') {
      refuse(layer, x, `padding must be numbers, "same" or "valid", got ${shown(padding)}`);
    }
    requirePerAxis(layer, x, { padding });
    return sides(padding, rank);
  }
  if (perAxis(stride, rank).some((s) => s !== 1)) {
    refuse(layer, x, `padding "same" is for stride 1, got ${stride}`, 'give the padding in elements');
  }
  const dilations = perAxis(dilation, rank);
  const totals = perAxis(kernel, rank).map((k, i) => dilations[i]! * (k - 1));
  return [...totals.map((t) => Math.floor(t / 2)), ...totals.map((t) => Math.ceil(t / 2))];
}

/** x with its padding around it, of a mode other than zeros, which the convolution itself has. */
function padded(layer: string, x: Tensor, mode: Exclude<PaddingMode, 'zeros'>, padding: readonly number[]): Tensor {
  const size = x.shape.slice(2);
  const most = size.map((n) => (mode === 'reflect' ? n - 1 : mode === 'circular' ? n : Infinity));
  const sidesOf = size.map((_, i) => [padding[i]!, padding[i + size.length]!] as const);
  const wrong = sidesOf.findIndex((pair, i) => pair.some((p) => p > most[i]!));
  if (wrong >= 0) {
    refuse(layer, x, `paddingMode ${mode} has at most ${most[wrong]} elements for an axis of ${size[wrong]}`);
  }
  return pad(x, Object.fromEntries(sidesOf.map((pair, i) => [i + 2, pair])), { mode: padModes[mode] });
}

const convOptions = {
  name: true,
  kernel: 'required',
  bias: true,
  init: true,
  stride: true,
  dilation: true,
  groups: true,
  padding: true,
  paddingMode: true,
} as const;

const convLayer =
  (layer: string, rank: number, convolve: typeof ops.conv1d) =>
  (x: Tensor, outChannels: number, options: ConvLayerOptions): Tensor =>
    scoped(layer, x, options, convOptions, () => {
      const { kernel, stride, dilation, groups = 1, paddingMode = 'zeros' } = options;
      requirePerAxis(layer, x, { kernel, stride, dilation });
      if (paddingMode !== 'zeros' && !Object.hasOwn(padModes, paddingMode)) {
        refuse(layer, x, `paddingMode must be zeros, reflect, replicate or circular, got ${shown(paddingMode)}`);
      }
      const padding = paddingOf(layer, x, options, rank);
      // What can be refused comes before the parameters: a layer that is asked for again must not find its own.
      const channels = [outChannels, perGroup(layer, x, x.shape[1], groups, 'input')];
      const isPadded = paddingMode !== 'zeros';
      const input = isPadded ? padded(layer, x, paddingMode, padding) : x;
      const { weight, bias } = parametersOf(x, outChannels, channels, options, rank);
      return convolve(input, weight, bias, { stride, dilation, groups, padding: isPadded ? 0 : padding });
    });

const convTransposeLayer =
  (layer: string, rank: number, convolve: typeof transposed.convTranspose1d) =>
  (x: Tensor, outChannels: number, options: ConvTransposeLayerOptions): Tensor =>
    scoped(layer, x, options, { ...convOptions, outputPadding: true }, () => {
      const { kernel, stride, dilation, groups = 1, padding, outputPadding, paddingMode = 'zeros' } = options;
      requirePerAxis(layer, x, { kernel, stride, dilation, padding, outputPadding });
      if (paddingMode !== 'zeros') {
        refuse(layer, x, `paddingMode must be zeros, got ${shown(paddingMode)}`);
      }
      const outside = perGroup(layer, x, outChannels, groups, 'output');
      const channels = [x.shape[1] ?? refuse(layer, x, 'takes [N, C] and spatial axes'), outside];
      const { weight, bias } = parametersOf(x, outChannels, channels, options, rank);
      return convolve(x, weight, bias, { stride, dilation, groups, padding, outputPadding });
    });

/** 1-D convolution of [N, C, L] (PyTorch Conv1d). weight [out, C / groups, k], bias [out]. */
export const conv1d = convLayer('conv1d', 1, ops.conv1d);

/** 2-D convolution of [N, C, H, W] (PyTorch Conv2d). weight [out, C / groups, kh, kw], bias [out]. */
export const conv2d = convLayer('conv2d', 2, ops.conv2d);

/** 3-D convolution of [N, C, D, H, W] (PyTorch Conv3d). weight [out, C / groups, kd, kh, kw], bias [out]. */
export const conv3d = convLayer('conv3d', 3, ops.conv3d);

/** 1-D transposed convolution of [N, C, L] (PyTorch ConvTranspose1d). weight [C, out / groups, k], bias [out]. */
export const convTranspose1d = convTransposeLayer('convTranspose1d', 1, transposed.convTranspose1d);

/** 2-D transposed convolution of [N, C, H, W] (PyTorch ConvTranspose2d). weight [C, out / groups, kh, kw], bias [out]. */
export const convTranspose2d = convTransposeLayer('convTranspose2d', 2, transposed.convTranspose2d);

/** 3-D transposed convolution of [N, C, D, H, W] (ConvTranspose3d). weight [C, out / groups, kd, kh, kw], bias [out]. */
export const convTranspose3d = convTransposeLayer('convTranspose3d', 3, transposed.convTranspose3d);

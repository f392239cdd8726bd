/**
 * The ops as the package gives them to users: `functions.ts`, held to the names of their options. What is built on the ops
 * within the package calls the functions themselves and pays nothing for it.
 */
import { type OptionNames, optionProblem, shown } from '../core/options.ts';
import { Tensor } from '../graph/graph.ts';
import * as functions from './functions.ts';
import { type Kind, type KindOf, kindProblem } from './kinds.ts';
import { refuseOptions, refuseProblem } from './options.ts';

type Functions = typeof functions;

/** A parameter that is a record: no tensor, list or function. */
type RecordIn<P> = P extends object
  ? P extends Tensor | readonly unknown[] | ((...args: never) => unknown)
    ? never
    : P
  : never;

type RecordsOf<P extends readonly unknown[]> = {
  readonly [I in keyof P & `${number}` as [RecordIn<P[I]>] extends [never] ? never : I]: RecordIn<P[I]>;
};

/** By function and position, the parameters that are records. */
type Records = {
  readonly [F in keyof Functions as [keyof RecordsOf<Parameters<Functions[F]>>] extends [never] ? never : F]: RecordsOf<
    Parameters<Functions[F]>
  >;
};

type ValuesOf<T> = T[keyof T];
type KeyOfAny<R> = R extends unknown ? keyof R : never;
type AnyName = KeyOfAny<ValuesOf<{ [F in keyof Records]: ValuesOf<Records[F]> }>> & string;

/** The names of a record, all of them and no other; `axes` where they are the axes of a tensor. */
type NamesOf<R> = number extends keyof R
  ? 'axes'
  : OptionNames<R> & { readonly [K in Exclude<AnyName, keyof R>]?: never };

type ValueIn<R, K> = R extends unknown ? (K extends keyof R ? R[K] : never) : never;

/** By name, over all functions; what is left out is `undefined`, and what must not be is said where the names are. */
type OptionKinds = {
  readonly [K in AnyName]: KindOf<
    Exclude<ValueIn<ValuesOf<{ [F in keyof Records]: ValuesOf<Records[F]> }>, K>, undefined>
  >;
};

type NullIn<R> = { [K in keyof R]-?: null extends R[K] ? K : never }[keyof R];

/** Options for which null stands for none. */
type MayBeNull = {
  readonly [F in keyof Records as NullIn<ValuesOf<Records[F]>> extends never ? never : F]: {
    readonly [K in NullIn<ValuesOf<Records[F]>>]: true;
  };
};

/** Of the parameters that are no records; without the rest of a list of any length. */
type PlacesOf<P extends readonly unknown[]> = {
  readonly [I in keyof P & `${number}` as [RecordIn<P[I]>] extends [never] ? I : never]: KindOf<P[I]>;
};

/** Functions that take anything but tensors, all of them needed, beside their options. */
type Places = {
  readonly [F in keyof Functions as Exclude<ValuesOf<PlacesOf<Parameters<Functions[F]>>>, 'tensor'> extends never
    ? never
    : F]: PlacesOf<Parameters<Functions[F]>>;
};

/** A record that is missing, one of its names, or one too many: neither compiles. */
type Table = {
  readonly [F in keyof Records]: { readonly [I in keyof Records[F]]: NamesOf<Records[F][I]> };
};

const axis = { axis: true } as const;
const axisNeeded = { axis: 'required' } as const;
const arg = { axis: true, keepDims: true, selectLastIndex: true } as const;
const axes = { axes: true } as const;
const eps = { eps: true } as const;
const alpha = { alpha: true } as const;
const reduce = { axes: true, keepDims: true } as const;
const conv = { stride: true, padding: true, dilation: true, groups: true } as const;
const convTranspose = { ...conv, outputPadding: true } as const;
const maxPool = { kernel: 'required', stride: true, padding: true, dilation: true, ceilMode: true } as const;
const avgPool = { ...maxPool, countIncludePad: true } as const;
const classLoss = { weight: true, ignoreIndex: true, reduction: true } as const;
const oneHot = { depth: 'required', axis: true } as const;
const blocks = { blockSize: 'required', order: true } as const;
const weights = { weightIh: 'required', weightHh: 'required', biasIh: true, biasHh: true } as const;
const recurrent = { reverse: true, h0: true, lengths: true, clip: true } as const;

const table = {
  argMax: { 1: arg },
  argMin: { 1: arg },
  avgPool1d: { 1: avgPool },
  avgPool2d: { 1: avgPool },
  avgPool3d: { 1: avgPool },
  batchNorm: { 3: eps },
  batchNormInference: { 5: eps },
  celu: { 1: alpha },
  clip: { 1: { low: true, high: true } },
  concat: { 1: axis },
  conv1d: { 3: conv },
  conv2d: { 3: conv },
  conv3d: { 3: conv },
  convTranspose1d: { 3: convTranspose },
  convTranspose2d: { 3: convTranspose },
  convTranspose3d: { 3: convTranspose },
  crossEntropyLoss: { 2: classLoss },
  cumSum: { 1: { axis: 'required', exclusive: true, reverse: true } },
  depthToSpace: { 1: blocks },
  dropout: { 1: { ratio: true, axis: true, samples: true, name: true } },
  elu: { 1: { alpha: true, scale: true, inputScale: true } },
  flatten: { 1: { startAxis: true, endAxis: true } },
  flip: { 1: axes },
  gather: { 2: axis },
  gatherElements: { 2: axisNeeded },
  gatherND: { 2: { batchDims: true } },
  groupNorm: { 4: eps },
  gru: { 1: weights, 2: { ...recurrent, gates: true, reset: true, activations: true } },
  hardSigmoid: { 1: { alpha: true, beta: true } },
  instanceNorm: { 3: eps },
  isInf: { 1: { positive: true, negative: true } },
  layerNorm: { 3: { axes: true, eps: true } },
  leakyRelu: { 1: { slope: true } },
  logSoftmax: { 1: axis },
  logSumExp: { 1: reduce },
  lstm: {
    1: weights,
    2: { ...recurrent, c0: true, gates: true, peepholes: true, activations: true, coupled: true },
  },
  matmul: { 2: { transA: true, transB: true } },
  max: { 1: reduce },
  maxPool1d: { 1: maxPool },
  maxPool2d: { 1: maxPool },
  maxPool3d: { 1: maxPool },
  mean: { 1: reduce },
  min: { 1: reduce },
  nllLoss: { 2: classLoss },
  oneHot: { 1: oneHot },
  oneHotMask: { 1: oneHot },
  pad: { 1: 'axes', 2: { mode: true, value: true } },
  prod: { 1: reduce },
  resample: { 3: axisNeeded },
  resize: {
    1: {
      scales: true,
      sizes: true,
      axes: true,
      mode: true,
      coordinateTransformation: true,
      nearestMode: true,
      cubicCoeffA: true,
      excludeOutside: true,
      antialias: true,
      keepAspectRatio: true,
      roi: true,
      extrapolationValue: true,
    },
  },
  rnn: { 1: weights, 2: { ...recurrent, activation: true } },
  scaledDotProductAttention: { 3: { causal: true, attnMask: true, scale: true, layout: true, dropout: true } },
  scatterAdd: { 2: { size: 'required', axis: true } },
  scatterElements: { 3: { axis: 'required', reduction: true } },
  scatterND: { 3: { reduction: true } },
  slice: { 1: 'axes' },
  softmax: { 1: axis },
  spaceToDepth: { 1: blocks },
  squeeze: { 1: axes },
  sum: { 1: reduce },
  sumOfSquares: { 1: reduce },
  thresholdedRelu: { 1: alpha },
  topK: { 1: { k: 'required', axis: true, largest: true } },
  trilu: { 1: { upper: true, k: true } },
  unsqueeze: { 1: { axes: 'required' } },
  vectorNorm: { 1: { ...reduce, ord: true } },
} satisfies Table;

const optionKinds: OptionKinds = {
  activation: 'other',
  activations: 'other',
  alpha: 'number',
  antialias: 'flag',
  attnMask: 'tensor',
  axes: 'perAxis',
  axis: 'number',
  batchDims: 'number',
  beta: 'number',
  biasHh: 'tensor',
  biasIh: 'tensor',
  blockSize: 'number',
  c0: 'tensor',
  causal: 'flag',
  ceilMode: 'flag',
  clip: 'number',
  coordinateTransformation: 'text',
  countIncludePad: 'flag',
  coupled: 'flag',
  cubicCoeffA: 'number',
  depth: 'number',
  dilation: 'perAxis',
  dropout: 'other',
  endAxis: 'number',
  eps: 'number',
  excludeOutside: 'flag',
  exclusive: 'flag',
  extrapolationValue: 'number',
  gates: 'text',
  groups: 'number',
  h0: 'tensor',
  high: 'number',
  ignoreIndex: 'number',
  inputScale: 'number',
  k: 'number',
  keepAspectRatio: 'text',
  keepDims: 'flag',
  kernel: 'perAxis',
  largest: 'flag',
  layout: 'text',
  lengths: 'other',
  low: 'number',
  mode: 'text',
  name: 'text',
  nearestMode: 'text',
  negative: 'flag',
  ord: 'number',
  order: 'text',
  outputPadding: 'perAxis',
  padding: 'perAxis',
  peepholes: 'tensor',
  positive: 'flag',
  ratio: 'number',
  reduction: 'text',
  reset: 'text',
  reverse: 'flag',
  roi: 'numbers',
  samples: 'number',
  scale: 'number',
  scales: 'numbers',
  selectLastIndex: 'flag',
  size: 'number',
  sizes: 'numbers',
  slope: 'number',
  startAxis: 'number',
  stride: 'perAxis',
  transA: 'flag',
  transB: 'flag',
  upper: 'flag',
  value: 'number',
  weight: 'tensor',
  weightHh: 'tensor',
  weightIh: 'tensor',
};

const two = { 0: 'operand', 1: 'operand' } as const;
const sized = { 0: 'tensor', 1: 'perAxis' } as const;
const scaled = { 0: 'tensor', 1: 'tensor?', 2: 'tensor?' } as const;
const biased = { 0: 'tensor', 1: 'tensor', 2: 'tensor?' } as const;
const shaped = { 0: 'tensor', 1: 'numbers' } as const;
const factor = { 0: 'tensor', 1: 'number' } as const;

const places: Places = {
  adaptiveAvgPool1d: sized,
  adaptiveAvgPool2d: sized,
  adaptiveAvgPool3d: sized,
  adaptiveMaxPool1d: sized,
  adaptiveMaxPool2d: sized,
  adaptiveMaxPool3d: sized,
  add: two,
  batchNorm: scaled,
  batchNormInference: { 0: 'tensor', 1: 'tensor', 2: 'tensor', 3: 'tensor?', 4: 'tensor?' },
  broadcastTo: shaped,
  cast: { 0: 'tensor', 1: 'text' },
  concat: { 0: 'tensors' },
  conv1d: biased,
  conv2d: biased,
  conv3d: biased,
  convTranspose1d: biased,
  convTranspose2d: biased,
  convTranspose3d: biased,
  div: two,
  einsum: { 0: 'text' },
  equal: two,
  fmod: two,
  greater: two,
  greaterEqual: two,
  groupNorm: { 0: 'tensor', 1: 'number', 2: 'tensor?', 3: 'tensor?' },
  instanceNorm: scaled,
  layerNorm: scaled,
  less: two,
  lessEqual: two,
  maximum: two,
  minimum: two,
  mod: two,
  mul: two,
  notEqual: two,
  pixelShuffle: factor,
  pixelUnshuffle: factor,
  pow: two,
  reshape: shaped,
  sub: two,
  transpose: { 0: 'tensor', 1: 'numbers?' },
  where: { 0: 'tensor', 1: 'operand', 2: 'operand' },
};

const mayBeNull: MayBeNull = {
  crossEntropyLoss: { ignoreIndex: true },
  dropout: { axis: true },
  nllLoss: { ignoreIndex: true },
};

type Call = (...args: readonly unknown[]) => unknown;
type Names = Readonly<Record<string, true | 'required'>>;
/** What is known of a function's arguments, by position. */
type Known = Readonly<Record<string, Names | 'axes'>>;
/** The others, where they are not all tensors. */
type Operands = Readonly<Record<string, Kind>>;

const tensorAmong = (args: readonly unknown[]): Tensor | undefined => args.flat().find((arg) => arg instanceof Tensor);

/** Throws GraphError for an argument that is not of its kind. */
function requireKind(op: string, args: readonly unknown[], at: number, kind: Kind): void {
  const problem = kindProblem(kind, args[at]);
  if (problem === undefined) return;
  refuseOptions(op, tensorAmong(args), `argument ${at + 1} ${problem}`, `see the parameters of ${op}`, {
    unknown: [],
    missing: [],
  });
}

const isRecord = (arg: unknown): arg is object =>
  typeof arg === 'object' && arg !== null && Object.getPrototypeOf(arg) === Object.prototype;

/**
 * Throws GraphError for an option whose value is not of its kind; `where` within the options of `op`, as of dropout in
 * attention.
 */
function requireOptionKinds(op: string, x: Tensor | undefined, options: object, where = ''): void {
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined || (value === null && nullOf[where || op]?.[name])) continue;
    const kind = kindOfOption[name];
    const problem = kind && kindProblem(kind, value);
    if (problem) {
      const path = where === '' ? name : `${where}.${name}`;
      const fields = { unknown: [], missing: [], option: path };
      refuseOptions(op, x, `${path} ${problem}`, `give ${path} as its type says`, fields);
    }
    if (kind === 'other' && isRecord(value)) requireOptionKinds(op, x, value, name);
  }
}

/** `{ 0: [1, 2], [-1]: … }`, or a list of such ranges. */
function requireAxes(op: string, args: readonly unknown[], at: number): void {
  const arg = args[at];
  const refuse = (what: string, unknown: readonly string[]): never =>
    refuseOptions(op, tensorAmong(args), `argument ${at + 1} ${what}`, `${op}(x, { 0: [1, 2] })`, {
      unknown,
      missing: [],
    });
  if (typeof arg !== 'object' || arg === null || arg instanceof Tensor) {
    refuse(`must be an object by axis, got ${shown(arg)}`, [shown(arg)]);
  }
  const ranges = arg as Readonly<Record<string, unknown>>;
  const axes = Object.keys(ranges);
  const odd = axes.find((key) => !Number.isInteger(Number(key)));
  if (odd !== undefined) refuse(`must be an object by axis, got ${odd}`, [odd]);
  for (const axis of axes) {
    const range = ranges[axis];
    const isRange = Array.isArray(range) && range.every((v) => v === null || v === undefined || typeof v === 'number');
    if (!isRange) refuse(`has for axis ${axis} ${shown(range)}, which is no list of numbers`, []);
  }
}

/** A record where something else should stand, or behind the last argument: obscure in what follows, or ignored. */
function refuseRecord(op: string, args: readonly unknown[], at: number, places: readonly string[]): never {
  const names = Object.keys(args[at] as object);
  const given = `argument ${at + 1} is an object with ${names.join(', ') || 'nothing'}`;
  const last = places.at(-1);
  const [reason, remedy] =
    last === undefined
      ? [`${given}, and ${op} has no options`, 'give what it takes by position, without names']
      : [`${given}; options are argument ${Number(last) + 1}`, 'undefined stands for a tensor that is left out'];
  refuseOptions(op, tensorAmong(args), reason, remedy, { unknown: names, missing: [] });
}

/** The short answer for a call that is right. */
function hasOnly(arg: unknown, names: Names): boolean {
  if (!isRecord(arg)) return false;
  for (const name in arg) if (!Object.hasOwn(names, name)) return false;
  return true;
}

/** `f`, its arguments looked at first. Of those it does not take, only records are refused: `map` gives numbers and a list. */
function checked(op: string, f: Call, known: Known, operands: Operands): Call {
  const places = Object.keys(known);
  const length = Math.max(f.length, ...[...places, ...Object.keys(operands)].map((at) => Number(at) + 1));
  const rest = restOf[op];
  const kinds = Array.from({ length }, (_, at) => known[at]);
  const needed = kinds.map(
    (kind, at) => kind !== undefined && (at < f.length || Object.values(kind).includes('required')),
  );
  const call: Call = (...args) => {
    for (let at = 0; at < length || at < args.length; at++) {
      const arg = args[at];
      const names = kinds[at];
      if (names === undefined) {
        if (isRecord(arg)) refuseRecord(op, args, at, places);
        const kind = operands[at] ?? (at < f.length ? 'tensor' : rest);
        if (kind !== undefined) requireKind(op, args, at, kind);
      } else if (names === 'axes') requireAxes(op, args, at);
      else if (arg instanceof Tensor) {
        const given = `options must be an object, got the tensor ${arg}; they are argument ${at + 1}`;
        refuseOptions(op, tensorAmong(args), given, `options: ${Object.keys(names).join(', ')}`);
      } else if (needed[at] || arg !== undefined) {
        if (!hasOnly(arg, names) || needed[at]) {
          const problem = optionProblem(arg, names);
          if (problem) refuseProblem(op, tensorAmong(args), problem);
        }
        requireOptionKinds(op, tensorAmong(args), arg as object);
      }
    }
    const x = tensorAmong(args);
    return x ? x.graph.whole(() => f(...args)) : f(...args);
  };
  return Object.defineProperties(call, { name: { value: op }, length: { value: f.length } });
}

const knownOf: Readonly<Record<string, Known>> = table;
const operandsOf: Readonly<Record<string, Operands>> = places;
const nullOf: Readonly<Record<string, Readonly<Record<string, true>>>> = mayBeNull;
const kindOfOption: Readonly<Record<string, Kind>> = optionKinds;
/** Functions that take a list of any length behind their parameters. */
const restOf: Readonly<Record<string, Kind>> = { einsum: 'tensor' };

export const ops: Functions = Object.freeze(
  Object.fromEntries(
    Object.entries(functions).map(([op, f]) => [op, checked(op, f as Call, knownOf[op] ?? {}, operandsOf[op] ?? {})]),
  ),
) as unknown as Functions;

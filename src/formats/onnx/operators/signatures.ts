/**
 * Inputs, outputs and attributes of every operator that is read, by version of the operators. Whoever reads another attribute
 * in a rule, here or in `host/`, says so here: what is not listed is refused before a rule sees the node.
 */
import { type AttributeRule, places, type Signature } from '../signature.ts';

type Attributes = Readonly<Record<string, AttributeRule>>;

const float: AttributeRule = { kind: 'float' };
const int: AttributeRule = { kind: 'int' };
/** Runtimes differ in what 2 is. */
const flag: AttributeRule = { kind: 'int', flag: true };
const string: AttributeRule = { kind: 'string' };
const ints: AttributeRule = { kind: 'ints' };
const floats: AttributeRule = { kind: 'floats' };
const strings: AttributeRule = { kind: 'strings' };
const tensor: AttributeRule = { kind: 'tensor' };
const graph: AttributeRule = { kind: 'graph' };

/** There from a version on; `plain`: the value, also of all in a list, that says what older versions do. */
const since = (version: number, rule: AttributeRule, plain?: number | string): AttributeRule => ({
  ...rule,
  since: version,
  ...(plain === undefined ? {} : { plain }),
});

/** There up to a version; behind it `input` takes its place. */
const until = (version: number, rule: AttributeRule, input?: number): AttributeRule => ({
  ...rule,
  until: version,
  ...(input === undefined ? {} : { input }),
});

/** There up to a version; `plain`: the value that says what newer versions do. */
const untilPlain = (version: number, rule: AttributeRule, plain: number): AttributeRule => ({
  ...until(version, rule),
  plain,
});

const unread = (rule: AttributeRule, noEffect: string): AttributeRule => ({ ...rule, noEffect });

const signature = (
  first: number,
  inputs: string,
  outputs: string,
  attributes: Attributes = {},
  gone: { readonly until?: number; readonly successor?: string } = {},
): Signature => ({ since: first, inputs: places(inputs), outputs: places(outputs), attributes, ...gone });

const each = (names: string, made: Signature): Record<string, Signature> =>
  Object.fromEntries(names.split(' ').map((name) => [name, made]));

/** Before version 7: B broadcasts to A, from its last axis or, with `axis`, from another one, which is refused. */
const broadcasting: Attributes = {
  axis: until(6, int),
  broadcast: unread(untilPlain(6, int, 0), 'what B fits without it, it fits with it'),
};

const elementwise: Readonly<Record<string, Signature>> = {
  ...each('Abs Ceil Exp Floor Log Neg Not Reciprocal Sqrt', signature(1, 'X', 'Y')),
  ...each('Acos Asin Atan Cos Sin Tan', signature(7, 'X', 'Y')),
  ...each('Acosh Asinh Atanh Cosh Erf Sign Sinh', signature(9, 'X', 'Y')),
  ...each('Add And Div Equal Greater Less Mul Or Pow Sub Xor', signature(1, 'A B', 'C', broadcasting)),
  ...each('GreaterOrEqual LessOrEqual', signature(12, 'A B', 'C')),
  ...each('Max Mean Min Sum', signature(1, 'data…', 'Y')),
  Cast: signature(1, 'X', 'Y', {
    to: int,
    saturate: unread(since(19, int, 1), 'of casts to 8-bit floats, which are refused'),
  }),
  CastLike: signature(15, 'X target_type', 'Y', {
    saturate: unread(since(19, int, 1), 'of casts to 8-bit floats, which are refused'),
  }),
  Clip: signature(1, 'X min@11 max@11', 'Y', { min: until(10, float, 1), max: until(10, float, 2) }),
  IsInf: signature(10, 'X', 'Y', { detect_negative: flag, detect_positive: flag }),
  IsNaN: signature(9, 'X', 'Y'),
  Mod: signature(10, 'A B', 'C', { fmod: flag }),
  Round: signature(11, 'X', 'Y'),
  Where: signature(9, 'condition X Y', 'Z'),
};

const activations: Readonly<Record<string, Signature>> = {
  ...each('Relu Sigmoid Softplus Softsign Tanh', signature(1, 'X', 'Y')),
  ...each('Elu LeakyRelu', signature(1, 'X', 'Y', { alpha: float })),
  Celu: signature(12, 'X', 'Y', { alpha: float }),
  Gelu: signature(20, 'X', 'Y', { approximate: string }),
  HardSigmoid: signature(1, 'X', 'Y', { alpha: float, beta: float }),
  HardSwish: signature(14, 'X', 'Y'),
  Mish: signature(18, 'X', 'Y'),
  PRelu: signature(1, 'X slope', 'Y'),
  Selu: signature(1, 'X', 'Y', { alpha: float, gamma: float }),
  Shrink: signature(9, 'X', 'Y', { bias: float, lambd: float }),
  ThresholdedRelu: signature(10, 'X', 'Y', { alpha: float }),
  ...each('Hardmax LogSoftmax Softmax', signature(1, 'X', 'Y', { axis: int })),
};

const sliding: Attributes = { auto_pad: string, kernel_shape: ints, pads: ints, strides: ints };

const windows: Readonly<Record<string, Signature>> = {
  AveragePool: signature(1, 'X', 'Y', {
    ...sliding,
    ceil_mode: since(10, flag, 0),
    count_include_pad: since(7, flag, 0),
    dilations: since(19, ints, 1),
  }),
  Conv: signature(1, 'X W B', 'Y', { ...sliding, dilations: ints, group: int }),
  ConvTranspose: signature(1, 'X W B', 'Y', {
    ...sliding,
    dilations: ints,
    group: int,
    output_padding: ints,
    output_shape: ints,
  }),
  ...each('GlobalAveragePool GlobalMaxPool', signature(1, 'X', 'Y')),
  GlobalLpPool: signature(1, 'X', 'Y', { p: int }),
  LpPool: signature(1, 'X', 'Y', { ...sliding, ceil_mode: since(18, flag, 0), dilations: since(18, ints, 1), p: int }),
  MaxUnpool: signature(9, 'X I output_shape', 'output', { kernel_shape: ints, pads: ints, strides: ints }),
  MaxPool: signature(1, 'X', 'Y Indices@8', {
    ...sliding,
    ceil_mode: since(10, flag, 0),
    dilations: since(10, ints, 1),
    storage_order: since(8, flag, 0),
  }),
};

const norms: Readonly<Record<string, Signature>> = {
  BatchNormalization: signature(1, 'X scale B mean var', 'Y mean var saved_mean@-13 saved_var@-13', {
    epsilon: float,
    is_test: until(6, flag),
    momentum: float,
    spatial: untilPlain(8, flag, 1),
    training_mode: since(14, flag, 0),
  }),
  GroupNormalization: signature(18, 'X scale bias', 'Y', {
    epsilon: float,
    num_groups: int,
    stash_type: since(21, int, 1),
  }),
  InstanceNormalization: signature(1, 'X scale B', 'Y', { epsilon: float }),
  // An operator of onnxruntime before it was one of ONNX: optimised files of any version have it.
  LayerNormalization: signature(1, 'X Scale B', 'Y Mean InvStdDev', { axis: int, epsilon: float, stash_type: int }),
  LRN: signature(1, 'X', 'Y', { alpha: float, beta: float, bias: float, size: int }),
  LpNormalization: signature(1, 'X', 'Y', { axis: int, p: int }),
  MeanVarianceNormalization: signature(9, 'X', 'Y', { axes: ints }),
};

/** Reductions whose axes became an input with this version. */
const reduction = (moved: number): Signature =>
  signature(1, `data axes@${moved}`, 'reduced', {
    axes: until(moved - 1, ints, 1),
    keepdims: flag,
    noop_with_empty_axes: since(moved, flag, 0),
  });

const reductions: Readonly<Record<string, Signature>> = {
  ...each(
    'ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSumSquare',
    reduction(18),
  ),
  ReduceSum: reduction(13),
  ...each(
    'ArgMax ArgMin',
    signature(1, 'data', 'reduced', { axis: int, keepdims: flag, select_last_index: since(12, flag, 0) }),
  ),
  CumSum: signature(11, 'x axis', 'y', { exclusive: flag, reverse: flag }),
  TopK: signature(1, 'X K@10', 'Values Indices', {
    axis: int,
    k: until(9, int, 1),
    largest: since(11, flag, 1),
    sorted: unread(since(11, int, 1), 'the result is always in order'),
  }),
};

const indexing: Readonly<Record<string, Signature>> = {
  Compress: signature(9, 'input condition', 'output', { axis: int }),
  Gather: signature(1, 'data indices', 'output', { axis: int }),
  GatherElements: signature(11, 'data indices', 'output', { axis: int }),
  GatherND: signature(11, 'data indices', 'output', { batch_dims: since(12, int, 0) }),
  NonZero: signature(9, 'X', 'Y'),
  OneHot: signature(9, 'indices depth values', 'output', { axis: int }),
  ReverseSequence: signature(10, 'input sequence_lens', 'Y', { batch_axis: int, time_axis: int }),
  Scatter: signature(9, 'data indices updates', 'output', { axis: int }, { until: 10, successor: 'ScatterElements' }),
  ScatterElements: signature(11, 'data indices updates', 'output', { axis: int, reduction: since(16, string, 'none') }),
  ScatterND: signature(11, 'data indices updates', 'output', { reduction: since(16, string, 'none') }),
};

const shapes: Readonly<Record<string, Signature>> = {
  Concat: signature(1, 'inputs…', 'concat_result', { axis: int }),
  ConstantOfShape: signature(9, 'input', 'output', { value: tensor }),
  Constant: signature(1, '', 'output', {
    value: tensor,
    sparse_value: since(11, tensor),
    value_float: since(12, float),
    value_floats: since(12, floats),
    value_int: since(12, int),
    value_ints: since(12, ints),
    value_string: since(12, string),
    value_strings: since(12, strings),
  }),
  DepthToSpace: signature(1, 'input', 'output', { blocksize: int, mode: since(11, string, 'DCR') }),
  Expand: signature(8, 'input shape', 'output'),
  EyeLike: signature(9, 'input', 'output', { dtype: int, k: int }),
  Flatten: signature(1, 'input', 'output', { axis: int }),
  Identity: signature(1, 'input', 'output'),
  Pad: signature(2, 'data pads@11 constant_value@11 axes@18', 'output', {
    mode: string,
    pads: until(10, ints, 1),
    value: until(10, float, 2),
  }),
  Range: signature(11, 'start limit delta', 'output'),
  Reshape: signature(1, 'data shape@5', 'reshaped', { allowzero: since(14, flag, 0), shape: until(4, ints, 1) }),
  Resize: signature(10, 'X roi scales@11 sizes@11', 'Y', {
    antialias: since(18, flag, 0),
    axes: since(18, ints),
    coordinate_transformation_mode: since(11, string),
    cubic_coeff_a: since(11, float),
    exclude_outside: since(11, flag),
    extrapolation_value: since(11, float),
    keep_aspect_ratio_policy: since(18, string, 'stretch'),
    mode: string,
    nearest_mode: since(11, string),
  }),
  Shape: signature(1, 'data', 'shape', { end: since(15, int), start: since(15, int, 0) }),
  Size: signature(1, 'data', 'size'),
  Slice: signature(1, 'data starts@10 ends@10 axes@10 steps@10', 'output', {
    axes: until(9, ints, 3),
    ends: until(9, ints, 2),
    starts: until(9, ints, 1),
  }),
  SpaceToDepth: signature(1, 'input', 'output', { blocksize: int }),
  Split: signature(2, 'input split@13', 'outputs…', {
    axis: int,
    num_outputs: since(18, int),
    split: until(12, ints, 1),
  }),
  Squeeze: signature(1, 'data axes@13', 'squeezed', { axes: until(12, ints, 1) }),
  Tile: signature(6, 'input repeats', 'output'),
  Transpose: signature(1, 'data', 'transposed', { perm: ints }),
  Trilu: signature(14, 'input k', 'output', { upper: flag }),
  Unsqueeze: signature(1, 'data axes@13', 'expanded', { axes: until(12, ints, 1) }),
  Upsample: signature(
    7,
    'X scales@9',
    'Y',
    { mode: string, scales: until(8, floats, 1) },
    { until: 9, successor: 'Resize' },
  ),
};

const recurrent: Attributes = {
  activation_alpha: floats,
  activation_beta: floats,
  activations: strings,
  clip: float,
  direction: string,
  hidden_size: int,
  layout: since(14, flag, 0),
  output_sequence: unread(until(6, int), 'the node’s outputs say which are wanted'),
};

const blocks: Attributes = { axis: since(13, int), block_size: since(21, int, 0) };

const quantisation: Readonly<Record<string, Signature>> = {
  DequantizeLinear: signature(10, 'x x_scale x_zero_point', 'y', blocks),
  DynamicQuantizeLinear: signature(11, 'x', 'y y_scale y_zero_point'),
  QuantizeLinear: signature(10, 'x y_scale y_zero_point', 'y', {
    ...blocks,
    output_dtype: since(21, int, 0),
    saturate: unread(since(19, int, 1), 'of 8-bit floats, which are refused'),
  }),
};

const window = signature(17, 'size', 'output', { output_datatype: int, periodic: flag });

const sound: Readonly<Record<string, Signature>> = {
  ...each('BlackmanWindow HammingWindow HannWindow', window),
  DFT: signature(17, 'input dft_length axis@20', 'output', { axis: until(19, int, 2), inverse: flag, onesided: flag }),
  MelWeightMatrix: signature(17, 'num_mel_bins dft_length sample_rate lower_edge_hertz upper_edge_hertz', 'output', {
    output_datatype: int,
  }),
  STFT: signature(17, 'signal frame_step window frame_length', 'output', { onesided: flag }),
};

const layers: Readonly<Record<string, Signature>> = {
  Dropout: signature(1, 'data ratio@12 training_mode@12', 'output mask', {
    is_test: until(6, flag),
    ratio: until(11, float, 1),
    seed: since(12, int),
  }),
  Einsum: signature(12, 'Inputs…', 'Output', { equation: string }),
  Gemm: signature(1, 'A B C', 'Y', {
    alpha: float,
    beta: float,
    broadcast: unread(untilPlain(6, int, 0), 'what C fits without it, it fits with it'),
    transA: flag,
    transB: flag,
  }),
  GridSample: signature(16, 'X grid', 'Y', { align_corners: flag, mode: string, padding_mode: string }),
  GRU: signature(1, 'X W R B sequence_lens initial_h', 'Y Y_h', {
    ...recurrent,
    linear_before_reset: since(3, flag, 0),
  }),
  LSTM: signature(1, 'X W R B sequence_lens initial_h initial_c P', 'Y Y_h Y_c', { ...recurrent, input_forget: flag }),
  MatMul: signature(1, 'A B', 'Y'),
  NegativeLogLikelihoodLoss: signature(12, 'input target weight', 'loss', { ignore_index: int, reduction: string }),
  RNN: signature(1, 'X W R B sequence_lens initial_h', 'Y Y_h', recurrent),
  SoftmaxCrossEntropyLoss: signature(12, 'scores labels weights', 'output log_prob', {
    ignore_index: int,
    reduction: string,
  }),
};

const sequences: Readonly<Record<string, Signature>> = {
  ConcatFromSequence: signature(11, 'input_sequence', 'concat_result', { axis: int, new_axis: flag }),
  SequenceAt: signature(11, 'input_sequence position', 'tensor'),
  SequenceConstruct: signature(11, 'inputs…', 'output_sequence'),
  SequenceEmpty: signature(11, '', 'output', { dtype: unread(int, 'its items say it') }),
  SequenceErase: signature(11, 'input_sequence position', 'output_sequence'),
  SequenceInsert: signature(11, 'input_sequence tensor position', 'output_sequence'),
  SequenceLength: signature(11, 'input_sequence', 'length'),
  SplitToSequence: signature(11, 'input split', 'output_sequence', { axis: int, keepdims: flag }),
};

const control: Readonly<Record<string, Signature>> = {
  If: signature(1, 'cond', 'outputs…', { else_branch: graph, then_branch: graph }),
  Loop: signature(1, 'M cond v_initial…', 'outputs…', { body: graph }),
};

/** Of the domain `ai.onnx.preview.training`. */
const training: Readonly<Record<string, Signature>> = {
  Adagrad: signature(1, 'R T inputs…', 'outputs…', { decay_factor: float, epsilon: float, norm_coefficient: float }),
  Adam: signature(1, 'R T inputs…', 'outputs…', {
    alpha: float,
    beta: float,
    epsilon: float,
    norm_coefficient: float,
    norm_coefficient_post: float,
  }),
  Gradient: signature(1, 'Inputs…', 'Outputs…', { xs: strings, y: string, zs: strings }),
  Momentum: signature(1, 'R T inputs…', 'outputs…', {
    alpha: float,
    beta: float,
    mode: string,
    norm_coefficient: float,
  }),
};

const all: ReadonlyMap<string, Signature> = new Map(
  [
    activations,
    control,
    elementwise,
    indexing,
    layers,
    norms,
    quantisation,
    reductions,
    sequences,
    shapes,
    sound,
    training,
    windows,
  ].flatMap((table) => Object.entries(table)),
);

/** Of an operator of ONNX's own domain or of `ai.onnx.preview.training`: no name is in both. */
export const signatureOf = (opType: string): Signature | undefined => all.get(opType);

/** Of functions that stand for ops: they have no attributes. */
export const ownSignature: Signature = signature(1, 'X', 'Y');

/** All operators that have one. */
export const signatures = (): ReadonlyMap<string, Signature> => all;
